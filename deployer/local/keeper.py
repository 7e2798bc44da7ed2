"""The keeper: a tiny process that starts the daemon and starts it again when it dies.

Daemon and keeper hold the two ends of a socket pair. When one dies the other reads the end of file, whatever the
cause, and starts a new one; only both dying at once ends the endpoint, and then the kernel ends everything that the
daemon started (``tether.py``). Imports as little as it can: it must outlive all mistakes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from deployer.local.layout import Layout, open_log
from deployer.local.processes import clean_environment, pause, take_lock

QUIT = b"q"
"""What the daemon sends before it ends on purpose."""

_DEATHS_MAX, _DEATHS_WINDOW_S = 10, 60.0
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.1, 5.0
_START_S = 20.0


def main(arguments: list[str]) -> int:
    """Keep the daemon of the state directory ``arguments[0]``; adopt a running one if its socket and pid follow."""
    layout = Layout(Path(arguments[0]))
    locked, lock = os.pipe()
    if os.fork():
        os.close(lock)
        os.read(locked, 1)  # whoever started us need not wait for us, but should find the lock held
        return 0
    os.setsid()
    if take_lock(layout.keeper_lock) is None:
        return 0
    os.close(lock)
    if len(arguments) == 3:
        return _Keeper(layout).keep(socket.socket(fileno=int(arguments[1])), int(arguments[2]))
    return _Keeper(layout).keep(None, 0)


class _Keeper:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._daemon: subprocess.Popen[bytes] | None = None
        self._pid = 0
        signal.signal(signal.SIGTERM, self._pass_on)
        signal.signal(signal.SIGINT, self._pass_on)

    def keep(self, channel: socket.socket | None, pid: int) -> int:
        """Watch one daemon after the other until one ends on purpose; the exit code."""
        self._pid = pid
        deaths: deque[float] = deque(maxlen=_DEATHS_MAX)
        while True:
            with channel or self._start() as current:
                ended_on_purpose = current.recv(1) == QUIT
            channel = None
            if self._daemon is not None:
                self._daemon.wait()
            if ended_on_purpose:
                return 0
            deaths.append(time.monotonic())
            recent = [at for at in deaths if deaths[-1] - at < _DEATHS_WINDOW_S]
            if len(recent) == _DEATHS_MAX:
                sys.stderr.write(f"the daemon died {_DEATHS_MAX} times within {_DEATHS_WINDOW_S:g} s: giving up\n")
                return 1
            pause(min(_PAUSE_MIN_S * 2 ** (len(recent) - 1), _PAUSE_MAX_S))

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs, open_log(self._layout.log("daemon")) as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-P", "-m", "deployer.local.daemon", str(self._layout.root), str(theirs.fileno())],
                cwd="/",
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        self._pid = self._daemon.pid
        return ours

    def _pass_on(self, number: int, _frame: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)


def start_keeper(layout: Layout, channel: socket.socket | None = None) -> None:
    """Start a keeper that outlives this process; with ``channel``, one that adopts this process as its daemon."""
    adopted = [] if channel is None else [str(channel.fileno()), str(os.getpid())]
    with open_log(layout.log("keeper")) as log:
        starter = subprocess.Popen(
            [sys.executable, "-P", "-m", "deployer.local.keeper", str(layout.root), *adopted],
            cwd="/",
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[] if channel is None else [channel.fileno()],
        )
    starter.wait(_START_S)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
