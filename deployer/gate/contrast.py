"""Candidate against stable, block by block: the two statistics whose labels are bet on, bad answers and ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deployer.gate.betting import heterogeneity
from deployer.gate.histogram import RATIO, Counts
from deployer.gate.permutation import Floats, Ints, hypergeometric_log_mgf, rank_log_mgf, rank_scores

EXCEEDANCES = 10
"""Pooled slow answers that stand behind a threshold, from earlier blocks if this one has too few."""
_PROBE_BINS = 4
_SLOPE = (1.5, 12.0)


@dataclass(frozen=True, slots=True)
class Contrast:
    """One statistic by block: its log e-values are ``log_e``; variance is that under the null."""

    log_e: Floats
    variance: Floats
    h2: float


def odds(n: Ints, bad: Ints, tilt: Floats, base: float, bounds: tuple[float, float]) -> Contrast:
    """Bet that the odds of a bad answer are exp(tilt) * exp(base) times the stable's; null: at most exp(base) times.

    With negative tilts the null is: at least exp(base) times. Shared rates may change from block to block.

    Args:
        n: answers by (block, arm); a block without both arms brings no evidence.
        bad: bad ones among them.
        tilt: log odds ratios of the alternatives, beyond ``base``.
        base: log odds ratio at the border of the null.
        bounds: harmless sd of the log odds ratio between blocks, least and most.
    """
    k, pool_bad = bad[:, 0].astype(np.float64), bad.sum(axis=1)
    mgf = hypergeometric_log_mgf(n[:, 0], n[:, 1], pool_bad, np.append(tilt + base, base))
    log_e = k[:, None] * tilt - mgf[:, :-1] + mgf[:, -1:]
    _, variance = _noncentral(n, pool_bad, 0.0)
    expected, spread = _fit(n, pool_bad, k)
    return Contrast(log_e, variance, heterogeneity(k, expected, spread, bounds))


def _noncentral(n: Ints, bad: Ints, effect: float) -> tuple[Floats, Floats]:
    """Mean and variance of k at log odds ratio ``effect``: Cornfield's mean (1956), the matching variance."""
    c, s, total = n[:, 0].astype(np.float64), n[:, 1].astype(np.float64), bad.astype(np.float64)
    w = float(np.exp(effect))
    b = (c + total) * w + s - total
    a = 1 - w
    root = np.sqrt(np.maximum(b * b + 4 * a * w * c * total, 0.0))
    mean = np.divide(2 * w * c * total, b + root, out=np.zeros_like(c), where=b + root > 0)
    cells = np.stack([mean, total - mean, c - mean, s - total + mean])
    with np.errstate(divide="ignore"):
        inverse = (1 / np.maximum(cells, 0.0)).sum(axis=0)
    size = np.maximum(c + s - 1, 1.0)
    return mean, (c + s) / size / inverse


def _fit(n: Ints, bad: Ints, k: Floats) -> tuple[Floats, Floats]:
    """Mean and variance by block at the log odds ratio that fits all blocks."""
    effect = 0.0
    for _ in range(8):
        mean, variance = _noncentral(n, bad, effect)
        total = float(variance.sum())
        if total <= 0:
            break
        step = float(np.clip((k - mean).sum() / total, -1.0, 1.0))
        effect = float(np.clip(effect + step, -6.0, 6.0))
        if abs(step) < 0.02:
            break
    return _noncentral(n, bad, effect)


