"""A real traffic log over files that the test writes, with a clock that the test moves."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from doubles.telemetry import ManualClock

from deployer.local import traffic_table
from deployer.local.access_log import TrafficLog

T0 = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


class Place:
    """A traffic log, its two files, and a clock."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.clock = ManualClock(T0)
        self.live, self.shadow = home / "live.log", home / "shadow.log"
        self.live.touch()
        self.shadow.touch()
        self.database = home / "traffic.duckdb"
        self.options = options
        self.log = self.open()

    def open(self) -> TrafficLog:
        return TrafficLog(
            self.database,
            self.live,
            self.shadow,
            "digits",
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            **self.options,
        )

    def write(self, text: str, *, mirrored: bool = False) -> None:
        with (self.shadow if mirrored else self.live).open("a") as file:
            file.write(text)

    def rotate(self) -> None:
        """As the daemon does: the next line goes to a new file."""
        self.live.replace(self.live.with_suffix(".log.1"))

    def count(self, table: str = traffic_table.LIVE) -> int:
        return self.log.query(f"{table} | count")["rows"][0][0]

    def ids(self) -> list[str]:
        """Request ids of all rows, each as often as it is there."""
        return sorted(row[0] for row in self.log.query(f"{traffic_table.LIVE} | project XRequestId")["rows"])
