from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deployer.errors import PlatformError
from deployer.loadgen import locust
from deployer.loadgen.locust import LocustLoad, RunningLocust, find_locustfile
from deployer.ports.loadgen import LoadGenerator, LoadStats
from deployer.ports.platform import ScoringTarget
from tests.unit.engine.scripted import Script, reply, saying, serving

KEY = "canary-secret-7f3a"
OK = saying(reply(200, {"predictions": [3]}))


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    file = tmp_path / "one.json"
    file.write_bytes(b'{"data": [[1]]}')
    return file


def target(url: str) -> ScoringTarget:
    return ScoringTarget(url, {"Authorization": f"Bearer {KEY}"})


def until(true: Callable[[], bool], within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def process_of(running: RunningLocust) -> psutil.Process:
    return psutil.Process(running._process.pid)


def line(**figures: float) -> dict[str, float]:
    return {"t": 0.0, "sent": 0, "over_cap": 0, "lag_p99_ms": 1.0, **figures}


def test_the_adapter_is_a_load_generator() -> None:
    generator: LoadGenerator = LocustLoad()
    assert generator


def test_a_load_as_asked_falls_short_of_nothing() -> None:
    assert locust._shortfall(line(), line(t=10.0, sent=400), 40) is None
    assert locust._shortfall(line(), line(t=10.0, sent=400 - 6 * 20), 40) is None


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (line(t=10.0, sent=270), "27.0 requests/s are sent, 40 are asked for"),
        (line(t=10.0, sent=400, over_cap=3), "3 requests found all slots taken"),
        (line(t=10.0, sent=400, lag_p99_ms=80.0), "up to 80 ms late"),
    ],
)
def test_what_falls_short_is_named(last: dict[str, float], said: str) -> None:
    assert said in (locust._shortfall(line(), last, 40) or "")


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "{broken", '{"other": 1}', "[1]"])
def test_noise_is_not_taken_for_figures(text: str) -> None:
    assert locust.figures_of(text) is None


def test_the_locustfile_of_a_checkout_is_beside_the_package() -> None:
    assert find_locustfile() == Path(__file__).parents[3] / "loadtests" / "scoring.py"


def test_the_installed_locustfile_is_found_wherever_the_installer_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "lib" / "site-packages"
    monkeypatch.setattr(locust.deployer, "__file__", str(site / "deployer" / "__init__.py"))
    record = site / "deployer-9.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    (record.parent / "METADATA").write_text("Metadata-Version: 2.1\nName: deployer\nVersion: 9\n")
    record.write_text("deployer/__init__.py,,\n../../share/deployer/loadtests/scoring.py,,\n")
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(PlatformError, match=r"is neither .*scoring\.py nor among the installed files"):
        find_locustfile()
    installed = tmp_path / "share" / "deployer" / "loadtests" / "scoring.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert find_locustfile() == installed


def test_the_process_inherits_no_credentials_and_no_locust_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", KEY)
    monkeypatch.setenv("LOCUST_MODE_MASTER", "true")
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    inherited = locust._environment()
    assert not {"AZURE_CLIENT_SECRET", "LOCUST_MODE_MASTER"} & inherited.keys()
    assert {"PATH", "SSL_CERT_FILE"} <= inherited.keys()


@pytest.mark.local
def test_requests_arrive_with_the_key_at_the_asked_rate_until_the_context_ends(payload: Path) -> None:
    with serving(OK) as server:
        started = time.monotonic()
        with LocustLoad(seed=1).run(target(server.url), rps=40, payload=payload) as running:
            start_s = time.monotonic() - started
            process = process_of(running)
            until(lambda: running.stats().sent >= 100)
            stats = running.stats()
            assert "ms late" in (running.problem() or "0 ms late"), "this machine may be busy, and nothing else"
            assert not process.net_connections(kind="inet") or all(
                connection.status != psutil.CONN_LISTEN for connection in process.net_connections(kind="inet")
            )
        assert not psutil.pid_exists(process.pid)
        asked = len(server.asked)
        time.sleep(0.3)
        assert len(server.asked) == asked
    print(f"started in {start_s:.2f}s")
    assert stats.failed == 0
    assert 0 <= stats.sent - stats.answered <= 5
    assert running.stats() == LoadStats(asked, asked, 0), "what was in flight ended before the process did"
    assert {request.headers["authorization"] for request in server.asked} == {f"Bearer {KEY}"}
    assert {request.body for request in server.asked} == {b'{"data": [[1]]}'}
    assert len({request.headers["x-ms-client-request-id"] for request in server.asked}) == asked


@pytest.mark.local
@pytest.mark.slow
def test_the_key_is_neither_in_the_command_line_nor_in_the_environment(payload: Path) -> None:
    with serving(OK) as server, LocustLoad().run(target(server.url), rps=5, payload=payload) as running:
        process = process_of(running)
        assert KEY not in " ".join(process.cmdline())
        assert KEY not in str(process.environ())


