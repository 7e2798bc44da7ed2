"""Synthetic load beside a rollout, and the key that it is sent with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from doubles.memory import MemoryPlatform
from doubles.telemetry import ManualClock

from deployer.engine.synthetic_load import RENEW_S, SyntheticLoad, WantedLoad
from deployer.errors import PlatformError, TransientError
from deployer.ports.loadgen import LoadStats
from deployer.ports.platform import ScoringTarget


class Keyed(MemoryPlatform):
    """An endpoint whose key is read once, and anew when somebody says that it was refused."""

    read = right = "old"
    error: PlatformError | None = None

    def scoring_target(self) -> ScoringTarget:
        if self.error is not None:
            raise self.error
        return ScoringTarget("https://digits", {"Authorization": self.read})

    def invalidate(self) -> None:
        super().invalidate()
        self.read = self.right


class Loads:
    """A load generator; ``sent_with`` is the key of each load, and ``running`` of those that run."""

    def __init__(self) -> None:
        self.sent_with: list[str] = []
        self.running: list[str] = []
        self.figures = LoadStats(0, 0, 0)
        self.trouble: str | None = None
        self.broken = False

    @contextmanager
    def run(self, target: ScoringTarget, *, rps: float, payload: Path) -> Iterator[Loads]:
        if self.broken:
            raise PlatformError("no Locust", hint="Install it.")
        key = target.headers["Authorization"]
        self.sent_with.append(key)
        self.running.append(key)
        self.figures = LoadStats(0, 0, 0)
        try:
            yield self
        finally:
            self.running.remove(key)

    def stats(self) -> LoadStats:
        return self.figures

    def problem(self) -> str | None:
        return self.trouble

    def answer(self, answered: int, failed: int) -> None:
        now = self.figures
        self.figures = LoadStats(now.sent + answered + failed, now.answered + answered, now.failed + failed)


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.platform = Keyed("digits", self.clock)
        self.loads = Loads()
        self.notes: list[str] = []

    def load(self) -> SyntheticLoad:
        wanted = WantedLoad(self.loads, 40, Path("a.json"))
        return SyntheticLoad(wanted, self.platform, self.clock, self.notes.append)


@pytest.fixture
def world() -> World:
    return World()


def test_it_starts_when_it_may_runs_once_and_ends_with_the_rollout(world: World) -> None:
    with world.load() as load:
        load.look(may_start=False)
        assert world.loads.sent_with == []
        for may_start in (True, True, False):
            load.look(may_start=may_start)
        assert world.loads.running == ["old"]
    assert (world.loads.sent_with, world.loads.running, world.notes) == (["old"], [], [])


def test_nothing_wanted_is_nothing_sent(world: World) -> None:
    with SyntheticLoad(None, world.platform, world.clock, world.notes.append) as load:
        load.look(may_start=True)
    assert world.loads.sent_with == []


def test_a_key_that_was_changed_is_read_anew_and_sent_from_then_on(world: World) -> None:
    with world.load() as load:
        load.look(may_start=True)
        world.platform.right = "new"
        world.loads.answer(answered=0, failed=40)
        load.look(may_start=True)
        assert (world.loads.sent_with, world.loads.running) == (["old", "new"], ["new"])
        load.look(may_start=True)
    assert (len(world.loads.sent_with), world.platform.calls.count("invalidate")) == (2, 1)
    assert "key has changed" in world.notes[0]


def test_a_token_that_the_platform_renewed_by_itself_is_sent_from_then_on(world: World) -> None:
    with world.load() as load:
        load.look(may_start=True)
        world.platform.read = "renewed"
        load.look(may_start=False)
        assert world.loads.running == ["renewed"]
    assert world.platform.calls.count("invalidate") == 0


def test_a_model_that_fails_costs_a_key_a_minute_and_no_new_load(world: World) -> None:
    with world.load() as load:
        load.look(may_start=True)
        for _ in range(13):
            world.loads.answer(answered=1, failed=20)
            load.look(may_start=True)
            world.clock.advance(RENEW_S / 6)
    assert (world.loads.sent_with, world.platform.calls.count("invalidate")) == (["old"], 3)


@pytest.mark.parametrize(("answered", "failed"), [(0, 9), (20, 20), (100, 5)])
def test_few_failures_say_nothing_of_the_key(world: World, answered: int, failed: int) -> None:
    with world.load() as load:
        load.look(may_start=True)
        world.loads.answer(answered, failed)
        load.look(may_start=True)
    assert world.platform.calls.count("invalidate") == 0


def test_a_key_that_cannot_be_read_now_leaves_the_load_as_it_is(world: World) -> None:
    with world.load() as load:
        load.look(may_start=True)
        world.platform.error = TransientError("503", hint="Wait.")
        load.look(may_start=True)
        assert (world.loads.running, world.notes) == (["old"], [])


def test_trouble_is_said_once_and_the_key_is_still_followed(world: World) -> None:
    with world.load() as load:
        load.look(may_start=True)
        world.loads.trouble = "39 requests/s are sent, 40 are asked for"
        for _ in range(3):
            load.look(may_start=True)
        assert world.notes == ["synthetic load: 39 requests/s are sent, 40 are asked for"]
        world.platform.read = "renewed"
        load.look(may_start=True)
        assert world.loads.running == ["renewed"]


def test_a_load_that_does_not_start_is_said_and_not_tried_again(world: World) -> None:
    world.loads.broken = True
    with world.load() as load:
        for _ in range(3):
            load.look(may_start=True)
    assert world.notes == ["synthetic load did not start: no Locust. Install it."]
