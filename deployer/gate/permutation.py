"""Log moment generating functions of "who drew the bad answers", when labels are a draw without replacement.

Given a block's pooled answers, exchangeable arms make the candidate's part a simple random sample of the pool. For a
score s of each answer, M(l) = E[exp(l * sum of s over the candidate)] under that draw; exp(l * S) / M(l) is an e-value
(mean exactly 1), whatever the outcomes were. Two-valued scores give Fisher's noncentral hypergeometric likelihood
ratio, ranks a rank test, logs of the share that is slower a test of the tail. Exact where small, else a saddlepoint
(Daniels, Ann. Math. Statist. 25, 1954; in the form of Booth & Butler, Biometrika 77, 1990), whose error falls with the
block's size.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Key = tuple[int, bytes, bytes]

EXACT_RANGE = 300
"""Up to so many values of k the hypergeometric sum is taken in full."""
EXACT_WORK = 1000
"""Up to this smaller arm x pool the rank polynomial is expanded in full."""
_REMEMBERED = 5000
_PACKED_BITS = 21
_PACKED = 2**_PACKED_BITS - 1
"""Blocks of up to two million answers are remembered, by three such numbers in one of 63 bits."""
_NEWTON = 60
_CLOSE = 1e-20


def log_gamma(x: NDArray[np.floating] | Ints) -> Floats:
    """Logarithm of Gamma(x) for x >= 1, relative error below 1e-12 (Stirling's series after shifting x above 10)."""
    values = np.asarray(x, np.float64)
    steps = np.maximum(0.0, 10.0 - np.floor(values))
    shifted = values + steps
    product = np.ones_like(values)
    for step in range(int(steps.max(initial=0.0))):
        product *= np.where(step < steps, values + step, 1.0)
    inverse = 1 / shifted
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    return (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * np.log(2 * np.pi) + series - np.log(product)


def log_sum_exp(values: Floats, axis: int) -> Floats:
    """Logarithm of the sum of exp along ``axis``; -inf for nothing but -inf."""
    top = np.max(values, axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.squeeze(safe, axis) + np.log(np.sum(np.exp(values - safe), axis=axis))


_FACTORIALS = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 4096)))])


def log_factorial(n: Ints) -> Floats:
    """Logarithm of n! for n >= 0: from a table, and by Stirling's series beyond it."""
    if n.size and int(n.max()) >= _FACTORIALS.size:
        return log_gamma(n + 1)
    return _FACTORIALS[n]


def log_choose(n: Ints, k: Ints) -> Floats:
    """Logarithm of the binomial coefficient; -inf outside 0 <= k <= n."""
    inside = (k >= 0) & (k <= n)
    part = np.where(inside, k, 0)
    return np.where(inside, log_factorial(n) - log_factorial(part) - log_factorial(n - part), -np.inf)


def hypergeometric_log_mgf(n: Ints, others: Ints, bad: Ints, tilt: Floats) -> Floats:
    """Compute ln E[exp(tilt * k)], k the candidate's share of ``bad`` answers, shape (..., tilts).

    Args:
        n: answers of the candidate, by block.
        others: answers of the stable, by block.
        bad: bad answers of both, by block.
        tilt: log odds ratios.
    """
    flat = (n.ravel(), others.ravel(), bad.ravel())
    if not n.size or max(int(part.max()) for part in flat) > _PACKED:
        return _hypergeometric(*flat, tilt).reshape(*n.shape, tilt.size)
    known = _HYPERGEOMETRIC.setdefault(tilt.tobytes(), _Table(tilt.size))
    keys = (flat[0] << 2 * _PACKED_BITS) | (flat[1] << _PACKED_BITS) | flat[2]
    rows = known.rows_of(keys, lambda new: _hypergeometric(flat[0][new], flat[1][new], flat[2][new], tilt))
    return rows.reshape(*n.shape, tilt.size)


