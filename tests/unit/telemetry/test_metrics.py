"""Azure Monitor metrics: an independent count, and an alarm that never passes anybody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.monitor import CUT, FORBIDDEN, THROTTLED, Response, error
from doubles.monitor_world import T0, MonitorWorld, monitor_world
from unit.telemetry.scenario import END, SECONDS, canary, verdict, write

from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass
from deployer.gate.verdict import Result
from deployer.telemetry.metrics import metrics

pytestmark = pytest.mark.azure


@pytest.fixture
def world(tmp_path: Path) -> Iterator[MonitorWorld]:
    with monitor_world(tmp_path) as world:
        world.clock.advance(SECONDS)
        yield world


def count(world: MonitorWorld, second: float, deployment: str = "green", **what: Any) -> None:
    world.monitor.count(T0 + timedelta(seconds=second), deployment, **what)


def alarm(world: MonitorWorld) -> Any:
    return world.metrics().fetch(T0, END, block_s=10)


def test_as_the_only_source_they_never_pass_a_candidate_however_good(world: MonitorWorld) -> None:
    write(world, canary())
    samples = alarm(world)
    assert sum(cell.n for cell in samples.cells) == len(canary())
    assert samples.complete_until is None
    assert verdict(samples).result is Result.BLIND
    assert verdict(samples, mirrored=True).result is Result.BLIND


def test_as_the_only_source_they_fail_a_candidate_that_breaks_outright(world: MonitorWorld) -> None:
    write(world, canary(errors=0.9))
    assert verdict(alarm(world)).result is Result.FAIL


def test_a_little_worse_is_nothing_they_could_tell(world: MonitorWorld) -> None:
    write(world, canary(errors=0.05))
    assert verdict(alarm(world)).result is Result.BLIND


def test_a_cell_holds_the_answers_of_one_minute_and_code_and_the_mean_of_its_latency(world: MonitorWorld) -> None:
    count(world, 61, n=3, ms=100)
    count(world, 119, n=3, ms=300)
    count(world, 119, n=1, code=408, ms=200)
    cells = {(cell.start, cell.answer): (cell.duration_ms, cell.n) for cell in alarm(world).cells}
    minute = T0 + timedelta(minutes=1)
    assert cells == {(minute, AnswerClass.OK): (200, 6), (minute, AnswerClass.TIMEOUT): (200, 1)}


def test_minutes_that_began_before_are_left_out(world: MonitorWorld) -> None:
    count(world, 30)
    count(world, 90)
    assert len(world.metrics().fetch(T0 + timedelta(seconds=20), END, block_s=10).cells) == 1


def test_requests_are_counted_by_minute_and_failures_apart(world: MonitorWorld) -> None:
    for code, n in ((200, 5), (424, 2), (500, 1), (408, 1), (429, 1), (404, 1)):
        count(world, 65, code=code, n=n)
    counted = world.metrics().count(T0, END)
    minute = T0 + timedelta(minutes=1)
    assert counted.requests == {(minute, "green"): 11}
    assert counted.failed == {(minute, "green"): 4}


def test_an_interim_code_is_no_answer_and_no_request_that_rows_must_tell_of(world: MonitorWorld) -> None:
    count(world, 65, code=200, n=5)
    count(world, 65, code=100, n=3)
    assert list(world.metrics().count(T0, END).requests.values()) == [5]
    assert [cell.n for cell in alarm(world).cells] == [5]


def test_what_no_deployment_answered_is_nobodys(world: MonitorWorld) -> None:
    count(world, 65, "", code=404)
    assert world.metrics().count(T0, END).requests == {}
    assert alarm(world).cells == ()


def test_a_minute_counts_only_some_time_after_it_ended(world: MonitorWorld) -> None:
    assert world.metrics(delay_s=120).count(T0, END).until == END - timedelta(seconds=120)


def test_more_deployments_and_codes_than_the_service_gives_by_itself_are_all_read(world: MonitorWorld) -> None:
    for number in range(30):
        count(world, 65, f"d{number}")
    assert len(world.metrics().count(T0, END).requests) == 30


def test_old_minutes_are_asked_for_once(world: MonitorWorld) -> None:
    reader = world.metrics()
    for minute in range(10):
        count(world, 60 * minute + 5, n=minute + 1)
    world.clock.advance(3600)
    now = world.clock.now()
    first = reader.count(T0, now)
    count(world, SECONDS + 3500, n=7)
    second = reader.count(T0, now)
    assert sum(first.requests.values()) == 55
    assert sum(second.requests.values()) == 62
    asked = [one.body["timespan"] for one in world.monitor.asked]
    assert asked[0].startswith("2026-01-01T00:00:00Z/")
    assert asked[1].startswith("2026-01-01T00:55:00Z/")
    assert sum(reader.count(T0 - timedelta(minutes=5), now).requests.values()) == 62


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1, "7"])
def test_a_value_that_is_no_count_is_refused(world: MonitorWorld, value: Any) -> None:
    count(world, 65)
    world.monitor.metric_edits.append(lambda a: a["value"][0]["timeseries"][0]["data"][0].update(average=value))
    with pytest.raises(TelemetryError, match="not understood"):
        alarm(world)


def test_a_minute_in_which_nothing_was_measured_is_none(world: MonitorWorld) -> None:
    count(world, 65)
    world.monitor.metric_edits.append(lambda a: a["value"][0]["timeseries"][0]["data"][0].pop("average"))
    assert alarm(world).cells == ()


def edit(change: Any) -> Any:
    return lambda answer: change(answer["value"][0])


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(errorCode="Throttled"),
        lambda value: value.update(timeseries=[{"metadatavalues": [], "data": []}] * 1000),
        lambda value: value["timeseries"][0].update(metadatavalues=[]),
        lambda value: value["timeseries"][0]["data"][0].update(timeStamp="2026-01-01T00:00:00"),
    ],
    ids=["error code", "cut off", "wrong dimension", "no time zone"],
)
def test_an_answer_that_may_not_be_the_whole_is_refused(world: MonitorWorld, change: Any) -> None:
    count(world, 65)
    world.monitor.metric_edits.append(edit(change))
    with pytest.raises(TelemetryError):
        alarm(world)


@pytest.mark.parametrize(
    "answer", [THROTTLED, FORBIDDEN, CUT, error(500, "InternalServerError", "Sorry."), Response(200, {"value": [1]})]
)
def test_metrics_that_cannot_be_had_are_an_error_with_a_hint(world: MonitorWorld, answer: Response) -> None:
    world.monitor.always["metrics"] = answer
    with pytest.raises(TelemetryError) as refused:
        alarm(world)
    assert refused.value.hint.endswith(".")


def test_an_endpoint_that_is_not_there_is_an_error(world: MonitorWorld) -> None:
    reader = metrics(world.metrics()._arm, resource_id=f"{world.monitor.endpoint_id}2", clock=world.clock)
    with pytest.raises(TelemetryError, match="no such endpoint"):
        reader.fetch(T0, END, block_s=10)


@pytest.mark.parametrize("name", ["", "digits", "/subscriptions/s' | x", "/subscriptions/../x", "/a/b\n"])
def test_what_is_no_resource_id_is_not_asked_for(world: MonitorWorld, name: str) -> None:
    with pytest.raises(TelemetryError):
        metrics(world.metrics()._arm, resource_id=name, clock=world.clock)
