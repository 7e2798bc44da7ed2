"""What goes in and comes out: requests, answers and the shapes of ARM's errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from doubles.azure.faults import Fault


@dataclass
class Request:
    """A request as it came in; ``params`` are the named groups of its route."""

    method: str
    path: str
    """Decoded, without the query."""
    query: Mapping[str, str]
    """Names in lower case."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""
    target: str = ""
    """Path and query as they were sent."""
    params: Mapping[str, str] = field(default_factory=dict)
    twist: Fault | None = None
    """A fault that the handler itself has to play: an old read, an operation that fails."""

    @cached_property
    def json(self) -> Any:
        """The body, parsed; ``{}`` when there is none.

        Raises:
            Refusal: it is no JSON.
        """
        try:
            return json.loads(self.body or b"{}")
        except ValueError as exc:
            # [mem] ARM itself answers so, before a resource provider sees it.
            raise Refusal(
                400, "InvalidRequestContent", "The request content was invalid and could not be deserialized."
            ) from exc

    @property
    def api_version(self) -> str:
        """As it was asked for."""
        return self.query.get("api-version", "")

    @property
    def name(self) -> str:
        """Last segment of the path."""
        return self.path.rpartition("/")[2]

    def twisted(self, *kinds: str) -> bool:
        """Whether a fault of one of these kinds is to be played."""
        return self.twist is not None and self.twist.kind in kinds


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int = 200
    body: Any = None
    """An object is sent as JSON, bytes as they are; None: nothing is."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """The connection is closed instead."""


Handler = Callable[[Request], Answer]


class Refusal(Exception):  # noqa: N818 - an answer, not a bug
    """An answer with status >= 400 in ARM's shape."""

    def __init__(
        self, status: int, code: str, message: str, *, details: Sequence[Mapping[str, Any]] = (), **headers: str
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.info: list[dict[str, Any]] = []

    def answer(self) -> Answer:
        """The answer. Shape: recordings/07 (``error`` with ``details``)."""
        error = {"code": self.code, "message": self.message, "details": list(self.details)}
        return Answer(
            self.status, {"error": {**error, "additionalInfo": self.info} if self.info else error}, self.headers
        )


def bad(message: str, code: str = "BadRequest") -> Refusal:
    """A refusal of Azure ML's own: the sentence is in a detail. Shape: recordings/07 (Kubernetes name taken)."""
    return Refusal(400, code, "The request is invalid.", details=[{"code": "ValidationError", "message": message}])


def missing(kind: str, name: str, where: str) -> Refusal:
    """ARM's own 404 [mem]."""
    return Refusal(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{where}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )
