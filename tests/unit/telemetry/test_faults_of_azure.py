"""Everything that telemetry of Azure is known to do wrong, and that no gate could pass by what is then read."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.monitor import CUT, FORBIDDEN, GATEWAY_TIMEOUT, THROTTLED, Response, error
from doubles.monitor_world import T0, MonitorWorld, monitor_world
from unit.telemetry.scenario import END, MAX_LAG_S, SECONDS, Answer, Row, canary, read, verdict, write

from deployer.errors import TelemetryError
from deployer.gate.verdict import Result

pytestmark = pytest.mark.azure
GOOD = canary()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[MonitorWorld]:
    """Where requests are in the traffic log."""
    with monitor_world(tmp_path, metrics_delay_s=60) as world:
        world.telemetry = world.traffic_log(max_lag_s=MAX_LAG_S)
        yield world


@pytest.fixture(params=["traffic_log", "app_insights"])
def world(log: MonitorWorld, request: pytest.FixtureRequest) -> MonitorWorld:
    """Where they are in the one or the other."""
    if request.param == "app_insights":
        log.by_container = True
        log.telemetry = log.app_insights(max_lag_s=MAX_LAG_S)
    return log


def blind(world: MonitorWorld, *words: str) -> None:
    """The gate is blind by what is read, and says so in ``words``."""
    said = verdict(read(world))
    assert said.result is Result.BLIND, said.text
    assert all(word in said.text for word in words), said.text


def test_without_a_fault_a_good_candidate_passes(world: MonitorWorld) -> None:
    write(world, GOOD)
    samples = read(world)
    assert samples.problem is None
    assert verdict(samples).result is Result.PASS, verdict(samples).text


def test_a_bad_candidate_fails(world: MonitorWorld) -> None:
    write(world, canary(errors=0.1))
    assert verdict(read(world)).result is Result.FAIL


def test_without_any_row_there_is_no_pass_and_the_missing_ones_are_counted(world: MonitorWorld) -> None:
    write(world, GOOD, lambda _, _row: [])
    blind(world, "telemetry holds 0 of the")


def test_without_rows_and_without_requests_there_is_no_pass(world: MonitorWorld) -> None:
    assert verdict(read(world)).result is Result.INCONCLUSIVE


def lose(share: float, deployment: str = "", since: float = 0, until: float = SECONDS) -> Any:
    chance = random.Random(9)

    def change(answer: Answer, row: Row) -> list[Row]:
        hit = answer.deployment.startswith(deployment) and since <= answer.second < until
        return [] if hit and chance.random() < share else [row]

    return change


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lose(1, "green"), "green"),
        (lose(1, "blue"), "blue"),
        (lose(0.5, "green"), "green"),
        (lose(0.3), "telemetry holds"),
        (lose(1, since=120, until=240), "telemetry holds"),
    ],
    ids=["candidate", "stable", "half of the candidate", "30 %", "two minutes"],
)
def test_rows_that_never_come_are_missed(world: MonitorWorld, fault: Any, words: str) -> None:
    write(world, GOOD, fault)
    blind(world, words)


def late(delay_s: float, deployment: str = "", since: float = 0, until: float = SECONDS, share: float = 1.0) -> Any:
    chance = random.Random(9)

    def change(answer: Answer, row: Row) -> list[Row]:
        hit = answer.deployment.startswith(deployment) and since <= answer.second < until
        if not hit or chance.random() >= share:
            return [row]
        return [(row[0], row[1] + timedelta(seconds=delay_s))]

    return change


@pytest.mark.parametrize(
    "fault",
    [late(900), late(900, "green"), late(900, "blue"), late(900, since=300), late(900, since=300, share=0.5)],
    ids=["all", "candidate", "stable", "of the last five minutes", "half of the last five minutes"],
)
def test_rows_that_are_late_are_waited_for(world: MonitorWorld, fault: Any) -> None:
    write(world, GOOD, fault)
    blind(world)


def test_rows_that_came_late_are_read_when_they_are_there(world: MonitorWorld) -> None:
    write(world, canary(seconds=960), late(400, since=240, until=420))
    blind(world, "telemetry holds")
    samples = read(world, second=900)
    assert verdict(samples, second=900).result is Result.PASS
    assert sum(cell.n for cell in samples.cells if cell.start < END) == len(GOOD)


def test_rows_that_come_twice_are_counted_once(world: MonitorWorld) -> None:
    write(world, GOOD, lambda _, row: [row, row, (row[0], row[1] + timedelta(seconds=30))])
    samples = read(world)
    assert verdict(samples).result is Result.PASS
    assert sum(samples.expected.values()) <= sum(cell.n for cell in samples.cells) <= len(GOOD)


def test_duplicates_do_not_stand_in_for_rows_that_are_missing(world: MonitorWorld) -> None:
    chance = random.Random(9)
    write(world, GOOD, lambda _, row: [row, row] if chance.random() < 0.5 else [])
    blind(world, "telemetry holds")


def test_a_request_id_that_a_client_repeats_is_not_taken_for_a_duplicate(tmp_path: Path) -> None:
    with monitor_world(tmp_path) as world:
        world.clock.advance(60)
        for second in range(10):
            world.monitor.traffic(T0 + timedelta(seconds=second), "blue", request_id="always-the-same")
        assert sum(cell.n for cell in world.telemetry.fetch(T0, END, block_s=10).cells) == 10


def test_a_partial_answer_is_not_believed(world: MonitorWorld) -> None:
    write(world, GOOD)
    world.make_partial()
    samples = read(world)
    assert samples.cells == ()
    assert samples.complete_until is None
    blind(world, "partial")


def test_an_answer_that_is_partial_once_leaves_no_hole_behind(log: MonitorWorld) -> None:
    write(log, GOOD)
    log.make_partial()
    assert verdict(read(log)).result is Result.BLIND
    log.monitor.partial = False
    assert verdict(read(log)).result is Result.PASS


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (THROTTLED, "429"),
        (GATEWAY_TIMEOUT, "504"),
        (FORBIDDEN, "403"),
        (error(401, "AuthorizationRequiredError", "Valid authentication was not provided."), "401"),
        (error(404, "WorkspaceNotFoundError", "The workspace could not be found."), "404"),
        (error(500, "InternalServerError", "Sorry."), "500"),
        (error(503, "ServiceUnavailable", "Sorry."), "503"),
        (CUT, "cannot be reached"),
        (Response(200, b"<html>proxy</html>", {"Content-Type": "text/html"}), "Log Analytics"),
        (Response(200, b'{"tables": [', {}), "Log Analytics"),
        (Response(200, {"tables": []}), "not understood"),
        (Response(200, {}), "not understood"),
        (Response(200, {"tables": [{"name": "x", "columns": [{"name": "n", "type": "long"}], "rows": [[1]]}]}), "col"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_is_none_is_an_error_with_a_hint(log: MonitorWorld, answer: Response, words: str) -> None:
    write(log, GOOD[:100])
    log.monitor.always["query"] = answer
    with pytest.raises(TelemetryError, match=words) as refused:
        read(log)
    assert refused.value.hint.endswith(".")


@pytest.mark.parametrize("answer", [THROTTLED, GATEWAY_TIMEOUT, CUT])
def test_one_refusal_is_got_over_and_the_clock_tells_how_long_it_took(log: MonitorWorld, answer: Response) -> None:
    write(log, GOOD)
    log.monitor.script["query"].append(answer)
    assert verdict(read(log)).result is Result.PASS
    waited = (log.clock.now() - END).total_seconds()
    assert waited == (5 if answer is THROTTLED else 2)


def test_a_server_that_never_answers_is_given_up(log: MonitorWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployer.telemetry.log_analytics.CALL_TIMEOUT_S", 0.0)
    with pytest.raises(TelemetryError, match="no answer within"):
        read(log)
    for thread in threading.enumerate():
        if thread.name == "call of Azure":  # left behind, it still holds a connection
            thread.join(10)


def shift_names(answer: Answer, row: Row) -> list[Row]:
    key = "DeploymentName" if "DeploymentName" in row[0] else "Properties"
    return [({**row[0], key: row[0][key].replace(answer.deployment, f"digits--{answer.deployment}")}, row[1])]


def test_rows_under_other_names_are_nobodys(world: MonitorWorld) -> None:
    write(world, GOOD, shift_names)
    blind(world)


@pytest.mark.parametrize("ahead_s", [3600, -3600, 30, -30])
def test_clocks_that_disagree_are_a_problem(log: MonitorWorld, ahead_s: float) -> None:
    write(log, GOOD)
    log.monitor.ahead_s = ahead_s
    blind(log, "clocks disagree")


def test_a_clock_that_is_off_by_a_few_seconds_is_none(log: MonitorWorld) -> None:
    write(log, GOOD)
    log.monitor.ahead_s = 3
    assert verdict(read(log)).result is Result.PASS


def test_failures_that_only_the_metrics_know_of_are_a_problem(world: MonitorWorld) -> None:
    write(world, canary(errors=0.05), lambda answer, row: [row] if answer.code == 200 else [])
    blind(world, "failures of green")


NO_METRICS = pytest.mark.parametrize(
    "answer", [THROTTLED, FORBIDDEN, CUT, Response(200, {"value": "?"}), Response(200, {"value": []})]
)


@NO_METRICS
def test_without_metrics_a_candidate_whose_lost_requests_nobody_counts_is_never_passed(
    log: MonitorWorld, answer: Response
) -> None:
    write(log, canary(seconds=1200), lose(0.5, "green"))
    log.monitor.always["metrics"] = answer
    said = verdict(read(log, second=1200), second=1200)
    assert said.result is Result.BLIND
    assert "nobody knows" in said.text


@NO_METRICS
def test_without_metrics_a_candidate_that_breaks_outright_still_fails(log: MonitorWorld, answer: Response) -> None:
    write(log, canary(errors=0.9))
    log.monitor.always["metrics"] = answer
    assert verdict(read(log)).result is Result.FAIL


def test_metrics_that_are_away_for_a_moment_blind_for_a_moment(log: MonitorWorld) -> None:
    write(log, GOOD)
    log.monitor.always["metrics"] = FORBIDDEN
    assert "metrics cannot be read" in verdict(read(log)).text
    del log.monitor.always["metrics"]
    assert verdict(read(log)).result is Result.PASS


def broken(edit: Callable[[dict[str, Any]], None]) -> Any:
    return lambda answer: edit(answer["value"][0]["timeseries"][0]["data"][0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, "many"])
def test_a_metric_that_is_no_count_is_no_independent_count(log: MonitorWorld, value: Any) -> None:
    write(log, GOOD)
    log.monitor.metric_edits.append(broken(lambda point: point.update(average=value)))
    assert read(log).expected == {}


def test_our_own_probes_are_neither_judged_nor_missed(world: MonitorWorld) -> None:
    write(world, GOOD)
    for second in range(0, SECONDS, 2):
        at = T0 + timedelta(seconds=second)
        for name in ("deployer-smoke", "deployer-witness-green"):
            world.monitor.count(at, "green", code=424)
            if world.by_container:
                world.monitor.app_request(at, "green", code=500, asked_as=name)
            else:
                world.monitor.traffic(at, "green", code=424, model_code=500, asked_as=name)
    samples = read(world)
    assert verdict(samples).candidate.errors == 0
    assert verdict(samples).result is Result.PASS
