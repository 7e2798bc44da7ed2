from __future__ import annotations

import fcntl
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployer.errors import StoreError
from deployer.ports.store import Entry
from deployer.stores import file
from deployer.stores.file import FileJournal

AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def entry(number: int) -> Entry:
    return Entry(AT, "ann@host", {"type": "shifted", "weight_pct": number})


def filled(folder: Path, count: int = 3) -> FileJournal:
    journal = FileJournal(folder)
    for number in range(count):
        journal.append("r1", entry(number))
    return journal


def test_what_was_appended_is_read_back_in_order_by_any_process(tmp_path: Path) -> None:
    filled(tmp_path)
    assert FileJournal(tmp_path).read("r1") == [entry(0), entry(1), entry(2)]
    assert FileJournal(tmp_path).rollouts() == ["r1"]


def test_an_unknown_rollout_is_empty(tmp_path: Path) -> None:
    assert FileJournal(tmp_path / "none").read("r9") == []
    assert FileJournal(tmp_path / "none").rollouts() == []


def test_a_journal_is_private(tmp_path: Path) -> None:
    filled(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b" / "r1.jsonl").stat().st_mode) == 0o600


def test_a_crash_at_any_byte_of_an_append_loses_that_entry_only_and_the_next_run_goes_on(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "r1.jsonl"
    whole = path.read_bytes()
    second_end = len(whole) - len(whole.splitlines(keepends=True)[-1])
    for cut in range(second_end, len(whole)):
        path.write_bytes(whole[:cut])
        assert FileJournal(tmp_path).read("r1") == [entry(0), entry(1)]
    FileJournal(tmp_path).append("r1", entry(7))
    assert FileJournal(tmp_path).read("r1") == [entry(0), entry(1), entry(7)]


def test_a_late_event_of_a_run_that_was_taken_over_does_not_cut_off_the_new_runs_lines(tmp_path: Path) -> None:
    taken_over, new = filled(tmp_path), FileJournal(tmp_path)
    for number in range(10, 14):
        new.append("r1", entry(number))
    for _ in range(2):
        with pytest.raises(StoreError, match="written by another run"):
            taken_over.append("r1", entry(99))
    new.append("r1", entry(14))
    assert FileJournal(tmp_path).read("r1") == [entry(number) for number in (0, 1, 2, 10, 11, 12, 13, 14)]


def test_a_journal_that_was_moved_away_is_not_gone_on_with(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    (tmp_path / "r1.jsonl").rename(tmp_path / "moved")
    with pytest.raises(StoreError, match="is gone or was replaced"):
        journal.append("r1", entry(3))
    assert not (tmp_path / "r1.jsonl").exists()


def test_a_journal_that_was_replaced_is_left_as_it_is(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    (tmp_path / "r1.jsonl").write_text("another file\n" * 99)
    with pytest.raises(StoreError, match="is gone or was replaced"):
        journal.append("r1", entry(3))
    assert (tmp_path / "r1.jsonl").read_text() == "another file\n" * 99


def test_a_torn_line_behind_what_it_wrote_is_written_over(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    with (tmp_path / "r1.jsonl").open("a") as file:
        file.write('{"at": "20')
    journal.append("r1", entry(3))
    assert FileJournal(tmp_path).read("r1") == [entry(number) for number in range(4)]


def test_many_processes_at_once_write_whole_lines(tmp_path: Path) -> None:
    """Each goes on where the others ended: one reads the end and writes under one lock."""
    filled(tmp_path)

    def write(number: int) -> None:
        for _ in range(5):
            FileJournal(tmp_path).append("r1", entry(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(FileJournal(tmp_path).read("r1")) == 3 + 8 * 5


def test_a_lock_that_somebody_keeps_holds_up_no_event_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "LOCK_S", 0.05)
    journal = filled(tmp_path)
    with (tmp_path / "r1.jsonl").open() as kept, ThreadPoolExecutor(1) as pool:
        fcntl.flock(kept, fcntl.LOCK_SH)
        waiting = pool.submit(journal.append, "r1", entry(3))
        done, _ = wait([waiting], timeout=2)
        fcntl.flock(kept, fcntl.LOCK_UN)
    assert done, "it waited for the lock"
    assert journal.read("r1")[-1] == entry(3)


def test_where_there_are_no_locks_of_files_a_journal_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    journal = filled(tmp_path)
    journal.append("r1", entry(3))
    assert journal.read("r1")[-1] == entry(3)


def test_a_lock_that_is_given_back_is_waited_for(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    with (tmp_path / "r1.jsonl").open() as kept, ThreadPoolExecutor(1) as pool:
        fcntl.flock(kept, fcntl.LOCK_EX)
        waiting = pool.submit(journal.append, "r1", entry(3))
        assert not wait([waiting], timeout=0.05).done
        fcntl.flock(kept, fcntl.LOCK_UN)
    assert journal.read("r1")[-1] == entry(3)


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_changed_line_is_an_error_that_names_it(tmp_path: Path, line: int) -> None:
    filled(tmp_path)
    path = tmp_path / "r1.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[line] = lines[line].replace('"weight_pct":', '"weight_pct":1')
    path.write_text("".join(lines))
    with pytest.raises(StoreError, match=f"r1.jsonl:{line + 1}: this line does not match its hash"):
        FileJournal(tmp_path).read("r1")


def test_a_removed_line_and_a_line_that_is_no_json_are_errors(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "r1.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2])
    with pytest.raises(StoreError):
        FileJournal(tmp_path).read("r1")
    for garbage in ("not json\n", "[]\n"):
        path.write_text(lines[0] + garbage)
        with pytest.raises(StoreError):
            FileJournal(tmp_path).read("r1")


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = filled(tmp_path)
    before = (tmp_path / "r1.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device") as refused:
        journal.append("r1", entry(9))
    assert "DEPLOYER_HOME" in refused.value.hint
    assert (tmp_path / "r1.jsonl").read_bytes() == before
    monkeypatch.undo()
    journal.append("r1", entry(9))
    assert journal.read("r1")[-1] == entry(9)


def test_a_folder_that_cannot_be_made_or_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        FileJournal(tmp_path / "file").append("r1", entry(0))
    (tmp_path / "r2.jsonl").mkdir()
    with pytest.raises(StoreError):
        FileJournal(tmp_path).read("r2")


def test_evidence_is_kept_by_its_name_and_keeping_it_twice_changes_nothing(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "new")
    for _ in range(2):
        journal.keep("r1", "abc", b"{}")
    assert FileJournal(tmp_path / "new").kept("r1", "abc") == b"{}"
    assert journal.kept("r1", "other") is None
    assert journal.rollouts() == []


def test_evidence_that_was_changed_or_cannot_be_kept_is_said(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    journal.keep("r1", "abc", b"{}")
    (tmp_path / "r1.evidence" / "abc.json.gz").write_bytes(b"garbage")
    with pytest.raises(StoreError, match="cannot read evidence"):
        journal.kept("r1", "abc")
    (tmp_path / "r2.evidence").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot write .*r2\.evidence"):
        journal.keep("r2", "abc", b"{}")
