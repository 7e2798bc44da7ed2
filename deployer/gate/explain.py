"""Every verdict in words that a tired engineer understands, with the numbers that made it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deployer.gate.blocks import Blocks
from deployer.gate.contrast import Pair, outliers
from deployer.gate.estimates import latency_ratio, odds_ratio, quantile_ms, quantile_ratio, share_interval
from deployer.gate.evidence import (
    BREAKER_SHARE,
    HARMLESS_MS,
    QUANTILES,
    Evidence,
    is_latency_comparison,
    latency_chance,
    named_targets,
    observed_only,
    total,
    warm_arms,
)
from deployer.gate.histogram import end_ms
from deployer.gate.ledger import CANDIDATE, STABLE
from deployer.gate.passing import SAFE_MS, Proof
from deployer.gate.verdict import Reason, Result
from deployer.manifest.schema import Gate, Slo

BLAMED = 0.1
"""A metric is named in a FAIL if it brought at least this part of the evidence."""
_COST_NATS = float(np.log(4))
"""What the mixture over alternatives costs a proof in the end."""

Interval = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known at one look."""

    blocks: Blocks
    fresh: Blocks
    against: list[Evidence]
    proofs: list[Proof]
    failed: bool
    slo: Slo
    gate: Gate

    @property
    def pass_at(self) -> float:
        """E-value at which a metric is proven."""
        return 1 / self.gate.missed_regression

    def is_proven(self, proof: Proof) -> bool:
        """Whether ``proof`` is there."""
        return proof.ok and proof.log_e >= float(np.log(self.pass_at))


def note(metric: str, text: str, result: Result = Result.INCONCLUSIVE, *, needed: int | None = None) -> Reason:
    """A reason without an estimate."""
    return Reason(metric, "compare", result, None, None, None, None, text, needed)


def reasons(case: Case) -> Iterator[Reason]:
    """One reason a metric and rule, worst first."""
    proofs = {(proof.metric, proof.rule): proof for proof in case.proofs}
    by_all = total(case.against, case.gate) >= -np.log(case.gate.false_rollback)
    counted = [
        item
        for item in case.against
        if not observed_only(case.gate, item.metric, item.rule)
        and (by_all or is_latency_comparison(item.metric, item.rule))
    ]
    most = max((item.log_e + np.log(item.weight) for item in counted), default=0.0)
    made: list[Reason] = []
    for item in case.against:
        seen_only = observed_only(case.gate, item.metric, item.rule)
        part = item.log_e + np.log(item.weight)
        blamed = case.failed and item in counted and part >= most + np.log(BLAMED)
        proof = proofs.pop((item.metric, item.rule), None)
        if item.metric == "breaker" and not blamed:
            continue
        made.append(_reason(case, item, proof, blamed=blamed, seen_only=seen_only))
    made.extend(_reason(case, None, proof, blamed=False, seen_only=False) for proof in proofs.values())
    order = {Result.FAIL: 0, Result.BLIND: 1, Result.INCONCLUSIVE: 2, Result.PASS: 3}
    yield from sorted(made, key=lambda reason: order[reason.result])


def _reason(case: Case, item: Evidence | None, proof: Proof | None, *, blamed: bool, seen_only: bool) -> Reason:
    metric, rule = (item.metric, item.rule) if item else (proof.metric, proof.rule) if proof else ("", "")
    interval, words = _measured(case, metric, rule)
    log_e = item.log_e if item else 0.0
    at = 1 / (latency_chance(case.gate) if is_latency_comparison(metric, rule) else case.gate.false_rollback)
    if blamed:
        limit, border = _border(case, metric, rule)
        text = f"{words}: {border}"
        return Reason(metric, rule, Result.FAIL, *interval, limit, text, None, float(np.exp(log_e)), at)
    if proof is None:
        limit, _ = _border(case, metric, rule)
        quiet = log_e < np.log(2.0)
        note = "no sign of harm" if quiet else "suspicious, not proven"
        text = f"{words}: {note}" + (" (only observed)" if seen_only else "")
        result = Result.PASS if quiet else Result.INCONCLUSIVE
        return Reason(metric, rule, result, *interval, limit, text, None, float(np.exp(log_e)), at)
    return _proven(case, proof, interval, words)


def _proven(case: Case, proof: Proof, interval: Interval, words: str) -> Reason:
    target = float(np.log(case.pass_at))
    done = case.is_proven(proof)
    requests = int(case.blocks.n[:, CANDIDATE].sum())
    needed = None if done else _needed(case, proof, requests, target)
    limit = proof.bound
    if proof.metric == "error_rate":
        is_share = proof.rule == "slo" and proof.bound < 1
        claim = f"below {_percent(proof.bound) if is_share else f'{proof.bound:.3g}'}"
        claim += "x the stable" if proof.rule == "compare" else ""
    elif proof.rule == "slo":
        limit = dict(named_targets(case.slo))[proof.metric]
        claim = f"that at most {_percent(proof.bound)} are above {limit:g} ms"
    else:
        claim = f"below {_times(case, proof.metric, proof.bound, SAFE_MS)}"
    if done:
        text = f"{words}: proven {claim}"
    else:
        more = f", about {needed} requests of the candidate needed, {requests} so far" if needed else ""
        text = f"{words}: not yet proven {claim}{more}"
        if needed is None:
            text += " (at what was seen so far, more requests alone would not prove it)"
    result = Result.PASS if done else Result.INCONCLUSIVE
    e_value = float(np.exp(proof.log_e))
    return Reason(proof.metric, proof.rule, result, *interval, limit, text, needed, e_value, case.pass_at)


