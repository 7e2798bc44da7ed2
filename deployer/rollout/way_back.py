"""The way back: all traffic to the stable, then the candidate removed. Nothing is looked at but that."""

from __future__ import annotations

from datetime import datetime, timedelta

from deployer.rollout.actions import Action, Clean, Record, Recreate, ReleaseScaling, Restore, Scale, Wait
from deployer.rollout.endpoint import Deployment, DeploymentState, Endpoint, in_words
from deployer.rollout.events import Cleaned, GotStuck, Reverted
from deployer.rollout.model import Observed, Plan, Rollout, StepKind
from deployer.rollout.readiness import await_shown, find, is_scaled_down
from deployer.rollout.tags import began_at

REVERT_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between attempts at the way back; the last one repeats until the reserve is spent."""


def revert(state: Rollout, observed: Observed, now: datetime) -> Action:
    """Choose what brings traffic back next."""
    plan, endpoint = state.plan, observed.endpoint
    if endpoint is None or endpoint.uid != plan.endpoint_uid:
        return Record(GotStuck(f"endpoint {plan.endpoint} is gone: there is nothing to bring traffic back to"))
    if not state.prepared:
        return Record(Reverted("nothing was shifted"))
    is_back = dict(endpoint.traffic) == plan.restore and not endpoint.mirror
    if is_back and not endpoint.settling and state.revert_attempts:  # looked at again since a write that was refused
        return Record(Reverted(f"traffic verified: {in_words(plan.restore)}"))
    until = state.entered_at + timedelta(seconds=plan.reserve_s + (plan.deploy_s if state.rebuilding else 0.0))
    if now >= until:
        but = "and may still change" if is_back else f"not {in_words(plan.restore)}"
        return Record(GotStuck(f"traffic is {in_words(endpoint.traffic)}, {but}{_why_not(state, endpoint)}"))
    if state.reverted_at is not None:
        backoff_s = REVERT_BACKOFF_S[min(state.revert_attempts, len(REVERT_BACKOFF_S)) - 1]
        due = state.reverted_at + timedelta(seconds=backoff_s)
        if now < due:
            return Wait(due, "trying the way back again")
    # One look may be an old one: that it is back already is for the write to prove, which then writes nothing.
    return Restore() if is_back else _bring_back(state, endpoint, now)


def _why_not(state: Rollout, endpoint: Endpoint) -> str:
    """What kept traffic from the stable, as far as is known: what it lacks, and how the last try failed."""
    name, stable = state.plan.stable, find(endpoint, state.plan.stable)
    said = list(state.warnings[-1:]) if state.revert_attempts else []
    if name is not None and stable is None:
        said.insert(0, f"{name} is gone")
    if stable is not None and stable.instances_ready < 1:
        said.insert(0, f"{stable.name} has no ready instance: {stable.message or stable.state.value}")
    return "".join(f"; {each}" for each in said)


def _bring_back(state: Rollout, endpoint: Endpoint, now: datetime) -> Action:
    plan = state.plan
    stable = find(endpoint, plan.stable)
    if stable is not None and stable.state is DeploymentState.DELETING:  # nothing stops that: it is made again after it
        stable = None
    if plan.stable is not None and stable is None:
        return await_shown(state, plan.stable, now) or Recreate(plan.stable)
    if stable is not None and stable.instances_ready < 1:
        growing = _grow(state, stable)
        if growing is not None:
            return growing
        # Never roll back onto an unhealthy stable (flagger, scheduler.go): the candidate is then the only healthy copy.
        return Wait(
            now + timedelta(seconds=state.plan.poll_s), f"stable {stable.name} has no ready instance: {stable.message}"
        )
    return Restore()


def _grow(state: Rollout, stable: Deployment | None) -> Scale | None:
    """Give a stable that was scaled down its instances again; None: it was not, or has been asked for them.

    Traffic goes first to one that answers, however few its instances are: nothing that it needs may hold that up.
    """
    plan = state.plan
    had = max(plan.stable_instances, 1)
    if stable is None or state.asked_for(stable.name) or not is_scaled_down(stable, had, plan.least_instances):
        return None
    return Scale(stable.name, had, f"it is scaled to {stable.instances_wanted}")


def clean(state: Rollout, observed: Observed) -> Action:
    """Choose what of this rollout is removed, now that traffic is back."""
    plan, endpoint = state.plan, observed.endpoint
    if endpoint is None:
        return Record(Cleaned("the endpoint is gone"))
    growing = _grow(state, find(endpoint, plan.stable)) if state.step.kind is StepKind.RETIRE else None
    if growing is not None:
        return growing
    if state.held and plan.stable is not None and plan.stable in endpoint.deployments:
        return ReleaseScaling(plan.stable)
    names: list[str] = []
    candidate = endpoint.deployments.get(plan.candidate)
    if candidate is not None and candidate.digest == plan.candidate_digest:
        if _has_traffic(endpoint, plan.candidate):
            return Record(Cleaned(f"{plan.candidate} has traffic again and is left alone", (plan.candidate,)))
        names.append(plan.candidate)
    baseline = None if state.prepared else find(endpoint, plan.stable)
    if baseline is not None and not _has_traffic(endpoint, baseline.name):
        if baseline.name in state.requested or _is_made_by(plan, baseline):
            names.append(baseline.name)
        elif not names and baseline.digest is not None:
            doubt = (
                f"{baseline.name} may have been there before and is left at 0%: deployer gc {plan.endpoint} lists it"
            )
            return Record(Cleaned(doubt, (baseline.name,)))
    return Clean(tuple(names)) if names else Record(Cleaned("nothing was left to remove"))


def _is_made_by(plan: Plan, baseline: Deployment) -> bool:
    """Whether, beyond doubt, a rollout whose journal is elsewhere made its baseline: in its version, since it began."""
    began, made = began_at(plan.rollout_id), baseline.created_at
    is_its_version = baseline.digest is not None and baseline.digest == plan.stable_digest
    return is_its_version and began is not None and made is not None and made >= began


def _has_traffic(endpoint: Endpoint, name: str) -> bool:
    return bool(endpoint.traffic.get(name, 0) or endpoint.mirror.get(name, 0))
