"""What telemetry counted, as arrays: one row a fetched cell of time, one column an arm.

Why: counts are cumulative, so the order of arrival, late rows and the splitting of polls cannot change a verdict.
Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deployer.gate.histogram import RAW_BINS, raw_bins
from deployer.gate.samples import AnswerClass, Samples

CANDIDATE, STABLE, NEITHER = 0, 1, -1
CLASSES = tuple(AnswerClass)
OK, ERROR, TIMEOUT, THROTTLED, CLIENT = range(5)
SERVED = (OK, ERROR, TIMEOUT)
"""Classes that are requests of the model; throttled is capacity, client is the caller's."""

_CODE = {answer: code for code, answer in enumerate(CLASSES)}


@dataclass(slots=True)
class Ledger:
    """Counts by cell of time and arm. Rows are cells that hold anything, oldest first."""

    cell_s: float
    """Length of a cell in seconds."""
    limits_ms: tuple[float, ...]
    """Latency targets whose excess is counted exactly."""
    starts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Start of each row, seconds since the epoch."""
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2, 5), np.int64))
    """Answers by (row, arm, class)."""
    late: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2, 0), np.int64))
    """Ok answers slower than each limit, and time-outs, by (row, arm, limit)."""
    raw: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2, RAW_BINS), np.int32))
    """Latency of ok answers and time-outs on the raw grid, by (row, arm, bin)."""
    used: tuple[int, int] = (0, 0)
    """Raw bins below the last one that hold anything: from, to."""
    timeout_ms: list[int] = field(default_factory=lambda: [0, 0])
    """The slowest time-out of each arm."""
    changed_from: float = -np.inf
    """Start of the earliest row that was added to since ``kept`` was."""
    kept: Any = field(default=None, repr=False, compare=False)
    """What ``blocks`` made of the rows at the last look, and makes again of those that did not change."""
    _room: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]], repr=False, compare=False)
    """Arrays that the public ones are the beginning of: rows come at the end, and are not copied each time."""

    @classmethod
    def of(cls, samples: Samples, candidate: str, stable: str | None, limits_ms: tuple[float, ...]) -> Self:
        """Count the cells of ``samples`` that are one of the two arms'."""
        ledger = cls(samples.block_s, limits_ms)
        arms = {candidate: CANDIDATE} if stable is None else {stable: STABLE, candidate: CANDIDATE}
        cells = samples.cells
        whose = np.fromiter([arms.get(cell.deployment, NEITHER) for cell in cells], np.int64)
        if (whose == NEITHER).any():
            cells = tuple(cell for cell in cells if cell.deployment in arms)
            whose = whose[whose != NEITHER]
        starts = [cell.start for cell in cells]
        at = {start: start.timestamp() for start in set(starts)}
        ledger.add(
            np.fromiter([at[start] for start in starts], np.float64),
            whose,
            np.fromiter([_CODE[cell.answer] for cell in cells], np.int64),
            np.fromiter([cell.duration_ms for cell in cells], np.int64),
            np.fromiter([cell.n for cell in cells], np.int64),
        )
        return ledger

    def add(
        self,
        starts: NDArray[np.float64],
        arms: NDArray[np.int64],
        classes: NDArray[np.int64],
        duration_ms: NDArray[np.float64] | NDArray[np.int64],
        n: NDArray[np.int64],
    ) -> None:
        """Add counts; arrays of one length. Starts are rounded to whole cells from the epoch."""
        if not starts.size:
            self._make_rows(self.starts)
            return
        whole = np.floor(starts / self.cell_s + 1e-6) * self.cell_s
        self.changed_from = min(self.changed_from, float(whole.min()))
        self._make_rows(np.union1d(self.starts, whole))
        rows = np.searchsorted(self.starts, whole - self.cell_s / 2)
        np.add.at(self.counts, (rows, arms, classes), n)
        timed = (classes == OK) | (classes == TIMEOUT)
        out = classes == TIMEOUT
        bins = np.where(out, RAW_BINS - 1, raw_bins(duration_ms))
        finite = bins[timed & ~out]
        if finite.size:
            low, high = int(finite.min()), int(finite.max()) + 1
            self.used = (min(self.used[0], low), max(self.used[1], high)) if self.used[1] else (low, high)
        np.add.at(self.raw, (rows[timed], arms[timed], bins[timed]), n[timed].astype(np.int32))
        for column, limit in enumerate(self.limits_ms):
            slow = timed & (out | (duration_ms > limit))
            np.add.at(self.late, (rows[slow], arms[slow], np.full(int(slow.sum()), column)), n[slow])
        for arm in (CANDIDATE, STABLE):
            worst = duration_ms[out & (arms == arm)]
            self.timeout_ms[arm] = max(self.timeout_ms[arm], int(worst.max())) if worst.size else self.timeout_ms[arm]

    def _make_rows(self, starts: NDArray[np.float64]) -> None:
        if starts.size == self.starts.size and self.late.shape[2] == len(self.limits_ms):
            return
        kept = np.searchsorted(starts, self.starts)
        at_the_end = bool(kept.size) and kept[-1] == kept.size - 1
        shapes = {"counts": (2, 5), "late": (2, len(self.limits_ms)), "raw": (2, RAW_BINS)}
        for name, shape in shapes.items():
            before = getattr(self, name)
            room = self._room.get(name)
            if room is None or not at_the_end or room.shape[0] < starts.size:
                room = self._room[name] = np.zeros((starts.size + starts.size // 2, *shape), before.dtype)
                if kept.size:
                    room[kept] = before
            setattr(self, name, room[: starts.size])
        self.starts = starts

    def served(self, arm: int) -> NDArray[np.int64]:
        """Requests of ``arm`` by row."""
        return self.counts[:, arm, list(SERVED)].sum(axis=1)

    def errors(self, arm: int) -> NDArray[np.int64]:
        """Errors (time-outs are errors) of ``arm`` by row."""
        return self.counts[:, arm, [ERROR, TIMEOUT]].sum(axis=1)

    def rows(self, since_s: float, until_s: float) -> slice:
        """Rows whose cell lies in [since_s, until_s)."""
        first = np.searchsorted(self.starts, since_s - self.cell_s * 1e-6)
        last = np.searchsorted(self.starts, until_s - self.cell_s * (1 - 1e-6))
        return slice(int(first), int(max(first, last)))


def utc(seconds: float) -> datetime:
    """Aware UTC of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def class_codes(answers: Sequence[AnswerClass]) -> NDArray[np.int64]:
    """Column of each class in ``Ledger.counts``."""
    return np.array([_CODE[answer] for answer in answers], np.int64)
