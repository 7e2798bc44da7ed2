"""Every transition of a rollout, as a table, and the fold that follows it.

Rule 1: whatever changes the state of a rollout is an event, and the only code that applies one is ``evolve``.
Rule 2: an event that the table does not name for the current phase is a bug and raises; nothing is guessed.

The diagram in the README is generated from ``TRANSITIONS``. When to do what is decided in ``decide.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from deployer.errors import IllegalTransitionError
from deployer.gate.verdict import Shift
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
from deployer.rollout.model import FINAL, WAY_BACK, Outcome, Phase, Rollout, StepKind

_AFTER_STEP = frozenset(
    {Phase.SMOKING, Phase.WARMING, Phase.SHIFTING, Phase.HOLDING, Phase.PAUSED},
)
_FORWARD: dict[Phase, dict[str, frozenset[Phase]]] = {
    Phase.PREPARING: {
        "requested": frozenset({Phase.PREPARING}),
        "warmed": frozenset({Phase.PREPARING, Phase.REVERTING}),
        "prepared": frozenset({Phase.DEPLOYING}),
    },
    Phase.DEPLOYING: {"requested": frozenset({Phase.DEPLOYING}), "deployed": _AFTER_STEP},
    Phase.SMOKING: {"smoked": _AFTER_STEP | {Phase.REVERTING}},
    Phase.WARMING: {"warmed": _AFTER_STEP | {Phase.REVERTING}},
    Phase.SHIFTING: {
        "scaling_matched": frozenset({Phase.SHIFTING}),
        "scaled": frozenset({Phase.SHIFTING}),
        "warmed": frozenset({Phase.SHIFTING, Phase.REVERTING}),
        "shifted": frozenset({Phase.JUDGING, Phase.BAKING}),
    },
    Phase.JUDGING: {"judged": frozenset({Phase.JUDGING}), "advanced": _AFTER_STEP},
    Phase.HOLDING: {"judged": frozenset({Phase.HOLDING}), "advanced": _AFTER_STEP},
    Phase.BAKING: {"judged": frozenset({Phase.BAKING}), "advanced": frozenset({Phase.RETIRING})},
}

TRANSITIONS: Mapping[Phase, Mapping[str, frozenset[Phase]]] = {
    **{
        phase: {**events, "paused": frozenset({Phase.PAUSED}), "gave_up": frozenset({Phase.REVERTING})}
        for phase, events in _FORWARD.items()
    },
    Phase.PAUSED: {
        "resumed": frozenset(_FORWARD),
        "advanced": _AFTER_STEP | {Phase.RETIRING},
        "gave_up": frozenset({Phase.REVERTING}),
    },
    Phase.RETIRING: {
        "unready_noticed": frozenset({Phase.RETIRING}),
        "scaling_released": frozenset({Phase.RETIRING}),
        "retired": frozenset({Phase.PROMOTED}),
        "gave_up": frozenset({Phase.REVERTING}),
    },
    Phase.REVERTING: {
        "requested": frozenset({Phase.REVERTING}),
        "scaled": frozenset({Phase.REVERTING}),
        "revert_failed": frozenset({Phase.REVERTING}),
        "reverted": frozenset({Phase.CLEANING}),
        "got_stuck": frozenset({Phase.STUCK}),
    },
    Phase.CLEANING: {
        "scaled": frozenset({Phase.CLEANING}),
        "scaling_released": frozenset({Phase.CLEANING}),
        "cleaned": frozenset({Phase.ROLLED_BACK}),
    },
    Phase.PROMOTED: {},
    Phase.ROLLED_BACK: {},
    Phase.STUCK: {},
}
"""Phase -> event -> phases it may lead to. Two events fit every phase that is not final and change it never:
``request_ignored`` and ``drift_noticed``."""

_ANYWHERE = frozenset({"request_ignored", "drift_noticed"})


def fold(events: Iterable[tuple[Event, datetime]]) -> Rollout | None:
    """Rebuild a rollout from its journal; None for an empty one.

    Nobody looked between its last event and now: that the candidate answers nobody has to be seen anew.

    Raises:
        IllegalTransitionError: an event does not fit where it stands.
    """
    state: Rollout | None = None
    for event, at in events:
        state = begin(event, at) if state is None else evolve(state, event, at)
    return None if state is None else replace(state, silent_at=None)


def begin(event: Event, at: datetime) -> Rollout:
    """Make the state that a journal's first event describes.

    Raises:
        IllegalTransitionError: a journal begins with ``Started`` or ``Adopted``.
    """
    match event:
        case Started(plan):
            return Rollout(plan=plan, phase=Phase.PREPARING, position=0, started_at=at, entered_at=at)
        case Adopted(plan, phase, position):
            state = Rollout(plan=plan, phase=phase, position=position, started_at=at, entered_at=at)
            shown = event.weight_pct or event.mirror_pct
            return replace(
                state,
                weight_pct=event.weight_pct,
                mirror_pct=event.mirror_pct,
                prepared=event.prepared,
                shifts=(Shift(at, event.weight_pct),) if shown else (),
                reason=event.reason,
                outcome=Outcome.ABORTED if phase in WAY_BACK else None,
                paused_in=_interrupted(state, judged=event.judged) if phase is Phase.PAUSED else None,
                held=plan.autoscaling and phase not in (Phase.PREPARING, Phase.DEPLOYING),
            )
        case _:
            raise IllegalTransitionError(f"a journal cannot begin with {event.type}", hint="Report this as a bug.")


def _interrupted(state: Rollout, *, judged: bool) -> Phase | None:
    """The phase that a pause without its journal goes on with: the current step from its write, or its judging."""
    phase = phase_of(state, state.position)
    if phase is Phase.SHIFTING and judged:
        return _judging(state)
    return None if phase is Phase.PAUSED else phase


def _judging(state: Rollout) -> Phase:
    """The phase in which the current step is judged, once its traffic is written."""
    return Phase.BAKING if state.step.kind is StepKind.BAKE else Phase.JUDGING


def evolve(state: Rollout, event: Event, at: datetime) -> Rollout:
    """Apply one event.

    Raises:
        IllegalTransitionError: the event does not fit the phase. The state given is untouched.
    """
    allowed = TRANSITIONS[state.phase]
    if event.type not in allowed and not (event.type in _ANYWHERE and state.phase not in FINAL):
        raise _illegal(state, event)
    after = _apply(state, event, at)
    if event.type in allowed and after.phase not in allowed[event.type]:
        raise _illegal(state, event, after.phase)
    return after


def _illegal(state: Rollout, event: Event, to: Phase | None = None) -> IllegalTransitionError:
    where = f"{state.phase.value} (step {state.position})"
    leading = f" leading to {to.value}" if to else ""
    return IllegalTransitionError(f"{event.type}{leading} does not fit {where}", hint="Report this as a bug.")


def _apply(state: Rollout, event: Event, at: datetime) -> Rollout:  # noqa: C901, PLR0911, PLR0912 (one case an event)
    match event:
        case RequestIgnored():
            return state
        case Requested(deployment):
            if deployment is None:
                return state
            rebuilding = state.rebuilding or state.phase is Phase.REVERTING
            return replace(state, requested=(*state.requested, deployment), requested_at=at, rebuilding=rebuilding)
        case Prepared():
            return _next(replace(state, prepared=True), at)
        case Deployed():
            return _next(state, at)
        case Smoked(passed, text):
            return _next(state, at) if passed else _give_up(state, Outcome.GATE_FAILED, f"smoke test: {text}", at)
        case Warmed():
            return _warmed(state, event, at)
        case ScalingMatched(text, failed):
            return replace(state, matched=True, held=True, warnings=_add(state, text) if failed else state.warnings)
        case ScalingReleased(text, failed):
            return replace(state, held=False, warnings=_add(state, text) if failed else state.warnings)
        case Scaled():
            return _scaled(state, event)
        case Shifted(weight_pct, mirror_pct):
            shifts = (*state.shifts, Shift(at, weight_pct))
            shifted = replace(state, weight_pct=weight_pct, mirror_pct=mirror_pct, shifts=shifts)
            return shifted.enter(_judging(state), at)
        case Judged(verdict):
            return replace(state, verdict=verdict, looks=state.looks + 1)
        case Advanced(_, to):
            return _next(_unpaused(state, at), at, to)
        case Paused(reason):
            return replace(state, paused_in=state.phase, reason=reason).enter(Phase.PAUSED, at)
        case Resumed():
            unpaused = _unpaused(state, at)
            return unpaused.enter(state.paused_in, at) if state.paused_in else _next(unpaused, at)
        case DriftNoticed(traffic):
            return replace(state, drift=traffic, drift_at=None if traffic is None else at)
        case UnreadyNoticed(text, is_silent):
            since = None if text is None else state.unready_at or at
            return replace(state, unready_at=since, silent_at=at if is_silent else None)
        case GaveUp(outcome, reason):
            return _give_up(state, outcome, reason, at)
        case RevertFailed(error):
            attempts = state.revert_attempts + 1
            warnings = _add(state, f"rollback attempt {attempts}: {error}")
            return replace(state, revert_attempts=attempts, reverted_at=at, warnings=warnings)
        case Reverted():
            return replace(state, weight_pct=0, mirror_pct=0).enter(Phase.CLEANING, at)
        case Cleaned(text, left):
            warnings = _add(state, text) if left else state.warnings
            return replace(state, removed=text, warnings=warnings).enter(Phase.ROLLED_BACK, at)
        case Retired(text, left, warns):
            warnings = _add(state, text) if left or warns else state.warnings
            return replace(state, outcome=Outcome.PROMOTED, left=left, warnings=warnings).enter(Phase.PROMOTED, at)
        case GotStuck(reason):
            return replace(state, reason=f"{state.reason}; {reason}").enter(Phase.STUCK, at)
        case Started() | Adopted():  # pragma: no cover - no row of the table names them
            raise _illegal(state, event)
        case _:
            assert_never(event)


def _add(state: Rollout, warning: str) -> tuple[str, ...]:
    return (*state.warnings, warning)


def _scaled(state: Rollout, event: Scaled) -> Rollout:
    cold = tuple(warmed for warmed in state.warmed if warmed != event.name)  # the new ones never answered anything
    rebuilding = state.rebuilding or state.phase is Phase.REVERTING
    warnings = _add(state, event.text) if event.failed else state.warnings
    scaled = (*state.scaled, (event.name, event.instances))
    return replace(state, scaled=scaled, warmed=cold, rebuilding=rebuilding, warnings=warnings)


def _warmed(state: Rollout, event: Warmed, at: datetime) -> Rollout:
    if not event.passed:
        return _give_up(state, Outcome.GATE_FAILED, f"warm-up of {event.name}: {event.text}", at)
    warmed = replace(state, warmed=(*state.warmed, event.name))
    return warmed if state.phase in (Phase.PREPARING, Phase.SHIFTING) else _next(warmed, at)


def _next(state: Rollout, at: datetime, to: int | None = None) -> Rollout:
    position = state.position + 1 if to is None else to
    return state.enter(phase_of(state, position), at, position=position)


def phase_of(state: Rollout, position: int) -> Phase:
    """Phase in which the step at ``position`` begins."""
    step = state.plan.steps[position]
    match step.kind:
        case StepKind.PREPARE:
            return Phase.PREPARING
        case StepKind.DEPLOY:
            return Phase.DEPLOYING
        case StepKind.SMOKE:
            return Phase.SMOKING
        case StepKind.WARM_UP:
            return Phase.WARMING
        case StepKind.MIRROR | StepKind.WEIGHT | StepKind.BAKE:
            return Phase.SHIFTING
        case StepKind.PAUSE:
            return Phase.PAUSED if step.max_s is None else Phase.HOLDING
        case StepKind.RETIRE:
            return Phase.RETIRING
        case _:
            assert_never(step.kind)


def _unpaused(state: Rollout, at: datetime) -> Rollout:
    if state.phase is not Phase.PAUSED:
        return state
    paused_s = state.paused_s + max((at - state.entered_at).total_seconds(), 0.0)
    return replace(state, paused_s=paused_s, paused_in=None, reason="")


def _give_up(state: Rollout, outcome: Outcome, reason: str, at: datetime) -> Rollout:
    # The stable that was to go was released, and its rules may be off by now: that is put right when traffic is back.
    held = state.held or (state.phase is Phase.RETIRING and state.plan.autoscaling)
    back = replace(state, outcome=outcome, reason=reason, drift=None, drift_at=None, held=held)
    return back.enter(Phase.REVERTING, at)


def to_mermaid() -> str:
    """Draw ``TRANSITIONS`` as a Mermaid state diagram.

    Every phase that can give up is drawn inside ``forward``; what may follow a step is drawn once, behind
    ``next_step``; pausing, resuming and staying where one is are left out.
    """
    forward = [phase for phase, events in TRANSITIONS.items() if "gave_up" in events]
    givers_up = sorted(
        {event for phase in forward for event, to in TRANSITIONS[phase].items() if Phase.REVERTING in to}
    )
    lines = ["stateDiagram-v2", "    [*] --> forward: started", "    state forward {"]
    lines += ["        state next_step <<choice>>"]
    lines += [f"        next_step --> {phase.value}" for phase in Phase if phase in _AFTER_STEP]
    lines += [f"        {edge}" for phase in forward for edge in _edges(phase, {*forward, None})]
    lines += ["    }", f"    forward --> reverting: {', '.join(givers_up)}"]
    lines += [f"    {edge}" for phase in forward for edge in _edges(phase, FINAL)]
    lines += [f"    {edge}" for phase in TRANSITIONS if phase not in forward for edge in _edges(phase, set(Phase))]
    lines += [f"    {phase.value} --> [*]" for phase in Phase if phase in FINAL]
    return "\n".join(lines) + "\n"


def _edges(phase: Phase, to: AbstractSet[Phase | None]) -> list[str]:
    """Edges from ``phase`` to the phases named (None: to whatever follows a step), labelled with their events."""
    drawn: dict[str, list[str]] = {}
    for event, targets in TRANSITIONS[phase].items():
        if event in ("paused", "resumed", "gave_up"):
            continue
        left = targets - {phase}
        if left >= _AFTER_STEP - {phase} and left:
            drawn.setdefault("next_step", []).extend([event] if None in to else [])
            left -= _AFTER_STEP
        for target in sorted(left - {Phase.REVERTING} if "gave_up" in TRANSITIONS[phase] else left):
            drawn.setdefault(target.value, []).extend([event] if target in to else [])
    return [f"{phase.value} --> {target}: {', '.join(events)}" for target, events in drawn.items() if events]
