"""What is possible at all: Wald's sequential test of the true candidate against a good one, both known exactly."""

from __future__ import annotations

import numpy as np


def sprt(stream, *, every_s=30.0, alpha=0.01, beta=0.05):
    """(seconds, candidate requests seen) at which it rejects, looking as often and as late as the gate; None: never."""
    order = np.argsort(stream.seen_s, kind="stable")
    mine = order[stream.arm[order] == 0]
    total = np.maximum.accumulate(_restarting(stream.llr[mine]))
    crossed = np.flatnonzero(total >= np.log((1 - beta) / alpha))
    if not crossed.size:
        return None
    at = np.ceil(stream.seen_s[mine[crossed[0]]] / every_s) * every_s
    return at, int(crossed[0]) + 1


def _restarting(llr):
    """Sums that never fall below zero: the oracle knows when a late fault begins (before it the ratio is 1)."""
    total = np.cumsum(llr)
    return total - np.minimum.accumulate(np.minimum(total, 0.0))
