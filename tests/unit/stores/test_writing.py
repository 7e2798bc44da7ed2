"""Files written whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from deployer.errors import StoreError
from deployer.writing import PRIVATE, SHARED, require_writable, write_whole

HINT = "Look at its folder."


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(("given", "file", "folder"), [(PRIVATE, 0o600, 0o700), (SHARED, 0o644, 0o755)])
def test_a_new_file_has_the_mode_that_was_asked_for_and_whoever_reads_it_may_enter_its_folder(
    tmp_path: Path, given: int, file: int, folder: int
) -> None:
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "straße\r\n", mode=given, hint=HINT)
    assert (path.read_bytes(), mode(path), mode(path.parent)) == ("straße\r\n".encode(), file, folder)


def test_the_umask_counts(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "a", b"x", mode=SHARED, hint=HINT)
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o600


def test_a_file_that_exists_keeps_its_mode_and_a_link_leads_to_its_file_still(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "a", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_whole(link, "new", hint=HINT)
    assert (real.read_text(), mode(real), link.is_symlink()) == ("new", 0o640, True)


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe, heard = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    write_whole(pipe, "through", hint=HINT)
    reader.join(5)
    assert (heard, pipe.is_fifo()) == (["through"], True)


def test_a_place_that_can_be_written_to_is_left_as_it_is(tmp_path: Path) -> None:
    pipe, there = tmp_path / "pipe", tmp_path / "there"
    os.mkfifo(pipe)
    there.write_text("old")
    for path in (pipe, there, tmp_path / "new" / "a"):
        require_writable(path, hint=HINT)
    assert (pipe.is_fifo(), there.read_text(), list((tmp_path / "new").iterdir())) == (True, "old", [])
    assert mode(tmp_path / "new") == 0o700


def test_a_place_that_cannot_be_written_to_is_refused_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path in (tmp_path, tmp_path / "file" / "a", tmp_path / "circle" / "a"):
        with pytest.raises(StoreError, match="cannot write ") as refused:
            require_writable(path, hint=HINT)
        assert refused.value.hint == HINT


def test_a_failure_names_the_file_leaves_what_was_there_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full(_descriptor: int, _mode: str) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(StoreError) as caught:
        write_whole(path, "new", hint=HINT)
    assert (caught.value.message, caught.value.hint) == (f"cannot write {path}: No space left on device", HINT)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a", "old")]


@pytest.mark.parametrize("name", ["file/a", "folder"])
def test_what_cannot_be_a_file_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot write "):
        write_whole(tmp_path / name, "x", hint=HINT)


def test_a_pipe_is_written_to_under_every_name_it_has(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    write_whole(Path(f"/dev/fd/{writing}"), "text", hint=HINT)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "text"


def test_an_interrupt_leaves_no_part_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_self: Path, _target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", "text", hint=HINT)
    assert list(tmp_path.iterdir()) == []
