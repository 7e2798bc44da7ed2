"""The local telemetry: Envoy's access log in a table that has Azure's columns and is asked in KQL.

Every line becomes exactly one row, whatever is killed in between. What cannot be had is said: ``problem`` for what is
wrong now, ``incidents`` for stretches of time whose answers are not all there. Nothing is filled in.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import duckdb_kql

from deployer.errors import TelemetryError
from deployer.local import traffic_table
from deployer.local.log_tail import Piece, Tail
from deployer.local.traffic_store import ALWAYS, Incident, Progress, TrafficStore

LAG = timedelta(milliseconds=250)
"""An answer is in the file this long after it ended: Envoy writes its log every 50 ms, the rest is margin for a busy
machine (tests/bench/telemetry_lag.py measures both)."""

STALL = timedelta(seconds=5)
"""Waiting for a log this long is a problem. A rotation takes about one second."""

QUERY_S = 60.0
"""A query that takes longer is broken off."""

ROWS_MAX = 500_000
"""Most rows of one answer, as on Azure (learn.microsoft.com/azure/azure-monitor/service-limits, log queries)."""

_RETRY_S, _UPKEEP_S = 1.0, 60.0
_JSON_TYPES = frozenset({"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "VARCHAR", "JSON"})


def _wall_clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (Envoy stamps its log with this clock, and the two are compared)


@dataclass(slots=True)
class _Log:
    table: str
    tail: Tail
    seen: datetime | None
    """Every answer that ended before is in the table."""
    waiting: str | None = None


class TrafficLog:
    """The answers of one endpoint, from the moment they end until a day later. Thread-safe; opens nothing before use.

    Args:
        database: the DuckDB file. Damaged, or of another version, it is set aside and the logs are read anew.
        live: Envoy's access log of users' requests.
        shadow: the same of mirrored requests.
        endpoint: what ``EndpointName`` says in every row.
        now: the wall clock that Envoy stamps its log with.
        monotonic: seconds that only grow.
        keep: how long an answer is kept.
        keep_rows: most answers kept of live and of mirrored requests each.
    """

    def __init__(
        self,
        database: Path,
        live: Path,
        shadow: Path,
        endpoint: str,
        *,
        now: Callable[[], datetime] = _wall_clock,
        monotonic: Callable[[], float] = time.monotonic,
        keep: timedelta = timedelta(hours=24),
        keep_rows: int = 5_000_000,
    ) -> None:
        self._paths = {traffic_table.LIVE: live, traffic_table.SHADOW: shadow}
        self._store = TrafficStore(database, endpoint, tuple(self._paths))
        self._now, self._monotonic = now, monotonic
        self._keep, self._keep_rows = keep, keep_rows
        self._lock = threading.RLock()
        self._logs: list[_Log] = []
        self._problem: str | None = None
        self._complete_until: datetime | None = None
        self._polled: datetime | None = None
        self._retry_at = self._upkeep_at = -math.inf

    def poll(self) -> int:
        """Read in all whole lines that are in the logs now; return how many rows that made.

        Never raises for what a file, a disk or the database does: ``query`` reports it, and a poll a second later goes
        on where this one stopped. Takes two reads when nothing is new.
        """
        with self._lock:
            if self._monotonic() < self._retry_at:
                return 0
            started, rows = self._now(), 0
            try:
                self._open(started)
                self._mind_the_clock(started)
                for log in self._logs:
                    rows += self._drain(log, started)
                self._keep_up(started)
            except (OSError, duckdb.Error) as exc:
                self._fail(exc)
            else:
                self._settle(started)
            return rows

    def query(self, kql: str) -> dict[str, Any]:
        """Poll, then answer ``kql``: read only, broken off after 60 s, cut after 500,000 rows.

        Returns:
            ``columns``: names. ``rows``: lists of what JSON holds; instants are ISO 8601, UTC.
            ``complete_until``: every answer that ended before is in the tables (ISO 8601); None: unknown.
            ``problem``: what is wrong now, in one line, or None.
            ``incidents``: ``{"since", "until", "text"}`` (ISO 8601): answers of that time may be missing for ever.

        Raises:
            TelemetryError: the query is wrong or takes too long, or the database cannot be read.
        """
        with self._lock:
            self.poll()
            try:
                cursor = self._store.reader()
            except duckdb.Error as exc:
                raise TelemetryError(
                    f"the local traffic log cannot be read: {self._problem}",
                    hint="See that the disk is not full and no other process uses the file; it is tried again.",
                ) from exc
            complete_until, problem = self._complete_until, self._problem
        try:
            with closing(cursor), _time_limit(cursor):
                incidents = cursor.execute("FROM deployer_incidents ORDER BY since, until").fetchall()
                duckdb_kql.execute(cursor, kql, allow_write=False)
                columns = cursor.description or []
                rows = cursor.fetchmany(ROWS_MAX + 1)
        except (duckdb_kql.KqlError, duckdb.Error, RecursionError) as exc:
            raise self._refused(exc) from exc
        if len(rows) > ROWS_MAX:
            problem = f"partial: the query has more than {ROWS_MAX:,} rows"
        return {
            "columns": [str(column[0]) for column in columns],
            "rows": _plain_rows(rows[:ROWS_MAX], [str(column[1]) for column in columns]),
            "complete_until": complete_until and complete_until.isoformat(),
            "problem": problem,
            "incidents": [
                {"since": f"{since.isoformat()}+00:00", "until": f"{until.isoformat()}+00:00", "text": _times(what, n)}
                for since, until, what, n in incidents
            ],
        }

    def close(self) -> None:
        """Give files and database back. A later ``poll`` opens them again."""
        with self._lock:
            self._forget_progress()
            self._store.close()

    def _open(self, started: datetime) -> None:
        if self._store.open(started) is not None:
            self._complete_until = None
            self._forget_progress()
        if not self._logs:
            progress = self._store.progress()
            self._logs = [
                _Log(table, Tail(path, progress[table].position, self._monotonic), progress[table].seen)
                for table, path in self._paths.items()
            ]

    def _forget_progress(self) -> None:
        for log in self._logs:
            log.tail.close()
        self._logs = []

    def _drain(self, log: _Log, started: datetime) -> int:
        rows = 0
        while (piece := log.tail.read()).position != log.tail.position:
            rows += self._take(log, piece, started)
        log.waiting = piece.waiting
        if piece.waiting is None:
            log.seen = _latest(log.seen, started - LAG)
        return rows

    def _take(self, log: _Log, piece: Piece, started: datetime) -> int:
        rows, bad = _read_lines(piece.lines)
        since, seen = log.seen or ALWAYS, log.seen
        lost = {f"a line of {log.tail.path.name} could not be read": bad, piece.lost or "": int(piece.lost is not None)}
        incidents = [Incident(since, _latest(since, started), what, times) for what, times in lost.items() if times]
        if rows and isinstance(last := rows[-1][0], datetime):  # lines come in the order in which answers ended
            seen = _latest(seen, min(last.replace(tzinfo=UTC), started - LAG))
        self._store.add(log.table, rows, Progress(piece.position, seen), incidents)
        log.tail.advance(piece.position)
        log.seen = seen
        return len(rows)

    def _mind_the_clock(self, started: datetime) -> None:
        before, self._polled = self._polled, started
        if before is not None and before - started > LAG:
            self._store.note(Incident(started - LAG, before, "the wall clock was set back, so times repeat"))
        for log in self._logs:
            log.seen = log.seen and min(log.seen, started)
        self._complete_until = self._complete_until and min(self._complete_until, started - LAG)

    def _keep_up(self, started: datetime) -> None:
        if self._monotonic() < self._upkeep_at:
            return
        for log in self._logs:
            self._store.add(log.table, (), Progress(log.tail.position, log.seen))
        self._store.forget(started - self._keep, self._keep_rows)
        self._upkeep_at = self._monotonic() + _UPKEEP_S

    def _settle(self, started: datetime) -> None:
        seen = [log.seen for log in self._logs if log.seen is not None]
        if len(seen) == len(self._logs):
            self._complete_until = _latest(self._complete_until, min(seen))
        waiting = next((log.waiting for log in self._logs if log.waiting), None)
        stalled = self._complete_until is None or started - self._complete_until > STALL
        self._problem = waiting if stalled else None

    def _fail(self, exc: Exception) -> None:
        """Say what is wrong, and make sure that memory agrees with the database before going on."""
        self._problem = _first_line(exc)
        self._retry_at = self._monotonic() + _RETRY_S
        self._forget_progress()
        if isinstance(exc, duckdb.Error):
            self._store.suspect(exc)
            try:
                self._store.progress()
            except duckdb.Error:
                self._store.close()  # for good, or until the next poll opens it

    def _refused(self, exc: Exception) -> TelemetryError:
        if isinstance(exc, duckdb.InterruptException):
            return TelemetryError(f"the query took over {QUERY_S:g} s", hint="Ask for a shorter stretch of time.")
        if isinstance(exc, duckdb.Error):
            with self._lock:
                self._store.suspect(exc)
        return TelemetryError(
            f"the query cannot be run: {_first_line(exc)}", hint="Use tables and columns of the traffic log."
        )


@contextmanager
def _time_limit(cursor: duckdb.DuckDBPyConnection) -> Generator[None, None, None]:
    """Break off what ``cursor`` does after ``QUERY_S``; again and again, for it may just not have begun."""
    done = threading.Event()

    def break_off() -> None:
        wait_s = QUERY_S
        while not done.wait(wait_s):
            wait_s = 0.1
            with suppress(duckdb.Error):
                cursor.interrupt()

    watch = threading.Thread(target=break_off, name="query time limit", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def _read_lines(lines: bytes) -> tuple[list[tuple[object, ...]], int]:
    """Rows, and how many lines are none."""
    rows: list[tuple[object, ...]] = []
    bad = 0
    parts = lines.split(b"\n")
    for line in parts if parts[-1] else parts[:-1]:
        try:
            rows.append(traffic_table.read_line(line))
        except ValueError:
            bad += 1
    return rows, bad


def _latest(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]


def _times(what: str, times: int) -> str:
    return what if times == 1 else f"{what} ({times} times)"


def _plain_rows(rows: list[tuple[Any, ...]], types: Sequence[str]) -> list[list[Any]]:
    """Rows as JSON can hold them."""
    odd = [at for at, kind in enumerate(types) if kind not in _JSON_TYPES]
    plain = [list(row) for row in rows]
    for row in plain if odd else ():
        for at in odd:
            row[at] = _plain(row[at])
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | None) else str(value)
