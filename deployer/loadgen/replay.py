"""Recorded arrivals, in a form that the locustfile reads: it has no library for Parquet."""

from __future__ import annotations

import importlib
from datetime import datetime
from pathlib import Path
from typing import Any

from deployer.errors import UsageError

COLUMN = "timestamp"


def recorded_times(path: Path, folder: Path) -> Path:
    """Return ``path``, or for a Parquet file a list of its column ``timestamp`` written to ``folder``.

    Raises:
        UsageError: there is no such file or column.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path} of recorded arrivals", hint="Give the path of a recording.")
    if path.suffix != ".parquet":
        return path.resolve()
    try:
        parquet: Any = importlib.import_module(
            "pyarrow.parquet"
        )  # of the extra "local", and only for this kind of file
    except ImportError as exc:
        raise UsageError(
            f"{path} is a Parquet file, and pyarrow is not installed", hint="Install the extra: deployer[local]."
        ) from exc
    try:
        times: list[Any] = parquet.read_table(path, columns=[COLUMN]).column(COLUMN).to_pylist()
    except (ValueError, KeyError, OSError) as exc:  # ArrowInvalid is a ValueError
        raise UsageError(f"{path} has no column {COLUMN}: {exc}", hint="Give another recording.") from exc
    written = folder / "arrivals"
    lines = [time.isoformat() if isinstance(time, datetime) else str(time) for time in times if time is not None]
    written.write_text("\n".join(lines), encoding="utf-8")
    return written
