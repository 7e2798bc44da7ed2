"""HTTPS: routes, the rules that ARM has for every resource, faults, and a log of all calls."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from doubles.azure.faults import TWISTS, Fault, Script
from doubles.azure.identity import Identity
from doubles.azure.messages import Answer, Handler, Refusal, Request, missing
from doubles.azure.rights import authorize
from doubles.azure.world import GROUP, REGION, SUBSCRIPTION, WORKSPACE, World

ML_VERSIONS = frozenset(
    [
        "2021-10-01",
        "2022-02-01-preview",
        "2022-05-01",
        "2022-10-01",
        "2023-02-01-preview",
        "2023-04-01",
        "2023-04-01-preview",
        "2023-06-01-preview",
        "2023-08-01-preview",
        "2023-10-01",
        "2024-01-01-preview",
        "2024-04-01",
        "2024-04-01-preview",
        "2024-07-01-preview",
        "2024-10-01",
        "2024-10-01-preview",
        "2025-01-01-preview",
        "2025-06-01",
        "2025-09-01",
        "2025-12-01",
    ]
)
"""Of Microsoft.MachineLearningServices. The list is not complete; what matters is that not everything is in it."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")


class Call(NamedTuple):
    """One request that was answered, or cut (status 0)."""

    method: str
    path: str
    api_version: str
    status: int
    at: float
    """``time.monotonic()``."""
    fault: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    auth: bool


class Router:
    """Finds who answers; the route added last is asked first."""

    def __init__(self, world: World, identity: Identity, script: Script) -> None:
        self.world, self.identity, self.script = world, identity, script
        self.calls: list[Call] = []
        self.permissions: Callable[[], Iterable[Mapping[str, Any]]] = list
        self.fallback: Callable[[str, str, Mapping[str, str], bytes], Any] | None = None
        self._routes: list[_Route] = []

    def add(self, method: str, pattern: str, handler: Handler, *, auth: bool = True) -> None:
        """``pattern`` matches the whole decoded path, whatever the case; ``auth``: a token is needed."""
        self._routes.insert(0, _Route(method.upper(), re.compile(pattern, re.IGNORECASE), handler, auth))

    def answer(self, request: Request) -> tuple[Answer, Fault | None]:
        """Answer a request, or play a fault."""
        fault = self.script.strike(f"{request.method} {request.path}")
        if fault is not None and fault.kind == "status":
            headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            answer = Answer(fault.status, {"error": fault.error}, headers)
        elif fault is not None and fault.kind == "cut":
            answer = Answer(0, cut=True)
        else:
            answer = self._carried_out(request, fault)
        self.calls.append(
            Call(
                request.method,
                request.path,
                request.api_version,
                0 if answer.cut else answer.status,
                time.monotonic(),
                fault.kind if fault else "",
                request.body,
            )
        )
        return answer, fault

    def _carried_out(self, request: Request, fault: Fault | None) -> Answer:
        if fault is not None and fault.kind in TWISTS:
            request.twist = fault
        if fault is not None and fault.kind == "token_expired":
            self.identity.expire()
        try:
            answer = self._handled(request)
        except Refusal as refusal:
            answer = refusal.answer()
        if fault is not None and fault.kind == "lost":
            return Answer(0, cut=True)
        if fault is not None and fault.kind == "edited":
            return Answer(answer.status, fault.edit(answer.body), {**answer.headers, **fault.headers})
        return answer

    def _handled(self, request: Request) -> Answer:
        for route in self._routes:
            found = route.pattern.fullmatch(request.path) if route.method == request.method else None
            if found is None:
                continue
            request.params = found.groupdict()
            if route.auth:
                self.identity.check(request)
            if request.path.lower().startswith("/subscriptions/"):
                self._check_arm(request)
                with self.world.lock:
                    self.world.settle()
                    answer = route.handler(request)
                return Answer(answer.status, answer.body, {**_arm_headers(request), **answer.headers}, answer.cut)
            with self.world.lock:
                self.world.settle()
            return route.handler(request)
        if self.fallback is not None:
            found = self.fallback(request.method, request.target, request.headers, request.body)
            if found is not None:
                return Answer(found.status, found.body, found.headers, found.cut)
        if request.path.lower().startswith("/subscriptions/"):
            self.identity.check(request)
            self._check_arm(request)
        raise Refusal(404, "InvalidResourceType", f"The resource type could not be found: {request.path}.")  # [mem]

    def _check_arm(self, request: Request) -> None:
        """What ARM itself checks."""
        check_version(request)
        check_scope(request, self.world.settings.groups)
        if self.world.settings.enforce_rights:
            authorize(request, self.permissions())


