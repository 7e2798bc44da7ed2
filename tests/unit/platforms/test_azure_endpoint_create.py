"""Creating an endpoint from its Azure ML YAML, and leaving one alone that exists."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError

from deployer.errors import NotFoundError, PlanError, PlatformError, TransientError
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from deployer.platforms.online.endpoint import OnlineEndpoint
from tests.doubles.arm_script import Answer, Asked
from tests.doubles.arm_service import WORKSPACE, Azure


class Stage:
    def __init__(self, platform: type[Any] = ManagedPlatform) -> None:
        self.azure = Azure()
        self.service = self.azure.service
        self.platform: OnlineEndpoint = platform("digits", **self.azure.parts())

    def ensure(self, **document: Any) -> Any:
        self.platform.ensure_endpoint({"name": "digits", "auth_mode": "key", **document})
        return self.service.calls("PUT", "endpoint")[0]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_least_that_can_be_said_makes_an_endpoint(stage: Stage) -> None:
    assert stage.ensure() == {
        "location": "westeurope",
        "identity": {"type": "SystemAssigned"},
        "tags": {},
        "properties": {"authMode": "Key", "properties": {}, "traffic": {}, "mirrorTraffic": {}},
    }
    endpoint = stage.platform.observe()
    assert endpoint is not None
    assert endpoint.name == "digits"
    assert endpoint.scoring_url


@pytest.mark.parametrize(
    ("auth_mode", "mode"),
    [("key", "Key"), ("aml_token", "AMLToken"), ("aad_token", "AADToken"), ("AAD_Token", "AADToken")],
)
def test_everything_in_the_document_is_taken_over(stage: Stage, auth_mode: str, mode: str) -> None:
    body = stage.ensure(
        auth_mode=auth_mode,
        description="d",
        tags={"a": 1},
        properties={"p": "q"},
        public_network_access="disabled",
        identity={"type": "user_assigned", "user_assigned_identities": [{"resource_id": "/id/a"}, "/id/b"]},
        location="northeurope",
    )
    assert body["location"] == "northeurope"
    assert body["tags"] == {"a": "1"}
    assert body["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {"/id/a": {}, "/id/b": {}}}
    assert body["properties"] == {
        "authMode": mode,
        "properties": {"p": "q"},
        "description": "d",
        "publicNetworkAccess": "Disabled",
        "traffic": {},
        "mirrorTraffic": {},
    }


@pytest.mark.parametrize(
    "written", ["azureml:aks1", "aks1", f"{WORKSPACE.id}/computes/aks1", f"azureml:{WORKSPACE.id}/computes/aks1"]
)
def test_a_cluster_is_named_by_its_id_however_it_is_written(written: str) -> None:
    assert Stage(KubernetesPlatform).ensure(compute=written)["properties"]["compute"] == f"{WORKSPACE.id}/computes/aks1"


@pytest.mark.parametrize(
    ("platform", "compute"), [(ManagedPlatform, {"compute": "azureml:aks1"}), (KubernetesPlatform, {})]
)
def test_an_endpoint_of_the_other_kind_is_refused_before_and_after_it_exists(
    platform: type[Any], compute: dict[str, str]
) -> None:
    stage = Stage(platform)
    with pytest.raises(PlanError) as caught:
        stage.ensure(**compute)
    assert "platform:" in caught.value.hint
    assert stage.service.calls("PUT", "endpoint") == []
    stage.service.create()
    assert stage.service.endpoint is not None
    stage.service.endpoint["properties"]["compute"] = compute.get("compute")
    with pytest.raises(PlanError):
        stage.platform.ensure_endpoint({"name": "digits", **({} if compute else {"compute": "azureml:aks1"})})
    assert stage.service.calls("PUT", "endpoint") == []


def test_it_is_waited_until_it_is_ready(stage: Stage) -> None:
    stage.service.takes_s = 90
    started = stage.azure.clock.now()
    stage.ensure()
    assert 90 <= (stage.azure.clock.now() - started).total_seconds() < 95


@pytest.mark.parametrize("state", ["Succeeded", "Failed"])
def test_one_that_exists_is_left_alone(stage: Stage, state: str) -> None:
    stage.service.create(traffic={}, tags={"a": "1"})
    assert stage.service.endpoint is not None
    stage.service.endpoint["properties"]["provisioningState"] = state
    stage.platform.ensure_endpoint({"name": "digits", "tags": {"b": "2"}})
    assert stage.service.calls("PUT", "endpoint") == []
    assert stage.service.endpoint["tags"] == {"a": "1"}


@pytest.mark.parametrize("misses", [1, 2, 3])
def test_a_read_that_does_not_know_it_never_makes_one_that_exists_anew(stage: Stage, misses: int) -> None:
    stage.service.create(traffic={"blue": 100})
    left = [Answer(404)] * misses
    stage.service.fault = lambda _asked, kind: left.pop() if kind == "endpoint" and left else None
    stage.platform.ensure_endpoint({"name": "digits"})
    assert stage.service.calls("PUT", "endpoint") == []


def test_a_list_that_does_not_know_it_never_makes_one_that_exists_anew(stage: Stage) -> None:
    stage.service.create(traffic={"blue": 100})
    left = [Answer(404)]
    stage.service.fault = lambda _asked, kind: (
        Answer(body={"value": []}) if kind == "endpoints" else left.pop() if kind == "endpoint" and left else None
    )
    stage.platform.ensure_endpoint({"name": "digits"})
    assert stage.service.calls("PUT", "endpoint") == []


def test_one_that_is_being_created_is_waited_for(stage: Stage) -> None:
    stage.platform._create._try_put({"name": "digits"})
    stage.platform.ensure_endpoint({"name": "digits"})
    assert len(stage.service.calls("PUT", "endpoint")) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(409),
        Answer(503),
        ServiceResponseError("cut"),
        Answer(
            404,
            {
                "error": {
                    "code": "NotFound",
                    "details": [{"code": "InferencingClientCallFailed", "message": '{"title":"Not Found"}'}],
                }
            },
        ),
    ],
)
def test_a_put_that_was_refused_for_now_or_lost_is_sent_again(stage: Stage, trouble: Answer | Exception) -> None:
    left: list[Any] = [trouble]

    def fault(asked: Asked, kind: str) -> Answer | None:
        if (kind, asked.method) != ("endpoint", "PUT") or not left:
            return None
        found = left.pop()
        if isinstance(found, Exception):
            raise found
        return found

    stage.service.fault = fault
    stage.ensure()
    assert stage.service.endpoint is not None
    assert len(stage.service.calls("PUT", "endpoint")) == 2


def test_an_answer_that_was_lost_after_the_put_is_found_by_reading(stage: Stage) -> None:
    stage.service.lost = lambda _asked, _kind: True
    stage.ensure()
    assert len(stage.service.calls("PUT", "endpoint")) == 1


def test_a_name_that_is_taken_is_told(stage: Stage) -> None:
    said = "There is already an endpoint with this name"
    stage.service.fault = lambda asked, _kind: (
        Answer(400, {"error": {"code": "BadArgument", "message": said}}) if asked.method == "PUT" else None
    )
    with pytest.raises(PlatformError) as caught:
        stage.ensure()
    assert said in caught.value.message


def test_an_endpoint_that_cannot_be_created_says_why(stage: Stage) -> None:
    stage.service.failing = {"code": "WorkspaceManagedNetworkNotReady", "message": "provision the network"}
    made = stage.service._new_endpoint
    stage.service._new_endpoint = lambda body: {  # type: ignore[method-assign]
        **(found := made(body)),
        "properties": {**found["properties"], "scoringUri": None},
    }
    with pytest.raises(PlatformError) as caught:
        stage.ensure()
    assert "provision the network" in caught.value.message


def test_a_workspace_that_does_not_exist_is_told(stage: Stage) -> None:
    stage.service.fault = lambda _asked, kind: Answer(404) if kind == "workspace" else None
    with pytest.raises(NotFoundError) as caught:
        stage.ensure()
    assert "workspace w" in caught.value.message


def test_one_that_never_becomes_ready_is_transient_within_its_deadline(stage: Stage) -> None:
    stage.service.takes_s = 1e9
    with pytest.raises(TransientError):
        stage.ensure()
