"""Where a command's words go: people's on the terminal, one JSON document for machines, errors with their next step."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.text import Text

from deployer.errors import DeployerError, ExitCode
from deployer.report.listeners import Lines, LiveTree, Quiet
from deployer.report.words import plain

WIDTH = 120
"""Columns of a drawing that goes to a file or a pipe."""


class Output:
    """One command's output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a character that a terminal cannot show is no reason to fail
                stream.reconfigure(errors="replace")
        self.console = _console(sys.stdout)
        self._errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

    @property
    def is_live(self) -> bool:
        """Stdout is a terminal that can be redrawn."""
        return sys.stdout.isatty() and not self.console.is_dumb_terminal

    def listener(self) -> Quiet:
        """Choose how a running rollout is shown: a live tree on a terminal, lines elsewhere, nothing for JSON."""
        if self.as_json:
            return Quiet()
        console = _console(cast("TextIO", Unfailing(sys.stdout)))
        return LiveTree(console) if self.is_live else Lines(console)

    def result(self, record: Mapping[str, Any], text: str, style: str = "") -> None:
        """Print a command's result: ``record`` as the JSON document, or ``text``."""
        if self.as_json:
            sys.stdout.write(document(record))
        else:
            self.console.print(Text(plain(text), style=style), soft_wrap=not self.is_live)

    def drawing(self, drawn: RenderableType) -> None:
        """Print something drawn: as wide as the terminal, WIDTH columns elsewhere."""
        if sys.stdout.isatty():
            self.console.print(drawn)
            return
        with self.console.capture() as capture:
            self.console.print(drawn, width=max(WIDTH, self.console.width))
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))

    def error(self, error: DeployerError) -> None:
        """Print what went wrong and what to do next; with JSON, as the document."""
        if self.as_json:
            self.result(error_record(error), "")
        self._errors.print(Text.assemble(("error: ", "bold red"), plain(error.message)))
        if error.hint:
            self._errors.print(Text.assemble(("  next: ", "bold"), plain(error.hint)))

    def bug(self, error: Exception) -> None:
        """Print an unexpected failure in one line."""
        hint = "check where traffic stands with `deployer status`; run again with --debug."
        if self.as_json:
            self.result({"error": {"message": repr(error), "hint": hint}, "exit_code": int(ExitCode.BUG)}, "")
        self._errors.print(Text.assemble(("bug: ", "bold red"), plain(repr(error))))
        self._errors.print(Text.assemble(("  next: ", "bold"), hint))


class Unfailing:
    """A text stream that goes silent when it breaks.

    Whoever reads the words of a rollout may leave (``| head``) and the disk of a log may be full: traffic comes first.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, or nothing ever again."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, if there is anybody to flush to."""
        self._try(self._stream.flush)

    def _try(self, call: Callable[[], object]) -> None:
        if self._is_broken:
            return
        try:
            call()
        except (OSError, ValueError):  # ValueError: it is closed
            self._is_broken = True
            with suppress(OSError, ValueError):  # what is still in its buffer must not fail at the end of the process
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def document(record: Mapping[str, Any]) -> str:
    """Write one JSON document: strict (no NaN), and without what a CI system would take for a command.

    Source: as ``words.plain``; ``#`` stands in strings only, where it may be escaped.
    """
    return json.dumps(record, indent=2, allow_nan=False).replace("##", "#\\u0023") + "\n"


def error_record(error: DeployerError) -> dict[str, Any]:
    """Write an error as JSON-able data."""
    return {"error": {"message": error.message, "hint": error.hint}, "exit_code": int(error.exit_code)}


def _console(stream: TextIO) -> Console:
    return Console(file=stream, highlight=False, emoji=False, markup=False)
