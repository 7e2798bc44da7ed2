"""Real processes, killed with SIGKILL before and after every write; a new one on an empty machine converges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.arm import AzureDouble
from doubles.azure.messages import Answer, Request
from runner_process import BEGAN, FASTER, FastClock

from deployer.errors import ExitCode

pytestmark = pytest.mark.azure

PROGRAM = Path(__file__).with_name("runner_process.py")
WRITES = ("PUT", "PATCH", "DELETE")
PATIENCE_S = 120.0


class Stage:
    """A double in this process, and runs in others."""

    def __init__(self, home: Path) -> None:
        self._home, self._runs = home, 0
        self.began = time.time()
        durations = {"traffic_s": 12.0, "deploy_s": 20.0, "scale_s": 5.0, "delete_s": 10.0}
        self.double = AzureDouble(now=FastClock(self.began).now, **durations)
        self.double.create("digits", traffic={"blue": 100}, tags={"team": "ml"})
        self.double.add("digits", "blue", instances=3, tags={"deployer.digest": "base"})
        self.history: list[dict[str, int]] = []
        self.writes = 0
        self.strike: Callable[[int, str], bool] = lambda _number, _moment: False
        """Given the number of a write and ``before`` or ``after``: whether its sender has just been killed."""
        self._answer = self.double.router.answer
        self.double.router.answer = self._answered  # type: ignore[method-assign]

    def _answered(self, request: Request) -> Any:
        if request.method not in WRITES:
            return self._answer(request)
        number, self.writes = self.writes, self.writes + 1
        if self.strike(number, "before"):
            return Answer(0, cut=True), None
        answer = self._answer(request)
        if request.method == "PUT" and request.path.endswith("/digits"):
            self.history.append(request.json["properties"]["traffic"])
        if self.strike(number, "after"):
            return Answer(0, cut=True), None
        return answer

    def start(self, what: str) -> subprocess.Popen[str]:
        """A run on an empty machine."""
        self._runs += 1
        home = self._home / f"home{self._runs}"
        environment = {**os.environ, **self.double.environment(), BEGAN: str(self.began), "DEPLOYER_HOME": str(home)}
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), str(home), what],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, what: str) -> dict[str, Any]:
        """The same, to its end."""
        return self.end(self.start(what))

    def end(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """How it ended; ``exit_code`` -9 when it was killed."""
        out, err = process.communicate(timeout=PATIENCE_S)
        assert err == "", err
        told = json.loads(out) if out else {}
        return {**told, "exit_code": process.returncode}

    @property
    def traffic(self) -> dict[str, int]:
        return dict(self.double.endpoint("digits").traffic)

    def digest(self, name: str) -> str:
        return self.double.deployment("digits", name).document["tags"]["deployer.digest"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    with made.double:
        yield made


def killed_and_run_again(stage: Stage, what: str, number: int, moment: str) -> bool:
    """Kill a run at a write, run again undisturbed, and check the end; False: it has fewer writes."""
    process = stage.start(what)

    def strike(at: int, when: str) -> bool:
        if (at, when) == (number, moment):
            process.send_signal(signal.SIGKILL)
            return True
        return False

    stage.strike = strike
    first = stage.end(process)
    if first["exit_code"] >= 0:
        return False
    stage.strike = lambda _number, _moment: False
    last = stage.run(what)
    assert all(sum(traffic.values()) == 100 for traffic in stage.history)
    if what == "good":
        assert (last["exit_code"], stage.traffic) == (ExitCode.OK, {"green": 100}), last
        assert stage.digest("green") != "base"
    else:
        assert max(traffic.get("green", 0) for traffic in [*stage.history, {}]) <= 20
        assert stage.traffic == {"blue": 100}, last
        assert last["exit_code"] in (ExitCode.GATE_FAILED, ExitCode.ABORTED), last
    return True


@pytest.mark.slow
def test_a_run_that_is_let_be_promotes_a_good_version(stage: Stage) -> None:
    done = stage.run("good")
    assert (done["exit_code"], stage.traffic) == (ExitCode.OK, {"green": 100}), done


@pytest.mark.parametrize(("number", "moment"), [(4, "after")])
def test_a_run_killed_at_a_write_is_taken_up_by_the_next(stage: Stage, number: int, moment: str) -> None:
    assert killed_and_run_again(stage, "good", number, moment)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["good", "bad"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(16))
def test_a_run_killed_at_any_write_is_taken_up_by_the_next(stage: Stage, number: int, moment: str, what: str) -> None:
    assert killed_and_run_again(stage, what, number, moment) or number > 8


@pytest.mark.slow
def test_of_two_processes_that_start_at_once_one_moves_traffic(stage: Stage) -> None:
    processes = [stage.start("good") for _ in range(2)]
    ends = sorted(stage.end(process)["exit_code"] for process in processes)
    assert ends in ([ExitCode.OK, ExitCode.REFUSED], [ExitCode.OK, ExitCode.OK]), ends
    assert stage.history == [{"blue": 80, "green": 20}, {"green": 100}]
    assert stage.traffic == {"green": 100}


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.5 / FASTER)


@pytest.mark.slow
def test_a_rollback_from_an_empty_machine_stops_the_run_and_has_the_last_word(stage: Stage) -> None:
    running = stage.start("long")
    wait_for(lambda: "green" in stage.traffic)
    done = stage.run("rollback")
    first = stage.end(running)
    assert done["exit_code"] == ExitCode.OK, done
    assert first["exit_code"] in (ExitCode.ABORTED, ExitCode.REFUSED), first
    assert stage.traffic == {"blue": 100}


@pytest.mark.slow
def test_a_run_that_is_told_to_end_brings_traffic_back_first(stage: Stage) -> None:
    running = stage.start("long")
    wait_for(lambda: "green" in stage.traffic)
    running.send_signal(signal.SIGTERM)
    assert stage.end(running)["exit_code"] == ExitCode.ABORTED
    assert stage.traffic == {"blue": 100}
