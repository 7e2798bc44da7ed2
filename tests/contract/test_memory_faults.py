"""What tests can do to the platform in memory. That it is a platform at all is in ``test_platforms``."""

from __future__ import annotations

import pytest

from deployer.errors import ConflictError, NotReadyError, TransientError
from deployer.ports.platform import DeploymentState
from tests.contract.local_world import make_spec
from tests.doubles.memory import MemoryPlatform, Write
from tests.doubles.telemetry import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def platform(clock: ManualClock) -> MemoryPlatform:
    platform = MemoryPlatform("digits", clock)
    platform.ensure_endpoint({"name": "digits"})
    platform.create_deployment(make_spec("blue"))
    platform.set_traffic({"blue": 100}, {})
    return platform


def test_a_deployment_is_ready_when_its_time_has_passed(platform: MemoryPlatform, clock: ManualClock):
    platform.ready_after_s = 60
    platform.create_deployment(make_spec("green"))
    clock.advance(59)
    with pytest.raises(NotReadyError):
        platform.set_traffic({"green": 100}, {})
    clock.advance(1)
    platform.set_traffic({"green": 100}, {})


def test_a_deployment_is_ready_when_the_test_says_so(platform: MemoryPlatform):
    platform.ready_after_s = 60
    platform.create_deployment(make_spec("green"))
    platform.make_ready("green")
    platform.set_traffic({"green": 100}, {})


def test_a_deployment_fails_when_the_test_says_so_and_is_made_anew_after_that(platform: MemoryPlatform):
    platform.fail("green", "torn")
    platform.create_deployment(make_spec("green"))
    endpoint = platform.peek()
    assert endpoint is not None
    assert (endpoint.deployments["green"].state, endpoint.deployments["green"].message) == (
        DeploymentState.FAILED,
        "torn",
    )
    platform.create_deployment(make_spec("green"))
    platform.set_traffic({"green": 100}, {})


@pytest.mark.parametrize(("after_effect", "traffic"), [(False, {"blue": 100}), (True, {})])
def test_a_call_fails_once_before_or_after_its_effect(
    platform: MemoryPlatform, after_effect: bool, traffic: dict[str, int]
):
    platform.fail_next("set_traffic", TransientError("lost", hint="Observe."), after_effect=after_effect)
    platform.set_tags({"a": "1"})
    with pytest.raises(TransientError):
        platform.set_traffic({}, {})
    endpoint = platform.peek()
    assert endpoint is not None
    assert endpoint.traffic == traffic
    platform.set_traffic({}, {})


def test_stale_reads_answer_what_was_before_the_last_change(platform: MemoryPlatform):
    platform.set_traffic({}, {})
    platform.stale_reads = 2
    seen = [platform.observe() for _ in range(3)]
    assert [endpoint.traffic for endpoint in seen if endpoint is not None] == [{"blue": 100}, {"blue": 100}, {}]


def test_hands_in_the_portal_are_not_calls_but_writes(platform: MemoryPlatform, clock: ManualClock):
    calls = list(platform.calls)
    platform.add_foreign("hand")
    platform.edit_traffic({"hand": 100})
    platform.edit_tags({"a": "1"})
    platform.edit_scale("blue", 3)
    endpoint = platform.peek()
    assert endpoint is not None
    assert (endpoint.traffic, endpoint.tags) == ({"hand": 100}, {"a": "1"})
    assert endpoint.deployments["hand"].digest is None
    assert endpoint.deployments["blue"].instances_wanted == 3
    assert platform.writes[-1] == Write(clock.now(), {"hand": 100}, {})
    assert platform.calls == calls


def test_a_foreign_deployment_is_a_conflict_for_one_of_the_same_name(platform: MemoryPlatform):
    platform.add_foreign("green")
    with pytest.raises(ConflictError):
        platform.create_deployment(make_spec("green"))


def test_a_removed_deployment_takes_its_traffic_along(platform: MemoryPlatform):
    platform.remove("blue")
    endpoint = platform.peek()
    assert endpoint is not None
    assert (endpoint.traffic, endpoint.deployments) == ({}, {})


def test_an_endpoint_that_vanished_and_is_made_again_is_another_one(platform: MemoryPlatform):
    before = platform.observe()
    platform.vanish()
    assert platform.observe() is None
    platform.ensure_endpoint({"name": "digits"})
    after = platform.observe()
    assert before is not None
    assert after is not None
    assert (after.deployments, after.traffic, after.tags) == ({}, {}, {})
    assert before.uid != after.uid
