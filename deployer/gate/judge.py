"""The gate: label betting. Given which answers of a short block were bad, are too many of them the candidate's?

Under the null (the candidate is within ``tolerate`` of the stable) the labels of a block's answers are a draw without
replacement, whatever the answers were: load, bursts and shared incidents cancel, and no history is needed. Evidence
multiplies over blocks into e-values, which may be looked at as often as one likes over the whole rollout.
FAIL: the mean e-value of all metrics reaches 1 / false_rollback, or what latencies bring to it a fifth of that. PASS:
every needed proof reaches 1 / missed_regression. Anything else, and anything unknown, promotes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from deployer.gate import blindness
from deployer.gate.advice import Seen, enough_weight
from deployer.gate.blocks import Blocks, fresh_blocks, score_blocks
from deployer.gate.evidence import (
    Evidence,
    against,
    breaker,
    is_proven_worse,
    named_targets,
    nearest,
    observed_only,
    total,
)
from deployer.gate.explain import Case, note, reasons
from deployer.gate.histogram import LINEAR_MS, RATIO, RAW_BINS
from deployer.gate.holds import found_holds
from deployer.gate.ledger import CANDIDATE, STABLE, THROTTLED, Ledger
from deployer.gate.passing import proofs
from deployer.gate.permutation import Ints
from deployer.gate.samples import Samples
from deployer.gate.verdict import Arm, Moment, Reason, Result, Verdict
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Gate, Slo

UNHURT = float(np.log(2.0))
"""A PASS needs the evidence against the candidate to be at most e-value 2."""


def judge(samples: Samples, slo: Slo, gate: Gate, moment: Moment) -> Verdict:
    """Judge the candidate by everything seen since its first exposure. Pure, and a function of the counts alone.

    Args:
        samples: answers since the first shift, with what is known of their completeness.
        slo: absolute targets.
        gate: rules; ``false_rollback`` and ``missed_regression`` are the chances of error of FAIL and PASS.
        moment: when, and for whom.
    """
    limits = tuple(limit for _, limit in named_targets(slo))
    ledger = Ledger.of(samples, moment.candidate, moment.stable, limits)
    return assess(samples, Look(ledger, slo, gate, moment))


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the evidence is given."""

    ledger: Ledger
    slo: Slo
    gate: Gate
    moment: Moment
    explain: bool = True
    """False: only the result matters; reasons and quantiles are left out."""
    prove: bool = True
    """False: a PASS is not asked for (monitoring after one)."""


def assess(samples: Samples, look: Look) -> Verdict:
    """As ``judge``, for counts that are in a ledger already; ``samples`` says only how complete they are."""
    gate, moment = look.gate, look.moment
    until = horizon(samples, gate, moment)
    problem = blindness.untrusted(samples, look.ledger, moment)
    if problem is not None:
        return _blind(problem, look)
    if not moment.shifts:
        text = "the candidate has had no traffic yet"
        return _verdict(Result.INCONCLUSIVE, text, (note("requests", text, needed=gate.min_requests),), look, until)
    fresh = fresh_blocks(look.ledger, gate, moment)
    broken = breaker(fresh, stable=moment.stable is not None)
    if _is_catastrophe(broken, gate):
        why = tuple(reasons(Case(fresh, fresh, [broken], [], failed=True, slo=look.slo, gate=gate)))
        return _verdict(Result.FAIL, _joined(why), why, look, until)
    problem = blindness.blind(samples, look.ledger, gate, moment)
    if problem is not None or until is None:
        return _blind(problem or "", look)
    return _weigh(look, fresh, broken, until)


def _blind(problem: str, look: Look) -> Verdict:
    return _verdict(Result.BLIND, problem, (note("telemetry", problem, Result.BLIND),), look, None)


def horizon(samples: Samples, gate: Gate, moment: Moment) -> datetime | None:
    """Up to when answers are scored: complete, and ``settle`` ago."""
    if samples.complete_until is None:
        return None
    settled = moment.now.timestamp() - (gate.settle or 0.0)
    until = min(samples.complete_until.timestamp(), settled)
    return datetime.fromtimestamp(until, moment.now.tzinfo)


def _is_catastrophe(broken: Evidence, gate: Gate) -> bool:
    """Whether the breaker alone fails the candidate, on whatever has arrived."""
    if observed_only(gate, broken.metric, broken.rule):
        return False
    return bool(broken.log_e + np.log(broken.weight) >= -np.log(gate.false_rollback))


