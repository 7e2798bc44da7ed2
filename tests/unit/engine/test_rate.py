"""The rate that a plan is checked against is read from telemetry, and unknown when telemetry is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deployer.engine.rate import observe_rate
from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass, Cell, Samples

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Told:
    """Telemetry that tells what it is given."""

    def __init__(self, samples: Samples | None) -> None:
        self.samples = samples

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        if self.samples is None:
            raise TelemetryError("nothing", hint="Wait.")
        return self.samples


def minutes_ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def cell(minutes: float, n: int, ms: int = 80, answer: AnswerClass = AnswerClass.OK, name: str = "blue") -> Cell:
    return Cell(minutes_ago(minutes), name, answer, ms, n)


def test_the_rate_is_that_of_the_time_in_which_requests_were_seen() -> None:
    cells = (cell(20, 300), cell(15, 300, 120), cell(12, 300, 100, name="green"))
    rate = observe_rate(Told(Samples(cells, 60, minutes_ago(5))), NOW)
    assert rate is not None
    assert (rate.rps, rate.median_ms, rate.seconds) == (1.0, 100.0, 900.0)


def test_answers_after_what_is_complete_are_not_counted() -> None:
    rate = observe_rate(Told(Samples((cell(20, 600), cell(3, 600)), 60, minutes_ago(10))), NOW)
    assert rate is not None
    assert rate.rps == 1.0


def test_errors_have_a_rate_and_no_latency() -> None:
    rate = observe_rate(Told(Samples((cell(10, 600, 3, AnswerClass.ERROR),), 60, NOW)), NOW)
    assert rate is not None
    assert (rate.rps, rate.median_ms) == (1.0, None)


@pytest.mark.parametrize(
    "samples",
    [
        None,
        Samples((), 60, NOW),
        Samples((cell(20, 300),), 60, None),
        Samples((cell(20, 300),), 60, NOW, problem="partial"),
        Samples((cell(4, 300),), 60, NOW),
        Samples((cell(20, 300),), 60, minutes_ago(16)),
    ],
    ids=["unreadable", "nothing", "complete when?", "partial", "a burst", "late"],
)
def test_what_telemetry_does_not_tell_is_unknown(samples: Samples | None) -> None:
    assert observe_rate(Told(samples), NOW) is None
