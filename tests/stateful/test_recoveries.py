"""kill -9 before and after every effect, then ``recover``: traffic is whole, verified, and on a version that is proven."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_crashes import QUICK, check_traffic, heal, kill_at
from world import Behaviour, Killed, World

from deployer.engine.recover import Found
from deployer.errors import ExitCode
from deployer.rollout.model import Phase
from deployer.rollout.tags import marks_of

ENDS = {ExitCode.OK, ExitCode.GATE_FAILED, ExitCode.ABORTED}


def with_stable(behaviour: Behaviour, **more: object) -> World:
    """An endpoint whose old version has all traffic already."""
    world = World(Path(tempfile.mkdtemp()), strategy=QUICK, candidate=behaviour, digest="base", rps=200, **more)
    world.gate["min_requests"] = 10
    world.candidate = Behaviour()
    world.roll_out("first")
    world.digest, world.candidate = "new", behaviour
    world.platform.calls.clear()
    return world


def phase(world: World) -> Phase | None:
    view = world.platform.peek()
    marks = marks_of(view.tags) if view else None
    return marks.phase if marks else None


@pytest.mark.parametrize("numbers", [(5, 8), pytest.param(range(40), marks=pytest.mark.slow)], ids=["few", "all"])
@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(error_share=0.5)], ids=["good", "bad"])
def test_killed_at_any_effect_recover_makes_traffic_whole(
    behaviour: Behaviour, after: bool, journal: str, numbers: Sequence[int]
) -> None:
    reached: set[Phase | None] = set()
    for number in numbers:
        world = with_stable(behaviour)
        kill_at(world, number, after=after)
        try:
            world.roll_out()
        except Killed:
            heal(world)
        else:
            break  # there are no further effects
        reached.add(phase(world))
        if journal == "elsewhere":
            for path in (world.home / "journal").glob("*.jsonl"):
                path.unlink()
        done = world.recover()
        assert done.ended.exit_code in ENDS, f"killed at effect {number}: {done.ended.text}"
        assert phase(world) in (Phase.ROLLED_BACK, Phase.PROMOTED), f"killed at effect {number}: {done.ended.text}"
        wanted = {"new"} if phase(world) is Phase.PROMOTED and number > 3 else {"base"}
        assert {world.live_digest()} == wanted, f"killed at effect {number}: {done.ended.text}"
        check_traffic(world)
        assert world.recover().found is Found.NOTHING
    assert reached
    if len(numbers) > 10:
        assert number > 10
        assert {
            Phase.DEPLOYING,
            Phase.SHIFTING,
            Phase.REVERTING if behaviour.error_share else Phase.RETIRING,
        } <= reached


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, 13, 3))
def test_a_recovery_that_is_killed_itself_is_carried_on_by_the_next(number: int) -> None:
    for again in range(6):
        world = with_stable(Behaviour())
        kill_at(world, number, after=True)
        with pytest.raises(Killed):
            world.roll_out()
        heal(world)
        kill_at(world, again, after=bool(again % 2))
        try:
            world.recover()
        except Killed:
            heal(world)
            world.recover()
        assert phase(world) in (Phase.ROLLED_BACK, Phase.PROMOTED)
        assert sum(world.traffic().values()) == 100
        check_traffic(world)


def test_a_rollout_can_start_anew_after_a_recovery() -> None:
    world = with_stable(Behaviour())
    kill_at(world, 8, after=True)
    with pytest.raises(Killed):
        world.roll_out()
    heal(world)
    assert world.recover().ended.exit_code is ExitCode.ABORTED
    assert world.roll_out("again").exit_code is ExitCode.OK
    assert world.live_digest() == "new"
