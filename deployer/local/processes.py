"""Which processes belong to an endpoint, and how to end them for certain.

Every process that the daemon starts carries the endpoint's state directory in its environment (``MARK``), and its
children inherit it, so that leftovers are found whatever killed the daemon. Keeper and daemon are found by the lock
they hold. Must never touch a process that carries neither.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

MARK = "DEPLOYER_LOCAL_STATE"

_INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONPATH")
_FLOCK = "hhqqi4x"  # struct flock on 64-bit Linux: type, whence, start, len, pid


def clean_environment() -> dict[str, str]:
    """The part of this process's environment that is safe to hand on: where programs are, never secrets."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {"PYTHONUNBUFFERED": "1"}


def take_lock(path: Path) -> int | None:
    """Lock ``path`` for the life of this process; the descriptor, or None when another process holds it.

    The lock ends with the process, however that ends. Open ``path`` only once: closing any descriptor of it unlocks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def holder(path: Path) -> int | None:
    """Process id of whoever holds the lock on ``path`` now; None when nobody does. Takes nothing.

    Never for a lock of this very process: reading would end it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else pid


def leftovers(root: Path) -> list[int]:
    """Processes that a daemon of ``root`` started, or that their children started, and that still run."""
    mark = f"{MARK}={root}".encode()
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and mark in _environment(pid) and is_alive(pid)]


def _environment(pid: int) -> list[bytes]:
    """The environment ``pid`` was started with; empty when it is ending, or belongs to somebody else."""
    try:
        return Path("/proc", str(pid), "environ").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process of that id runs (a zombie does not)."""
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def end_leftovers(root: Path, *, known: Iterable[int] = (), timeout_s: float = 5.0) -> list[int]:
    """Kill what is left of ``root``'s processes; those that are not gone after ``timeout_s``.

    Args:
        root: the state directory.
        known: leftovers found a moment ago: one that is dying has no environment to be found by any more.
        timeout_s: how long to wait for their end.
    """
    deadline = time.monotonic() + timeout_s
    left = set(known)
    while True:
        found = set(leftovers(root))
        left = found | {pid for pid in left if is_alive(pid) and not _environment(pid)}
        if not left or time.monotonic() > deadline:
            return sorted(left)
        for pid in found:  # never one that is only known: its number may be a stranger's by now
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        left |= found
        pause(0.02)


def pause(seconds: float) -> None:
    """Wait. The only place in this program that blocks on time alone; the daemon itself waits on its event loop."""
    select.select([], [], [], seconds)


def utc_now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")  # noqa: TID251  # a program of its own: no Clock here
