"""An online endpoint as ARM keeps it: reading it, and the one lock that everything which writes to it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Workspace
from deployer.errors import ConflictError, DeniedError, NotFoundError, PlatformError, TransientError
from deployer.ports.clock import Clock

API = "2024-10-01"
"""Of endpoints and deployments. azure-ai-ml 1.35.2 sends previews of 2022 and 2023; a newer version loses fewer fields
of a document that is read and written back."""
BUSY = frozenset({"creating", "updating", "deleting", "scaling"})
POLL_S = 3.0
"""Between looks at an operation that takes 20 to 70 s (azure/recordings/01, 02)."""
READ_BACK_S = 2.0
"""Between the two reads that prove a write: a replica that lags, or another writer, shows in between."""
ABSENT_READS = 3
"""What was there and one read does not find may be there all the same (azure-dev#4037, contoso-chat#139)."""
LOST_S = 12.0
"""A write whose answer was lost and that no read shows for this long has not happened."""
FRESH_S = 30.0
"""How long after an own write a read that does not show it is taken for an old one."""
JUST_READ_S = 1.0
"""A reading this young may be written back at once by who decided on it: one call less on the way back to safety."""
BUSY_S = 180.0
"""How long another operation on the endpoint is waited for."""


class Deadline:
    """So many seconds from now, on the clock of whoever waits."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._started = clock.now()
        self._until = self._started + timedelta(seconds=seconds)

    @property
    def has_passed(self) -> bool:
        """Time is up."""
        return self._clock.now() >= self._until

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was set."""
        return (self._clock.now() - self._started).total_seconds()

    def pause(self, seconds: float) -> None:
        """Sleep, but not past the end."""
        self._clock.sleep(max(0.0, min(seconds, (self._until - self._clock.now()).total_seconds())))


class EndpointResource:
    """One endpoint of one workspace.

    Attributes:
        lock: held from the read a write is made from until the write is proven, so that two threads of one run (the
            heartbeat and the rollout) never write over each other.
    """

    def __init__(self, name: str, arm: Arm, workspace: Workspace, clock: Clock) -> None:
        self.name = name
        self.arm = arm
        self.clock = clock
        self.workspace = workspace
        self.lock = threading.RLock()
        self.path = f"{workspace.id}/onlineEndpoints/{name}"
        self._exists = False
        self._known: set[str] = set()
        """Deployments that the last readings showed."""
        self._last: tuple[dict[str, Any], Deadline] | None = None
        """What was read last, until something is written from here."""
        self._is_ours: tuple[Callable[[Mapping[str, Any]], bool], Deadline] | None = None

    def read(self) -> dict[str, Any] | None:
        """Read the endpoint; None when it does not exist: for one that did, when ``ABSENT_READS`` in a row say so."""
        found = self.arm.get(self.path, API)
        for _ in range(ABSENT_READS - 1):
            if found is not None or not self._exists:
                break
            self.clock.sleep(READ_BACK_S)
            found = self.arm.get(self.path, API)
        self._exists = found is not None
        self._last = (found, Deadline(self.clock, JUST_READ_S)) if found is not None else None
        return found

    def writes(self) -> None:
        """Something is about to be written from here: no reading is young any more."""
        self._last = None

    def wrote(self, is_shown: Callable[[Mapping[str, Any]], bool]) -> None:
        """Remember what a read must show from now on, for ``FRESH_S``."""
        self._is_ours = (is_shown, Deadline(self.clock, FRESH_S))

    def fresh(self, *, or_just_read: bool = False) -> dict[str, Any]:
        """Read the endpoint to write it back: a read from before our own last write would undo that one.

        Args:
            or_just_read: what was read within ``JUST_READ_S``, and not written since, will do.

        Raises:
            NotFoundError: it does not exist.
        """
        waiting = Deadline(self.clock, LOST_S)
        last = self._last if or_just_read else None
        while True:
            found = last[0] if last is not None and not last[1].has_passed else self.require()
            last = None
            if self._is_ours is None or self._is_ours[1].has_passed or self._is_ours[0](found):
                return found
            if waiting.has_passed:  # not old: somebody else wrote after us
                self._is_ours = None
                return found
            self.clock.sleep(READ_BACK_S)

    def require(self) -> dict[str, Any]:
        """Read the endpoint.

        Raises:
            NotFoundError: it does not exist.
        """
        found = self.read()
        if found is None:
            raise NotFoundError(
                f"there is no online endpoint {self.name} in workspace {self.workspace.name}",
                hint="Check the name and the workspace, or let a rollout create it.",
            )
        return found

    def settled(self) -> dict[str, Any]:
        """Read the endpoint once no change of it is under way: what one will make of traffic does not show before.

        Raises:
            NotFoundError: it does not exist.
            ConflictError: it stays busy for ``BUSY_S``.
        """
        deadline = Deadline(self.clock, BUSY_S)
        while state_of(found := self.require()) in BUSY:
            if deadline.has_passed:
                raise ConflictError(
                    f"endpoint {self.name} stays {state_of(found)}",
                    hint="Look in the portal for the operation that keeps it busy, then run it again.",
                )
            deadline.pause(POLL_S)
        return found

    def look(self) -> dict[str, Any] | None:
        """Read the endpoint while waiting for something; None when it cannot be had now.

        Raises:
            NotFoundError: it does not exist any more.
        """
        try:
            return self.require()
        except (TransientError, DeniedError):  # rights and tokens may come back; who waits has a deadline
            return None

    def operation(self, *urls: str) -> dict[str, Any]:
        """Read what the first address that answers says of an operation, for its reasons; empty when none does."""
        for url in urls:
            with suppress(PlatformError):
                if url and (status := self.arm.operation(url)):
                    return status
        return {}

    def deployments(self) -> list[dict[str, Any]]:
        """Read all deployments of the endpoint. What was there and a list misses is asked for by its name."""
        found = self.arm.list(f"{self.path}/deployments", API)
        missing = self._known - {_name(each) for each in found}
        found += [each for name in sorted(missing) if (each := self.arm.get(self.deployment_path(name), API))]
        self._known = {_name(each) for each in found}
        return found

    def deployment_path(self, name: str) -> str:
        """ARM resource id of a deployment."""
        return f"{self.path}/deployments/{name}"

    def deployment(self, name: str) -> dict[str, Any] | None:
        """Read one deployment; None when it does not exist, or not yet."""
        found = self.arm.get(self.deployment_path(name), API)
        if found is not None:
            self._known.add(_name(found))
        return found


def _name(document: Mapping[str, Any]) -> str:
    return str(document.get("name") or "").rpartition("/")[2]


def properties(document: Mapping[str, Any]) -> dict[str, Any]:
    """``properties`` of a resource; empty when the service left them out."""
    return cast("dict[str, Any]", document.get("properties") or {})


def state_of(document: Mapping[str, Any]) -> str:
    """Provisioning state in lower case, whatever the service or a new version of it calls it."""
    return str(properties(document).get("provisioningState") or "").lower()


def tags_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a resource. A tag with an empty value is one that could not be removed: it reads as absent."""
    found = cast("dict[str, Any]", document.get("tags") or {})
    return {key: str(value) for key, value in found.items() if value not in {None, ""}}


def shares(document: Mapping[str, Any], key: str) -> dict[str, int]:
    """Read ``traffic`` or ``mirrorTraffic``; an all-zero map is no map."""
    found = cast("dict[str, Any]", properties(document).get(key) or {})
    return {name: int(share) for name, share in found.items() if share}


def operation_of(document: Mapping[str, Any]) -> str:
    """Where the resource says its last operation is told about; empty when it does not."""
    found = cast("dict[str, Any]", properties(document).get("properties") or {})
    return str(found.get("AzureAsyncOperationUri") or "")
