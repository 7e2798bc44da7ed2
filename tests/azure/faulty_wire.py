"""Faults on the way to ARM, by number of the call: what the network and the service do to a client.

A transport under azure-core that passes requests on to another one and, for the calls it was told about, does something
else. Nothing of deployer or of the SDKs is changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import requests
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest._requests_basic import RestRequestsTransportResponse

WRITES = frozenset({"PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it was sent, and what came of it."""

    number: int
    method: str
    path: str
    body: Any
    fault: str
    """Empty: it was passed on."""

    @property
    def is_write(self) -> bool:
        """It changes something."""
        return self.method in WRITES

    def __str__(self) -> str:
        return f"{self.number} {self.method} {self.path.partition('/workspaces/')[2]} {self.fault}".rstrip()


Fault = Callable[["FaultyTransport", Any, Mapping[str, Any]], Any]
"""Given the transport, the request and the options of its sending: the response, or an exception raised."""


class FaultyTransport(HttpTransport[Any, Any]):
    """Passes on what nothing happens to.

    Attributes:
        faults: number of a call -> name of the fault that strikes it.
        before, after: called with each call before it is passed on, and after it had its effect; may raise.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.faults: dict[int, str] = {}
        self.calls: list[Call] = []
        self.before: Callable[[Call], None] = lambda _call: None
        self.after: Callable[[Call], None] = lambda _call: None
        self.remembered: dict[str, tuple[int, dict[str, str], str]] = {}
        self.older: dict[str, tuple[int, dict[str, str], str]] = {}

    def send(self, request: Any, **options: Any) -> Any:
        """Send, or do what was planned for this call."""
        name = self.faults.get(len(self.calls), "")
        body = json.loads(request.content) if request.content else None
        call = Call(len(self.calls), request.method, request.url.partition("?")[0], body, name)
        self.calls.append(call)
        self.before(call)
        response = FAULTS[name](self, request, options) if name else self.pass_on(request, options)
        self.after(call)
        return response

    def pass_on(self, request: Any, options: Mapping[str, Any]) -> Any:
        """Send it; remember what reads answered, so that an old answer can be given again."""
        response = self.inner.send(request, **options)
        if request.method == "GET":
            key = request.url.partition("?")[0]
            if key in self.remembered:
                self.older[key] = self.remembered[key]
            self.remembered[key] = (response.status_code, dict(response.headers), response.text())
        return response

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None: ...


def answer(request: Any, status: int, body: str, headers: Mapping[str, str] | None = None) -> Any:
    """Make a response that nobody sent."""
    made = requests.Response()
    made.status_code = status
    made.headers.update({"Content-Type": "application/json", **(headers or {})})
    made._content_consumed = True
    made._content = body.encode()
    response = RestRequestsTransportResponse(request=request, internal_response=made, block_size=4096)
    response.read()
    return response


def refusal(code: str, text: str) -> str:
    return json.dumps({"error": {"code": code, "message": text}})


def _status(status: int, code: str, headers: Mapping[str, str] | None = None) -> Fault:
    return lambda _wire, request, _options: answer(request, status, refusal(code, f"injected {status}"), headers)


def _cut_before(_wire: FaultyTransport, _request: Any, _options: Mapping[str, Any]) -> Any:
    raise ServiceRequestError("Connection refused")


def _no_name(_wire: FaultyTransport, _request: Any, _options: Mapping[str, Any]) -> Any:
    raise ServiceRequestError("NameResolutionError: Failed to resolve 'management.azure.com' (getaddrinfo failed)")


def _cut_after(wire: FaultyTransport, request: Any, options: Mapping[str, Any]) -> Any:
    wire.pass_on(request, options)
    raise ServiceResponseError("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))")


def _done_but_503(wire: FaultyTransport, request: Any, options: Mapping[str, Any]) -> Any:
    wire.pass_on(request, options)
    return answer(request, 503, refusal("ServiceUnavailable", "done all the same"))


def _twice(wire: FaultyTransport, request: Any, options: Mapping[str, Any]) -> Any:
    wire.pass_on(request, options)
    return wire.pass_on(request, options)


def _stale(wire: FaultyTransport, request: Any, options: Mapping[str, Any]) -> Any:
    key = request.url.partition("?")[0]
    told = wire.older.get(key) or wire.remembered.get(key)
    if request.method != "GET" or told is None:
        return wire.pass_on(request, options)
    return answer(request, told[0], told[2])


def _garbled(wire: FaultyTransport, request: Any, options: Mapping[str, Any]) -> Any:
    response = wire.pass_on(request, options)
    return answer(request, response.status_code, "<html>502 Bad Gateway</html>", dict(response.headers))


def _no_properties(wire: FaultyTransport, request: Any, options: Mapping[str, Any]) -> Any:
    response = wire.pass_on(request, options)
    if request.method != "GET" or response.status_code != 200:
        return response
    body = json.loads(response.text())
    if isinstance(body.get("properties"), dict):
        body["properties"]["properties"] = None
    return answer(request, 200, json.dumps(body), dict(response.headers))


def _misses(wire: FaultyTransport, request: Any, options: Mapping[str, Any]) -> Any:
    response = wire.pass_on(request, options)
    if request.method != "GET" or response.status_code != 200:
        return response
    body = json.loads(response.text())
    if isinstance(body.get("value"), list):
        body["value"] = body["value"][:-1]
    return answer(request, 200, json.dumps(body), dict(response.headers))


def _absent(wire: FaultyTransport, request: Any, options: Mapping[str, Any]) -> Any:
    if request.method != "GET":
        return wire.pass_on(request, options)
    text = "Deployment green not found in endpoint digits, workspace w"  # recordings/07
    return answer(request, 404, refusal("UserError", text))


def _no_token(_wire: FaultyTransport, _request: Any, _options: Mapping[str, Any]) -> Any:
    raise ClientAuthenticationError("DefaultAzureCredential failed to retrieve a token: AADSTS700024 expired")


FAULTS: dict[str, Fault] = {
    "400": _status(400, "BadRequest"),
    "401": _status(401, "ExpiredAuthenticationToken", {"WWW-Authenticate": 'Bearer error="invalid_token"'}),
    "403": _status(403, "AuthorizationFailed"),
    "404": _absent,
    "409": _status(409, "Conflict"),
    "409 retry after": _status(409, "Conflict", {"Retry-After": "5"}),
    "409 registration": _status(409, "MissingSubscriptionRegistration"),
    "412": _status(412, "PreconditionFailed"),
    "429": _status(429, "TooManyRequests"),
    "429 seconds": _status(429, "TooManyRequests", {"Retry-After": "7"}),
    "429 date": _status(429, "TooManyRequests", {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}),
    "429 absurd": _status(429, "TooManyRequests", {"Retry-After": "1000000"}),
    "500": _status(500, "InternalServerError"),
    "502": _status(502, "BadGateway"),
    "503": _status(503, "ServiceUnavailable"),
    "504": _status(504, "GatewayTimeout"),
    "503 done": _done_but_503,
    "cut before": _cut_before,
    "cut after": _cut_after,
    "sent twice": _twice,
    "stale": _stale,
    "garbled": _garbled,
    "no properties": _no_properties,
    "list misses": _misses,
    "no name": _no_name,
    "no token": _no_token,
}
"""By name; each leaves alone what it cannot strike."""
