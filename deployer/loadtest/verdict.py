"""What a load test says about the targets: met, missed, or not shown, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from deployer.loadtest.estimates import Estimate, Latencies, failed_share, merged
from deployer.loadtest.figures import Figures, Load, Window
from deployer.loadtest.kinds import FAILED, WORDS, Kind, kinds_of
from deployer.loadtest.proof import requests_to_prove
from deployer.loadtest.ranks import Ranked
from deployer.loadtest.shapes import stage_numbers
from deployer.manifest.quantities import format_duration, format_share
from deployer.manifest.schema import Slo

LEVELS = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
REJECTED_SHARE = 0.5
"""More requests than this were wrong themselves: the test says nothing of the endpoint."""
REJECTED_PASS = 0.01
"""With more than this (or than ``slo.error_rate``) nothing passes: they count neither as good nor as failed."""
ERROR_RATE = "error_rate"
TOO_SLOW = "Lower the rate, or send from more processes or hosts."
"""What to do when the generator did not keep up."""


class Result(StrEnum):
    """Of one target, and of the whole test."""

    PASSED = "passed"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Finding:
    """One target and what was found of it."""

    metric: str
    result: Result
    limit: float
    """ms, or a share."""
    value: Estimate
    """In the limit's unit."""
    text: str
    needed: int | None = None
    """Requests that would decide it; None: decided, or too close to the target to tell."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole test."""

    result: Result
    text: str
    findings: tuple[Finding, ...] = ()


def measured(figures: Figures) -> tuple[Window, ...]:
    """Windows after the warm-up; of a run that ended early, those whose requests were not cut off."""
    windows = tuple(window for window in figures.windows if not window.is_warm_up and window.seconds > 0)
    return windows if figures.partial is None else _without_tail(windows)


