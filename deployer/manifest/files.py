"""The world as a manifest sees it: files below a directory, reached through a port, never outside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from deployer.manifest.problems import FieldError, shown

MAX_FILES = 10_000
"""Most files in a code or model directory: beyond it, the path points at the wrong place."""


class FileReader(Protocol):
    """Reads files. Nothing is written, nothing is followed that ``real`` did not resolve."""

    def real(self, path: Path) -> Path | None:
        """The absolute path with all symbolic links followed; None when nothing is there (or a link leads nowhere)."""
        ...

    def is_file(self, path: Path) -> bool:
        """Whether ``path`` is a regular file: no device, pipe or socket, which may block for ever."""
        ...

    def is_dir(self, path: Path) -> bool:
        """Whether ``path`` is a directory."""
        ...

    def names(self, directory: Path) -> Sequence[str]:
        """Names of the entries of ``directory``, sorted.

        Raises:
            OSError: it cannot be listed.
        """
        ...

    def chunks(self, path: Path) -> Iterator[bytes]:
        """Content of the file in pieces of at most 1 MiB.

        Raises:
            OSError: it cannot be read.
        """
        ...


def project_root(files: FileReader, directory: Path) -> Path:
    """Nearest of ``directory`` and its ancestors that contains ``.git`` (in a worktree a file), else ``directory``."""
    for each in (directory, *directory.parents):
        if files.real(each / ".git") is not None:
            return each
    return directory


def locate(files: FileReader, base: Path, written: str, within: Path) -> Path:
    """Find what ``written``, a path relative to ``base``, names; all symbolic links followed.

    Args:
        files: the port.
        base: a real directory.
        written: as the user wrote it.
        within: the real directory that the result must not leave.

    Raises:
        FieldError: absolute, empty, outside, or nothing there.
    """
    if not written or PurePosixPath(written).is_absolute() or PureWindowsPath(written).drive:
        raise FieldError(f"{shown(written)} is not a relative path", hint="write it relative to this file")
    return _inside(files, base / written, written, within)


def _inside(files: FileReader, path: Path, written: str, within: Path) -> Path:
    found = files.real(path)
    if found is None:
        raise FieldError(f"{shown(written)} does not exist", hint=_neighbour(files, path, within))
    if not found.is_relative_to(within):
        hint = "move it there, or copy it; links that lead outside are not followed"
        raise FieldError(f"{shown(written)} leads out of {within.name or within}/", hint=hint)
    return found


def read(files: FileReader, path: Path, limit: int) -> bytes:
    """Read the regular file ``path``, found by ``locate``.

    Raises:
        FieldError: no regular file, over ``limit`` bytes, or unreadable.
    """
    if not files.is_file(path):
        raise FieldError(f"{shown(path.name)} is not a file")
    data = b""
    try:
        for chunk in files.chunks(path):
            data += chunk
            if len(data) > limit:
                raise FieldError(f"{shown(path.name)} is larger than {limit // 1024} KiB")
    except OSError as exc:
        raise FieldError(f"{shown(path.name)} cannot be read: {exc.strerror}") from exc
    return data


def fingerprint(files: FileReader, path: Path, within: Path) -> str:
    """Hex SHA-256 of a file, or of a directory: sorted relative paths and contents of all that is below it.

    ``__pycache__`` and directories whose name starts with a dot are left out. Ignore files (.amlignore, .gitignore) are
    not interpreted: a change in an ignored file makes a new digest, which costs a deployment and risks nothing.

    Raises:
        FieldError: a link leads out of ``within`` or into itself, a special file, over ``MAX_FILES``, or unreadable.
    """
    total = hashlib.sha256()
    try:
        for count, (name, file) in enumerate(_below(files, path, within, PurePosixPath(), (path,))):
            if count >= MAX_FILES:
                raise FieldError(f"{shown(path.name)} holds over {MAX_FILES} files", hint="name a smaller directory")
            content = hashlib.sha256()
            for chunk in files.chunks(file):
                content.update(chunk)
            total.update(f"{name}\0{content.hexdigest()}\n".encode("utf-8", "surrogateescape"))
    except OSError as exc:
        raise FieldError(f"{shown(path.name)} cannot be read: {exc.strerror}") from exc
    return total.hexdigest()


def _below(
    files: FileReader, path: Path, within: Path, name: PurePosixPath, above: tuple[Path, ...]
) -> Iterator[tuple[PurePosixPath, Path]]:
    """Relative name and real path of every file; ``above`` are the directories on the way, to notice a cycle."""
    if files.is_file(path):
        yield name, path
    elif not files.is_dir(path):
        raise FieldError(f"{shown(str(name))} is neither a file nor a directory", hint="remove it")
    else:
        for entry in files.names(path):
            if (entry == "__pycache__" or entry.startswith(".")) and files.is_dir(path / entry):
                continue
            found = _inside(files, path / entry, str(name / entry), within)
            if found in above:
                raise FieldError(f"{shown(str(name / entry))} is a link to a directory above it", hint="remove it")
            yield from _below(files, found, within, name / entry, (*above, found))


def _neighbour(files: FileReader, missing: Path, within: Path) -> str:
    """A hint that names what is like ``missing`` in the same directory."""
    near: list[str] = []
    directory = files.real(missing.parent)
    if directory is not None and directory.is_relative_to(within) and files.is_dir(directory):
        with suppress(OSError):
            near = get_close_matches(missing.name, files.names(directory), n=1)
    return f"did you mean {shown(near[0])}?" if near else "create it, or correct the path"