def _arm_headers(request: Request) -> dict[str, str]:
    """Recordings 05, 06."""
    sort = {"GET": "reads", "DELETE": "deletes"}.get(request.method, "writes")
    headers = {"Cache-Control": "no-cache", "x-ms-response-type": "standard", "x-request-time": "0.1"}
    if client := request.headers.get("x-ms-client-request-id"):
        headers["x-ms-client-request-id"] = client
    return {**headers, f"x-ms-ratelimit-remaining-subscription-{sort}": "199"}


def check_version(request: Request) -> None:
    """Is it one that is served? Texts [mem].

    Raises:
        Refusal: no.
    """
    version, path = request.api_version, request.path.lower()
    if not version:
        raise Refusal(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    if "/providers/microsoft.machinelearningservices/" in path and "/providers/microsoft.insights/" not in path:
        if version not in ML_VERSIONS and "/providers/microsoft.authorization/" not in path:
            raise Refusal(
                400,
                "NoRegisteredProviderFound",
                f"No registered resource provider found for location '{REGION}' and API version '{version}' for type "
                f"'workspaces'. The supported api-versions are '{', '.join(sorted(ML_VERSIONS))}'. "
                f"The supported locations are '{REGION}'.",
            )
    elif not _DATE.fullmatch(version):
        raise Refusal(400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")


def check_scope(request: Request, groups: Iterable[str]) -> None:
    """Do subscription, group and workspace exist? Texts [mem].

    Raises:
        Refusal: no.
    """
    parts = request.path.lower().strip("/").split("/")
    if parts[1] != SUBSCRIPTION.lower():
        raise Refusal(404, "SubscriptionNotFound", f"The subscription '{parts[1]}' could not be found.")
    if len(parts) > 3 and parts[2] == "resourcegroups" and parts[3] not in groups:
        raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{parts[3]}' could not be found.")
    if parts[4:7] == ["providers", "microsoft.machinelearningservices", "workspaces"] and parts[7:8] != [WORKSPACE]:
        raise missing("Microsoft.MachineLearningServices/workspaces", "".join(parts[7:8]), GROUP)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    router: Router

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        request = Request(
            self.command,
            unquote(parts.path),
            {key.lower(): value for key, value in parse_qsl(parts.query, keep_blank_values=True)},
            {key.lower(): value for key, value in self.headers.items()},
            body,
            self.path,
        )
        answer, fault = self.router.answer(request)
        if answer.cut:
            self.close_connection = True
            return
        self._send(answer, fault)

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        body = answer.body
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = fault.kind if fault else ""
        if kind == "invalid_json":
            content = b'{"value": [<html>Our services aren\'t available right now</html>'
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(content)),
            **answer.headers,
        }
        self.send_response_only(answer.status)
        self.send_header("Date", format_datetime(self.router.world.now().astimezone(UTC), usegmt=True))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or answer.status == 204:
            return
        if kind == "truncated":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif kind == "slow":
            assert fault is not None
            for start in range(0, len(content), max(len(content) // 10, 1)):
                self.wfile.write(content[start : start + max(len(content) // 10, 1)])
                self.wfile.flush()
                time.sleep(fault.seconds / 10)
        else:
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        self.errors: list[BaseException] = []
        """Faults of the double itself."""
        self._connections: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Hang up too: a kept connection would go on talking to a service that is gone."""
        super().server_close()
        for each in list(self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news; anything else is a fault of the double."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.errors.append(error)


def https_server(router: Router, tls: SSLContext, port: int = 0) -> _Server:
    """A server that is not started."""
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"router": router}))
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def start(server: ThreadingHTTPServer, name: str) -> Callable[[], None]:
    """Serve in a thread; return what ends it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name=name, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
