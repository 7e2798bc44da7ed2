"""``deployer loadtest`` against a real endpoint: Envoy, model servers and Locust, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.e2e.stage import Running, Stage, until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
QUICK = ("--rps", "40", "--warm-up", "1s")


def kept(stage: Stage) -> list[Path]:
    return sorted((stage.home / "loadtests" / "local" / "tiny").glob("*.json"))


def trusted(stage: Stage, *arguments: object) -> dict[str, Any]:
    """Run until the machine was not too busy to send on time: such a run is thrown away, which is right."""
    for _ in range(5):
        record = stage.json("loadtest", *arguments)
        if record["trusted"]:
            return record
        assert record["exit_code"] == 11
    pytest.fail(f"this machine is too busy for any load test: {record['text']}")


def test_a_good_endpoint_meets_its_targets_and_a_tight_one_is_missed(stage: Stage) -> None:
    stage.seed()
    generous = stage.manifest("generous", slo={"latency": {"p50": "1s"}, "error_rate": "20%"})
    met = trusted(stage, generous, *QUICK, "--for", "4s", "--seed", "1")
    assert (met["exit_code"], met["result"], met["partial"]) == (0, "passed", None), met["text"]
    assert met["traffic"] == {"blue": 100}
    assert met["requests"]["by_status"] == {"200": met["requests"]["sent"]}
    assert met["requests"]["warm_up"] > 10
    assert 100 < met["requests"]["sent"] < 220
    assert [json.loads(path.read_text())["id"] for path in kept(stage)] == [met["id"]]
    page = Path(met["report"]).read_text()
    assert "TARGETS MET" in page
    assert "<script" not in page
    tight = stage.manifest("tight", slo={"latency": {"p50": "1ms"}})
    files = [stage.folder / name for name in ("out.xml", "out.md", "out.html")]
    reports = [word for path in files for word in ("--report", str(path))]
    missed = trusted(stage, tight, *QUICK, "--for", "4s", "--deployment", "blue", *reports)
    assert (missed["exit_code"], missed["result"], missed["previous"]) == (10, "missed", None)
    assert ET.parse(files[0]).getroot().get("failures") == "1"  # noqa: S314 - our own file
    assert "| p50 |" in files[1].read_text()
    assert "TARGET MISSED: tiny/blue at" in files[2].read_text()
    assert stage.load_generators() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_figures_and_leaves_nothing_running(stage: Stage, number: int) -> None:
    stage.seed()
    running = stage.start("loadtest", stage.manifest(), *QUICK, "--for", "60s")
    running.wait_for("measuring|warming up")
    until(stage.load_generators)
    running.wait_for("measuring")
    running.send(number)
    assert running.wait() == 12, running.text
    assert f"interrupted by {signal.Signals(number).name}" in running.text
    (path,) = kept(stage)
    record = json.loads(path.read_text())
    assert (record["interrupted"], record["result"], record["exit_code"]) == (True, "inconclusive", 12)
    assert record["requests"]["ended"] > 20
    assert stage.load_generators() == []


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["warming up", "measuring"])
def test_who_insists_leaves_at_once_and_leaves_nothing_running(stage: Stage, phase: str) -> None:
    stage.seed()
    running = stage.start("loadtest", stage.manifest(), "--rps", "40", "--warm-up", "9s", "--for", "60s")
    running.wait_for("warming up")
    running.wait_for(phase)
    running.send(signal.SIGINT)
    running.wait_for("the same again leaves at once")
    running.send(signal.SIGINT)
    assert running.wait() == 12, running.text
    assert "left at once: the load ends with this process; its figures are not kept" in running.text
    until(lambda: not stage.load_generators(), 5)


@pytest.mark.slow
def test_an_interruption_while_warming_up_is_kept_as_such(stage: Stage) -> None:
    stage.seed()
    running = stage.start("loadtest", stage.manifest(), "--rps", "40", "--warm-up", "60s", "--for", "60s")
    running.wait_for("warming up")
    running.send(signal.SIGINT)
    assert running.wait() == 12, running.text
    assert "no request of the measured time was answered (it ended early: interrupted by SIGINT)" in running.text
    (path,) = kept(stage)
    assert json.loads(path.read_text())["requests"]["sent"] == 0
    assert stage.load_generators() == []


def invited(stage: Stage, running: Running) -> list[subprocess.Popen[str]]:
    """Start two workers by the very words of the invitation, as on other hosts: only the key is put in."""
    said = running.wait_for("start each with").partition("start each with ")[2].split()
    key = stage.platform.scoring_target().headers["Authorization"].removeprefix("Bearer ")
    assert said[:2] == ["DEPLOYER_LOAD_KEY=...", "locust"]
    command, env = [sys.executable, "-m", *said[1:]], {**os.environ, "DEPLOYER_LOAD_KEY": key}
    return [
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("loses", [False, True])
def test_workers_of_other_hosts_join_as_they_are_told_to(stage: Stage, loses: bool) -> None:
    stage.seed()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    slo = {"latency": {"p50": "2s"}, "error_rate": "50%"}
    engine = ("--engine", "distributed", "--bind", "127.0.0.1", "--port", port, "--workers", "2")
    running = stage.start("loadtest", stage.manifest(slo=slo), *QUICK, "--for", "8s", *engine)
    workers = invited(stage, running)
    try:
        running.wait_for("warming up|measuring")
        if loses:
            workers[0].kill()
        code = running.wait()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    (record,) = (json.loads(path.read_text()) for path in kept(stage))
    lost = "1 of the load generator's workers were lost"
    assert (record["partial"], record["engine"]) == (lost if loses else None, "distributed"), running.text
    assert code == (11 if loses or not record["trusted"] else 0), running.text
    assert record["requests"]["by_status"].keys() == {"200"}
    assert stage.load_generators() == []


@pytest.mark.slow
def test_an_endpoint_that_dies_in_the_middle_ends_the_run(stage: Stage) -> None:
    stage.seed()
    running = stage.start("loadtest", stage.manifest(), *QUICK, "--for", "90s", "--timeout", "2s")
    running.wait_for("measuring")
    assert stage.run("local", "down").code == 0
    assert running.wait() in (10, 11), running.text
    assert "the endpoint stopped answering" in running.text
    assert stage.load_generators() == []


@pytest.mark.slow
def test_two_runs_with_the_same_load_are_compared(stage: Stage) -> None:
    stage.seed()
    first = trusted(stage, stage.manifest(), *QUICK, "--for", "5s")
    other = trusted(stage, stage.manifest(), "--rps", "20", "--warm-up", "1s", "--for", "5s")
    again = trusted(stage, stage.manifest(), *QUICK, "--for", "5s")
    assert (first["previous"], other["previous"]) == (None, None)
    assert again["previous"]["id"] == first["id"]
    assert {change["metric"] for change in again["previous"]["changes"]} >= {"p50", "p99", "error_rate"}


@pytest.mark.slow
def test_recorded_arrivals_are_repeated(stage: Stage) -> None:
    stage.seed()
    recording = stage.folder / "arrivals.txt"
    recording.write_text("\n".join(str(number / 50) for number in range(250)))
    done = stage.json("loadtest", stage.manifest(), "--replay", recording, "--warm-up", "0s", "--processes", "2")
    assert done["requests"]["sent"] == 250, done["text"]
    assert done["load"]["arrivals"] == "replay"
