"""Tie a process to the life of its parent: start a program that the kernel kills when the parent dies.

Run as a script (``python -I -S tether.py PARENT_PID PROGRAM ARG...``), and read by gunicorn as its configuration file,
because the workers that gunicorn forks must be tied to it too: an idle worker notices a killed master only after
minutes, a busy one never. Must never import anything outside the standard library.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import Any

LOADED = "DEPLOYER_LOCAL_LOADED"
"""Variable that holds the descriptor on which workers report."""

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel send SIGKILL to this process when its parent dies (Linux, prctl(2)).

    The tie outlives ``execve``. If the parent, whose process id is ``parent``, is dead already, end at once.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)


def post_fork(_server: Any, worker: Any) -> None:
    """Tie a gunicorn worker to its master (called by gunicorn)."""
    die_with(worker.ppid)


def post_worker_init(_worker: Any) -> None:
    """Tell the daemon that one more worker has loaded its model (called by gunicorn)."""
    os.write(int(os.environ[LOADED]), b".")


def main() -> None:
    """Tie this process to its parent, forbid core dumps (they hold keys), and become the program."""
    die_with(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # the program is chosen by the daemon


if __name__ == "__main__":
    main()
