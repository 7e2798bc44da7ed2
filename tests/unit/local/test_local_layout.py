import os
import stat
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from deployer.errors import PlatformError, TransientError, UsageError
from deployer.local.layout import (
    SOCKET_PATH_MAX,
    Layout,
    check_name,
    keep_ballast,
    open_log,
    read_endpoints,
    require,
    write_atomic,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout.of(tmp_path / "home", "digits")
    layout.prepare()
    return layout


@pytest.mark.parametrize("name", ["abc", "a-b", "Digits-2", "a" * 32])
def test_a_name_that_azure_takes_is_a_name(name: str):
    assert check_name(name, "endpoint") == name


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 33, "../x", "a/b", "a--b", "-ab", "ab-", "1ab", "green\n", "grün", "a.b", "a:b", "a b"]
)
def test_a_name_that_could_leave_the_directory_or_that_azure_refuses_is_none(name: str):
    with pytest.raises(PlatformError, match="not valid"):
        check_name(name, "endpoint")


def test_nobody_else_can_read_the_state(layout: Layout):
    found = [layout.root, *layout.root.rglob("*")]
    assert {mode(path) for path in found if path.is_dir()} == {0o700}


def test_a_state_directory_that_was_open_is_closed(tmp_path: Path):
    layout = Layout.of(tmp_path, "digits")
    layout.root.mkdir(parents=True)
    layout.root.chmod(0o755)
    layout.prepare()
    assert mode(layout.root) == 0o700


def test_preparing_twice_changes_nothing(layout: Layout):
    before = layout.run
    layout.prepare()
    assert layout.run == before


def test_sockets_have_short_paths_however_long_the_home_is(tmp_path: Path):
    layout = Layout.of(tmp_path / ("long" * 20), "digits")
    layout.prepare()
    assert len(os.fsencode(layout.socket("a" * 32 + "-99"))) <= SOCKET_PATH_MAX
    assert mode(layout.run) == 0o700


def test_two_homes_never_share_sockets(tmp_path: Path):
    layouts = [Layout.of(tmp_path / (name * 80), "digits") for name in "ab"]
    for layout in layouts:
        layout.prepare()
    assert layouts[0].run != layouts[1].run


def test_a_socket_directory_is_made_again_after_the_temporary_directory_was_cleaned(tmp_path: Path):
    layout = Layout.of(tmp_path / ("long" * 20), "digits")
    layout.prepare()
    layout.run.rmdir()
    layout.prepare()
    assert layout.run.is_dir()


def test_a_socket_directory_that_others_can_enter_is_refused(tmp_path: Path):
    layout = Layout.of(tmp_path / ("long" * 20), "digits")
    layout.prepare()
    layout.run.chmod(0o755)
    with pytest.raises(PlatformError, match="private"):
        layout.prepare()


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError, match="file") as caught:
        Layout.of(tmp_path / "file", "digits").prepare()
    assert "DEPLOYER_HOME" in caught.value.hint


def test_the_same_home_by_another_way_is_the_same_state(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Layout.of(tmp_path / "link", "digits") == Layout.of(tmp_path / "real", "digits")


def test_a_file_is_replaced_as_a_whole_and_private(layout: Layout):
    write_atomic(layout, layout.record, "one")
    write_atomic(layout, layout.record, "two", durable=False)
    assert layout.record.read_text() == "two"
    assert mode(layout.record) == 0o600
    assert [path.name for path in layout.root.iterdir() if path.name.startswith(".")] == []


def test_a_write_that_fails_leaves_the_file_as_it_was(layout: Layout):
    layout.record.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomic(layout, layout.record, "one")
    assert layout.record.is_dir()
    assert [path.name for path in layout.root.iterdir() if path.name.startswith(".")] == []


def test_logs_are_private_whatever_the_umask(layout: Layout):
    before = os.umask(0)
    try:
        with open_log(layout.log("daemon")) as log:
            log.write(b"x")
    finally:
        os.umask(before)
    assert mode(layout.log("daemon")) == 0o600


def test_only_endpoints_that_were_created_are_listed(tmp_path: Path, layout: Layout):
    assert read_endpoints(tmp_path / "elsewhere") == []
    assert read_endpoints(tmp_path / "home") == []
    write_atomic(layout, layout.record, "{}")
    (layout.root.parent / "not a name").mkdir()
    assert read_endpoints(tmp_path / "home") == [layout]


def test_an_endpoint_that_was_never_created_is_not_found(layout: Layout):
    with pytest.raises(UsageError, match="digits"):
        require(layout)
    write_atomic(layout, layout.record, "{}")
    require(layout)


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file system of 2 MB."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.local
def test_on_a_full_disk_the_ballast_makes_room_for_the_way_back(small_disk: Path):
    layout = Layout.of(small_disk, "digits")
    layout.prepare()
    write_atomic(layout, layout.record, "old")
    layout.ballast.write_bytes(b"x" * (1 << 19))
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
    write_atomic(layout, layout.record, "new" * 4096)
    assert layout.record.read_text() == "new" * 4096
    assert not layout.ballast.exists()
    keep_ballast(layout)
    assert not layout.ballast.exists()


@pytest.mark.local
def test_on_a_full_disk_without_ballast_a_file_stays_as_it_was(small_disk: Path):
    layout = Layout.of(small_disk, "digits")
    layout.prepare()
    write_atomic(layout, layout.record, "old")
    with pytest.raises(TransientError, match="No space") as caught:
        write_atomic(layout, layout.record, "x" * (4 << 20))
    assert "Free disk space" in caught.value.hint
    assert layout.record.read_text() == "old"


def test_ballast_is_put_back_once(layout: Layout):
    keep_ballast(layout)
    written = layout.ballast.stat().st_mtime_ns
    keep_ballast(layout)
    assert layout.ballast.stat().st_mtime_ns == written
    assert layout.ballast.stat().st_size == 1 << 20
