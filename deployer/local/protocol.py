"""How the command talks to the daemon: one JSON line there, one JSON line back, on a private socket.

Small on purpose: a version, bounded sizes, and errors that arrive as the exceptions they were raised as.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from deployer import errors
from deployer.errors import DeployerError, PlatformError

VERSION = 2
"""Raised when a request or an answer changes its meaning. Daemons outlive upgrades of deployer."""

REQUEST_MAX = 1 << 20
"""Bytes of the longest request: a deployment document."""

ANSWER_MAX = 64 << 20
"""Bytes of the longest answer: the rows of a query."""

_CLASSES: dict[str, type[DeployerError]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, DeployerError)
}


def encode_request(op: str, arguments: Mapping[str, Any]) -> bytes:
    """One request as a line.

    Raises:
        PlatformError: it is over ``REQUEST_MAX`` bytes or holds what JSON cannot.
    """
    try:
        line = json.dumps({"v": VERSION, "op": op, "args": arguments}, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as exc:
        raise PlatformError(
            f"{op} cannot be sent to the local platform: {exc}",
            hint="Use only text, numbers, lists and mappings in endpoint and deployment YAML; quote dates.",
        ) from exc
    if len(line) > REQUEST_MAX:
        raise PlatformError(
            f"{op} takes {len(line)} bytes, over the limit of {REQUEST_MAX}",
            hint="Make the deployment document smaller; data belongs into the model directory.",
        )
    return line


def decode_request(line: bytes) -> tuple[str, dict[str, Any]]:
    """Operation and arguments of a request.

    Raises:
        PlatformError: it is not one, or of another version.
    """
    try:
        request = json.loads(line)
        version, op, arguments = request["v"], request["op"], request["args"]
    except (ValueError, KeyError, TypeError) as exc:
        raise PlatformError("the request is not one JSON line", hint="Use the client of this package.") from exc
    if version != VERSION:
        raise PlatformError(
            f"the running local platform speaks version {VERSION}, the command speaks {version}",
            hint="Run `deployer local down` and repeat: the platform restarts in the installed version.",
        )
    if not isinstance(op, str) or not isinstance(arguments, dict):
        raise PlatformError("the request is not well formed", hint="Use the client of this package.")
    return op, cast("dict[str, Any]", arguments)


def encode_result(result: Any) -> bytes:
    """A good answer as a line."""
    return json.dumps({"v": VERSION, "result": result}).encode() + b"\n"


def encode_error(error: DeployerError) -> bytes:
    """An error as a line."""
    body = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return json.dumps({"v": VERSION, "error": body}).encode() + b"\n"


def decode_answer(line: bytes) -> Any:
    """The result of an answer.

    Raises:
        DeployerError: what the daemon raised, of the same class.
        PlatformError: the answer is not one.
    """
    try:
        answer: dict[str, Any] = json.loads(line)
        if "error" not in answer:
            return answer["result"]
        error = answer["error"]
        kind, message, hint = _CLASSES.get(error["type"], PlatformError), error["message"], error["hint"]
    except (ValueError, KeyError, TypeError) as exc:
        raise PlatformError(
            "the local platform's answer cannot be read", hint="Run `deployer local down` and repeat."
        ) from exc
    raise kind(message, hint=hint)
