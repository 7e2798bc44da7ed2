"""The locustfile as users run it: ``locust -f loadtests/scoring.py --headless``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.engine.scripted import Asked, Scripted, reply, saying, serving

ROOT = Path(__file__).parents[3]
OK = saying(reply(200, {"predictions": [3]}))

pytestmark = pytest.mark.local


def command(server: Scripted, payload: Path, *options: str) -> list[str]:
    headless = ["--headless", "--only-summary", "--loglevel", "WARNING"]
    asked = ["--host", server.url, "--payload", str(payload), *options]
    return [sys.executable, "-m", "locust", "-f", "loadtests/scoring.py", *headless, *asked]


def run(server: Scripted, payload: Path, *options: str, **variables: str) -> list[dict[str, Any]]:
    """Return what is printed; nothing else is, and no key is."""
    ended = subprocess.run(
        command(server, payload, *options),
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "canary" not in ended.stdout + ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    file = tmp_path / "bodies.jsonl"
    file.write_text('{"data": 1}\n\n{"data": 2}\n')
    return file


def test_a_stalled_server_is_seen_as_its_users_see_it(payload: Path) -> None:
    """Coordinated omission: 1 s of 4 is frozen, so a quarter of the arrivals wait, up to 1 s: p95 is 0.8 s."""
    started, in_flight, most = 0.0, 0, 0

    def stalling(sock: socket.socket, _asked: Asked) -> None:
        nonlocal started, in_flight, most
        started = started or time.monotonic()
        in_flight += 1
        most = max(most, in_flight)
        at = time.monotonic() - started
        time.sleep(2 - at if 1 < at < 2 else 0)
        in_flight -= 1
        sock.sendall(reply(200, {}))

    with serving(stalling) as server:
        *_, summary = run(server, payload, "--shape", "stages:4s@60", "--seed", "1")
    assert summary["p95_ms"] > 650
    assert summary["p50_ms"] < summary["p95_ms"] / 3
    assert (summary["failed"], summary["sent"]) == (0, summary["answered"])
    assert most > 30, "the client's own pool must not hold requests back"


@pytest.mark.slow
def test_a_generator_that_was_frozen_counts_its_own_delay_and_distrusts_itself(payload: Path) -> None:
    with serving(OK) as server:
        locust = subprocess.Popen(
            command(server, payload, "--shape", "stages:3s@60"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        while len(server.asked) < 20:
            assert locust.poll() is None
            time.sleep(0.01)
        locust.send_signal(signal.SIGSTOP)
        time.sleep(1)
        locust.send_signal(signal.SIGCONT)
        out, _ = locust.communicate(timeout=30)
    summary = json.loads(out.splitlines()[-1])
    assert summary["p95_ms"] > 650
    assert "late (p99): this machine is too busy" in summary["unhealthy"]


def test_one_line_a_second_and_a_summary_at_the_end_without_the_key(payload: Path, tmp_path: Path) -> None:
    page, shape = tmp_path / "page.html", "stages:2.5s@30"
    variables = {"DEPLOYER_LOAD_SEED": "1", "DEPLOYER_LOAD_KEY": "canary-secret-7f3a\n"}
    with serving(OK) as server:
        *lines, summary = run(server, payload, "--shape", shape, "--html", str(page), **variables)
    assert "canary" not in page.read_text()
    assert [round(line["t"]) for line in lines][:3] == [0, 1, 2]
    assert summary["sent"] == summary["answered"] == len(server.asked)
    assert sum(summary["histogram_ms"].values()) == summary["answered"]
    assert {asked.body for asked in server.asked} == {b'{"data": 1}', b'{"data": 2}'}
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer canary-secret-7f3a"}
    print(f"at 30 requests/s: lag p99 {summary['lag_p99_ms']} ms, {summary['cpu_pct']} % of a core")


@pytest.mark.slow
def test_a_seed_repeats_what_is_sent(payload: Path) -> None:
    bodies = []
    for _ in range(2):
        with serving(OK) as server:
            run(server, payload, "--shape", "stages:1s@50", "--seed", "3")
            bodies.append([asked.body for asked in sorted(server.asked, key=number)])
    assert bodies[0] == bodies[1]


def number(asked: Asked) -> int:
    return int(asked.headers["x-ms-client-request-id"].rpartition("-")[2])


@pytest.mark.slow
def test_users_share_the_rate_without_being_told(payload: Path) -> None:
    with serving(OK) as server:
        *_, summary = run(server, payload, "--shape", "stages:2s@100", "--users", "4", "--spawn-rate", "4")
        assert not run(server, payload, "--users", "4", "--lanes", "3")
    assert abs(summary["sent"] - 200) < 6 * 200**0.5
    assert len(server.asked) == summary["sent"]


@pytest.mark.slow
def test_workers_do_not_outlive_a_master_that_cannot_begin(tmp_path: Path) -> None:
    with serving(OK) as server:  # a worker that went on would hold the pipes, for minutes
        assert not run(server, tmp_path / "none.json", "--processes", "2")
    assert not server.asked


@pytest.mark.slow
@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_an_interrupt_ends_it_with_a_summary(payload: Path, processes: tuple[str, ...]) -> None:
    with serving(OK) as server:
        words = command(server, payload, "--rps", "50", *processes)
        locust = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while len(server.asked) < 100:
            assert locust.poll() is None
            time.sleep(0.01)
        locust.send_signal(signal.SIGINT)
        out, _ = locust.communicate(timeout=30)
    summary = json.loads(out.splitlines()[-1])
    assert summary["summary"] is True
    assert 50 <= summary["sent"] <= len(server.asked), "what the last second held may be missing, no more"
