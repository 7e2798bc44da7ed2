"""The disk as the manifest loader sees it."""

from __future__ import annotations

import os
from pathlib import Path

from deployer.manifest.files import FileReader
from deployer.stores.files import CHUNK_BYTES, DiskFiles

DISK: FileReader = DiskFiles()


def test_real_paths_follow_links_and_exist(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert DISK.real(tmp_path / "link") == (tmp_path / "a").resolve()
    assert DISK.real(tmp_path / "x" / ".." / "a") is None
    for name in ("circle", "dangling", "nowhere", "a/b", "zero\0byte", "n" * 5000):
        assert DISK.real(tmp_path / name) is None


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    found = {
        name: (DISK.is_file(tmp_path / name), DISK.is_dir(tmp_path / name)) for name in ("a", "link", "pipe", ".", "no")
    }
    assert found == {
        "a": (True, False),
        "link": (True, False),
        "pipe": (False, False),
        ".": (False, True),
        "no": (False, False),
    }


def test_names_come_sorted(tmp_path: Path) -> None:
    for name in ("b", "a", "B", ".c"):
        (tmp_path / name).touch()
    assert DISK.names(tmp_path) == [".c", "B", "a", "b"]


def test_large_files_come_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * (CHUNK_BYTES + 1))
    (tmp_path / "empty").touch()
    assert [len(chunk) for chunk in DISK.chunks(tmp_path / "a")] == [CHUNK_BYTES, 1]
    assert list(DISK.chunks(tmp_path / "empty")) == []
