"""What platforms and plan learn from a native document, with Azure's defaults where it says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.manifest.azureml import DeploymentSource, EndpointSource, Probe, RequestSettings, is_local, local_paths


def source(**document: Any) -> DeploymentSource:
    return DeploymentSource(None, document, Path("/p"), "d" * 64)


def test_azure_s_defaults() -> None:
    empty = source()
    assert empty.name is None
    assert empty.instance_count == 1
    assert empty.instance_type is None
    assert empty.request_settings == RequestSettings(5000, 1)
    assert empty.readiness_probe == Probe(10, 10, 2, 1, 30)
    assert empty.environment_variables == {}
    assert empty.code_dir is None
    assert empty.scoring_script is None
    assert empty.model_path is None
    assert empty.path is None


def test_what_the_document_says() -> None:
    full = source(
        instance_count=3,
        instance_type="F2",
        request_settings={"request_timeout_ms": 100, "max_queue_wait_ms": 5},
        readiness_probe={"initial_delay": 1, "period": 2, "timeout": 3, "success_threshold": 2, "failure_threshold": 4},
        environment_variables={"A": "x", "N": 2},
        code_configuration={"code": "../src", "scoring_script": "score.py"},
        model={"path": "model.pkl"},
    )
    assert (full.instance_count, full.instance_type) == (3, "F2")
    assert full.request_settings == RequestSettings(100, 1)
    assert full.environment_variables == {"A": "x", "N": "2"}
    assert full.code_dir == Path("/p/../src")
    assert full.scoring_script == "score.py"
    assert full.model_path == Path("/p/model.pkl")


def test_an_instance_has_until_its_last_probe_answered_to_become_ready() -> None:
    assert source().ready_within_s() == 10 + 30 * 10 + 2
    probe = {"initial_delay": 1, "period": 2, "timeout": 3, "success_threshold": 2, "failure_threshold": 4}
    assert source(readiness_probe=probe).ready_within_s() == 1 + 5 * 2 + 3


@pytest.mark.parametrize(
    "model", ["azureml:m:1", "azureml://registries/r/models/m/versions/1", {"path": "azureml://datastores/d/m"}]
)
def test_a_registered_model_is_no_path(model: Any) -> None:
    assert source(model=model).model_path is None


def test_a_registered_code_asset_is_no_directory() -> None:
    assert source(code_configuration={"code": "azureml:c:1", "scoring_script": "s.py"}).code_dir is None


@pytest.mark.parametrize(
    ("text", "local"), [("./m", True), ("m", True), ("azureml:m:1", False), ("https://x/y", False), ("runs:/1", False)]
)
def test_local_is_what_has_no_scheme(text: str, local: bool) -> None:
    assert is_local(text) is local


def test_local_paths_are_those_that_the_sdk_would_upload() -> None:
    document: dict[str, Any] = {
        "code_configuration": {"code": "src"},
        "model": {"path": "m"},
        "environment": {"conda_file": "c.yml", "build": {"path": "docker"}},
    }
    assert [(path.written, path.kind) for path in local_paths(document)] == [
        ("src", "directory"),
        ("m", "any"),
        ("c.yml", "file"),
        ("docker", "directory"),
    ]
    remote: dict[str, Any] = {
        "code_configuration": {"code": "azureml:c:1"},
        "model": "azureml:m:1",
        "environment": {"conda_file": {"name": "x"}, "build": {"path": "https://git/x"}},
    }
    assert list(local_paths(remote)) == []
    assert list(local_paths({"model": [], "code_configuration": 5, "environment": None})) == []


def test_sources_are_plain_values() -> None:
    assert EndpointSource("a", {}) == EndpointSource("a", {}, None)
    assert source(a=1) == source(a=1)
