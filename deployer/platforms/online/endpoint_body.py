"""The document that is PUT to change an endpoint's traffic: everything that was there, except what the service made.

Pure. A PUT replaces the endpoint, so whatever is left out is lost: mirror, identity, tags, network access, fields that
deployer has never heard of. What the service injects must not go back as if a user had written it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from deployer.errors import TransientError
from deployer.platforms.online.endpoint_resource import properties

_MADE_BY_SERVICE = frozenset({"id", "name", "type", "systemData", "etag"})
_READ_ONLY = frozenset({"scoringUri", "swaggerUri", "provisioningState", "keys"})
# azure-ai-ml copies the last three of systemData into properties when it reads, and sends them back (WIRE 2, trap 3).
_INJECTED = frozenset({"azureasyncoperationuri", "createdby", "createdat", "lastmodifiedat"})


def with_traffic(
    document: Mapping[str, Any],
    traffic: Mapping[str, int],
    mirror: Mapping[str, int],
    changed: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """Make the body of the PUT that changes traffic and mirror of the endpoint just read, and nothing else.

    Args:
        document: the endpoint.
        traffic: live percent by deployment.
        mirror: mirrored percent by deployment.
        changed: tags that change with it; None removes one.

    Raises:
        TransientError: the document is not whole; writing it back would lose what is missing.
    """
    found = properties(document)
    if not document.get("location") or not found.get("authMode"):
        raise TransientError(
            "the endpoint was read without its location or authentication, so writing it back could damage it",
            hint="Try again in a minute.",
        )
    body = {key: value for key, value in document.items() if key not in _MADE_BY_SERVICE and value is not None}
    kept = {key: value for key, value in found.items() if key not in _READ_ONLY and value is not None}
    own = cast("dict[str, Any]", found.get("properties") or {})
    tags = {**cast("dict[str, str]", document.get("tags") or {}), **(changed or {})}
    # a tag of ours that a PATCH could only empty goes now: it would count among the 50 for ever
    body["tags"] = {
        key: value for key, value in tags.items() if value or (value is not None and not key.startswith("deployer."))
    }
    if identity := cast("dict[str, Any]", document.get("identity") or {}):
        body["identity"] = _identity(identity)
    body["properties"] = {
        **kept,
        "properties": {key: value for key, value in own.items() if not _is_injected(key)},
        "traffic": dict(traffic),
        "mirrorTraffic": dict(mirror),
    }
    return body


def _is_injected(key: str) -> bool:
    return key.lower() in _INJECTED or key.lower().startswith("azureml.")


def _identity(found: Mapping[str, Any]) -> dict[str, Any]:
    """Type and names of the identities; their principals are the service's."""
    identity: dict[str, Any] = {"type": found.get("type")}
    users = cast("dict[str, Any]", found.get("userAssignedIdentities") or {})
    if users:
        identity["userAssignedIdentities"] = {name: {} for name in users}
    return identity
