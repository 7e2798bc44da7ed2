"""Every request of a load test, exactly: 14 bytes each, from whichever process sent it to one file."""

from __future__ import annotations

import struct
from pathlib import Path

ENTRY = struct.Struct("<dfh")
"""Intended arrival in seconds from the lane's start, latency in ms, status."""

OVER_CAP = -1
UNFINISHED = -2
"""In flight when the load was ended early: neither an answer nor a failure."""


class Recorder:
    """Collects entries until somebody takes them."""

    def __init__(self) -> None:
        self._entries = bytearray()

    def add(self, arrival_s: float, latency_ms: float, status: int) -> None:
        """Note the end of one request; ``status`` 0: no answer."""
        self._entries += ENTRY.pack(arrival_s, latency_ms, status)

    def take(self) -> bytes:
        """Return what was noted since the last call."""
        taken, self._entries = bytes(self._entries), bytearray()
        return taken


class RecordFile:
    """Appends entries to a file; without a path it forgets them."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None

    def write(self, entries: bytes) -> None:
        """Append whole entries, at once."""
        if self._path is not None and entries:
            with self._path.open("ab") as file:
                file.write(entries)
