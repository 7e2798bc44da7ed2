"""Two runs on one endpoint of Azure, which has no compare-and-set: at most one of them ever moves traffic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure_histories import converge
from azure_oracle import check_told
from azure_rollouts import AzureWorld, fresh
from faulty_wire import FaultyTransport
from turns import Turns

from deployer.cloud.arm import Arm
from deployer.engine.lease import Lease
from deployer.engine.operations import Site, roll_out
from deployer.engine.rollback import roll_back
from deployer.errors import DeployerError, ExitCode
from deployer.platforms.managed import ManagedPlatform
from deployer.report.listeners import Quiet
from deployer.rollout.ending import Ended
from deployer.stores.file import FileJournal
from tests.doubles.arm_service import Compiler


@dataclass(frozen=True, slots=True)
class _ElsewhereSite(Site):
    """A site whose owner is a process of another machine, of which nothing can be asked."""

    owner: str = ""

    def lease(self) -> Lease:
        return Lease(self.platform, self.clock, self.owner, heartbeat_s=None)


class _Clock:
    """The clock of one run among several."""

    def __init__(self, world: AzureWorld, turns: Turns, name: str) -> None:
        self._world, self._turns, self._name = world, turns, name

    def now(self) -> Any:
        return self._world.clock.now()

    def sleep(self, seconds: float) -> None:
        self._turns.pass_on(self._name, max(seconds, 0.001))


class Runner:
    """A machine of its own: adapter, journal and identity."""

    def __init__(self, world: AzureWorld, turns: Turns, name: str) -> None:
        clock = _Clock(world, turns, name)
        self.wire = FaultyTransport(world.wire.inner)
        self.wire.before = lambda _call: turns.pass_on(name)
        self.wire.after = lambda _call: world.watch()
        parts = world.azure.parts()
        parts |= {"arm": Arm(world.azure.cloud, world.azure.tokens, clock, transport=self.wire), "assets": Compiler()}
        self.platform = ManagedPlatform("digits", **parts | {"clock": clock})
        self.world, self.name = world, name
        self.site = _ElsewhereSite(
            "digits",
            self.platform,
            world.telemetry,
            FileJournal(world.home / f"journal-{name}"),
            clock,
            f"{name}@elsewhere",
            lambda: None,
            owner=f"{name}/1/1",
        )

    def rolls_out(self) -> Ended | DeployerError:
        try:
            return roll_out(self.site, self.world.job(), Quiet(), rollout_id=f"r-{self.name}")
        except DeployerError as exc:
            return exc

    def rolls_back(self, after_s: float) -> Ended | DeployerError:
        self.site.clock.sleep(after_s)
        try:
            return roll_back(self.site, Quiet(), to="blue", reason="by hand")
        except DeployerError as exc:
            return exc

    @property
    def traffic_writes(self) -> list[dict[str, int]]:
        return [
            call.body["properties"]["traffic"]
            for call in self.wire.calls
            if call.method == "PUT" and call.path.endswith("/digits")
        ]


def race(home: Path, seed: int) -> tuple[AzureWorld, Turns]:
    world = fresh(home)
    world.revive()
    advance, now = world.clock.advance, world.clock.now

    def passing(seconds: float) -> None:
        left = seconds
        while left > 1e-9:
            step = min(left, 0.5)
            world.pass_time(now(), step)
            advance(step)
            left -= step

    world.clock.advance = passing  # type: ignore[method-assign]
    return world, Turns(seed, world.clock)


def two_start(home: Path, seed: int) -> None:
    world, turns = race(home, seed)
    runners = [Runner(world, turns, name) for name in ("ann", "bob")]
    for runner in runners:
        turns.add(runner.name, runner.rolls_out)
    ends = turns.play()
    won = [name for name, end in ends.items() if end.exit_code is ExitCode.OK]
    assert len(won) >= 1 or world.traffic() == {"blue": 100}, ends
    writers = [runner.name for runner in runners if runner.traffic_writes]
    assert len(writers) <= 1, f"both moved traffic: {[(r.name, r.traffic_writes) for r in runners]}"
    for moment in world.history:
        assert sum(moment.traffic.values()) == 100
    for end in ends.values():
        assert end.exit_code in (ExitCode.OK, ExitCode.REFUSED), end
    check_told(world)
    if not won:
        world.clock.advance(300.0)
        del world.clock.advance
        converge(world)


@pytest.mark.parametrize("seed", range(6))
def test_of_two_that_start_at_once_one_moves_traffic(seed: int, tmp_path: Path) -> None:
    two_start(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 150))
def test_of_two_that_start_at_once_one_moves_traffic_in_any_order(seed: int, tmp_path: Path) -> None:
    two_start(tmp_path, seed)


def rollback_meanwhile(home: Path, seed: int, after_s: float) -> None:
    world, turns = race(home, seed)
    ann, bob = Runner(world, turns, "ann"), Runner(world, turns, "bob")
    turns.add("ann", ann.rolls_out)
    turns.add("bob", lambda: bob.rolls_back(after_s))
    ends = turns.play()
    came_late = "blue" not in world.deployments  # promoted and retired before bob could say a word
    if came_late:
        assert (ends["ann"].exit_code, world.traffic()) == (ExitCode.OK, {"green": 100}), ends
        assert ends["bob"].exit_code is not ExitCode.OK or "nothing to do" in ends["bob"].text
    else:
        assert (ends["bob"].exit_code, world.traffic()) == (ExitCode.OK, {"blue": 100}), ends
    assert ends["ann"].exit_code in (ExitCode.OK, ExitCode.ABORTED, ExitCode.REFUSED), ends["ann"]
    for moment in world.history:
        assert sum(moment.traffic.values()) == 100
    check_told(world)


@pytest.mark.parametrize("after_s", [5.0, 40.0, 75.0, 100.0, 125.0])
def test_a_rollback_from_an_empty_machine_stops_a_run_and_has_the_last_word(after_s: float, tmp_path: Path) -> None:
    rollback_meanwhile(tmp_path, 1, after_s)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 100))
def test_a_rollback_at_any_moment_has_the_last_word(seed: int, tmp_path: Path) -> None:
    rollback_meanwhile(tmp_path, seed, float(seed * 2))
