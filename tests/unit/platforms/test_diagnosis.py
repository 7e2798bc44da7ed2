"""Why a deployment failed: every code that Azure documents, real logs of Azure ML's server, and arbitrary text."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.platforms.diagnosis.diagnose import LINE_CHARS, Diagnosis, diagnose, meaning_of
from deployer.platforms.diagnosis.failures import FAILURES
from deployer.platforms.diagnosis.log_symptoms import LOGS
from deployer.platforms.diagnosis.log_text import EXCERPT_LINES, harmless
from deployer.platforms.diagnosis.symptoms import MESSAGES

LOG_FILES = Path(__file__).parent / "logs"
CRASHED = "User container has crashed or terminated. Please see the troubleshooting guide."

DOCUMENTED = [
    "ImageBuildFailure",
    "OutOfQuota",
    "BadArgument",
    "ResourceNotReady",
    "ResourceNotFound",
    "WorkspaceManagedNetworkNotReady",
    "OperationCanceled",
    "SecretsInjectionError",
    "InternalServerError",
    "ACRSecretError",
    "TokenRefreshFailed",
    "GetAADTokenFailed",
    "ACRAuthenticationChallengeFailed",
    "ACRTokenExchangeFailed",
    "KubernetesUnaccessible",
    "ImagePullLoopBackOff",
    "DeploymentCrashLoopBackOff",
    "KubernetesCrashLoopBackOff",
    "UserScriptInitFailed",
    "UserScriptImportError",
    "UserScriptFunctionNotFound",
    "NamespaceNotFound",
    "EndpointNotFound",
    "EndpointAlreadyExists",
    "ScoringFeUnhealthy",
    "ValidateScoringFailed",
    "InvalidDeploymentSpec",
    "PodUnschedulable",
    "PodOutOfMemory",
    "InferencingClientCallFailed",
]
"""Section by section: how-to-troubleshoot-online-endpoints (azure-ai-docs at 112100c)."""


def crash(log: str, container: str = "InferenceServer") -> Diagnosis:
    return diagnose("ResourceNotReady", CRASHED, {container: log})


def recorded(name: str) -> str:
    return (LOG_FILES / f"{name}.log").read_text()


@pytest.mark.parametrize("code", DOCUMENTED)
def test_every_documented_code_is_known_with_its_own_section(code: str) -> None:
    found = diagnose(code, "", {})
    assert found.code == code
    assert found.source.endswith(f"#error-{code.lower()}")
    assert "does not know" not in found.meaning


@pytest.mark.parametrize("code", FAILURES)
def test_every_code_has_a_clause_and_one_imperative_sentence(code: str) -> None:
    known = FAILURES[code]
    assert known.meaning[0].islower() or known.meaning.startswith(("Azure", "E4"))
    assert not known.meaning.endswith(".")
    assert known.next_step[0].isupper()
    assert known.next_step.endswith(".")
    assert known.source
    assert diagnose(code, "", {}).line == f"{code}: {known.meaning}. {known.next_step}"


@pytest.mark.parametrize("symptom", [*MESSAGES, *LOGS], ids=lambda each: each.pattern.pattern[:40])
def test_every_symptom_says_only_what_its_pattern_finds(symptom) -> None:
    names = set(re.findall(r"\{(\w+)\}", symptom.meaning + symptom.next_step))
    assert names <= set(symptom.pattern.groupindex)
    assert symptom.next_step.endswith(".")
    assert not symptom.meaning.endswith(".")
    assert symptom.source


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        ("OperationCanceled", True),
        ("InternalServerError", True),
        ("ACRTokenExchangeFailed", True),
        ("ResourceNotReady", False),
        ("OutOfQuota", False),
        ("ImageBuildFailure", False),
        ("UserScriptInitFailed", False),
    ],
)
def test_only_what_waiting_can_cure_is_retryable(code: str, retryable: bool) -> None:
    assert diagnose(code, "", {}).retryable is retryable


QUOTED = [
    (  # mslearn-azure-ml#30
        "BadRequest",
        (
            '{"errors":{"VmSize":["Not enough quota available for Standard_F4s_v2 in SubscriptionId a7842ee4-aaba-4d38-8bba-'
            'c1804e31a761. Current usage/limit: 0/6. Additional needed: 8 Please see troubleshooting guide"]}}'
        ),
        "OutOfQuota",
        "Standard_F4s_v2 needs 8 more cores; 0 of 6 of its family are in use",
    ),
    (  # modelbuilder#2140
        "",
        (
            "The specified subscription has a Standard NC family vCPU quota of 0 and cannot accommodate for at least 1 "
            "requested managed compute nodes which maps to 12 vCPUs."
        ),
        "OutOfQuota",
        "12 cores are needed; the quota of Standard NC family cores is 0",
    ),
    ("OutOfQuota", "Kubernetes unschedulable. Details:0/1 nodes are available: 1 Too many pods.", "OutOfQuota", "0/1"),
    ("OutOfQuota", "OutOfQuota: disk quota exceeded", "OutOfQuota", "disk"),
    ("OutOfQuota", "OutOfQuota: memory quota", "OutOfQuota", "memory"),
    ("", "RoleAssignmentLimitExceeded: no more role assignments can be created", "OutOfQuota", "role assignment"),
    ("BadRequest", "AllocationFailed: lack of capacity in the region", "OutOfQuota", "region has no machines"),
    ("BadRequest", "The limit of online endpoints in this region, 100, is reached", "OutOfQuota", "limit of endpoints"),
    ("OutOfQuota", "the maximum of 20 deployments of an endpoint", "OutOfQuota", "limit of deployments"),
    ("", "You have reached the quota for online endpoints", "OutOfQuota", "limit of endpoints"),
    (
        "ResourceNotReady",
        "User container has crashed: the maximum number of retries was reached for endpoint deployments.",
        "ResourceNotReady",
        "did not become ready",
    ),
    ("BadArgument", "quota: max 50 instances of deployments", "BadArgument", "Azure could not use"),
    ("BadRequest", "The maximum number of retries was reached for deployments", "BadRequest", "does not know"),
    ("BadRequest", "The maximum number of retries for deployments was reached", "BadRequest", "does not know"),
    ("BadRequest", "You exceeded the limit (100) of online endpoints", "OutOfQuota", "limit of endpoints"),
    ("BadRequest", "Maximum number of managed online deployments: 20", "OutOfQuota", "limit of deployments"),
    (  # github.com/Azure/azureml-examples/pull/1635
        "InferencingClientCallFailed",
        (
            "Endpoint Quota reached for subscription ***.Current usage/limit: 300/300."
            "Please clean up existing endpoints and try again"
        ),
        "OutOfQuota",
        "limit of endpoints",
    ),
    (  # learn.microsoft.com/answers/questions/2068819
        "SubscriptionNotRegistered",
        (
            "Resource provider [N/A] isn't registered with Subscription [N/A]. Please see troubleshooting guide, available "
            "here: https://aka.ms/register-resource-provider"
        ),
        "SubscriptionNotRegistered",
        "not registered for what managed endpoints are made of",
    ),
    ("InvalidAuthenticationTokenTenant", "wrong issuer", "InvalidAuthenticationTokenTenant", "another tenant"),
    (
        "BadRequest",
        "The VM size Standard_NC6 is not supported in this region westeurope",
        "InvalidSkuInRegion",
        "Standard_NC6 does not exist",
    ),
    ("OperationCanceled", "Operation canceled, waiting for lock confirmation", "OperationCanceled", "same operation"),
    ("OperationCanceled", "an operation of higher priority", "OperationCanceled", "higher priority"),
    (  # azure-sdk-for-net#36961
        "UserError",
        "Cannot create a deployment in endpoint e because it is in Updating provisioning state.",
        "EndpointBusy",
        "busy (Updating)",
    ),
    (
        "",
        "There is already an endpoint with this name, Endpoint name needs to be unique within a region.",
        "EndpointNameTaken",
        "taken in this region",
    ),
    (  # recordings/07: Kubernetes
        "BadRequest",
        '{"errors":{"":["OnlineEndpoint foo already exists in cluster, in workspace w."]}}',
        "EndpointAlreadyExists",
        "taken in this cluster",
    ),
    (  # recordings/07
        "BadRequest",
        (
            '{"code":"KubernetesUnaccessible","message":"Kubernetes error: AuthenticationException. Reason: '
            'InvalidCertificate"}'
        ),
        "KubernetesUnaccessible",
        "certificate is not valid",
    ),
    (  # azure-sdk-for-python#33611
        "None",
        "DeploymentIdentityError: Failed to create Kubernetes deployment identity, Reason:ACRTokenExchangeForbidden",
        "ACRTokenExchangeForbidden",
        "registry does not accept",
    ),
    (  # azure-docs#107890
        "BadArgument",
        "Endpoint identity does not have pull permission on the registry.",
        "BadArgument",
        "may not pull",
    ),
    (  # llmops-gha-demo#8
        "AuthorizationFailed",
        (
            "The client 'x' does not have authorization to perform action 'Microsoft.Authorization/roleAssignments/write' "
            "over scope '/subscriptions/…'"
        ),
        "AuthorizationFailed",
        "lacks the right Microsoft.Authorization/roleAssignments/write",
    ),
    ("ImageBuildFailure", "container registry authorization failure", "ImageBuildFailure", "out of step"),
    (
        "ImageBuildFailure",
        "failed to communicate with the workspace's container registry",
        "ImageBuildFailure",
        "private and unreachable",
    ),
    ("ImageBuildFailure", "timeout waiting for image", "ImageBuildFailure", "not there in time"),
    (
        "ImageBuildFailure",
        "The build log is available in the workspace blob store 'acc' under the path '/azureml/ImageLogs/id/build.log'",
        "ImageBuildFailure",
        "/azureml/ImageLogs/id/build.log",
    ),
    ("BadArgument", "Resource requests cpu is greater than limits", "BadArgument", "resources.limits"),
    ("BadArgument", "Invalid template function specification", "BadArgument", "policy"),
    ("BadArgument", "MLflow model format with private network is unsupported", "BadArgument", "legacy network"),
    (
        "BadArgument",
        "Azureml-fe for Kubernetes online endpoint isn't ready: azureml-fe not ready",
        "BadArgument",
        "azureml-fe",
    ),
    ("", "V1LegacyMode == true", "V1LegacyMode", "legacy mode"),
]


@pytest.mark.parametrize(("code", "message", "told", "meaning"), QUOTED)
def test_messages_tell_which_cause_a_code_has(code: str, message: str, told: str, meaning: str) -> None:
    found = diagnose(code, message, {})
    assert (found.code, meaning in found.meaning) == (told, True), found


PRINTED = [
    ("State: Terminated, Reason: OOMKilled, Exit Code: 137", "more memory than it has"),
    ("RuntimeError: CUDA out of memory. Tried to allocate 2 GiB", "GPU's memory"),
    ("OSError: [Errno 28] No space left on device", "disk"),
    ("azmlinfsrv - No score script found. Expected score script main.py.", "scoring script was not found"),
    ("TypeError: register() takes 3 positional arguments but 4 were given", "Flask"),
    ("ImportError: numpy.core.multiarray failed to import", "NumPy"),
    ("ModuleNotFoundError: No module named 'xgboost'", "imports xgboost"),
    ("ImportError: libgomp.so.1: cannot open shared object file", "libgomp.so.1"),
    ("ImportError: cannot import name 'Markup' from 'jinja2'", "cannot import name 'Markup'"),
    ("KeyError: 'AZUREML_MODEL_DIR'", "names no model"),
    (
        "FileNotFoundError: [Errno 2] No such file or directory: '/var/azureml-app/azureml-models/m/1/model.pkl'",
        "no file /var/azureml-app/azureml-models/m/1/model.pkl",
    ),
    ("_pickle.UnpicklingError: invalid load key", "other versions"),
    ("[2024-01-19 00:48:31 +0000] [2973] [CRITICAL] WORKER TIMEOUT (pid:2976)", "time-out"),
    ("[ERROR] Worker (pid:2977) was sent SIGKILL! Perhaps out of memory?", "it seems that the container needs more"),
    ("OSError: [Errno 98] Address already in use", "same port"),
    ("Readiness probe failed: Get http://10.1.2.3:5001/: dial tcp 10.1.2.3:5001: connect: connection refused", "probe"),
    ("Liveness probe failed: HTTP probe failed with statuscode: 404", "probe"),
    ("manifest for acr.azurecr.io/a:1 not found: manifest unknown", "image does not exist"),
    ("Failed to pull image: unauthorized: authentication required", "refuses the endpoint's identity"),
    ("Back-off pulling image: ImagePullBackOff", "cannot be pulled"),
    ("ErrorCode:AuthorizationPermissionMismatch", "may not read the model"),
    ("ErrorCode:BlobNotFound", "not in the workspace's storage"),
    ("Failed to resolve 'acc.blob.core.windows.net' ([Errno -2])", "acc.blob.core.windows.net cannot be reached"),
    ("[Errno -3] Temporary failure in name resolution", "cannot be reached"),
    ("ERROR: No matching distribution found for scikit-learn==9.9", "no version of scikit-learn==9.9"),
    ("CondaEnvException: Pip failed", "cannot make the environment"),
    ("RuntimeError: Found no NVIDIA driver on your system", "GPU"),
    ("exec /usr/bin/python: exec format error", "another processor"),
]


@pytest.mark.parametrize(("line", "meaning"), PRINTED)
def test_logs_tell_why_a_container_does_not_run(line: str, meaning: str) -> None:
    found = crash(f"starting\n{line}\nexiting\n")
    assert meaning in found.meaning, found
    assert line in found.excerpt


@pytest.mark.parametrize(
    ("name", "meaning", "shown"),
    [
        ("missing", "imports nosuchpackage", "import nosuchpackage.sub"),
        ("noinit", "no init()", "does not have a init() function defined"),
        ("modeldir", "names no model", 'load("model.pkl")'),
        ("syntax", "not valid Python", "def init(:"),
        ("initfail", "init() raised ValueError: weights have shape (3,)", "raise ValueError"),
    ],
)
def test_the_own_words_of_azure_mls_server_are_understood(name: str, meaning: str, shown: str) -> None:
    """Recorded from azureml-inference-server-http 1.5.1 with scoring scripts that fail in these ways."""
    found = crash(recorded(name))
    assert meaning in found.meaning
    assert shown in found.excerpt
    assert "UserScriptException" not in found.excerpt
    assert "Entry Script Name" not in found.excerpt


def test_of_a_traceback_the_users_own_frames_are_shown() -> None:
    assert "site-packages" not in crash(recorded("modeldir")).excerpt
    assert crash(recorded("modeldir")).excerpt.endswith("not NoneType")


def test_a_time_out_is_not_taken_for_the_kill_that_follows_it() -> None:
    log = "[CRITICAL] WORKER TIMEOUT (pid:1)\n[ERROR] Worker (pid:1) was sent SIGKILL! Perhaps out of memory?\n"
    assert "time-out" in crash(log).meaning


def test_what_the_server_says_of_its_settings_is_no_symptom() -> None:
    found = crash("Worker Timeout (seconds): None\nThe environment variable 'AZUREML_MODEL_DIR' has not been set.\n")
    assert found.meaning.startswith(FAILURES["ResourceNotReady"].meaning)


def test_azures_own_words_are_kept_where_they_are_not_understood() -> None:
    said = "the blue moon is full. Please see troubleshooting guide, available here: https://aka.ms/oe-tsg"
    assert diagnose("OutOfQuota", said, {}).meaning.endswith("; Azure says: the blue moon is full")


def test_the_storage_initializer_is_read_too() -> None:
    found = diagnose(
        "BadArgument", "Unable to download user model", {"StorageInitializer": "BlobNotFound", "Other": ""}
    )
    assert "not in the workspace's storage" in found.meaning
    assert found.excerpt.startswith("==> StorageInitializer <==")


def test_logs_do_not_overrule_a_code_that_is_no_crash() -> None:
    found = diagnose("OutOfQuota", "", {"InferenceServer": "ModuleNotFoundError: No module named 'a'"})
    assert found.meaning == FAILURES["OutOfQuota"].meaning


def test_an_unknown_code_says_what_azure_said_and_where_the_log_is() -> None:
    found = diagnose("Strange", "the moon is full", {"InferenceServer": "one\ntwo\n"})
    assert "Azure says: the moon is full" in found.meaning
    assert "get-logs" in found.next_step
    assert found.excerpt == "one\ntwo"


def test_nothing_at_all_is_said_to_be_nothing() -> None:
    assert diagnose("", "", {}).line.startswith("Unknown: no reason was given. Read the whole log")


@pytest.mark.parametrize("platform", ["managed", "kubernetes"])
@pytest.mark.parametrize("status", [401, 404, 408, 424, 429, 500, 502, 503, 504])
def test_every_status_of_the_data_plane_is_known(platform: str, status: int) -> None:
    meaning, _, next_step = meaning_of(status, platform).rpartition(": ")
    assert meaning
    assert next_step[0].islower()


def test_statuses_mean_different_things_on_the_platforms() -> None:
    assert meaning_of(502, "kubernetes").startswith("run() raised")
    assert "run()" not in meaning_of(502, "managed")
    assert meaning_of(409, "kubernetes")
    assert meaning_of(409, "managed") == ""


def test_what_is_not_known_of_a_status_is_not_said() -> None:
    assert meaning_of(418, "managed") == ""
    assert meaning_of(424, "local") == ""


SECRETS = [
    "https://a.blob.core.windows.net/c/m.pkl?sv=2022&sig=SECRETsecret1234%3D",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=SECRETsecret1234==;EndpointSuffix=x",
    "Authorization: Bearer SECRETsecret1234.abc",
    "InstrumentationKey=SECRETsecret1234;IngestionEndpoint=https://x",
    '{"api_key": "SECRETsecret1234"}',
    "password = 'SECRETsecret1234'",
    "export HF_TOKEN=SECRETsecret1234",
    "postgres://user:SECRETsecret1234@db/x",
    "https://SECRETsecret1234" + ":x-oauth-basic@github.com/a/b.git",
    "postgres://svc" + ':a"b@SECRETsecret1234@db/x',
    "token eyJhbGciOiJIUzI1NiJ9.SECRETsecret1234.sig",
    "-----BEGIN PRIVATE" + " KEY-----\nSECRETsecret1234\nmore\n-----END PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE" + " KEY-----\nSECRETsecret1234",
    "-----BEGIN PGP PRIVATE" + " KEY BLOCK-----\nSECRETsecret1234",
    "TLS_KEY=-----BEGIN PRIVATE" + " KEY-----\nSECRETsecret1234",
    "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=SECRETsecret1234=",
    "hf_SECRETsecret1234abcd",
    "token: SECRETsecret1234",
    "https://hooks.slack.com/services/T0/B0/SECRETsecret1234",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_shown(secret: str) -> None:
    found = diagnose("Strange", f"failed: {secret}", {"InferenceServer": f"error {secret}\nKeyError: {secret}\n"})
    assert "SECRETsecret" not in found.line + found.excerpt


@pytest.mark.parametrize("secret", SECRETS)
def test_masking_twice_changes_nothing_more(secret: str) -> None:
    assert harmless(harmless(secret)) == harmless(secret)


def test_masking_leaves_words_that_only_sound_secret() -> None:
    for text in ("KeyError: 'AZUREML_MODEL_DIR'", "the token has expired", "Application Insights Key: None"):
        assert harmless(text) == text


def test_terminal_codes_are_stripped() -> None:
    found = crash("\x1b[31mValueError\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07 \u202egnihton\u2066\n")
    assert found.excerpt == "ValueError link gnihton"


def test_a_long_log_is_read_in_reasonable_time_and_cut() -> None:
    found = crash("x" * 200_000 + "\n" + "error key " * 20_000 + "\n" + "a.b" * 60_000 + "\nerror\n" * 500)
    assert len(found.excerpt.split("\n")) <= EXCERPT_LINES
    assert max(len(line) for line in found.excerpt.split("\n")) <= 300


WORDS = st.sampled_from(
    [*FAILURES, "Traceback (most recent call last):", '  File "a.py", line 1', "ValueError: \x1b[1m", "\r", "\u2028"]
    + [line for line, _ in PRINTED]
    + [message for _, message, _, _ in QUOTED]
    + SECRETS
)
TEXT = st.lists(st.one_of(st.text(max_size=40), WORDS), max_size=12).map("\n".join)


@given(
    code=st.one_of(st.text(max_size=30), WORDS),
    message=TEXT,
    logs=st.dictionaries(st.text(max_size=10), TEXT, max_size=3),
)
def test_any_text_gives_one_plain_line(code: str, message: str, logs: dict[str, str]) -> None:
    found = diagnose(code, message, logs)
    for text in (found.line, found.code, found.meaning, found.next_step, *found.excerpt.split("\n")):
        assert not any(unicodedata.category(character) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"} for character in text)
        assert "SECRETsecret1234" not in text
    assert 0 < len(found.line) <= LINE_CHARS
    assert len(found.excerpt.split("\n")) <= EXCERPT_LINES
