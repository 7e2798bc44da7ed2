"""Shares and quantiles of a load test with intervals that do not take neighbours in time for independent.

Requests that wait behind the same stall are slow together, so the interval of independent samples is far too narrow
(at the true limit a 90 % interval covers it in 7-47 % of runs). Here seconds are joined into batches until batches
no longer resemble their neighbours, and the spread between batches says how many requests one counts for.

Source: Law, Simulation Modeling and Analysis (5th ed.), 9.5.3, batch means; Wilson, J. Am. Stat. Assoc. 22 (1927).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deployer.loadtest.figures import Window

Z95 = 1.959964
"""Two-sided 95 %."""
LEAST_BATCHES = 10
"""Fewer batches say nothing about the spread between them."""
ALIKE = 0.2
"""Neighbouring batches correlate less than this: they count as independent."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval; None: beyond everything that was measured (no answer), or nothing known."""

    estimate: float | None
    lower: float | None
    upper: float | None


def latencies(windows: Iterable[Window]) -> Counter[float]:
    """Answers of all windows by latency in ms."""
    total: Counter[float] = Counter()
    for window in windows:
        total.update(window.latencies_ms)
    return total


def ended(window: Window) -> int:
    """Requests of a window whose end is known."""
    return sum(window.statuses.values())


def unanswered(windows: Iterable[Window]) -> int:
    """Requests that never got an answer: slower than any."""
    return sum(n for window in windows for status, n in window.statuses.items() if status <= 0)


def slower_than(limit_ms: float) -> Callable[[Window], int]:
    """Count the requests of a window that took longer than ``limit_ms``, or got no answer."""

    def count(window: Window) -> int:
        late = sum(n for latency, n in window.latencies_ms.items() if latency > limit_ms)
        return late + sum(n for status, n in window.statuses.items() if status <= 0)

    return count


def inflation(windows: Sequence[Window], bad: Callable[[Window], int]) -> float:
    """How many requests one independent request is worth (>= 1), by the spread between batches of seconds."""
    n = np.array([ended(window) for window in windows], np.float64)
    k = np.array([bad(window) for window in windows], np.float64)
    if n.sum() == 0 or not 0 < k.sum() < n.sum():
        return 1.0
    worst, size = 1.0, 1
    while n.size // size >= LEAST_BATCHES:
        whole = n.size // size * size
        batch_n, batch_k = (each[:whole].reshape(-1, size).sum(axis=1) for each in (n, k))
        share = batch_k.sum() / batch_n.sum()
        if 0 < share < 1:
            excess = batch_k - share * batch_n
            independent = share * (1 - share) * batch_n.mean()
            worst = max(worst, float(excess.var(ddof=1)) / independent)
            if _resemblance(excess) < ALIKE:
                break
        size *= 2
    return worst


def _resemblance(excess: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Correlation of each batch with the next."""
    spread = float((excess * excess).sum())
    return float((excess[1:] * excess[:-1]).sum()) / spread if spread else 0.0


def share_interval(bad: float, n: float, worth: float = 1.0) -> Interval:
    """Share of ``bad`` among ``n``, one of them being worth ``1 / worth`` independent requests (Wilson's score).

    Without a bad one the upper bound is the exact one: 1 - 0.025 ** (1 / n).
    """
    n_worth = n / worth
    if n_worth <= 0:
        return Interval(None, None, None)
    share, z2 = bad / n, Z95 * Z95
    if bad == 0:
        return Interval(0.0, 0.0, 1 - 0.025 ** (1 / n_worth))
    middle = (share + z2 / (2 * n_worth)) / (1 + z2 / n_worth)
    half = Z95 / (1 + z2 / n_worth) * math.sqrt(share * (1 - share) / n_worth + z2 / (4 * n_worth * n_worth))
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0))


def quantile(windows: Sequence[Window], level: float) -> Interval:
    """Latency in ms that ``level`` of all requests stay below; requests without an answer are slower than any."""
    rows = sorted(latencies(windows).items())
    beyond = unanswered(windows)
    n = sum(count for _, count in rows) + beyond
    if not n:
        return Interval(None, None, None)
    estimate = _at(rows, n, level)
    worth = inflation(windows, slower_than(estimate)) if estimate is not None else 1.0
    half = Z95 * math.sqrt(level * (1 - level) * worth / n)
    lower, upper = max(level - half, 0.0), level + half
    return Interval(estimate, _at(rows, n, lower), _at(rows, n, upper) if upper < 1 - 0.5 / n else None)


def _at(rows: Sequence[tuple[float, int]], n: int, level: float) -> float | None:
    rank = max(math.ceil(level * n), 1)
    for latency, count in rows:
        rank -= count
        if rank <= 0:
            return latency
    return None


def needed(limit: float, share: float, worth: float) -> int | None:
    """Requests after which a share like this one would be proven on its side of ``limit``; None: never."""
    distance = abs(limit - share)
    if distance < 0.02 * limit:
        return None
    if share == 0:
        return math.ceil(worth * math.log(0.025) / math.log(1 - limit))
    return math.ceil(worth * Z95 * Z95 * max(share * (1 - share), limit * (1 - limit)) / distance**2)
