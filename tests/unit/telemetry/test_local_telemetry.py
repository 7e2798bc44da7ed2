"""What the local adapter makes of what its source says, and of what it does not say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from doubles.telemetry import ManualClock

from deployer.errors import PlatformError, TelemetryError
from deployer.gate.samples import AnswerClass, Cell
from deployer.telemetry.kql import ANSWER_COLUMNS, Table
from deployer.telemetry.local import LocalTelemetry

T0 = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def bar(seconds: float, deployment: str, n: int) -> list[object]:
    return [int(at(seconds).timestamp()) * 1000, deployment, 200, 200, 12, n]


class ScriptedSource:
    """Answers what the test wrote down; ``asked`` is every query."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.rows: dict[Table, list[list[object]]] = {Table.LIVE: [], Table.SHADOW: []}
        self.said: dict[str, Any] = {"columns": list(ANSWER_COLUMNS), "problem": None, "incidents": []}
        self.answered: dict[str, int] = {"blue": 0, "green": 0}
        self.epoch = ("1", at(-3600))
        self.asked: list[str] = []
        self.break_query: Callable[[], None] = lambda: None
        self.break_counters: Callable[[], None] = lambda: None
        self.telemetry = LocalTelemetry(self, "digits", self.clock)

    def query(self, kql: str) -> dict[str, Any]:
        self.asked.append(kql)
        self.break_query()
        table = next(table for table in Table if kql.startswith(table.value))
        complete = self.clock.now() - timedelta(milliseconds=250)
        return {"rows": self.rows[table], "complete_until": complete.isoformat(), **self.said}

    def counters(self) -> dict[str, Any]:
        self.break_counters()
        return {
            "epoch": self.epoch[0],
            "epoch_started_at": self.epoch[1].isoformat(),
            "at": self.clock.now().isoformat(),
            "answered": dict(self.answered),
        }

    def fetch_at(self, seconds: float, *, mirrored: bool = False, **answered: int) -> Any:
        self.clock.advance((at(seconds) - self.clock.now()).total_seconds())
        self.answered.update(answered)
        return self.telemetry.fetch(T0, self.clock.now(), block_s=1, mirrored=mirrored)


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource()


def test_bars_become_cells(source: ScriptedSource) -> None:
    source.rows[Table.LIVE] = [bar(3, "blue", 7)]
    samples = source.fetch_at(10)
    assert samples.cells == (Cell(at(3), "blue", AnswerClass.OK, 12, 7),)
    assert samples.complete_until == at(9.75)
    assert samples.problem is None


def test_one_query_is_enough_while_nothing_is_missing(source: ScriptedSource) -> None:
    source.fetch_at(10)
    source.fetch_at(20)
    assert len(source.asked) == 2


def test_what_has_settled_is_not_asked_again(source: ScriptedSource) -> None:
    asked = []
    for minute in (4, 6, 7, 8):
        source.asked.clear()
        source.fetch_at(60 * minute)
        asked.append(len(source.asked))
    assert asked == [1, 2, 2, 1]


def test_what_has_settled_is_asked_again_when_it_is_all_that_is_asked(source: ScriptedSource) -> None:
    source.fetch_at(600)
    source.asked.clear()
    source.telemetry.fetch(T0, at(300), block_s=1)
    assert len(source.asked) == 1


def test_what_was_read_with_a_problem_is_asked_again(source: ScriptedSource) -> None:
    source.said["problem"] = "partial"
    source.fetch_at(600)
    source.said["problem"] = None
    source.asked.clear()
    source.fetch_at(600)
    assert len(source.asked) == 2


def test_blocks_of_another_length_are_asked_for_anew(source: ScriptedSource) -> None:
    source.fetch_at(600)
    source.asked.clear()
    source.telemetry.fetch(T0, at(600), block_s=2)
    assert len(source.asked) == 2


@pytest.mark.parametrize(
    "error",
    [OSError("disk"), ValueError("text"), KeyError("rows"), PlatformError("down", hint="Start it."), MemoryError()],
)
def test_whatever_breaks_the_gate_hears_that_it_is_blind(source: ScriptedSource, error: Exception) -> None:
    def fail() -> None:
        raise error

    source.break_query = fail
    with pytest.raises(TelemetryError) as refused:
        source.fetch_at(10)
    assert refused.value.hint.endswith(".")
    assert refused.value.__cause__ is error


@pytest.mark.parametrize(
    "said",
    [
        {"columns": ["Count"]},
        {"rows": [["x"]]},
        {"rows": None},
        {"complete_until": "yesterday"},
        {"complete_until": "2026-01-01T00:00:00"},
        {"incidents": [{"text": "?"}]},
        {"incidents": None},
    ],
)
def test_an_answer_that_cannot_be_understood_is_an_error(source: ScriptedSource, said: dict[str, Any]) -> None:
    source.said.update(said)
    with pytest.raises(TelemetryError):
        source.fetch_at(10)


def test_unknown_completeness_stays_unknown(source: ScriptedSource) -> None:
    source.said["complete_until"] = None
    samples = source.fetch_at(10)
    assert samples.complete_until is None
    assert samples.expected == {}


