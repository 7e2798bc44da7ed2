"""What would have changed a verdict, in words: how far each proof was from where the gate acts."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.gate.verdict import Reason, Result, Verdict
from deployer.report.verdicts import METRICS

SAID = 3
"""Metrics that are named; the table has all."""


def would_change(verdict: Verdict) -> str:
    """Say what would have changed ``verdict``, as the end of "it would have been another one with ..."."""
    match verdict.result:
        case Result.BLIND:
            return "telemetry that is complete and in time: blind never promotes"
        case Result.INCONCLUSIVE:
            return _decided(verdict)
        case Result.FAIL:
            return _not_failed(verdict)
        case Result.PASS:
            return _not_passed(verdict)


def _decided(verdict: Verdict) -> str:
    unproven = [reason for reason in verdict.reasons if reason.result is Result.INCONCLUSIVE]
    needed = max((reason.needed or 0 for reason in unproven), default=0)
    if needed:
        longest = next(reason for reason in unproven if reason.needed == needed)
        said = (
            f"about {needed:,} requests of the candidate, for {_name(longest)} (it had {verdict.candidate.requests:,})"
        )
        return said + (f", or a weight of {verdict.enough_weight_pct} %" if verdict.enough_weight_pct else "")
    return "other answers: at what was seen, more requests alone would not have decided it"


def _not_failed(verdict: Verdict) -> str:
    blamed = [reason for reason in verdict.reasons if reason.result is Result.FAIL]
    said = [f"less evidence against its {_name(reason)} ({_evidence(reason)} fail it)" for reason in blamed[:SAID]]
    return _joined(said, blamed) or "less evidence against it"


def _not_passed(verdict: Verdict) -> str:
    proven = [reason for reason in verdict.reasons if reason.result is Result.PASS and _is_proof(reason)]
    weakest = sorted(proven, key=lambda reason: (reason.e_value or 0.0) / (reason.threshold or 1.0))
    said = [f"a weaker proof of its {_name(reason)} ({_evidence(reason)} pass it)" for reason in weakest[:1]]
    return _joined(said, weakest[:1]) or "a target without its proof"


def _is_proof(reason: Reason) -> bool:
    """Whether it passed by a proof, and not for want of evidence against it."""
    return reason.e_value is not None and reason.threshold is not None and reason.e_value >= reason.threshold


def _joined(said: Sequence[str], of: Sequence[Reason]) -> str:
    more = f" and {len(of) - SAID} more" if len(of) > SAID else ""
    return " and ".join(said) + more


def _name(reason: Reason) -> str:
    against = "target" if reason.rule == "slo" else "comparison with the stable"
    return f"{METRICS.get(reason.metric, reason.metric)} ({against})"


def _evidence(reason: Reason) -> str:
    if reason.e_value is None or reason.threshold is None:
        return "its evidence is what would"
    short = float(f"{reason.e_value:.3g}")  # three digits, whatever the processor makes of the fourth
    reached = f"{short:,.0f}" if 1000 <= short < 1e6 else f"{short:.3g}"
    return f"e-value {reached}, and {reason.threshold:.3g}"
