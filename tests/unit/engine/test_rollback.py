"""A rollback by hand on Azure: traffic first, whatever else cannot be written, and never onto what does not answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles.arm_script import Answer, Asked
from doubles.arm_service import Azure, Service

from deployer.engine.lease import fence_of
from deployer.engine.rollback import roll_back
from deployer.engine.site import Site
from deployer.errors import DeniedError, ExitCode, NotFoundError, NotReadyError, PlatformError, TransientError
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from deployer.ports.platform import DeploymentSpec
from deployer.report.listeners import Quiet
from deployer.rollout.ending import Ended
from deployer.rollout.tags import LEASE

TAGS = {
    "deployer.rollout": "r",
    "deployer.phase": "promoted:5",
    "deployer.roles": "green|dg|blue|db",
    "deployer.digest": "m",
    "deployer.good": "2|green|dg|1764000000",
    "deployer.previous": "1|blue|db|1763000000|1",
    LEASE: "somebody|4|17",
}


class NoJournal:
    def append(self, rollout_id: str, entry: Any) -> None:
        pass


class Notes(Quiet):
    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def on_note(self, text: str) -> None:
        self.stage.notes.append((text, len(self.stage.service.asked)))


class Stage:
    """Green has all traffic; blue is what was before."""

    def __init__(self, platform: type = ManagedPlatform) -> None:
        self.service = Service()
        self.service.create(traffic={"green": 100}, tags=TAGS)
        self.service.add("green", digest="dg")
        self.service.add("blue", digest="db")
        self.clock = self.service.clock
        self.kind = platform
        self.notes: list[tuple[str, int]] = []
        self.signal: str | None = None

    def roll_back(self, **options: Any) -> Ended:
        platform = self.kind("digits", **Azure(service=self.service).parts())
        site = Site("digits", platform, None, NoJournal(), self.clock, "me", lambda: self.signal)  # type: ignore[arg-type]
        return roll_back(site, Notes(self), to=None, reason="", **options)

    @property
    def endpoint(self) -> dict[str, Any]:
        assert self.service.endpoint is not None
        return self.service.endpoint

    @property
    def traffic(self) -> dict[str, int]:
        return self.endpoint["properties"]["traffic"]

    def index(self, method: str, kind: str) -> int:
        return next(i for i, each in enumerate(self.service.asked) if each[:2] == (method, kind))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def put_fails(answer: Answer, while_: Callable[[Any], bool]) -> Any:
    def fault(asked: Asked, kind: str) -> Answer | None:
        return answer if (kind, asked.method) == ("endpoint", "PUT") and while_(asked.body) else None

    return fault


BUSY = Answer(409, {"error": {"code": "Conflict", "message": "waiting for lock confirmation"}})
SCALING = ("deployment", "PATCH")
POLICY = Answer(403, {"error": {"code": "RequestDisallowedByPolicy", "message": "tags"}})


def test_the_write_comes_first_and_takes_the_lease_over(stage: Stage) -> None:
    assert stage.roll_back().exit_code is ExitCode.OK
    assert stage.traffic == {"blue": 100}
    assert stage.index("PUT", "endpoint") == 2  # after the endpoint and its deployments, and nothing else
    put = stage.service.calls("PUT", "endpoint")[0]
    assert fence_of(put["tags"][LEASE]) == 5
    said = next(calls for text, calls in stage.notes if text == "traffic is back: blue has 100%, verified")
    assert said <= stage.index("PATCH", "endpoint")
    assert fence_of(stage.endpoint["tags"][LEASE]) == 5
    assert stage.endpoint["tags"]["deployer.good"].split("|")[1] == "blue"
    assert len(stage.service.asked) <= 20  # eight of them while the service takes its time


def test_all_else_may_be_down_and_is_not_even_asked_before_traffic_is_safe(stage: Stage) -> None:
    stage.service.add("red", state="Failed")
    stage.service.add("pink", state="Creating")
    asked_of = {("GET", "endpoint"), ("GET", "deployments"), ("PUT", "endpoint")}
    stage.service.fault = lambda asked, kind: None if (asked.method, kind) in asked_of else Answer(503)
    done = stage.roll_back()
    assert (done.exit_code, stage.traffic) == (ExitCode.OK, {"blue": 100})
    said = next(calls for text, calls in stage.notes if text == "traffic is back: blue has 100%, verified")
    assert {each[:2] for each in stage.service.asked[:said]} == asked_of


def test_an_endpoint_that_cannot_be_read_for_half_a_minute_is_brought_back_all_the_same(stage: Stage) -> None:
    until = stage.clock.now().timestamp() + 30
    away = Answer(503)
    stage.service.fault = lambda _asked, _kind: away if stage.clock.now().timestamp() < until else None
    assert stage.roll_back().exit_code is ExitCode.OK
    assert stage.traffic == {"blue": 100}


def test_an_endpoint_that_cannot_be_read_at_all_is_told_and_nothing_is_written(stage: Stage) -> None:
    stage.service.fault = lambda _asked, _kind: Answer(503)
    started = stage.clock.now()
    with pytest.raises(TransientError, match="Nothing was changed"):
        stage.roll_back()
    assert 60 <= (stage.clock.now() - started).total_seconds() < 90
    assert {method for method, *_ in stage.service.asked} == {"GET"}


def test_a_rollout_whose_rollback_dies_after_the_write_can_only_end_as_rolled_back(stage: Stage) -> None:
    stage.endpoint["tags"] |= {"deployer.phase": "shifting:4"}
    stage.service.fault = lambda asked, kind: Answer(503) if (asked.method, kind) == ("PATCH", "endpoint") else None
    assert stage.roll_back().exit_code is ExitCode.OK
    assert stage.endpoint["tags"]["deployer.phase"] == "reverting:4"


def test_tags_that_cannot_be_written_hold_no_rollback_up(stage: Stage) -> None:
    def fault(asked: Asked, kind: str) -> Answer | None:
        changes = kind == "endpoint" and asked.method in {"PUT", "PATCH"}
        return POLICY if changes and asked.body["tags"] != TAGS else None

    stage.service.fault = fault
    assert stage.roll_back().exit_code is ExitCode.OK
    assert stage.traffic == {"blue": 100}
    assert any("tags do not say so" in text for text, _ in stage.notes)


def test_a_busy_endpoint_is_tried_until_it_takes_the_write(stage: Stage) -> None:
    until = stage.clock.now().timestamp() + 60
    stage.service.fault = put_fails(BUSY, lambda _: stage.clock.now().timestamp() < until)
    assert stage.roll_back().exit_code is ExitCode.OK
    assert stage.traffic == {"blue": 100}


def test_an_operation_that_is_canceled_is_repeated(stage: Stage) -> None:
    stage.service.failing = {"code": "OperationCanceled", "message": "higher priority operation"}
    assert stage.roll_back().exit_code is ExitCode.OK
    assert stage.traffic == {"blue": 100}


def test_a_rollback_that_cannot_be_written_is_stuck_after_the_reserve_and_says_what_traffic_is(stage: Stage) -> None:
    started = stage.clock.now()
    stage.service.fault = put_fails(BUSY, lambda _: True)
    with pytest.raises(PlatformError, match="traffic is green 100%") as caught:
        stage.roll_back()
    assert caught.value.exit_code is ExitCode.STUCK
    assert (stage.clock.now() - started).total_seconds() >= 420


def test_a_rollback_without_the_right_to_write_is_stuck_at_once(stage: Stage) -> None:
    stage.service.fault = put_fails(POLICY, lambda _: True)
    with pytest.raises(PlatformError, match="traffic is green 100%") as caught:
        stage.roll_back()
    assert caught.value.exit_code is ExitCode.STUCK
    assert isinstance(caught.value.__cause__, DeniedError)


def test_one_old_read_is_not_nothing_to_do(stage: Stage) -> None:
    shown = {**stage.endpoint, "properties": {**stage.endpoint["properties"], "traffic": {"blue": 100}}}
    stage.service._stale, stage.service.stale_reads = shown, 1
    done = stage.roll_back()
    assert (done.text.startswith("rolled back"), stage.traffic) == (True, {"blue": 100})


def test_nothing_to_do_is_said_when_two_looks_agree(stage: Stage) -> None:
    stage.endpoint["properties"]["traffic"] = {"blue": 100}
    assert "nothing to do" in stage.roll_back().text
    assert stage.service.calls("PUT", "endpoint") == []


def test_the_books_are_written_before_instances_grow_and_the_lease_is_kept_meanwhile(stage: Stage) -> None:
    stage.service.deployments["green"]["sku"]["capacity"] = 4
    stage.clock.sleep(3600)
    assert stage.roll_back().exit_code is ExitCode.OK
    writes = [(kind, body) for method, kind, body in stage.service.asked if method in {"PUT", "PATCH"}]
    grown = next(place for place, (kind, _) in enumerate(writes) if kind == "deployment")
    told = [body["tags"] for kind, body in writes[:grown] if kind == "endpoint"]
    assert told[-1]["deployer.good"].split("|")[1] == "blue"
    assert told[-1][LEASE].split("|")[0] != ""
    assert stage.endpoint["tags"][LEASE].split("|")[0] == ""  # given back at the end


@pytest.mark.parametrize("answers", [True, False])
def test_what_was_scaled_down_gets_traffic_first_and_its_instances_by_a_repetition_where_they_failed(
    stage: Stage, *, answers: bool
) -> None:
    stage.endpoint["tags"]["deployer.previous"] = "1|blue|db|1763000000|8"
    stage.service.deployments["green"]["sku"]["capacity"] = 3
    stage.clock.sleep(3600)
    denied = Answer(403, {"error": {"code": "AuthorizationFailed", "message": "no right to scale"}})
    stage.service.fault = lambda asked, kind: None if answers or (kind, asked.method) != SCALING else denied
    assert (stage.roll_back().exit_code, stage.traffic) == (ExitCode.OK, {"blue": 100})
    assert stage.index("PUT", "endpoint") < stage.index("PATCH", "deployment")
    assert stage.service.deployments["blue"]["sku"]["capacity"] == (8 if answers else 1)
    stage.service.fault = lambda _asked, _kind: None
    stage.clock.sleep(3600)
    assert stage.roll_back().text.startswith("nothing to do" if answers else "rolled back")
    assert stage.service.deployments["blue"]["sku"]["capacity"] == 8


def test_nothing_is_sent_to_a_version_that_is_being_started_from_nothing(stage: Stage) -> None:
    stage.service.deployments["blue"]["sku"]["capacity"] = 0
    stage.clock.sleep(3600)
    stage.service.takes_s = 120  # the scaling, and then the write of traffic too
    seen: list[str] = []

    def fault(asked: Asked, kind: str) -> None:
        if (kind, asked.method) == ("endpoint", "PUT"):
            seen.append(stage.service.deployments["blue"]["properties"]["provisioningState"])

    stage.service.fault = fault
    assert stage.roll_back().exit_code is ExitCode.OK
    assert (seen, stage.traffic) == (["Succeeded"], {"blue": 100})


@pytest.mark.parametrize("platform", [ManagedPlatform, KubernetesPlatform])
def test_force_sends_traffic_to_what_is_not_ready(platform: type) -> None:
    stage = Stage(platform)
    stage.service.add("blue", digest="db", state="Failed")
    with pytest.raises(NotReadyError):
        stage.roll_back()
    assert stage.traffic == {"green": 100}
    assert stage.roll_back(force=True).exit_code is ExitCode.OK
    assert stage.traffic == {"blue": 100}


def deleted_meanwhile(stage: Stage) -> None:
    """Somebody's deletion of blue, begun just before the write, takes effect while the write is under way."""

    def fault(asked: Asked, kind: str) -> None:
        if (kind, asked.method) == ("endpoint", "PUT") and asked.body["properties"]["traffic"] == {"blue": 100}:
            stage.service.deployments.pop("blue", None)

    stage.service.fault = fault


