"""Whether a deployment can take the traffic it is about to get: made, ready, and large enough for its share."""

from __future__ import annotations

from datetime import datetime, timedelta

from deployer.rollout.actions import Action, Deploy, Record, Scale, Wait, WarmUp
from deployer.rollout.endpoint import Deployment, DeploymentState, Endpoint
from deployer.rollout.events import GaveUp
from deployer.rollout.model import Outcome, Rollout, StepKind

ASKS = 4
"""How often a deployment that does not show is asked for at most, in the time that it may take to become ready."""


def give_up(outcome: Outcome, reason: str) -> Record:
    """Begin the way back."""
    return Record(GaveUp(outcome, reason))


def find(endpoint: Endpoint | None, name: str | None) -> Deployment | None:
    """The deployment of that name; None: there is none."""
    return None if endpoint is None or name is None else endpoint.deployments.get(name)


def is_ready(deployment: Deployment | None) -> bool:
    """Every wanted instance answers."""
    return deployment is not None and deployment.state is DeploymentState.READY


def is_scaled_down(deployment: Deployment, had: int, least: int) -> bool:
    """Whether it has as few instances as there can be (``least``), and ``had`` more in use (0: that is not known)."""
    return deployment.instances_wanted <= least and deployment.instances_wanted < had


def await_ready(state: Rollout, deployment: Deployment | None, name: str, now: datetime) -> Action | None:
    """Create, wait for or give up on a deployment; None when it is ready."""
    if deployment is None:
        return _ask_for(state, name, now)
    if deployment.state is DeploymentState.READY:
        return None
    if deployment.state is DeploymentState.FAILED:
        if name not in state.requested:  # a left-over of the same version, from an earlier try: made anew, once
            return Deploy(name)
        return give_up(Outcome.PLATFORM, f"deployment {name} failed: {deployment.message}")
    until = state.entered_at + timedelta(seconds=state.plan.deploy_s)
    if now >= until:
        waited = f"{deployment.state.value}: {deployment.message}" if deployment.message else deployment.state.value
        return give_up(Outcome.PLATFORM, f"deployment {name} not ready after {state.plan.deploy_s:g}s ({waited})")
    return Wait(now + timedelta(seconds=state.plan.poll_s), deployment.message or f"{name} is {deployment.state.value}")


def _ask_for(state: Rollout, name: str, now: datetime) -> Action:
    """Ask for a deployment; again, now and then, when it does not show; give it up when its time is over."""
    waiting = await_shown(state, name, now)
    if name in state.requested and now >= state.entered_at + timedelta(seconds=state.plan.deploy_s):
        asked = f"asked for {state.requested.count(name)} times in {state.plan.deploy_s:g}s"
        return give_up(Outcome.PLATFORM, f"deployment {name} does not show, {asked}")
    return waiting or Deploy(name)


def await_shown(state: Rollout, name: str, now: datetime) -> Wait | None:
    """Wait for a deployment that was asked for and does not show yet; None: it is time to ask, once more or at all."""
    asked_at = state.requested_at
    if asked_at is None or asked_at < state.entered_at or name not in state.requested:
        return None
    if now >= asked_at + timedelta(seconds=state.plan.deploy_s / ASKS):
        return None
    return Wait(now + timedelta(seconds=state.plan.poll_s), f"{name} was asked for and does not show yet")


def instances_for(stable_instances: int, share_pct: int) -> int:
    """Instances that ``share_pct`` of the traffic takes, when ``stable_instances`` answer all of it."""
    return -(-stable_instances * share_pct // 100)


def await_capacity(state: Rollout, endpoint: Endpoint | None, now: datetime) -> Action | None:
    """Scale the candidate to the share it is about to get, and warm up what is new; None when it is large enough.

    The stable is taken as large as it is now, whoever made it so; the candidate is never made smaller.
    """
    plan, step = state.plan, state.step
    candidate, stable = find(endpoint, plan.candidate), find(endpoint, plan.stable)
    if candidate is None or stable is None:
        return None
    share_pct = max(step.weight_pct, step.mirror_pct)
    by_stable = instances_for(stable.instances_wanted, share_pct)
    needed = max(by_stable, instances_for(plan.full_instances, share_pct))
    if candidate.instances_wanted < needed:
        why = f"{share_pct}% of what {stable.name} answers with {stable.instances_wanted}"
        if needed > by_stable:
            why = f"{share_pct}% of the traffic, by the measured rate of an instance"
        if state.asked_for(candidate.name) < needed:
            return Scale(candidate.name, needed, why)
        if now >= state.entered_at + timedelta(seconds=plan.deploy_s):
            short = f"{candidate.name} has {candidate.instances_wanted} instances, not the {needed} for {why}"
            return give_up(Outcome.PLATFORM, f"{short}, after {plan.deploy_s:g}s")
        return Wait(now + timedelta(seconds=plan.poll_s), f"{candidate.name} is being scaled to {needed} instances")
    is_cold = state.asked_for(candidate.name) and candidate.name not in state.warmed
    if is_cold and any(each.kind is StepKind.WARM_UP for each in plan.steps):
        return WarmUp(candidate.name)
    return None
