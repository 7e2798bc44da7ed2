"""Deleting an endpoint that holds nothing. ARM would delete deployments with it, traffic or not: never asked."""

from __future__ import annotations

from deployer.errors import ConflictError, PlatformError, TransientError
from deployer.platforms.online.endpoint_resource import API, POLL_S, Deadline, EndpointResource, state_of
from deployer.platforms.online.reading import name_of

GONE_S = 600.0
ASK_AGAIN_S = 60.0


def delete_empty(resource: EndpointResource) -> None:
    """Delete the endpoint; return once reads in a row do not find it.

    Raises:
        ConflictError: it holds a deployment.
        PlatformError: it is still there after ``GONE_S``.
    """
    deadline = Deadline(resource.clock, GONE_S)
    asked: Deadline | None = None
    while True:
        try:
            found = resource.read()
            if found is None:
                return
            if state_of(found) != "deleting" and (asked is None or asked.has_passed):
                asked = _ask(resource)
        except TransientError:
            pass
        if deadline.has_passed:
            raise PlatformError(
                f"endpoint {resource.name} is still there {GONE_S:g} s after it was to be deleted",
                hint="Look in the portal why; without deployments it costs nothing.",
            )
        deadline.pause(POLL_S)


def _ask(resource: EndpointResource) -> Deadline | None:
    with resource.lock:
        held = [name_of(each) for each in resource.deployments()]
        if held:
            raise ConflictError(
                f"endpoint {resource.name} holds {', '.join(held)}", hint="Delete its deployments first."
            )
        try:
            resource.arm.delete(resource.path, API)
        except ConflictError:  # another operation is under way
            return None
    return Deadline(resource.clock, ASK_AGAIN_S)
