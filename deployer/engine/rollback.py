"""All traffic back to the last good version: one read, one write, verified. Needs no manifest, journal or telemetry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from deployer.engine.lease import SETTLE_POLLS, Lease, LostLeaseError
from deployer.engine.operations import Site
from deployer.engine.rollback_ready import check, look, make_ready, observe
from deployer.engine.rollback_target import Target, is_idle, standing, target_of
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
from deployer.ports.platform import Deployment, Endpoint
from deployer.ports.store import Entry
from deployer.rollout.ending import Ended
from deployer.rollout.endpoint import in_words
from deployer.rollout.model import Phase
from deployer.rollout.readiness import is_scaled_down
from deployer.rollout.tags import LEASE, PHASE, REQUEST, marks_of, tags_for_good, with_instances
from deployer.rollout.way_back import REVERT_BACKOFF_S


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
        TransientError: the endpoint cannot be read. Nothing changed.
        NotReadyError: the target cannot take traffic. Nothing changed.
        PlatformError: the write could not be verified: a human must act.
    """
    site.notes.lead(listener.on_note)
    endpoint = look(site, listener)
    target = target_of(endpoint, to)
    if target is None:
        return _no_target(endpoint)
    if _is_done(site, endpoint, target):
        endpoint = _observe_again(site)
        target = target_of(endpoint, to) or target
        if _is_done(site, endpoint, target):
            return Ended(ExitCode.OK, f"nothing to do: {target.name} has 100% already")
    check(site, endpoint, target, force=force)  # before the lease is taken: a mistake must not stop a healthy rollout
    lease = site.lease()
    try:
        return _shift_back(site, lease, listener, endpoint, target, reason=reason, force=force)
    except NotFoundError:  # the rollout that was just ending has retired it meanwhile: look again
        endpoint = observe(site)
        target = target_of(endpoint, to) or target
        return _shift_back(site, lease, listener, endpoint, target, reason=reason, force=force)
    finally:
        lease.release(at_once=True)


def _observe_again(site: Site) -> Endpoint:
    """Look once more, a little later where one look may be an old one."""
    capabilities = site.platform.capabilities
    if not capabilities.compare_and_set:
        site.clock.sleep(capabilities.poll_s)
    return observe(site)


def _no_target(endpoint: Endpoint) -> Ended:
    if not is_idle(endpoint):
        return Ended(
            ExitCode.REFUSED,
            f"there is no earlier version to go back to; traffic stays at {in_words(endpoint.traffic)}. "
            f"To stop the rollout: deployer abort {endpoint.name}",
        )
    return Ended(ExitCode.OK, f"no earlier version is known; traffic stays at {in_words(endpoint.traffic)}")


def _is_done(site: Site, endpoint: Endpoint, target: Target) -> bool:
    """Whether there is nothing to do, as far as one look tells."""
    found, least = endpoint.deployments.get(target.name), site.platform.capabilities.least_instances
    if found is None or not target.is_met_by(found) or is_scaled_down(found, target.instances, least):
        return False
    return _has_all(endpoint, target.name) and is_idle(endpoint) and not endpoint.settling


def _shift_back(
    site: Site, lease: Lease, listener: Listener, before: Endpoint, target: Target, *, reason: str, force: bool
) -> Ended:
    name, needed = target.name, _instances(before, target)
    found = standing(before, name)
    is_there = found is not None and target.is_met_by(found) and found.instances_wanted > 0
    if found is None or not is_there or (found.instances_ready < 1 and not force):
        _take(lease, listener)
        make_ready(site, listener, target, needed, force=force)
    started = site.clock.now()
    _write_traffic(site, lease, listener, before, name, force=force)
    took_s = (site.clock.now() - started).total_seconds()
    listener.on_note(f"traffic is back: {name} has 100%, verified")
    after = _keep_books(site, lease, listener, before, target, needed, reason=reason, force=force)
    left = [other for other in after.deployments if other != name]
    kept = f"; {', '.join(left)} left at 0%" if left else ""
    return Ended(ExitCode.OK, f"rolled back: {name} has 100%, verified in {took_s:.1f}s{kept}")


def _take(lease: Lease, listener: Listener) -> None:
    """Stop a rollout that runs, before something that takes long; tags that cannot be written hold nothing up."""
    if lease.is_held:
        return
    try:
        lease.acquire(take_over=True, at_once=True)
    except PlatformError as exc:
        listener.on_note(f"going on without the lease: {exc.message}")


