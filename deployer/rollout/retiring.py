"""The end of the way forward: the stable goes, and only while the new version is there to answer in its place."""

from __future__ import annotations

from datetime import datetime, timedelta

from deployer.manifest.schema import Retire
from deployer.rollout.actions import Action, Record, ReleaseScaling, RetireStable, Wait
from deployer.rollout.endpoint import Deployment, DeploymentState
from deployer.rollout.events import Retired, UnreadyNoticed
from deployer.rollout.model import Observed, Outcome, Plan, Rollout
from deployer.rollout.readiness import find, give_up, is_ready


def retire(state: Rollout, observed: Observed, now: datetime) -> Action:
    """Choose what becomes of the stable, which is the way back until a look has seen the candidate whole."""
    plan = state.plan
    stable, candidate = find(observed.endpoint, plan.stable), find(observed.endpoint, plan.candidate)
    if plan.stable is not None:  # without one nothing could take the candidate's traffic, however it is
        waiting = _await_whole(state, candidate, observed.signal, now)
        if waiting is not None:
            return waiting
    short = "" if candidate is None or _is_whole(candidate) else f"{_instances(candidate)}: "
    if stable is None:
        return Record(Retired(f"{short}nothing to retire", warns=bool(short)))
    if state.held:  # it, or at least the candidate, goes on without us
        return ReleaseScaling(stable.name)
    kept = _kept(plan, stable, short)
    return RetireStable(stable.name) if kept is None else Record(kept)


def _kept(plan: Plan, stable: Deployment, short: str) -> Retired | None:
    """Why the stable stays, by the plan before anything else; None: it goes. ``short``: what the candidate lacks."""
    if plan.retire is Retire.KEEP:
        return Retired(f"{short}{stable.name} is kept at 0%, as planned", warns=bool(short))
    if stable.digest is None:
        return Retired(f"{short}{stable.name} was not made by deployer and is left alone", (stable.name,))
    if plan.retire is None:
        unknown = f"how {stable.name} was to be retired is in the manifest, which is not at hand: it is left at 0%"
        return Retired(f"{short}{unknown}, and deployer gc lists it once no rollback returns to it", warns=True)
    if short:
        later = f"Remove it later: deployer gc {plan.endpoint} --yes"
        return Retired(f"{short}{stable.name} is kept whole, at 0%. {later}", (stable.name,))
    return None


def _await_whole(state: Rollout, candidate: Deployment | None, signal: str | None, now: datetime) -> Action | None:
    """Wait for a candidate that lost instances since its last PASS; None: it has them, or answers without them.

    One that answers nobody for as long as the way back may take has the stable take its traffic: going back is then no
    later than waiting. One that answers with some instances keeps its traffic, and the stable beside it. Either comes
    at once after a signal, which leaves no time to wait.
    """
    plan, is_whole = state.plan, candidate is not None and _is_whole(candidate)
    if candidate is None or (is_whole and state.unready_at is None):
        return None
    if is_whole:
        return Record(UnreadyNoticed(None))
    said, is_silent = _instances(candidate), candidate.instances_ready < 1
    if signal is not None:
        return give_up(Outcome.ABORTED, f"stopped by {signal}: {said}") if is_silent else None
    if state.unready_at is None or is_silent != (state.silent_at is not None):
        return Record(UnreadyNoticed(said, is_silent))
    until = (state.silent_at or state.unready_at) + timedelta(seconds=plan.reserve_s if is_silent else plan.deploy_s)
    if now < until:
        return Wait(now + timedelta(seconds=plan.poll_s), said)
    lost = f"deployment {candidate.name} answers nobody any more: {said}"
    return give_up(Outcome.PLATFORM, lost) if is_silent else None


def _is_whole(candidate: Deployment) -> bool:
    return is_ready(candidate) and candidate.instances_ready > 0


def _instances(candidate: Deployment) -> str:
    said = f" ({candidate.message})" if candidate.message else ""
    has = "failed, with" if candidate.state is DeploymentState.FAILED else "has"
    return f"{candidate.name} {has} {candidate.instances_ready} of {candidate.instances_wanted} instances ready{said}"
