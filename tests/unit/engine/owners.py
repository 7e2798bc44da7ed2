"""Owners of a lease: a process of this machine that lives, one that died, and one elsewhere."""

from __future__ import annotations

import subprocess
import sys

import psutil

from deployer.engine.lease import this_host

ELSEWHERE = "elsewhere/1/1"


def owner_of(pid: int) -> str:
    return f"{this_host()}/{pid}/{int(psutil.Process(pid).create_time() * 1000)}"


def living() -> str:
    """The parent of this process: it lives as long as we do."""
    parent = psutil.Process().parent()
    assert parent is not None
    return owner_of(parent.pid)


def dead() -> str:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    owner = owner_of(process.pid)
    process.communicate()
    return owner
