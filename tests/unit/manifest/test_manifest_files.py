"""Paths stay where they belong, whatever links say; contents are fingerprinted whole, and alike on every machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deployer.manifest import files
from deployer.manifest.files import fingerprint, locate, project_root, read
from deployer.manifest.problems import FieldError
from deployer.stores.files import DiskFiles

DISK = DiskFiles()


class BrokenDisk(DiskFiles):
    """A disk on which everything is there and nothing can be read."""

    def names(self, directory: Path) -> Sequence[str]:
        raise PermissionError(13, "Permission denied")

    def chunks(self, path: Path) -> Iterator[bytes]:
        raise OSError(5, "Input/output error")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "ok.json").write_text("{}")
    (tmp_path / "outside.json").write_text("{}")
    return home.resolve()


def test_a_relative_path_is_found(home: Path) -> None:
    assert locate(DISK, home, "ok.json", home) == home / "ok.json"
    assert locate(DISK, home / "sub", "../ok.json", home) == home / "ok.json"
    assert locate(DISK, home, "sub/./../ok.json", home) == home / "ok.json"


@pytest.mark.parametrize("written", ["", "/etc/passwd", "C:\\x", "c:x", "\\\\host\\share\\x"])
def test_only_relative_paths_are_taken(home: Path, written: str) -> None:
    with pytest.raises(FieldError, match="is not a relative path"):
        locate(DISK, home, written, home)


@pytest.mark.parametrize(
    "written", ["../outside.json", "sub/../../outside.json", "..", "link.json", "linked/outside.json"]
)
def test_no_path_leads_out(home: Path, written: str) -> None:
    (home / "link.json").symlink_to(home.parent / "outside.json")
    (home / "linked").symlink_to(home.parent)
    with pytest.raises(FieldError, match=r"leads out of home/"):
        locate(DISK, home, written, home)


def test_a_link_that_stays_inside_is_followed(home: Path) -> None:
    (home / "link.json").symlink_to("ok.json")
    assert locate(DISK, home, "link.json", home) == home / "ok.json"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("okk.json", "did you mean 'ok.json'?"),
        ("zzzzzzz", "create it, or correct the path"),
        ("nowhere/ok.json", "create it, or correct the path"),
        ("ok.json/x", "create it, or correct the path"),
        ("../outsde.json", "create it, or correct the path"),
        ("a\0b", "create it, or correct the path"),
        ("circle", "create it, or correct the path"),
    ],
)
def test_what_does_not_exist_gets_a_hint_from_inside_only(home: Path, written: str, hint: str) -> None:
    (home / "circle").symlink_to("circle")
    with pytest.raises(FieldError, match="does not exist") as caught:
        locate(DISK, home, written, home)
    assert caught.value.hint in (hint, "did you mean 'circle'?")


def test_a_directory_that_cannot_be_listed_gives_no_hint(home: Path) -> None:
    with pytest.raises(FieldError, match="does not exist") as caught:
        locate(BrokenDisk(), home, "okk.json", home)
    assert caught.value.hint == "create it, or correct the path"


def test_the_root_is_where_git_is_or_else_the_directory_itself(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert project_root(DISK, inner) == inner
    (tmp_path / "a" / ".git").write_text("gitdir: elsewhere")  # a worktree
    assert project_root(DISK, inner) == tmp_path / "a"
    (inner / ".git").mkdir()
    assert project_root(DISK, inner) == inner


def test_reading_has_a_limit(home: Path) -> None:
    (home / "big").write_bytes(b"x" * 3000)
    assert read(DISK, home / "big", 3000) == b"x" * 3000
    with pytest.raises(FieldError, match="'big' is larger than 2 KiB"):
        read(DISK, home / "big", 2048)


def test_only_regular_files_are_read(home: Path) -> None:
    os.mkfifo(home / "pipe")
    for name in ("pipe", "sub"):
        with pytest.raises(FieldError, match=f"'{name}' is not a file"):
            read(DISK, home / name, 10)


def test_what_cannot_be_read_is_said(home: Path) -> None:
    with pytest.raises(FieldError, match=r"'ok.json' cannot be read: Input/output error"):
        read(BrokenDisk(), home / "ok.json", 10)
    with pytest.raises(FieldError, match=r"'ok.json' cannot be read: Input/output error"):
        fingerprint(BrokenDisk(), home / "ok.json", home)
    with pytest.raises(FieldError, match="'home' cannot be read: Permission denied"):
        fingerprint(BrokenDisk(), home, home)


def test_the_fingerprint_is_of_names_and_contents(home: Path) -> None:
    (home / "sub" / "a.py").write_text("1")
    first = fingerprint(DISK, home, home)
    assert fingerprint(DISK, home, home) == first
    assert len(first) == 64
    (home / "sub" / "a.py").write_text("2")
    changed = fingerprint(DISK, home, home)
    (home / "sub" / "a.py").rename(home / "sub" / "b.py")
    renamed = fingerprint(DISK, home, home)
    (home / "sub" / "b.py").rename(home / "b.py")
    moved = fingerprint(DISK, home, home)
    (home / "empty").touch()
    assert len({first, changed, renamed, moved, fingerprint(DISK, home, home)}) == 5


def test_contents_cannot_slip_from_one_file_into_the_next(tmp_path: Path) -> None:
    prints: set[str] = set()
    for name, contents in (
        ("one", {"a": "ab", "b": ""}),
        ("two", {"a": "a", "b": "b"}),
        ("three", {"ab": "", "b": ""}),
    ):
        (tmp_path / name).mkdir()
        for file, text in contents.items():
            (tmp_path / name / file).write_text(text)
        prints.add(fingerprint(DISK, tmp_path / name, tmp_path))
    assert len(prints) == 3


def test_caches_and_hidden_directories_are_left_out_and_hidden_files_are_not(home: Path) -> None:
    first = fingerprint(DISK, home, home)
    for name in ("__pycache__", ".venv"):
        (home / name).mkdir()
        (home / name / "x.pyc").write_text("x")
    assert fingerprint(DISK, home, home) == first
    (home / ".env").write_text("A=1")
    assert fingerprint(DISK, home, home) != first


def test_a_linked_file_counts_with_its_content(home: Path) -> None:
    (home / "sub" / "link").symlink_to(home / "ok.json")
    first = fingerprint(DISK, home / "sub", home)
    (home / "ok.json").write_text('{"changed": 1}')
    assert fingerprint(DISK, home / "sub", home) != first


def test_names_that_are_no_utf_8_are_fingerprinted_too(home: Path) -> None:
    (home / "sub" / os.fsdecode(b"\xff.py")).write_text("1")
    assert len(fingerprint(DISK, home, home)) == 64


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("../..", "'sub/link' leads out of home/"),
        (".", "'sub/link' is a link to a directory above it"),
        ("..", "'sub/link' is a link to a directory above it"),
        ("nowhere", "'sub/link' does not exist"),
    ],
)
def test_links_that_lead_nowhere_good_are_refused(home: Path, target: str, why: str) -> None:
    (home / "sub" / "link").symlink_to(target)
    with pytest.raises(FieldError, match=why):
        fingerprint(DISK, home, home)


def test_special_files_are_refused(home: Path) -> None:
    os.mkfifo(home / "sub" / "pipe")
    with pytest.raises(FieldError, match="'sub/pipe' is neither a file nor a directory"):
        fingerprint(DISK, home, home)


def test_a_directory_with_too_many_files_is_the_wrong_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 3)
    for n in range(2):
        (home / f"f{n}").touch()
    assert fingerprint(DISK, home, home)
    (home / "f2").touch()
    with pytest.raises(FieldError, match="'home' holds over 3 files"):
        fingerprint(DISK, home, home)
