"""What an identity may do, by the rules of Azure RBAC; enforced where ``Settings.enforce_rights`` is on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from doubles.azure.messages import Refusal, Request
from doubles.azure.world import PRINCIPAL

_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


def action_of(method: str, path: str) -> str:
    """The action that a request is, as ``Microsoft.X/types/subtypes/read``.

    Source: learn.microsoft.com/azure/role-based-access-control/resource-provider-operations.
    """
    _, found, rest = path.strip("/").rpartition("/providers/")
    if not found:  # a subscription or a group
        kinds = path.strip("/").split("/")[::2]
        return f"Microsoft.Resources/{'/'.join(kinds)}/{_VERBS[method]}"
    provider, *parts = rest.split("/")
    if method != "POST":
        return "/".join([provider, *parts[::2], _VERBS[method]])
    return "/".join([provider, *parts[:-1:2], parts[-1], "action"])


def is_allowed(action: str, permissions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of the assignments grants ``action``."""
    return any(_matches(action, each["actions"]) and not _matches(action, each["notActions"]) for each in permissions)


def _matches(action: str, patterns: Iterable[str]) -> bool:
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), action, re.IGNORECASE) is not None for pattern in patterns
    )


def authorize(request: Request, permissions: Iterable[Mapping[str, Any]]) -> None:
    """Let a request pass, or not.

    Raises:
        Refusal: the identity may not do it. Code and text [mem].
    """
    action = action_of(request.method, request.path)
    if not is_allowed(action, permissions):
        raise Refusal(
            403,
            "AuthorizationFailed",
            f"The client '{PRINCIPAL}' with object id '{PRINCIPAL}' does not have authorization to perform action "
            f"'{action}' over scope '{request.path}' or the scope is invalid. If access was recently granted, please "
            "refresh your credentials.",
        )
