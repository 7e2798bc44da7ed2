"""Recorded arrivals: deployer and the locustfile, which may not import each other, read the same of the same file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployer.errors import UsageError
from deployer.loadgen.replay import in_seconds, recorded_times
from loadtests.shapes import recorded

START = datetime(2026, 11, 25, 10, tzinfo=UTC).timestamp()
BOTH = pytest.mark.parametrize("read", [recorded_times, recorded])


@BOTH
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("times.txt", "12.5\n10\n\n11.5\n"),
        ("windows.txt", "10\r\n11.5\r\n12.5\r\n"),
        ("instants", "2026-11-25T10:00:01.5\n2026-11-25T11:00:00+01:00\n2026-11-25T10:00:02.5Z\n"),
        (
            "trace.csv",
            'id,"timestamp",code\n1,2026-11-25T10:00:00Z,200\n2,2026-11-25T10:00:02.5Z,200\n3,2026-11-25T10:00:01.5,"a,b"\n',
        ),
        ("quoted.csv", '"code","timestamp"\n"a,b","10"\n"c","11.5"\n"d","12.5"\n'),
        (
            "trace.jsonl",
            f'{{"timestamp": "2026-11-25T10:00:00Z"}}\n{{"timestamp": {START + 2.5}}}\n{{"timestamp": {START + 1.5}}}\n',
        ),
    ],
)
def test_recorded_arrivals_keep_their_gaps(
    tmp_path: Path, read: Callable[[Path], list[float]], name: str, content: str
) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read(tmp_path / name) == pytest.approx([0, 1.5, 2.5])


@BOTH
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no arrivals"),
        (b"timestamp\n", "holds no arrivals"),
        (b"nan\n", "'nan' is neither"),
        (b"x", "'x' is neither"),
        (b"a,timestamp\n1\n", "'' is neither"),
        (b'{"time": 1}\n', "'' is neither"),
        (b'{"timestamp": 1}\n{\n', "property name"),
        (b"\xff", "can't decode"),
    ],
)
def test_what_is_no_recording_is_refused(
    tmp_path: Path, read: Callable[[Path], list[float]], content: bytes, said: str
) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises((UsageError, ValueError), match=said):
        read(tmp_path / "r")


def test_a_generator_is_handed_the_seconds_of_a_parquet_file(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    micros = pa.array([1_500_000, None, 0, 2_500_000], pa.timestamp("us", "UTC"))
    parquet.write_table(pa.table({"timestamp": micros, "status": [200] * 4}), tmp_path / "trace.parquet")
    (tmp_path / "seconds").write_text(in_seconds(tmp_path / "trace.parquet"))
    assert recorded(tmp_path / "seconds") == [0, 1.5, 2.5]


def test_a_parquet_file_without_times_is_refused_in_one_line(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"at": [1.0]}), tmp_path / "trace.parquet")
    with pytest.raises(UsageError, match=r"^--replay trace\.parquet: .*timestamp.*$") as refused:
        recorded_times(tmp_path / "trace.parquet")
    assert "\n" not in refused.value.message
