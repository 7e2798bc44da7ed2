"""All traffic back to the last good version: one read, one write, verified. Needs no manifest, journal or telemetry."""

from __future__ import annotations

from datetime import timedelta

from deployer.engine.operations import Site, no_endpoint
from deployer.engine.runner import Listener
from deployer.errors import ExitCode, NotReadyError, PlatformError
from deployer.ports.platform import Deployment, DeploymentState, Endpoint
from deployer.ports.store import Entry
from deployer.rollout.ending import Ended
from deployer.rollout.endpoint import in_words
from deployer.rollout.model import Phase
from deployer.rollout.tags import GOOD, PHASE, PREVIOUS, REQUEST, marks_of, revision_of, tags_for_good

READY_S = 600.0
"""How long a version that must be made again may take to become ready."""


def roll_back(site: Site, listener: Listener, *, to: str | None, reason: str, force: bool = False) -> Ended:
    """Send all traffic to ``to``, or to the last good version. Idempotent; safe while a rollout runs (it is stopped).

    Args:
        site: the endpoint.
        listener: told what happens.
        to: name of a deployment or number of a revision; None: what the endpoint's tags call good.
        reason: kept in the journal.
        force: also onto a deployment that is not ready.

    Raises:
        UsageError: no such endpoint.
        NotFoundError: no such deployment and no record of it.
        NotReadyError: the target cannot take traffic. Nothing changed.
        PlatformError: the write could not be verified: a human must act.
    """
    endpoint = site.platform.observe()
    if endpoint is None:
        raise no_endpoint(site)
    target = _target(endpoint, to)
    if target is None:
        return Ended(
            ExitCode.OK, f"nothing to roll back: {in_words(endpoint.traffic)} stays, and no earlier version is known"
        )
    name, digest = target
    if dict(endpoint.traffic) == {name: 100} and not endpoint.mirror and _idle(endpoint):
        return Ended(ExitCode.OK, f"nothing to do: {name} has 100% already")
    lease = site.lease()
    lease.acquire(take_over=True)
    try:
        return _shift_back(site, listener, endpoint, name, digest, reason=reason, force=force)
    finally:
        lease.release()


def _shift_back(
    site: Site, listener: Listener, before: Endpoint, name: str, digest: str, *, reason: str, force: bool
) -> Ended:
    if name not in before.deployments:
        listener.on_note(f"{name} is gone: making it again from its record")
        site.platform.recreate_deployment(name, digest)
    found = before.deployments.get(name)
    if found is not None and found.instances_wanted == 0:
        listener.on_note(f"{name} is scaled to 0: starting one instance")
        site.platform.scale_deployment(name, 1)
    if not force:
        _await_ready(site, listener, name)
    started = site.clock.now()
    site.platform.set_traffic({name: 100}, {})
    after = site.platform.observe()
    if after is None or dict(after.traffic) != {name: 100} or after.mirror:
        error = PlatformError("the rollback was written but does not read back", hint="Look at the endpoint now.")
        error.exit_code = ExitCode.STUCK
        raise error
    took_s = (site.clock.now() - started).total_seconds()
    _note(site, before, name, digest, reason)
    left = [other for other in after.deployments if other != name]
    kept = f"; {', '.join(left)} left at 0%" if left else ""
    return Ended(ExitCode.OK, f"rolled back: {name} has 100%, verified in {took_s:.1f}s{kept}")


def _note(site: Site, before: Endpoint, name: str, digest: str, reason: str) -> None:
    """Write down what was done; traffic is safe already, so nothing here may fail the rollback."""
    now = site.clock.now()
    tags = tags_for_good(before.tags, (name, digest), None, now) | {REQUEST: None}
    marks = marks_of(before.tags)
    if marks is not None and marks.is_active:
        tags[PHASE] = f"{Phase.ROLLED_BACK.value}:{marks.position}"
    site.platform.set_tags(tags)
    event = {"type": "manual_rollback", "to": name, "from": dict(before.traffic), "reason": reason}
    site.journal.append(f"{now:%Y%m%dT%H%M%S}-rollback", Entry(now, site.actor, event))


def _idle(endpoint: Endpoint) -> bool:
    marks = marks_of(endpoint.tags)
    return marks is None or not marks.is_active


def _target(endpoint: Endpoint, to: str | None) -> tuple[str, str] | None:
    """Name and digest to go back to; None: nothing is known."""
    revisions = [r for r in (revision_of(endpoint.tags.get(tag)) for tag in (GOOD, PREVIOUS)) if r is not None]
    if to is not None:
        return _named(endpoint, to) or next(
            ((r.name, r.digest) for r in revisions if to in (str(r.number), r.name)), (to, "")
        )
    marks = marks_of(endpoint.tags)
    if marks is not None and marks.is_active:
        return _named(endpoint, marks.stable) if marks.stable else None
    previous = revision_of(endpoint.tags.get(PREVIOUS))
    return (previous.name, previous.digest) if previous else None


def _named(endpoint: Endpoint, name: str) -> tuple[str, str] | None:
    found = endpoint.deployments.get(name)
    return (name, found.digest or "") if found else None


def _await_ready(site: Site, listener: Listener, name: str) -> None:
    """Wait until ``name`` has an instance that answers.

    Raises:
        NotReadyError: it will not, or not in time.
    """
    until = site.clock.now() + timedelta(seconds=READY_S)
    said = ""
    while True:
        endpoint = site.platform.observe()
        found = endpoint.deployments.get(name) if endpoint else None
        if found is not None and found.instances_ready > 0:
            return
        if found is None or found.state is DeploymentState.FAILED or site.clock.now() >= until or site.signal():
            raise NotReadyError(
                f"{name} cannot take traffic: {_why(found)}. Traffic is unchanged",
                hint="Choose another version with --to, or insist with --force.",
            )
        if found.message != said:
            said = found.message
            listener.on_note(f"waiting for {name}: {said or found.state.value}")
        site.clock.sleep(0.5)


def _why(found: Deployment | None) -> str:
    return "it does not exist" if found is None else found.message or f"it is {found.state.value}"
