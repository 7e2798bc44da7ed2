"""A gate that is quick and sound, for tests of the engine: exact binomial bounds on the shares of bad answers.

Two kinds of share are judged: errors among the answers, and answers slower than each latency target (a p95 of 300 ms
says that at most 5 % are slower). For each, the one-sided Clopper-Pearson bounds (Biometrika 26, 1934) hold with a
chance of error that is split over metrics and over looks: look k spends alpha * 6 / (pi k)^2, which sums to alpha for
however many looks. FAIL: a lower bound is above its limit. PASS: every upper bound is below its limit. The test
assumes independent answers; it compares nothing with the stable, so it cannot tell the candidate's faults from a
shared incident.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from scipy.special import betaincinv

from deployer.gate.samples import AnswerClass, Cell, Samples
from deployer.gate.verdict import Arm, Moment, Reason, Result, Verdict
from deployer.manifest.schema import Gate, Slo

COVERAGE_MIN = 0.9
"""Least part of the independently counted requests that telemetry must hold, or the gate is blind."""
SERVED = (AnswerClass.OK, AnswerClass.ERROR, AnswerClass.TIMEOUT)
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def judge(samples: Samples, slo: Slo, gate: Gate, moment: Moment) -> Verdict:
    """Judge the candidate by everything seen since its first exposure. Pure.

    Args:
        samples: answers since the first shift, with what is known of their completeness.
        slo: absolute targets.
        gate: rules; ``false_rollback`` and ``missed_regression`` are the chances of error of FAIL and PASS.
        moment: when, and for whom.
    """
    since = moment.shifts[0].at if moment.shifts else moment.now
    candidate = arm(cell for cell in samples.cells if cell.deployment == moment.candidate)
    stable = arm(cell for cell in samples.cells if cell.deployment == moment.stable) if moment.stable else None
    blind = _blind(samples, gate, moment)
    if blind is not None:
        reasons: tuple[Reason, ...] = (_word("telemetry", Result.BLIND, blind),)
        return _verdict(Result.BLIND, blind, reasons, candidate, stable, samples, moment)
    warm = since + timedelta(seconds=gate.warm_up)
    cells = [cell for cell in samples.cells if cell.deployment == moment.candidate]
    reasons = tuple(_metrics(cells, slo, gate, moment, warm))
    acted_on = [reason for reason in reasons if reason.metric not in gate.observe_only]
    recent = sum(c.n for c in cells if c.answer in SERVED and c.start >= moment.step_started_at)
    failed = [reason for reason in acted_on if reason.result is Result.FAIL]
    if failed:
        return _verdict(Result.FAIL, "; ".join(r.text for r in failed), reasons, candidate, stable, samples, moment)
    if recent < gate.min_requests:
        text = f"{recent} of the {gate.min_requests} requests that this step needs (gate.min_requests)"
        reasons = (*reasons, _word("requests", Result.INCONCLUSIVE, text, needed=gate.min_requests))
        return _verdict(Result.INCONCLUSIVE, text, reasons, candidate, stable, samples, moment)
    unproven = [reason for reason in acted_on if reason.result is not Result.PASS]
    if unproven or not acted_on:
        text = "; ".join(reason.text for reason in unproven) or "no metric is acted on"
        return _verdict(Result.INCONCLUSIVE, text, reasons, candidate, stable, samples, moment)
    text = "; ".join(reason.text for reason in acted_on)
    return _verdict(Result.PASS, text, reasons, candidate, stable, samples, moment)


def arm(cells: Iterable[Cell]) -> Arm:
    """Summarise one deployment's cells: counts and exact quantiles (nearest rank, ms)."""
    served = [cell for cell in cells if cell.answer in (*SERVED, AnswerClass.THROTTLED)]
    throttled = sum(cell.n for cell in served if cell.answer is AnswerClass.THROTTLED)
    answered = [cell for cell in served if cell.answer in SERVED]
    errors = sum(cell.n for cell in answered if cell.answer is not AnswerClass.OK)
    requests = sum(cell.n for cell in answered)
    p50, p95, p99 = (_quantile(answered, share) for share in QUANTILES.values())
    return Arm(requests, errors, throttled, p50, p95, p99)


def _quantile(cells: list[Cell], share: float) -> float | None:
    total = sum(cell.n for cell in cells)
    rank = math.ceil(share * total)
    seen = 0
    for cell in sorted(cells, key=lambda cell: cell.duration_ms):
        seen += cell.n
        if seen >= rank:
            return float(cell.duration_ms)
    return None


