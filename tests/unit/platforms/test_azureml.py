"""What we PUT is what the SDK itself PUTs for the same YAML; uploads end, and tell why they did not succeed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from doubles.arm import Answer, AzureDouble
from doubles.azure.assets import SAS
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE, WORKSPACE_ID

from deployer.cloud.clouds import Workspace, find_cloud
from deployer.cloud.credentials import credential
from deployer.errors import DeniedError, NotFoundError, PlatformError, TransientError
from deployer.platforms.online import azureml
from deployer.platforms.online.azureml import AzureMl

pytestmark = pytest.mark.azure

CASES: dict[str, str] = {
    "managed, everything local": """
        type: managed
        description: local code, model and environment
        tags: {owner: team-a}
        properties: {purpose: test}
        code_configuration: {code: ./src, scoring_script: score.py}
        model: {path: ./model}
        environment: {image: "mcr.example/inference:1", conda_file: conda.yml}
        instance_type: Standard_DS3_v2
        instance_count: 2
        model_mount_path: /var/models
        environment_variables: {WORKER_COUNT: "4", GREETING: "grüß Gott: #1", ZERO: "010", "YES": "yes"}
        request_settings: {request_timeout_ms: 90000, max_concurrent_requests_per_instance: 4, max_queue_wait_ms: 500}
        liveness_probe: &probe {initial_delay: 5, period: 7, timeout: 3, success_threshold: 1, failure_threshold: 9}
        readiness_probe: *probe
        scale_settings: {type: default}
        app_insights_enabled: true
        egress_public_network_access: disabled
        data_collector:
          sampling_rate: 0.00001
          rolling_rate: day
          collections:
            model_inputs: {enabled: "true"}
            model_outputs: {enabled: "false"}
          request_logging: {capture_headers: [x-a, X-B]}
    """,
    "managed, registered": """
        model: azureml:digits:7
        environment: azureml:inference:3
        code_configuration: {code: "azureml:scoring:2", scoring_script: score.py}
        instance_type: Standard_DS3_v2
        instance_count: 1
    """,
    "managed, by label": """
        model: azureml:digits@latest
        environment: azureml:inference@latest
        instance_type: Standard_DS3_v2
        instance_count: 1
    """,
    "managed, by ARM id": """
        model: "azureml:{workspace}/models/digits/versions/7"
        environment: "azureml:{workspace}/environments/inference/versions/3"
        instance_type: Standard_DS3_v2
        instance_count: 1
        private_network_connection: true
    """,
    "managed, from a registry": """
        model: azureml://registries/shared/models/digits/versions/7
        environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest
        instance_type: Standard_DS3_v2
        instance_count: 1
    """,
    "managed, one file as model": """
        model: {path: ./model/model.bin, type: custom_model}
        environment: azureml:inference:3
        instance_type: Standard_DS3_v2
        instance_count: 1
    """,
    "managed, image built from a directory": """
        environment: {build: {path: ./docker}}
        instance_type: Standard_DS3_v2
        instance_count: 1
    """,
    "kubernetes, everything local": """
        type: kubernetes
        code_configuration: {code: ./src, scoring_script: score.py}
        model: {path: ./model}
        environment: {image: "mcr.example/inference:1", conda_file: conda.yml}
        instance_type: gpuinstance
        instance_count: 3
        model_mount_path: /var/models
        environment_variables: {A: "1"}
        resources: {requests: {cpu: "0.5", memory: 1Gi}, limits: {cpu: "1", memory: 2Gi, nvidia.com/gpu: "1"}}
        request_settings: {request_timeout_ms: 3000}
        readiness_probe: {initial_delay: 2}
        scale_settings: {type: target_utilization, min_instances: 1, max_instances: 3, polling_interval: 10,
                         target_utilization_percentage: 70}
        data_collector: {collections: {model_inputs: {enabled: "true", data: {name: mine, version: "4"}}}}
    """,
    "kubernetes, registered": """
        type: kubernetes
        model: azureml:digits:7
        environment: azureml:inference:3
        instance_count: 1
    """,
}

SDK = """
    import sys, time
    from pathlib import Path
    from azure.ai.ml import MLClient, load_online_deployment
    from azure.identity import DefaultAzureCredential
    client = MLClient(DefaultAzureCredential(), *sys.argv[1:4])
    for file in sorted(Path(sys.argv[4]).glob("case*.yml")):
        client.online_deployments.begin_create_or_update(load_online_deployment(file))
        time.sleep(0.5)
