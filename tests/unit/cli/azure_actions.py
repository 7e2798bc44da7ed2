"""Which rights a run used, by what it called: ARM derives an action from the address and the method."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

SUFFIX = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
UNLISTED = {"codes/versions/startPendingUpload/action": "codes/versions/write"}
"""Actions that the list of learn.microsoft.com/azure/role-based-access-control/permissions does not know, and the right
that is taken to cover them."""


def action_of(method: str, path: str) -> str | None:
    """The action of one call; None: it is none of ARM's."""
    provider = re.search(r".*/providers/([^/]+)/(.+)", path, re.IGNORECASE)
    if provider is None or not path.lower().startswith("/subscriptions/"):
        return None
    parts = provider[2].split("/")
    if method == "POST":
        return f"{provider[1]}/{'/'.join(parts[:-1:2])}/{parts[-1]}/action"
    return f"{provider[1]}/{'/'.join(parts[::2])}/{SUFFIX[method]}"


def used(calls: Iterable[Any]) -> set[str]:
    """Actions of all ``calls``, in lower case."""
    found = {action_of(call.method, call.path) for call in calls} - {None}
    return {_covered(str(action)).lower() for action in found}


def _covered(action: str) -> str:
    for unlisted, right in UNLISTED.items():
        if action.lower().endswith(unlisted.lower()):
            return action[: -len(unlisted)] + right
    return action