def _instances(before: Endpoint, target: Target) -> int:
    """Instances that all traffic takes: as many as the target had, and as many as who answers now."""
    live = [found.instances_wanted for name, found in before.deployments.items() if before.traffic.get(name)]
    return max(target.instances, *live, 1)


def _write_traffic(site: Site, lease: Lease, listener: Listener, before: Endpoint, name: str, *, force: bool) -> None:
    """Write all traffic to ``name``, and the lease with it; again after a passing failure, until the reserve is spent.

    Raises:
        LostLeaseError: another run took over since.
        NotReadyError: ``name`` has no ready instance. Traffic is unchanged.
        PlatformError: not written, or not verified; traffic is what the error says.
    """
    until = site.clock.now() + timedelta(seconds=site.platform.capabilities.restore_reserve_s)
    value, attempts, told = before.tags.get(LEASE), 0, _way_back(before)
    with_lease = True
    while True:
        try:
            return _put_traffic(site, lease, value, name, told, force=force, with_lease=with_lease)
        except (LostLeaseError, NotFoundError, NotReadyError):
            raise
        except PlatformError as exc:
            passing = isinstance(exc, ConflictError | TransientError)
            if site.clock.now() >= until or site.signal() or not (passing or with_lease):
                raise _stuck(site, exc) from exc
            listener.on_note(f"not written: {exc.message}; trying again")
            with_lease = with_lease and passing
        site.clock.sleep(REVERT_BACKOFF_S[min(attempts, len(REVERT_BACKOFF_S) - 1)])
        attempts += 1
        value = _lease_now(site, lease, value)


def _way_back(before: Endpoint) -> dict[str, str]:
    """Tags that have a rollout under way end as rolled back, by whoever goes on with it, should this run die."""
    marks = marks_of(before.tags)
    return {PHASE: f"{Phase.REVERTING.value}:{marks.position}"} if marks is not None and marks.is_active else {}


def _lease_now(site: Site, lease: Lease, value: str | None) -> str | None:
    """Return what the lease reads before another try; one that we hold is written again, in case a map came over it.

    Raises:
        LostLeaseError: another run took it.
    """
    try:
        if lease.is_held:
            lease.write({})
        return observe(site).tags.get(LEASE)
    except LostLeaseError:
        raise
    except PlatformError:
        return value


def _put_traffic(
    site: Site, lease: Lease, value: str | None, name: str, told: Mapping[str, str], *, force: bool, with_lease: bool
) -> None:
    """Write once; ``told`` are tags to write along, where the lease is taken by the same write.

    Raises:
        LostLeaseError: another run took the lease that we held.
        PlatformError: as ``set_traffic`` says.
    """
    platform, traffic = site.platform, {name: 100}
    if lease.is_held:
        with lease.guarding() as expect:
            return platform.set_traffic(traffic, {}, expect=expect if with_lease else None, force=force)
    if not with_lease:  # tags cannot be written here: traffic still can
        return platform.set_traffic(traffic, {}, force=force)
    return lease.take_with(
        value,
        lambda tags, expect: platform.set_traffic(traffic, {}, expect=expect, tags={**tags, **told}, force=force),
    )


def _stuck(site: Site, error: PlatformError) -> PlatformError:
    try:
        now = f"traffic is {in_words(observe(site).traffic)}"
    except (PlatformError, UsageError) as exc:  # UsageError: it is gone
        now = f"what traffic is now cannot be read ({exc.message})"
    stuck = PlatformError(f"the rollback could not be written: {error.message}; {now}", hint=error.hint)
    stuck.exit_code = ExitCode.STUCK
    return stuck


def _has_all(endpoint: Endpoint, name: str) -> bool:
    return dict(endpoint.traffic) == {name: 100} and not endpoint.mirror


