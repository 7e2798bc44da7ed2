"""Reading a growing, rotated log so that each whole line is handed over once, whatever dies in between.

The reader keeps no progress of its own: ``read`` says where its piece ends, the caller stores that position together
with what it made of the lines, and only then calls ``advance``. It writes nothing and never waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PIECE_BYTES = 4 << 20
"""Most bytes of one piece; a line is never longer (Envoy takes headers up to 60 KiB)."""

QUIET_S = 1.0
"""After a rotation the writer goes on in the renamed file for a moment; after this long without a line it is done."""

_MARK_BYTES = 512
"""About a line, so that the request's id is in it: ends of lines are alike."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has been read: enough to find the file again after a rotation and a restart."""

    inode: int
    offset: int
    mark: bytes
    """The last bytes before ``offset``: file systems give the number of a deleted file to the next one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What ``read`` found."""

    lines: bytes
    """Whole lines; empty when there is nothing new."""
    position: Position | None
    """Where to go on. The same as before: nothing changed."""
    lost: str | None = None
    """What can no longer be read, in one line."""
    waiting: str | None = None
    """Why there may be more that cannot be read yet; None with no new lines: all that was written has been read."""


class Tail:
    """The whole lines of one log and of its predecessor ``<name>.1``."""

    def __init__(self, path: Path, position: Position | None, monotonic: Callable[[], float]) -> None:
        self.path = path
        self.position = position
        self._monotonic = monotonic
        self._file: int | None = None
        self._quiet_since: float | None = None

    def read(self) -> Piece:
        """Read the next piece; the same one again until ``advance``.

        Raises:
            OSError: the log exists and cannot be read.
        """
        here = self.position
        if self._file is None or here is None:
            return self._find()
        found = _from(self._file, here)
        if found is None:
            lost = f"{self.path.name} was cut short: what had not been read of it is lost"
            return Piece(b"", Position(here.inode, 0, b""), lost=lost)
        whole = found if len(found) == PIECE_BYTES and b"\n" not in found else found[: found.rfind(b"\n") + 1]
        if whole:
            self._quiet_since = None
            return Piece(whole, Position(here.inode, here.offset + len(whole), whole[-_MARK_BYTES:]))
        return self._at_the_end(here, torn=bool(found))

    def advance(self, position: Position | None) -> None:
        """Go on from ``position``, which ``read`` gave and which is now stored."""
        if position is None or self.position is None or position.inode != self.position.inode:
            self.close()
        self.position = position

    def close(self) -> None:
        """Give the file back; ``read`` opens it again."""
        if self._file is not None:
            os.close(self._file)
        self._file = self._quiet_since = None

    def _find(self) -> Piece:
        """Open the file that the position means, or say from which file to start instead."""
        here, rotated = self.position, self.path.with_name(self.path.name + ".1")
        for path in (self.path, rotated):
            if here is not None and self._opens(path, here):
                return self.read()
        first = _inode(rotated) if here is None else None
        start = first if first is not None else _inode(self.path)
        if start is None:
            return Piece(b"", here, waiting=f"{self.path} does not exist")
        lost = None if here is None else f"{self.path.name} was replaced: what had not been read of the old one is lost"
        return Piece(b"", Position(start, 0, b""), lost=lost)

    def _opens(self, path: Path, here: Position) -> bool:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if os.fstat(file).st_ino != here.inode or _from(file, here) is None:
            os.close(file)
            return False
        self._file = file
        return True

    def _at_the_end(self, here: Position, *, torn: bool) -> Piece:
        current = _inode(self.path)
        if current == here.inode:
            waiting = f"the last line of {self.path} is not finished" if torn else None
            return Piece(b"", here, waiting=waiting)
        now = self._monotonic()
        self._quiet_since = now if self._quiet_since is None else self._quiet_since
        if current is None:
            return Piece(b"", here, waiting=f"{self.path} does not exist")
        if now - self._quiet_since < QUIET_S:
            return Piece(b"", here, waiting=f"{self.path} is being rotated")
        lost = f"the last line of a rotated {self.path.name} was never finished" if torn else None
        return Piece(b"", Position(current, 0, b""), lost=lost)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _from(file: int, here: Position) -> bytes | None:
    """The next bytes from ``here``; None when what comes before it is not what was read there."""
    mark = len(here.mark)
    found = os.pread(file, mark + PIECE_BYTES, here.offset - mark)
    return found[mark:] if found[:mark] == here.mark else None
