"""Feed a stream to the gate through its own backtest, look by look."""

from __future__ import annotations

import numpy as np

from deployer.gate.backtest import LAG_BINS, Arrivals, Replay
from deployer.gate.ledger import _CODE, utc
from deployer.gate.samples import classify
from deployer.gate.verdict import Result, Shift

EPOCH = 1_767_225_600.0


def arrivals(stream, every_s, cell_s):
    """One batch a look, until everything has been seen and settled."""
    order = np.argsort(stream.seen_s, kind="stable")
    seen = stream.seen_s[order]
    codes = {int(code): _CODE[classify(int(code))] for code in np.unique(stream.status)}
    classes = np.vectorize(codes.get, otypes=[np.int64])(stream.status)[order] if seen.size else np.zeros(0, np.int64)
    start = np.floor(stream.at_s / cell_s)[order] * cell_s + EPOCH
    arm, ms = stream.arm[order], stream.ms.astype(np.int64)[order]
    lag = np.minimum((stream.seen_s - stream.at_s).astype(int), LAG_BINS - 1)[order]
    looks = int(np.ceil((seen[-1] if seen.size else 0) / every_s)) + 7
    edges = np.searchsorted(seen, np.arange(1, looks + 1) * every_s, side="right")
    first = 0
    for look, last in enumerate(edges, start=1):
        part = slice(first, last)
        lags = np.zeros((2, LAG_BINS), np.int64)
        np.add.at(lags, (arm[part], lag[part]), 1)
        yield Arrivals(
            EPOCH + look * every_s,
            start[part],
            arm[part],
            classes[part],
            ms[part],
            np.ones(last - first, np.int64),
            lags,
        )
        first = last


def run(stream, slo, gate, *, every_s=30.0, cell_s=10.0, weight_pct=10, least_s=300.0, prove=True):
    """(result, seconds to the decision, candidate requests answered by then, first pass in seconds).

    Without ``prove`` no PASS is asked for, which takes half the time and changes no FAIL.
    """
    replay = Replay(slo, gate, cell_s, (Shift(utc(EPOCH), weight_pct),), least_s)
    replay.passed = None if prove else "not asked for"
    passed = None
    for batch in arrivals(stream, every_s, cell_s):
        verdict = replay.look(batch)
        now = batch.now_s - EPOCH
        if verdict.result is Result.FAIL:
            used = int(((stream.arm == 0) & (stream.seen_s <= now)).sum())
            return "fail", now, used, passed
        if prove and passed is None and replay.passed is not None:
            passed = now
    return ("pass" if passed else "inconclusive"), passed, None, passed
