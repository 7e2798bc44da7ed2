"""A transport under azure-core that answers from a script: for what an HTTPS server cannot be made to do on demand."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import requests
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest._requests_basic import RestRequestsTransportResponse


@dataclass(frozen=True, slots=True)
class Answer:
    """What the script says next."""

    status: int = 200
    body: Any = field(default_factory=dict)
    """An object is sent as JSON, text as it is."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it was sent."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


class ScriptedTransport(HttpTransport[Any, Any]):
    """Gives the answers in order; an exception among them is raised instead."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = deque(answers)
        self.asked: list[Asked] = []
        self.hosts: list[str] = []

    def send(self, request: Any, **_options: Any) -> RestRequestsTransportResponse:
        parts = urlsplit(request.url)
        body = json.loads(request.content) if request.content else None
        asked = Asked(request.method, parts.path, dict(parse_qsl(parts.query)), dict(request.headers), body)
        self.asked.append(asked)
        self.hosts.append(parts.netloc)
        answer = self.next(asked)
        if isinstance(answer, Exception):
            raise answer
        made = requests.Response()
        made.status_code = answer.status
        made.headers.update(answer.headers)
        made._content_consumed = True
        made._content = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
        response = RestRequestsTransportResponse(request=request, internal_response=made, block_size=4096)
        response.read()
        return response

    def next(self, asked: Asked) -> Answer | Exception:
        """What comes next."""
        return self.answers.popleft()

    def open(self) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None: ...


class Tokens:
    """A credential that counts; ``failure`` is raised instead of a token."""

    def __init__(self) -> None:
        self.given = 0
        self.scopes: list[str] = []
        self.failure: Exception | None = None

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        if self.failure is not None:
            raise self.failure
        self.given += 1
        self.scopes += scopes
        return AccessToken(f"token-{self.given}", 4102444800)
