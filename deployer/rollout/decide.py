"""What to do next: total, pure, and the only place that decides.

Safety comes first in every branch: an abort, a lost endpoint, somebody's edit, a broken candidate and the deadline are
looked at before anything that moves forward; on the way back nothing is looked at but the way back.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from deployer.gate.verdict import Result, Verdict
from deployer.manifest.schema import OnFail, OnInconclusive
from deployer.rollout.actions import (
    Action,
    Delete,
    Judge,
    MatchScaling,
    Record,
    SetWeight,
    Smoke,
    StartStable,
    Stop,
    Wait,
    WarmUp,
)
from deployer.rollout.endpoint import DeploymentState, in_words
from deployer.rollout.events import Advanced, Deployed, DriftNoticed, Paused, Prepared, RequestIgnored, Resumed
from deployer.rollout.model import Observed, Outcome, Phase, Request, RequestKind, Rollout, StepKind
from deployer.rollout.readiness import await_capacity, await_ready, find, give_up, is_ready
from deployer.rollout.retiring import retire
from deployer.rollout.way_back import clean, revert


def decide(state: Rollout, observed: Observed, now: datetime) -> Action:
    """Choose the one next action for ``state``, given what was just observed. Total and pure."""
    if state.is_final:
        return Stop()
    if state.phase is Phase.CLEANING:
        return clean(state, observed)
    if state.phase is Phase.REVERTING:
        return revert(state, observed, now)
    return _interruption(state, observed, now) or _forward(state, observed, now)


# ---- what interrupts a rollout on its way forward


def _interruption(state: Rollout, observed: Observed, now: datetime) -> Action | None:
    if state.phase is Phase.RETIRING:  # after the last PASS only a person, or a candidate that is dead, sends it back
        return (
            _request(state, observed)
            or _lost_endpoint(state, observed)
            or _broken_candidate(state, observed)
            or _drift(state, observed, now)
        )
    return (
        _signal(observed)
        or _request(state, observed)
        or _lost_endpoint(state, observed)
        or _broken_candidate(state, observed)
        or _drift(state, observed, now)
        or _deadline(state, now)
    )


def _signal(observed: Observed) -> Action | None:
    if observed.signal is None:
        return None
    return give_up(Outcome.ABORTED, f"stopped by {observed.signal}")


def _request(state: Rollout, observed: Observed) -> Action | None:
    request = observed.request
    if request is None:
        return None
    why = f"{request.kind.value} by {request.by}" + (f": {request.reason}" if request.reason else "")
    match request.kind:
        case RequestKind.ABORT:
            return _abort(state, observed, why)
        case RequestKind.PAUSE:
            if state.phase in (Phase.PAUSED, Phase.RETIRING):
                return Record(RequestIgnored(f"{why}: it is {state.phase.value} already"))
            return Record(Paused(why))
        case RequestKind.RESUME:
            return Record(Resumed(why) if state.phase is Phase.PAUSED else RequestIgnored(f"{why}: it is not paused"))
        case RequestKind.PROMOTE | RequestKind.PROMOTE_FULL:
            return _promote(state, request, why)
        case _:
            assert_never(request.kind)


def _abort(state: Rollout, observed: Observed, why: str) -> Action:
    if state.phase is Phase.RETIRING and not is_ready(find(observed.endpoint, state.plan.stable)):
        return Record(RequestIgnored(f"{why}: the stable is already retired; use rollback"))
    return give_up(Outcome.ABORTED, why)


def _promote(state: Rollout, request: Request, why: str) -> Action:
    steps = state.plan.steps
    if request.kind is RequestKind.PROMOTE_FULL:
        last = next(index for index, step in enumerate(steps) if step.kind is StepKind.BAKE)
        if state.position < last and state.phase in (Phase.JUDGING, Phase.HOLDING, Phase.PAUSED) and state.prepared:
            return _advance_from(state, why, last)
        return Record(RequestIgnored(f"{why}: not possible while {state.phase.value}"))
    paused_between = state.phase is Phase.PAUSED and state.paused_in not in (Phase.JUDGING, Phase.HOLDING, Phase.BAKING)
    if paused_between:
        return Record(Resumed(why))
    if state.phase in (Phase.JUDGING, Phase.HOLDING, Phase.BAKING, Phase.PAUSED):
        return Record(Advanced(why))
    return Record(RequestIgnored(f"{why}: not possible while {state.phase.value}"))


def _deploying(state: Rollout) -> int:
    """Position of the step that deploys the candidate."""
    return next(index for index, step in enumerate(state.plan.steps) if step.kind is StepKind.DEPLOY)


def _advance_from(state: Rollout, why: str, to: int) -> Action:
    kinds = [step.kind for step in state.plan.steps[: state.position]]
    due = [step.kind for step in state.plan.steps if step.kind in (StepKind.DEPLOY, StepKind.SMOKE, StepKind.WARM_UP)]
    missing = next((kind for kind in dict.fromkeys(due) if kind not in kinds), None)
    if missing is not None:
        return Record(RequestIgnored(f"{why}: the step {missing.value.replace('_', ' ')} is not done yet"))
    return Record(Advanced(why, to))


def _lost_endpoint(state: Rollout, observed: Observed) -> Action | None:
    endpoint = observed.endpoint
    if endpoint is None:
        return give_up(Outcome.PLATFORM, f"endpoint {state.plan.endpoint} was deleted by somebody else")
    if endpoint.uid != state.plan.endpoint_uid:
        return give_up(Outcome.PLATFORM, f"endpoint {endpoint.name} was deleted and made again by somebody else")
    return None


def _broken_candidate(state: Rollout, observed: Observed) -> Action | None:
    if state.position <= _deploying(state):
        return None
    candidate = find(observed.endpoint, state.plan.candidate)
    if candidate is None or candidate.state is DeploymentState.DELETING:
        return give_up(Outcome.PLATFORM, f"deployment {state.plan.candidate} was deleted by somebody else")
    if candidate.digest != state.plan.candidate_digest:
        return give_up(Outcome.PLATFORM, f"deployment {candidate.name} was replaced by somebody else")
    is_kept = state.phase is Phase.RETIRING and candidate.instances_ready > 0  # it passed, and may only not grow
    if candidate.state is DeploymentState.FAILED and not is_kept:
        return give_up(Outcome.PLATFORM, f"deployment {candidate.name} failed: {candidate.message}")
    return None


def _drift(state: Rollout, observed: Observed, now: datetime) -> Action | None:
    if observed.endpoint is None or not state.prepared:
        return None
    actual = (dict(observed.endpoint.traffic), dict(observed.endpoint.mirror))
    if actual in _expected(state):
        return Record(DriftNoticed(None)) if state.drift is not None else None
    if state.drift is None or state.drift_at is None:
        return Record(DriftNoticed(actual[0]))
    if (now - state.drift_at).total_seconds() < state.plan.confirm_s:
        return Wait(state.drift_at + timedelta(seconds=state.plan.confirm_s), "traffic differs: is it an edit?")
    was, is_now = in_words(state.traffic), in_words(actual[0])
    mirrored = f" and mirror {in_words(actual[1])}" if actual[1] else ""
    return give_up(Outcome.ABORTED, f"somebody else changed traffic from {was} to {is_now}{mirrored}")


def _expected(state: Rollout) -> list[tuple[dict[str, int], dict[str, int]]]:
    """Traffic and mirror maps that are ours: the last verified, and the one being written when we were interrupted."""
    plan = state.plan
    ours = [(state.traffic, plan.mirror(state.mirror_pct))]
    if state.phase is Phase.SHIFTING:
        ours.append((plan.traffic(state.step.weight_pct), plan.mirror(state.step.mirror_pct)))
    return ours


def _deadline(state: Rollout, now: datetime) -> Action | None:
    if state.phase is Phase.PAUSED or now < state.deadline:
        return None
    return give_up(Outcome.INCONCLUSIVE, f"deadline of {state.plan.deadline_s:g}s reached while {state.phase.value}")


# ---- forward, one function a phase


def _forward(state: Rollout, observed: Observed, now: datetime) -> Action:
    match state.phase:
        case Phase.PREPARING:
            return _prepare(state, observed, now)
        case Phase.DEPLOYING:
            return _deploy(state, observed, now)
        case Phase.SMOKING:
            return Smoke()
        case Phase.WARMING:
            return WarmUp(state.plan.candidate)
        case Phase.SHIFTING:
            return _shift(state, observed, now)
        case Phase.JUDGING | Phase.BAKING:
            return _judge(state, now)
        case Phase.HOLDING:
            return _hold(state, now)
        case Phase.RETIRING:
            return retire(state, observed, now)
        case _:  # PAUSED; final phases and the way back never come here
            return Stop()


def _prepare(state: Rollout, observed: Observed, now: datetime) -> Action:
    plan, endpoint = state.plan, observed.endpoint
    if endpoint is None or not plan.baseline or plan.stable is None:
        return Record(Prepared())
    waiting = await_ready(state, find(endpoint, plan.stable), plan.stable, now)
    if waiting is not None:
        return waiting
    if dict(endpoint.traffic) == plan.restore:
        return Record(Prepared())
    if plan.stable not in state.warmed:
        return WarmUp(plan.stable)
    return StartStable()


def _deploy(state: Rollout, observed: Observed, now: datetime) -> Action:
    plan = state.plan
    deployment = find(observed.endpoint, plan.candidate)
    if deployment is not None and deployment.state is DeploymentState.DELETING:
        return Wait(now + timedelta(seconds=state.plan.poll_s), f"a left-over {plan.candidate} is being deleted")
    if deployment is not None and deployment.digest != plan.candidate_digest:
        if plan.replaces and deployment.digest is not None:
            return Delete(plan.candidate)
        return give_up(Outcome.PLATFORM, f"the name {plan.candidate} was taken by somebody else")
    return await_ready(state, deployment, plan.candidate, now) or Record(Deployed())


def _shift(state: Rollout, observed: Observed, now: datetime) -> Action:
    plan = state.plan
    waiting = await_ready(state, find(observed.endpoint, plan.candidate), plan.candidate, now)
    if waiting is not None:
        return waiting
    if plan.autoscaling and plan.stable is not None and not state.matched:
        return MatchScaling(plan.candidate, plan.stable)
    return await_capacity(state, observed.endpoint, now) or SetWeight(state.step.weight_pct, state.step.mirror_pct)


def _elapsed_s(state: Rollout, now: datetime) -> float:
    return (now - state.entered_at).total_seconds()


def _judge(state: Rollout, now: datetime) -> Action:
    step, plan, verdict = state.step, state.plan, _fresh(state)
    elapsed_s = _elapsed_s(state, now)
    if plan.skip_gate is not None:
        if elapsed_s >= step.min_s:
            return Record(Advanced(f"gate skipped: {plan.skip_gate}"))
        return Wait(state.entered_at + timedelta(seconds=step.min_s), "gate skipped")
    if verdict is not None:
        if verdict.result is Result.FAIL:
            return _failed(state, verdict.text)
        looked_s = _elapsed_s(state, verdict.at)
        if verdict.result is Result.PASS and looked_s >= step.min_s:
            return Record(Advanced(verdict.text))
        if step.max_s is not None and looked_s >= step.max_s:
            return _undecided(state, verdict.text)
    return _look_or_wait(state, now)


def _fresh(state: Rollout) -> Verdict | None:
    """The latest verdict, if it was reached in the current phase."""
    return state.verdict if state.verdict is not None and state.verdict.at >= state.entered_at else None


def _look_or_wait(state: Rollout, now: datetime) -> Action:
    verdict = _fresh(state)
    due = (verdict.at if verdict else state.entered_at) + timedelta(seconds=state.plan.look_s)
    return Judge() if now >= due else Wait(due, "next look of the gate")


def _failed(state: Rollout, text: str) -> Action:
    if state.plan.on_fail is OnFail.FREEZE:
        return Record(Paused(f"gate FAIL, frozen as on_fail asks: {text}"))
    return give_up(Outcome.GATE_FAILED, text)


def _undecided(state: Rollout, why: str) -> Action:
    text = f"no verdict within {state.step.max_s:g}s at {state.step}: {why}"
    if state.plan.on_inconclusive is OnInconclusive.PAUSE:
        return Record(Paused(text))
    return give_up(Outcome.INCONCLUSIVE, text)


def _hold(state: Rollout, now: datetime) -> Action:
    verdict = _fresh(state)
    if verdict is not None and verdict.result is Result.FAIL:
        return _failed(state, verdict.text)
    until = state.entered_at + timedelta(seconds=state.step.max_s or 0.0)
    if now >= until:
        return Record(Advanced(f"held for {state.step.max_s:g}s"))
    if not state.shifts or state.plan.skip_gate is not None:  # nothing to judge yet
        return Wait(until, "holding")
    return _look_or_wait(state, now)
