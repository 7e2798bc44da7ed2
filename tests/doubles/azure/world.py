"""What Azure holds, how long it takes, and how it behaves where nobody knows how the service does."""

from __future__ import annotations

import copy
import itertools
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from doubles.azure.messages import Answer, Refusal, Request

SUBSCRIPTION = "00000000-0000-0000-0000-00000000aaaa"
GROUP = "rg"
WORKSPACE = "ws"
REGION = "westeurope"
GROUP_ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
WORKSPACE_ID = f"{GROUP_ID}/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
PRINCIPAL, TENANT = "00000000-0000-0000-0000-00000000bbbb", "00000000-0000-0000-0000-00000000cccc"
SIGNATURE = f"&t=638762498708672680&c={'c' * 2500}&s={'s' * 342}&h={'h' * 43}"
"""As long as the recorded one (05)."""
NEVER, LONG_AGO = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)


@dataclass
class Settings:
    """Durations in seconds of the double's clock, and switches where the service's behaviour is not known.

    Attributes:
        settle_s: for how long after Succeeded the resource is still busy (azure-sdk-for-net#36961).
        freed_late_s: for how long a deleted endpoint's name answers 404 to a PUT (azure-cli-extensions#7107).
        tag_patch: ``replace``: a PATCH of tags replaces all of them; ``merge``: it merges, null removes.
        patch_status: 200 or 202, both in the TypeSpec.
        busy: ``409``, or ``400`` with the text of azure-sdk-for-net#36961 for a deployment.
        lock: ``resource``: an operation of the endpoint excludes every other on it and on its deployments, one of a
            deployment only others on the same one; ``endpoint``: any excludes any other of the same endpoint.
        lying: the 201 of an endpoint's update tells what was asked, not what is (recording 02); else as in 01.
        page: lists come in pages of so many; 0: whole.
        strict_assets: a deployment whose model or environment is not registered here fails.
        enforce_rights: what ``inventory.permissions`` do not grant is answered with 403.
        groups: resource groups that exist, in lower case.
        canceling: every operation in the region ends as Canceled.
    """

    endpoint_s: float = 0.1
    traffic_s: float = 0.1
    deploy_s: float = 0.2
    scale_s: float = 0.1
    delete_s: float = 0.1
    settle_s: float = 0.0
    freed_late_s: float = 0.0
    tag_patch: str = "replace"
    patch_status: int = 200
    busy: int = 409
    lock: str = "resource"
    lying: bool = True
    page: int = 0
    strict_assets: bool = False
    canceling: bool = False
    enforce_rights: bool = False
    groups: set[str] = field(default_factory=lambda: {GROUP})
    max_deployments: int = 20
    max_instances: int = 50
    taken: set[str] = field(default_factory=set)
    """Endpoint names that other customers of the region have."""


@dataclass
class Operation:
    """A long-running operation."""

    name: str
    started: datetime
    until: datetime
    succeed: Callable[[], None]
    fail: Callable[[dict[str, Any]], None]
    error: dict[str, Any] | None = None
    half: bool = False
    gone: bool = False
    status: str = "Updating"
    ended: datetime | None = None

    @property
    def is_pending(self) -> bool:
        return self.ended is None

    def end(self, now: datetime, error: dict[str, Any] | None, status: str = "Failed") -> None:
        """Let it end."""
        self.ended, self.error = now, error
        self.status = "Succeeded" if error is None else status
        if error is None or self.half:
            self.succeed()
        if error is not None:
            self.fail(error)


@dataclass
class Resource:
    """Something with a state: an endpoint or a deployment."""

    name: str
    document: dict[str, Any]
    previous: dict[str, Any] | None = None
    """Before its last change; None: it did not exist."""
    operation: Operation | None = None
    free_at: datetime = LONG_AGO

    @property
    def properties(self) -> dict[str, Any]:
        return self.document["properties"]

    @property
    def state(self) -> str:
        return self.properties["provisioningState"]

    @state.setter
    def state(self, state: str) -> None:
        self.properties["provisioningState"] = state

    def remember(self) -> None:
        """Keep what it was, for reads that are old."""
        self.previous = copy.deepcopy(self.document)

    def is_busy(self, now: datetime) -> bool:
        return (self.operation is not None and self.operation.is_pending) or now < self.free_at

    def read(self, request: Request) -> dict[str, Any]:
        """What a GET shows.

        Raises:
            Refusal: nothing.
        """
        if request.twisted("missing") or (request.twisted("stale") and self.previous is None):
            raise self.unknown()
        shown = copy.deepcopy(self.previous if request.twisted("stale") and self.previous else self.document)
        if request.twisted("still_updating"):
            shown["properties"]["provisioningState"] = "Updating"
        return shown

    def unknown(self) -> Refusal:
        raise NotImplementedError


