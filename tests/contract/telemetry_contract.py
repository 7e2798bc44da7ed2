"""What every adapter of the telemetry port must do, whatever is behind it.

A subclass gives the fixture ``world``: a place where answers can be given and telemetry be broken.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Protocol

import pytest
from doubles.telemetry import EPOCH, ManualClock

from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass, Samples
from deployer.ports.telemetry import Telemetry

T0 = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


class World(Protocol):
    """Where answers are given."""

    telemetry: Telemetry
    clock: ManualClock

    def answer(
        self,
        at: datetime,
        deployment: str | None,
        *,
        code: int = 200,
        model_code: int | None = None,
        ms: int = 10,
        n: int = 1,
        mirrored: bool = False,
        seen: bool = True,
    ) -> None:
        """``n`` answers ended at ``at``. ``seen=False``: their rows are lost, but the independent count has them."""

    def make_partial(self) -> None:
        """From now on the source says that it does not have everything."""

    def cut_off(self) -> None:
        """From now on the source cannot be reached."""


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def bars(samples: Samples) -> Counter[tuple[datetime, str, AnswerClass, int]]:
    """Cells that are split differently and mean the same are equal as bars."""
    found: Counter[tuple[datetime, str, AnswerClass, int]] = Counter()
    for cell in samples.cells:
        found[cell.start, cell.deployment, cell.answer, cell.duration_ms] += cell.n
    return found


def total(samples: Samples) -> int:
    return sum(cell.n for cell in samples.cells)


class TelemetryContract:
    """All telemetry that a gate may pass by should be able to pass these."""

    def test_without_traffic_there_are_no_cells_and_it_is_known_up_to_when(self, world: World) -> None:
        world.clock.advance(60)
        samples = world.telemetry.fetch(T0, at(60), block_s=10)
        assert samples.cells == ()
        assert samples.problem is None
        assert samples.complete_until is not None
        assert at(0) < samples.complete_until <= at(60)

    def test_answers_are_counted_by_block_deployment_class_and_millisecond(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(3.1), "blue", ms=12, n=3)
        world.answer(at(7.9), "blue", ms=12)
        world.answer(at(8.0), "blue", ms=13)
        world.answer(at(9.9), "green", code=424, model_code=500, ms=12)
        world.answer(at(10), "green", ms=12)
        assert bars(world.telemetry.fetch(T0, at(60), block_s=10)) == {
            (at(0), "blue", AnswerClass.OK, 12): 4,
            (at(0), "blue", AnswerClass.OK, 13): 1,
            (at(0), "green", AnswerClass.ERROR, 12): 1,
            (at(10), "green", AnswerClass.OK, 12): 1,
        }

    def test_blocks_are_counted_from_1970_whatever_their_length(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(5), "blue")
        for block_s in (1.0, 1.1, 7.7, 30.0, 600.0):
            length = timedelta(seconds=block_s)
            start = EPOCH + (at(5) - EPOCH) // length * length
            samples = world.telemetry.fetch(T0, at(60), block_s=block_s)
            assert [cell.start for cell in samples.cells] == [start], block_s

    def test_an_answer_on_the_edge_of_a_block_is_in_the_block_that_begins(self, world: World) -> None:
        world.clock.advance(60)
        length = timedelta(milliseconds=1100)
        edge = EPOCH + ((T0 - EPOCH) // length + 10) * length
        world.answer(edge, "blue")
        (cell,) = world.telemetry.fetch(edge - 5 * length, edge + 5 * length, block_s=1.1).cells
        assert cell.start == edge

    def test_reading_twice_counts_nothing_twice(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(5), "blue", n=5)
        once = world.telemetry.fetch(T0, at(60), block_s=10)
        twice = world.telemetry.fetch(T0, at(60), block_s=10)
        assert bars(once) == bars(twice)
        assert total(twice) == 5

    def test_an_answer_at_since_is_in_and_one_at_until_is_not(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(9.999), "early")
        world.answer(at(10), "first")
        world.answer(at(19.999), "last")
        world.answer(at(20), "late")
        samples = world.telemetry.fetch(at(10), at(20), block_s=10)
        assert {cell.deployment for cell in samples.cells} == {"first", "last"}

    def test_two_halves_hold_what_the_whole_holds(self, world: World) -> None:
        world.clock.advance(60)
        for second in range(40):
            world.answer(at(second + 0.5), "blue", ms=second)
        halves = [world.telemetry.fetch(at(a), at(b), block_s=10) for a, b in ((0, 20), (20, 40))]
        assert bars(halves[0]) + bars(halves[1]) == bars(world.telemetry.fetch(at(0), at(40), block_s=10))

    def test_a_long_time_is_read_whole_again_and_again(self, world: World) -> None:
        for minute in range(0, 40, 8):
            world.clock.advance(480)
            world.answer(world.clock.now() - timedelta(seconds=100), "blue", n=minute + 1)
            samples = world.telemetry.fetch(T0, world.clock.now(), block_s=7)
            assert total(samples) == sum(range(1, minute + 2, 8))

    def test_nothing_is_between_two_equal_moments(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(10), "blue")
        assert world.telemetry.fetch(at(10), at(10), block_s=10).cells == ()

    def test_a_late_answer_is_in_a_later_reading(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(5), "blue")
        assert total(world.telemetry.fetch(T0, at(60), block_s=10)) == 1
        world.answer(at(4), "blue")
        assert total(world.telemetry.fetch(T0, at(60), block_s=10)) == 2

    def test_an_answer_that_is_half_a_minute_late_is_in_a_later_reading_of_a_long_time(self, world: World) -> None:
        for seconds in (60, 60, 60, 60, 60, 30):
            world.clock.advance(seconds)
            world.telemetry.fetch(T0, world.clock.now(), block_s=10)
        world.answer(world.clock.now() - timedelta(seconds=31), "blue")
        assert total(world.telemetry.fetch(T0, world.clock.now(), block_s=10)) == 1

    def test_answers_that_no_deployment_gave_are_nobodys(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(5), None, code=404)
        world.answer(at(5), None, code=401)
        samples = world.telemetry.fetch(T0, at(60), block_s=10)
        assert samples.cells == ()
        assert samples.problem is None

    @pytest.mark.parametrize(
        ("code", "model_code", "answer"),
        [
            (200, 200, AnswerClass.OK),
            (424, 500, AnswerClass.ERROR),
            (424, 400, AnswerClass.ERROR),
            (424, 504, AnswerClass.TIMEOUT),
            (424, 429, AnswerClass.THROTTLED),
            (424, None, AnswerClass.ERROR),
            (500, None, AnswerClass.ERROR),
            (503, None, AnswerClass.ERROR),
            (408, None, AnswerClass.TIMEOUT),
            (429, None, AnswerClass.THROTTLED),
            (404, None, AnswerClass.CLIENT),
            (0, None, AnswerClass.CLIENT),
        ],
    )
    def test_the_code_says_who_is_to_blame(
        self, world: World, code: int, model_code: int | None, answer: AnswerClass
    ) -> None:
        world.clock.advance(60)
        world.answer(at(5), "blue", code=code, model_code=model_code)
        (cell,) = world.telemetry.fetch(T0, at(60), block_s=10).cells
        assert cell.answer is answer

    def test_completeness_is_never_claimed_beyond_what_was_asked_or_has_happened(self, world: World) -> None:
        world.clock.advance(60)
        for until in (at(30), at(60), at(90)):
            complete_until = world.telemetry.fetch(T0, until, block_s=10).complete_until
            assert complete_until is not None
            assert complete_until <= min(until, at(60))

    def test_completeness_moves_on_with_time_also_without_traffic(self, world: World) -> None:
        reached = []
        for _ in range(3):
            world.clock.advance(10)
            reached.append(world.telemetry.fetch(T0, at(100), block_s=10).complete_until)
        assert reached[0] < reached[1] < reached[2]

    def test_a_whole_reading_holds_what_the_independent_count_expects(self, world: World) -> None:
        samples = self._counted(world, lost=0)
        assert samples.expected.get("blue", 0) <= self._of(samples, "blue") == 100
        assert samples.expected.get("green", 0) <= self._of(samples, "green") == 50

    def test_lost_answers_are_missing_from_what_the_independent_count_expects(self, world: World) -> None:
        samples = self._counted(world, lost=50)
        assert samples.expected["blue"] > self._of(samples, "blue") == 50
        assert samples.expected.get("green", 0) <= self._of(samples, "green") == 50

    def test_a_source_that_says_it_is_partial_is_a_problem(self, world: World) -> None:
        world.clock.advance(60)
        world.make_partial()
        samples = world.telemetry.fetch(T0, at(60), block_s=10)
        assert samples.problem

    def test_a_source_that_cannot_be_reached_is_an_error_with_a_hint(self, world: World) -> None:
        world.clock.advance(60)
        world.cut_off()
        with pytest.raises(TelemetryError) as refused:
            world.telemetry.fetch(T0, at(60), block_s=10)
        assert refused.value.hint.endswith(".")

    def test_a_block_that_since_cuts_holds_what_came_after(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(2), "blue", n=2)
        world.answer(at(4), "blue", n=4)
        samples = world.telemetry.fetch(at(3), at(60), block_s=10)
        assert bars(samples) == {(at(0), "blue", AnswerClass.OK, 10): 4}

    @pytest.mark.parametrize("block_s", [0.0, 0.5, 601.0, 1.0005, float("nan"), float("inf"), -5.0])
    def test_a_block_of_no_sensible_length_is_refused(self, world: World, block_s: float) -> None:
        with pytest.raises(TelemetryError):
            world.telemetry.fetch(T0, at(60), block_s=block_s)

    def _counted(self, world: World, *, lost: int) -> Samples:
        """100 answers of blue, of which ``lost`` never arrive, and 50 of green, between readings."""
        world.clock.advance(2)
        world.telemetry.fetch(T0, at(2), block_s=1)
        world.clock.advance(58)
        world.answer(at(30), "blue", n=100 - lost)
        if lost:
            world.answer(at(31), "blue", n=lost, seen=False)
        world.answer(at(32), "green", n=50)
        world.telemetry.fetch(T0, at(60), block_s=1)
        world.clock.advance(60)
        return world.telemetry.fetch(T0, at(120), block_s=1)

    @staticmethod
    def _of(samples: Samples, deployment: str) -> int:
        return sum(cell.n for cell in samples.cells if cell.deployment == deployment)


class MirroringTelemetryContract(TelemetryContract):
    """Telemetry that can tell mirrored answers from live ones should be able to pass these as well."""

    def test_mirrored_answers_are_counted_only_when_asked_for(self, world: World) -> None:
        world.clock.advance(60)
        world.answer(at(5), "blue")
        world.answer(at(5), "green", mirrored=True)
        live = world.telemetry.fetch(T0, at(60), block_s=10)
        both = world.telemetry.fetch(T0, at(60), block_s=10, mirrored=True)
        assert [cell.deployment for cell in live.cells] == ["blue"]
        assert sorted(cell.deployment for cell in both.cells) == ["blue", "green"]

    def test_mirrored_answers_are_not_expected_among_the_live_ones(self, world: World) -> None:
        world.clock.advance(2)
        world.telemetry.fetch(T0, at(2), block_s=1)
        world.clock.advance(58)
        world.answer(at(30), "blue", n=10)
        world.answer(at(30), "green", n=10, mirrored=True)
        world.telemetry.fetch(T0, at(60), block_s=1)
        world.clock.advance(60)
        for mirrored in (False, True):
            samples = world.telemetry.fetch(T0, at(120), block_s=1, mirrored=mirrored)
            assert samples.expected.get("green", 0) <= self._of(samples, "green")
            assert samples.expected.get("blue", 0) <= self._of(samples, "blue")
