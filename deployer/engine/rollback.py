"""All traffic back to the last good version: one read, one write, verified. Needs no manifest, journal or telemetry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from deployer.engine.lease import SETTLE_POLLS, Lease
from deployer.engine.operations import Site, no_endpoint
from deployer.engine.runner import Listener
from deployer.errors import (
    ConflictError,
    ExitCode,
    NotFoundError,
    NotReadyError,
    PlatformError,
    StoreError,
    TransientError,
    UsageError,
)
from deployer.ports.platform import Deployment, DeploymentState, Endpoint
from deployer.ports.store import Entry
from deployer.rollout.ending import Ended
from deployer.rollout.endpoint import in_words
from deployer.rollout.model import Phase
from deployer.rollout.plan import DEPLOY_PATIENCE
from deployer.rollout.tags import GOOD, PHASE, PREVIOUS, REQUEST, Revision, marks_of, revision_of, tags_for_good

READY_S = 600.0
"""How long a version that must be made again may take to become ready, besides what the platform takes for it."""


def roll_back(site: Site, listener: Listener, *, to: str | None, reason: str, force: bool = False) -> Ended:
    """Send all traffic to ``to``, or to the last good version. Idempotent; safe while a rollout runs (it is stopped).

    Args:
        site: the endpoint.
        listener: told what happens.
        to: name of a deployment or number of a revision; None: what the endpoint's tags call good.
        reason: kept in the journal.
        force: also onto a deployment that is not ready.

    Raises:
        UsageError: no such endpoint, or no such version. Nothing changed.
        NotReadyError: the target cannot take traffic. Nothing changed.
        PlatformError: the write could not be verified: a human must act.
    """
    endpoint = _observe(site)
    target = _target(endpoint, to)
    if target is None:
        return _no_target(endpoint)
    if _stands(endpoint, target) and _idle(endpoint) and not endpoint.settling:
        return Ended(ExitCode.OK, f"nothing to do: {target.name} has 100% already")
    _check(endpoint, target, force=force)  # before the lease is taken: a mistake must not stop a healthy rollout
    lease = site.lease()
    lease.acquire(take_over=True, at_once=True)
    try:
        return _shift_back(site, lease, listener, target, reason=reason, force=force)
    except NotFoundError:  # the rollout that was just ending has retired it meanwhile: look again
        target = _target(_observe(site), to) or target
        return _shift_back(site, lease, listener, target, reason=reason, force=force)
    finally:
        lease.release()


def _observe(site: Site) -> Endpoint:
    endpoint = site.platform.observe()
    if endpoint is None:
        raise no_endpoint(site)
    return endpoint


def _no_target(endpoint: Endpoint) -> Ended:
    if not _idle(endpoint):
        return Ended(
            ExitCode.REFUSED,
            f"there is no earlier version to go back to; traffic stays at {in_words(endpoint.traffic)}. "
            f"To stop the rollout: deployer abort {endpoint.name}",
        )
    return Ended(ExitCode.OK, f"no earlier version is known; traffic stays at {in_words(endpoint.traffic)}")


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    digest: str
    """Empty: whatever the deployment is."""
    instances: int = 0
    """That it had when it was in use; 0: unknown."""

    def is_met_by(self, found: Deployment) -> bool:
        """Whether ``found`` is this version."""
        return not self.digest or found.digest == self.digest


def _stands(endpoint: Endpoint, target: _Target) -> bool:
    found = endpoint.deployments.get(target.name)
    return _has_all(endpoint, target.name) and found is not None and target.is_met_by(found)


def _check(endpoint: Endpoint, target: _Target, *, force: bool) -> None:
    """Refuse a target that cannot take traffic.

    Raises:
        UsageError: there is no such version.
        NotReadyError: it exists and has failed.
    """
    found = endpoint.deployments.get(target.name)
    if found is None and not target.digest:
        known = ", ".join(sorted(endpoint.deployments)) or "none"
        raise UsageError(
            f"endpoint {endpoint.name} has no deployment {target.name}, and no record of one (it has {known})",
            hint="Name a deployment or a revision with --to. Nothing was changed.",
        )
    if found is None:
        return
    if not target.is_met_by(found):
        if endpoint.traffic.get(found.name) or found.digest is None:
            raise NotReadyError(
                f"{found.name} holds another version than the last good one, and is in use",
                hint="Choose a deployment with --to. Nothing was changed.",
            )
        return
    if found.state is DeploymentState.FAILED and not force:
        raise NotReadyError(
            f"{found.name} cannot take traffic: {_why(found)}. Traffic is unchanged",
            hint="Choose another version with --to, or insist with --force.",
        )


def _shift_back(site: Site, lease: Lease, listener: Listener, target: _Target, *, reason: str, force: bool) -> Ended:
    before = _observe(site)
    name = target.name
    found = before.deployments.get(name)
    if found is not None and not target.is_met_by(found):
        listener.on_note(f"{name} holds another version: removing it")
        site.platform.delete_deployment(name)
        found = None
    if found is None:
        listener.on_note(f"{name} is gone: making it again from its record")
        site.platform.recreate_deployment(name, target.digest)
    needed = _instances(before, target)
    if found is not None and found.instances_wanted == 0:
        listener.on_note(f"{name} is scaled to 0: starting {needed} instance{'s' * (needed > 1)}")
        site.platform.scale_deployment(name, needed)
    if not force:
        _await_ready(site, listener, name)
    started = site.clock.now()
    after = _write_traffic(site, lease, name)
    took_s = (site.clock.now() - started).total_seconds()
    _note(site, lease, listener, before, after, name, reason)
    after = _see_that_it_stays(site, lease, listener, after, name)
    _make_large_enough(site, listener, after.deployments[name], needed)
    left = [other for other in after.deployments if other != name]
    kept = f"; {', '.join(left)} left at 0%" if left else ""
    return Ended(ExitCode.OK, f"rolled back: {name} has 100%, verified in {took_s:.1f}s{kept}")


def _instances(before: Endpoint, target: _Target) -> int:
    """Instances that all traffic takes: as many as the target had, and as many as who answers now."""
    live = [found.instances_wanted for name, found in before.deployments.items() if before.traffic.get(name)]
    return max(target.instances, *live, 1)


def _make_large_enough(site: Site, listener: Listener, found: Deployment, needed: int) -> None:
    """Scale up after the write, which is the quickest way to safety; what fails here is only said."""
    try:
        if found.instances_wanted < needed:
            listener.on_note(f"{found.name} gets {needed} instances, for all traffic (it has {found.instances_wanted})")
            site.platform.scale_deployment(found.name, needed)
        if site.platform.capabilities.autoscaling:
            site.platform.release_scaling(found.name)
    except PlatformError as exc:
        listener.on_note(f"traffic is back, but {found.name} may be too small for it: {exc.message} ({exc.hint})")


def _write_traffic(site: Site, lease: Lease, name: str) -> Endpoint:
    """Write once; once more when an older map of tags had come over our lease. Return the reading that shows it.

    Raises:
        PlatformError: not written, or not verified.
    """
    try:
        with lease.guarding() as expect:
            site.platform.set_traffic({name: 100}, {}, expect=expect)
    except ConflictError:
        lease.write({})  # raises when the lease is lost to another run
        with lease.guarding() as expect:
            site.platform.set_traffic({name: 100}, {}, expect=expect)
    after = site.platform.observe()
    if after is None or not _has_all(after, name):
        error = PlatformError("the rollback was written but does not read back", hint="Look at the endpoint now.")
        error.exit_code = ExitCode.STUCK
        raise error
    return after


def _has_all(endpoint: Endpoint, name: str) -> bool:
    return dict(endpoint.traffic) == {name: 100} and not endpoint.mirror


def _see_that_it_stays(site: Site, lease: Lease, listener: Listener, after: Endpoint, name: str) -> Endpoint:
    """Where no compare-and-set keeps a rollout's last write from coming after ours: look again, and write again."""
    capabilities = site.platform.capabilities
    if capabilities.compare_and_set:
        return after
    site.clock.sleep(SETTLE_POLLS * capabilities.poll_s)
    seen = _observe(site)
    if _has_all(seen, name):
        return seen
    listener.on_note(f"a write that was under way came after the rollback ({in_words(seen.traffic)}): writing again")
    return _write_traffic(site, lease, name)


