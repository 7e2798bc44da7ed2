"""What telemetry costs: reading a million answers as a histogram against reading them row by row, and reading them in.

Run: ``python tests/bench/telemetry_bench.py [ROWS]``. Prints times and ratios; asserts nothing.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from doubles.envoy_log import log_line

from deployer.clocks import SystemClock
from deployer.local.access_log import TrafficLog
from deployer.telemetry.kql import Table, histogram
from deployer.telemetry.local import LocalTelemetry

RAW = "AmlOnlineEndpointTrafficLog | project TimeGenerated, DeploymentName, ResponseCode, ModelStatusCode, TotalDurationMs"


class Here:
    """The traffic log without the socket in between."""

    def __init__(self, log: TrafficLog) -> None:
        self.query = log.query

    def counters(self) -> dict[str, Any]:
        raise OSError("no router")


@contextmanager
def timed(what: str, results: dict[str, float]) -> Iterator[None]:
    wall, processor = time.perf_counter(), time.process_time()
    yield
    results[what] = time.perf_counter() - wall
    print(f"{what:58} {results[what]:7.3f} s   processor {time.process_time() - processor:7.3f} s")


def best_of(times: int, what: str, results: dict[str, float], work: Callable[[], Any]) -> Any:
    for _ in range(times):
        with timed(what, results):
            answer = work()
    return answer


def main(rows: int) -> None:
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        live, shadow = home / "live.log", home / "shadow.log"
        shadow.touch()
        begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
        chance = random.Random(1)
        with live.open("w") as file:
            for n in range(rows):
                ms = round(chance.lognormvariate(4.4, 0.6))
                green = chance.random() < 0.1
                code = 500 if chance.random() < 0.002 else 200
                at = begin + timedelta(seconds=3600 * n / rows)
                file.write(log_line(at, "green" if green else "blue", code=code, ms=ms))
        log = TrafficLog(home / "traffic.duckdb", live, shadow, "digits")
        with timed(f"read {rows:,} lines in", results):
            log.poll()
        until = begin + timedelta(hours=1)
        telemetry = LocalTelemetry(Here(log), "digits", SystemClock())
        for block_s in (1.0, 10.0, 30.0, 60.0):
            kql = histogram(Table.LIVE, "digits", begin, until, block_s=block_s)
            answer = best_of(2, f"histogram, blocks of {block_s:g} s", results, lambda kql=kql: log.query(kql))
            print(f"{'':58} {len(answer['rows']):,} bars")
        best_of(2, "fetch, blocks of 30 s, as cells", results, lambda: telemetry.fetch(begin, until, block_s=30.0))
        raw = best_of(1, "the same rows one by one (at most 500,000 answered)", results, lambda: log.query(RAW))
        per_row = results["the same rows one by one (at most 500,000 answered)"] / max(1, len(raw["rows"]))
        print(f"one by one, all rows would take {per_row * rows:.3f} s: ", end="")
        print(f"{per_row * rows / results['histogram, blocks of 30 s']:.1f} x the histogram in blocks of 30 s")
        log.close()
        size = (home / "traffic.duckdb").stat().st_size
        print(f"database {size / rows:.0f} bytes a row, log {live.stat().st_size / rows:.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
