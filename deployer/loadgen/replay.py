"""Recorded arrivals, read once for every generator, which is handed plain seconds: it has no library for Parquet.

Texts are read as ``loadtests/shapes.py`` reads them, which nobody here may import; one table of tests holds both to it.
"""

from __future__ import annotations

import csv
import importlib
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployer.errors import UsageError, how_to_install

COLUMN = "timestamp"


def recorded_times(path: Path) -> list[float]:
    """Read recorded arrivals, in seconds from the first on: one a line, in seconds or as ISO 8601 instants.

    Of Parquet and CSV with a header the column ``timestamp`` is read, of JSON Lines the member of that name.

    Raises:
        UsageError: it cannot be read, something in it is neither, or there is none.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path} of recorded arrivals", hint="Give the path of a recording.")
    try:
        times = sorted(map(_seconds, _parquet(path) if path.suffix == ".parquet" else _texts(path)))
    except (ValueError, KeyError, AttributeError, OSError, csv.Error) as exc:  # ArrowInvalid is a ValueError
        raise UsageError(
            f"--replay {path.name}: {str(exc).splitlines()[0]}",
            hint=f"Write one arrival a line, in seconds or as ISO 8601, or name the column {COLUMN}.",
        ) from exc
    if not times:
        raise UsageError(f"--replay {path.name} holds no arrivals", hint="Give another recording.")
    return [at - times[0] for at in times]


def in_seconds(path: Path) -> str:
    """Write recorded arrivals as every locustfile reads them: seconds, one a line.

    Raises:
        UsageError: see ``recorded_times``.
    """
    return "\n".join(map(repr, recorded_times(path)))


def _parquet(path: Path) -> list[Any]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")  # of the extra "local", for this kind of file alone
    except ImportError as exc:
        raise UsageError(
            f"{path} is a Parquet file, and pyarrow is not installed", hint=how_to_install("local")
        ) from exc
    times: list[Any] = parquet.read_table(path, columns=[COLUMN]).column(COLUMN).to_pylist()
    return [time for time in times if time is not None]


def _texts(path: Path) -> Sequence[str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [line for line in file if line.strip()]
    if rows and rows[0].lstrip().startswith("{"):
        return [str(json.loads(row).get(COLUMN, "")) for row in rows]
    if rows and COLUMN in next(csv.reader(rows[:1])):
        return [row[COLUMN] or "" for row in csv.DictReader(rows)]
    return rows


def _seconds(given: object) -> float:
    """Of a number, an instant, or either as text; what names no zone is UTC."""
    text = str(given).strip()
    try:
        if math.isfinite(seconds := float(text)):
            return seconds
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ValueError(f"{text[:40]!r} is neither seconds nor an instant") from exc
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
