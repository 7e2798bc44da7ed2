"""Seeing that the version a rollback goes back to is there and can take traffic, before anything is written."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from deployer.engine.rollback_target import Target, standing
from deployer.engine.runner import UNREACHABLE_S, Listener
from deployer.engine.site import Site, no_endpoint
from deployer.errors import NotFoundError, NotReadyError, TransientError, UsageError
from deployer.ports.platform import Deployment, DeploymentState, Endpoint
from deployer.rollout.plan import DEPLOY_PATIENCE

READY_S = 600.0
"""How long a version that must be made again may take to become ready, besides what the platform takes for it."""


def observe(site: Site, *, why: bool = False) -> Endpoint:
    """Look, by as few calls as it takes."""
    endpoint = site.platform.observe(why=why)
    if endpoint is None:
        raise no_endpoint(site)
    return endpoint


def look(site: Site, listener: Listener) -> Endpoint:
    """Look first; again while the platform does not answer, as it may in the very night a rollback is needed.

    Raises:
        TransientError: it did not answer for ``UNREACHABLE_S``. Nothing was changed.
    """
    until = site.clock.now() + timedelta(seconds=UNREACHABLE_S)
    while True:
        try:
            return observe(site)
        except TransientError as exc:
            if site.clock.now() >= until or site.signal():
                raise TransientError(f"{exc.message}. Nothing was changed", hint=exc.hint) from exc
            listener.on_note(f"not read: {exc.message}; trying again")
        site.clock.sleep(max(1.0, site.platform.capabilities.poll_s))


def check(site: Site, endpoint: Endpoint, target: Target, *, force: bool) -> None:
    """Refuse a target that cannot take traffic.

    Raises:
        UsageError: there is no such version.
        NotReadyError: it exists and has failed.
    """
    found = standing(endpoint, target.name)
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
        with suppress(TransientError):  # only words are missing then
            found = observe(site, why=True).deployments.get(found.name, found)
        if found.state is not DeploymentState.FAILED:
            return
        raise NotReadyError(
            f"{found.name} cannot take traffic: {_why(found)}. Traffic is unchanged",
            hint="Choose another version with --to, or insist with --force.",
        )


def make_ready(site: Site, listener: Listener, target: Target, needed: int, *, force: bool) -> None:
    """See that the target is there, in its version, with an instance that answers.

    Raises:
        NotFoundError: it was deleted meanwhile.
        NotReadyError: it will not be, or not in time.
    """
    name = target.name
    endpoint = observe(site)
    found = standing(endpoint, name)
    if found is not None and not target.is_met_by(found):
        listener.on_note(f"{name} holds another version: removing it")
        site.platform.delete_deployment(name)
        found = None
    if found is None:
        gone = "is being deleted" if name in endpoint.deployments else "is gone"
        listener.on_note(f"{name} {gone}: making it again from its record")
        site.platform.recreate_deployment(name, target.digest)
    if found is not None and found.instances_wanted == 0:
        listener.on_note(f"{name} is scaled to 0: starting {needed} instance{'s' * (needed > 1)}")
        site.platform.scale_deployment(name, needed)
    if not force:
        _await_ready(site, listener, name)


def _await_ready(site: Site, listener: Listener, name: str) -> None:
    """Wait until ``name`` has an instance that answers.

    Raises:
        NotFoundError: it was deleted meanwhile, or is being deleted.
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
        if endpoint is not None and standing(endpoint, name) is None:
            raise NotFoundError(
                f"{name} was deleted while it was waited for. Traffic is unchanged",
                hint="Choose another version with --to.",
            )
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
