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

PANELS = {
    "Roll out, and back": [
        "rollout",
        "validate",
        "plan",
        "status",
        "promote",
        "pause",
        "resume",
        "abort",
        "rollback",
        "recover",
    ],
    "See what happened": ["history", "report", "explain", "dashboard"],
    "Measure and size": ["loadtest", "profile", "gate"],
    "Surroundings": ["doctor", "gc", "local"],
}
"""Commands as ``--help`` shows them: by what people are about to do, the most usual first."""


def _arrange() -> None:
    order = [name for names in PANELS.values() for name in names]
    panels = {name: panel for panel, names in PANELS.items() for name in names}
    for command in app.registered_commands:
        command.name = command.name or getattr(command.callback, "__name__", "")
        command.rich_help_panel = panels.get(command.name, "Others")
    for group in app.registered_groups:
        group.rich_help_panel = panels[group.name or ""]
    app.registered_commands.sort(key=lambda command: order.index(command.name or ""))


_arrange()


def main() -> None:
    """Run the command line."""
    gc.set_threshold(100_000)  # starting up makes many objects and no garbage
    try:
        app()
    except SystemExit as exc:
        if usage_problem(exc.code) and "--json" in sys.argv:
            error = {"message": "usage: see standard error", "hint": "See `deployer COMMAND --help`."}
            sys.stdout.write(json.dumps({"error": error, "exit_code": exc.code}) + "\n")
        raise
