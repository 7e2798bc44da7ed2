"""How many requests an endpoint gets, by its own telemetry: a plan is checked against it when no load is asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass, Samples
from deployer.ports.telemetry import Telemetry

LOOK_BACK = timedelta(minutes=30)
BLOCK_S = 60.0
LEAST = timedelta(minutes=5)
"""Less than this tells a burst, not a rate."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What an endpoint answered lately."""

    rps: float
    """Requests a second, of all deployments."""
    median_ms: float | None
    """Of the answers that were no errors; None: there were none."""
    seconds: float
    """So long it was watched."""


def observe_rate(telemetry: Telemetry, now: datetime) -> Rate | None:
    """Read the rate of the last half hour; None when telemetry does not tell, or tells of less than five minutes.

    It counts from the first request that was seen: an endpoint that is used for ten minutes only is no slow one.
    """
    try:
        samples = telemetry.fetch(now - LOOK_BACK, now, block_s=BLOCK_S)
    except TelemetryError:
        return None
    until, first = samples.complete_until, min((cell.start for cell in samples.cells), default=None)
    if until is None or first is None or samples.problem is not None:
        return None
    since = max(first, now - LOOK_BACK)
    if until - since < LEAST:
        return None
    answered = sum(cell.n for cell in samples.cells if cell.start < until)
    seconds = (until - since).total_seconds()
    return Rate(answered / seconds, _median_ms(samples), seconds)


def _median_ms(samples: Samples) -> float | None:
    counts: Counter[int] = Counter()
    for cell in samples.cells:
        if cell.answer is AnswerClass.OK:
            counts[cell.duration_ms] += cell.n
    left = counts.total() / 2
    for duration_ms, n in sorted(counts.items()):
        left -= n
        if left <= 0:
            return float(duration_ms)
    return None
