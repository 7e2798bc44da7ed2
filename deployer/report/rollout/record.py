"""One rollout as JSON-able data: everything that its page, Markdown and JUnit XML are made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deployer.gate.verdict import Result, Verdict
from deployer.ports.evidence import Case, Look, Match
from deployer.report.records import state_record
from deployer.report.rollout.series import stretches
from deployer.report.verdicts import verdict_record, versus, why
from deployer.report.words import event_words, step_name
from deployer.rollout.ending import ended, exit_code_of
from deployer.rollout.events import Adopted, Advanced, GaveUp, Judged, Paused, Reverted, Shifted, Started
from deployer.rollout.model import Phase

VERSION = 1
DECISIONS = (Advanced, GaveUp, Paused, Reverted)


def record_of(case: Case) -> dict[str, Any]:
    """Write ``case`` as the report's JSON document (``manifests/report.schema.json``)."""
    final, first = case.final, case.told[0]
    plan = final.plan
    seconds = (case.told[-1].at - first.at).total_seconds()
    return {
        "version": VERSION,
        "rollout": {**state_record(final), "digest": plan.digest},
        "platform": case.platform,
        "place": case.place,
        "manifest": first.event.manifest if isinstance(first.event, Started) else None,
        "headline": _headline(case),
        "reason": _reason(case),
        "exit_code": int(exit_code_of(final)) if final.is_final or final.phase is Phase.PAUSED else None,
        "started_at": first.at.isoformat(),
        "ended_at": case.told[-1].at.isoformat() if final.is_final else None,
        "seconds": seconds,
        "actors": list(dict.fromkeys(entry.actor for entry in case.told)),
        "candidate": {"name": plan.candidate, "digest": plan.candidate_digest},
        "stable": {"name": plan.stable, "digest": plan.stable_digest} if plan.stable else None,
        "steps": _steps(case),
        "weights": list(_weights(case)),
        "events": [_event(case, place) for place in range(len(case.told))],
        "looks": [_look(look) for look in case.looks],
        "targets": _targets(case),
        "series": _series(case),
        "specification": dict(case.specification) if case.specification else None,
        "journal": case.journal,
        "proof": proof(case),
    }


def proof(case: Case) -> dict[str, Any]:
    """Say what recomputing the verdicts came to."""
    counts = {match.value: sum(look.match is match for look in case.looks) for match in Match}
    return {"chain": "whole", **counts}


def _headline(case: Case) -> str:
    final, plan = case.final, case.final.plan
    if final.phase is Phase.PROMOTED:
        return f"Promoted: {plan.candidate} has 100 % of {plan.endpoint}"
    if final.phase is Phase.STUCK:
        return f"STUCK: {plan.endpoint} needs a human now"
    if final.is_final:
        back = f"{plan.stable} has 100 %" if plan.stable and final.prepared else "no deployment has traffic, as before"
        words = {"gate_failed": "the gate failed", "platform": "the platform failed"}
        why_ended = final.outcome.value if final.outcome else "ended"
        return f"Rolled back, {words.get(why_ended, why_ended)}: {back}"
    return f"Not finished: {final.phase.value.replace('_', ' ')}"


def _reason(case: Case) -> str:
    final = case.final
    if final.phase is Phase.PROMOTED:
        passed = [look for look in case.looks if look.decided and look.verdict.result is Result.PASS]
        return passed[-1].verdict.text if passed else ended(final).text
    return final.reason or ended(final).text


def _steps(case: Case) -> list[dict[str, Any]]:
    plan = case.final.plan
    began: dict[int, float] = {}
    done: dict[int, float] = {}
    position = 0
    for entry in case.told:
        began.setdefault(position, entry.at.timestamp())
        if entry.state.position != position:
            done[position] = entry.at.timestamp()
            position = entry.state.position
            began.setdefault(position, entry.at.timestamp())
    end = case.told[-1].at.timestamp()
    return [
        {
            "name": step_name(plan, step),
            "weight_pct": step.weight_pct,
            "seconds": round(done.get(place, end) - began[place], 3) if place in began else None,
        }
        for place, step in enumerate(plan.steps)
    ]


def _weights(case: Case) -> Iterator[dict[str, Any]]:
    """The candidate's verified weight from each moment on."""
    for entry in case.told:
        event = entry.event
        if isinstance(event, Shifted | Adopted):
            yield {"at": entry.at.isoformat(), "weight_pct": event.weight_pct, "mirror_pct": event.mirror_pct}
        elif isinstance(event, Reverted):
            yield {"at": entry.at.isoformat(), "weight_pct": 0, "mirror_pct": 0}


def _event(case: Case, place: int) -> dict[str, Any]:
    entry = case.told[place]
    before = [each.event.verdict for each in case.told[:place] if isinstance(each.event, Judged)]
    kind, text = event_words(entry.state, entry.event, before[-1] if before else None)
    return {
        "at": entry.at.isoformat(),
        "actor": entry.actor,
        "kind": kind,
        "text": text,
        "decision": isinstance(entry.event, DECISIONS),
        "look": isinstance(entry.event, Judged),
    }


def _look(look: Look) -> dict[str, Any]:
    return {
        "number": look.number,
        "step": look.step,
        "weight_pct": look.weight_pct,
        "decided": look.decided,
        "numbers": versus(look.verdict),
        "why": why(look.verdict),
        "would_change": would_change(look.verdict),
        "evidence": look.evidence,
        "match": look.match.value,
        "match_text": look.why,
        "verdict": verdict_record(look.verdict),
    }


def would_change(verdict: Verdict) -> str:
    """Say what would have changed a verdict: how far its closest proof was from the limit."""
    if verdict.result is Result.BLIND:
        return "telemetry that is complete and in time"
    if verdict.result is Result.INCONCLUSIVE:
        needed = max((reason.needed or 0 for reason in verdict.reasons), default=0)
        said = [f"about {needed:,} requests of the candidate"] if needed else []
        if verdict.enough_weight_pct:
            said.append(f"a weight of {verdict.enough_weight_pct} %")
        return " or ".join(said) or "other numbers: more requests alone would not have decided it"
    said = [
        f"{reason.metric} ({reason.rule}): evidence {reason.e_value:.3g} of the {reason.threshold:.3g} that decide"
        for reason in verdict.reasons
        if reason.result is verdict.result and reason.e_value is not None and reason.threshold is not None
    ]
    changed = "less evidence than the threshold" if verdict.result is Result.FAIL else "a target without its proof"
    return f"{changed}: {'; '.join(said)}" if said else changed


def _targets(case: Case) -> dict[str, Any]:
    if case.last is None:
        return {"latency_ms": {}, "error_rate": None}
    slo = case.last.slo
    latency = {
        name: 1000 * limit for name, limit in (slo.latency.targets() if slo.latency else ()) if limit is not None
    }
    return {"latency_ms": latency, "error_rate": slo.error_rate}


def _series(case: Case) -> dict[str, Any]:
    if case.last is None:
        return {"candidate": [], "stable": []}
    plan = case.final.plan
    return {
        "candidate": [each.record() for each in stretches(case.last, plan.candidate)],
        "stable": [each.record() for each in stretches(case.last, plan.stable)] if plan.stable else [],
    }