def bounds(bad: int, n: int, alpha_low: float, alpha_high: float) -> tuple[float, float]:
    """One-sided Clopper-Pearson bounds of a share: (lower at ``alpha_low``, upper at ``alpha_high``), in [0, 1]."""
    lower = float(betaincinv(bad, n - bad + 1, alpha_low)) if bad else 0.0
    upper = float(betaincinv(bad + 1, n - bad, 1 - alpha_high)) if bad < n else 1.0
    return lower, upper


def _blind(samples: Samples, gate: Gate, moment: Moment) -> str | None:
    """Why the telemetry cannot carry a verdict, or None."""
    if samples.problem is not None:
        return f"telemetry cannot be trusted: {samples.problem}"
    if samples.complete_until is None:
        return "telemetry does not say up to when it is complete"
    lag_s = (moment.now - samples.complete_until).total_seconds()
    if lag_s > gate.telemetry.max_lag:
        return f"telemetry is {lag_s:.0f}s old, over gate.telemetry.max_lag {gate.telemetry.max_lag:g}s"
    for name, expected in samples.expected.items():
        seen = sum(cell.n for cell in samples.cells if cell.deployment == name)
        if expected and seen < COVERAGE_MIN * expected - 1:
            return f"telemetry holds {seen} of the {expected} requests that {name} answered"
    return None


def _metrics(cells: list[Cell], slo: Slo, gate: Gate, moment: Moment, warm: datetime) -> Iterable[Reason]:
    targets = [(name, limit) for name, limit in slo.latency.targets() if limit] if slo.latency else []
    count = len(targets) + (slo.error_rate is not None)
    look = moment.looks + 1
    spend = 6 / (math.pi * look) ** 2 / count
    alphas = gate.false_rollback * spend, gate.missed_regression * spend
    answered = [cell for cell in cells if cell.answer in SERVED]
    if slo.error_rate is not None:
        errors = sum(cell.n for cell in answered if cell.answer is not AnswerClass.OK)
        yield _share("error_rate", "errors", errors, sum(cell.n for cell in answered), slo.error_rate, alphas)
    warmed = [cell for cell in answered if cell.start >= warm]
    for name, limit_s in targets:
        limit_ms = limit_s * 1000
        late = sum(c.n for c in warmed if c.answer is AnswerClass.TIMEOUT or c.duration_ms > limit_ms)
        words = f"slower than {limit_ms:g} ms"
        yield _share(name, words, late, sum(cell.n for cell in warmed), 1 - QUANTILES[name], alphas)


def _share(metric: str, words: str, bad: int, n: int, limit: float, alphas: tuple[float, float]) -> Reason:
    """Judge one share of bad answers against ``limit``."""
    limit = round(limit, 12)
    lower, upper = bounds(bad, n, *alphas) if n else (0.0, 1.0)
    estimate = bad / n if n else None
    counts = f"{bad} of {n} {words}" if n else f"no answers to judge {metric} by"
    if lower > limit:
        text = f"{metric}: {counts}, proven over {limit:.3g} (at least {lower:.2%})"
        return Reason(metric, "slo", Result.FAIL, estimate, lower, upper, limit, text)
    if upper < limit:
        text = f"{metric}: {counts}, proven below {limit:.2%} (at most {upper:.2%})"
        return Reason(metric, "slo", Result.PASS, estimate, lower, upper, limit, text)
    needed = math.ceil(math.log(alphas[1]) / math.log1p(-limit))
    text = f"{metric}: {counts}, not proven either way (between {lower:.2%} and {upper:.2%}, limit {limit:.2%})"
    return Reason(metric, "slo", Result.INCONCLUSIVE, estimate, lower, upper, limit, text, max(needed, n))


def _word(metric: str, result: Result, text: str, needed: int | None = None) -> Reason:
    return Reason(metric, "slo", result, None, None, None, None, text, needed)


def _verdict(
    result: Result,
    text: str,
    reasons: tuple[Reason, ...],
    candidate: Arm,
    stable: Arm | None,
    samples: Samples,
    moment: Moment,
) -> Verdict:
    until = samples.complete_until if result is not Result.BLIND else None
    return Verdict(result, text, reasons, candidate, stable, moment.now, until, moment.looks + 1)
