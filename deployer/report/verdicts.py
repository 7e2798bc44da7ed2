"""Verdicts in few words: the numbers of both deployments, and the one reason that matters most."""

from __future__ import annotations

import math
from typing import Any

from deployer.gate.verdict import Arm, Reason, Result, Verdict

METRICS = {"error_rate": "errors", "shift": "latency"}
"""Metrics that people know by another name."""
NO_REQUESTS = "no requests yet"


def why(verdict: Verdict) -> str:
    """Say the most important of the reasons that made ``verdict``; its own text when none is known."""
    said = _said(verdict)
    if not said:
        return verdict.text
    if verdict.result is Result.PASS:
        names = list(dict.fromkeys(METRICS.get(reason.metric, reason.metric) for reason in said))
        return f"{', '.join(names)} proven within the limits"
    return said[0].text + (f" (and {len(said) - 1} more)" if len(said) > 1 else "")


def is_news(before: Verdict, verdict: Verdict) -> bool:
    """Whether ``verdict`` has another main reason than ``before``: the same one with other numbers is no news."""
    return _about(before) != _about(verdict)


def _about(verdict: Verdict) -> tuple[str, ...]:
    first = next(iter(_said(verdict)), None)
    return (verdict.result, verdict.text) if first is None else (verdict.result, first.metric, first.rule)


def _said(verdict: Verdict) -> list[Reason]:
    """Reasons that made the verdict, the most important first: the one farthest from a proof, else the gate's first."""
    said = [reason for reason in verdict.reasons if reason.result is verdict.result and reason.text in verdict.text]
    return sorted(said, key=_missing, reverse=True) if verdict.result is Result.INCONCLUSIVE else said


def _missing(reason: Reason) -> float:
    """Requests that a proof takes; the one without a number is the farthest away."""
    return math.inf if reason.needed is None else reason.needed


def brief(text: str, verdict: Verdict | None) -> str:
    """Shorten ``text`` where it repeats all that the gate said in ``verdict``."""
    return text.replace(verdict.text, why(verdict)) if verdict is not None and verdict.text else text


def versus(verdict: Verdict) -> str:
    """Say what the candidate did, and the stable's numbers beside it."""
    one, other = verdict.candidate, verdict.stable
    if not one.requests:
        return NO_REQUESTS
    parts = [requests_words(one)]
    known = other is not None and bool(other.requests)
    if latency := p95_words(one):
        parts.append(latency + (f" (stable {p95_words(other).removeprefix('p95 ')})" if other and known else ""))
    parts.append(errors_words(one) + (f" (stable {errors_words(other).split()[0]})" if other and known else ""))
    return ", ".join(parts)


def requests_words(arm: Arm) -> str:
    """Say how many requests were answered."""
    return f"{arm.requests:,} request{'' if arm.requests == 1 else 's'}"


def p95_words(arm: Arm) -> str:
    """Say the 95th percentile; empty when it is unknown."""
    return "" if arm.p95_ms is None else f"p95 {arm.p95_ms:,.0f} ms"


def errors_words(arm: Arm) -> str:
    """Say the share of errors so that few of many never look like none."""
    rate = arm.error_rate or 0.0
    share = "0%" if not arm.errors else f"{rate:.1%}" if rate >= 0.001 else f"{max(rate, 0.0001):.2%}"
    return f"{share} errors" + (f", {arm.throttled:,} throttled" if arm.throttled else "")


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """Write a verdict as JSON-able data; numbers that JSON has no word for become null."""
    return {
        "result": verdict.result.value,
        "text": verdict.text,
        "at": verdict.at.isoformat(),
        "until": verdict.until.isoformat() if verdict.until else None,
        "candidate": _arm_record(verdict.candidate),
        "stable": _arm_record(verdict.stable),
        "reasons": [
            {
                "metric": reason.metric,
                "rule": reason.rule,
                "result": reason.result.value,
                "estimate": _finite(reason.estimate),
                "lower": _finite(reason.lower),
                "upper": _finite(reason.upper),
                "limit": _finite(reason.limit),
                "text": reason.text,
                "needed": reason.needed,
                "e_value": _finite(reason.e_value),
                "threshold": _finite(reason.threshold),
            }
            for reason in verdict.reasons
        ],
    }


def _arm_record(arm: Arm | None) -> dict[str, Any] | None:
    if arm is None:
        return None
    return {
        "requests": arm.requests,
        "errors": arm.errors,
        "error_rate": _finite(arm.error_rate),
        "throttled": arm.throttled,
        "p50_ms": _finite(arm.p50_ms),
        "p95_ms": _finite(arm.p95_ms),
        "p99_ms": _finite(arm.p99_ms),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
