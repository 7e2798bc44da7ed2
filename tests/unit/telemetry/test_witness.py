"""What our own probes say beside telemetry, and what they never do: pass or fail anybody."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from doubles.telemetry import ManualClock, MemoryTelemetry
from unit.telemetry.scenario import GATE, SLO

from deployer.errors import TransientError
from deployer.gate.judge import judge
from deployer.gate.samples import Samples
from deployer.gate.verdict import Moment, Result, Shift
from deployer.telemetry.witness import IN_A_ROW, Arms, witness
from deployer.telemetry.witness import Testimony as Said

T0 = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


class Watched:
    """Telemetry of a good past, and deployments that answer probes as the test says."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.telemetry = MemoryTelemetry(self.clock)
        self.says: dict[str, Said | Exception] = {"green": Said(200, "green"), "blue": Said(200, "blue")}
        self.asked: list[tuple[str, str]] = []
        self.arms: Arms | Exception | None = Arms("green", "blue")
        self.watched = witness(self.telemetry, self.probe, self.who)

    def probe(self, deployment: str, request_id: str) -> Said:
        self.asked.append((deployment, request_id))
        answer = self.says[deployment]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def who(self) -> Arms | None:
        if isinstance(self.arms, Exception):
            raise self.arms
        return self.arms

    def look(self, times: int = 1) -> Samples:
        for _ in range(times):
            self.clock.advance(10)
            samples = self.watched.fetch(T0, self.clock.now(), block_s=10)
        return samples


@pytest.fixture
def place() -> Watched:
    """Ten minutes and more in which both did well."""
    place = Watched()
    chance = random.Random(7)
    for second in range(650):
        for name in ("blue", "green") * 8:
            ms = round(chance.lognormvariate(4.4, 0.5))
            place.telemetry.answer(T0 + timedelta(seconds=second), name, ms=ms)
    place.clock.advance(600)
    return place


def result(samples: Samples, now: datetime) -> Result:
    return judge(samples, SLO, GATE, Moment(now, "green", "blue", (Shift(T0, 50),), T0, 20, 50)).result


BROKEN = pytest.mark.parametrize(
    "says",
    [Said(424, "green"), Said(500, "green"), Said(404, None), Said(200, "blue"), "no answer"],
    ids=str,
)


def failure(says: Said | str) -> Said | Exception:
    return TransientError("no answer", hint="Wait.") if isinstance(says, str) else says


def test_while_both_answer_telemetry_alone_decides(place: Watched) -> None:
    samples = place.look(5)
    assert samples == place.telemetry.fetch(T0, place.clock.now(), block_s=10)
    said = judge(samples, SLO, GATE, Moment(place.clock.now(), "green", "blue", (Shift(T0, 50),), T0, 20, 50))
    assert said.result is Result.PASS, said.text


@BROKEN
def test_a_candidate_that_answers_no_probe_is_not_passed_by_what_the_log_says_of_better_times(
    place: Watched, says: Said | str
) -> None:
    place.says["green"] = failure(says)
    samples = place.look(IN_A_ROW)
    assert "probes of green failed" in (samples.problem or "")
    assert result(samples, place.clock.now()) is Result.BLIND


def test_fewer_failures_than_that_may_be_a_hiccup(place: Watched) -> None:
    place.says["green"] = Said(424, "green")
    assert place.look(IN_A_ROW - 1).problem is None


def test_one_answer_in_between_begins_the_count_anew(place: Watched) -> None:
    for says in (424, 424, 200, 424, 424):
        place.says["green"] = Said(says, "green")
        samples = place.look()
    assert samples.problem is None
    place.says["green"] = Said(424, "green")
    assert place.look().problem


def test_a_candidate_that_recovers_is_believed_again(place: Watched) -> None:
    place.says["green"] = Said(424, "green")
    assert place.look(IN_A_ROW).problem
    place.says["green"] = Said(200, "green")
    assert place.look().problem is None


def test_when_the_stable_answers_no_probe_either_it_is_not_the_candidate(place: Watched) -> None:
    place.says = {"green": Said(503, "green"), "blue": Said(503, "blue")}
    assert place.look(5).problem is None


def test_without_a_stable_the_candidate_alone_is_watched(place: Watched) -> None:
    place.arms = Arms("green", None)
    place.says["green"] = Said(424, "green")
    assert place.look(IN_A_ROW).problem
    assert {name for name, _ in place.asked} == {"green"}


def test_failures_that_telemetry_sees_itself_may_fail_the_candidate_but_nothing_passes_it(place: Watched) -> None:
    for second in range(600, 640):
        place.telemetry.answer(T0 + timedelta(seconds=second), "green", code=424, model_code=500, n=900)
    place.says["green"] = Said(424, "green")
    samples = place.look(5)
    assert samples.problem is None
    assert samples.complete_until is None
    assert result(samples, place.clock.now()) is Result.FAIL


def test_a_few_failures_of_long_ago_let_nothing_pass_while_probes_fail(place: Watched) -> None:
    place.telemetry.answer(T0, "green", code=424, model_code=500)
    place.says["green"] = Said(424, "green")
    assert result(place.look(IN_A_ROW), place.clock.now()) is Result.BLIND


def test_a_throttled_probe_testifies_nothing(place: Watched) -> None:
    place.says["green"] = Said(429, "green")
    assert place.look(5).problem is None


def test_each_look_asks_each_arm_once_under_a_name_that_telemetry_leaves_out(place: Watched) -> None:
    place.look()
    assert place.asked == [("green", "deployer-witness-green"), ("blue", "deployer-witness-blue")]


@pytest.mark.parametrize("arms", [None, TransientError("busy", hint="Wait.")])
def test_nobody_is_asked_while_nobody_is_compared(place: Watched, arms: Arms | Exception | None) -> None:
    place.arms = arms
    assert place.look().problem is None
    assert place.asked == []


def test_a_problem_of_telemetry_is_not_forgotten(place: Watched) -> None:
    place.telemetry.problem = "half of the rows"
    place.says["green"] = Said(424, "green")
    assert (place.look(IN_A_ROW).problem or "").startswith("half of the rows; the last 3 probes")