def _note(
    site: Site, lease: Lease, listener: Listener, before: Endpoint, after: Endpoint, name: str, reason: str
) -> None:
    """Write down what was done; traffic is safe already, so a failure here is only said."""
    now = site.clock.now()
    digest = after.deployments[name].digest or ""
    tags = tags_for_good(before.tags, (name, digest), None, now) | {REQUEST: None}
    marks = marks_of(before.tags)
    if marks is not None and marks.phase is not Phase.PROMOTED:
        tags[PHASE] = f"{Phase.ROLLED_BACK.value}:{marks.position}"
    event = {"type": "manual_rollback", "to": name, "from": dict(before.traffic), "reason": reason}
    try:
        lease.write(tags)
        site.journal.append(f"{now:%Y%m%dT%H%M%S}-rollback", Entry(now, site.actor, event))
    except (PlatformError, StoreError) as exc:
        listener.on_note(f"traffic is back, but this could not be written down: {exc.message}")


def _idle(endpoint: Endpoint) -> bool:
    marks = marks_of(endpoint.tags)
    return marks is None or not marks.is_active


def _target(endpoint: Endpoint, to: str | None) -> _Target | None:
    """The version to go back to; None: none is known."""
    good, previous = (revision_of(endpoint.tags.get(tag)) for tag in (GOOD, PREVIOUS))
    if to is not None:
        for revision in (good, previous):
            if revision is not None and to == str(revision.number):
                return _Target(revision.name, revision.digest, revision.instances)
        return _named(endpoint, to, (good, previous))
    marks = marks_of(endpoint.tags)
    if marks is not None and marks.phase is not Phase.PROMOTED:
        return _Target(marks.stable, marks.stable_digest) if marks.stable else None
    return _Target(previous.name, previous.digest, previous.instances) if previous else None


def _named(endpoint: Endpoint, name: str, revisions: tuple[Revision | None, ...]) -> _Target:
    """The deployment ``name``: as it is, or, when it is gone, the version of that name that the tags tell of."""
    known = next((each for each in revisions if each is not None and each.name == name), None)
    if name in endpoint.deployments:
        return _Target(name, "", known.instances if known else 0)
    if known is not None:
        return _Target(name, known.digest, known.instances)
    marks = marks_of(endpoint.tags)
    return _Target(name, marks.stable_digest if marks is not None and marks.stable == name else "")


def _await_ready(site: Site, listener: Listener, name: str) -> None:
    """Wait until ``name`` has an instance that answers.

    Raises:
        NotReadyError: it will not, or not in time.
    """
    capabilities = site.platform.capabilities
    patience_s = READY_S + DEPLOY_PATIENCE * capabilities.typical_deploy_s
    until = site.clock.now() + timedelta(seconds=patience_s)
    said = ""
    while True:
        try:
            endpoint = site.platform.observe()
        except TransientError:
            if site.clock.now() >= until or site.signal():
                raise
            site.clock.sleep(capabilities.poll_s)
            continue
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
        site.clock.sleep(capabilities.poll_s)


def _why(found: Deployment | None) -> str:
    return "it does not exist" if found is None else found.message or f"it is {found.state.value}"
