"""kill -9 before and after every effect, and random trouble: the next run always ends in a defined state."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import Behaviour, Killed, World

from deployer.errors import ConflictError, ExitCode, PlatformError, StoreError, TelemetryError
from deployer.rollout.model import RequestKind

CHANGES = ("ensure_endpoint", "create_deployment", "set_traffic", "set_tags", "delete_deployment")
QUICK = {"canary": {"steps": [20, 50], "each": {"min": "2s", "max": "20s"}, "bake": "3s"}, "deadline": "10m"}


def fresh(behaviour: Behaviour) -> World:
    world = World(Path(tempfile.mkdtemp()), strategy=QUICK, candidate=behaviour, rps=200)
    world.gate["min_requests"] = 10
    return world


def kill_at(world: World, number: int, *, after: bool) -> None:
    """Kill the process before or after the effect of its ``number``-th changing call."""
    seen = iter(range(10**6))

    def strike(name: str) -> None:
        world.check_alive()
        if name in CHANGES and next(seen) == number:
            world.kill()

    def alive(_: str) -> None:
        world.check_alive()

    world.platform.before, world.platform.after = (alive, strike) if after else (strike, alive)


def heal(world: World) -> None:
    world.platform.before = world.platform.after = lambda _: None
    world.telemetry.error, world.rps, world.signal = None, 200, None
    world.at.clear()


def check_traffic(world: World) -> None:
    """T1: at every instant live weights are whole and sum to 100 (or 0 before the first); users met nobody unproven."""
    for write in world.platform.writes:
        assert sum(write.traffic.values()) in (0, 100)
        assert all(isinstance(share, int) and 0 < share <= 100 for share in write.traffic.values())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(error_share=0.5)], ids=["good", "bad"])
def test_killed_at_any_effect_the_next_run_ends_where_an_unbroken_one_would(
    behaviour: Behaviour, *, after: bool
) -> None:
    unbroken = fresh(behaviour)
    wanted = unbroken.roll_out()
    effects = sum(call in CHANGES for call in unbroken.platform.calls)
    assert effects > 12
    for number in range(effects):
        world = fresh(behaviour)
        kill_at(world, number, after=after)
        with pytest.raises(Killed):
            world.roll_out()
        heal(world)
        done = world.roll_out("r2")
        assert world.live_digest() == unbroken.live_digest(), f"killed at effect {number}: {done.text}"
        assert done.exit_code in (wanted.exit_code, ExitCode.OK), f"killed at effect {number}: {done.text}"
        check_traffic(world)


@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(error_share=0.5)], ids=["good", "bad"])
def test_killed_at_any_effect_and_the_journal_lost_it_still_ends(behaviour: Behaviour) -> None:
    for number in range(20):
        world = fresh(behaviour)
        kill_at(world, number, after=True)
        try:
            world.roll_out()
        except Killed:
            heal(world)
            for path in (world.home / "journal").glob("*.jsonl"):
                path.unlink()
            world.roll_out("r2")
        assert world.live_digest() == ("new" if behaviour.error_share == 0 else "base"), number
        check_traffic(world)


def test_killed_twice_it_still_ends() -> None:
    for first in range(0, 18, 3):
        for second in range(0, 8, 2):
            world = fresh(Behaviour(error_share=0.5))
            for number in (first, second):
                kill_at(world, number, after=True)
                try:
                    world.roll_out(f"r{number}")
                except Killed:
                    continue
            heal(world)
            world.roll_out("last")
            assert world.live_digest() == "base"


def _abort(world: World) -> None:
    world.platform.edit_tags({"deployer.request": "abort|bob|trouble"})


def _edit(world: World) -> None:
    if len(world.traffic()) == 2:
        world.platform.edit_traffic({"green": 90, "blue": 10})


def _send_back(world: World) -> None:
    if "blue" in world.traffic():
        world.platform.edit_traffic({"blue": 100})


TROUBLE: dict[str, Callable[[World], None]] = {
    "kill": World.kill,
    "signal": lambda w: setattr(w, "signal", "SIGTERM"),
    "abort": _abort,
    "pause": lambda w: w.platform.edit_tags({"deployer.request": "pause|bob|wait"}),
    "promote": lambda w: w.platform.edit_tags({"deployer.request": "promote|bob|go"}),
    "edit": _edit,
    "send back": _send_back,
    "telemetry gone": lambda w: setattr(w.telemetry, "error", TelemetryError("gone", hint="Look.")),
    "telemetry back": lambda w: setattr(w.telemetry, "error", None),
    "no users": lambda w: setattr(w, "rps", 0),
    "write fails": lambda w: w.platform.fail_next("set_traffic", ConflictError("busy", hint="Wait.")),
    "write lost": lambda w: w.platform.fail_next("set_traffic", ConflictError("busy", hint="Wait."), after_effect=True),
    "tags fail": lambda w: w.platform.fail_next("set_tags", PlatformError("no", hint="Wait.")),
    "stale": lambda w: setattr(w.platform, "stale_reads", 1),
}


@settings(max_examples=60)
@given(
    bad=st.booleans(),
    trouble=st.lists(st.tuples(st.floats(0.5, 30.0), st.sampled_from(sorted(TROUBLE))), max_size=5),
)
def test_whatever_happens_it_ends_whole_and_a_bad_version_is_never_promoted(
    *, bad: bool, trouble: list[tuple[float, str]]
) -> None:
    world = fresh(Behaviour(error_share=0.5) if bad else Behaviour())
    overridden = any(name == "promote" for _, name in trouble)
    world.at = {second: TROUBLE[name] for second, name in trouble}
    for attempt in range(3):
        try:
            done = world.roll_out(f"r{attempt}")
        except (Killed, StoreError, PlatformError):
            continue
        if done.exit_code is not ExitCode.PAUSED:
            break
    heal(world)
    view = world.platform.peek()
    if view is not None and view.tags.get("deployer.phase", "").startswith("paused"):
        world.ask(RequestKind.ABORT)
    last = world.roll_out("last")
    check_traffic(world)
    assert last.exit_code in (ExitCode.OK, ExitCode.GATE_FAILED, ExitCode.ABORTED), last.text
    if world.live_digest() is None:  # ended before anybody had traffic: as it was before
        assert last.exit_code is ExitCode.ABORTED
        assert not any(write.traffic for write in world.platform.writes)
        return
    assert world.live_digest() in ("new", "base")
    if bad and not overridden:
        assert world.live_digest() == "base"
    if not bad and last.exit_code is ExitCode.OK:
        assert world.live_digest() == "new"
