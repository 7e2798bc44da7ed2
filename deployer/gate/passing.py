"""Proof that the candidate is safe enough for the weight that a PASS leads to: the bets of ``evidence``, reversed.

A metric is proven when the e-value against "beyond the bound" reaches 1 / missed_regression. All needed metrics must be
(an intersection-union test: no correction). The less traffic comes next, the weaker the bounds may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from deployer.gate import betting
from deployer.gate.blocks import Blocks, least_s
from deployer.gate.contrast import Contrast, Pair, odds, ranks, tail_slope
from deployer.gate.evidence import (
    ERROR_WOBBLE,
    QUANTILES,
    WOBBLE,
    named_targets,
    observed_only,
    over_limit,
    slower,
    warm_arms,
)
from deployer.gate.histogram import shrink
from deployer.gate.ledger import CANDIDATE
from deployer.gate.permutation import Floats, Ints
from deployer.gate.verdict import Moment
from deployer.manifest.schema import Gate, Slo

SAFE_MS = 4.0
"""A PASS proves latency below ``rule_out`` or below the stable's plus this, whichever is more."""
TILTS = np.array([-0.25, -0.5, -1.0, -2.0])
RANK_TILTS = np.array([-0.25, -0.5, -1.0])
TAILS_FROM = 0.5
"""Tails are proven only for a PASS that leads to more than this share of traffic."""
ERRORS_AT_MOST = 0.5
BESIDE = 1.5
"""Beside a stable that bounds the tail, the share of slow answers is proven below the target's times this."""


@dataclass(frozen=True, slots=True)
class Proof:
    """How far one metric is from being proven."""

    metric: str
    rule: str
    bound: float
    """What is being proven: the share of bad answers, or the factor of the stable's latency, is below this."""
    log_e: float
    best: float
    """Ln e of the best of its alternatives: what grows in proportion to the requests."""
    ok: bool = True
    """The estimate itself is on the right side."""


def exposure(moment: Moment) -> float:
    """Share of live traffic, in (0, 1], that a PASS now leads to; unknown is taken as all."""
    leads_to = 100 if moment.next_weight_pct is None else moment.next_weight_pct
    return min(max(leads_to, moment.weight_pct, 1), 100) / 100


def latency_bound(gate: Gate, metric: str, share: float) -> float:
    """Factor of the stable's latency to be ruled out: ``rule_out`` for all traffic, wider for less and for tails."""
    excess = (gate.compare.latency.rule_out - 1) / np.sqrt(share)
    return 1 + float(excess) * {"p95": 1.4, "p99": 4.0}.get(metric, 1.0)


def proofs(blocks: Blocks, slo: Slo, gate: Gate, moment: Moment) -> list[Proof]:
    """Every proof that a PASS at ``moment`` needs."""
    needed = list(_absolute(blocks, slo, gate, moment))
    if moment.stable is not None and bool(blocks.paired.any()):
        needed.extend(_compared(blocks, slo, gate, moment))
    return [proof for proof in needed if not observed_only(gate, proof.metric, proof.rule)]


def _compared(blocks: Blocks, slo: Slo, gate: Gate, moment: Moment) -> Iterator[Proof]:
    share = exposure(moment)
    if slo.error_rate is None:
        yield _compared_errors(blocks, gate, share)
    arms = warm_arms(blocks, gate, gate.missed_regression)
    bound = latency_bound(gate, "shift", share)
    shifted = ranks(Pair(shrink(arms.candidate, bound, SAFE_MS), arms.stable), RANK_TILTS, WOBBLE)
    yield Proof("shift", "compare", bound, *_total(shifted, arms.caps))
    tails = [metric for metric, _ in named_targets(slo) if metric != "p50" and share > TAILS_FROM]
    if not tails:
        return
    bounds = [latency_bound(gate, metric, share) for metric in tails]
    pairs = [Pair(shrink(arms.candidate, bound, SAFE_MS), arms.stable) for bound in bounds]
    tail = slower([(pair, QUANTILES[metric]) for pair, metric in zip(pairs, tails, strict=True)], TILTS)
    for metric, bound, x in zip(tails, bounds, _tempered(tail, arms.caps), strict=True):
        yield Proof(metric, "compare", bound, betting.from_first(x), _best(x))


def _tempered(contrast: Contrast, caps: Floats) -> Floats:
    return betting.temper(contrast.log_e, contrast.variance, contrast.h2, caps)


def _total(contrast: Contrast, caps: Floats) -> tuple[float, float]:
    x = _tempered(contrast, caps)
    return betting.from_first(x), _best(x)


def _best(x: Floats) -> float:
    return float(x.sum(axis=0).max())


def _compared_errors(blocks: Blocks, gate: Gate, share: float) -> Proof:
    """Without an absolute target: below ``rule_out`` times the stable's odds, or below 1 % (either is harmless)."""
    used = blocks.paired
    n, bad = blocks.n[used], blocks.errors[used]
    caps = betting.caps(blocks.length_s[used], least_s(gate), gate.missed_regression)
    bound = 1 + (gate.compare.error_rate.rule_out - 1) / share
    beside = odds(n, bad, TILTS, float(np.log(bound)), ERROR_WOBBLE)
    rare = over_limit(n[:, CANDIDATE], bad[:, CANDIDATE], min(0.01 / share, ERRORS_AT_MOST), TILTS, ERROR_WOBBLE)
    logs, best = zip(*(_total(part, caps) for part in (beside, rare)), strict=True)
    return Proof("error_rate", "compare", bound, betting.mean_log([(0.5, log) for log in logs]), max(best))


def _absolute(blocks: Blocks, slo: Slo, gate: Gate, moment: Moment) -> Iterator[Proof]:
    share = exposure(moment)
    caps = betting.caps(blocks.length_s, least_s(gate), gate.missed_regression)
    if slo.error_rate is not None:
        bound = min(slo.error_rate / share, max(slo.error_rate, ERRORS_AT_MOST))
        n, bad = blocks.n[:, CANDIDATE], blocks.errors[:, CANDIDATE]
        yield _below("error_rate", (n, bad), bound, caps, ERROR_WOBBLE)
    beside = moment.stable is not None and bool(blocks.paired.any())
    reached = blocks.reached()
    for column, (metric, _) in enumerate(named_targets(slo)):
        limit = round(1 - QUANTILES[metric], 6)
        bound = min(limit * (BESIDE if beside else 1.0) / share, max(limit, 0.75))
        slope = tail_slope(reached, QUANTILES[metric])
        n, bad = blocks.timed[blocks.warm, CANDIDATE], blocks.late[blocks.warm, CANDIDATE, column]
        wobble = (WOBBLE[0] * slope, WOBBLE[1] * slope)
        proof = _below(metric, (n, bad), bound, caps[blocks.warm], wobble)
        yield replace(proof, ok=bool(bad.sum() * share <= limit * n.sum()))


def _below(metric: str, counts: tuple[Ints, Ints], bound: float, caps: Floats, wobble: tuple[float, float]) -> Proof:
    n, bad = counts
    return Proof(metric, "slo", bound, *_total(over_limit(n, bad, bound, TILTS, wobble), caps))
