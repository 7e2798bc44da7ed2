"""What both versions answered over time, from the kept evidence: quantiles and errors by stretch, with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deployer.gate.estimates import Z95, share_interval
from deployer.gate.record import Record
from deployer.gate.samples import AnswerClass, Cell
from deployer.loadtest.ranks import Ranked

STRETCHES = 48
"""Most points of a line: blocks are joined until there are no more."""
LEVELS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_TIMED = (AnswerClass.OK, AnswerClass.TIMEOUT)
_COUNTED = (AnswerClass.OK, AnswerClass.ERROR, AnswerClass.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Stretch:
    """One deployment's answers in a stretch of time."""

    at: float
    """Middle, seconds since 1970."""
    requests: int
    errors: int
    latency_ms: dict[str, tuple[float | None, float | None, float | None]]
    """By quantile: estimate and 95 % interval; None: no answer in time, or none at all."""

    def record(self) -> dict[str, Any]:
        """Write it as JSON-able data."""
        share, lower, upper = share_interval(self.errors, self.requests)
        quantiles = {
            name: {"estimate": value[0], "lower": value[1], "upper": value[2]}
            for name, value in self.latency_ms.items()
        }
        rate = {"estimate": share, "lower": lower, "upper": upper}
        return {"at": self.at, "requests": self.requests, "errors": self.errors, "error_rate": rate, **quantiles}


def stretches(record: Record, deployment: str) -> list[Stretch]:
    """What ``deployment`` answered, oldest first."""
    cells = [cell for cell in record.samples.cells if cell.answer in _COUNTED]
    if not cells:
        return []
    first = min(cell.start for cell in cells).timestamp()
    last = max(cell.start for cell in cells).timestamp() + record.samples.block_s
    blocks = max(1, math.ceil((last - first) / record.samples.block_s / STRETCHES))
    length_s = blocks * record.samples.block_s
    groups: dict[int, list[Cell]] = {}
    for cell in cells:
        if cell.deployment == deployment:
            groups.setdefault(int((cell.start.timestamp() - first) // length_s), []).append(cell)
    return [_stretch(first + (number + 0.5) * length_s, group) for number, group in sorted(groups.items())]


def _stretch(at: float, cells: Sequence[Cell]) -> Stretch:
    timed: Counter[float] = Counter()
    for cell in cells:
        if cell.answer in _TIMED:
            timed[math.inf if cell.answer is AnswerClass.TIMEOUT else float(cell.duration_ms)] += cell.n
    ranked, requests = Ranked(timed), sum(cell.n for cell in cells)
    errors = sum(cell.n for cell in cells if cell.answer is not AnswerClass.OK)
    return Stretch(at, requests, errors, {name: _quantile(ranked, level) for name, level in LEVELS.items()})


def _quantile(timed: Ranked, level: float) -> tuple[float | None, float | None, float | None]:
    """Nearest-rank quantile with its interval by order statistics."""
    n = timed.n
    if not n:
        return None, None, None
    half = Z95 * math.sqrt(n * level * (1 - level))
    ranks = (math.ceil(n * level), math.floor(n * level - half), math.ceil(n * level + half) + 1)
    estimate, lower, upper = (timed.at_rank(min(rank, n)) for rank in ranks)
    return _or_none(estimate), _or_none(lower), _or_none(upper)


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
