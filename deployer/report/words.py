"""Events and steps in words: shared by every way a rollout is shown."""

from __future__ import annotations

import re
from typing import assert_never

from deployer.gate.verdict import Result, Verdict
from deployer.manifest.quantities import format_duration
from deployer.report.harmless import plain
from deployer.report.verdicts import brief, versus, why
from deployer.rollout.ending import outcome_words
from deployer.rollout.endpoint import in_words
from deployer.rollout.events import (
    Adopted,
    Advanced,
    Cleaned,
    Deployed,
    DriftNoticed,
    Event,
    GaveUp,
    GotStuck,
    Judged,
    Paused,
    Prepared,
    Requested,
    RequestIgnored,
    Resumed,
    Retired,
    Reverted,
    RevertFailed,
    Scaled,
    ScalingMatched,
    ScalingReleased,
    Shifted,
    Smoked,
    Started,
    UnreadyNoticed,
    Warmed,
)
from deployer.rollout.model import Outcome, Plan, Rollout, Step, StepKind

LOG_LINES = 12
"""Lines of a removed deployment's logs that are shown; the journal keeps all."""
_REMOVED = re.compile(r"^(\S+ removed)(?:; it last said:)?$", re.MULTILINE)
"""The line before a removed deployment's logs, in the words of ``Cleaned``."""
_TROUBLE = re.compile(r"error|exception|traceback|fatal|killed|failed|segmentation", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_HEADER = re.compile(r"==> .* <==$")
_FRAME = re.compile(r'\s*File "(?:<frozen |.*/(?:site|dist)-packages/)')
_CHATTER = re.compile(
    r"\[INFO\]|\[DEBUG\]|\s[ID] \[\d+\] |^azureml_inference_server_http\.|^Traceback \(most recent call last\):$"
    r"|^The above exception was|^During handling of the above|\[ERROR\] (?:Worker \(pid|Shutting down|Reason: Worker)"
)
"""Log lines that say nothing of the model: what servers tell of themselves, and the words between two exceptions."""


def first_line(text: str) -> str:
    """Return the first line that says something, harmless."""
    return next((line.strip() for line in plain(text).split("\n") if line.strip()), "")


def step_name(plan: Plan, step: Step) -> str:
    """Name a step as the tree does."""
    if step.kind is StepKind.BAKE:
        return "100% and bake"
    if step.kind is StepKind.PAUSE and step.max_s is not None:
        return f"pause {format_duration(step.max_s)}"
    if step.kind is StepKind.RETIRE:
        return f"retire {plan.stable}" if plan.stable else "retire nothing"
    return str(step)


def phase_words(state: Rollout) -> str:
    """Name the phase as people say it."""
    return state.phase.value.replace("_", " ")


def event_words(state: Rollout, event: Event, verdict: Verdict | None = None) -> tuple[str, str]:  # noqa: C901, PLR0911, PLR0912 (one case an event)
    """Say what ``event`` means, as (kind, text).

    Args:
        state: the state after the event.
        event: what happened.
        verdict: the gate's latest one, so that an event that repeats it is told shortly.
    """
    plan = state.plan
    match event:
        case Started():
            return "start", f"rollout {plan.rollout_id} on {plan.endpoint}: {_change(plan)}"
        case Adopted(_, phase):
            return "resume", f"rollout found on {plan.endpoint}, {phase.value}: {_change(plan)}"
        case Requested(_, text):
            return "deploy", text
        case Prepared():
            return "ready", f"endpoint {plan.endpoint}: {in_words(plan.restore)}"
        case Deployed():
            return "deploy", f"{plan.candidate} is ready, at 0%"
        case Smoked(passed, text):
            return "smoke", text if passed else f"FAILED: {text}"
        case Warmed(name, passed, text):
            return "warm-up", f"{name}: {text}" if passed else f"{name} FAILED: {text}"
        case ScalingMatched(text) | ScalingReleased(text) | Scaled(text=text):
            return "scale", text
        case Shifted(weight_pct, mirror_pct):
            mirrored = f", {mirror_pct}% mirrored to {plan.candidate}" if mirror_pct else ""
            return "shift", f"{in_words(plan.traffic(weight_pct))}{mirrored}, verified"
        case Judged(latest):
            reason = "" if latest.result is Result.PASS else f"\n{why(latest)}"
            return "gate", f"{state.step} {latest.result.value}: {versus(latest)}{reason}"
        case Advanced(reason, to):
            return "advance", _advance(state, reason, to, verdict)
        case Paused(reason):
            return "pause", f"{in_words(state.traffic)}: {brief(reason, verdict)}"
        case Resumed(reason):
            return "resume", reason
        case RequestIgnored(text):
            return "ignored", text
        case DriftNoticed(traffic):
            return "drift", "traffic is ours again" if traffic is None else f"traffic is {in_words(traffic)}?"
        case UnreadyNoticed(text):
            return "unready", text or f"{plan.candidate} is whole again"
        case GaveUp(outcome, reason):
            repeats = verdict is not None and reason == verdict.text
            said = f"; back to {in_words(plan.restore)}" if repeats else f": {brief(reason, verdict)}"
            return "rollback", outcome_words(outcome) + said
        case RevertFailed(error):
            return "rollback", f"attempt {state.revert_attempts} failed: {error}"
        case Reverted(text):
            return "rollback", text
        case Cleaned(text):
            return "clean", cleaned_words(text, with_logs=state.outcome is not Outcome.ABORTED)
        case Retired(text):
            return "retire", text
        case GotStuck(reason):
            return "STUCK", reason
        case _:
            assert_never(event)


def _change(plan: Plan) -> str:
    return f"{plan.candidate} replaces {plan.stable}" if plan.stable else f"{plan.candidate} is the first"


def _advance(state: Rollout, reason: str, to: int | None, verdict: Verdict | None) -> str:
    plan, following = state.plan, step_name(state.plan, state.step)
    if to is None and verdict is not None and reason == verdict.text:
        return f"{step_name(plan, plan.steps[state.position - 1])} passed, next: {following}"
    return f"{brief(reason, verdict)}; next: {following}"


def cleaned_words(text: str, *, with_logs: bool) -> str:
    """Say what was removed, with the lines of each deployment's logs that tell of trouble, if any."""
    before, *parts = _REMOVED.split(text)
    said = [before.strip()] if before.strip() else []
    for removed, logs in zip(parts[::2], parts[1::2], strict=True):
        said += [removed, *(excerpt(logs) if with_logs else [])]
    return "\n".join(said)


def excerpt(logs: str, most: int = LOG_LINES) -> list[str]:
    """Choose the lines that say what went wrong: from the first sign of trouble, without libraries and chatter."""
    useful: dict[str, str] = {}
    in_library = False
    for line in logs.split("\n"):
        in_library = bool(_FRAME.match(line)) or (in_library and line.startswith("    "))
        if line.strip() and not in_library and not _CHATTER.search(line):
            useful.setdefault(_NUMBER.sub("", line), line)  # the same trouble at another time is said once
    lines = list(useful.values())
    start = next((index for index, line in enumerate(lines) if _TROUBLE.search(line)), None)
    if start is None:
        return []
    shown = [line for line in lines[start:] if not _HEADER.match(line)][:most]
    left = len(logs.strip("\n").split("\n")) - len(shown)
    return [f"  {line}" for line in shown] + ([f"  ({left} more lines in the journal)"] if left else [])
