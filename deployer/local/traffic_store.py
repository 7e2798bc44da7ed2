"""The DuckDB file behind the traffic log: rows, how far each log was read, and what is known to be missing.

Rows and progress change in one transaction, so that a kill at any point neither loses nor doubles an answer. One
process at a time owns the file (DuckDB locks it). Not thread-safe, but for the cursors it hands out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from deployer.local import traffic_table
from deployer.local.log_tail import Position
from deployer.local.traffic_table import rows_of

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""Since when an incident holds that concerns all of the past."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "512MB",
    "threads": 1,  # the processor belongs to the requests; a million rows take half a second all the same
    "enable_external_access": False,  # a query reads the tables and nothing else of this machine
    "autoload_known_extensions": False,
}
_DAMAGE = (
    "not a valid DuckDB database",
    "Could not read enough bytes",
    "orrupt",
    "replaying WAL",
    "version number",
    "by another version of deployer",
)
"""What DuckDB 2.0 says of a file that it will never read (tests/unit/local/test_access_log_damage.py makes each)."""
_MERGE = "10 seconds"
_OWN_TABLES = """
CREATE TABLE IF NOT EXISTS deployer_logs ("table" VARCHAR, inode UBIGINT, "offset" UBIGINT, mark BLOB, seen TIMESTAMP);
CREATE TABLE IF NOT EXISTS deployer_incidents (since TIMESTAMP, until TIMESTAMP, what VARCHAR, times BIGINT);
"""
_NOTE_AGAIN = f"""
UPDATE deployer_incidents SET until = greatest(until, $until), times = times + $times
WHERE what = $what AND since <= $until AND until >= $since - INTERVAL {_MERGE}
"""  # noqa: S608 (a constant)
_CROWDED = """
SELECT coalesce(min(minute) FILTER (total <= ?), max(minute)) FROM (
    SELECT minute, sum(n) OVER (ORDER BY minute DESC) AS total FROM (
        SELECT date_trunc('minute', TimeGenerated) AS minute, count(*) AS n FROM {table} GROUP BY minute))
"""


@dataclass(frozen=True, slots=True)
class Incident:
    """Answers that ended in [since, until) may be missing from the tables."""

    since: datetime
    until: datetime
    what: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one log has been read."""

    position: Position | None
    seen: datetime | None
    """Every answer that ended before is in the table."""