class _Table:
    """Rows by a whole number, computed once: at the next look only the newest blocks are new. Results do not depend."""

    def __init__(self, width: int) -> None:
        self._keys = np.zeros(0, np.int64)  # rising
        self._rows = np.zeros((0, width))

    def rows_of(self, keys: Ints, compute: Callable[[Ints], Floats]) -> Floats:
        """Rows of ``keys``; ``compute`` is given the places of those that are not known."""
        places = self._keys.searchsorted(keys)
        there = places < self._keys.size
        there[there] = self._keys[places[there]] == keys[there]
        out = np.empty((keys.size, self._rows.shape[1]))
        out[there] = self._rows[places[there]]
        new = np.flatnonzero(~there)
        if new.size:
            out[new] = found = compute(new)
            if self._keys.size > _REMEMBERED:
                self._keys, self._rows = self._keys[:0], self._rows[:0]
            fresh, first = np.unique(keys[new], return_index=True)
            at = self._keys.searchsorted(fresh)
            self._keys, self._rows = np.insert(self._keys, at, fresh), np.insert(self._rows, at, found[first], axis=0)
        return out


Memory = dict[bytes, dict[Key, Floats]]
_HYPERGEOMETRIC: dict[bytes, _Table] = {}
_SCORES: Memory = {}


def _remembered(memory: Memory, keys: list[Key], tilt: Floats, compute: Callable[[Ints], Floats]) -> Floats:
    """Rows by tilts and key, computed once: at the next look only the newest blocks are new. Results do not depend."""
    known = memory.setdefault(tilt.tobytes(), {})
    rows = [known.get(key) for key in keys]
    new = [place for place, row in enumerate(rows) if row is None]
    if new:
        found = compute(np.array(new, np.int64))
        if len(known) > _REMEMBERED:
            known.clear()
        for place, row in zip(new, found, strict=True):
            rows[place] = known[keys[place]] = row
    return np.concatenate([np.zeros(0), *(row for row in rows if row is not None)]).reshape(len(keys), tilt.size)


def _hypergeometric(n: Ints, others: Ints, bad: Ints, tilt: Floats) -> Floats:
    out = np.zeros((n.size, tilt.size))
    low = np.maximum(0, bad - others)
    width = np.minimum(n, bad) - low
    small = (width > 0) & (width <= EXACT_RANGE)
    large = width > EXACT_RANGE
    if small.any():
        out[small] = _hypergeometric_sum(n[small], others[small], bad[small], tilt)
    if large.any():
        values = np.broadcast_to(np.array([0.0, 1.0]), (int(large.sum()), 2))
        counts = np.stack([n + others - bad, bad], axis=1)[large]
        out[large] = _saddlepoint(n[large], counts, values, tilt)
    fixed = width == 0
    out[fixed] = low[fixed][:, None] * tilt
    return out


def _hypergeometric_sum(n: Ints, others: Ints, bad: Ints, tilt: Floats) -> Floats:
    low = np.maximum(0, bad - others)
    k = low[:, None] + np.arange(int((np.minimum(n, bad) - low).max()) + 1, dtype=np.int64)
    weights = log_choose(n[:, None], k) + log_choose(others[:, None], bad[:, None] - k)
    weights -= log_sum_exp(weights, axis=1)[:, None]
    return log_sum_exp(weights[:, None, :] + k[:, None, :] * tilt[:, None], axis=2)


def rank_scores(counts: Ints) -> Floats:
    """2u - 1, u the pooled mid-rank of each bin in its block, shape (blocks, bins); ties share theirs."""
    size = np.maximum(counts.sum(axis=1), 1).astype(np.float64)
    return (2 * np.cumsum(counts, axis=1) - counts) / size[:, None] - 1


def score_log_mgf(n: Ints, counts: Ints, scores: Floats, tilt: Floats) -> Floats:
    """Compute ln E[exp(tilt * S)], S the candidate's sum of scores, shape (blocks, tilts).

    Args:
        n: answers of the candidate, by block.
        counts: pooled answers, by (block, bin).
        scores: of an answer in each bin; whatever does not depend on who answered.
        tilt: values of the tilt.
    """
    filled = counts > 0
    found, scored, ends = counts[filled], scores[filled], np.cumsum(filled.sum(axis=1))
    keys: list[Key] = [
        (drawn, found[low:high].tobytes(), scored[low:high].tobytes())
        for drawn, (low, high) in zip(n.tolist(), pairwise([0, *ends.tolist()]), strict=True)
    ]

    def compute(new: Ints) -> Floats:
        used = counts[new].any(axis=0)
        return _score_log_mgf(n[new], counts[new][:, used], scores[new][:, used], tilt)

    return _remembered(_SCORES, keys, tilt, compute)


