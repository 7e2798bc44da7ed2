"""Killed at any point, the traffic log neither loses an answer nor counts one twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from doubles.access_log import T0, Place
from doubles.envoy_log import log_line

from deployer.local import traffic_store, traffic_table

ID = list(traffic_table.COLUMNS).index("XRequestId")


class Killed(BaseException):
    """The process is no more: nothing may catch this and go on."""


class Fate:
    """Dies before the ``at``-th thing that is done with the database, which is after the one before it."""

    def __init__(self, at: int) -> None:
        self.left, self.is_dead = at, False

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if self.left <= 0:
            self.is_dead = True
            raise Killed
        result = function(*args, **kwargs)
        return Mortal(result, self) if isinstance(result, duckdb.DuckDBPyRelation) else result


class Mortal:
    """A connection or relation whose every call may be the last."""

    def __init__(self, real: Any, fate: Fate) -> None:
        self._real, self._fate = real, fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return (lambda *args, **kwargs: self._fate.call(found, *args, **kwargs)) if callable(found) else found


def test_killed_at_any_step_of_a_poll_no_answer_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = duckdb.connect
    place = Place(tmp_path)
    written: list[str] = []
    for step in range(1, 1000):
        for _ in range(3):
            written.append(f"{len(written):04}")
            place.write(log_line(T0, request_id=written[-1]))
        place.write(log_line(T0, "green"), mirrored=True)
        place.clock.advance(61)  # upkeep is due
        fate = Fate(step)
        opened: list[duckdb.DuckDBPyConnection] = []

        def mortal(*args: Any, fate: Fate = fate, opened: list[Any] = opened, **kwargs: Any) -> Any:
            opened.append(connect(*args, **kwargs))
            return Mortal(opened[-1], fate)

        with monkeypatch.context() as patched:
            patched.setattr(traffic_store.duckdb, "connect", mortal)
            with suppress(Killed):
                place.log.poll()
            for con in opened:
                con.close()  # what was not committed is gone, as after a kill
        place.log = place.open()
        place.log.poll()
        reader = place.log._store.reader()
        rows = reader.table(traffic_table.LIVE).fetchall()
        assert sorted(row[ID] for row in rows) == written, f"step {step}"
        assert len(reader.table(traffic_table.SHADOW).fetchall()) == step, f"step {step}"
        reader.close()
        place.log.close()
        if not fate.is_dead:
            break
    assert 15 < step < 999  # it did die at many steps, and at last got through
    place.log.close()


def test_a_commit_that_worked_and_was_reported_as_failed_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Liar(Mortal):
        def commit(self) -> None:
            self._real.commit()
            if (tmp_path / "lie").exists():
                (tmp_path / "lie").unlink()
                raise duckdb.IOException("Could not write file: perhaps")

    connect = duckdb.connect
    monkeypatch.setattr(traffic_store.duckdb, "connect", lambda *a, **k: Liar(connect(*a, **k), Fate(10**9)))
    place = Place(tmp_path)
    place.log.poll()
    place.write(log_line(T0, request_id="a"))
    (tmp_path / "lie").touch()
    place.log.poll()
    assert "perhaps" in str(place.log.query("print 1")["problem"])
    place.clock.advance(1)
    assert place.ids() == ["a"]
    place.log.close()


def test_whatever_part_of_the_databases_own_log_survives_no_answer_is_lost_or_doubled(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for n in range(12):
        place.write(log_line(T0, request_id=f"{n:06}"))
        place.log.poll()
    database, wal = place.database.read_bytes(), Path(f"{place.database}.wal").read_bytes()
    for size in range(0, len(wal), len(wal) // 12):
        place.database = tmp_path / f"{size}.duckdb"
        place.database.write_bytes(database)
        Path(f"{place.database}.wal").write_bytes(wal[:size])
        rest = place.open()
        rest.poll()
        assert rest.query(f"{traffic_table.LIVE} | summarize count(), dcount(XRequestId)")["rows"] == [[12, 12]], size
        rest.close()
    place.log.close()


READER = """
import sys
from pathlib import Path
from deployer.local.access_log import TrafficLog
home = Path(sys.argv[1])
log = TrafficLog(home / "traffic.duckdb", home / "live.log", home / "shadow.log", "digits")
while True:
    log.poll()
"""


@pytest.mark.local
def test_a_reader_that_is_killed_again_and_again_counts_every_answer_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    written = 0
    pause = random.Random(7)
    for _ in range(4):
        reader = subprocess.Popen([sys.executable, "-c", READER, str(tmp_path)])
        end = time.monotonic() + 1.0 + pause.random()
        while time.monotonic() < end:
            ended = datetime.now(UTC)
            place.write("".join(log_line(ended, request_id=f"{written + n:06}") for n in range(20)))
            written += 20
            time.sleep(0.005)
        os.kill(reader.pid, signal.SIGKILL)
        assert reader.wait(10) == -signal.SIGKILL
    place.clock.advance((datetime.now(UTC) - T0).total_seconds())
    assert place.ids() == [f"{n:06}" for n in range(written)]
    assert place.log.query("print 1")["incidents"] == []
    place.log.close()
