"""A runner whose clock is minutes off judges as one whose clock is right; further off, it is blind and says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from doubles.monitor_world import T0, MonitorWorld, monitor_world
from doubles.telemetry import ManualClock
from hypothesis import given
from hypothesis import strategies as st
from scenario import MAX_LAG_S, RPS, SECONDS, Answer, canary, read, verdict, write

from deployer.cloud.arm import Arm
from deployer.cloud.service_clock import ServiceClock
from deployer.errors import TelemetryError
from deployer.gate.verdict import Result
from deployer.telemetry.metrics import metrics
from deployer.telemetry.service_time import InServiceTime
from deployer.telemetry.traffic_log import traffic_log

GOOD, BROKEN = canary(), canary(errors=0.3)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[MonitorWorld]:
    with monitor_world(tmp_path) as world:
        arm = Arm(world.cloud, world.tokens, world.clock)
        clock = ServiceClock(world.clock, lambda: arm.server_time)
        count = metrics(arm, resource_id=world.monitor.endpoint_id, clock=clock, delay_s=0.0)
        asked = {"workspace_id": None, "resource_id": world.monitor.endpoint_id, "endpoint": world.monitor.endpoint}
        source = traffic_log(world.cloud, world.tokens, **asked, clock=clock, max_lag_s=MAX_LAG_S, counter=count)
        world.telemetry = InServiceTime(source, clock)
        world.look = lambda: arm.get(world.monitor.endpoint_id, "any")  # type: ignore[attr-defined]
        yield world


def is_off(world: MonitorWorld, ahead_s: float, answers: list[Answer]) -> None:
    """Azure's clock is ahead of ours, and everything that it stamps with it."""
    world.monitor.ahead_s = ahead_s
    write(world, [replace(answer, ended=answer.ended + timedelta(seconds=ahead_s)) for answer in answers])
    world.look()  # type: ignore[attr-defined]  (every rollout looks at its endpoint before it asks for telemetry)


OFF = pytest.mark.parametrize("ahead_s", [-240.0, 240.0, -33.0, 7.0, 0.0])


@OFF
def test_a_clock_that_is_off_by_minutes_judges_as_one_that_is_right(log: MonitorWorld, ahead_s: float) -> None:
    is_off(log, ahead_s, GOOD)
    samples = read(log)
    said = verdict(samples)
    assert (said.result, samples.problem, samples.doubt) == (Result.PASS, None, None)
    arrived = sum(answer.second + 60 < SECONDS for answer in GOOD)  # the others may be on their way still
    assert sum(cell.n for cell in samples.cells) > arrived - 10 * RPS  # a block of the first answers may be cut off
    assert samples.complete_until is not None
    assert timedelta() <= log.clock.now() - samples.complete_until <= timedelta(seconds=MAX_LAG_S)


@OFF
def test_a_broken_candidate_fails_whatever_our_clock_says(log: MonitorWorld, ahead_s: float) -> None:
    is_off(log, ahead_s, BROKEN)
    assert verdict(read(log)).result is Result.FAIL


@pytest.mark.parametrize(("ahead_s", "where"), [(-1200.0, "20m ahead of"), (1200.0, "20m behind")])
def test_a_clock_that_is_off_by_more_is_blind_and_says_how_far(log: MonitorWorld, ahead_s: float, where: str) -> None:
    is_off(log, ahead_s, GOOD)
    with pytest.raises(TelemetryError, match=where) as found:
        read(log)
    assert "Set the clock" in found.value.hint


def test_logs_whose_clock_differs_from_that_of_arm_are_a_problem(log: MonitorWorld) -> None:
    write(log, GOOD)
    read(log)
    log.telemetry._clock._server_time = lambda: log.clock.now() + timedelta(seconds=240)  # type: ignore[attr-defined]
    assert "clocks disagree" in str(read(log).problem)


@given(true_s=st.floats(-280, 280), jitter=st.lists(st.floats(-1.2, 1.2), min_size=2, max_size=20))
def test_readings_that_differ_by_a_second_move_nothing(true_s: float, jitter: list[float]) -> None:
    ours = ManualClock(T0)
    readings = iter(jitter)
    clock = ServiceClock(ours, lambda: ours.now() + timedelta(seconds=true_s + next(readings)))
    found = [clock.ahead_s() for _ in jitter]
    if abs(true_s) > 7.2 or abs(true_s) < 4.8:
        assert len(set(found)) == 1
    assert all(abs(each - true_s) < 7.2 for each in found)


def test_a_clock_that_was_set_right_meanwhile_is_followed() -> None:
    ours, ahead_s = ManualClock(T0), [240.0]
    clock = ServiceClock(ours, lambda: ours.now() + timedelta(seconds=ahead_s[0]))
    assert clock.ahead_s() == 240
    ahead_s[0] = 1.0
    assert clock.ahead_s() == 0
    assert ServiceClock(ours, lambda: None).now() == T0
