"""A runner that is killed, stopped or doubled: the endpoint ends in a defined state."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.e2e.stage import Running, Stage, canary, until
from tests.e2e.users import using

pytestmark = pytest.mark.e2e

SPLIT = {"blue": 80, "green": 20}
AT_20 = r"shift .*green 20%"


def killed_at_20_pct(stage: Stage) -> None:
    stage.seed()
    rollout = stage.start("rollout", stage.manifest())
    rollout.wait_for(AT_20)
    assert len(stage.load_generators()) == 1
    rollout.send(signal.SIGKILL)
    assert rollout.wait() == -signal.SIGKILL


def judging(stage: Stage, **changes: object) -> Running:
    """A rollout that stays at 20 % for as long as a test needs."""
    stage.seed()
    rollout = stage.start("rollout", stage.manifest(strategy=canary(20, least="50s"), **changes))
    rollout.wait_for(AT_20)
    return rollout


def test_after_kill_9_envoy_goes_on_serving_and_the_next_run_takes_over_and_promotes(stage: Stage) -> None:
    killed_at_20_pct(stage)
    until(lambda: not stage.load_generators())
    with using(stage.platform.scoring_target(), 50) as users:
        until(lambda: len(users.answers) > 60)
        assert stage.observe().traffic == SPLIT
        assert users.served_by().keys() == {"blue", "green"}
        said = stage.run("rollout", "rollout.yaml")
    assert said.code == 0, said.text
    assert "resuming rollout" in said.out
    assert stage.traffic() == {"green": 100}
    assert users.failed == []


def test_after_kill_9_an_abort_brings_traffic_back(stage: Stage) -> None:
    killed_at_20_pct(stage)
    aborted = stage.json("abort", stage.endpoint, "--reason", "the runner is gone")
    assert aborted["exit_code"] == 0, aborted
    status = stage.json("status", stage.endpoint)
    assert (status["traffic"], status["active"], status["phase"]) == ({"blue": 100}, False, "rolled_back")
    assert list(status["deployments"]) == ["blue"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_brings_traffic_back_within_3_s(stage: Stage, number: signal.Signals) -> None:
    rollout = judging(stage)
    rollout.send(number)
    seconds = until(lambda: stage.observe().traffic == {"blue": 100}, 3)
    print(f"{number.name}: traffic was back after {seconds:.2f} s")
    assert rollout.wait() == 12, rollout.text
    assert f"stopped by {number.name}" in rollout.lines[-1]
    assert stage.observe().deployments.keys() == {"blue"}
    assert stage.strangers() == {}


def test_the_same_signal_again_leaves_at_once_and_the_next_command_finishes(stage: Stage) -> None:
    rollout = judging(stage)
    daemon = stage.parts()["daemon_pid"]
    os.kill(daemon, signal.SIGSTOP)  # so that the way back cannot be over before the second signal
    try:
        rollout.send(signal.SIGINT)
        time.sleep(0.3)
        assert rollout.process.poll() is None
        rollout.send(signal.SIGINT)
        assert rollout.wait(15) == 30
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert stage.run("abort", stage.endpoint).code == 0
    assert stage.traffic() == {"blue": 100}


def test_while_a_model_takes_its_time_to_load_a_second_rollout_is_refused_and_the_first_goes_on(stage: Stage) -> None:
    stage.seed()
    first = stage.start("rollout", stage.manifest(environment={"LOAD_S": "6"}))
    first.wait_for("wait .*green-0: starting")
    second = stage.json("rollout", stage.manifest("other", environment={"VERSION": "3"}))
    assert second["exit_code"] == 5
    assert "another rollout of this endpoint is running" in second["error"]["message"]
    assert "deployer abort" in second["error"]["hint"]
    assert first.process.poll() is None
    assert first.wait() == 0, first.text
    assert stage.traffic() == {"green": 100}


def test_an_abort_from_another_process_ends_the_running_rollout(stage: Stage) -> None:
    rollout = judging(stage)
    aborted = stage.run("abort", stage.endpoint, "--reason", "wrong model")
    assert (aborted.code, "verified back" in aborted.out) == (0, True), aborted.text
    assert stage.traffic() == {"blue": 100}
    assert rollout.wait() == 12, rollout.text
    assert "wrong model" in rollout.lines[-1]


def test_a_paused_rollout_goes_on_when_another_process_promotes_it(stage: Stage) -> None:
    stage.seed()
    manifest = stage.manifest(strategy=canary(20, {"pause": {}}))
    paused = stage.json("rollout", manifest)
    assert paused["exit_code"] == 20, paused
    assert paused["rollout"]["traffic"] == SPLIT
    assert stage.traffic() == SPLIT
    assert stage.strangers() == {}
    promoted = stage.json("promote", manifest)
    assert promoted["exit_code"] == 0, promoted
    assert stage.traffic() == {"green": 100}
