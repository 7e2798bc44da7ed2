"""Deployments on Azure: made once, recorded before, scaled by PATCH, deleted to the end."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError

from deployer.errors import ConflictError, NotFoundError, PlatformError, QuotaExceededError, TransientError
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from deployer.platforms.online.specification import recorded
from deployer.ports.platform import Deployment, DeploymentSpec, DeploymentState
from tests.doubles.arm_script import Answer, Asked
from tests.doubles.arm_service import ENDPOINT, Azure

DIGEST, OTHER = "a" * 64, "b" * 64


def spec(name: str = "green", digest: str = DIGEST, **document: Any) -> DeploymentSpec:
    return DeploymentSpec(name, {"instance_count": 2, **document}, Path(), digest)


class Stage:
    def __init__(self) -> None:
        self.azure = Azure()
        self.clock = self.azure.clock
        self.service = self.azure.service
        self.service.create("blue", traffic={"blue": 100}, tags={"team": "x"})
        self.platform = ManagedPlatform("digits", **self.azure.parts())

    @property
    def tags(self) -> dict[str, str]:
        assert self.service.endpoint is not None
        return self.service.endpoint["tags"]

    @property
    def puts(self) -> list[Any]:
        return self.service.calls("PUT", "deployment")

    def show(self, name: str, state: str, **properties: Any) -> None:
        self.service.deployments[name]["properties"] |= {"provisioningState": state, **properties}

    def seen(self, name: str) -> Deployment:
        endpoint = self.platform.observe()
        assert endpoint is not None
        return endpoint.deployments[name]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def once(kind: str, method: str, trouble: Answer | Exception, *, times: int = 1) -> Any:
    left = [trouble] * times

    def fault(asked: Asked, what: str) -> Answer | None:
        if (what, asked.method) != (kind, method) or not left:
            return None
        found = left.pop()
        if isinstance(found, Exception):
            raise found
        return found

    return fault


# ---- observing


def test_observing_takes_two_calls(stage: Stage) -> None:
    stage.platform.observe()
    assert [each[:2] for each in stage.service.asked] == [("GET", "endpoint"), ("GET", "deployments")]


def test_a_ready_deployment_is_as_the_service_says(stage: Stage) -> None:
    stage.service.add("green", capacity=3, digest=DIGEST)
    assert stage.seen("green") == Deployment("green", DeploymentState.READY, DIGEST, 3, 3, "", stage.clock.now())


def test_what_deployer_did_not_make_has_no_digest(stage: Stage) -> None:
    stage.service.deployments["blue"]["tags"] = {}
    assert stage.seen("blue").digest is None


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ("Creating", DeploymentState.CREATING),
        ("Updating", DeploymentState.CREATING),  # recording 03: the first state of a new deployment
        ("Scaling", DeploymentState.CREATING),
        ("Deleting", DeploymentState.DELETING),
        ("Failed", DeploymentState.FAILED),
        ("Canceled", DeploymentState.FAILED),
        ("Dreaming", DeploymentState.CREATING),
    ],
)
def test_states_are_told_apart(stage: Stage, state: str, seen: DeploymentState) -> None:
    stage.service.add("green", capacity=2)
    stage.show("green", state)
    found = stage.seen("green")
    assert found.state is seen
    assert found.instances_ready == 0
    assert found.message


def test_what_serves_while_it_is_scaled_keeps_serving(stage: Stage) -> None:
    stage.service.add("green", capacity=3)
    stage.seen("green")
    stage.service.deployments["green"]["sku"]["capacity"] = 5
    stage.show("green", "Updating")
    found = stage.seen("green")
    assert (found.state, found.instances_ready, found.instances_wanted) == (DeploymentState.DEGRADED, 3, 5)


@pytest.mark.parametrize("state", ["Updating", "Scaling"])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_scaled_up_from_nothing_has_no_instance_yet(stage: Stage, state: str, known: bool) -> None:
    made = stage.service.add("green", capacity=0)
    if known:
        stage.seen("green")
    made["sku"]["capacity"] = 3
    stage.show("green", state)
    made["systemData"]["lastModifiedAt"] = (stage.clock.now() + timedelta(hours=1)).isoformat()
    assert (stage.seen("green").state, stage.seen("green").instances_ready) == (DeploymentState.CREATING, 0)


@pytest.mark.parametrize("least", [0, 1])
def test_what_was_scaled_down_from_here_is_not_remembered_as_serving(stage: Stage, least: int) -> None:
    platform = (KubernetesPlatform, ManagedPlatform)[least]("digits", **stage.azure.parts())
    stage.service.least_instances = least
    stage.service.add("green", capacity=3)
    platform.observe()
    platform.scale_deployment("green", 0)
    assert stage.service.deployments["green"]["sku"]["capacity"] == least
    platform.scale_deployment("green", 3)
    seen = platform.observe()
    assert seen is not None
    assert seen.deployments["green"].instances_ready == least


def test_what_failed_to_change_while_it_has_traffic_still_serves(stage: Stage) -> None:
    stage.show("blue", "Failed")
    found = stage.seen("blue")
    assert (found.state, found.instances_ready) == (DeploymentState.FAILED, 1)


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ({}, "waiting for machines"),
        ({"StorageInitializer": "Downloading"}, "downloading the model"),
        ({"StorageInitializer": "done", "InferenceServer": "Starting gunicorn"}, "starting the model server"),
    ],
)
def test_the_stage_of_a_creation_shows_in_its_logs(stage: Stage, printed: dict[str, str], told: str) -> None:
    stage.service.add("green", state="Creating")
    stage.service.printed = printed
    assert told in stage.seen("green").message


def test_logs_are_looked_at_every_quarter_of_a_minute_at_most(stage: Stage) -> None:
    stage.service.add("green", state="Creating")
    for _ in range(12):
        stage.seen("green")
        stage.clock.advance(5)
    assert len(stage.service.calls("POST", "logs")) in {6, 8}


def test_why_a_deployment_failed_is_told_in_one_line_and_asked_once(stage: Stage) -> None:
    stage.service.failing = {"code": "OutOfQuota", "message": "not enough\n\x1b[31mquota"}
    stage.platform.create_deployment(spec())
    stage.clock.advance(120)
    first = stage.seen("green")
    assert first.state is DeploymentState.FAILED
    assert "OutOfQuota" in first.message
    assert "\n" not in first.message
    before = len(stage.service.asked)
    assert stage.seen("green") == first
    assert len(stage.service.asked) == before + 2


def test_logs_that_may_not_be_read_are_a_message_less(stage: Stage) -> None:
    stage.service.fault = lambda _asked, kind: Answer(403) if kind == "logs" else None
    stage.service.add("green", state="Failed")
    assert stage.seen("green").message
    assert stage.platform.logs("green") == ""


def test_a_list_that_lacks_the_newest_does_not_lose_it(stage: Stage) -> None:
    stage.platform.create_deployment(spec())
    stage.service.fault = lambda _asked, kind: Answer(body={"value": []}) if kind == "deployments" else None
    for _ in range(2):
        endpoint = stage.platform.observe()
        assert endpoint is not None
        assert set(endpoint.deployments) == {"blue", "green"}  # blue has traffic, green was made a moment ago
    stage.platform.create_deployment(spec())
    assert len(stage.puts) == 1
    stage.platform.delete_deployment("green")
    assert set(stage.service.deployments) == {"blue"}
    del stage.service.deployments["blue"]
    endpoint = stage.platform.observe()
    assert endpoint is not None
    assert endpoint.deployments == {}


def test_a_runner_that_knows_nothing_asks_for_what_has_traffic_and_is_not_listed(stage: Stage) -> None:
    stage.service.fault = lambda _asked, kind: Answer(body={"value": []}) if kind == "deployments" else None
    endpoint = ManagedPlatform("digits", **stage.azure.parts()).observe()
    assert endpoint is not None
    assert set(endpoint.deployments) == {"blue"}


def test_what_azure_runs_otherwise_than_asked_for_is_said(stage: Stage) -> None:
    stage.platform.create_deployment(spec(environment_variables={"A": "1"}))
    stage.service.deployments["green"]["properties"]["environmentVariables"] = {}
    stage.clock.advance(100)
    found = stage.seen("green")
    assert found.state is DeploymentState.READY
    assert "environmentVariables" in found.message or "A" in found.message


def test_what_cannot_be_made_again_is_said_while_it_is_made(stage: Stage) -> None:
    stage.platform.create_deployment(spec(environment_variables={"API_KEY": "0123456789abcdef0123456789abcdef"}))
    assert "API_KEY" in stage.seen("green").message
    assert "0123456789abcdef" not in stage.seen("green").message


@pytest.fixture
def told(stage: Stage) -> list[str]:
    """What the platform says beside its answers."""
    notes: list[str] = []
    stage.platform = ManagedPlatform("digits", **stage.azure.parts(), note=notes.append)
    return notes


def test_uploads_and_what_is_not_recorded_are_told_as_they_happen(stage: Stage, told: list[str]) -> None:
    stage.platform.create_deployment(spec(environment_variables={"API_KEY": "0123456789abcdef0123456789abcdef"}))
    assert told[0] == "green: uploading code: 100 %"
    assert "green cannot be made again once it is deleted: API_KEY looks like a secret" in told[1]
    assert len(told) == 2


def test_settings_that_azure_ignored_are_told_once(stage: Stage, told: list[str]) -> None:
    stage.platform.create_deployment(spec(environment_variables={"A": "1"}))
    stage.service.deployments["green"]["properties"]["environmentVariables"] = {}
    stage.clock.advance(100)
    for _ in range(3):
        stage.seen("green")
    assert ["otherwise than asked for" in text for text in told] == [False, True]


# ---- making


def test_a_version_is_recorded_before_it_is_made(stage: Stage) -> None:
    stage.platform.create_deployment(spec(tags={"owner": "me"}, environment_variables={"A": "1"}))
    order = [each[:2] for each in stage.service.asked if each[0] in {"PUT", "PATCH"}]
    assert order == [("PATCH", "endpoint"), ("PUT", "deployment")]
    known = recorded(stage.tags, DIGEST)
    assert known is not None
    (body,) = stage.puts
    assert body["tags"] == {"owner": "me", "deployer.digest": DIGEST}
    assert known.body["sku"] == body["sku"] == {"name": "Default", "capacity": 2}
    assert stage.seen("green").state is DeploymentState.CREATING


def test_records_of_versions_that_nobody_can_ask_for_are_dropped(stage: Stage) -> None:
    old, good = "c" * 64, "d" * 64
    for number, digest in enumerate((old, good)):
        stage.platform.create_deployment(spec(f"n{number}", digest))
    stage.tags["deployer.good"] = f"1|n1|{good}"
    stage.clock.advance(100)
    for name in ("n0", "n1"):
        stage.platform.delete_deployment(name)
    stage.platform.create_deployment(spec())
    assert recorded(stage.tags, old) is None
    assert recorded(stage.tags, good) is not None
    assert stage.tags["team"] == "x"


def test_reads_that_do_not_know_it_yet_are_waited_out(stage: Stage) -> None:
    stage.service.lost = lambda _asked, kind: kind == "deployment" and bool(setattr(stage.service, "unknown_reads", 4))
    stage.platform.create_deployment(spec())
    assert stage.service.unknown_reads == 0
    assert len(stage.puts) == 1


def test_one_that_never_shows_is_transient(stage: Stage) -> None:
    stage.service.unknown_reads = 10_000
    with pytest.raises(TransientError):
        stage.platform.create_deployment(spec())


def test_an_answer_that_was_lost_after_the_put_is_found_by_reading(stage: Stage) -> None:
    stage.service.lost = lambda _asked, kind: kind == "deployment"
    stage.platform.create_deployment(spec())
    assert len(stage.puts) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(409),
        Answer(503),
        ServiceResponseError("cut"),
        Answer(
            400,
            {
                "error": {
                    "code": "BadRequest",
                    "message": "endpoint digits because it is in Updating provisioning state.",
                }
            },
        ),
    ],
)
def test_a_put_that_came_too_early_or_was_lost_is_sent_again(stage: Stage, trouble: Answer | Exception) -> None:
    stage.service.fault = once("deployment", "PUT", trouble)
    stage.platform.create_deployment(spec())
    assert len(stage.puts) == 2
    assert stage.seen("green").digest == DIGEST


def test_a_model_that_is_not_found_is_told_soon(stage: Stage) -> None:
    started = stage.clock.now()
    lacking = Answer(404, {"error": {"code": "ResourceNotFound", "message": "model m:1 was not found"}})
    stage.service.fault = once("deployment", "PUT", lacking, times=100)
    with pytest.raises(NotFoundError) as caught:
        stage.platform.create_deployment(spec())
    assert "m:1" in caught.value.message
    assert (stage.clock.now() - started).total_seconds() < 60


def test_an_old_read_of_what_had_the_name_before_is_no_conflict(stage: Stage) -> None:
    left = [stage.service.add("green", digest=OTHER)] * 3
    del stage.service.deployments["green"]

    def fault(asked: Asked, kind: str) -> Answer | None:
        is_late = (asked.method, kind) == ("GET", "deployment") and "green" in stage.service.deployments
        return Answer(body=left.pop()) if is_late and left else None

    stage.service.fault = fault
    stage.platform.create_deployment(spec())
    assert left == []
    assert len(stage.puts) == 1


def test_a_refusal_is_told_at_once(stage: Stage) -> None:
    stage.service.fault = once("deployment", "PUT", Answer(400, {"error": {"code": "OutOfQuota", "message": "no"}}))
    with pytest.raises(QuotaExceededError):
        stage.platform.create_deployment(spec())
    assert len(stage.puts) == 1


def test_a_live_deployment_is_never_put_again(stage: Stage) -> None:
    stage.platform.create_deployment(spec())
    for _ in range(2):
        stage.platform.create_deployment(spec())
        stage.platform.recreate_deployment("green", DIGEST)
    stage.platform.scale_deployment("green", 3)
    assert len(stage.puts) == 1


def test_a_failed_one_is_deleted_and_made_anew(stage: Stage) -> None:
    stage.service.add("green", digest=DIGEST, state="Failed")
    stage.platform.create_deployment(spec())
    assert len(stage.service.calls("DELETE", "deployment")) == 1
    assert stage.seen("green").state is DeploymentState.CREATING


def test_one_that_is_being_deleted_is_waited_for(stage: Stage) -> None:
    stage.service.add("green", digest=OTHER)
    stage.azure.arm.delete(f"{stage.platform._resource.path}/deployments/green", "v")
    stage.platform.create_deployment(spec())
    assert stage.seen("green").digest == DIGEST


def test_another_version_under_the_name_is_a_conflict(stage: Stage) -> None:
    for there in ({"deployer.digest": OTHER}, {}):
        stage.service.add("green")["tags"] = there
        with pytest.raises(ConflictError):
            stage.platform.create_deployment(spec())
    assert stage.puts == []


def test_somebody_who_makes_another_version_at_the_same_moment_is_a_conflict(stage: Stage) -> None:
    def other(asked: Asked, kind: str) -> Answer | None:
        if (asked.method, kind) == ("PUT", "deployment"):
            stage.service.add("green", digest=OTHER, state="Creating")
        return None

    stage.service.fault = other
    with pytest.raises(ConflictError) as caught:
        stage.platform.create_deployment(spec())
    assert OTHER[:12] in caught.value.message


def test_a_version_with_secrets_cannot_be_made_from_its_record(stage: Stage) -> None:
    stage.platform.create_deployment(spec(environment_variables={"API_KEY": "0123456789abcdef0123456789abcdef"}))
    assert "0123456789abcdef" not in str(stage.tags)
    stage.clock.advance(100)
    stage.platform.delete_deployment("green")
    with pytest.raises(NotFoundError) as caught:
        stage.platform.recreate_deployment("green", DIGEST)
    assert "API_KEY" in caught.value.message


# ---- scaling


def test_scaling_is_a_patch_of_the_sku(stage: Stage) -> None:
    stage.platform.scale_deployment("blue", 3)
    assert stage.service.calls("PATCH", "deployment") == [{"sku": {"name": "Default", "capacity": 3}}]
    stage.clock.advance(60)
    stage.platform.scale_deployment("blue", 3)
    assert len(stage.service.calls("PATCH", "deployment")) == 1


@pytest.mark.parametrize("trouble", [Answer(409), Answer(503), ServiceResponseError("cut")])
def test_a_scaling_that_was_refused_or_lost_is_asked_for_again(stage: Stage, trouble: Answer | Exception) -> None:
    stage.service.fault = once("deployment", "PATCH", trouble)
    stage.platform.scale_deployment("blue", 3)
    assert stage.seen("blue").instances_wanted == 3


def test_scaling_keeps_the_kind_of_capacity(stage: Stage) -> None:
    stage.service.deployments["blue"]["sku"]["name"] = "Provisioned"
    stage.platform.scale_deployment("blue", 3)
    assert stage.service.calls("PATCH", "deployment") == [{"sku": {"name": "Provisioned", "capacity": 3}}]


def test_a_deployment_that_stays_busy_cannot_be_scaled(stage: Stage) -> None:
    stage.show("blue", "Updating")
    with pytest.raises(ConflictError):
        stage.platform.scale_deployment("blue", 3)
    assert stage.service.calls("PATCH", "deployment") == []


# ---- deleting


def test_a_deletion_is_waited_for(stage: Stage) -> None:
    stage.service.add("green")
    stage.service.takes_s = 200
    started = stage.clock.now()
    stage.platform.delete_deployment("green")
    assert (stage.clock.now() - started).total_seconds() >= 200
    assert len(stage.service.calls("DELETE", "deployment")) == 1


@pytest.mark.parametrize("trouble", [Answer(409), Answer(503), ServiceResponseError("cut")])
def test_a_deletion_that_was_refused_or_lost_is_asked_for_again(stage: Stage, trouble: Answer | Exception) -> None:
    stage.service.add("green")
    stage.service.fault = once("deployment", "DELETE", trouble)
    stage.platform.delete_deployment("green")
    assert set(stage.service.deployments) == {"blue"}


def test_traffic_that_comes_back_just_before_stops_the_deletion(stage: Stage) -> None:
    stage.service.add("green")

    def edit(_asked: Asked, kind: str) -> Answer | None:
        if kind == "deployment":
            assert stage.service.endpoint is not None
            stage.service.endpoint["properties"]["traffic"] = {"blue": 50, "green": 50}
        return None

    stage.service.fault = edit
    with pytest.raises(ConflictError):
        stage.platform.delete_deployment("green")
    assert stage.service.calls("DELETE", "deployment") == []


def taking(stage: Stage, traffic: dict[str, int]) -> None:
    """Somebody else's change of traffic is under way; what it will be does not show yet."""
    assert stage.service.endpoint is not None
    body = copy.deepcopy(stage.service.endpoint)
    body["properties"]["traffic"] = traffic
    stage.azure.arm.put(ENDPOINT, "v", {key: body[key] for key in ("location", "tags", "identity", "properties")})