def exceedances(candidate: Counts, stable: Counts, quantile: float) -> tuple[Ints, Ints]:
    """Answers and slow ones by (block, arm); slow is above the pooled quantile of this block and the ones before it.

    So many earlier blocks are used that ``EXCEEDANCES`` pooled answers are above. The threshold does not know who
    answered what, so the labels stay a draw.
    """
    candidate, stable = _trim(candidate, stable)
    pooled = candidate + stable
    reached = np.concatenate([np.zeros((1, pooled.shape[1]), np.int64), np.cumsum(pooled, axis=0)])
    sizes = reached.sum(axis=1)
    wanted = EXCEEDANCES / (1 - quantile)
    blocks = np.arange(pooled.shape[0], dtype=np.int64)
    full = sizes.searchsorted(sizes[blocks + 1] - wanted, side="right")
    first = np.minimum(np.maximum(full - 1, 0), blocks)
    window = reached[blocks + 1] - reached[first]
    below = np.cumsum(window, axis=1)
    threshold = np.argmax(below >= quantile * below[:, -1:], axis=1)
    above = np.arange(pooled.shape[1], dtype=np.int64)[None, :] > threshold[:, None]
    n = np.stack([candidate.sum(axis=1), stable.sum(axis=1)], axis=1)
    bad = np.stack([(candidate * above).sum(axis=1), (stable * above).sum(axis=1)], axis=1)
    return n, bad


def ranks(candidate: Counts, stable: Counts, tilt: Floats, wobble: tuple[float, float]) -> Contrast:
    """Bet that the candidate's latencies rank higher (negative tilts: lower) than the stable's; null: not higher.

    Scores are 2u - 1, u the pooled mid-rank in the block; ties share theirs.

    Args:
        candidate: counts by (block, bin), the margin already granted.
        stable: counts by (block, bin).
        tilt: alternatives.
        wobble: harmless sd of ln latency between blocks, least and most.
    """
    candidate, stable = _trim(candidate, stable)
    pooled = candidate + stable
    n, pool = candidate.sum(axis=1), pooled.sum(axis=1)
    size = np.maximum(pool, 1).astype(np.float64)
    scores = rank_scores(pooled)
    total = (candidate * scores).sum(axis=1)
    second = (pooled * scores * scores).sum(axis=1) / np.maximum(size - 1, 1)
    variance = n * (pool - n) / size * second
    log_e = total[:, None] * tilt - rank_log_mgf(n, pooled, tilt)
    effect = float(total.sum() / variance.sum()) if variance.sum() > 0 else 0.0
    slope = _rank_slope(stable, candidate)
    bounds = (wobble[0] * slope, wobble[1] * slope)
    return Contrast(log_e, variance, heterogeneity(total, effect * variance, variance, bounds))


def _trim(candidate: Counts, stable: Counts) -> tuple[Counts, Counts]:
    """Drop empty bins at both ends."""
    used = np.flatnonzero(candidate.any(axis=0) | stable.any(axis=0))
    kept = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
    return candidate[:, kept], stable[:, kept]


def _rank_slope(stable: Counts, candidate: Counts) -> float:
    """How much the rank effect (in units of the tilt) changes by ln latency, from the arms' own shape."""
    whole = stable.sum(axis=0) if stable.any() else candidate.sum(axis=0)
    total = float(whole.sum())
    if not total:
        return _SLOPE[0]
    share = whole / total
    below = np.cumsum(share)
    moved = np.concatenate([np.zeros(_PROBE_BINS), below])[: below.size]
    gain = 2 * float(share @ (below - share / 2 - (moved - np.roll(share, _PROBE_BINS) / 2)))
    spread = max(float(share @ (2 * below - share - 1) ** 2), 1e-3)
    return float(np.clip(gain / spread / (_PROBE_BINS * np.log(RATIO)), *_SLOPE))


def tail_slope(stable: Counts, candidate: Counts, quantile: float) -> float:
    """Slope d logit(share above the quantile) / d ln latency, from the pooled shape."""
    whole = (stable + candidate).sum(axis=0)
    total = float(whole.sum())
    if not total:
        return _SLOPE[0]
    below = np.cumsum(whole) / total
    here = int(np.argmax(below >= quantile))
    lower = max(here - _PROBE_BINS, 0)
    edge = 0.5 / total
    tails = np.clip(1 - below[[here, lower]], edge, 1 - edge)
    logits = np.log(tails / (1 - tails))
    return float(np.clip((logits[1] - logits[0]) / (_PROBE_BINS * np.log(RATIO)), *_SLOPE))