class TrafficStore:
    """Tables of answers, by name, of one endpoint.

    Every method may raise ``duckdb.Error``; nothing of the call has then happened, but perhaps all of it if the commit
    itself was cut off: ask ``progress``.
    """

    def __init__(self, database: Path, endpoint: str, tables: Sequence[str]) -> None:
        self._database = database
        self._endpoint = endpoint
        self._tables = tables
        self._con: duckdb.DuckDBPyConnection | None = None
        self._damage: str | None = None

    def open(self, at: datetime) -> str | None:
        """Open the file unless it is open; set a damaged one aside first, and say so in one line.

        Returns:
            What was set aside and why; None: nothing was.
        """
        if self._con is not None:
            return None
        if self._damage is None:
            try:
                self._con = self._connect()
            except duckdb.Error as exc:
                self.suspect(exc)
                if self._damage is None:
                    raise
        if self._damage is None:
            return None
        what = self._set_aside(self._damage, at)
        self._con, self._damage = self._connect(), None
        self.note(Incident(ALWAYS, at, what))
        return what

    def suspect(self, exc: duckdb.Error) -> None:
        """Set the file aside at the next ``open`` if ``exc`` says that it can never be read."""
        if any(sign in str(exc) for sign in _DAMAGE):
            self._damage = str(exc).splitlines()[0]
            self.close()

    def close(self) -> None:
        """Give the file back."""
        if self._con is not None:
            with suppress(duckdb.Error):
                self._con.close()
        self._con = None

    def reader(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own for one query, for any thread; the caller closes it."""
        return self._opened().cursor()

    def progress(self) -> dict[str, Progress]:
        """How far each table's log was read, as stored."""
        found: dict[str, Progress] = {}
        for table, inode, offset, mark, seen in self._opened().execute("FROM deployer_logs").fetchall():
            position = None if inode is None else Position(inode, offset, mark)
            found[table] = Progress(position, None if seen is None else seen.replace(tzinfo=UTC))
        return found

    def add(
        self, table: str, rows: Sequence[tuple[object, ...]], progress: Progress, incidents: Sequence[Incident] = ()
    ) -> None:
        """Add ``rows`` (of ``traffic_table.read_line``) and where they came from, all or nothing."""
        con, at = self._opened(), progress.position
        con.begin()
        try:
            if rows:
                con.from_arrow(traffic_table.arrow_table(rows)).insert_into(rows_of(table))
            for incident in incidents:
                self.note(incident)
            where = (at.inode, at.offset, at.mark) if at else (None, None, None)
            con.execute(
                'UPDATE deployer_logs SET inode = ?, "offset" = ?, mark = ?, seen = ? WHERE "table" = ?',
                [*where, _naive(progress.seen), table],
            )
            con.commit()
        except BaseException:
            with suppress(duckdb.Error):
                con.rollback()
            raise

    def note(self, incident: Incident) -> None:
        """Keep ``incident``; one like it that ended less than 10 s before is prolonged instead."""
        con = self._opened()
        since, until = _naive(incident.since), _naive(incident.until)
        values = {"since": since, "until": until, "what": incident.what, "times": incident.times}
        prolonged = con.execute(_NOTE_AGAIN, values).fetchone()
        if prolonged is None or prolonged[0] == 0:
            con.execute("INSERT INTO deployer_incidents VALUES ($since, $until, $what, $times)", values)

    def forget(self, before: datetime, keep_rows: int) -> None:
        """Drop answers from before ``before``, and the oldest minutes of a table of over ``keep_rows``; note both."""
        con = self._opened()
        con.execute("DELETE FROM deployer_incidents WHERE until < ?", [_naive(before)])
        for table in self._tables:
            limit = _naive(before)
            if self._count(table) > keep_rows:
                crowded = con.execute(_CROWDED.format(table=rows_of(table)), [keep_rows]).fetchone()
                limit = max(limit, crowded[0]) if crowded and limit else limit
            gone = con.execute(f"DELETE FROM {rows_of(table)} WHERE TimeGenerated < ?", [limit]).fetchone()  # noqa: S608 (own name)
            if gone is not None and gone[0] and limit is not None:
                what = f"{table} keeps no older answers"
                con.execute("DELETE FROM deployer_incidents WHERE what = ?", [what])
                self.note(Incident(ALWAYS, limit.replace(tzinfo=UTC), what))

    def _count(self, table: str) -> int:
        counted = self._opened().execute(f"SELECT count(*) FROM {rows_of(table)}").fetchone()  # noqa: S608 (own name)
        return int(counted[0]) if counted else 0

    def _opened(self) -> duckdb.DuckDBPyConnection:
        if self._con is None:
            raise duckdb.ConnectionException("the database is not open")
        return self._con

    def _connect(self) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect(str(self._database), config=_CONFIG)
        try:
            con.execute("SET TimeZone = 'UTC'")
            con.begin()
            con.execute(_OWN_TABLES)
            for table in self._tables:
                con.execute(traffic_table.create_sql(table))
                _check_columns(con, table)
                con.execute(traffic_table.view_sql(table, self._endpoint))
                con.execute(
                    "INSERT INTO deployer_logs SELECT ?, NULL, NULL, NULL, NULL "
                    'WHERE NOT EXISTS (SELECT * FROM deployer_logs WHERE "table" = ?)',
                    [table, table],
                )
            con.commit()
        except BaseException:
            con.close()
            raise
        return con

    def _set_aside(self, why: str, at: datetime) -> str:
        aside = self._database.with_name(f"{self._database.name}.broken-{at:%Y%m%dT%H%M%S}")
        for suffix in ("", ".wal"):
            with suppress(FileNotFoundError):
                Path(f"{self._database}{suffix}").rename(f"{aside}{suffix}")
        return f"the telemetry database was damaged, is now {aside.name}, and was begun anew ({why})"


def _check_columns(con: duckdb.DuckDBPyConnection, table: str) -> None:
    found = {name: kind for name, kind, *_ in con.execute(f"DESCRIBE {rows_of(table)}").fetchall()}
    if found != traffic_table.columns_under():
        raise duckdb.DataError(f"{table} was made by another version of deployer: it has other columns")


def _naive(at: datetime | None) -> datetime | None:
    """As DuckDB's TIMESTAMP takes it: UTC without a zone."""
    return None if at is None else at.astimezone(UTC).replace(tzinfo=None)