def test_the_sources_problem_is_the_samples_problem(source: ScriptedSource) -> None:
    source.said["problem"] = "the disk is full"
    assert source.fetch_at(10).problem == "the disk is full"


def test_a_problem_of_both_tables_is_said_once(source: ScriptedSource) -> None:
    source.said["problem"] = "the disk is full"
    assert source.fetch_at(10, mirrored=True).problem == "the disk is full"


@pytest.mark.parametrize(
    ("since", "until", "concerns"),
    [(-20, 0, False), (-20, 1, True), (5, 6, True), (9, 30, True), (10, 30, False), (-3600, 3600, True)],
)
def test_an_incident_is_a_problem_of_the_time_it_concerns(
    source: ScriptedSource, since: float, until: float, concerns: bool
) -> None:
    source.said["incidents"] = [
        {"since": at(since).isoformat(), "until": at(until).isoformat(), "text": "lines could not be read"}
    ]
    problem = source.fetch_at(10).problem
    assert (problem is not None and "lines could not be read" in problem) == concerns


def test_answers_of_a_deployment_that_the_router_does_not_know_are_a_problem(source: ScriptedSource) -> None:
    source.rows[Table.LIVE] = [bar(3, "blue", 1), bar(3, "mauve", 1)]
    assert "mauve" in (source.fetch_at(10).problem or "")


def test_a_deployment_that_was_known_may_be_gone(source: ScriptedSource) -> None:
    source.fetch_at(10)
    del source.answered["blue"]
    source.rows[Table.LIVE] = [bar(3, "blue", 1)]
    assert source.fetch_at(20).problem is None


def test_a_source_that_lives_in_the_future_is_a_problem(source: ScriptedSource) -> None:
    source.said["complete_until"] = at(100).isoformat()
    assert "clocks disagree" in (source.fetch_at(10).problem or "")


def test_answers_without_duration_are_a_problem(source: ScriptedSource) -> None:
    source.rows[Table.LIVE] = [[*bar(3, "blue", 2)[:4], None, 2]]
    assert source.fetch_at(10).problem == "2 answers have no duration"


def test_a_router_that_cannot_be_counted_leaves_the_expectation_open(source: ScriptedSource) -> None:
    def fail() -> None:
        raise OSError("no router")

    source.break_counters = fail
    source.rows[Table.LIVE] = [bar(3, "mauve", 1)]
    source.fetch_at(10)
    samples = source.fetch_at(20, blue=5)
    assert samples.expected == {}
    assert samples.problem is None


def test_what_the_router_counted_before_the_first_reading_is_not_expected(source: ScriptedSource) -> None:
    source.fetch_at(10, blue=1000)
    source.fetch_at(20, blue=1007)
    assert source.fetch_at(30, blue=1007).expected == {"blue": 7}


def test_a_count_outside_the_time_asked_for_is_not_used(source: ScriptedSource) -> None:
    source.fetch_at(0.5, blue=100)  # too close to the beginning: what ended just before may be in it
    source.fetch_at(10, blue=110)
    source.fetch_at(20, blue=130)
    assert source.fetch_at(22, blue=190).expected == {"blue": 20}  # nor the last one: it may be ahead of the log


def test_a_router_that_started_inside_the_time_is_counted_from_nothing(source: ScriptedSource) -> None:
    source.epoch = ("1", at(5))
    source.fetch_at(10, blue=7)
    assert source.fetch_at(20, blue=7).expected == {"blue": 7}


def test_a_router_that_started_again_is_counted_on(source: ScriptedSource) -> None:
    source.fetch_at(10, blue=100)
    source.fetch_at(20, blue=110)
    source.epoch = ("2", at(21))
    source.fetch_at(30, blue=111)
    assert source.fetch_at(40, blue=111).expected == {"blue": 10 + 111}


def test_a_deployment_made_anew_under_its_name_is_counted_on(source: ScriptedSource) -> None:
    source.fetch_at(10, blue=100)
    source.fetch_at(20, blue=110)
    source.fetch_at(30, blue=3)
    assert source.fetch_at(40, blue=3).expected == {"blue": 13}


def test_a_deployment_made_between_two_counts_is_counted_from_nothing(source: ScriptedSource) -> None:
    source.fetch_at(10)
    source.fetch_at(20, teal=4)
    assert source.fetch_at(30).expected == {"teal": 4}


def test_mirrored_answers_explain_what_the_live_log_does_not_hold(source: ScriptedSource) -> None:
    source.rows[Table.LIVE] = [bar(15, "blue", 10)]
    source.rows[Table.SHADOW] = [bar(15, "green", 6)]
    source.fetch_at(10)
    source.fetch_at(20, blue=10, green=10)
    samples = source.fetch_at(30)
    assert samples.expected == {"blue": 10, "green": 4}
    assert sum(cell.n for cell in samples.cells) == 10


def test_counts_are_kept_a_second_apart(source: ScriptedSource) -> None:
    for step in range(100):
        source.fetch_at(10 + step / 10)
    assert len(source.telemetry._counts) <= 11
