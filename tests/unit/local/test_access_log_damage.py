"""Databases that are damaged, locked, of another version or out of disk: said, survived, and never mixed up."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from doubles.access_log import T0, Place
from doubles.envoy_log import log_line

from deployer.errors import TelemetryError
from deployer.local import traffic_table
from deployer.local.access_log import LAG


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    place.write("".join(log_line(T0, request_id=f"{n:03}") for n in range(200)))
    place.log.poll()
    place.log.close()
    place.clock.advance(10)
    yield place
    place.log.close()


def garbage(database: Path) -> None:
    database.write_bytes(b"not a database\n" * 1000)


def empty(database: Path) -> None:
    database.write_bytes(b"")


def half(database: Path) -> None:
    content = database.read_bytes()
    database.write_bytes(content[: len(content) // 2])


def flipped_header(database: Path) -> None:
    flip(database, 4100)


def flipped_block(database: Path) -> None:
    flip(database, 20_000)


def damaged_wal(database: Path) -> None:
    with duckdb.connect(str(database)) as con:
        con.execute("PRAGMA disable_checkpoint_on_shutdown")
        con.execute("SET checkpoint_threshold = '1GB'")
        con.execute("CREATE TABLE more AS SELECT range AS i FROM range(5000)")
        con.execute("INSERT INTO more FROM range(5000)")
    wal = Path(f"{database}.wal")
    flip(wal, wal.stat().st_size // 2)


def another_version(database: Path) -> None:
    with duckdb.connect(str(database)) as con:
        con.execute(f"ALTER TABLE {traffic_table.rows_of(traffic_table.LIVE)} RENAME Path TO Route")


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [garbage, empty, half, flipped_header, flipped_block, damaged_wal, another_version])
def test_a_damaged_database_is_set_aside_and_the_log_is_read_anew(place: Place, damage: Callable[[Path], None]) -> None:
    damage(place.database)
    assert len(place.ids()) == 200
    (aside,) = place.database.parent.glob("traffic.duckdb.broken-*[0-9]")
    answer = place.log.query("print 1")
    assert answer["problem"] is None
    (incident,) = answer["incidents"]
    assert aside.name in incident["text"]
    assert datetime.fromisoformat(incident["until"]) == place.clock.now()
    assert datetime.fromisoformat(incident["since"]).year == 1970


def test_what_was_complete_in_a_damaged_database_is_unknown_until_the_log_is_read_anew(place: Place) -> None:
    place.log.poll()
    place.log.close()
    garbage(place.database)
    place.live.unlink()
    assert place.log.query("print 1")["complete_until"] is None


def test_damage_that_shows_only_while_reading_is_set_aside_after_one_error_at_most(place: Place) -> None:
    place.write("".join(log_line(T0, request_id=f"{n:06}", path=f"/{n}") for n in range(200, 20_000)))
    place.log.poll()
    place.log.close()
    flip(place.database, place.database.stat().st_size // 2)
    place.log = place.open()
    with suppress(TelemetryError):
        place.ids()
    assert len(place.ids()) == 20_000
    assert "damaged" in place.log.query("print 1")["incidents"][0]["text"]


def test_a_database_that_another_process_holds_is_left_alone(place: Place) -> None:
    held = (
        f"import duckdb, sys; con = duckdb.connect({str(place.database)!r}); print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert place.log.poll() == 0
        with pytest.raises(TelemetryError, match="lock"):
            place.ids()
        assert other.stdin is not None
        other.stdin.close()
    place.clock.advance(1)
    assert len(place.ids()) == 200
    assert list(place.database.parent.glob("*.broken-*")) == []


@pytest.mark.parametrize(
    "sql",
    ["FROM read_text('/etc/hostname')", "COPY (SELECT 1) TO 'stolen.csv'", "ATTACH 'other.duckdb'", "INSTALL httpfs"],
)
def test_even_raw_sql_reaches_nothing_but_the_tables(place: Place, sql: str) -> None:
    place.log.poll()
    with closing(place.log._store.reader()) as reader, pytest.raises(duckdb.PermissionException):
        reader.execute(sql)


def test_a_database_without_a_directory_is_an_error_with_a_hint(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.database = tmp_path / "nowhere" / "traffic.duckdb"
    place.log = place.open()
    with pytest.raises(TelemetryError, match="No such file") as refused:
        place.ids()
    assert refused.value.hint.endswith(".")


def test_a_full_disk_stops_completeness_until_there_is_room_again(place: Place) -> None:
    place.log.poll()
    place.clock.advance(10)
    good = datetime.fromisoformat(place.log.query("print 1")["complete_until"])
    assert good == place.clock.now() - LAG
    place.write("".join(log_line(T0, request_id=f"{n:06}") for n in range(200, 5000)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        for _ in range(3):
            place.clock.advance(10)
            answer = place.log.query(f"{traffic_table.LIVE} | count")
            assert answer["rows"] == [[200]]
            assert "File too large" in answer["problem"]
            assert datetime.fromisoformat(answer["complete_until"]) == good
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    place.clock.advance(10)
    answer = place.log.query(f"{traffic_table.LIVE} | count")
    assert answer["rows"] == [[5000]]
    assert answer["problem"] is None
    assert answer["incidents"] == []
    assert datetime.fromisoformat(answer["complete_until"]) == place.clock.now() - LAG


def test_while_something_fails_it_is_tried_once_a_second(place: Place) -> None:
    place.database.rename(place.database.with_name("elsewhere"))
    place.database.mkdir()
    place.log.poll()
    place.database.rmdir()
    place.database.with_name("elsewhere").rename(place.database)
    place.clock.advance(0.5)
    assert place.log._problem is not None
    place.log.poll()
    assert place.log._problem is not None
    place.clock.advance(0.5)
    place.log.poll()
    assert place.log._problem is None
