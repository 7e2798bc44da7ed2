"""Whole rollouts on Azure's double: the real command line, the unpatched SDKs, users who ask all the time.

A rollout mostly waits, so all of them play at the same time, each on a double of its own. Azure Monitor's metrics are
believed two minutes late, so what the gate decides takes minutes and is marked slow.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from doubles.azure.scoring import Row
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE
from unit.cli.azure_actions import used
from unit.cli.azure_stage import TRAFFIC_LOG, Stage

from deployer.platforms.inspection.rights import role

pytestmark = [pytest.mark.azure, pytest.mark.e2e]
QUICK = {
    "strategy__canary": {"steps": [50], "each": {"min": "5s", "max": "15m"}, "bake": "5m"},
    "strategy__deadline": "2h",
    "gate__look": "2s",
    "gate__min_requests": 50,
    "gate__warm_up": "0s",
    "gate__telemetry__max_lag": "3m",
    "slo__latency": {"p95": "2s"},
    "slo__error_rate": "5%",
    "smoke": [{"request": "samples/digit.json", "expect": {"status": 200}}],
}
KINDS = ("managed", "kubernetes")
USUAL = {"latency_ms": 30.0, "sigma": 0.4}
"""A model whose answers take the same to the millisecond could never be compared."""
NAMED = ("--platform", "managed", "--subscription", SUBSCRIPTION, "--resource-group", GROUP, "--workspace", WORKSPACE)
Done = subprocess.CompletedProcess[str]


def run(stage: Stage, *arguments: str, home: str = "home") -> Done:
    """Run a command as a pipeline would: nothing but the environment leads it to Azure."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AZURE")}
    done = subprocess.run(
        [sys.executable, "-m", "deployer", *arguments],
        capture_output=True,
        text=True,
        timeout=2300,
        check=False,
        cwd=stage.folder,
        env={
            **env,
            **stage.environment,
            "DEPLOYER_HOME": str(stage.folder / home),
            "AZURE_CONFIG_DIR": str(stage.folder),
        },
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def roll_out(stage: Stage, kind: str, **fault: str) -> Done:
    """Roll out the example's version, which behaves as usual but for ``fault``."""
    usual = {f"DOUBLE_{name.upper()}": str(value) for name, value in USUAL.items()}
    stage.behave(f"{kind}/deployment.yml", **(usual | fault))
    with stage.users():
        return run(stage, "rollout", stage.manifest(f"{kind}/canary.yaml", **QUICK), "--yes")


@dataclass
class Played:
    """What came of a play."""

    done: list[Done]
    traffic: list[Mapping[str, int]]
    """Live traffic after each command."""
    deployments: set[str]
    rows: list[Row]
    unlisted: set[str] = field(default_factory=set)
    """Actions that were used and are not in the role."""

    @property
    def said(self) -> str:
        return "\n".join(f"{each.returncode}\n{each.stdout}{each.stderr}" for each in self.done)


Plays = Mapping[str, Future[Played]]


def play(folder: Path, scene: Callable[[Stage], Iterator[Done]]) -> Played:
    """Play ``scene`` on a double of its own."""
    folder.mkdir()
    with Stage(folder, traffic_s=0.5, deploy_s=1.0, delete_s=0.5, endpoint_s=0.5, scale_s=0.5) as stage:
        stage.azure.behave("blue", **USUAL)
        played = Played([], [], set(), stage.azure.traffic)
        for done in scene(stage):
            played.done.append(done)
            played.traffic.append(stage.traffic)
        played.deployments = stage.deployments
        played.unlisted = used(stage.azure.calls) - {action.lower() for action in role()["Actions"]}
        return played


def serve(stage: Stage, kind: str) -> None:
    if kind == "managed":
        stage.serve("blue")
    else:
        stage.serve("blue", compute="aks-prod")


def good(kind: str) -> Callable[[Stage], Iterator[Done]]:
    def scene(stage: Stage) -> Iterator[Done]:
        serve(stage, kind)
        yield roll_out(stage, kind)

    return scene


def spoilt(kind: str) -> Callable[[Stage], Iterator[Done]]:
    """It answers well until users come: then a third of them gets errors."""

    def scene(stage: Stage) -> Iterator[Done]:
        def spoil(row: Row) -> None:
            if row.deployment == "green" and not row.pinned:
                stage.azure.behave("green", **USUAL, error_rate=0.3)

        serve(stage, kind)
        stage.azure.listeners.append(spoil)
        yield roll_out(stage, kind)

    return scene


def stillborn(kind: str) -> Callable[[Stage], Iterator[Done]]:
    def scene(stage: Stage) -> Iterator[Done]:
        serve(stage, kind)
        yield roll_out(stage, kind, DOUBLE_FAILS_WITH="ResourceNotReady")

    return scene


def there_and_back(stage: Stage) -> Iterator[Done]:
    """From no endpoint at all to a promoted version; then back, twice, from a machine that knows nothing."""
    stage.azure.inventory.send_logs(stage.monitor.endpoint_id, TRAFFIC_LOG)
    yield roll_out(stage, "managed")
    yield run(stage, "rollback", "digits", *NAMED, "--reason", "wrong model", home="elsewhere")
    yield run(stage, "rollback", "digits", *NAMED, home="elsewhere")


SCENES: Mapping[str, Callable[[Stage], Iterator[Done]]] = {"stillborn managed": stillborn("managed")}
SLOW: Mapping[str, Callable[[Stage], Iterator[Done]]] = {
    "there and back": there_and_back,
    "stillborn kubernetes": stillborn("kubernetes"),
    **{f"{name} {kind}": make(kind) for name, make in (("good", good), ("spoilt", spoilt)) for kind in KINDS},
}


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Plays]:
    folder = tmp_path_factory.mktemp("azure")
    slow = any(item.get_closest_marker("slow") and item.path == request.path for item in request.session.items)
    scenes = {**SCENES, **SLOW} if slow else SCENES
    with ThreadPoolExecutor(len(scenes), thread_name_prefix="play") as pool:
        yield {name: pool.submit(play, folder / name.replace(" ", "-"), scene) for name, scene in scenes.items()}


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("kind", KINDS)
def test_a_good_candidate_is_promoted(plays: Plays, kind: str) -> None:
    played = plays[f"good {kind}"].result()
    assert played.done[0].returncode == 0, played.said
    assert (played.traffic, played.deployments) == ([{"green": 100}], {"green"})
    assert not played.unlisted, "the role is enough"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_that_fails_users_is_rolled_back(plays: Plays, kind: str) -> None:
    played = plays[f"spoilt {kind}"].result()
    assert played.done[0].returncode == 10, played.said
    assert (played.traffic, played.deployments) == ([{"blue": 100}], {"blue"})
    assert any(row.deployment == "green" and row.code >= 400 for row in played.rows)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["managed", pytest.param("kubernetes", marks=pytest.mark.slow)])
def test_a_deployment_that_fails_never_gets_traffic(plays: Plays, kind: str) -> None:
    played = plays[f"stillborn {kind}"].result()
    assert played.done[0].returncode == 13, played.said
    assert (played.traffic, played.deployments) == ([{"blue": 100}], {"blue"})
    assert {row.deployment for row in played.rows} <= {"blue"}


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_from_nothing_to_promoted_and_back_from_another_machine(plays: Plays) -> None:
    played = plays["there and back"].result()
    assert [done.returncode for done in played.done] == [0, 0, 0], played.said
    assert played.traffic == [{"green": 100}, {"blue": 100}, {"blue": 100}], "the baseline, made again from its record"
    assert not played.unlisted, "the role is enough"
