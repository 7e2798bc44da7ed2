"""What a look at Azure's telemetry costs: a million answers as packed histograms, against the same answers as rows.

Both are asked through the unpatched Azure SDK over HTTPS, of the same double of Log Analytics, in the same run; the
double runs the KQL on DuckDB. How fast Log Analytics itself is, nobody learns here: bytes and the client's share are
what carries over.

Run: ``python tests/bench/telemetry_azure_bench.py [ANSWERS]``. Prints times, bytes and ratios; asserts nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdb_kql
from azure.monitor.query import LogsQueryClient
from doubles.azure.certificates import certificates
from doubles.monitor import WORKSPACE_ID, Monitor
from doubles.monitor_server import serve
from doubles.monitor_tables import ML_WORKSPACE
from doubles.monitor_world import T0, MonitorWorld
from doubles.telemetry import ManualClock

from deployer.gate.judge import judge
from deployer.gate.verdict import Moment, Shift
from deployer.manifest.schema import Gate, Slo

MINUTES = 10
FILL = f"""
INSERT INTO AmlOnlineEndpointTrafficLog_rows BY NAME
SELECT came AS TimeGenerated, 'digits' AS EndpointName, arm AS DeploymentName, uuid()::VARCHAR AS XRequestId,
    '' AS XMSClientRequestId, CASE WHEN bad THEN 424 ELSE 200 END::INTEGER AS ResponseCode,
    CASE WHEN bad THEN 500 ELSE 200 END::INTEGER AS ModelStatusCode,
    exp(4.4 + 0.6 * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::INTEGER AS TotalDurationMs,
    '{ML_WORKSPACE.lower()}/onlineendpoints/digits' AS _ResourceId,
    came + INTERVAL 60 SECOND AS _IngestedAt
FROM (
    SELECT TIMESTAMP '2026-01-01' + to_microseconds(i * {MINUTES * 60_000_000} // $n) AS came,
        CASE WHEN random() < 0.1 THEN 'green' ELSE 'blue' END AS arm, random() < 0.002 AS bad
    FROM range($n) AS t(i)
)
"""  # noqa: S608 (constants)
ROWS = """AmlOnlineEndpointTrafficLog
| where TimeGenerated >= datetime({since}) and TimeGenerated < datetime({until})
| where EndpointName == 'digits'
| project TimeGenerated, DeploymentName, ResponseCode, ModelStatusCode, TotalDurationMs"""


def measured(what: str, monitor: Monitor, work: Callable[[], Any], times: int = 3) -> tuple[Any, float, int]:
    """Result, best wall time in s, and bytes of bodies."""
    best, least, result, sent = float("inf"), float("inf"), None, 0
    for _ in range(times):
        before, started, processor = monitor.sent, time.perf_counter(), time.process_time()
        result = work()
        best, sent = min(best, time.perf_counter() - started), monitor.sent - before
        least = min(least, time.process_time() - processor)
    print(f"{what:62} {best:8.3f} s  processor {least:7.3f} s  {sent / 1e6:8.3f} MB")
    return result, best, sent


def rows_one_by_one(client: Any, share: int) -> int:
    """The first ``1 / share`` of the same answers, as rows."""
    until = T0 + timedelta(minutes=MINUTES) / share
    kql = ROWS.format(since=T0.isoformat(), until=until.isoformat())
    table = client.query_workspace(WORKSPACE_ID, kql, timespan=(T0, until)).tables[0]
    return sum(1 for row in table.rows if row["DeploymentName"] and row["ResponseCode"])


def main(answers: int) -> None:
    clock = ManualClock(T0)
    monitor = Monitor(clock)
    monitor.db.execute(FILL, {"n": answers})
    now = T0 + timedelta(minutes=MINUTES + 2)
    clock.advance((now - T0).total_seconds())
    counted = monitor.db.execute(
        "SELECT time_bucket(INTERVAL 1 MINUTE, TimeGenerated + TotalDurationMs * INTERVAL 1 MILLISECOND), DeploymentName,"
        " ResponseCode, count(*) FROM AmlOnlineEndpointTrafficLog_rows GROUP BY ALL"
    ).fetchall()
    for minute, deployment, code, n in counted:
        monitor.count(minute.replace(tzinfo=T0.tzinfo), deployment, code=code, n=n)
    slo = Slo.model_validate({"latency": {"p95": "400ms"}, "error_rate": "2%"})
    moment = Moment(now, "green", "blue", (Shift(T0, 10),), T0, 20, 10)
    with tempfile.TemporaryDirectory() as folder:
        authority, tls = certificates(Path(folder))
        os.environ["REQUESTS_CA_BUNDLE"] = str(authority)
        with serve(monitor, tls) as address:
            world = MonitorWorld(monitor, clock, address)
            client = LogsQueryClient(world.tokens, endpoint=address)

            def look(telemetry: Any) -> Any:
                samples = telemetry.fetch(T0, now, block_s=10.0)
                return samples, judge(samples, slo, Gate(), moment)

            print(f"{answers:,} answers of {MINUTES} minutes, two deployments, blocks of 10 s")
            telemetry = world.traffic_log(max_lag_s=600)
            (samples, verdict), looked, sent = measured(
                "asked and judged, metrics and watermark too", monitor, lambda: look(telemetry)
            )
            measured("  of that: judged", monitor, lambda: judge(samples, slo, Gate(), moment))
            kql = telemetry._question.bars(T0, now, block_s=10.0)
            _, engine, _ = measured(
                "  of that: the double's engine and its translation", monitor, lambda: _engine(monitor, kql)
            )
            print(f"{'  so the client, the wire and the gate took':62} {looked - engine:8.3f} s")
            share = max(1, answers // 100_000)
            read, by_row, by_row_sent = measured(
                f"1/{share} of the same answers as rows", monitor, lambda: rows_one_by_one(client, share), 1
            )
            seen = sum(cell.n for cell in samples.cells)
            print(f"histograms hold {seen:,} answers in {len(samples.cells):,} cells; rows {read:,}")
            print(f"verdict: {verdict.result.value}; complete until {samples.complete_until}")
            print(
                f"rows by histograms: {share * by_row / looked:.1f} x the time, {share * by_row_sent / sent:.0f} x the bytes"
            )
    monitor.close()


def _engine(monitor: Monitor, kql: str) -> int:
    with monitor._lock:
        duckdb_kql.execute(monitor.db, kql, allow_write=False)
        return len(monitor.db.fetchall())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
