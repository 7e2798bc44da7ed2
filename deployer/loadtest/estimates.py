"""Shares and quantiles of a run with intervals that are true for requests that depend on each other.

Requests in a queue share their fate: at the true maximum of a server, an interval that takes them for independent
covers the truth in 7-47 % of runs. So the spread is measured over batches of time (batch means; Law, Simulation
Modeling and Analysis, 5th ed. 2015, 9.5.3), for every length of batch that leaves enough of them; the widest counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deployer.loadtest.chance import Z95, is_above, is_at_most, lower_share, student, upper_share
from deployer.loadtest.figures import Window
from deployer.loadtest.kinds import FAILED, Kind, kinds_of
from deployer.loadtest.ranks import Ranked

MIN_BATCHES = 10
"""Fewer say too little about how much batches differ (Law, 9.5.3)."""

FEW, ASSUMED = 4, 50.0
"""So few stretches of time show nothing of how requests cluster (an engine that gives one summary): then as much is
assumed as was measured of p95 on an M/M/1 queue at a load of 0.8 (median of 60 runs of 120 s: 53)."""

SHARED = 0.5
"""Rare requests are taken to cluster at least by this part of what common ones do: of two clusters nothing is learned.

Measured on M/M/1 queues at loads of 0.5, 0.8 and 0.95, 120 s, 150 runs each: the truth is above the upper bound of p95
in 4, 11 and 7 % of runs and above that of p99 in 5, 2 and 0 % (5 % is meant); without it p99 in up to 12 %."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the bounds between which the truth is in 90 % of runs (95 % on either side)."""

    value: float
    low: float
    high: float
    """Infinite: the run bounds it not at all."""

    @property
    def is_known(self) -> bool:
        """There was something to estimate it from."""
        return not math.isnan(self.value)


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Spread:
    """How much less requests that depend on each other say than independent ones."""

    inflation: float
    """Variance over that of independent requests, >= 1: a run of n requests says as much as n / inflation."""
    batch_s: float
    """Length of the batches that showed it, in seconds."""


class Latencies:
    """Latencies of the measured windows: of good answers, and failed requests as later than anything.

    What still waited when the run was ended is later than anything, too, and for certain than what it had waited.
    """

    def __init__(self, windows: Sequence[Window], stages: Sequence[int] = ()) -> None:
        """Take in windows and, where the rate changes as asked, the stage that each belongs to."""
        self._stages = stages
        self._window_s = float(np.median([window.seconds for window in windows])) if windows else 1.0
        self._good = [Ranked(window.good_latencies_ms) for window in windows]
        waiting = [window.waiting for window in windows]
        failed = [_failed(window) for window in windows]
        self._by_window = np.array([good.n for good in self._good], np.float64) + np.array(waiting) + np.array(failed)
        self._ranked = Ranked(merged(window.good_latencies_ms for window in windows))
        self._at_least = Ranked(
            merged(each for window in windows for each in (window.good_latencies_ms, window.waiting_ms))
        )
        self.waiting = sum(waiting)
        """Requests that still waited for their answer when the run was ended."""
        self.n = int(self._by_window.sum())
        """Requests that count: good answers, failed requests, and those that still waited."""

    @property
    def longest_ms(self) -> float:
        """Of the good answers; NaN without one."""
        return self._ranked.at(1.0)

    def quantile(self, level: float) -> Estimate:
        """Exact quantile in ms, infinite beyond the last answer, with its bounds.

        The bounds are order statistics whose ranks come from the exact bounds of the share above, taken for an
        effective number of requests (Korn & Graubard, Survey Methodology 24, 1998).
        """
        if not self.n:
            return UNKNOWN
        value = self.at(level)
        share = self.n / self.effective(value)
        above = 1 - level
        most = _largest(lambda bad: is_at_most(bad / share, self.n / share, above), self.n)
        least = _largest(lambda bad: not is_above(bad / share, self.n / share, above), self.n)
        high = math.inf if most is None else self._ranked.at_rank(self.n - most)
        low = 0.0 if least is None or least >= self.n else self._at_least.at_rank(self.n - least)
        return Estimate(value, min(low, value), max(high, value))

    def at(self, level: float) -> float:
        """The exact quantile alone; NaN when nothing ended."""
        return self._ranked.at_rank(math.ceil(self.n * level)) if self.n else math.nan

    def share_above(self, limit_ms: float) -> float:
        """Share of the requests that took longer than ``limit_ms``."""
        return float(self._above(limit_ms).sum()) / self.n if self.n else math.nan

    def spread(self, limit_ms: float) -> Spread:
        """How much the share of requests above ``limit_ms`` varies between stretches of time."""
        return spread(self._above(limit_ms), self._by_window, self._window_s, self._stages)

    def effective(self, limit_ms: float) -> float:
        """Independent requests that would say as much about the share above ``limit_ms``."""
        usual = 1 + SHARED * (self._usual - 1)
        return max(self.n / max(self.spread(limit_ms).inflation, usual), 1.0)

    @cached_property
    def _usual(self) -> float:
        """Inflation where it can be seen well: of shares that are not rare."""
        return max(self.spread(self.at(level)).inflation for level in (0.5, 0.8, 0.9))

    def _above(self, limit_ms: float) -> Floats:
        return self._by_window - np.array([good.upto(limit_ms) for good in self._good], np.float64)


