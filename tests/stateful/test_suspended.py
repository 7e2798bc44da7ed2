"""A machine that sleeps for two hours between any two calls looks first, and writes only what is still its own to write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from doubles.memory import CAPABILITIES
from world import World

from deployer.engine.lease import LostLeaseError, fence_of
from deployer.errors import ExitCode
from deployer.rollout.tags import LEASE

NAP_S = 7200.0
WRITES = ("create_deployment", "set_traffic", "delete_deployment", "scale_deployment", "recreate_deployment")
QUICK = {"canary": {"steps": [20], "each": {"min": "2s", "max": "40s"}, "bake": "3s"}, "deadline": "10m"}


def quick(home: Path) -> World:
    """A rollout that renews its lease at each look, so that there is a call between the look and what follows it."""
    gate = {"look": "1s", "min_requests": 10, "warm_up": "0s"}
    return World(home, strategy=QUICK, gate=gate, rps=200, capabilities=replace(CAPABILITIES, beat_s=0.0))


def nap_after(world: World, number: int, *, taken_over: bool) -> list[int]:
    """Sleep after the call ``number``; the list holds how many calls there had been by then."""
    slept: list[int] = []

    def after(_: str) -> None:
        if len(world.platform.calls) <= number or slept:
            return
        slept.append(len(world.platform.calls))
        world.clock.advance(NAP_S)
        view = world.platform.peek()
        if taken_over and view is not None:
            world.platform.edit_tags({LEASE: f"elsewhere/1/1|{fence_of(view.tags.get(LEASE)) + 1}|0"})

    world.platform.after = after
    return slept


def calls_of(home: Path) -> int:
    unbroken = quick(home)
    assert unbroken.roll_out().exit_code is ExitCode.OK
    return len(unbroken.platform.calls)


def test_whoever_was_taken_over_while_asleep_writes_nothing_any_more(tmp_path: Path) -> None:
    stopped = 0
    for number in range(8, calls_of(tmp_path / "unbroken"), 2):  # before that it had no lease yet
        world = quick(tmp_path / str(number))
        slept = nap_after(world, number, taken_over=True)
        try:
            world.roll_out()
        except LostLeaseError:
            stopped += 1
        done = [call for call in world.platform.calls[slept[0] :] if call in WRITES]
        assert done == [], f"asleep after call {number}"
        view = world.platform.peek()
        assert view is not None
        assert (view.tags[LEASE] or "").startswith("elsewhere/1/1|"), number
    assert stopped > 10


def test_whoever_was_left_alone_goes_on_or_back_and_ends_whole(tmp_path: Path) -> None:
    for number in range(1, calls_of(tmp_path / "unbroken"), 2):
        world = quick(tmp_path / str(number))
        slept = nap_after(world, number, taken_over=False)
        done = world.roll_out()
        assert slept
        assert done.exit_code in (ExitCode.OK, ExitCode.INCONCLUSIVE), f"{number}: {done.text}"
        back = ("base", None)  # None: it slept before the baseline had its traffic
        assert world.live_digest() in (("new",) if done.exit_code is ExitCode.OK else back), number
        assert not set(world.platform.calls[slept[0] : slept[0] + 1]) & set(WRITES), number


@pytest.mark.parametrize("nap_s", [NAP_S, 30.0])
def test_traffic_is_not_written_on_a_look_that_is_older_than_a_nap(tmp_path: Path, nap_s: float) -> None:
    """The nap is between the look and the write; a short one costs nothing, for the lease cannot be lost in it."""
    world = quick(tmp_path)
    napped: list[bool] = []

    def nap(call: str) -> None:
        view = world.platform.peek()
        if call == "observe" and view is not None and view.tags.get("deployer.phase", "").startswith("shifting"):
            napped.append(True)
            if len(napped) == 1:
                world.clock.advance(nap_s)
                world.platform.edit_tags({LEASE: "elsewhere/1/1|99|0"})

    world.platform.after = nap
    with pytest.raises(LostLeaseError):
        world.roll_out()
    assert "green" not in world.traffic()