def test_a_target_that_vanishes_during_the_write_does_not_keep_the_traffic(stage: Stage) -> None:
    deleted_meanwhile(stage)
    with pytest.raises(NotFoundError, match="no record"):
        stage.roll_back()
    assert stage.traffic == {"green": 100}
    assert any("blue was deleted meanwhile: green gets its traffic" in text for text, _ in stage.notes)


def test_a_target_that_vanishes_during_the_write_is_made_again_where_it_is_recorded(stage: Stage) -> None:
    made = ManagedPlatform("digits", **Azure(service=stage.service).parts())
    made.create_deployment(DeploymentSpec("other", {"instance_count": 1}, Path(), "db"))
    stage.clock.sleep(100)
    made.delete_deployment("other")  # its record stays
    left = [1]

    def fault(asked: Asked, kind: str) -> None:
        is_ours = (kind, asked.method) == ("endpoint", "PUT") and asked.body["properties"]["traffic"] == {"blue": 100}
        if is_ours and left and left.pop():
            stage.service.deployments.pop("blue")

    stage.service.fault = fault
    assert stage.roll_back().exit_code is ExitCode.OK
    assert (stage.traffic, "blue" in stage.service.deployments) == ({"blue": 100}, True)


def test_an_endpoint_that_cannot_be_read_after_the_write_has_lost_nothing(stage: Stage) -> None:
    del stage.service.deployments["blue"]
    made = ManagedPlatform("digits", **Azure(service=stage.service).parts())
    made.create_deployment(DeploymentSpec("other", {"instance_count": 1}, Path(), "db"))
    stage.clock.sleep(100)
    made.delete_deployment("other")  # its record stays

    def fault(asked: Asked, kind: str) -> Answer | None:
        done = stage.traffic == {"blue": 100} and stage.endpoint["properties"]["provisioningState"] == "Succeeded"
        return Answer(503) if done and kind == "deployments" else None

    stage.service.fault = fault
    assert stage.roll_back().exit_code is ExitCode.OK
    assert stage.traffic == {"blue": 100}
    assert any("cannot be read now" in text for text, _ in stage.notes)