def merged(counts: Iterable[Mapping[float, int]]) -> Counter[float]:
    """Counts of values, added up."""
    whole = Counter[float]()
    for each in counts:
        whole.update(each)
    return whole


def failed_share(windows: Sequence[Window], stages: Sequence[int] = ()) -> tuple[Estimate, int, Spread]:
    """Share of requests that failed, of those that were not themselves wrong; their number; how they cluster.

    What still waited when the run was ended may yet have failed: the upper bound takes it that all of it did.
    """
    kinds = [kinds_of(window.statuses) for window in windows]
    bad = np.array([sum(each[kind] for kind in FAILED) for each in kinds], np.float64)
    n = np.array([each.total() - each[Kind.REJECTED] for each in kinds], np.float64)
    window_s = float(np.median([window.seconds for window in windows])) if windows else 1.0
    clustered = spread(bad, n, window_s, stages)
    total = float(n.sum())
    if not total:
        return UNKNOWN, 0, clustered
    waiting = sum(window.waiting for window in windows)
    share, less = float(bad.sum()) / total, clustered.inflation
    low = lower_share(float(bad.sum()) / less, total / less)
    high = upper_share((float(bad.sum()) + waiting) / less, (total + waiting) / less)
    return Estimate(share, min(low, share), max(high, share)), round(total), clustered


def rate(windows: Sequence[Window], stages: Sequence[int] = ()) -> Estimate:
    """Good answers a second. A single stretch of time does not show how much they vary."""
    good = np.array([kinds_of(window.statuses)[Kind.OK] for window in windows], np.float64)
    seconds = np.array([window.seconds for window in windows], np.float64)
    if not seconds.sum():
        return UNKNOWN
    mean, half = good.sum() / seconds.sum(), 0.0
    if good.size == 1:
        return Estimate(float(mean), 0.0, math.inf)
    beyond = _beyond(good, seconds, stages)
    for size in _sizes(good.size):
        batches = good.size // size
        residuals = beyond[: batches * size].reshape(batches, size).sum(axis=1)
        error = math.sqrt(float((residuals**2).sum()) * batches / max(batches - 1, 1)) / float(seconds.sum())
        half = max(half, error * student(max(batches - 1, 1)))
    return Estimate(float(mean), max(float(mean) - half, 0.0), float(mean) + half)


def spread(bad: Floats, n: Floats, window_s: float, stages: Sequence[int] = ()) -> Spread:
    """Inflation of the variance of sum(bad) / sum(n) over windows, by the least favourable length of batches.

    That a stage differs from another was asked for, and is no chance: only what varies within stages counts.

    Short batches miss what lasts longer than they do (the bias falls as one over their length): the two longest are
    extrapolated. Few batches are uncertain themselves: Student's t takes care of that.
    """
    total = float(n.sum())
    share = float(bad.sum()) / total if total else 0.0
    floor = share * (1 - share) * total
    worst = Spread(1.0, window_s)
    if floor <= 0:
        return worst
    if bad.size < FEW:
        return Spread(ASSUMED, window_s)
    before, beyond = 0.0, _beyond(bad, n, stages)
    for size in _sizes(bad.size):
        batches = bad.size // size
        residuals = beyond[: batches * size].reshape(batches, size).sum(axis=1)
        used = float(n[: batches * size].sum()) or total
        variance = float((residuals**2).sum()) * batches / max(batches - 1, 1) / (floor * used / total)
        last = 2 * size > bad.size // MIN_BATCHES
        if last and before:
            variance = max(variance, 2 * variance - before)
        before = variance
        inflation = variance * (student(max(batches - 1, 1)) / Z95) ** 2
        if inflation > worst.inflation:
            worst = Spread(inflation, size * window_s)
    return worst


def _beyond(part: Floats, whole: Floats, stages: Sequence[int]) -> Floats:
    """By how much each window's part is beyond its stage's share of the whole."""
    labels = np.array(stages) if len(stages) else np.zeros(part.size, np.int64)
    found = np.zeros(part.size)
    for stage in np.unique(labels):
        own = labels == stage
        found[own] = part[own] - whole[own] * (part[own].sum() / max(float(whole[own].sum()), 1e-9))
    return found


def _sizes(windows: int) -> list[int]:
    """Windows a batch: 1, 2, 4, ... as long as MIN_BATCHES of them remain."""
    most = max(windows // MIN_BATCHES, 1)
    return [1 << power for power in range(most.bit_length()) if 1 << power <= most]


def _failed(window: Window) -> int:
    kinds = kinds_of(window.statuses)
    return sum(kinds[kind] for kind in FAILED)


def _largest(holds: Callable[[int], bool], n: int) -> int | None:
    """The largest number up to ``n`` for which it holds, when it holds up to some number; None: not even for 0."""
    if not holds(0):
        return None
    low, high = 0, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