def _times(case: Case, metric: str, factor: float, least_ms: float) -> str:
    """A factor of the stable's latency, or what is more where the stable is fast: so many milliseconds beyond it."""
    used = case.blocks.warm & case.blocks.paired
    stable, _, _ = quantile_ms(case.blocks.fine[STABLE][used].sum(axis=0), QUANTILES.get(metric, 0.5))
    if stable is not None and (factor - 1) * stable < least_ms:
        return f"{least_ms:g} ms more than the stable"
    return f"{factor:.3g}x the stable"


def _needed(case: Case, proof: Proof, requests: int, target: float) -> int | None:
    """Candidate requests at which the proof is there, if it goes on as it went; None if it does not go forward."""
    if requests == 0 or not proof.ok or proof.best <= 0:
        return None
    more = (target + _COST_NATS) / proof.best
    return max(int(np.ceil(requests * more)), requests + 1, case.gate.min_requests)


def _measured(case: Case, metric: str, rule: str) -> tuple[Interval, str]:
    """Estimate with interval, and the words for it."""
    blocks = case.blocks
    if metric == "breaker":
        bad, n = int(case.fresh.errors[:, CANDIDATE].sum()), int(case.fresh.n[:, CANDIDATE].sum())
        return share_interval(bad, n), f"{bad} of {n} answers are errors"
    if rule == "slo" and metric == "error_rate":
        bad, n = int(blocks.errors[:, CANDIDATE].sum()), int(blocks.n[:, CANDIDATE].sum())
        found = share_interval(bad, n)
        return found, f"errors {bad} of {n}" + _range(found, percent=True)
    if rule == "slo":
        found = quantile_ms(blocks.fine[CANDIDATE][blocks.warm].sum(axis=0), QUANTILES[metric])
        return found, f"{metric}" + (f" {_short(found[0])} ms" if found[0] else " unknown") + _range(found)
    if metric == "error_rate":
        n, bad = blocks.n[blocks.paired], blocks.errors[blocks.paired]
        found = odds_ratio(n, bad)
        sums = [int(counted[:, arm].sum()) for arm in (CANDIDATE, STABLE) for counted in (bad, n)]
        counts = "errors {} of {}, stable {} of {}".format(*sums)
        return found, counts + (f" = {found[0]:.3g}x" if found[0] else "") + _range(found)
    arms = warm_arms(blocks, case.gate, latency_chance(case.gate))
    if metric == "shift":
        found = latency_ratio(arms.candidate, arms.stable)
    else:
        found = quantile_ratio(arms.candidate.sum(axis=0), arms.stable.sum(axis=0), QUANTILES[metric])
    name = "latency" if metric == "shift" else metric
    return found, f"{name} " + (f"{found[0]:.3g}x the stable's" if found[0] else "against the stable unknown") + _range(
        found
    )


def _range(found: Interval, *, percent: bool = False) -> str:
    _, low, high = found
    if low is None or high is None:
        return ""
    return f" ({_percent(low)} to {_percent(high)})" if percent else f" ({_short(low)} to {_short(high)})"


def _short(value: float) -> str:
    short = float(f"{value:.3g}")
    return f"{short:.3g}" if short < 1000 else f"{short:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _breach(case: Case, limit: str, worse: str) -> str:
    if case.blocks.paired.any():
        return f"over the slo {limit}, and {worse} than the stable in the same moments; either alone would not fail it"
    return f"over the slo {limit}; within it, it would not fail"


def _border(case: Case, metric: str, rule: str) -> tuple[float | None, str]:
    """The limit that a FAIL is about, and what would have changed it."""
    if metric == "breaker":
        return BREAKER_SHARE, "a catastrophe; it would not have failed at once with fewer than one error in five"
    if rule == "slo" and metric == "error_rate":
        limit = case.slo.error_rate
        return limit, _breach(case, _percent(limit or 0), "more errors")
    if rule == "slo":
        limit = dict(named_targets(case.slo))[metric]
        return limit, _breach(case, f"{limit:g} ms", "slower")
    if metric == "error_rate":
        limit = case.gate.compare.error_rate.tolerate
        return limit, f"more errors than the stable in the same moments; up to {limit:.3g}x is tolerated"
    limit = case.gate.compare.latency.tolerate
    up_to = _times(case, metric, limit, HARMLESS_MS)
    worse = "slower than the stable in the same moments"
    if metric == "p99":
        arms = warm_arms(case.blocks, case.gate, latency_chance(case.gate))
        found = outliers(Pair(arms.candidate, arms.stable))
        if found is not None:
            place, slow, mine, usual = found
            over = f"{mine:,} of the {slow:,} answers over {_short(end_ms(place))} ms"
            worse = f"{over} are the candidate's, {_short(usual)} would be its part"
    return limit, f"{worse}; up to {up_to} is tolerated"
