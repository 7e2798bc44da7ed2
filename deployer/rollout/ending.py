"""How a command ended: an exit code and one line that says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from deployer.errors import ExitCode
from deployer.rollout.endpoint import in_words
from deployer.rollout.model import Outcome, Phase, Plan, Rollout


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    exit_code: ExitCode
    text: str
    state: Rollout | None = None


def outcome_words(outcome: Outcome | None) -> str:
    """Name why a rollout ended as people say it."""
    if outcome is None:
        return "ended"
    return "platform failed" if outcome is Outcome.PLATFORM else outcome.value.replace("_", " ")


def exit_code_of(state: Rollout) -> ExitCode:
    """Exit code of a rollout that is final or paused."""
    if state.phase is Phase.PAUSED:
        return ExitCode.PAUSED
    if state.phase is Phase.STUCK:
        return ExitCode.STUCK
    match state.outcome:
        case Outcome.PROMOTED:
            return ExitCode.OK
        case Outcome.GATE_FAILED:
            return ExitCode.GATE_FAILED
        case Outcome.INCONCLUSIVE:
            return ExitCode.INCONCLUSIVE
        case Outcome.ABORTED:
            return ExitCode.ABORTED
        case Outcome.PLATFORM:
            return ExitCode.PLATFORM
        case None:
            return ExitCode.BUG
        case _:
            assert_never(state.outcome)


def ended(state: Rollout) -> Ended:
    """Say in one line how ``state`` ended."""
    plan, code = state.plan, exit_code_of(state)
    stable = f"{plan.stable} has 100%" if plan.stable and state.prepared else "no deployment has traffic, as before"
    match state.phase:
        case Phase.PROMOTED:
            text = f"promoted: {plan.candidate} has 100%"
        case Phase.PAUSED:
            why = state.reason or "as planned"
            text = f"paused ({in_words(state.traffic)}): {why}. Next: deployer resume, promote or abort"
        case Phase.STUCK:
            text = f"STUCK, a human must act now: {state.reason}. Next: {_next(plan)}"
        case _:
            text = f"{outcome_words(state.outcome)}, rolled back, {stable}: {state.reason}"
    return Ended(code, text, state)


def _next(plan: Plan) -> str:
    look = f"deployer status {plan.endpoint}"
    back = f", then deployer rollback {plan.endpoint} (with --to NAME, to another version than {plan.stable})"
    return look + back if plan.stable else look