"""
"""What a user of the SDK writes; nothing of deployer is in that process."""


@dataclass
class Place:
    """The double, a project directory, and the adapter under test."""

    azure: AzureDouble
    folder: Path
    adapter: AzureMl

    def compile(self, text: str, name: str = "blue", **options: Any) -> dict[str, Any]:
        document = parsed(text)
        return self.adapter.compile(document, self.folder, endpoint=endpoint_for(document), name=name, **options)


def endpoint_for(document: dict[str, Any]) -> str:
    return "cluster" if "kubernetes" in document.get("type", "").lower() else "digits"


def parsed(text: str) -> dict[str, Any]:
    return yaml.safe_load(textwrap.dedent(text).replace("{workspace}", WORKSPACE_ID))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, content in {
        "src/score.py": "def init():\n    pass\n",
        "src/deep/er.py": "x = 1\n",
        "model/model.bin": "m" * 300_000,
        "model/labels.txt": "0\n1\n",
        "conda.yml": "name: x\ndependencies: [python=3.11]\n",
        "docker/Dockerfile": "FROM scratch\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with AzureDouble() as azure:
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
        azure.create("digits")
        azure.create("cluster", compute=f"{WORKSPACE_ID}/computes/aks")
        for kind, name, version in (("models", "digits", "7"), ("environments", "inference", "3")):
            azure.assets.register(kind, name, version)
        cloud = find_cloud("", os.environ)
        adapter = AzureMl(cloud, Workspace(SUBSCRIPTION, GROUP, WORKSPACE), credential(cloud))
        yield Place(azure, folder, adapter)


def put_bodies(azure: AzureDouble) -> list[dict[str, Any]]:
    return [json.loads(call.body) for call in azure.calls if call.method == "PUT" and "/deployments/" in call.path]


def test_the_body_is_the_one_that_the_unpatched_sdk_puts(place: Place) -> None:
    for n, text in enumerate(CASES.values()):
        document = {**parsed(text), "name": f"case{n:02}", "endpoint_name": endpoint_for(parsed(text))}
        (place.folder / f"case{n:02}.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    where = (SUBSCRIPTION, GROUP, WORKSPACE, str(place.folder))
    script = [sys.executable, "-c", textwrap.dedent(SDK), *where]
    done = subprocess.run(script, capture_output=True, text=True, timeout=240, check=False)
    theirs = put_bodies(place.azure)
    assert len(theirs) == len(CASES), done.stderr[-2000:]
    for n, (case, text) in enumerate(CASES.items()):
        assert place.compile(text, f"case{n:02}") == theirs[n], case
    assert len(put_bodies(place.azure)) == len(theirs), "the adapter itself deployed something"


def test_nothing_that_the_yaml_says_is_lost(place: Place) -> None:
    body = place.compile(CASES["managed, everything local"])
    properties = body["properties"]
    assert body["sku"] == {"name": "Default", "capacity": 2}
    assert body["tags"] == {"owner": "team-a"}
    assert properties["modelMountPath"] == "/var/models"
    assert properties["environmentVariables"] == {
        "WORKER_COUNT": "4",
        "GREETING": "grüß Gott: #1",
        "ZERO": "010",
        "YES": "yes",
    }
    assert properties["requestSettings"] == {
        "requestTimeout": "PT1M30S",
        "maxConcurrentRequestsPerInstance": 4,
        "maxQueueWait": "PT0.5S",
    }
    assert (
        properties["readinessProbe"]
        == properties["livenessProbe"]
        == {
            "initialDelay": "PT5S",
            "period": "PT7S",
            "timeout": "PT3S",
            "successThreshold": 1,
            "failureThreshold": 9,
        }
    )
    assert properties["egressPublicNetworkAccess"] == "disabled"
    assert properties["dataCollector"]["collections"]["model_inputs"]["samplingRate"] == 0.00001
    assert properties["dataCollector"]["requestLogging"] == {"captureHeaders": ["x-a", "X-B"]}
    for key in ("model", "environmentId"):
        assert properties[key].startswith(f"{WORKSPACE_ID}/")
    assert properties["codeConfiguration"]["codeId"].startswith(f"{WORKSPACE_ID}/codes/")


def test_what_was_uploaded_is_what_lies_on_disk(place: Place) -> None:
    place.compile(CASES["managed, everything local"])
    stored = {name.rpartition("/")[2]: blob.content for (_, name), blob in place.azure.assets.blobs.items()}
    for path in ("src/score.py", "src/deep/er.py", "model/model.bin", "model/labels.txt"):
        assert stored[Path(path).name] == (place.folder / path).read_bytes()


def test_compiling_again_gives_the_same_body_and_uploads_nothing(place: Place) -> None:
    text = CASES["managed, everything local"]
    first = place.compile(text)
    uploads = place.azure.count("PUT", "/(azureml-blobstore|code-)")
    assert place.compile(text) == first
    assert place.azure.count("PUT", "/(azureml-blobstore|code-)") == uploads


def test_a_registered_version_costs_two_calls_and_no_metadata(place: Place) -> None:
    place.compile(CASES["managed, registered"])
    assert [(call.method, call.path) for call in place.azure.calls if "metadata" not in call.path] == [
        ("GET", f"{WORKSPACE_ID}/onlineEndpoints/digits"),
        ("GET", WORKSPACE_ID),
    ]
    assert place.azure.count("GET", "/metadata/") == 1  # ours, in find_cloud


def test_a_model_of_a_registry_is_not_looked_up(place: Place) -> None:
    body = place.compile(CASES["managed, from a registry"])
    assert body["properties"]["model"] == "azureml://registries/shared/models/digits/versions/7"
    assert place.azure.count("GET", "registries") == 0


@pytest.mark.parametrize("kind", ["kubernetes", "Kubernetes"])
def test_the_kind_of_the_deployment_may_be_written_in_any_case(place: Place, kind: str) -> None:
    body = place.compile(f"{{type: {kind}, model: 'azureml:digits:7', environment: 'azureml:inference:3'}}")
    assert body["properties"]["endpointComputeType"] == "Kubernetes"


def test_the_name_is_lower_case_where_the_sdk_uses_it(place: Place) -> None:
    place.compile(CASES["managed, everything local"], "Blue")
    assert place.azure.count("PUT", "/data/digits-blue-model_inputs/versions/1$") == 1


def test_nothing_reaches_stdout_stderr_or_the_environment(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    before, streams = dict(os.environ), (sys.stdout, sys.stderr)
    for text in CASES.values():
        place.compile(text)
    with pytest.raises(NotFoundError):
        place.compile(CASES["managed, by label"].replace("digits", "nobody"))
    assert capfd.readouterr() == ("", "")
    assert dict(os.environ) == before
    assert (sys.stdout, sys.stderr) == streams


def test_uploads_and_registrations_are_told(place: Place) -> None:
    told: list[str] = []
    place.compile(CASES["managed, everything local"], note=told.append)
    text = "\n".join(told)
    assert "uploading src (0.0 MBs): 100 %" in text
    assert "uploading model (0.3 MBs): 100 %" in text
    assert "registering environment CliV2AnonymousEnvironment:" in text
    assert not any("\x1b" in line or "\n" in line for line in told)


def test_two_clouds_of_one_name_are_two(place: Place, folder: Path) -> None:
    place.compile(CASES["managed, registered"])
    with AzureDouble() as other:
        other.create("digits")
        cloud = find_cloud("", {**os.environ, **other.environment()}, lambda _url: other.metadata(None).body)  # type: ignore[arg-type]
        asked = AzureMl(cloud, Workspace(SUBSCRIPTION, GROUP, WORKSPACE), credential(cloud))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in other.environment().items():
                patch.setenv(name, value)
            asked.compile(parsed(CASES["managed, registered"]), folder, endpoint="digits", name="blue")
        assert other.count("GET", "/onlineEndpoints/digits$") == 1


LOCAL = CASES["managed, everything local"]


@pytest.mark.parametrize(
    ("match", "status", "kind", "words"),
    [
        (("GET", ".*/onlineEndpoints/digits"), 404, NotFoundError, "onlineEndpoints/digits"),
        (("GET", ".*/onlineEndpoints/digits"), 403, DeniedError, "AuthorizationFailed"),
        (("PUT", ".*/environments/.*"), 403, DeniedError, "environments/"),
        (("PUT", ".*/codes/.*"), 400, PlatformError, "codes/"),
        (("POST", ".*/startPendingUpload"), 403, DeniedError, "startPendingUpload"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)  # azure-core repeats it for five seconds first
            for each in (
                (("PUT", ".*/models/.*"), 503, TransientError, "models/"),
                (("GET", ".*/datastores/.*"), 429, TransientError, "datastores/"),
            )
        ),
    ],
)
def test_a_refusal_of_arm_is_told_by_class_and_names_what_was_asked(
    place: Place, match: tuple[str, str], status: int, kind: type[PlatformError], words: str
) -> None:
    place.azure.fault(match, status, times=None, retry_after=0 if status in {429, 503} else None)
    with pytest.raises(kind) as found:
        place.compile(LOCAL)
    assert words in found.value.message
    assert "\n" not in found.value.message
    assert found.value.hint
    assert put_bodies(place.azure) == []


def refuse(place: Place, pattern: str, status: int, code: str) -> None:
    headers = {"x-ms-error-code": code}
    for method in ("PUT", "HEAD"):
        place.azure.route(method, pattern, lambda _request: Answer(status, None, headers), auth=False)


@pytest.mark.parametrize(
    "pattern",
    [
        r"/code-[^/]+/src/score\.py",  # one of several files of the code
        r"/azureml-blobstore/LocalUpload/[^/]+/model/model\.bin",
        r"/azureml-blobstore/.*",
    ],
)
def test_a_file_that_storage_refuses_ends_the_upload_with_the_reason(place: Place, pattern: str) -> None:
    """With its progress bar off, the SDK would wait for ever for the file that failed."""
    refuse(place, pattern, 403, "AuthorizationPermissionMismatch")
    began = time.monotonic()
    with pytest.raises(DeniedError, match=r"refused the upload .AuthorizationPermissionMismatch.") as found:
        place.compile(LOCAL)
    assert time.monotonic() - began < 20
    assert "Storage Blob Data Contributor" in found.value.hint
    assert SAS not in found.value.message


def test_storage_that_cannot_be_reached_is_transient(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(azureml, "BASE_S", 2.0)
    with pytest.raises(TransientError, match=r"could not be uploaded|compiling"):
        place.compile(CASES["managed, one file as model"])


def test_an_upload_that_hangs_ends_and_the_next_one_works(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.azure.fault(("POST", ".*/startPendingUpload"), "slow", seconds=20)
    monkeypatch.setattr(azureml, "BASE_S", 1.0)
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"0\.3 MB could not be uploaded within"):
        place.compile(LOCAL)
    assert time.monotonic() - began < 6
    monkeypatch.setattr(azureml, "BASE_S", 60.0)
    assert place.compile(LOCAL)["properties"]["endpointComputeType"] == "Managed"


def test_no_token_is_denied(place: Place) -> None:
    place.azure.identity.down = True
    with pytest.raises(PlatformError, match="token") as found:
        place.compile(CASES["managed, registered"])
    assert "az login" in found.value.hint


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("src/score.py", "def (:\n", "syntax errors in scoring script score.py"),
        ("src/score.py", None, "score.py"),
        ("model", None, "model.path: there is no ./model"),
        ("conda.yml", None, "environment.conda_file: there is no conda.yml"),
    ],
)
def test_a_local_file_that_is_wrong_or_gone_is_named(place: Place, path: str, content: str | None, words: str) -> None:
    found = place.folder / path
    if content is not None:
        found.write_text(content, encoding="utf-8")
    elif found.is_dir():
        for each in found.iterdir():
            each.unlink()
        found.rmdir()
    else:
        found.unlink()
    with pytest.raises(PlatformError, match=words):
        place.compile(LOCAL)


def test_an_empty_directory_is_refused(place: Place) -> None:
    for each in (place.folder / "model").iterdir():
        each.unlink()
    with pytest.raises(PlatformError, match="empty"):
        place.compile(LOCAL)
