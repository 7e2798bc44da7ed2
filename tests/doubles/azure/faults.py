"""A script of what goes wrong on the wire, and when.

Kinds (``INVARIANTS 6``):

========================  ==========================================================================================
an HTTP status, as int    answered instead, without effect; ``retry_after=`` is any text, ``code=``, ``message=``
``cut``                   the connection is closed before the request has any effect
``lost``                  the request is carried out, then the connection is closed
``invalid_json``          the answer is no JSON
``truncated``             the answer ends in the middle although its length was promised
``slow``                  the body takes ``seconds`` to arrive
``edited``                ``edit(body)`` is sent instead of the body, and ``headers=`` besides
``token_expired``         every token given so far is refused, from this request on
``lro_failed``            the operation started by it ends as Failed (``code=``, ``message=``); nothing was changed
``lro_half``              the same, but the change happened
``lro_canceled``          it ends as Canceled, with OperationCanceled
``lro_never``             it never ends
``lro_gone``              its status address says 404, and the change happens
``stale``                 a GET shows the resource as it was before its last change (404 when it was not there)
``missing``               a GET says 404
``list_misses``           a list lacks its newest item
``still_updating``        a GET says provisioningState Updating although the operation has succeeded
========================  ==========================================================================================
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

TWISTS = frozenset(
    {
        "lro_failed",
        "lro_half",
        "lro_canceled",
        "lro_never",
        "lro_gone",
        "stale",
        "missing",
        "list_misses",
        "still_updating",
    }
)
"""Played by the handler of the request."""
SIMPLE = frozenset({"cut", "lost", "invalid_json", "truncated", "slow", "edited", "token_expired"})
"""Played on the wire."""
_CODES = {  # [mem], where the recordings have none
    400: ("BadRequest", "The request is invalid."),
    401: ("InvalidAuthenticationToken", "The access token is invalid."),
    403: ("AuthorizationFailed", "The client does not have authorization to perform action or the scope is invalid."),
    404: ("ResourceNotFound", "The resource was not found."),
    409: ("Conflict", "Another operation is in progress."),
    412: ("PreconditionFailed", "A condition of the request is not met."),
    429: ("TooManyRequests", "The request is being throttled."),
    500: ("InternalServerError", "An internal server error occurred."),
    502: ("BadGateway", "The gateway did not receive a response."),
    503: ("ServiceUnavailable", "The service is unavailable."),
    504: ("GatewayTimeout", "The gateway did not receive a response in time."),
}


@dataclass
class Fault:
    """One line of the script.

    Attributes:
        match: searched in ``METHOD /path``, whatever the case.
        nth: the first matching request that it strikes, from 1.
        times: how many it strikes from there; None: all.
        hits: how many it has struck.
    """

    match: re.Pattern[str]
    kind: str
    status: int = 0
    nth: int = 1
    times: int | None = 1
    retry_after: str | None = None
    code: str = ""
    message: str = ""
    seconds: float = 0.3
    edit: Callable[[Any], Any] = lambda body: body
    headers: Mapping[str, str] = field(default_factory=dict)
    seen: int = 0
    hits: int = 0

    def strikes(self, request_line: str) -> bool:
        """Count the request; say whether it is struck."""
        if not self.match.search(request_line):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    @property
    def error(self) -> dict[str, Any]:
        """What the service says of it."""
        code, message = _CODES.get(self.status, ("InternalServerError", "An internal server error occurred."))
        return {"code": self.code or code, "message": self.message or message}


class Script:
    """All faults to come, in the order in which they were told; the first that strikes is played."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self, match: str | tuple[str, str], kind: str | int, *, nth: int = 1, times: int | None = 1, **options: Any
    ) -> Fault:
        """Add a line; see the module for kinds and options."""
        pattern = match if isinstance(match, str) else rf"^{match[0]} {match[1]}$"
        if isinstance(kind, int):
            kind, options["status"] = "status", kind
        elif kind not in TWISTS | SIMPLE:
            raise ValueError(f"no such fault: {kind}")
        if "retry_after" in options and options["retry_after"] is not None:
            options["retry_after"] = str(options["retry_after"])
        fault = Fault(re.compile(pattern, re.IGNORECASE), kind, nth=nth, times=times, **options)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._faults.clear()

    def strike(self, request_line: str) -> Fault | None:
        """Which fault meets this request, if any."""
        with self._lock:
            struck = [fault for fault in self._faults if fault.strikes(request_line)]
        for late in struck[1:]:
            late.hits -= 1  # it waits for the next one
        return struck[0] if struck else None
