"""Tags on Azure: compared by reading, proven by two reads, removed one way or the other."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError

from deployer.errors import ConflictError, NotFoundError, PlatformError, TransientError
from deployer.platforms.managed import ManagedPlatform
from tests.doubles.arm_script import Answer, Asked
from tests.doubles.arm_service import Azure


class Stage:
    def __init__(self, tags: dict[str, str] | None = None) -> None:
        self.azure = Azure()
        self.service = self.azure.service
        self.service.create("blue", traffic={"blue": 100}, tags=tags or {"team": "x"})
        self.platform = ManagedPlatform("digits", **self.azure.parts())

    @property
    def tags(self) -> dict[str, str]:
        assert self.service.endpoint is not None
        return self.service.endpoint["tags"]

    @property
    def patches(self) -> list[Any]:
        return self.service.calls("PATCH", "endpoint")

    def observed(self) -> dict[str, str]:
        endpoint = self.platform.observe()
        assert endpoint is not None
        return dict(endpoint.tags)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_write_is_one_patch_of_the_whole_map_between_three_reads(stage: Stage) -> None:
    stage.platform.set_tags({"a": "1"})
    assert [each[:2] for each in stage.service.asked] == [
        ("GET", "endpoint"),
        ("PATCH", "endpoint"),
        ("GET", "endpoint"),
        ("GET", "endpoint"),
    ]
    assert stage.patches == [{"tags": {"team": "x", "a": "1"}}]
    assert stage.service.calls("PUT", "endpoint") == []


@pytest.mark.parametrize("merges", [False, True])
def test_a_tag_is_removed_or_emptied_and_reads_as_absent(stage: Stage, merges: bool) -> None:
    stage.service.merges = merges
    stage.platform.set_tags({"a": "1", "b": "2"})
    stage.platform.set_tags({"a": None})
    assert stage.observed() == {"team": "x", "b": "2"}
    assert stage.tags.get("a", "") == ""
    before = len(stage.patches)
    stage.platform.set_tags({"b": None}, expect={"a": None})
    assert stage.observed() == {"team": "x"}
    assert len(stage.patches) == before + 1  # it is known by now how this service removes


def test_what_holds_already_is_not_written(stage: Stage) -> None:
    stage.platform.set_tags({"team": "x", "nothing": None})
    assert stage.patches == []


def test_an_old_read_is_waited_out(stage: Stage) -> None:
    stage.service.lost = lambda _asked, _kind: bool(setattr(stage.service, "stale_reads", 5))
    stage.platform.set_tags({"a": "1"})
    assert stage.service.stale_reads == 0
    assert len(stage.patches) == 1


def test_a_write_that_was_lost_after_its_effect_is_found_by_reading(stage: Stage) -> None:
    left = [True]
    stage.service.lost = lambda _asked, _kind: bool(left) and left.pop()
    stage.platform.set_tags({"lease": "me|1|2"}, expect={"lease": None})
    assert stage.tags["lease"] == "me|1|2"
    assert len(stage.patches) == 1


@pytest.mark.parametrize("trouble", [Answer(409), Answer(503), ServiceResponseError("cut")])
def test_a_write_that_was_refused_or_lost_before_its_effect_is_sent_again(
    stage: Stage, trouble: Answer | Exception
) -> None:
    left: list[Any] = [trouble]

    def fault(asked: Asked, _kind: str) -> Answer | None:
        if asked.method != "PATCH" or not left:
            return None
        found = left.pop()
        if isinstance(found, Exception):
            raise found
        return found

    stage.service.fault = fault
    stage.platform.set_tags({"a": "1"}, expect={"a": None})
    assert stage.tags["a"] == "1"


def test_of_two_who_compare_at_the_same_moment_one_learns_that_it_lost(stage: Stage) -> None:
    left = [True]

    def other(asked: Asked, _kind: str) -> bool:
        if asked.method == "PATCH" and left:
            left.pop()
            stage.tags["lease"] = "you"  # the other one's PATCH comes right after ours
        return False

    stage.service.lost = other
    with pytest.raises(ConflictError):
        stage.platform.set_tags({"lease": "me"}, expect={"lease": None})
    assert stage.tags["lease"] == "you"


def test_a_tag_that_is_overwritten_between_the_two_reads_is_noticed(stage: Stage) -> None:
    reads = [0]

    def other(asked: Asked, kind: str) -> Answer | None:
        if stage.patches and asked.method == "GET" and kind == "endpoint":
            reads[0] += 1
            if reads[0] == 2:
                stage.tags["lease"] = "you"
        return None

    stage.service.fault = other
    with pytest.raises(ConflictError):
        stage.platform.set_tags({"lease": "me"}, expect={"lease": None})


def test_an_endpoint_that_stays_busy_is_transient_within_its_deadline(stage: Stage) -> None:
    assert stage.service.endpoint is not None
    stage.service.endpoint["properties"]["provisioningState"] = "Updating"
    started = stage.azure.clock.now()
    with pytest.raises(TransientError):
        stage.platform.set_tags({"a": "1"})
    assert (stage.azure.clock.now() - started).total_seconds() < 240
    assert len(stage.patches) == 1  # the last try is made however busy it looks


def test_the_lock_is_free_while_somebody_elses_operation_is_waited_for(stage: Stage) -> None:
    assert stage.service.endpoint is not None
    stage.service.endpoint["properties"]["provisioningState"] = "Updating"
    slept: list[bool] = []
    sleep = stage.azure.clock.sleep

    def watch(seconds: float) -> None:
        slept.append(stage.platform._resource.lock._is_owned())  # type: ignore[attr-defined]
        sleep(seconds)
        if len(slept) == 3:
            stage.service.endpoint["properties"]["provisioningState"] = "Succeeded"  # type: ignore[index]

    stage.azure.clock.sleep = watch  # type: ignore[method-assign]
    stage.platform.set_tags({"a": "1"})
    assert slept[:3] == [False] * 3


def test_more_tags_than_azure_keeps_are_refused(stage: Stage) -> None:
    with pytest.raises(PlatformError) as caught:
        stage.platform.set_tags({f"t{number}": "1" for number in range(50)})
    assert "50" in caught.value.message
    assert stage.patches == []


def test_an_endpoint_that_is_gone_is_not_found(stage: Stage) -> None:
    stage.service.endpoint = None
    with pytest.raises(NotFoundError):
        stage.platform.set_tags({"a": "1"})


def test_recorded_specifications_are_not_shown() -> None:
    stage = Stage({"deployer.spec.0123456789ab.0": "…", "deployer.good": "1"})
    assert stage.observed() == {"deployer.good": "1"}
