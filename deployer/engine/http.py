"""Send one scoring request and say exactly what came back: no retries, no redirects, no surprises.

The Azure SDK's ``invoke()`` is not used for smoke tests: it repeats failed requests behind the caller's back and keeps
the last ``azureml-model-deployment`` header for later calls. This client opens one connection a request, talks to the
target's own host only (it knows no proxies and follows nothing) and holds every byte to one deadline.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import IO, Any
from urllib.parse import SplitResult, urlsplit

from deployer.errors import DeniedError, PlatformError, TransientError
from deployer.manifest.addresses import is_loopback
from deployer.ports.platform import DEPLOYMENT_HEADER, ScoringTarget

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much time and memory one request may take."""

    connect_s: float = 5.0
    """For one address to accept, and again for TLS to be agreed."""
    read_s: float = 185.0
    """Longest silence of the server. Azure ML itself gives up after at most 180 s."""
    total_s: float = 190.0
    """From the first packet to the last byte. Looking up the host's name is bounded by the system's resolver."""
    body_bytes: int = 1 << 20
    """Of the answer; what comes after it is not read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: any status is an answer, a redirect and an error too."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; a repeated header is joined by ``, ``."""
    body: bytes
    elapsed_s: float
    """From before the connection was made to the last byte read."""
    served_by: str | None
    """The deployment that the answer names in its header; None when it names none."""
    truncated: bool
    """The body was longer than ``Limits.body_bytes``; the rest was thrown away."""


@dataclass(frozen=True, slots=True)
class ScoringClient:
    """Sends single scoring requests. Holds no state between them; safe to share between threads."""

    limits: Limits = field(default_factory=Limits)

    def score(
        self,
        target: ScoringTarget,
        payload: bytes,
        *,
        deployment: str | None = None,
        request_id: str | None = None,
        total_s: float | None = None,
    ) -> Answer:
        """Post ``payload`` (JSON) once; blocks up to ``total_s``.

        Args:
            target: URL and secret headers, sent to that URL's host only.
            payload: the request's body.
            deployment: asks this deployment alone, whatever the weights.
            request_id: sent as ``x-ms-client-request-id``, to tell our requests from users' in telemetry.
            total_s: instead of the client's own limit.

        Raises:
            TransientError: no answer: refused, reset, not HTTP, or too late. The model may have seen the request.
            DeniedError: sending would betray the credentials: a foreign certificate, or no TLS. Nothing was sent.
            PlatformError: the target's URL or headers cannot be sent. Nothing was sent.
        """
        url = _checked(target)
        longest_s = self.limits.total_s if total_s is None else total_s
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "deployer",
            "Connection": "close",
            **target.headers,
            **({DEPLOYMENT_HEADER: deployment} if deployment is not None else {}),
            **({"x-ms-client-request-id": request_id} if request_id is not None else {}),
        }
        where = f"{url.scheme}://{url.netloc}{url.path}"
        started = perf_counter()
        connection = _Connection(url, _Deadline(started + longest_s, self.limits))
        try:
            connection.request("POST", _path(url), body=payload, headers=headers)
            response = connection.getresponse()
            body, truncated = _read(response, self.limits.body_bytes)
        except ssl.SSLCertVerificationError as exc:
            raise DeniedError(
                f"{where}: its certificate is not trusted: {exc.verify_message}",
                hint="Check the URL; for a private certificate authority set SSL_CERT_FILE to its certificate.",
            ) from exc
        except (TimeoutError, OSError, http.client.HTTPException) as exc:
            raise TransientError(
                f"{where}: {_why(exc)} after {perf_counter() - started:.2f}s",
                hint="Check that the endpoint is up and answers within its time-out, then repeat.",
            ) from exc
        except ValueError:  # http.client refuses to send it; its message would quote the secret header
            raise PlatformError(
                f"{where}: the URL or a header holds characters that HTTP does not allow",
                hint="Check the endpoint's key or token for line breaks, and the deployment's name.",
            ) from None
        finally:
            connection.hang_up()
        answered = {name.lower(): "" for name in response.headers}
        answered = {name: ", ".join(response.headers.get_all(name, [])) for name in answered}
        return Answer(
            status=response.status,
            headers=answered,
            body=body,
            elapsed_s=perf_counter() - started,
            served_by=answered.get(DEPLOYMENT_HEADER),
            truncated=truncated,
        )


