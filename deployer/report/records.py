"""Plans, outcomes and history as JSON-able records and as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployer.manifest.quantities import format_duration
from deployer.ports.views import Past
from deployer.report.verdicts import brief, verdict_record
from deployer.report.words import first_line
from deployer.rollout.describe import describe
from deployer.rollout.ending import Ended
from deployer.rollout.model import Plan, Rollout

TEXT_LENGTH = 120
"""Characters that a line of the history says of each rollout."""


def state_record(state: Rollout) -> dict[str, Any]:
    """Write a rollout's state."""
    verdict = state.verdict
    return {
        "rollout_id": state.plan.rollout_id,
        "endpoint": state.plan.endpoint,
        "candidate": state.plan.candidate,
        "stable": state.plan.stable,
        "phase": state.phase.value,
        "outcome": state.outcome.value if state.outcome else None,
        "reason": state.reason,
        "traffic": state.traffic if state.prepared else None,
        "step": {"index": state.position, "of": len(state.plan.steps), "name": str(state.step)},
        "started_at": state.started_at.isoformat(),
        "looks": state.looks,
        "verdict": verdict_record(verdict) if verdict is not None else None,
        "warnings": list(state.warnings),
        "removed": state.removed.split("\n") if state.removed else [],
    }


def ended_record(done: Ended) -> dict[str, Any]:
    """Write how a command ended."""
    record: dict[str, Any] = {"exit_code": int(done.exit_code), "text": done.text}
    return record | ({"rollout": state_record(done.state)} if done.state else {"rollout": None})


def ended_text(done: Ended) -> str:
    """Say in a line or two how a command ended: of the gate's reasons only the most important one."""
    return brief(done.text, done.state.verdict if done.state else None)


def plan_record(found: Plan | str, rps: float | None) -> dict[str, Any]:
    """Write a plan, or that there is nothing to do."""
    if isinstance(found, str):
        return {"exit_code": 0, "changes": False, "live": found, "steps": []}
    return {
        "exit_code": 0,
        "changes": True,
        "endpoint": found.endpoint,
        "candidate": found.candidate,
        "stable": found.stable,
        "rps": rps,
        "deadline_s": found.deadline_s,
        "steps": [
            {
                "kind": step.kind.value,
                "weight_pct": step.weight_pct,
                "mirror_pct": step.mirror_pct,
                "min_s": step.min_s,
                "max_s": step.max_s,
                "text": text,
            }
            for step, text in describe(found)
        ],
    }


def plan_text(found: Plan | str) -> str:
    """Say what a plan will do."""
    if isinstance(found, str):
        return f"nothing to do: {found} already serves this version with 100%"
    least = sum(step.min_s for step in found.steps)
    most = sum(step.max_s or 0.0 for step in found.steps)
    lines = [f"{found.endpoint}: {found.stable or 'nothing'} -> {found.candidate}"]
    lines += [f"  {number:>2}. {text}" for number, (_, text) in enumerate(describe(found), start=1)]
    lines.append(f"At least {format_duration(least)} of judging, at most {format_duration(most)}; then it rolls back.")
    lines.append(f"If anything fails: {found.stable or 'nothing'} gets 100% back. Nothing was changed now.")
    return "\n".join(lines)


def history_record(rows: Sequence[Past]) -> dict[str, Any]:
    """Write an endpoint's history."""
    return {
        "exit_code": 0,
        "rollouts": [
            {
                "id": row.id,
                "at": row.at.isoformat(),
                "actor": row.actor,
                "outcome": row.outcome,
                "seconds": row.seconds,
                "text": row.text,
            }
            for row in rows
        ],
    }


def history_text(rows: Sequence[Past]) -> str:
    """Say an endpoint's history, oldest first, a line each."""
    if not rows:
        return "no rollouts are known on this machine"
    actors = max(len(first_line(row.actor)) for row in rows)
    return "\n".join(
        f"{row.id}  {row.at:%Y-%m-%d %H:%M:%S}  {row.outcome.replace('_', ' '):<19} {_took(row.seconds):>7}  "
        f"{first_line(row.actor):<{actors}}  {_cut(first_line(row.text))}"
        for row in rows
    )


def _took(seconds: float) -> str:
    return format_duration(seconds) if seconds else ""


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 1]}…"
