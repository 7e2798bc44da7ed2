"""What one look of the gate adds to the look before: evidence grows at its end, so that a look costs about a kilobyte.

The record of a look holds every answer since the candidate's first one. Kept whole, a hundred looks cost a hundred
times the traffic; kept as what is new, they cost it about once. Knows nothing of what the text means: it is cut at the
borders of JSON rows, and each row is either named by its place in the text before or written out.
"""

from __future__ import annotations

import json
from typing import Any, cast

BORDER = "],["
LEAST = 4
"""Rows in a row that are worth being named: fewer are written out."""


def encode(before: bytes, after: bytes) -> bytes | None:
    """Write ``after`` as what it adds to ``before``; None: it cannot be, or nothing is saved."""
    try:
        old, new = before.decode().split(BORDER), after.decode().split(BORDER)
    except UnicodeDecodeError:
        return None
    places = {row: place for place, row in reversed(list(enumerate(old)))}
    parts: list[str | list[int]] = []
    at = 0
    while at < len(new):
        run = _run(old, new, places.get(new[at]), at)
        if run is not None and run[1] >= LEAST:
            parts.append(run)
            at += run[1]
        else:
            parts.append(new[at])
            at += 1
    written = json.dumps(parts, separators=(",", ":")).encode()
    return written if len(written) < len(after) // 2 else None


def _run(old: list[str], new: list[str], place: int | None, at: int) -> list[int] | None:
    """Longest run of rows from ``at`` on that ``old`` has from ``place`` on, as [place, rows]."""
    if place is None:
        return None
    rows = 0
    while at + rows < len(new) and place + rows < len(old) and new[at + rows] == old[place + rows]:
        rows += 1
    return [place, rows]


def decode(before: bytes, delta: bytes) -> bytes:
    """Write ``after`` again.

    Raises:
        ValueError: not a delta of ``before``.
    """
    old = before.decode().split(BORDER)
    parts: Any = json.loads(delta)
    rows: list[str] = []
    for part in cast("list[str | list[int]]", parts):
        if isinstance(part, str):
            rows.append(part)
        else:
            place, count = part
            rows += old[place : place + count]
    return BORDER.join(rows).encode()
