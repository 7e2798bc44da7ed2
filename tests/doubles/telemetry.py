"""Telemetry in memory: what the engine's tests see. It passes ``contract/telemetry_contract.py`` like the real ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass, Cell, Samples
from deployer.ports.clock import Clock
from deployer.telemetry.kql import answer_class, block_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ManualClock:
    """Time that passes when it is told to, or slept away."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return (self._now - EPOCH).total_seconds()


@dataclass(frozen=True, slots=True)
class _Answer:
    at: datetime
    deployment: str | None
    answer: AnswerClass
    duration_ms: int
    n: int
    mirrored: bool
    seen: bool


class MemoryTelemetry:
    """Answers that are given to it, ``lag_s`` behind; told to, it is partial or cannot be reached."""

    def __init__(self, clock: Clock, *, lag_s: float = 0.0) -> None:
        self.clock = clock
        self.lag_s = lag_s
        self.problem: str | None = None
        self.error: TelemetryError | None = None
        self._answers: list[_Answer] = []

    def answer(
        self,
        at: datetime,
        deployment: str | None,
        *,
        code: int = 200,
        model_code: int | None = None,
        ms: int = 10,
        n: int = 1,
        mirrored: bool = False,
        seen: bool = True,
    ) -> None:
        """``n`` answers ended at ``at``; ``seen=False``: only the independent count knows of them."""
        self._answers.append(_Answer(at, deployment, answer_class(code, model_code), ms, n, mirrored, seen))

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """See the port."""
        if self.error is not None:
            raise self.error
        length = timedelta(milliseconds=block_ms(block_s))
        complete_until = min(until, self.clock.now() - timedelta(seconds=self.lag_s))
        counts: Counter[tuple[datetime, str, AnswerClass, int]] = Counter()
        expected: Counter[str] = Counter()
        for one in self._answers:
            if one.deployment is None or not since <= one.at < until or (one.mirrored and not mirrored):
                continue
            if one.at < complete_until:
                expected[one.deployment] += one.n
            if one.seen:
                start = EPOCH + (one.at - EPOCH) // length * length
                counts[start, one.deployment, one.answer, one.duration_ms] += one.n
        cells = tuple(Cell(*bar, n) for bar, n in counts.items())
        return Samples(cells, block_s, complete_until, dict(expected), self.problem)
