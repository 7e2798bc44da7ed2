"""Logs of processes: read from their end, and kept small."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

LOG_MAX = 8 << 20
"""Bytes of one log before it is cut."""

_TAIL_BYTES = 1 << 20
_FILES_MAX = 60


def read_tail(paths: Sequence[Path], lines: int) -> str:
    """The last ``lines`` lines of each file, with a heading when there are several; empty when there is nothing."""
    parts: list[str] = []
    for path in paths:
        text = "\n".join(_last_lines(path, lines))
        if text:
            parts.append(f"==> {path.stem} <==\n{text}" if len(paths) > 1 else text)
    return "\n".join(parts)


def _last_lines(path: Path, lines: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:] if lines > 0 else []
    except OSError:
        return []


def cap_logs(directory: Path) -> None:
    """Cut every log over ``LOG_MAX`` (its last part is kept beside it) and forget the oldest files beyond a number.

    The processes keep their files open for appending, so they go on at the new end. Lines written during the cut may
    be lost: these are logs for people, the gate reads others.
    """
    files = [path for path in directory.iterdir() if path.is_file()]
    for path in files:
        with suppress(OSError):
            if path.suffix == ".log" and path.stat().st_size > LOG_MAX:
                with path.open("rb") as source, path.with_suffix(".log.1").open("wb") as target:
                    source.seek(-_TAIL_BYTES, os.SEEK_END)
                    shutil.copyfileobj(source, target)
                os.truncate(path, 0)
    with suppress(OSError):
        files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[_FILES_MAX:]:
        path.unlink(missing_ok=True)
