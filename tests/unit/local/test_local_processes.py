import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployer.local.processes import (
    MARK,
    clean_environment,
    end_leftovers,
    holder,
    is_alive,
    leftovers,
    take_lock,
    utc_now,
)
from deployer.local.servers import tethered

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
HOLD = """
import sys, time, pathlib
from deployer.local.processes import take_lock
print(take_lock(pathlib.Path(sys.argv[1])) is not None, flush=True)
time.sleep(60)
"""


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path):
    lock = tmp_path / "lock"
    assert holder(lock) is None
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert holder(lock) == process.pid
        assert take_lock(lock) is None
        process.kill()
    assert holder(lock) is None
    descriptor = take_lock(lock)
    assert descriptor is not None
    os.close(descriptor)


def test_only_marked_processes_are_found_and_ended(tmp_path: Path):
    marked = subprocess.Popen(SLEEP, env={MARK: str(tmp_path)}, start_new_session=True)
    other = subprocess.Popen(SLEEP, env={MARK: str(tmp_path / "other")})
    try:
        assert leftovers(tmp_path) == [marked.pid]
        assert end_leftovers(tmp_path) == []
        assert marked.wait(5) == -9
        assert is_alive(other.pid)
    finally:
        other.kill()
        other.wait()


def test_a_zombie_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 10
    while is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(process.pid)
    process.wait()


def test_a_tethered_process_dies_with_its_parent(tmp_path: Path):
    code = (
        "import subprocess, sys, os\n"
        "from deployer.local.servers import tethered\n"
        "child = subprocess.Popen([*tethered(), sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_alive(child)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(child)


def test_a_tethered_process_whose_parent_is_gone_already_does_not_start():
    command = [*tethered()[:-1], "1", sys.executable, "-c", "print('started')"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_tethered_process_leaves_no_core(tmp_path: Path):
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    done = subprocess.run([*tethered(), sys.executable, "-c", code], capture_output=True, check=True, timeout=20)
    assert done.stdout == b"(0, 0)\n"


def test_secrets_of_the_caller_are_not_handed_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "s")
    monkeypatch.setenv("PATH", "/bin")
    found = clean_environment()
    assert found["PATH"] == "/bin"
    assert not [name for name in found if "SECRET" in name]


def test_now_is_in_utc():
    assert utc_now().endswith("+00:00")
