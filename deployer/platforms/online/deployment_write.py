"""Making, scaling and deleting deployments on Azure.

A deployment is PUT once and never again: a version is immutable, and a second PUT of a live one restarts it. Scaling is
a PATCH of its sku.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from deployer.errors import ConflictError, NotFoundError, PlatformError, QuotaExceededError, TransientError
from deployer.platforms.online.endpoint_resource import (
    API,
    BUSY,
    BUSY_S,
    LOST_S,
    POLL_S,
    READ_BACK_S,
    Deadline,
    EndpointResource,
    shares,
    state_of,
)
from deployer.platforms.online.progress import Progress
from deployer.platforms.online.reading import capacity_of, digest_of, name_of
from deployer.rollout.tags import DIGEST

MAKE_BUSY_S = 900.0
"""How long a deployment that is being made is waited for by the next one: twice what is usual."""
KNOWN_S = 120.0
"""How long a deployment may be unknown after its PUT (azure-dev#4037: GETs right after it say 404)."""
GONE_S = 900.0
"""How long a deletion may take; its machines are drained first."""
ASK_AGAIN_S = 30.0
"""A deletion that was accepted and does not show is asked for again after this long."""
INSTANCES_MAX = 50
"""Of one deployment. Source: how-to-manage-quotas."""


class DeploymentWrite:
    """Writes deployments of one endpoint."""

    def __init__(self, resource: EndpointResource, progress: Progress) -> None:
        self._resource = resource
        self._progress = progress

    def make(self, name: str, body: Mapping[str, Any], digest: str) -> None:
        """PUT a deployment that does not exist; return once a read shows it.

        Raises:
            ConflictError: somebody else made another version under this name, or the endpoint stays busy.
        """
        tags = cast("dict[str, str]", body.get("tags") or {})
        tagged = {**body, "tags": {**tags, DIGEST: digest}}
        busy = Deadline(self._resource.clock, MAKE_BUSY_S)
        while True:
            with self._resource.lock:
                refusal = self._try_put(name, tagged)
            if self._is_known(name, digest, KNOWN_S if refusal is None else LOST_S):
                return
            if (
                refusal is None
                or busy.has_passed
                or (isinstance(refusal, NotFoundError) and busy.elapsed_s > LOST_S * 2)
            ):
                raise refusal or TransientError(
                    f"deployment {name} does not show {KNOWN_S:g} s after it was accepted", hint="Run it again."
                )
            busy.pause(POLL_S)

    def _try_put(self, name: str, body: Mapping[str, Any]) -> PlatformError | None:
        """Send it once; return a refusal that may mean that it is there, or that it is too early.

        An endpoint that was made a moment ago may not be known everywhere yet.
        """
        try:
            reply = self._resource.arm.put(self._resource.deployment_path(name), API, body)
        except (ConflictError, TransientError, NotFoundError) as exc:
            return exc
        self._progress.follow(name, reply.operation_url)
        return None

    def _is_known(self, name: str, digest: str, seconds: float) -> bool:
        waiting = Deadline(self._resource.clock, seconds)
        while True:
            found = self._look(name)
            if found is not None and digest_of(found) == digest:
                return True
            if waiting.has_passed:
                if found is not None:  # not what was under this name before: somebody else's
                    require_version(name, found, digest)
                return False
            waiting.pause(POLL_S)

    def scale(self, name: str, instances: int, *, has_traffic: bool) -> None:
        """Set the number of instances; return once a read shows it.

        Raises:
            QuotaExceededError: more than there can be.
            ConflictError: none, for a deployment with traffic; or the deployment stays busy.
        """
        if instances > INSTANCES_MAX:
            raise QuotaExceededError(
                f"{instances} instances of {name}; a deployment has {INSTANCES_MAX} at most",
                hint="Use a larger instance type.",
            )
        if instances < 0 or (instances == 0 and has_traffic):
            raise ConflictError(f"{name} has traffic and cannot have {instances} instances", hint="Move traffic first.")

        def patch(found: Mapping[str, Any]) -> None:
            kept = cast("dict[str, Any]", found.get("sku") or {}).get("name") or "Default"
            body = {"sku": {"name": kept, "capacity": instances}}
            self._resource.arm.patch(self._resource.deployment_path(name), API, body)

        self._until(name, lambda found: capacity_of(found) == instances, patch, f"{instances} instances")

    def _until(
        self,
        name: str,
        is_so: Callable[[Mapping[str, Any]], bool],
        write: Callable[[Mapping[str, Any]], None],
        what: str,
    ) -> None:
        """Write when it is not busy until a read shows the effect, within ``BUSY_S``."""
        deadline = Deadline(self._resource.clock, BUSY_S)
        written: Deadline | None = None
        while True:
            found = self._resource.deployment(name)
            if found is None and self._is_gone(name):
                raise NotFoundError(f"there is no deployment {name}", hint="Check its name.")
            found = found or {}
            if is_so(found):
                return
            if found and state_of(found) not in BUSY and (written is None or written.has_passed):
                with self._resource.lock:
                    try:
                        write(found)
                    except (ConflictError, TransientError):
                        pass  # the next read tells what it did
                    else:
                        written = Deadline(self._resource.clock, LOST_S)
            if deadline.has_passed:
                raise ConflictError(
                    f"deployment {name} stays {state_of(found)} and does not show {what}",
                    hint="Look in the portal for the operation that keeps it busy.",
                )
            deadline.pause(POLL_S)

    def delete(self, name: str) -> None:
        """Delete a deployment; return once it is gone.

        Raises:
            ConflictError: it has traffic now.
            PlatformError: it is still there after ``GONE_S``.
        """
        resource, deadline = self._resource, Deadline(self._resource.clock, GONE_S)
        asked: Deadline | None = None
        while True:
            found = self._look(name, absent_is_known=True)
            if found == {} and self._is_gone(name):
                return
            if found and state_of(found) != "deleting" and (asked is None or asked.has_passed):
                with resource.lock:
                    endpoint = resource.require()
                    if state_of(endpoint) not in BUSY:  # what a change under way makes of traffic does not show yet
                        require_idle(endpoint, name)
                        asked = Deadline(resource.clock, ASK_AGAIN_S) if self._try_delete(name) else None
            if deadline.has_passed:
                raise PlatformError(
                    f"deployment {name} is still there {GONE_S:g} s after it was to be deleted",
                    hint="Look in the portal why; it costs money while it is there.",
                )
            deadline.pause(POLL_S)

    def _try_delete(self, name: str) -> bool:
        try:
            self._resource.arm.delete(self._resource.deployment_path(name), API)
        except (ConflictError, TransientError):
            return False
        return True

    def _is_gone(self, name: str) -> bool:
        """Whether a deployment that a read does not know is not in a second one and not in the list either."""
        self._resource.clock.sleep(READ_BACK_S)
        try:
            listed = {name_of(each).lower() for each in self._resource.deployments()}
        except TransientError:
            return False
        return name.lower() not in listed and self._look(name, absent_is_known=True) == {}

    def _look(self, name: str, *, absent_is_known: bool = False) -> dict[str, Any] | None:
        """Read a deployment; None when it cannot be had now, ``{}`` when it is known to be absent."""
        try:
            found = self._resource.deployment(name)
        except TransientError:
            return None
        return {} if found is None and absent_is_known else found


def require_idle(endpoint: Mapping[str, Any], name: str) -> None:
    """Refuse to delete what answers requests.

    Raises:
        ConflictError: it has live or mirrored traffic.
    """
    for key, kind in (("traffic", "live"), ("mirrorTraffic", "mirrored")):
        share = {each.lower(): percent for each, percent in shares(endpoint, key).items()}.get(name.lower())
        if share:
            raise ConflictError(f"{name} has {share} % of {kind} traffic", hint="Move its traffic elsewhere first.")


def require_version(name: str, found: Mapping[str, Any], digest: str) -> None:
    """Refuse another version under the same name.

    Raises:
        ConflictError: nothing was changed.
    """
    there = digest_of(found)
    if there != digest:
        made = f"version {there[:12]}" if there else "something that deployer did not make"
        raise ConflictError(f"{name} exists and is {made}", hint="Delete it first, or use another name.")
