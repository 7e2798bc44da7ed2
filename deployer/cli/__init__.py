"""The command line: parse, wire, call the engine once, exit with its code."""

from __future__ import annotations

import gc
import json
import sys

from deployer.cli import dashboard, evidence, gate, inspections, loadtest, local, profile, recover, rollouts
from deployer.cli.base import app, usage_problem

__all__ = [
    "app",
    "dashboard",
    "evidence",
    "gate",
    "inspections",
    "loadtest",
    "local",
    "main",
    "profile",
    "recover",
    "rollouts",
]


def main() -> None:
    """Run the command line."""
    gc.set_threshold(100_000)  # starting up makes many objects and no garbage
    try:
        app()
    except SystemExit as exc:
        if usage_problem(exc.code) and "--json" in sys.argv:
            sys.stdout.write(
                json.dumps({"error": {"message": "usage: see standard error"}, "exit_code": exc.code}) + "\n"
            )
        raise