def _checked(target: ScoringTarget) -> SplitResult:
    """Split the URL, or refuse one that is no scoring URL or would send credentials in clear."""
    try:
        url = urlsplit(target.url)
        host, _ = url.hostname, url.port
    except ValueError:
        url, host = SplitResult("", "", "", "", ""), None
    if url.scheme not in ("http", "https") or not host or url.username is not None:
        raise PlatformError(
            f"the scoring URL {url.scheme}://{host or ''} is not usable: http(s)://host[:port]/path is",
            hint="Read the endpoint's scoring URL again; credentials belong into headers, not into it.",
        )
    if url.scheme == "http" and target.headers and not (target.in_clear or is_loopback(host)):
        raise DeniedError(
            f"http://{host} is not encrypted: the endpoint's key is not sent there",
            hint="Use the endpoint's https URL.",
        )
    return url


def _path(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _read(response: http.client.HTTPResponse, limit: int) -> tuple[bytes, bool]:
    """Read at most ``limit`` bytes of the body; True when there was more."""
    body = bytearray()
    while len(body) <= limit and (chunk := response.read1(_CHUNK)):
        body += chunk
    truncated = len(body) > limit
    if not truncated and response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(body[:limit]), truncated


def _why(exc: Exception) -> str:
    match exc:
        case TimeoutError():
            return "no complete answer"
        case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
            return "the connection was closed without an answer"
        case http.client.IncompleteRead():
            return "the connection was closed in the middle of the answer"
        case http.client.HTTPException():
            return f"what came back is not HTTP ({type(exc).__name__})"
        case OSError():
            return f"not reached ({exc.strerror or exc})"
        case _:
            return str(exc)


@dataclass(frozen=True, slots=True)
class _Deadline:
    """When a request must be over, and how long each of its waits may be."""

    at: float
    limits: Limits

    def wait_s(self, limit_s: float) -> float:
        """Seconds that the next wait may take, up to ``limit_s``."""
        left = self.at - perf_counter()
        if left <= 0:
            raise TimeoutError
        return min(left, limit_s)


class _Connection(http.client.HTTPConnection):
    """One connection whose every wait respects the deadline."""

    def __init__(self, url: SplitResult, deadline: _Deadline) -> None:
        super().__init__(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._deadline = deadline
        self._open: socket.socket | None = None

    def connect(self) -> None:
        self._open = self._reach()
        if self._tls is not None:
            self._open.settimeout(self._deadline.wait_s(self._deadline.limits.connect_s))
            self._open = self._tls.wrap_socket(self._open, server_hostname=self.host)
        self.sock: Any = _TimedSocket(self._open, self._deadline)

    def hang_up(self) -> None:
        """Close for good; ``close`` is called by ``http.client`` while the body is still to be read."""
        self.close()
        if self._open is not None:
            self._open.close()

    def _reach(self) -> socket.socket:
        failure: OSError = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            candidate = socket.socket(family, kind, protocol)
            try:
                candidate.settimeout(self._deadline.wait_s(self._deadline.limits.connect_s))
                candidate.connect(address)
            except OSError as exc:
                candidate.close()
                failure = exc
            else:
                return candidate
        raise failure


@dataclass(frozen=True, slots=True)
class _TimedSocket:
    """The little of a socket that ``http.client`` uses. A plain time-out bounds each wait, not their sum."""

    sock: socket.socket
    deadline: _Deadline

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self.sock.settimeout(self.deadline.wait_s(self.deadline.limits.read_s))
            view = view[self.sock.send(view) :]

    def makefile(self, _mode: str) -> IO[bytes]:
        return io.BufferedReader(_TimedReader(self.sock, self.deadline), _CHUNK)

    def close(self) -> None:
        """Leave it open: the answer is still being read. ``_Connection.hang_up`` closes it."""


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.wait_s(self._deadline.limits.read_s))
        return self._sock.recv_into(buffer)
