"""The telemetry of a running endpoint where it is hard: large logs, a full disk, a store that is broken."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployer.errors import TelemetryError
from deployer.local import lifecycle
from deployer.local.layout import Layout
from tests.contract.local_world import LocalWorld, make_spec

pytestmark = pytest.mark.local

COUNT = "AmlOnlineEndpointTrafficLog | where ResponseCode == 200 | count"

PATCHED = """
import os, sys
os.umask(0o077)
from deployer.local import traffic
from deployer.local.daemon import main
{patch}
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def patched_daemon(home: Path, patch: str) -> Iterator[LocalWorld]:
    """An endpoint whose daemon has other limits; the test is its keeper."""
    layout = Layout.of(home, "digits")
    layout.prepare()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        daemon = subprocess.Popen(
            [sys.executable, "-c", PATCHED.format(patch=patch), str(layout.root), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
        world = LocalWorld(home)
        deadline = time.monotonic() + 20
        while not layout.control.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            yield world
        finally:
            world.platform.client.call("shutdown")
            daemon.wait(20)
            world.end()


def start_blue(world: LocalWorld) -> None:
    world.platform.ensure_endpoint({"name": "digits"})
    world.platform.create_deployment(make_spec("blue"))
    world.await_ready("blue")
    world.platform.set_traffic({"blue": 100}, {})


def counted(world: LocalWorld) -> int:
    return world.platform.client.query(COUNT)["rows"][0][0]


def test_logs_that_grow_large_are_replaced_and_no_answer_is_lost(tmp_path: Path):
    with patched_daemon(tmp_path, "traffic._ROTATE_BYTES, traffic._ROTATE_EVERY_S = 20_000, 4") as world:
        start_blue(world)
        old = world.platform.client.layout.telemetry / "live.log.1"
        asked = 0
        deadline = time.monotonic() + 30
        while (asked < 150 or not old.exists()) and time.monotonic() < deadline:
            assert world.ask().code == 200
            asked += 1
        assert old.exists()
        while counted(world) < asked and time.monotonic() < deadline:
            time.sleep(0.1)
        assert counted(world) == asked
        assert world.platform.client.counters()["answered"]["blue"] == asked


def test_without_a_store_traffic_goes_on_and_queries_say_why(tmp_path: Path):
    patch = "def broken(*_): raise RuntimeError('no such store')\ntraffic.TrafficLog = broken"
    with patched_daemon(tmp_path, patch) as world:
        start_blue(world)
        assert world.ask().code == 200
        with pytest.raises(TelemetryError, match="no such store"):
            world.platform.client.query(COUNT)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which a test can fill."""
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", path], check=False).returncode:
        pytest.skip("mounting a disk takes root")
    yield path
    lifecycle.down(path, forget=True)
    subprocess.run(["umount", "-l", path], check=True)


def test_on_a_full_disk_the_way_back_still_works(disk: Path):
    world = LocalWorld(disk)
    start_blue(world)
    world.platform.create_deployment(make_spec("green"))
    world.await_ready("green")
    world.platform.set_traffic({"blue": 75, "green": 25}, {})
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
        world.platform.set_traffic({"blue": 100}, {})
        assert world.observe().traffic == {"blue": 100}
        assert {world.ask().served_by for _ in range(5)} == {"blue"}
        assert not world.platform.client.layout.ballast.exists()
    (disk / "filler").unlink()
    deadline = time.monotonic() + 10
    while not world.platform.client.layout.ballast.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert world.platform.client.layout.ballast.exists()