def _without_tail(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """Without the last second, and what had waited no longer for its answer than nearly all do.

    Requests that had waited longer stay: to leave them out would hide the very stall that made somebody end the test.
    """
    usual_ms = Ranked(merged(window.good_latencies_ms for window in windows)).at(0.95)
    came = [number for number, window in enumerate(windows) if window.statuses or window.waiting_ms]
    cut = [number for number, window in enumerate(windows) if any(ms <= usual_ms for ms in window.waiting_ms)]
    last = min([*came[-1:], *cut], default=-1)
    return windows[: max(last, 1)] if last >= 0 else ()


def judge(figures: Figures, slo: Slo) -> Verdict:
    """Judge a test against ``slo``. Figures that cannot be trusted prove nothing, good or bad."""
    if figures.health.problem:
        why = figures.health.problem
        text = f"thrown away, because the figures would tell of the load generator and not of the endpoint: {why}"
        return Verdict(Result.INCONCLUSIVE, f"{text}. {TOO_SLOW}")
    windows = measured(figures)
    kinds = kinds_of(statuses(windows))
    total = kinds.total()
    if not total:
        why = f" (it ended early: {figures.partial})" if figures.partial else ""
        return Verdict(Result.INCONCLUSIVE, f"no request of the measured time was answered{why}")
    if kinds[Kind.REJECTED] > REJECTED_SHARE * total:
        wrong = kinds[Kind.REJECTED]
        text = f"{wrong:,} of {total:,} requests were rejected as wrong: this says nothing of the endpoint"
        return Verdict(Result.INCONCLUSIVE, f"{text}. {WORDS[Kind.REJECTED][1]}")
    found = _findings(windows, slo, stages_of(figures.load, windows))
    found = [_ours(finding, figures.health.lag_p99_ms) for finding in found]
    verdict = _whole(tuple(found), figures.partial)
    most = REJECTED_PASS if slo.error_rate is None else slo.error_rate
    return _doubt(verdict, kinds[Kind.REJECTED], total) if kinds[Kind.REJECTED] > most * total else verdict


def _doubt(verdict: Verdict, wrong: int, total: int) -> Verdict:
    """Let nothing pass of which a part was never asked properly."""
    if verdict.result is not Result.PASSED:
        return verdict
    text = f"{wrong:,} of {total:,} requests were rejected as wrong, so nothing is known of them"
    return replace(
        verdict, result=Result.INCONCLUSIVE, text=f"{text}. {WORDS[Kind.REJECTED][1]} Of the others: {verdict.text}"
    )


def stages_of(load: Load, windows: Sequence[Window]) -> tuple[int, ...]:
    """Which stage of the load each window belongs to; empty where the rate does not change."""
    return stage_numbers(load, [window.start_s for window in windows])


def statuses(windows: Sequence[Window]) -> dict[int, int]:
    """Requests by status."""
    found: dict[int, int] = {}
    for window in windows:
        for status, n in window.statuses.items():
            found[status] = found.get(status, 0) + n
    return found


def _whole(findings: tuple[Finding, ...], partial: str | None) -> Verdict:
    missed = [finding for finding in findings if finding.result is Result.MISSED]
    unproven = [finding for finding in findings if finding.result is Result.INCONCLUSIVE]
    said = "; ".join(finding.text for finding in (missed or unproven or findings))
    early = f" (ended early: {partial})" if partial else ""
    if missed:
        return Verdict(Result.MISSED, said + early, findings)
    if partial:
        return Verdict(Result.INCONCLUSIVE, f"ended early: {partial}; so far: {said}", findings)
    return Verdict(Result.INCONCLUSIVE if unproven else Result.PASSED, said, findings)


def _findings(windows: Sequence[Window], slo: Slo, stages: Sequence[int]) -> list[Finding]:
    seconds = sum(window.seconds for window in windows)
    rps = sum(window.sent for window in windows) / seconds if seconds else 0.0
    found: list[Finding] = []
    if slo.latency is not None:
        latencies = Latencies(windows, stages)
        given = [(metric, limit_s) for metric, limit_s in slo.latency.targets() if limit_s is not None]
        found += [_latency(latencies, metric, 1000 * limit_s, rps) for metric, limit_s in given]
    if slo.error_rate is not None:
        found.append(_errors(windows, slo.error_rate, rps, stages))
    return found


def _latency(latencies: Latencies, metric: str, limit_ms: float, rps: float) -> Finding:
    level = LEVELS[metric]
    value = latencies.quantile(level)
    result = _result(value, limit_ms)
    why = ": too many requests failed" + (" or still waited for an answer" if latencies.waiting else "")
    seen = f"{metric} is {ms(value.value)}{why if math.isinf(value.value) else ''}"
    allowed = f"at most {ms(limit_ms)}"
    if result is Result.PASSED:
        return Finding(metric, result, limit_ms, value, f"{seen}, shown to be at most {ms(value.high)} ({allowed})")
    if result is Result.MISSED:
        shown = "" if math.isinf(value.low) else f", shown to be at least {ms(value.low)}"
        return Finding(metric, result, limit_ms, value, f"{seen}{shown} ({allowed})")
    inflation = latencies.n / latencies.effective(value.value)  # as of its bounds
    needed = requests_to_prove(round(1 - level, 9), latencies.share_above(limit_ms), inflation)
    bound = "not bounded by so few requests" if math.isinf(value.high) else f"it may be up to {ms(value.high)}"
    text = f"{seen}, {bound} ({allowed}){_missing(needed, rps)}"
    return Finding(metric, result, limit_ms, value, text, needed)


def _ours(finding: Finding, lag_ms: float) -> Finding:
    """Blame nobody for a slow tail that our own lateness may explain: a latency begins when its request was due.

    How late the latest hundredth was sent says nothing of the middle.
    """
    is_ours = finding.metric not in (ERROR_RATE, "p50") and finding.value.low <= finding.limit + lag_ms
    if finding.result is not Result.MISSED or not is_ours:
        return finding
    text = f"{finding.text}; but requests were sent up to {ms(lag_ms)} late (p99). {TOO_SLOW}"
    return replace(finding, result=Result.INCONCLUSIVE, text=text)


def _errors(windows: Sequence[Window], allowed: float, rps: float, stages: Sequence[int]) -> Finding:
    value, n, clustered = failed_share(windows, stages)
    result = _result(value, allowed)
    bad = round(value.value * n)
    waiting = sum(window.waiting for window in windows)
    seen = f"{bad:,} of {n:,} requests failed" if bad else f"none of {n:,} requests failed"
    seen += _causes(windows) if bad else ""
    seen += f", {waiting:,} more still waited for an answer" if waiting else ""
    limit = f"at most {format_share(allowed)}"
    if result is Result.MISSED:
        text = f"{seen}: shown to be at least {percent(value.low)} ({limit})"
        return Finding(ERROR_RATE, result, allowed, value, text)
    text = f"{seen}: shown to be at most {percent(value.high)} ({limit})"
    if result is Result.PASSED:
        return Finding(ERROR_RATE, result, allowed, value, text)
    needed = requests_to_prove(allowed, value.value, clustered.inflation)
    return Finding(ERROR_RATE, result, allowed, value, text + _missing(needed, rps), needed)


def _causes(windows: Sequence[Window]) -> str:
    kinds = kinds_of(statuses(windows))
    seen = sorted(((n, kind) for kind, n in kinds.items() if kind in FAILED and n), reverse=True)
    return f" ({', '.join(f'{n:,} {WORDS[kind][0]}' for n, kind in seen)})"


def _result(value: Estimate, limit: float) -> Result:
    if value.high <= limit:
        return Result.PASSED
    return Result.MISSED if value.low > limit else Result.INCONCLUSIVE


def _missing(needed: int | None, rps: float) -> str:
    """Say what would have decided it."""
    if needed is None:
        return ": too close to the target to tell, however long the run"
    rounded = round(needed, -max(len(str(needed)) - 2, 0))
    took = f", {format_duration(max(needed / rps, 1.0))} at this rate" if rps > 0 else ""
    return f": about {rounded:,} requests would decide it{took}"


def ms(value: float) -> str:
    """Write a latency."""
    if math.isinf(value):
        return "longer than anything measured"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def percent(share: float) -> str:
    """Write a share with two digits, in percent."""
    return f"{100 * share:.2g}%" if share < 0.995 else "100%"
