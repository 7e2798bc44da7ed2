"""The command line: parse, wire, call the engine once, exit with its code."""

from __future__ import annotations

import sys

from deployer.cli import gate, local, rollouts
from deployer.cli.base import app
from deployer.errors import DeployerError

__all__ = ["app", "gate", "local", "main", "rollouts"]


def main() -> None:
    """Run the command line."""
    try:
        app()
    except DeployerError as exc:  # only with --debug
        sys.excepthook(type(exc), exc, exc.__traceback__)
        sys.exit(int(exc.exit_code))
