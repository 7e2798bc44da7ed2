"""Where a command's words go: people's on the terminal, one JSON document for machines, errors with their next step."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from deployer.errors import DeployerError, ExitCode
from deployer.report.listeners import Lines, LiveTree, Quiet
from deployer.report.words import plain


class Output:
    """One command's output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def listener(self) -> Quiet:
        """Choose how a running rollout is shown: a live tree on a terminal, lines elsewhere, nothing for JSON."""
        if self.as_json:
            return Quiet()
        return LiveTree(self.console) if self.console.is_terminal else Lines(self.console)

    def result(self, record: Mapping[str, Any], text: str, style: str = "") -> None:
        """Print a command's result: ``record`` as the JSON document, or ``text``."""
        if self.as_json:
            sys.stdout.write(json.dumps(record, indent=2, allow_nan=False) + "\n")
        else:
            self.console.print(Text(plain(text), style=style))

    def error(self, error: DeployerError) -> None:
        """Print what went wrong and what to do next; with JSON, as the document."""
        if self.as_json:
            self.result(error_record(error), "")
        self._errors.print(Text.assemble(("error: ", "bold red"), plain(error.message)))
        if error.hint:
            self._errors.print(Text.assemble(("  next: ", "bold"), plain(error.hint)))

    def bug(self, error: Exception) -> None:
        """Print an unexpected failure in one line."""
        if self.as_json:
            self.result({"error": {"message": repr(error)}, "exit_code": int(ExitCode.BUG)}, "")
        self._errors.print(Text.assemble(("bug: ", "bold red"), plain(repr(error))))
        self._errors.print("  next: check where traffic stands with `deployer status`; run again with --debug.")


def error_record(error: DeployerError) -> dict[str, Any]:
    """Write an error as JSON-able data."""
    return {"error": {"message": error.message, "hint": error.hint}, "exit_code": int(error.exit_code)}