@pytest.mark.local
@pytest.mark.parametrize(
    ("content", "rps", "said"),
    [
        (None, 5, "No such file"),
        pytest.param(b"", 5, "holds no request", marks=pytest.mark.slow),
        pytest.param(b"{}", -1, "not a positive number", marks=pytest.mark.slow),
    ],
)
def test_a_load_that_cannot_start_says_why_and_leaves_nothing(
    tmp_path: Path, content: bytes | None, rps: float, said: str
) -> None:
    file = tmp_path / "many.jsonl"
    if content is not None:
        file.write_bytes(content)
    with (
        pytest.raises(PlatformError, match=said),
        LocustLoad().run(target("http://127.0.0.1:9/"), rps=rps, payload=file),
    ):
        pytest.fail("it started")
    assert not [child for child in psutil.Process().children() if "locust" in " ".join(child.cmdline())]


@pytest.mark.local
@pytest.mark.slow
def test_the_key_does_not_leave_for_another_machine_in_clear(payload: Path) -> None:
    with (
        pytest.raises(PlatformError, match=r"http://ml\.example is not encrypted"),
        LocustLoad().run(target("http://ml.example/score"), rps=5, payload=payload),
    ):
        pytest.fail("it started")


@pytest.mark.local
def test_a_load_that_hangs_at_its_start_is_given_up(payload: Path) -> None:
    with (
        pytest.raises(PlatformError, match=r"not running after 0\.05s"),
        LocustLoad(start_s=0.05).run(target("http://127.0.0.1:9/"), rps=5, payload=payload),
    ):
        pytest.fail("it started")


@pytest.mark.local
@pytest.mark.slow
def test_a_killed_load_is_a_problem_and_so_is_a_frozen_one(payload: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locust, "SILENT_S", 1.5)
    with serving(OK) as server, LocustLoad().run(target(server.url), rps=5, payload=payload) as running:
        process = process_of(running)
        process.suspend()
        until(lambda: running.problem() is not None)
        assert "has not reported for" in (running.problem() or "")
        process.kill()
        until(lambda: "ended by itself (exit code -9)" in (running.problem() or ""))


@pytest.mark.local
@pytest.mark.slow
def test_a_frozen_load_is_ended_all_the_same(payload: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locust, "STOP_S", 0.5)
    with serving(OK) as server, LocustLoad().run(target(server.url), rps=5, payload=payload) as running:
        process = process_of(running)
        process.suspend()
    assert not psutil.pid_exists(process.pid)


@pytest.mark.local
@pytest.mark.slow
def test_an_exception_ends_the_load(payload: Path) -> None:
    with serving(OK) as server:
        with pytest.raises(ZeroDivisionError), LocustLoad().run(target(server.url), rps=5, payload=payload) as running:
            raise ZeroDivisionError
        assert not psutil.pid_exists(running._process.pid)


@pytest.mark.local
def test_the_load_dies_with_a_parent_that_is_killed(payload: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deployer.loadgen.locust import LocustLoad\n"
        "from deployer.ports.platform import ScoringTarget\n"
        "with LocustLoad().run(ScoringTarget(sys.argv[1], {}), rps=5, payload=Path(sys.argv[2])) as running:\n"
        "    print(running._process.pid, flush=True); time.sleep(60)"
    )
    with (
        serving(OK) as server,
        subprocess.Popen(
            [sys.executable, "-c", program, server.url, str(payload)], stdout=subprocess.PIPE, text=True
        ) as parent,
    ):
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def failing(script: Script, payload: Path, *, in_flight: int = 256) -> tuple[LoadStats, str | None]:
    with (
        serving(script) as server,
        LocustLoad(in_flight=in_flight).run(target(server.url), rps=40, payload=payload) as running,
    ):
        until(lambda: running.stats().failed >= 20)
        return running.stats(), running.problem()


@pytest.mark.local
def test_errors_and_redirects_and_hang_ups_are_failures_and_the_key_goes_nowhere_else(payload: Path) -> None:
    with serving(OK) as trap:
        answers = [reply(500, "no"), reply(307, "", headers={"Location": trap.url}), b""]
        turn = iter(range(10**6))
        stats, problem = failing(lambda sock, _asked: sock.sendall(answers[next(turn) % 3]), payload)
    assert stats.answered == 0
    assert problem is None, "failing requests are the endpoint's affair: the load itself runs as asked"
    assert not trap.asked


@pytest.mark.local
@pytest.mark.slow
def test_arrivals_without_a_free_slot_are_failures_and_a_problem(payload: Path) -> None:
    stats, problem = failing(lambda _sock, _asked: time.sleep(1), payload, in_flight=3)
    assert stats.sent - stats.answered - stats.failed <= 3
    assert "found all slots taken" in (problem or "")
