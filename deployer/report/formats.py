"""Reports in files: the end of a file's name says which form is written, of every command alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deployer.errors import UsageError
from deployer.report.output import document

Write = Callable[[Mapping[str, Any]], str]


def formats(page: Write, junit: Write, markdown: Write) -> Mapping[str, Write]:
    """How a record is written, by the end of its file's name."""
    return {".html": page, ".json": document, ".xml": junit, ".md": markdown}


def format_of(path: Path, known: Mapping[str, Write]) -> Write:
    """How the report at ``path`` is written.

    Raises:
        UsageError: the end of its name is unknown.
    """
    found = known.get(path.suffix)
    if found is None:
        raise UsageError(f"--report {path}: unknown format", hint=f"Let its name end in {', '.join(known)}.")
    return found
