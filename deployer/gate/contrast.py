"""Candidate against stable, block by block: the statistics whose labels are bet on, bad answers, ranks and tails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deployer.gate.betting import Bounds, heterogeneity
from deployer.gate.histogram import RATIO, Counts
from deployer.gate.permutation import Floats, Ints, hypergeometric_log_mgf, rank_scores, score_log_mgf

EXCEEDANCES = 10
"""Pooled slow answers that stand behind a threshold, from earlier blocks if this one has too few."""
TAIL_SHARE = 0.02
"""Part of the answers, the slowest, that make up the tail."""
MOST_OUTLYING = 0.1
"""Part of the answers, the slowest, among which ``outliers`` looks."""
_PROBE_BINS = 4
_SLOPE = (1.5, 12.0)
_ODDS = (float(np.exp(-6.0)), float(np.exp(6.0)))
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Contrast:
    """Statistics by block: log e-values, shape (..., blocks, alternatives), and variances under the null."""

    log_e: Floats
    variance: Floats
    h2: Floats


def odds(n: Ints, bad: Ints, tilt: Floats, base: float, bounds: Bounds) -> Contrast:
    """Bet that the odds of a bad answer are exp(tilt) * exp(base) times the stable's; null: at most exp(base) times.

    With negative tilts the null is: at least exp(base) times. Shared rates may change from block to block.

    Args:
        n: answers, shape (..., blocks, arms); a block without both arms brings no evidence.
        bad: bad ones among them.
        tilt: log odds ratios of the alternatives, beyond ``base``.
        base: log odds ratio at the border of the null.
        bounds: harmless sd of the log odds ratio between blocks.
    """
    k, pool_bad = bad[..., 0].astype(np.float64), bad.sum(axis=-1)
    if not pool_bad.any():
        h2 = np.broadcast_to(np.square(bounds[0]), k.shape[:-1])
        return Contrast(np.zeros((*k.shape, tilt.size)), np.zeros(k.shape), h2)
    mgf = hypergeometric_log_mgf(n[..., 0], n[..., 1], pool_bad, np.append(tilt + base, base))
    log_e = k[..., None] * tilt - mgf[..., :-1] + mgf[..., -1:]
    counts = (n[..., 0].astype(np.float64), n[..., 1].astype(np.float64), pool_bad.astype(np.float64))
    expected, spread = _noncentral(counts, _common_odds(counts, k))
    return Contrast(log_e, _null_variance(counts), heterogeneity(k, expected, spread, bounds))


def _null_variance(counts: tuple[Floats, Floats, Floats]) -> Floats:
    """Variance of k when who answered does not matter (hypergeometric)."""
    c, s, bad = counts
    size = np.maximum(c + s, 1.0)
    return c * s * bad * (c + s - bad) / (size * size * np.maximum(size - 1, 1.0))


def _common_odds(counts: tuple[Floats, Floats, Floats], k: Floats) -> Floats:
    """Odds ratio over all blocks by Mantel & Haenszel (J. Natl. Cancer Inst. 22, 1959), within exp(+-6)."""
    c, s, bad = counts
    size = np.maximum(c + s, 1.0)
    up, down = (k * (s - bad + k) / size).sum(axis=-1), ((bad - k) * (c - k) / size).sum(axis=-1)
    return np.clip((up + _TINY) / (down + _TINY), *_ODDS)


def _noncentral(counts: tuple[Floats, Floats, Floats], ratio: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of k at this odds ratio: Cornfield's mean (1956), the matching variance."""
    c, s, bad = counts
    w = ratio[..., None]
    b = (c + bad) * w + s - bad
    root = np.sqrt(np.maximum(b * b + 4 * (1 - w) * w * c * bad, 0.0))
    mean = np.divide(2 * w * c * bad, b + root, out=np.zeros_like(c), where=b + root > 0)
    cells = np.maximum(np.stack([mean, bad - mean, c - mean, s - bad + mean]), 0.0)
    with np.errstate(divide="ignore"):
        inverse = (1 / cells).sum(axis=0)
    return mean, (c + s) / np.maximum(c + s - 1, 1.0) / inverse


class Pair:
    """Latencies of both arms by (block, bin), with the sums that every comparison needs."""

    def __init__(self, candidate: Counts, stable: Counts) -> None:
        used = np.flatnonzero(candidate.any(axis=0) | stable.any(axis=0))
        kept = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
        self.first = kept.start
        """Bin that the first column is."""
        self.candidate, self.stable = candidate[:, kept], stable[:, kept]
        self.pooled = self.candidate + self.stable
        self.mine = np.cumsum(self.candidate, axis=1)
        self.below = np.cumsum(self.pooled, axis=1)
        self.reached = np.concatenate([np.zeros((1, self.below.shape[1]), np.int64), np.cumsum(self.below, axis=0)])
        """Answers up to each bin in all blocks before each."""


def exceedances(pair: Pair, quantile: float) -> tuple[Ints, Ints]:
    """Answers and slow ones by (block, arm); slow is above the pooled quantile of this block and the ones before it.

    The threshold does not know who answered what, so the labels stay a draw.
    """
    window = _recent(pair, quantile)
    threshold = np.argmax(window >= quantile * window[:, -1:], axis=1)
    blocks = np.arange(window.shape[0], dtype=np.int64)
    n, pool = pair.mine[:, -1], pair.below[:, -1]
    slow, slow_pool = n - pair.mine[blocks, threshold], pool - pair.below[blocks, threshold]
    return np.stack([n, pool - n], axis=1), np.stack([slow, slow_pool - slow], axis=1)