def test_a_deletion_waits_for_a_change_of_traffic_and_does_not_take_what_it_gives_traffic_to(stage: Stage) -> None:
    stage.service.add("green")
    taking(stage, {"green": 100})
    with pytest.raises(ConflictError, match="has 100 % of live traffic"):
        stage.platform.delete_deployment("green")
    assert set(stage.service.deployments) == {"blue", "green"}
    assert stage.service.calls("DELETE", "deployment") == []


def test_scaling_down_waits_for_a_change_of_traffic_too(stage: Stage) -> None:
    stage.service.add("green")
    taking(stage, {"green": 100})
    with pytest.raises(ConflictError, match="has traffic"):
        stage.platform.scale_deployment("green", 0)
    assert stage.service.deployments["green"]["sku"]["capacity"] == 1


def test_a_version_is_made_after_whatever_keeps_the_endpoint_busy(stage: Stage) -> None:
    stage.service.takes_s = 300.0  # where another deployment locks the endpoint, it is busy for as long as that takes
    taking(stage, {"blue": 100})
    stage.platform.create_deployment(spec())
    assert stage.seen("green").state is DeploymentState.CREATING


def test_an_endpoint_that_stays_busy_is_told(stage: Stage) -> None:
    stage.service.add("green")
    stage.service.takes_s = 1000.0
    taking(stage, {"blue": 100})
    with pytest.raises(ConflictError, match="stays updating"):
        stage.platform.scale_deployment("green", 0)


