"""Runs the dashboard: a socket, a server, an end that no open stream delays."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

import uvicorn

from deployer.dashboard.app import Dashboard
from deployer.dashboard.guard import Guard
from deployer.dashboard.pages import Pages
from deployer.dashboard.watching import Watching
from deployer.errors import UsageError
from deployer.local.layout import read_endpoints
from deployer.wiring.dashboard import Archive, Known, lens, local_lens, now
from deployer.wiring.sites import home

FIRST_LOOK_S = 2.0
"""How long the first page waits for the first looks."""
END_S = 3
"""How long open connections may delay the end."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the dashboard is read."""

    host: str
    port: int
    token: str

    @property
    def url(self) -> str:
        """For a browser, with the token."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host)  # noqa: S104 - what to open, not to bind
        host = host or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"http://{host}:{self.port}/?token={self.token}"


class _Server(uvicorn.Server):
    """Ends by a signal as by a wish: the process goes on to its own end."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def listen(host: str, port: int, *, exposed: bool) -> socket.socket:
    """Open the socket.

    Args:
        host: an IP address, or ``localhost``.
        port: 0 for any that is free.
        exposed: other machines may read too.

    Raises:
        UsageError: the port is taken, or the address is not of this machine, or not of it alone.
    """
    name = "127.0.0.1" if host == "localhost" else host
    try:
        address = ip_address(name)
    except ValueError as exc:
        raise UsageError(f"--host {host} is no IP address", hint="Leave it out, or write --host 127.0.0.1.") from exc
    if not address.is_loopback and not exposed:
        raise UsageError(
            f"--host {host} lets other machines read what this one knows of your endpoints, unencrypted",
            hint="Leave it out and forward the port (ssh -L), or insist with --expose.",
        )
    made = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((name, port))
        made.listen(128)
    except OSError as exc:
        made.close()
        if exc.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} is taken", hint="Choose another with --port, or --port 0 for any that is free."
            ) from exc
        raise UsageError(
            f"cannot listen on {host}:{port}: {exc.strerror}", hint="Choose another --host or --port."
        ) from exc
    return made


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dashboard whose port is open: requests wait until it runs."""

    address: Address
    server: uvicorn.Server
    opened: socket.socket
    watching: Watching

    def run(self) -> None:
        """Serve until a signal, or until ``stop``."""
        with self.opened:
            try:
                self.server.run(sockets=[self.opened])
            finally:
                self.watching.end()

    def stop(self) -> None:
        """Have ``run`` end, streams and all; safe from any thread."""
        self.server.should_exit = True


def prepare(
    targets: Sequence[str], where: Mapping[str, str | None], *, host: str, port: int, exposed: bool
) -> Prepared:
    """Open the port and take the first looks.

    Args:
        targets: endpoints and manifests that are looked at, besides the local endpoints.
        where: the command line's options about an endpoint given by name.
        host: an IP address.
        port: 0 for any that is free.
        exposed: other machines may read too.

    Raises:
        UsageError: it cannot listen there, or a target is wrong.
        ManifestError: a manifest is wrong.
    """
    lenses = [lens(target, where) for target in targets]
    opened = listen(host, port, exposed=exposed)
    address = Address(host, opened.getsockname()[1], secrets.token_urlsafe(24))
    watching = Watching(now)
    watching.add(lenses)
    root = home()
    pages = Pages(Archive(root), watching, lambda: _local(watching, root))
    pages.known()
    watching.settle(FIRST_LOOK_S)

    def is_ending() -> bool:
        return server.should_exit

    guarded = Guard(
        Dashboard(pages, watching, is_ending).app(),
        token=address.token,
        port=address.port,
        names=[host, socket.gethostname()] if exposed else [],
        exposed=exposed,
    )
    config = uvicorn.Config(
        guarded,
        lifespan="off",
        log_config=None,
        access_log=False,  # it would hold the token
        proxy_headers=False,
        server_header=False,
        ws="none",
        http="h11",
        timeout_keep_alive=10,
        timeout_graceful_shutdown=END_S,
        limit_concurrency=400,
    )
    server = _Server(config)
    return Prepared(address, server, opened, watching)


def _local(watching: Watching, root: Path) -> Iterable[Known]:
    """Every local endpoint; new ones are looked at from now on."""
    found = [Known("local", "", layout.endpoint) for layout in read_endpoints(root)]
    watching.add(local_lens(of.name) for of in found if watching.seen(of) is None)
    return found
