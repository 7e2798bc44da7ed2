"""One rollout as JSON-able data: everything that its page, Markdown and JUnit XML are made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from deployer.errors import ExitCode
from deployer.gate.verdict import Result, Verdict
from deployer.ports.evidence import Case, Look, Match, Told
from deployer.report.records import state_record
from deployer.report.rollout.change import would_change
from deployer.report.rollout.series import stretches
from deployer.report.verdicts import verdict_record, versus, why
from deployer.report.words import event_words, step_name
from deployer.rollout.ending import ended, exit_code_of
from deployer.rollout.events import Adopted, Advanced, GaveUp, Judged, Paused, Requested, Reverted, Shifted, Started
from deployer.rollout.model import Phase, Rollout

VERSION = 1
DECISIONS = (Advanced, GaveUp, Paused, Reverted)


def record_of(case: Case) -> dict[str, Any]:
    """Write ``case`` as the report's JSON document (``report.rollout.document.Report``)."""
    final, first = case.final, case.told[0]
    plan = final.plan
    seconds = (case.told[-1].at - first.at).total_seconds()
    return {
        "version": VERSION,
        "exit_code": int(exit_code_of(final)) if final.is_final or final.phase is Phase.PAUSED else None,
        "headline": headline_of(case.final),
        "reason": _reason(case),
        "rollout": {**state_record(final), "digest": plan.digest},
        "platform": case.platform,
        "place": case.place,
        "manifest": first.event.manifest if isinstance(first.event, Started) else None,
        "started_at": first.at.isoformat(),
        "ended_at": case.told[-1].at.isoformat() if final.is_final else None,
        "seconds": seconds,
        "candidate": {"name": plan.candidate, "digest": plan.candidate_digest},
        "stable": {"name": plan.stable, "digest": plan.stable_digest} if plan.stable else None,
        "steps": _steps(case),
        "weights": list(_weights(case)),
        "events": list(_events(case)),
        "looks": [_look(look) for look in case.looks],
        "targets": _targets(case),
        "series": _series(case),
        "actors": _actors(case),
        "calls": _calls(case),
        "cost": _cost(case),
        "specification": dict(case.specification) if case.specification else None,
        "deployer": {"began": case.began_by, "read": case.read_by},
        "journal": case.journal,
        "proof": proof(case),
    }


def proof(case: Case) -> dict[str, Any]:
    """Count what recomputing the verdicts came to."""
    counts = {match.value.replace(" ", "_"): sum(look.match is match for look in case.looks) for match in Match}
    return {"chain": "whole", **counts}


def proven(record: Mapping[str, Any]) -> ExitCode:
    """Say what ``explain`` exits with: 0 all verdicts match, 10 one does not, 11 it cannot be known."""
    counts = record["proof"]
    if counts["other"] or counts["changed"]:
        return ExitCode.GATE_FAILED
    has_end = record["exit_code"] is not None  # a chain of hashes cannot tell that its last lines are gone
    unknown = counts["missing"] + counts["unreadable"] + counts["other_rule"]
    return ExitCode.OK if has_end and not unknown else ExitCode.INCONCLUSIVE


def headline_of(final: Rollout) -> str:
    """Say in a line how a rollout ended and who has the traffic, or where it stands."""
    plan = final.plan
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
        return why(passed[-1].verdict) if passed else ended(final).text
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
            "plain": str(step),
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


def _events(case: Case) -> Iterator[dict[str, Any]]:
    verdict: Verdict | None = None
    for entry in case.told:
        kind, text = event_words(entry.state, entry.event, verdict)
        yield {
            "at": entry.at.isoformat(),
            "actor": entry.actor,
            "kind": kind,
            "text": text,
            "decision": isinstance(entry.event, DECISIONS),
            "look": isinstance(entry.event, Judged),
            "calls": dict(entry.calls) if entry.calls is not None else None,
            "called_s": entry.called_s,
        }
        if isinstance(entry.event, Judged):
            verdict = entry.event.verdict


def _actors(case: Case) -> list[dict[str, Any]]:
    """Who acted, in the order of their first act; looks are everybody's and count as acts without a name."""
    by_name: dict[str, list[Told]] = {}
    for entry in case.told:
        by_name.setdefault(entry.actor, []).append(entry)
    return [
        {
            "name": name,
            "first": entries[0].at.isoformat(),
            "last": entries[-1].at.isoformat(),
            "entries": len(entries),
            "did": list(dict.fromkeys(entry.event.type for entry in entries)),
        }
        for name, entries in by_name.items()
    ]


def _calls(case: Case) -> dict[str, Any] | None:
    if all(entry.calls is None for entry in case.told):
        return None
    total: Counter[str] = Counter()
    for entry in case.told:
        total.update(entry.calls or {})
    return {
        "total": dict(total.most_common()),
        "seconds": round(sum(entry.called_s for entry in case.told), 3),
    }


def _cost(case: Case) -> dict[str, Any] | None:
    """The candidate's time by its price: from when it was asked for to the end of what is told."""
    price = (case.specification or {}).get("cost")
    asked = [
        entry.at
        for entry in case.told
        if isinstance(entry.event, Requested) and entry.event.deployment == case.final.plan.candidate
    ]
    if price is None or not asked:
        return None
    hours = (case.told[-1].at - asked[0]).total_seconds() / 3600
    return {"usd": price["usd_per_hour"] * price["instances"] * hours, "hours": hours, **price}


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