def _weigh(look: Look, fresh: Blocks, broken: Evidence, until: datetime) -> Verdict:
    ledger, slo, gate, moment = look.ledger, look.slo, look.gate, look.moment
    blocks = score_blocks(ledger, gate, moment, until.timestamp())
    found = against(blocks, broken, slo, gate, stable=moment.stable is not None)
    evidence = total(found, gate)
    failed = is_proven_worse(found, gate)
    quiet = failed or not (look.explain or look.prove)
    holds = () if quiet else tuple(found_holds(ledger, blocks, found, slo, gate, moment, until))
    if evidence > UNHURT and not quiet:
        log_e, fails_at = nearest(found, gate)
        text = f"something looks bad, not enough to fail it (e-value {np.exp(log_e):.3g} of {fails_at:g})"
        holds = (*holds, note("evidence", text))
    needed = proofs(blocks, slo, gate, moment) if look.explain or (look.prove and not (failed or holds)) else []
    case = Case(blocks, fresh, found, needed, failed=failed, slo=slo, gate=gate)
    proven = look.prove and bool(needed) and all(case.is_proven(proof) for proof in needed)
    result = Result.FAIL if failed else Result.PASS if proven and not holds else Result.INCONCLUSIVE
    why = tuple(reasons(case)) if look.explain else ()
    if failed:
        said: Iterable[Reason] = [reason for reason in why if reason.result is Result.FAIL]
    elif holds:
        said = holds[:1]
    else:
        acted = {(proof.metric, proof.rule) for proof in needed}
        said = [r for r in why if (r.metric, r.rule) in acted and (proven or r.result is not Result.PASS)]
    text = _joined(said) + ("" if result is Result.INCONCLUSIVE else _alone(blocks, moment))
    verdict = _verdict(result, text, (*holds, *why), look, until)
    cured = look.explain and result is Result.INCONCLUSIVE and all(hold.metric == "requests" for hold in holds)
    return _advised(verdict, case, look, until) if cured else verdict


def _advised(verdict: Verdict, case: Case, look: Look, until: datetime) -> Verdict:
    """Add which weight would have brought enough requests in this step's time."""
    moment, ledger = look.moment, look.ledger
    began_s = moment.step_started_at.timestamp()
    step = int(ledger.served(CANDIDATE)[ledger.rows(began_s, until.timestamp())].sum())
    seen = Seen(int(case.blocks.n[:, CANDIDATE].sum()) - step, step)
    acted = {(proof.metric, proof.rule) for proof in case.proofs}
    unproven = [reason for reason in verdict.reasons if (reason.metric, reason.rule) in acted]
    weight = enough_weight(moment, seen, unproven, look.gate.min_requests)
    if weight is None:
        return verdict
    took = format_duration(until.timestamp() - began_s)
    text = f"{verdict.text}; at weight {weight} the {took} of this step would probably have been enough"
    return replace(verdict, text=text, enough_weight_pct=weight)


def _alone(blocks: Blocks, moment: Moment) -> str:
    if moment.stable is not None and bool(blocks.paired.all()):
        return ""
    return "; part of this time had no stable traffic beside it: not protected from shared incidents"


def _joined(why: Iterable[Reason]) -> str:
    return "; ".join(reason.text for reason in why) or "nothing to judge"


def arm(ledger: Ledger, which: int, rows: slice) -> Arm:
    """What one deployment did: quantiles in ms (nearest rank; above 64 ms to 2.5 %) of ok answers and time-outs."""
    counts = ledger.counts[rows, which].sum(axis=0)
    raw = ledger.raw[rows, which].sum(axis=0, dtype=np.int64)
    p50, p95, p99 = (_quantile(raw, level, ledger.timeout_ms[which]) for level in (0.5, 0.95, 0.99))
    return Arm(int(counts[:3].sum()), int(counts[1] + counts[2]), int(counts[THROTTLED]), p50, p95, p99)


def _quantile(raw: Ints, level: float, timeout_ms: int) -> float | None:
    reached = np.cumsum(raw)
    if not reached[-1]:
        return None
    place = int(np.argmax(reached >= np.ceil(level * reached[-1])))
    if place == RAW_BINS - 1:
        return float(timeout_ms)
    return float(place) if place < LINEAR_MS else round(float(LINEAR_MS * RATIO ** (place - LINEAR_MS + 0.5)), 1)


def _verdict(result: Result, text: str, why: tuple[Reason, ...], look: Look, until: datetime | None) -> Verdict:
    moment, ledger = look.moment, look.ledger
    since = moment.shifts[0].at.timestamp() - ledger.cell_s if moment.shifts else -np.inf
    rows = ledger.rows(since, np.inf) if look.explain else slice(0)
    stable = arm(ledger, STABLE, rows) if moment.stable is not None else None
    return Verdict(result, text, why, arm(ledger, CANDIDATE, rows), stable, moment.now, until, moment.looks + 1)
