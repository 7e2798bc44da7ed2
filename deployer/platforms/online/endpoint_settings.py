"""Which settings of an endpoint's YAML an existing endpoint does not have: they are told, never applied. Pure.

A rollout moves traffic. Changing how an endpoint authenticates or who may reach it while it serves would break callers
that no gate watches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from deployer.platforms.online.endpoint_create import AUTH, user_identities
from deployer.platforms.online.endpoint_resource import properties


def differences(document: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Compare what ``document`` says with the endpoint as ARM shows it; what it does not say is anybody's.

    The description is left out: nothing depends on it.

    Args:
        document: Azure ML endpoint YAML as parsed.
        live: the endpoint.

    Returns:
        A line a setting: what the file says and what is there.
    """
    held = properties(live)
    said: list[tuple[str, object, object]] = []
    if auth_mode := document.get("auth_mode"):
        said.append(("auth_mode", AUTH.get(str(auth_mode).lower(), str(auth_mode)), held.get("authMode")))
    if access := document.get("public_network_access"):
        said.append(("public_network_access", str(access).capitalize(), held.get("publicNetworkAccess")))
    if identity := cast("dict[str, Any]", document.get("identity") or {}):
        said.append(("identity", _users(user_identities(identity)), _users(_live_users(live))))
    for key, there in (("tags", live.get("tags")), ("properties", held.get("properties"))):
        wanted = cast("dict[str, Any]", document.get(key) or {})
        found = cast("dict[str, Any]", there or {})
        said += [(f"{key}.{name}", str(value), found.get(name)) for name, value in wanted.items()]
    return [
        f"{name} is {_shown(there)}, endpoint.yml says {_shown(wanted)}"
        for name, wanted, there in said
        if str(wanted).casefold() != str(there).casefold()
    ]


def _live_users(live: Mapping[str, Any]) -> list[str]:
    identity = cast("dict[str, Any]", live.get("identity") or {})
    return list(cast("dict[str, Any]", identity.get("userAssignedIdentities") or {}))


def _users(ids: list[str]) -> str:
    """Names of the user-assigned identities, which ARM writes in any case and order."""
    return ", ".join(sorted(each.rpartition("/")[2].lower() for each in ids)) or "system-assigned"


def _shown(value: object) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
