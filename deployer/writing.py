"""Files written whole or not at all: what a reader finds is the old content or the new one, never a part."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from deployer.errors import StoreError

PRIVATE = 0o600
SHARED = 0o644
"""For a file that somebody names: others may read it, as far as the umask lets them."""


def write_whole(path: Path, content: str | bytes, *, mode: int = PRIVATE, hint: str) -> None:
    """Write ``content`` to ``path``; missing folders are made.

    A link leads to its file still, and what is no file (a pipe, a terminal) is written to.

    Args:
        path: where.
        content: text is written as UTF-8, with the line ends that it has.
        mode: of a file that is new, less the umask; one that exists keeps its own.
        hint: what to do when it cannot be written.

    Raises:
        StoreError: it cannot be written. What was there is there.
    """
    raw = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(raw)
            return
        target = path.resolve()
        _make_folder(target, mode)
        _replace(target, raw, target.stat().st_mode & 0o777 if target.exists() else None, mode)
    except (OSError, RuntimeError) as exc:  # RuntimeError: a circle of links, before Python 3.13
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise StoreError(f"cannot write {path}: {why}", hint=hint) from exc


def require_writable(path: Path, *, mode: int = PRIVATE, hint: str) -> None:
    """Refuse a place to which ``write_whole`` could not write, before what is to be written is paid for.

    Makes missing folders, and for a moment a file beside it.

    Raises:
        StoreError: it could not; why.
    """
    try:
        if path.exists() and not path.is_file():
            why = "it is a folder" if path.is_dir() else None
        else:
            _make_folder(path.resolve(), mode)
            with tempfile.NamedTemporaryFile(dir=path.resolve().parent):
                why = None
    except (OSError, RuntimeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    if why is not None:
        raise StoreError(f"cannot write {path}: {why}", hint=hint)


def _make_folder(target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=mode | (mode & 0o444) >> 2)  # who reads may enter


def _replace(target: Path, raw: bytes, kept_mode: int | None, mode: int) -> None:
    fresh = target.with_name(f".{secrets.token_hex(8)}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(raw)
        if kept_mode is not None:
            fresh.chmod(kept_mode)
        fresh.replace(target)
    except BaseException:  # an interrupt, too, leaves nothing behind
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