def _keep_books(
    site: Site,
    lease: Lease,
    listener: Listener,
    before: Endpoint,
    target: Target,
    needed: int,
    *,
    reason: str,
    force: bool,
) -> Endpoint:
    """Do what can wait until traffic is safe; what fails here is only said, but for another write of traffic."""
    name = target.name
    try:
        after = observe(site)
    except PlatformError as exc:
        listener.on_note(f"traffic is back, but the endpoint cannot be read now: {exc.message}")
        after = before
    else:
        if name not in after.deployments:
            _give_back(site, lease, listener, before, after, name)
    after = _see_that_it_stays(site, lease, listener, after, name, force=force)
    found = after.deployments.get(name)
    gets = needed if found is not None and found.instances_wanted < needed else 0
    _note(site, lease, listener, before, after, name, reason, gets=gets)
    if found is not None:
        _make_large_enough(site, listener, found, needed)
    return after


def _give_back(site: Site, lease: Lease, listener: Listener, before: Endpoint, after: Endpoint, name: str) -> None:
    """Let a version that still answers have the traffic of one that was deleted while traffic was moved to it.

    Raises:
        NotFoundError: always; the target has to be made again first.
    """
    answering = sorted((share, other) for other, share in before.traffic.items() if other in after.deployments)
    for _, other in answering[-1:]:  # the one that had most of it, if any answers
        listener.on_note(f"{name} was deleted meanwhile: {other} gets its traffic until it is there again")
        _write_traffic(site, lease, listener, after, other, force=True)
    raise NotFoundError(f"{name} was deleted while traffic was moved to it", hint="Choose another version with --to.")


def _see_that_it_stays(
    site: Site, lease: Lease, listener: Listener, after: Endpoint, name: str, *, force: bool
) -> Endpoint:
    """Where no compare-and-set keeps a rollout's last write from coming after ours: look again, and write again."""
    capabilities = site.platform.capabilities
    if capabilities.compare_and_set:
        return after
    site.clock.sleep(SETTLE_POLLS * capabilities.poll_s)
    seen = _look(site)
    if seen is None or _has_all(seen, name):
        return seen or after
    listener.on_note(f"a write that was under way came after the rollback ({in_words(seen.traffic)}): writing again")
    _write_traffic(site, lease, listener, seen, name, force=force)
    return _look(site) or seen


def _look(site: Site) -> Endpoint | None:
    """Look, when that is possible now."""
    try:
        return observe(site)
    except TransientError:
        return None


def _make_large_enough(site: Site, listener: Listener, found: Deployment, needed: int) -> None:
    """Scale up after the write, which is the quickest way to safety; what fails here is only said."""
    try:
        if found.instances_wanted < needed:
            listener.on_note(f"{found.name} gets {needed} instances, for all traffic (it has {found.instances_wanted})")
            site.platform.scale_deployment(found.name, needed)
    except PlatformError as exc:
        listener.on_note(f"traffic is back, but {found.name} may be too small for it: {exc.message} ({exc.hint})")
    try:
        if site.platform.capabilities.autoscaling:
            site.platform.release_scaling(found.name)
    except PlatformError as exc:
        listener.on_note(
            f"traffic is back; whether {found.name} is still kept from shrinking is unknown: {exc.message}"
        )


def _note(
    site: Site,
    lease: Lease,
    listener: Listener,
    before: Endpoint,
    after: Endpoint,
    name: str,
    reason: str,
    *,
    gets: int,
) -> None:
    """Write down what was done, and the instances that ``name`` still ``gets``, whoever sees to that; else 0.

    Traffic is safe already, so a failure here is only said.
    """
    now = site.clock.now()
    found = after.deployments.get(name)
    digest = found.digest or "" if found else ""
    tags = tags_for_good(before.tags, (name, digest), None, now) | {REQUEST: None}
    tags |= with_instances(tags, (name, digest), gets, now)
    marks = marks_of(before.tags)
    if marks is not None and marks.phase is not Phase.PROMOTED:
        tags[PHASE] = f"{Phase.ROLLED_BACK.value}:{marks.position}"
    event = {"type": "manual_rollback", "to": name, "from": dict(before.traffic), "reason": reason}
    try:
        if lease.is_held:
            (lease.write if gets else lease.hand_back)(tags)
        else:
            site.platform.set_tags(tags)
    except PlatformError as exc:
        listener.on_note(f"traffic is back, but the endpoint's tags do not say so: {exc.message}")
    try:
        site.journal.append(f"{now:%Y%m%dT%H%M%S}-rollback", Entry(now, site.actor, event))
    except StoreError as exc:
        listener.on_note(f"traffic is back, but this could not be written down: {exc.message}")
