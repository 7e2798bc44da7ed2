"""Parts that die, hang or have no room in mid-rollout: a defined end, traffic that is answered, nothing orphaned."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.stage import Stage, canary, deployment, until
from tests.e2e.users import ask

pytestmark = pytest.mark.e2e

AT_20 = r"shift .*green 20%"
PARTS: dict[str, Callable[[Stage], int]] = {
    "router": lambda stage: stage.parts()["router_pid"],
    "candidate": lambda stage: stage.instance_pid("green"),
    "stable": lambda stage: stage.instance_pid("blue"),
    "daemon": lambda stage: stage.parts()["daemon_pid"],
}


@pytest.mark.parametrize(  # a killed daemon takes the router and the servers along: that is the hardest of them
    "part", ["candidate", "daemon", *(pytest.param(name, marks=pytest.mark.slow) for name in ("router", "stable"))]
)
def test_a_part_that_is_killed_in_mid_rollout_comes_back_and_the_rollout_ends(stage: Stage, part: str) -> None:
    stage.seed()
    rollout = stage.start("rollout", stage.manifest())
    rollout.wait_for(AT_20)
    stage.kill(PARTS[part](stage))
    code = rollout.wait()
    assert code in (0, 10, 11, 13), rollout.text
    assert stage.traffic() == ({"green": 100} if code == 0 else {"blue": 100})
    target = stage.platform.scoring_target()
    until(lambda: ask(target).code == 200)
    assert stage.strangers() == {}


def test_a_model_that_hangs_is_rolled_back(stage: Stage) -> None:
    stage.seed()
    hanging = deployment({"VERSION": "2", "ANSWER_S": "60"}, limit_ms=1000)
    said = stage.run("rollout", stage.manifest(deployment=hanging, smoke=None))
    assert said.code == 10, said.text
    assert stage.traffic() == {"blue": 100}
    assert {ask(stage.platform.scoring_target()).code for _ in range(5)} == {200}


def test_a_port_that_somebody_took_is_named_and_taken_back_when_it_is_free(stage: Stage) -> None:
    stage.seed()
    port = stage.parts()["port"]
    assert stage.json("local", "down")["endpoints"] == [stage.endpoint]
    assert stage.at_work() == {}
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        said = stage.run("rollout", stage.manifest())
        assert said.code == 13
        assert f"port {port} of 127.0.0.1 is taken" in said.err
        assert "next: " in said.err
    assert stage.traffic() == {"blue": 100}


def test_a_disk_without_room_for_the_journal_sends_traffic_back(stage: Stage) -> None:
    stage.seed()
    rollout = stage.start("rollout", stage.manifest(strategy=canary(20, least="50s")))
    rollout.wait_for(AT_20)
    resource.prlimit(rollout.pid, resource.RLIMIT_FSIZE, (100, 100))
    assert rollout.wait() == 13, rollout.text
    assert "cannot write the journal" in rollout.text
    assert "Free disk space" in rollout.text
    assert stage.traffic() == {"blue": 100}


def test_a_home_that_is_no_folder_is_named(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    said = stage.run("rollout", stage.manifest(), DEPLOYER_HOME=str(file))
    assert said.code == 13, said.text
    assert str(file) in said.err
    assert "Set DEPLOYER_HOME to" in said.err
