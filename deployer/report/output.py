"""Where a command's words go: people's on the terminal, one JSON document for machines, errors with their next step."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.text import Text

from deployer.errors import DeployerError, ExitCode
from deployer.manifest.problems import InvalidManifestError, Problem
from deployer.manifest.secrecy import record_without_secrets
from deployer.report.ci import Ci, Place, outputs_of, recognise
from deployer.report.groups import Groups
from deployer.report.harmless import plain, without_commands
from deployer.report.listeners import Lines, LiveTree, Many, Quiet
from deployer.report.problems import sentence

WIDTH = 120
"""Columns of a drawing that goes to a file or a pipe."""


class Output:
    """One command's output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a character that a terminal cannot show is no reason to fail
                stream.reconfigure(errors="replace")
        self._stdout = Unfailing(sys.stdout or io.StringIO())  # None: it was closed before the process began
        self.console = _console(self._stdout)
        self._stderr = Unfailing(sys.stderr or io.StringIO())
        self._errors = _console(self._stderr)
        self.ci = recognise()
        """The CI system that runs this command; None: a person, or one that we do not know."""

    @property
    def is_live(self) -> bool:
        """Stdout is a terminal that can be redrawn."""
        return self._stdout.isatty() and not self.console.is_dumb_terminal

    def listener(self) -> Quiet:
        """Choose how a running rollout is shown: a live tree on a terminal, lines elsewhere, nothing for JSON."""
        if self.as_json:
            return Quiet()
        if self.is_live:
            return LiveTree(self.console)
        lines = Lines(self.console)
        return lines if self.ci is None else Many(lines, Groups(self.ci, self._stdout.write))

    def result(self, record: Mapping[str, Any], text: str, style: str = "") -> None:
        """Print a command's result: ``record`` as the JSON document, or ``text``."""
        if self.as_json:
            self._stdout.write(document(record))
        else:
            self.console.print(Text(plain(text), style=style), soft_wrap=not self.is_live)
        self._finish()

    def say(self, text: str) -> None:
        """Print what comes before a result; nothing with JSON."""
        if not self.as_json:
            self.console.print(Text(plain(text)), soft_wrap=not self.is_live)

    def drawing(self, drawn: RenderableType) -> None:
        """Print something drawn: as wide as the terminal, WIDTH columns elsewhere."""
        if self._stdout.isatty():
            self.console.print(drawn)
        else:
            canvas = Console(file=io.StringIO(), width=max(WIDTH, self.console.width), highlight=False, emoji=False)
            with canvas.capture() as capture:
                canvas.print(drawn)
            lines = without_commands(capture.get()).removesuffix("\n").split("\n")  # it was wrapped after ``plain``
            self._stdout.write("".join(f"{line.rstrip()}\n" for line in lines))
        self._finish()

    def error(self, error: DeployerError) -> None:
        """Print what went wrong and what to do next; with JSON, as the document."""
        if self.as_json:
            self.result(error_record(error), "")
        self._complain("error", error.message, error.hint)
        if isinstance(error, InvalidManifestError):
            self.annotate_problems(error.problems)
        else:
            self.annotate("error", f"{error.message}\n{error.hint}")
        self.pass_on(outputs_of({"exit_code": error.exit_code}))

    def annotate_problems(self, problems: Sequence[Problem]) -> None:
        """Show on the CI system what is wrong with a manifest, at its place."""
        for one in problems:
            self.annotate("error", sentence(one), Place(one.file, one.line, one.column))

    def annotate(self, level: str, text: str, place: Place | None = None) -> None:
        """Show ``text`` on the CI system's page of the run; does nothing elsewhere."""
        if self.ci is not None:
            self._tell_ci(self.ci.complain(level, text, place))

    def pass_on(self, values: Mapping[str, str]) -> None:
        """Give later steps of the CI job ``values``; what fails is only said."""
        if self.ci is not None:
            self._tell_ci_by(lambda ci: ci.outputs(values), "outputs of this step")

    def summarise(self, markdown: str) -> None:
        """Add ``markdown`` to the CI system's page of the run; what fails is only said."""
        if self.ci is not None:
            self._tell_ci_by(lambda ci: ci.summary(markdown), "summary of this step")

    def _tell_ci_by(self, write: Callable[[Ci], str], what: str) -> None:
        try:
            self._tell_ci(write(self.ci) if self.ci is not None else "")
        except OSError as exc:
            self._complain("note", f"the {what} cannot be written: {exc}", "")

    def _tell_ci(self, text: str) -> None:
        """Print a command for the CI system, which reads both streams; stdout may be somebody's document."""
        self._stderr.write(text)
        self._stderr.flush()

    def bug(self, error: Exception) -> None:
        """Print an unexpected failure in one line."""
        hint = "check where traffic stands with `deployer status`; run again with --debug."
        if self.as_json:
            self.result({"error": {"message": repr(error), "hint": hint}, "exit_code": int(ExitCode.BUG)}, "")
        self._complain("bug", repr(error), hint)
        self.annotate("error", f"{error!r}\n{hint}")
        self.pass_on(outputs_of({"exit_code": ExitCode.BUG}))

    def _complain(self, kind: str, message: str, hint: str) -> None:
        self._errors.print(Text.assemble((f"{kind}: ", "bold red"), plain(message)), soft_wrap=True)
        if hint:
            self._errors.print(Text.assemble(("  next: ", "bold"), plain(hint)), soft_wrap=True)

    def _finish(self) -> None:
        """Say so when stdout did not take everything; the exit code stays, for it tells of the traffic."""
        self._stdout.flush()
        failure = self._stdout.failure
        if failure is not None and not isinstance(failure, BrokenPipeError):  # who reads no more wants no more
            self._complain("error", f"stdout took only a part: {failure}", "Free disk space; ask again with status.")


class Unfailing:
    """A text stream that goes silent when it breaks.

    Whoever reads the words of a rollout may leave (``| head``) and the disk of a log may be full: traffic comes first.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: Exception | None = None
        """What broke it; None: nothing so far."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, or nothing ever again."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, if there is anybody to flush to."""
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        """Whether it is a terminal that still takes words."""
        try:
            return self.failure is None and self._stream.isatty()
        except ValueError:
            return False

    def _try(self, call: Callable[[], object]) -> None:
        if self.failure is not None:
            return
        try:
            call()
        except (OSError, ValueError) as exc:  # ValueError: it is closed
            self.failure = exc
            with suppress(OSError, ValueError):  # what is still in its buffer must not fail at the end of the process
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def document(record: Mapping[str, Any]) -> str:
    """Write one JSON document: strict (no NaN), without secrets, and without what a CI system would take for a command.

    Source: as ``words.plain``; ``#`` stands in strings only, where it may be escaped.
    """
    return json.dumps(record_without_secrets(record), indent=2, allow_nan=False).replace("##", "#\\u0023") + "\n"


def error_record(error: DeployerError) -> dict[str, Any]:
    """Write an error as JSON-able data."""
    return {"error": {"message": error.message, "hint": error.hint}, "exit_code": int(error.exit_code)}


def _console(stream: Unfailing) -> Console:
    return Console(file=cast("TextIO", stream), highlight=False, emoji=False, markup=False)
