"""Estimates with intervals, for people: no verdict is decided by them."""

from __future__ import annotations

import numpy as np

from deployer.gate.histogram import FINE_BINS, FLOOR_MS, RATIO, Counts, slide
from deployer.gate.permutation import Ints

Z95 = 1.959964
"""Two-sided 95 %."""
_GROUPS = 12
_REACH = FINE_BINS  # every factor between two latencies


def share_interval(bad: int, n: int) -> tuple[float | None, float | None, float | None]:
    """Share, lower and upper (Wilson's score interval, J. Am. Stat. Assoc. 22, 1927); None without answers."""
    if not n:
        return None, None, None
    share, z2 = bad / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    lower = 0.0 if bad == 0 else max(middle - float(half), 0.0)
    return share, lower, 1.0 if bad == n else min(middle + float(half), 1.0)


def odds_ratio(n: Ints, bad: Ints) -> tuple[float | None, float | None, float | None]:
    """Common odds ratio of the candidate over blocks, with its interval; None where nothing is known.

    Mantel-Haenszel with the variance of Robins, Breslow & Greenland (Biometrics 42, 1986).
    """
    c, s = n[:, 0].astype(np.float64), n[:, 1].astype(np.float64)
    a, b = bad[:, 0].astype(np.float64), bad[:, 1].astype(np.float64)
    size = np.maximum(c + s, 1.0)
    up, down = a * (s - b) / size, b * (c - a) / size
    if not up.sum() or not down.sum():
        return None, None, None
    p, q = (a + s - b) / size, (b + c - a) / size
    variance = (p * up).sum() / (2 * up.sum() ** 2) + (q * down).sum() / (2 * down.sum() ** 2)
    variance += (p * down + q * up).sum() / (2 * up.sum() * down.sum())
    ratio = float(up.sum() / down.sum())
    width = float(np.exp(Z95 * np.sqrt(variance)))
    return ratio, ratio / width, ratio * width


def quantile_ms(fine: Counts, level: float) -> tuple[float | None, float | None, float | None]:
    """Quantile in ms of counts by bin, with its interval by order statistics; None for time-outs or no answers."""
    n = int(fine.sum())
    if not n:
        return None, None, None
    half = Z95 * np.sqrt(n * level * (1 - level))
    found = [
        _at_rank(fine, rank) for rank in (np.ceil(n * level), np.floor(n * level - half), np.ceil(n * level + half) + 1)
    ]
    return found[0], found[1], found[2]


def _at_rank(fine: Counts, rank: float) -> float | None:
    reached = np.cumsum(fine)
    place = int(np.argmax(reached >= min(max(rank, 1), reached[-1])))
    return None if place == FINE_BINS - 1 else float(FLOOR_MS * RATIO ** (place + 0.5))


def quantile_ratio(candidate: Counts, stable: Counts, level: float) -> tuple[float | None, float | None, float | None]:
    """Candidate's quantile over the stable's; the interval is at least 95 %."""
    (mine, mine_low, mine_high), (other, other_low, other_high) = (
        quantile_ms(arm, level) for arm in (candidate, stable)
    )
    return _over(mine, other), _over(mine_low, other_high), _over(mine_high, other_low)


def _over(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def latency_ratio(candidate: Counts, stable: Counts) -> tuple[float | None, float | None, float | None]:
    """Factor by which the candidate's latencies are the stable's: where ranks balance (Hodges & Lehmann, 1963).

    Args:
        candidate: counts by (block, bin).
        stable: counts by (block, bin).
    """
    if not candidate.any() or not stable.any():
        return None, None, None
    edges = np.unique(np.arange(_GROUPS, dtype=np.int64) * candidate.shape[0] // _GROUPS)
    arms = (np.add.reduceat(candidate, edges, axis=0), np.add.reduceat(stable, edges, axis=0))
    middle, low, high = (_crossing(arms, z) for z in (0.0, Z95, -Z95))
    return middle, low, high


def _crossing(arms: tuple[Counts, Counts], z: float) -> float:
    """Factor at which the rank statistic of the candidate against the scaled stable falls to ``z``."""
    low, high = -_REACH, _REACH
    at_low, at_high = _rank_z(*arms, low), _rank_z(*arms, high)
    while high - low > 1:
        middle = (low + high) // 2
        here = _rank_z(*arms, middle)
        if here > z:
            low, at_low = middle, here
        else:
            high, at_high = middle, here
    part = min(max((at_low - z) / (at_low - at_high), 0.0), 1.0) if at_low > at_high else 0.5
    return float(RATIO ** (low + part))


def _rank_z(candidate: Counts, stable: Counts, bins: int) -> float:
    moved = slide(stable, bins)
    pooled = candidate + moved
    n, pool = candidate.sum(axis=1), pooled.sum(axis=1)
    size = np.maximum(pool, 1)
    scores = (2 * np.cumsum(pooled, axis=1) - pooled) / size[:, None] - 1
    variance = n * (pool - n) / size * (pooled * scores * scores).sum(axis=1) / np.maximum(size - 1, 1)
    return float((candidate * scores).sum() / np.sqrt(max(float(variance.sum()), 1e-12)))
