"""What rollouts left behind: found, priced, and removed only when a fresh look says that nobody needs it."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.engine.operations import Site, no_endpoint
from deployer.errors import PlatformError
from deployer.ports.inspection import Caretaker, Leftover, LeftoverKind, Removed
from deployer.ports.platform import Deployment, DeploymentState, Endpoint
from deployer.profile.marks import PROFILE, refusal
from deployer.rollout.model import Phase
from deployer.rollout.tags import GOOD, PREVIOUS, Revision, marks_of, revision_of

HOURS = 24.0


def idle_deployments(endpoint: Endpoint) -> tuple[Leftover, ...]:
    """Choose the deployments that deployer made and nobody needs. Pure.

    Never one with live or mirrored traffic, one that deployer did not make, a version that a rollback may return to
    (good, previous), or a part of a rollout that is not over. A previous one that its rollout was to retire is left
    over all the same, once the good one stands: a rollback makes it again, as if it had been retired.
    """
    found: list[Leftover] = []
    for name, deployment in sorted(endpoint.deployments.items()):
        if deployment.digest is None or _is_needed(endpoint, deployment):
            continue
        if endpoint.traffic.get(name) or endpoint.mirror.get(name):
            continue
        is_previous = _holds(revision_of(endpoint.tags.get(PREVIOUS)), deployment)
        unneeded = "its rollout could not retire it" if is_previous else "no rollback returns to it"
        why = f"no traffic, {deployment.state.value}, and {unneeded}"
        found.append(Leftover(LeftoverKind.DEPLOYMENT, name, why, deployment.instances_wanted))
    return tuple(found)


def left_endpoint(endpoint: Endpoint) -> tuple[Leftover, ...]:
    """Give the endpoint itself, when a profile made it; while that runs, its lease keeps it. Pure."""
    if refusal(endpoint) is not None:
        return ()
    why = f"made by deployer profile ({endpoint.tags[PROFILE]}), which removes it when it ends"
    return (Leftover(LeftoverKind.ENDPOINT, endpoint.name, why),)


def _is_needed(endpoint: Endpoint, deployment: Deployment) -> bool:
    """Whether it holds the good or previous version, or the rollout under way uses its name."""
    marks = marks_of(endpoint.tags)
    is_open = marks is not None and (marks.is_active or marks.phase is Phase.STUCK)
    if marks is not None and is_open and deployment.name in (marks.candidate, marks.stable):
        return True
    good, previous = (revision_of(endpoint.tags.get(tag)) for tag in (GOOD, PREVIOUS))
    if _holds(good, deployment):
        return True
    is_left = previous is not None and previous.is_left and _has_taken_over(endpoint, good)
    return _holds(previous, deployment) and not is_left


def _holds(revision: Revision | None, deployment: Deployment) -> bool:
    """Whether ``deployment`` is that version; one that deployer did not make is known by its name alone."""
    return revision is not None and revision.name == deployment.name and revision.digest in ("", deployment.digest)


def _has_taken_over(endpoint: Endpoint, good: Revision | None) -> bool:
    """Whether the version in use has all traffic, and every instance to answer it."""
    found = endpoint.deployments.get(good.name) if good is not None else None
    if found is None or not _holds(good, found) or endpoint.traffic.get(found.name) != 100:
        return False
    return found.state is DeploymentState.READY and found.instances_ready > 0


def leftovers(site: Site, caretaker: Caretaker | None) -> tuple[Leftover, ...]:
    """List what is left over of an endpoint, with what it costs. Changes nothing.

    Raises:
        UsageError: there is no such endpoint.
        PlatformError: it could not be asked.
    """
    endpoint = _observe(site)
    found = [_priced(leftover, caretaker) for leftover in idle_deployments(endpoint)]
    return (*found, *(caretaker.find(endpoint) if caretaker else ()), *left_endpoint(endpoint))


def _observe(site: Site) -> Endpoint:
    endpoint = site.platform.observe()
    if endpoint is None:
        raise no_endpoint(site)
    return endpoint


def _priced(leftover: Leftover, caretaker: Caretaker | None) -> Leftover:
    price = caretaker.usd_per_hour(leftover.name) if caretaker else None
    if price is None:
        return leftover
    usd = price.usd_per_hour * leftover.instances * HOURS
    return Leftover(leftover.kind, leftover.name, leftover.why, leftover.instances, usd)


def sweep(site: Site, caretaker: Caretaker | None, found: Sequence[Leftover]) -> tuple[Removed, ...]:
    """Remove ``found`` under the endpoint's lease, each after a fresh look. Idempotent.

    Raises:
        PlanError: a rollout is running. Nothing changed.
    """
    lease = site.lease()
    lease.acquire(signal=site.signal)
    try:
        removed = [_remove(site, caretaker, each) for each in found if each.kind is not LeftoverKind.ENDPOINT]
        for last in (each for each in found if each.kind is LeftoverKind.ENDPOINT):
            lease.hush()
            removed.append(_remove_endpoint(site, last))
        return tuple(removed)
    finally:
        lease.release()


def _remove_endpoint(site: Site, leftover: Leftover) -> Removed:
    try:
        endpoint = site.platform.observe()
        if endpoint is not None and refusal(endpoint) is not None:
            return Removed(leftover, "it is needed again")
        site.platform.delete_endpoint()
    except PlatformError as exc:
        return Removed(leftover, f"{exc.message} ({exc.hint})")
    return Removed(leftover, None)


def _remove(site: Site, caretaker: Caretaker | None, leftover: Leftover) -> Removed:
    try:
        if leftover.kind is not LeftoverKind.DEPLOYMENT:
            if caretaker is not None:
                caretaker.remove(leftover)
            return Removed(leftover, None)
        endpoint = _observe(site)
        if leftover.name not in endpoint.deployments:
            return Removed(leftover, None)
        if all(each.name != leftover.name for each in idle_deployments(endpoint)):
            return Removed(leftover, "it is needed again")
        site.platform.delete_deployment(leftover.name)
    except PlatformError as exc:
        return Removed(leftover, f"{exc.message} ({exc.hint})")
    return Removed(leftover, None)
