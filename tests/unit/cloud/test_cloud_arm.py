"""One careful way to call ARM: what is repeated, what never is, and what an error says."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.identity import CredentialUnavailableError

from deployer.cloud.arm import RETRY_AFTER_MAX_S, Arm, within
from deployer.cloud.clouds import find_cloud
from deployer.errors import (
    ConflictError,
    DeniedError,
    ExitCode,
    NotFoundError,
    PlatformError,
    QuotaExceededError,
    TransientError,
)
from tests.doubles.arm_script import Answer, ScriptedTransport, Tokens
from tests.doubles.telemetry import ManualClock

PATH = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/onlineEndpoints/e"


class Stage:
    def __init__(self, *answers: Answer | Exception) -> None:
        self.clock = ManualClock()
        self.started = self.clock.now()
        self.transport = ScriptedTransport(*answers)
        self.tokens = Tokens()
        self.arm = Arm(find_cloud("", {}), self.tokens, self.clock, transport=self.transport)

    @property
    def waited_s(self) -> float:
        return (self.clock.now() - self.started).total_seconds()


def refusal(code: str = "", message: str = "no", **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


def test_a_read_is_asked_with_a_token_and_its_api_version() -> None:
    stage = Stage(Answer(body={"name": "e"}))
    assert stage.arm.get(PATH, "2025-12-01", {"$top": "3"}) == {"name": "e"}
    (asked,) = stage.transport.asked
    assert (asked.method, asked.path) == ("GET", PATH)
    assert asked.query == {"api-version": "2025-12-01", "$top": "3"}
    assert asked.headers["Authorization"] == "Bearer token-1"
    assert stage.tokens.scopes == ["https://management.azure.com/.default"]
    assert stage.arm.calls == 1


def test_what_does_not_exist_is_none_when_read_and_fine_when_deleted() -> None:
    stage = Stage(Answer(404, refusal("ResourceNotFound")), Answer(404, refusal()), Answer(204, ""))
    assert stage.arm.get(PATH, "v") is None
    assert stage.arm.delete(PATH, "v").status == 404
    assert stage.arm.delete(PATH, "v").status == 204


@pytest.mark.parametrize("code", ["SubscriptionNotFound", "ResourceGroupNotFound"])
def test_a_group_that_does_not_exist_is_not_an_endpoint_that_does_not_exist(code: str) -> None:
    for read in ("get", "list"):
        stage = Stage(Answer(404, refusal(code, "Resource group 'g' could not be found.")))
        with pytest.raises(NotFoundError) as caught:
            getattr(stage.arm, read)(PATH, "v")
        assert "'g'" in caught.value.message


def test_what_an_answer_holds_is_not_shown_by_accident() -> None:
    stage = Stage(Answer(200, {"primaryKey": "SECRET"}, {"Azure-AsyncOperation": "https://x?sig=SECRET"}))
    assert "SECRET" not in repr(stage.arm.post(PATH, "v"))


@pytest.mark.parametrize("host", ["management.azure.com", "management.azure.com:443", "MANAGEMENT.azure.com"])
def test_a_list_is_read_to_its_last_page(host: str) -> None:
    following = f"https://{host}{PATH}?api-version=v&$skip=1"
    stage = Stage(
        Answer(body={"value": [{"name": "a"}], "nextLink": following}), Answer(body={"value": [{"name": "b"}]})
    )
    assert [each["name"] for each in stage.arm.list(PATH, "v")] == ["a", "b"]


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/x",
        "http://management.azure.com/x",
        "https://management.azure.com:8443/x",
        "https://management.azure.com:x/",
        "https://management.azure.com:443@evil.example/x",
        "https://somebody@management.azure.com/x",
        "//evil.example",
    ],
)
def test_a_token_never_follows_a_link_to_another_host(link: str) -> None:
    stage = Stage(Answer(body={"value": [], "nextLink": link}))
    with pytest.raises(PlatformError):
        stage.arm.list(PATH, "v")
    with pytest.raises(PlatformError):
        stage.arm.operation(link)
    assert len(stage.transport.asked) == 1


def test_a_redirect_is_an_error_and_is_not_followed() -> None:
    stage = Stage(Answer(307, "", {"Location": "https://evil.example/"}))
    with pytest.raises(PlatformError):
        stage.arm.get(PATH, "v")
    assert len(stage.transport.asked) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        *(Answer(status, refusal()) for status in (408, 429, 500, 502, 503, 504)),
        Answer(body="{torn"),
        Answer(body="[]"),
        ServiceRequestError("refused"),
        ServiceResponseError("cut"),
    ],
)
def test_a_read_is_repeated_twice_and_then_it_is_transient(trouble: Answer | Exception) -> None:
    stage = Stage(trouble, trouble, Answer(body={"a": 1}))
    assert stage.arm.get(PATH, "v") == {"a": 1}
    assert stage.waited_s > 0
    stage = Stage(trouble, trouble, trouble)
    with pytest.raises(TransientError):
        stage.arm.get(PATH, "v")
    assert stage.arm.calls == 3


@pytest.mark.parametrize("trouble", [Answer(500), Answer(503), Answer(504), ServiceResponseError("cut")])
def test_a_write_whose_effect_is_unknown_is_never_sent_again(trouble: Answer | Exception) -> None:
    for write in ("put", "patch"):
        stage = Stage(trouble)
        with pytest.raises(TransientError):
            getattr(stage.arm, write)(PATH, "v", {})
        assert stage.arm.calls == 1
    stage = Stage(trouble)
    with pytest.raises(TransientError):
        stage.arm.delete(PATH, "v")
    assert stage.arm.calls == 1


@pytest.mark.parametrize("trouble", [Answer(429, refusal()), ServiceRequestError("no route")])
def test_a_write_that_did_not_arrive_is_sent_again(trouble: Answer | Exception) -> None:
    stage = Stage(trouble, Answer(201, {"lies": True}, {"Azure-AsyncOperation": "https://x/y?sig=1"}))
    reply = stage.arm.put(PATH, "v", {"a": 1})
    assert (reply.status, reply.operation_url) == (201, "https://x/y?sig=1")
    assert [asked.body for asked in stage.transport.asked] == [{"a": 1}, {"a": 1}]


def test_a_conflict_is_told_at_once_whatever_retry_after_says() -> None:
    stage = Stage(Answer(409, refusal("Conflict"), {"Retry-After": "30"}))
    with pytest.raises(ConflictError):
        stage.arm.put(PATH, "v", {})
    assert (stage.arm.calls, stage.waited_s) == (1, 0)


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("1000000", RETRY_AFTER_MAX_S), ("Wed, 21 Oct 2026", 1.0)])
def test_an_absurd_retry_after_is_cut(asked: str, waited: float) -> None:
    stage = Stage(Answer(429, refusal(), {"Retry-After": asked}), Answer())
    stage.arm.get(PATH, "v")
    assert stage.waited_s == waited


def test_a_missing_registration_is_told_and_never_registered() -> None:
    stage = Stage(Answer(409, refusal("MissingSubscriptionRegistration", "register Microsoft.MachineLearningServices")))
    with pytest.raises(PlatformError) as caught:
        stage.arm.put(PATH, "v", {})
    assert not isinstance(caught.value, ConflictError)
    assert "az provider register" in caught.value.hint
    assert stage.arm.calls == 1


def test_a_token_that_is_refused_is_replaced_once() -> None:
    stage = Stage(Answer(401, refusal("ExpiredAuthenticationToken")), Answer(body={"a": 1}))
    assert stage.arm.get(PATH, "v") == {"a": 1}
    assert [asked.headers["Authorization"] for asked in stage.transport.asked] == ["Bearer token-1", "Bearer token-2"]
    stage = Stage(Answer(401), Answer(401))
    with pytest.raises(DeniedError) as caught:
        stage.arm.put(PATH, "v", {})
    assert "az login" in caught.value.hint


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (CredentialUnavailableError("Please run 'az login'"), DeniedError),
        (ClientAuthenticationError("AADSTS700024: the assertion is not within its valid time range"), DeniedError),
        (ClientAuthenticationError("Failed to resolve 'login.microsoftonline.com'"), TransientError),
    ],
)
def test_without_a_token_the_hint_says_how_to_get_one(failure: Exception, kind: type[PlatformError]) -> None:
    stage = Stage()
    stage.tokens.failure = failure
    with pytest.raises(kind) as caught:
        stage.arm.get(PATH, "v")
    assert "az login" in caught.value.hint
    assert "OIDC" in caught.value.hint
    assert not stage.transport.asked


@pytest.mark.parametrize(
    ("failure", "hint"),
    [
        ("Failed to resolve 'management.azure.com' ([Errno -2] Name or service not known)", "DNS"),
        ("SSLError: certificate verify failed: unable to get local issuer", "REQUESTS_CA_BUNDLE"),
    ],
)
def test_names_and_certificates_that_fail_are_transient_with_a_way_out(failure: str, hint: str) -> None:
    stage = Stage(*[ServiceRequestError(failure)] * 3)
    with pytest.raises(TransientError) as caught:
        stage.arm.put(PATH, "v", {})
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AuthorizationFailed", DeniedError),
        (403, "", DeniedError),
        (404, "ResourceGroupNotFound", NotFoundError),
        (409, "Conflict", ConflictError),
        (412, "", ConflictError),
        (400, "OutOfQuota", QuotaExceededError),
        (403, "QuotaExceeded", QuotaExceededError),
        (400, "BadArgument", PlatformError),
        (503, "ServerBusy", TransientError),
    ],
)
def test_an_error_is_known_by_class_and_code(status: int, code: str, kind: type[PlatformError]) -> None:
    stage = Stage(Answer(status, refusal(code)))
    with pytest.raises(PlatformError) as caught:
        stage.arm.put(PATH, "v", {})
    assert type(caught.value) is kind
    assert caught.value.code == code


def test_a_refusal_because_the_endpoint_is_busy_is_a_conflict_whatever_its_status() -> None:
    said = "Cannot create a deployment in endpoint e because it is in Updating provisioning state."
    stage = Stage(Answer(400, refusal("BadRequest", said)))
    with pytest.raises(ConflictError):
        stage.arm.put(PATH, "v", {})


def test_the_time_of_the_server_is_kept() -> None:
    stage = Stage(Answer(headers={"Date": "Wed, 25 Nov 2026 10:00:00 GMT"}))
    assert stage.arm.server_time is None
    stage.arm.get(PATH, "v")
    stage.clock.advance(5)
    assert stage.arm.server_time == datetime(2026, 11, 25, 10, 0, 5, tzinfo=UTC)


def test_a_call_that_hangs_is_left_behind() -> None:
    forever = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.02, forever.wait)
    forever.set()


def test_that_nobody_is_signed_in_is_said_in_one_line() -> None:
    stage = Stage()
    stage.tokens.failure = ClientAuthenticationError(
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n"
        "\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Variables are not configured.\n"
        "Visit https://aka.ms/azsdk/python/identity/environmentcredential/troubleshoot to troubleshoot this issue.\n"
        f"\tManagedIdentityCredential: {'no ' * 100}\n\tAzureCliCredential: AADSTS70043: the token has expired"
    )
    with pytest.raises(DeniedError) as caught:
        stage.arm.get(PATH, "v")
    tried = "Environment, ManagedIdentity, AzureCli gave no token (AADSTS70043)"
    assert caught.value.message == f"no identity for AzureCloud: {tried}"
    assert "az login" in caught.value.hint


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ((), ExitCode.REFUSED),
        ((("get", Answer(body={})),), ExitCode.REFUSED),
        ((("post", Answer(body={})),), ExitCode.REFUSED),
        ((("patch", Answer(403, refusal("AuthorizationFailed"))),), ExitCode.REFUSED),
        ((("patch", Answer(200, {})),), ExitCode.PLATFORM),
        ((("patch", Answer(500, refusal())),), ExitCode.PLATFORM),
    ],
)
def test_a_refusal_before_anything_was_written_says_so(before: tuple[tuple[str, Answer], ...], code: ExitCode) -> None:
    stage = Stage(*(answer for _, answer in before), Answer(403, refusal("AuthorizationFailed")))
    for method, _ in before:
        with suppress(PlatformError):
            getattr(stage.arm, method)(PATH, "v", *([{}] if method == "patch" else []))
    with pytest.raises(DeniedError) as caught:
        stage.arm.get(PATH, "v")
    assert caught.value.exit_code is code
