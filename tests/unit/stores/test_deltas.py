"""Evidence kept as what it adds to the evidence before."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import StoreError
from deployer.stores import deltas
from deployer.stores.file import CHAIN, FileJournal

rows = st.lists(st.integers(0, 5).map(str), max_size=60)


def text(cells: list[str]) -> bytes:
    return ("[[" + deltas.BORDER.join(cells) + "]]").encode()


@given(rows, rows, rows)
def test_whatever_is_written_as_a_delta_is_read_back(head: list[str], middle: list[str], tail: list[str]) -> None:
    before, after = text(head + tail), text(head + middle + tail)
    delta = deltas.encode(before, after)
    assert delta is None or deltas.decode(before, delta) == after


def test_a_look_that_adds_little_costs_little() -> None:
    known = [f'{place},0,"ok",{place % 97},1' for place in range(5000)]
    before, after = text(known), text([*known, '5000,0,"ok",7,1'])
    delta = deltas.encode(before, after)
    assert delta is not None
    assert len(delta) < 100


def test_what_has_nothing_in_common_is_kept_whole() -> None:
    assert deltas.encode(text(["1", "2"]), text([str(place) for place in range(100)])) is None
    assert deltas.encode(b"\xff\xfe", text(["1"])) is None


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def looks(number: int) -> list[bytes]:
    return [text([f'{place},0,"ok",{place % 97},1' for place in range(200 + 10 * look)]) for look in range(number)]


def test_every_look_of_a_long_rollout_is_read_back_by_another_process(tmp_path: Path) -> None:
    contents = looks(2 * CHAIN + 5)
    journal = FileJournal(tmp_path)
    for content in contents:
        journal.keep("r1", name_of(content), content)
    assert len(list(tmp_path.rglob("*.json.gz"))) == 3  # the first one, and one after each chain
    for content in reversed(contents):
        assert FileJournal(tmp_path).kept("r1", name_of(content)) == content


def test_a_run_that_goes_on_after_a_crash_begins_with_a_whole_one(tmp_path: Path) -> None:
    first, second = looks(2)
    FileJournal(tmp_path).keep("r1", name_of(first), first)
    FileJournal(tmp_path).keep("r1", name_of(second), second)
    assert not list(tmp_path.rglob("*.added.gz"))


def test_without_the_one_it_adds_to_there_is_no_evidence(tmp_path: Path) -> None:
    first, second = looks(2)
    journal = FileJournal(tmp_path)
    for content in (first, second):
        journal.keep("r1", name_of(content), content)
    (tmp_path / "r1.evidence" / f"{name_of(first)}.json.gz").unlink()
    assert FileJournal(tmp_path).kept("r1", name_of(second)) is None


@pytest.mark.parametrize("damage", [b"no delta", b"../../secret\n[]", b'abc\n[["x"]]', b"\xff\n[]"])
def test_a_damaged_delta_is_no_evidence(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "r1.evidence").mkdir()
    (tmp_path / "r1.evidence" / "abc.json.gz").write_bytes(gzip.compress(b"[]"))
    (tmp_path / "r1.evidence" / "def.added.gz").write_bytes(gzip.compress(damage))
    with pytest.raises(StoreError, match="cannot read evidence"):
        FileJournal(tmp_path).kept("r1", "def")


def test_deltas_that_add_to_each_other_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "r1.evidence").mkdir()
    for one, other in (("abc", "def"), ("def", "abc")):
        (tmp_path / "r1.evidence" / f"{one}.added.gz").write_bytes(gzip.compress(other.encode() + b"\n[]"))
    assert FileJournal(tmp_path).kept("r1", "abc") is None
