"""The embedded platform as the command line sees it: start, stop and look at endpoints, whatever state they are in."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deployer.errors import DeployerError, PlatformError, UsageError
from deployer.local.client import LocalClient
from deployer.local.layout import Layout, read_endpoints, require
from deployer.local.logs import read_tail
from deployer.local.processes import end_leftovers, holder, is_alive, leftovers, pause

_POLITE_S, _FORCED_S = 15.0, 15.0


def up(home: Path, endpoint: str) -> dict[str, Any]:
    """Start an endpoint that exists, if it does not run; its status.

    Raises:
        UsageError: it was never created.
        PlatformError: it does not start.
    """
    client = LocalClient(endpoint, home)
    require(client.layout)
    return _status(client)


def down(home: Path, endpoint: str | None = None, *, forget: bool = False) -> list[str]:
    """End every process of ``endpoint``, or of all endpoints; return once they are gone. Idempotent.

    The endpoint stays recorded, and the next command that needs it starts it as it was.

    Args:
        home: ``$DEPLOYER_HOME``.
        endpoint: its name; None: all.
        forget: also remove what is recorded: deployments, traffic, telemetry. The endpoint is gone then.

    Returns:
        Names of the endpoints.

    Raises:
        UsageError: ``endpoint`` was never created.
        PlatformError: a process survived SIGKILL; the message names it.
    """
    layouts = read_endpoints(home) if endpoint is None else [LocalClient(endpoint, home).layout]
    for layout in layouts:
        if endpoint is not None:
            require(layout)
        _end(layout)
        if forget:
            _forget(layout)
    return [layout.endpoint for layout in layouts]


def status(home: Path) -> list[dict[str, Any]]:
    """Every endpoint ever created under ``home``: name, whether it runs, and what. Starts nothing."""
    found: list[dict[str, Any]] = []
    for layout in read_endpoints(home):
        client = LocalClient(layout.endpoint, home)
        entry: dict[str, Any] = {"endpoint": layout.endpoint, "state": str(layout.root), "running": client.is_running()}
        if entry["running"]:
            try:
                entry |= _status(client)
            except DeployerError as exc:
                entry["problem"] = exc.message
        found.append(entry)
    return found


def logs(home: Path, endpoint: str, *, part: str | None = None, lines: int = 100) -> str:
    """The last lines of the logs of ``endpoint``: of one part (``daemon``, ``envoy``, ``blue-0``), or of all.

    Raises:
        UsageError: the endpoint was never created, or has no such part.
    """
    layout = LocalClient(endpoint, home).layout
    require(layout)
    there = {path.stem: path for path in sorted(layout.logs.glob("*.log"))}
    if part is not None and part not in there:
        raise UsageError(
            f"endpoint {endpoint} has no log of {part!r}", hint=f"Use one of: {', '.join(there) or 'none yet'}."
        )
    return read_tail([there[part]] if part is not None else list(there.values()), lines)


def _status(client: LocalClient) -> dict[str, Any]:
    found: dict[str, Any] = client.call("status")
    return {**found, "keeper_pid": holder(client.layout.keeper_lock)}


def _end(layout: Layout) -> None:
    """Ask, then terminate, then kill."""
    client = LocalClient(layout.endpoint, layout.root.parent.parent)
    there = leftovers(layout.root)
    if client.is_running():
        with suppress(DeployerError):
            client.call("shutdown")
        _wait(layout, _POLITE_S)
    for lock in (layout.keeper_lock, layout.daemon_lock):  # the keeper first, or it would start the daemon again
        pid = holder(lock)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _wait_gone([pid])
    left = end_leftovers(layout.root, known=there, timeout_s=_FORCED_S)
    left += [pid for pid in map(holder, (layout.keeper_lock, layout.daemon_lock)) if pid is not None]
    if left:
        raise PlatformError(
            f"processes {', '.join(map(str, left))} of endpoint {layout.endpoint} do not end", hint="End them by hand."
        )


def _wait(layout: Layout, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not any(map(holder, (layout.keeper_lock, layout.daemon_lock))) and not leftovers(layout.root):
            return
        pause(0.02)


def _wait_gone(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + _FORCED_S
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        pause(0.02)


def _forget(layout: Layout) -> None:
    run = layout.run
    if run != layout.root / "run":
        shutil.rmtree(run, ignore_errors=True)
    layout.record.unlink(missing_ok=True)  # first: without it the endpoint does not exist
    shutil.rmtree(layout.root, ignore_errors=True)
