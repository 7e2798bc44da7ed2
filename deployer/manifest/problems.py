"""What is wrong with a manifest and where: the one form in which every check of this package reports.

User text enters a message only through ``shown``: short, and without control characters that a terminal would obey.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

from deployer.errors import ManifestError

MAX_PROBLEMS = 100
"""Most problems that one check of one document reports: nobody reads more, and none is forgotten by the next run."""

_SHOWN_MAX = 60
_LISTED_MAX = 15


KeyPath = tuple[str | int, ...]
"""Keys and indices from the top of a document: ``("strategy", "canary", "steps", 0, "weight")``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found in plain data; ``Document.problem`` says where in the file that is."""

    path: KeyPath
    message: str
    hint: str = ""
    key: bool = False
    """It is the key that is wrong, not its value."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to correct. ``line`` and ``column`` count from 1, in characters."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    """What to write instead; empty when the message says it all."""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}{f' ({self.hint})' if self.hint else ''}"
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class InvalidManifestError(ManifestError):
    """The manifest or a file it names is wrong; ``problems`` holds all that was found, at least one."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)), hint="Correct the places named and run again.")


class FieldError(ValueError):
    """A value that a model refuses: why, what to write instead, and where below the value (``at``) the cause stands."""

    def __init__(self, message: str, *, hint: str = "", at: KeyPath = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.at = at


class Expanded(str):
    """Text that holds the values of environment variables; a message quotes what was written, never the values."""

    __slots__ = ("written",)

    written: str

    def __new__(cls, value: str, written: str) -> Self:
        """Make the text ``value``, which the manifest has as ``written``."""
        text = super().__new__(cls, value)
        text.written = written
        return text


def shown(value: object) -> str:
    """``value`` as a message quotes it: YAML's words for true, false and null, at most about 60 characters."""
    if isinstance(value, Expanded):
        value = value.written
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    quote = "'" if isinstance(value, str) else ""
    text = repr(value[: _SHOWN_MAX + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_MAX + 2 else f"{text[:_SHOWN_MAX]}...{quote}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The hint for a misspelt ``word``: the nearest of ``known``, else all of them if they are few."""
    options = sorted(set(known))
    lowered = {option.lower(): option for option in options}
    near = get_close_matches(word[:_SHOWN_MAX].lower(), lowered, n=1, cutoff=0.6)
    if near:
        return f"did you mean {lowered[near[0]]}?"
    return f"known: {', '.join(options)}" if 0 < len(options) <= _LISTED_MAX else ""


def dotted(path: KeyPath) -> str:
    """``path`` as people write it: ``strategy.canary.steps[0].weight``; unusual keys are quoted."""
    text = ""
    for step in path:
        plain = step if isinstance(step, str) and step.isidentifier() else shown(step)
        text += f"[{step}]" if isinstance(step, int) else f".{plain}"
    return text.removeprefix(".")
