"""The evidence of a rollout written to a file, in the format asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployer.report.output import document
from deployer.report.rollout.junit import junit_of
from deployer.report.rollout.page import page_of
from deployer.report.rollout.text import markdown_of
from deployer.writing import SHARED, write_whole

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
    write_whole(path, text, mode=SHARED, hint="Give another file: --output.")
    return f"{record['headline']}\nreport: {path}"