def _score_log_mgf(n: Ints, counts: Ints, scores: Floats, tilt: Floats) -> Floats:
    out = np.zeros((n.size, tilt.size))
    pool = counts.sum(axis=1)
    smaller = np.minimum(n, pool - n)
    exact = (smaller > 0) & (smaller * pool <= EXACT_WORK)
    rest = (smaller > 0) & ~exact
    if exact.any():
        out[exact] = _elementary(n[exact], counts[exact], scores[exact], tilt)
    if rest.any():
        out[rest] = _saddlepoint(n[rest], counts[rest], scores[rest], tilt)
    everything = (smaller == 0) & (n == pool)
    out[everything] = (counts * scores).sum(axis=1)[everything][:, None] * tilt
    return out


def _elementary(n: Ints, counts: Ints, scores: Floats, tilt: Floats) -> Floats:
    """Exact: the elementary symmetric polynomial of order ``n``, by its recursion, over that at tilt 0."""
    pool = counts.sum(axis=1)
    flip = 2 * n > pool  # the complement is smaller: S = total - S(complement)
    order = np.where(flip, pool - n, n)
    each = np.zeros((n.size, int(pool.max())))
    for block in range(n.size):
        each[block, : pool[block]] = np.repeat(scores[block], counts[block])
    total, middle = each.sum(axis=1), each.sum(axis=1) / pool
    signed = np.where(flip, -1.0, 1.0)[:, None] * tilt
    sums = np.zeros((int(order.max()) + 1, n.size, tilt.size))
    sums[0] = 1.0
    steps = np.arange(1, sums.shape[0], dtype=np.int64)[:, None]
    for seen in range(1, each.shape[1] + 1):  # kept as means over subsets of what was seen, so that nothing overflows
        factor = np.exp((each[:, seen - 1] - middle)[:, None] * signed)
        taken = np.where((steps <= seen) & (seen <= pool), steps / seen, 0.0)[:, :, None]
        sums[1:] = (1 - taken) * sums[1:] + taken * (sums[:-1] * factor)
    drawn = np.log(sums[order, np.arange(n.size)]) + signed * (order * middle)[:, None]
    return drawn + np.where(flip, total, 0.0)[:, None] * tilt


def _saddlepoint(n: Ints, counts: Ints, scores: Floats, tilt: Floats) -> Floats:
    pull = scores[:, None, :] * tilt[:, None]  # (block, tilt, bin)
    wanted, pool = n.astype(np.float64)[:, None], counts.sum(axis=1).astype(np.float64)[:, None]
    weights = counts.astype(np.float64)[:, :, None]

    def summed(each: Floats) -> Floats:
        return (each @ weights)[:, :, 0]

    plain = np.log(wanted / (pool - wanted))
    theta: Floats = plain - summed(pull) / pool
    reach, factors = 2 * np.abs(pull).max(axis=2) + 1, np.exp(pull)
    low, high = theta - reach, theta + reach
    for _ in range(_NEWTON):  # Newton, kept inside a shrinking bracket
        share: Floats = factors / (factors + np.exp(-theta)[:, :, None])
        gap, slope = summed(share) - wanted, summed(share * (1 - share))
        if np.all(gap * gap < _CLOSE * slope):  # so near that nothing that is kept depends on which blocks go together
            break
        low, high = np.where(gap < 0, theta, low), np.where(gap > 0, theta, high)
        step = theta - gap / slope
        theta = np.where((step > low) & (step < high), step, (low + high) / 2)
    share = factors / (factors + np.exp(-theta)[:, :, None])
    total = summed(np.log(1 + np.exp(theta)[:, :, None] * factors)) - wanted * theta
    untilted = pool * np.log(pool / (pool - wanted)) - wanted * plain
    return total - untilted - 0.5 * np.log(summed(share * (1 - share)) / (wanted * (pool - wanted) / pool))