def test_a_deletion_goes_on_when_the_change_leaves_it_without_traffic(stage: Stage) -> None:
    stage.service.add("green")
    taking(stage, {"blue": 100})
    stage.platform.delete_deployment("green")
    assert set(stage.service.deployments) == {"blue"}


def test_a_deletion_that_never_ends_is_told_and_not_repeated_for_ever(stage: Stage) -> None:
    stage.service.add("green")
    stage.service.takes_s = 1e9
    started = stage.clock.now()
    with pytest.raises(PlatformError) as caught:
        stage.platform.delete_deployment("green")
    assert not isinstance(caught.value, TransientError)
    assert (stage.clock.now() - started).total_seconds() < 1200


def test_a_read_that_does_not_know_a_deployment_is_not_believed(stage: Stage) -> None:
    stage.service.add("green")
    stage.service.unknown_reads = 1
    stage.platform.scale_deployment("green", 2)
    assert stage.service.deployments["green"]["sku"]["capacity"] == 2
    stage.clock.advance(60)


@pytest.mark.parametrize("at", range(5))
def test_a_deletion_has_not_happened_because_one_read_knows_nothing(stage: Stage, at: int) -> None:
    stage.service.add("green")
    reads = [0]

    def fault(asked: Asked, kind: str) -> Answer | None:
        if (asked.method, kind) != ("GET", "deployment"):
            return None
        reads[0] += 1
        return Answer(404) if reads[0] == at + 1 else None

    stage.service.fault = fault
    stage.platform.delete_deployment("green")
    assert set(stage.service.deployments) == {"blue"}


# ---- logs


def test_logs_bear_the_names_of_their_containers(stage: Stage) -> None:
    stage.service.printed = {"StorageInitializer": "got it\n", "InferenceServer": "one\ntwo\n"}
    assert stage.platform.logs("blue") == "== StorageInitializer ==\ngot it\n== InferenceServer ==\none\ntwo"
    assert stage.platform.logs("blue", lines=1) == "two"
    assert KubernetesPlatform("digits", **stage.azure.parts()).logs("blue") == "one\ntwo"


def test_logs_are_shown_without_secrets_and_terminal_codes(stage: Stage) -> None:
    stage.service.printed = {"InferenceServer": "\x1b[31mkey=SECRETsecretSECRETsecret\x1b[0m\nBearer SECRETsecret"}
    assert "SECRETsecret" not in stage.platform.logs("blue")
    assert "\x1b" not in stage.platform.logs("blue")
