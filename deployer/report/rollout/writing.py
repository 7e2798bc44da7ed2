"""The evidence of a rollout written to a file, in the format asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployer.errors import StoreError
from deployer.report.output import document
from deployer.report.rollout.junit import junit_of
from deployer.report.rollout.page import page_of
from deployer.report.rollout.text import markdown_of

MAKERS = {"html": page_of, "json": document, "junit": junit_of, "markdown": markdown_of}


def write(record: Mapping[str, Any], form: str, path: Path) -> str:
    """Write ``record`` as ``form`` to ``path`` (``-``: standard output); return what to say.

    Raises:
        StoreError: the file cannot be written.
    """
    text = MAKERS[form](record)
    if str(path) == "-":
        sys.stdout.write(text)
        return record["headline"] if sys.stdout.isatty() else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise StoreError(f"cannot write {path}: {exc.strerror or exc}", hint="Give another file: --output.") from exc
    return f"{record['headline']}\nreport: {path}"
