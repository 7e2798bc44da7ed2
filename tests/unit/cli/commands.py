"""The commands as users start them, in this process or in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.main
from typer.testing import CliRunner, Result

from deployer.cli import app

ROOT = Path(__file__).parents[3]
LOCAL = ROOT / "manifests" / "local"
QUICKSTART = str(LOCAL / "quickstart.yaml")
WIDTH = "100"


def named() -> Iterator[tuple[str, typer.main.TyperCommand]]:
    """Every command with its name, as ``local up``; groups are left out."""
    pending = [("", typer.main.get_command(app))]
    while pending:
        name, command = pending.pop()
        if commands := getattr(command, "commands", None):
            pending += [(f"{name} {part}".strip(), sub) for part, sub in commands.items()]
        else:
            yield name, command  # type: ignore[misc]


COMMANDS = dict(sorted(named()))


def call(*arguments: str, stdin: str | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner(env={"COLUMNS": WIDTH, "TERM": "dumb"}).invoke(
        app, list(arguments), input=stdin, prog_name="deployer"
    )


def start(*arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "deployer", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": WIDTH},
    )