class World:
    """Time, operations and the rules that all resources share. Not thread-safe: hold ``lock``."""

    def __init__(self, settings: Settings, now: Callable[[], datetime], seed: int) -> None:
        self.settings = settings
        self.now = now
        self.lock = threading.RLock()
        self.chance = random.Random(seed)
        self.address = ""
        """Of the double: set when it serves."""
        self.operations: dict[str, Operation] = {}
        self._numbers = itertools.count(1)

    @property
    def account(self) -> str:
        """Of storage: another one for each double, so that none is reached by what another's client left behind."""
        return f"storage{self.address.rpartition(':')[2]}"

    def guid(self) -> str:
        """A fresh one, the same in every run with the same seed."""
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def settle(self) -> None:
        """Let every operation end whose time has come."""
        now = self.now()
        due = [each for each in self.operations.values() if each.is_pending and each.until <= now]
        for each in sorted(due, key=lambda operation: operation.until):
            each.end(
                each.until,
                each.error,
                "Canceled" if (each.error or {}).get("code") == "OperationCanceled" else "Failed",
            )

    def start(
        self,
        resource: Resource,
        kind: str,
        seconds: float,
        succeed: Callable[[], None],
        *,
        request: Request | None = None,
        error: dict[str, Any] | None = None,
    ) -> Operation:
        """Start an operation of ``resource``; a fault may decide how it ends."""
        now = self.now()
        until = now + timedelta(seconds=seconds) if seconds != float("inf") else NEVER
        name = f"{kind}:{PRINCIPAL}:{self.guid()}"

        def fail(error: dict[str, Any]) -> None:
            resource.state = "Canceled" if error.get("code") == "OperationCanceled" else "Failed"  # both in the enum

        def finish() -> None:
            succeed()
            resource.free_at = self.now() + timedelta(seconds=self.settings.settle_s)

        made = self.operations[name] = resource.operation = Operation(name, now, until, finish, fail, error)
        # recordings 01-03: unsigned, in the resource itself
        resource.properties["properties"]["AzureAsyncOperationUri"] = self.operation_url(made, "2022-02-01-preview")
        if self.settings.canceling:
            made.error = CANCELED
        fault = request.twist if request else None
        if fault is not None and fault.kind.startswith("lro_"):
            made.until = NEVER if fault.kind == "lro_never" else made.until
            made.half, made.gone = fault.kind == "lro_half", fault.kind == "lro_gone"
            if fault.kind in {"lro_failed", "lro_half"}:
                made.error = fault.error
            if fault.kind == "lro_canceled":
                made.error = CANCELED
        return made

    def cancel(self, operation: Operation | None) -> None:
        """A deletion has a higher priority than what is under way (the docs' words; that it is so here is assumed)."""
        if operation is not None and operation.is_pending:
            operation.half = False
            operation.end(self.now(), CANCELED, "Canceled")

    def operation_url(self, operation: Operation, api_version: str, part: str = "mfeOperationsStatus") -> str:
        return (
            f"{self.address}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices"
            f"/locations/{REGION}/{part}/{operation.name}?api-version={api_version}"
        )

    def headers(self, request: Request, operation: Operation, location: str | None = None) -> dict[str, str]:
        """Of the answer that starts an operation: no Retry-After (recordings 01-06)."""
        result = self.operation_url(operation, request.api_version, "mfeOperationResults") + SIGNATURE
        return {
            "Azure-AsyncOperation": self.operation_url(operation, request.api_version) + SIGNATURE,
            "Location": f"{self.address}{location}?api-version={request.api_version}" if location else result,
            "x-ms-async-operation-timeout": "PT30M",
        }

    def operation_status(self, request: Request) -> Answer:
        """Recordings 01 and 02; of a failed one there is no recording: ``error`` is what the SDK reads (WIRE 2)."""
        found = self.operations.get(request.name)
        if found is None or found.gone:
            raise Refusal(404, "NotFound", "The specified operation was not found.")  # invented
        body: dict[str, Any] = {
            "id": request.path,
            "name": found.name,
            "startTime": stamp(found.started),
            "endTime": stamp(found.ended) if found.ended else "0001-01-01T00:00:00+00:00",
            "percentComplete": 0.0,
            "status": found.status,
        }
        return Answer(200, body if found.error is None or found.is_pending else {**body, "error": found.error})

    def operation_result(self, request: Request) -> Answer:
        """Where the Location of a deletion leads; nothing recorded, so as ARM's guidelines say."""
        found = self.operations.get(request.name)
        if found is None or found.gone:
            raise Refusal(404, "NotFound", "The specified operation was not found.")  # invented
        return Answer(
            202 if found.is_pending else 204,
            None,
            {"Location": f"{self.address}{request.target}"} if found.is_pending else {},
        )

    def listed(self, request: Request, items: list[dict[str, Any]]) -> Answer:
        """One page of a list, and where the next one is."""
        first, size = int(request.query.get("$skip", 0)), self.settings.page or len(items)
        body: dict[str, Any] = {"value": items[first : first + size]}
        if first + size < len(items):
            query = f"api-version={request.api_version}&$skip={first + size}"
            body["nextLink"] = f"{self.address}{request.path}?{query}"
        return Answer(200, body)

    def retag(self, document: dict[str, Any], body: dict[str, Any]) -> None:
        """What a PATCH does to tags; nothing recorded, hence the switch."""
        if "tags" not in body:
            return
        base = document["tags"] if self.settings.tag_patch == "merge" else {}
        document["tags"] = {key: value for key, value in {**base, **(body["tags"] or {})}.items() if value is not None}


CANCELED = {
    "code": "OperationCanceled",  # docs how-to-troubleshoot-online-endpoints #error-operationcanceled
    "message": "The operation was canceled by another operation that has a higher priority.",
}


def stamp(at: datetime) -> str:
    """As ARM writes times (recordings: seven digits of a second)."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0+00:00"
