"""Creating an online endpoint from its Azure ML YAML; one that exists is left as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from deployer.cloud.answers import one_line, read_refusal
from deployer.errors import ConflictError, NotFoundError, PlanError, PlatformError, TransientError
from deployer.platforms.online.endpoint_resource import (
    API,
    BUSY,
    LOST_S,
    POLL_S,
    READ_BACK_S,
    Deadline,
    EndpointResource,
    operation_of,
    properties,
    state_of,
)

READY_S = 900.0
"""How long an endpoint may take; 90 s were recorded (01)."""
AUTH = {"key": "Key", "aml_token": "AMLToken", "aad_token": "AADToken"}
"""Ways to authenticate, in ARM's words by those of the YAML."""
_FREED_LATE = "inferencingclientcallfailed"
"""Code of the 404 that answers a PUT under a name whose endpoint was just deleted (azure-cli-extensions#7107)."""


class EndpointCreate:
    """Creates one endpoint.

    Args:
        resource: the endpoint.
        on_cluster: it lives on a cluster, which its document names as ``compute``.
    """

    def __init__(self, resource: EndpointResource, *, on_cluster: bool) -> None:
        self._resource = resource
        self._on_cluster = on_cluster

    def ensure(self, document: Mapping[str, Any]) -> None:
        """Make it exist and be ready.

        Raises:
            PlanError: it is, or would become, an endpoint of the other kind.
            PlatformError: Azure refused it, or it failed.
            TransientError: it is not ready after ``READY_S``.
        """
        deadline, operation = Deadline(self._resource.clock, READY_S), ""
        sent: Deadline | None = None
        while True:
            found = self._look()
            is_idle = found is not None and state_of(found) not in BUSY
            if found and is_idle and (state_of(found) == "succeeded" or properties(found).get("scoringUri")):
                self._require_kind(properties(found).get("compute"))
                return  # ready, or it once was: a failed change of it is not repaired by creating it
            if is_idle and (sent is None or sent.has_passed) and (found or self._is_absent()):
                if found and sent is not None:
                    raise self._failure(operation, found)
                self._require_kind(document.get("compute"))
                operation = self._try_put(document)
                sent = Deadline(self._resource.clock, LOST_S) if operation is not None else None
            if deadline.has_passed:
                raise TransientError(
                    f"endpoint {self._resource.name} is not ready after {READY_S:g} s",
                    hint="Look at it in the portal, then run it again.",
                )
            deadline.pause(POLL_S)

    def _require_kind(self, compute: object) -> None:
        """Refuse a managed endpoint where a cluster's is meant, and the other way round: they can do other things."""
        if bool(compute) != self._on_cluster:
            kind, other = ("kubernetes", "managed") if self._on_cluster else ("managed", "kubernetes")
            raise PlanError(
                f"endpoint {self._resource.name} is {other}, not {kind}: "
                f"its compute is {one_line(str(compute), 120) if compute else 'not given'}",
                hint=f"Use `platform: {other}`, or another endpoint"
                f"{' with `compute: azureml:<cluster>`' if self._on_cluster else ''}.",
            )

    def _look(self) -> dict[str, Any] | None:
        """Read it; None when it cannot be had now, ``{}`` when it does not exist."""
        try:
            return self._resource.read() or {}
        except TransientError:
            return None

    def _is_absent(self) -> bool:
        """Whether it really does not exist: creating one that does would take all traffic away from it."""
        siblings = self._resource.arm.list(f"{self._resource.workspace.id}/onlineEndpoints", API)
        if self._resource.name.lower() in {str(each.get("name")).lower() for each in siblings}:
            return False
        self._resource.clock.sleep(READ_BACK_S)
        return self._look() == {}

    def _try_put(self, document: Mapping[str, Any]) -> str | None:
        """Send it once; return where its operation is told about, None when it may not have been accepted."""
        try:
            return self._resource.arm.put(self._resource.path, API, self._body(document)).operation_url
        except (ConflictError, TransientError):
            return None  # the next read tells
        except NotFoundError as exc:
            if exc.code.lower() == _FREED_LATE:
                return None
            raise

    def _failure(self, operation: str | None, found: Mapping[str, Any]) -> PlatformError:
        status = self._resource.operation(operation or "", operation_of(found))
        why = read_refusal(json.dumps(status.get("error") or {}))
        return PlatformError(
            f"endpoint {self._resource.name} could not be created: {why.text or 'no reason given'} "
            f"({why.code or state_of(found)})",
            hint="Correct what Azure refused, delete the endpoint, and run it again.",
        )

    def _body(self, document: Mapping[str, Any]) -> dict[str, Any]:
        workspace = self._resource.workspace
        home = self._resource.arm.get(workspace.id, API)
        if home is None:
            raise NotFoundError(
                f"there is no workspace {workspace.name} in resource group {workspace.resource_group}",
                hint="Check subscription, resource group and workspace.",
            )
        made: dict[str, Any] = {
            "authMode": AUTH.get(str(document.get("auth_mode") or "key").lower(), "Key"),
            "properties": dict(cast("dict[str, str]", document.get("properties") or {})),
            "traffic": {},
            "mirrorTraffic": {},
        }
        if document.get("description"):
            made["description"] = str(document["description"])
        if access := document.get("public_network_access"):
            made["publicNetworkAccess"] = str(access).capitalize()
        if compute := document.get("compute"):
            made["compute"] = self._compute(str(compute))
        tags = cast("dict[str, Any]", document.get("tags") or {})
        return {
            "location": str(document.get("location") or home.get("location")),
            "identity": _identity(cast("dict[str, Any]", document.get("identity") or {})),
            "tags": {key: str(value) for key, value in tags.items()},
            "properties": made,
        }

    def _compute(self, named: str) -> str:
        """ARM id of a cluster. azure-ai-ml leaves the prefix in when it is not loaded from YAML (WIRE 2, trap 6)."""
        name = named.removeprefix("azureml:")
        return name if name.startswith("/") else f"{self._resource.workspace.id}/computes/{name}"


def user_identities(document: Mapping[str, Any]) -> list[str]:
    """Resource ids of the identities that ``identity`` of an endpoint's YAML names; empty: system-assigned."""
    if str(document.get("type") or "").replace("_", "").lower() != "userassigned":
        return []
    users = cast("list[Any]", document.get("user_assigned_identities") or [])
    return [str(each["resource_id"] if isinstance(each, dict) else each) for each in users]  # pyright: ignore[reportUnknownArgumentType]


def _identity(document: Mapping[str, Any]) -> dict[str, Any]:
    """Identity in ARM's words. Source: reference-yaml-endpoint-online; system-assigned when nothing is said."""
    if str(document.get("type") or "").replace("_", "").lower() != "userassigned":
        return {"type": "SystemAssigned"}
    return {"type": "UserAssigned", "userAssignedIdentities": {each: {} for each in user_identities(document)}}
