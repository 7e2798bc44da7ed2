"""Who is asking: a managed identity's endpoint over plain http, and tokens that expire.

On the same port: a proxy (CONNECT) for hosts that have no address here, such as that of the storage account.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from doubles.azure.messages import Refusal, Request
from doubles.azure.world import TENANT

SECRET = "identity-header"
DOMAIN = "azure.test"
"""Suffix of storage: not ``localhost``, so that NO_PROXY=localhost does not match; ``.test`` is nobody's (RFC 2606)."""


class Identity:
    """Gives and checks tokens.

    Attributes:
        lifetime_s: of a token, in real seconds: clients look at the real clock.
        given: how many tokens were given.
        down: nothing is given: 500.
        stall_s: how long it thinks before it gives one.
    """

    def __init__(self) -> None:
        self.lifetime_s = 3600.0
        self.given = 0
        self.down = False
        self.stall_s = 0.0
        self.scopes: list[str] = []
        self._expires: dict[str, float] = {}
        self._lock = threading.Lock()

    def give(self, scope: str) -> dict[str, Any]:
        """Shape: App Service managed identity, api-version 2019-08-01 (WIRE 1)."""
        with self._lock:
            self.given += 1
            token, until = f"token-{self.given}-of-the-double", time.time() + self.lifetime_s
            self._expires[token] = until
            self.scopes.append(scope)
        return {
            "access_token": token,
            "expires_on": str(int(until)),
            "resource": scope,
            "token_type": "Bearer",
            "client_id": "c",
        }

    def expire(self) -> None:
        """Every token given so far is refused from now on."""
        with self._lock:
            self._expires = dict.fromkeys(self._expires, 0.0)

    def check(self, request: Request) -> None:
        """Raise a 401 as ARM does [mem] unless the token is good."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        with self._lock:
            until = self._expires.get(token)
        if kind == "Bearer" and until is not None and time.time() < until:
            return
        code = (
            "AuthenticationFailed"
            if not token
            else "InvalidAuthenticationToken"
            if until is None
            else "ExpiredAuthenticationToken"
        )
        said = {
            "AuthenticationFailed": "Authentication failed. The 'Authorization' header is missing.",
            "InvalidAuthenticationToken": "The access token is invalid.",
            "ExpiredAuthenticationToken": "The access token expiry UTC time is earlier than current UTC time.",
        }[code]
        error = "" if not token else ', error="invalid_token", error_description="The access token is invalid."'
        challenge = f'Bearer authorization_uri="https://login.{DOMAIN}/{TENANT}"{error}'
        raise Refusal(401, code, said, WWW_Authenticate=challenge)


class _Handler(BaseHTTPRequestHandler):
    identity: Identity
    target: tuple[str, int]
    storage: str

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        time.sleep(self.identity.stall_s)
        if self.identity.down:
            status, body = 500, {"message": "The identity endpoint is down."}
        elif self.headers.get("X-IDENTITY-HEADER") != SECRET or "resource" not in query:
            status, body = 400, {"message": "X-IDENTITY-HEADER or resource is missing."}
        else:
            status, body = 200, self.identity.give(query["resource"][0])
        content = json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_CONNECT(self) -> None:
        self.close_connection = True
        host = self.path.rpartition(":")[0]
        if not host.endswith(f".{DOMAIN}") or (".blob." in host and host != self.storage):  # another double's
            self.send_error(502)
            return
        with socket.create_connection(self.target) as there:
            self.send_response_only(200, "Connection established")
            self.end_headers()
            _pump(self.connection, there)

    def log_message(self, *_: Any) -> None:
        pass


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    pairs = {one: other, other: one}
    while True:
        for ready in select.select(list(pairs), [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            pairs[ready].sendall(data)


def identity_server(identity: Identity, storage: str, target: tuple[str, int]) -> ThreadingHTTPServer:
    """A server that is not started; ``target`` is where CONNECT to a host of ``DOMAIN`` leads, of storage to one only."""
    handler = type("Handler", (_Handler,), {"identity": identity, "storage": storage, "target": target})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that hangs up is no news
    return server
