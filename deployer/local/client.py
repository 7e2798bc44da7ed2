"""Talks to the daemon of one endpoint, and starts it when it should run and does not."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deployer.errors import NotFoundError, PlatformError, TransientError, how_to_install
from deployer.local.keeper import start_keeper
from deployer.local.layout import Layout
from deployer.local.logs import read_tail
from deployer.local.processes import holder, pause
from deployer.local.protocol import ANSWER_MAX, decode_answer, encode_request

_START_S = 20.0
_MODULES = ("azureml_inference_server_http", "duckdb", "duckdb_kql", "envoy", "gunicorn")
_ANSWER_S = 25.0
_SLOW_S: Mapping[str, float] = {
    "create_deployment": 600.0,  # copies code and model
    "delete_deployment": 200.0,  # waits for answers in progress: at most request_timeout_ms, 180 s
    "scale_deployment": 200.0,
    "recreate_deployment": 200.0,
    "query": 60.0,
    "ensure_endpoint": 60.0,
}


class LocalClient:
    """One endpoint under ``home`` (``$DEPLOYER_HOME``). Every call opens and closes one connection."""

    def __init__(self, endpoint: str, home: Path) -> None:
        """Fix which endpoint; touches nothing.

        Raises:
            PlatformError: ``endpoint`` is not a valid name.
        """
        self.layout = Layout.of(home, endpoint)

    def exists(self) -> bool:
        """Whether the endpoint was ever created."""
        return self.layout.exists()

    def is_running(self) -> bool:
        """Whether a daemon serves it now."""
        return holder(self.layout.daemon_lock) is not None

    def call(self, op: str, **arguments: Any) -> Any:
        """Perform ``op`` on the endpoint; a daemon that should run and does not is started first.

        Raises:
            NotFoundError: the endpoint was never created.
            TransientError: no answer in time; what happened is unknown.
            DeployerError: what the daemon refused or failed with.
        """
        request = encode_request(op, arguments)
        timeout_s = _SLOW_S.get(op, _ANSWER_S)
        try:
            connection = self._connect()
        except OSError:
            if op != "ensure_endpoint" and not self.exists():
                raise NotFoundError(
                    f"there is no local endpoint {self.layout.endpoint} in {self.layout.root.parent}",
                    hint="Create it with `deployer rollout MANIFEST`, or set DEPLOYER_HOME.",
                ) from None
            connection = self.start()
        with connection:
            return decode_answer(_exchange(connection, request, timeout_s, op))

    def start(self) -> socket.socket:
        """Start keeper and daemon unless they run; a connection to the daemon.

        Raises:
            PlatformError: it does not start; the message holds its own.
            TransientError: not in time.
        """
        _check_host()
        self.layout.prepare()
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                return self._connect()
            if holder(self.layout.keeper_lock) is None and not self.is_running():
                self._start_keeper()
            pause(0.02)
        raise TransientError(
            f"the local platform for {self.layout.endpoint} did not start within {_START_S:g} s: {self._last_words()}",
            hint=f"Read {self.layout.log('daemon')}.",
        )

    def query(self, kql: str) -> dict[str, Any]:
        """Rows of a KQL query on the traffic log, as ``TrafficLog.query`` gives them."""
        return self.call("query", kql=kql)

    def counters(self) -> dict[str, Any]:
        """Envoy's own count of answers: ``epoch``, ``epoch_started_at``, ``at``, and ``answered`` by deployment."""
        return self.call("counters")

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(2.0)
            connection.connect(str(self.layout.control))
        except OSError:
            connection.close()
            raise
        return connection

    def _start_keeper(self) -> None:
        try:
            start_keeper(self.layout)
        except (OSError, subprocess.SubprocessError) as exc:
            raise TransientError(
                f"no process can be started for endpoint {self.layout.endpoint}: {exc}",
                hint="Check free memory and the number of processes, then repeat.",
            ) from exc
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                self._connect().close()
                return
            pause(0.02)
            if holder(self.layout.keeper_lock) is None and not self.is_running():
                raise PlatformError(
                    f"the local platform for {self.layout.endpoint} ended at once: {self._last_words()}",
                    hint=f"Read {self.layout.log('daemon')} and {self.layout.log('keeper')}.",
                )

    def _last_words(self) -> str:
        return read_tail([self.layout.log("daemon")], 1) or read_tail([self.layout.log("keeper")], 1) or "no output"


def _check_host() -> None:
    if sys.platform != "linux":
        raise PlatformError(
            f"the local platform does not run on {sys.platform}", hint="Run it on Linux, or in a container."
        )
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise PlatformError(
            f"the local platform needs {', '.join(missing)}, which is not installed",
            hint=how_to_install("local"),
        )


def _exchange(connection: socket.socket, request: bytes, timeout_s: float, op: str) -> bytes:
    deadline = time.monotonic() + timeout_s
    chunks: list[bytes] = []
    size = 0
    try:
        connection.sendall(request)
        while not chunks or not chunks[-1].endswith(b"\n"):
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            chunk = connection.recv(1 << 16)
            size += len(chunk)
            if not chunk or size > ANSWER_MAX:
                raise ConnectionError("it hung up" if not chunk else f"it sent more than {ANSWER_MAX} bytes")
            chunks.append(chunk)
    except OSError as exc:
        raise TransientError(
            f"the local platform gave no answer to {op}: {exc or 'time is up'}",
            hint="Observe before repeating: it may have been done.",
        ) from exc
    return b"".join(chunks)
