"""What a load test says about the targets: met, missed, or not shown, each with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from deployer.loadtest.figures import OVER_CAP, Figures, Window
from deployer.loadtest.statistics import (
    Interval,
    ended,
    inflation,
    needed,
    quantile,
    share_interval,
    slower_than,
)
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Slo

LEVELS = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
REFUSED_SHARE = 0.5
"""More answers than this that blame the caller: the test asks wrongly, and says nothing of the endpoint."""


class Result(StrEnum):
    """Of one target, and of the whole test."""

    PASSED = "passed"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Finding:
    """One target."""

    metric: str
    result: Result
    limit: float
    """ms, or a share."""
    value: Interval
    """In the limit's unit."""
    share: Interval
    """Of requests that are over the limit (latency), or failed."""
    allowed: float
    """Share that may be."""
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole test."""

    result: Result
    text: str
    findings: tuple[Finding, ...]


def is_error(status: int) -> bool:
    """Whether an answer counts against the endpoint: no answer, 408, 424, 429 (it has no room) and 5xx.

    Source: as the gate counts, but that a load test asks how much fits: 429 is an error here.
    """
    return status <= 0 or status in (408, 424, 429, 499) or status >= 500


def is_callers(status: int) -> bool:
    """Whether an answer says that the test asks wrongly: a redirect, or a 4xx that is nobody else's."""
    return 300 <= status < 500 and not is_error(status)


def errors(window: Window) -> int:
    """Failed requests of a window."""
    return sum(n for status, n in window.statuses.items() if is_error(status))


def measured(figures: Figures) -> tuple[Window, ...]:
    """Windows after the warm-up."""
    return tuple(window for window in figures.windows if not window.is_warm_up)


def statuses(windows: Sequence[Window]) -> Counter[int]:
    """Requests by status."""
    total: Counter[int] = Counter()
    for window in windows:
        total.update(window.statuses)
    return total


def judge(figures: Figures, slo: Slo) -> Verdict:
    """Judge a test against ``slo``. Figures that cannot be trusted prove nothing, good or bad."""
    windows = measured(figures)
    seen = statuses(windows)
    total = sum(seen.values())
    if not total:
        return Verdict(Result.INCONCLUSIVE, "no request of the measured time has ended", ())
    callers = sum(n for status, n in seen.items() if is_callers(status))
    if callers > REFUSED_SHARE * total:
        status = max((status for status in seen if is_callers(status)), key=lambda status: seen[status])
        text = f"{callers} of {total} requests were refused as wrong ({status}): this says nothing of the endpoint"
        return Verdict(Result.INCONCLUSIVE, text, ())
    if figures.health.problem:
        text = f"thrown away, because the load generator cannot be trusted: {figures.health.problem}"
        return Verdict(Result.INCONCLUSIVE, text, ())
    findings = tuple(_findings(windows, slo, figures.load.rps))
    return _whole(findings, figures.partial)


def _whole(findings: Sequence[Finding], partial: str | None) -> Verdict:
    missed = [finding for finding in findings if finding.result is Result.MISSED]
    open_ = [finding for finding in findings if finding.result is Result.INCONCLUSIVE]
    said = "; ".join(finding.text for finding in (missed or open_ or findings))
    if missed:
        return Verdict(Result.MISSED, said, tuple(findings))
    if partial:
        return Verdict(Result.INCONCLUSIVE, f"ended early: {partial}; so far: {said}", tuple(findings))
    result = Result.INCONCLUSIVE if open_ else Result.PASSED
    return Verdict(result, said, tuple(findings))


def _findings(windows: Sequence[Window], slo: Slo, rps: float) -> list[Finding]:
    found: list[Finding] = []
    if slo.latency is not None:
        for metric, limit_s in slo.latency.targets():
            if limit_s is not None:
                found.append(_latency(windows, metric, limit_s * 1000, rps))
    if slo.error_rate is not None:
        n, bad = sum(map(ended, windows)), sum(map(errors, windows))
        worth = inflation(windows, errors)
        share = share_interval(bad, n, worth)
        result = _result(share, slo.error_rate)
        text = f"errors {_percent(share)}, at most {100 * slo.error_rate:.3g} % allowed"
        text += _missing(result, slo.error_rate, share, worth, rps)
        found.append(Finding("error_rate", result, slo.error_rate, share, share, slo.error_rate, text))
    return found


def _latency(windows: Sequence[Window], metric: str, limit_ms: float, rps: float) -> Finding:
    level = LEVELS[metric]
    late = slower_than(limit_ms)
    n, bad = sum(map(ended, windows)), sum(map(late, windows))
    worth = inflation(windows, late)
    share = share_interval(bad, n, worth)
    allowed = round(1 - level, 6)
    result = _result(share, allowed)
    value = quantile(windows, level)
    text = f"{metric} {_ms(value)}, at most {limit_ms:g} ms allowed" + _missing(result, allowed, share, worth, rps)
    return Finding(metric, result, limit_ms, value, share, allowed, text)


def _result(share: Interval, allowed: float) -> Result:
    if share.upper is not None and share.upper <= allowed:
        return Result.PASSED
    if share.lower is not None and share.lower > allowed:
        return Result.MISSED
    return Result.INCONCLUSIVE


def _missing(result: Result, allowed: float, share: Interval, worth: float, rps: float) -> str:
    """Say what would have decided it."""
    if result is not Result.INCONCLUSIVE or share.estimate is None:
        return ""
    more = needed(allowed, share.estimate, worth)
    if more is None:
        return ": too close to the target to tell"
    return f": not proven; about {more:,} requests would" + (f" ({format_duration(more / rps)})" if rps > 0 else "")


def _ms(value: Interval) -> str:
    shown = "no answer" if value.estimate is None else f"{value.estimate:g} ms"
    low = "?" if value.lower is None else f"{value.lower:g}"
    return f"{shown} [{low}-{'?' if value.upper is None else f'{value.upper:g}'}]"


def _percent(share: Interval) -> str:
    if share.estimate is None or share.upper is None or share.lower is None:
        return "unknown"
    return f"{100 * share.estimate:.3g} % [{100 * share.lower:.2g}-{100 * share.upper:.2g}]"


def over_cap(windows: Sequence[Window]) -> int:
    """Arrivals that found all slots taken."""
    return statuses(windows)[OVER_CAP]