def _recent(pair: Pair, quantile: float) -> Ints:
    """Pooled answers up to each bin, of each block and of so many before it that ``EXCEEDANCES`` are above."""
    sizes = pair.reached[:, -1]
    blocks = np.arange(pair.below.shape[0], dtype=np.int64)
    full = sizes.searchsorted(sizes[blocks + 1] - EXCEEDANCES / (1 - quantile), side="right")
    return pair.reached[1:] - pair.reached[np.minimum(np.maximum(full - 1, 0), blocks)]


def ranks(pair: Pair, tilt: Floats, wobble: tuple[float, float]) -> Contrast:
    """Bet that the candidate's latencies rank higher (negative tilts: lower) than the stable's; null: not higher.

    Scores are 2u - 1, u the pooled mid-rank in the block; ties share theirs.

    Args:
        pair: the margin already granted to the candidate.
        tilt: alternatives.
        wobble: harmless sd of ln latency between blocks, least and most.
    """
    slope = _rank_slope(pair)
    return _scored(pair, rank_scores(pair.pooled), tilt, (wobble[0] * slope, wobble[1] * slope))


def tails(pair: Pair, tilt: Floats, wobble: tuple[float, float]) -> Contrast:
    """Bet that more of the slowest answers than its part are the candidate's, the more so the slower they are.

    A score is 0 below the pooled tail of this block and the ones before it, and within it ln(``TAIL_SHARE`` / share
    of answers that are slower): the scores of Savage (Ann. Math. Statist. 27, 1956), cut off. On one answer in a
    hundred that takes 25 times as long they bring twice the evidence of counting the answers above p99.

    Args:
        pair: the margin already granted to the candidate.
        tilt: alternatives.
        wobble: harmless sd of ln latency between blocks, least and most.
    """
    window = _recent(pair, 1 - TAIL_SHARE / 2)
    size = np.maximum(window[:, -1:], 1)
    slower = np.concatenate([size, size - window], axis=1) / size  # share from each bin on; at the end none
    inside = np.minimum(slower, TAIL_SHARE)
    area = inside * (1 + np.log(TAIL_SHARE / np.maximum(inside, _TINY)))
    share = slower[:, :-1] - slower[:, 1:]
    scores = np.divide(area[:, :-1] - area[:, 1:], share, out=np.zeros_like(share), where=share > 0)
    # A factor of latency moves a tail's mean score by its share, where the variance is twice that share.
    slope = tail_slope(pair.reached[-1], 1 - TAIL_SHARE) / 2
    return _scored(pair, scores, tilt, (wobble[0] * slope, wobble[1] * slope))


def outliers(pair: Pair) -> tuple[int, int, int, float] | None:
    """Where the candidate's slow answers stand out most: bin, all answers above it, the candidate's, and its part.

    None: nowhere among the slowest ``MOST_OUTLYING`` of the answers.
    """
    part = pair.mine[:, -1] / np.maximum(pair.below[:, -1], 1)
    above = pair.below[:, -1:] - pair.below
    slow, mine = above.sum(axis=0), (pair.mine[:, -1:] - pair.mine).sum(axis=0)
    usual = part @ above
    excess = np.where(slow <= MOST_OUTLYING * pair.reached[-1, -1], (mine - usual) / np.sqrt(np.maximum(usual, 1.0)), 0)
    place = int(np.argmax(excess))
    if excess[place] <= 0:
        return None
    return pair.first + place, int(slow[place]), int(mine[place]), float(usual[place])


def _scored(pair: Pair, scores: Floats, tilt: Floats, bounds: Bounds) -> Contrast:
    n, pool = pair.mine[:, -1], pair.below[:, -1]
    size = np.maximum(pool, 1).astype(np.float64)
    usual = np.einsum("bx,bx->b", pair.pooled, scores) / size
    second = np.einsum("bx,bx,bx->b", pair.pooled, scores, scores) - size * usual * usual
    total = np.einsum("bx,bx->b", pair.candidate, scores)
    beyond = total - n * usual
    variance = n * (pool - n) / size * np.maximum(second, 0.0) / np.maximum(size - 1, 1)
    log_e = total[:, None] * tilt - score_log_mgf(n, pair.pooled, scores, tilt)
    effect = float(beyond.sum() / variance.sum()) if variance.sum() > 0 else 0.0
    return Contrast(log_e, variance, heterogeneity(beyond, effect * variance, variance, bounds))


def _rank_slope(pair: Pair) -> float:
    """How much the rank effect (in units of the tilt) changes by ln latency, from the arms' own shape."""
    whole = pair.stable.sum(axis=0)
    whole = whole if whole.any() else pair.candidate.sum(axis=0)
    total = float(whole.sum())
    if not total:
        return _SLOPE[0]
    share = whole / total
    below = np.cumsum(share)
    moved = np.concatenate([np.zeros(_PROBE_BINS), below])[: below.size]
    gain = 2 * float(share @ (below - share / 2 - (moved - np.roll(share, _PROBE_BINS) / 2)))
    spread = max(float(share @ (2 * below - share - 1) ** 2), 1e-3)
    return float(np.clip(gain / spread / (_PROBE_BINS * np.log(RATIO)), *_SLOPE))


def tail_slope(reached: Ints, quantile: float) -> float:
    """Slope d logit(share above the quantile) / d ln latency, from the counts of both arms up to each bin."""
    total = float(reached[-1])
    if not total:
        return _SLOPE[0]
    below = reached / total
    here = int(np.argmax(below >= quantile))
    lower = max(here - _PROBE_BINS, 0)
    edge = 0.5 / total
    tails = np.clip(1 - below[[here, lower]], edge, 1 - edge)
    logits = np.log(tails / (1 - tails))
    return float(np.clip((logits[1] - logits[0]) / (_PROBE_BINS * np.log(RATIO)), *_SLOPE))
