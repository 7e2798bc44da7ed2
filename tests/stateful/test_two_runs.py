"""Two runs at once on a platform whose tags have no compare-and-set: their writes are as if one had come after the other."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from duel import Actor, Duel

from deployer.engine.lease import Holder
from deployer.engine.operations import ask, roll_out
from deployer.engine.rollback import roll_back
from deployer.errors import ExitCode, UsageError
from deployer.gate.verdict import Result
from deployer.report.listeners import Quiet
from deployer.rollout.ending import Ended
from deployer.rollout.model import Request, RequestKind
from deployer.rollout.tags import LEASE, marks_of

SCHEDULES = 40


def rolling_out(digest: str, result: Result = Result.PASS, *, take_over: bool = False) -> Callable[[Actor], Ended]:
    def act(actor: Actor) -> Ended:
        job = actor.job(digest, result)
        return roll_out(actor.site(), job, Quiet(), rollout_id=f"r-{digest}", take_over=take_over)

    return act


def rolling_back(actor: Actor) -> Ended:
    return roll_back(actor.site(), Quiet(), to="blue", reason="panic")


def asking(kind: RequestKind) -> Callable[[Actor], Ended]:
    return lambda actor: ask(actor.site(), Request(kind, actor.owner), None, Quiet())


def duel(seed: int, *, sleepy: float = 0.0) -> Duel:
    return Duel(seed, Path(tempfile.mkdtemp()), sleepy=sleepy)


def check_one_writer(fought: Duel) -> None:
    """The one who was first may have one write under way when the other begins, and no more."""
    order = [write.by for write in fought.wrote]
    first = order[0] if order else ""
    other = next((index for index, by in enumerate(order) if by != first), len(order))
    late = [by for by in order[other:] if by == first]
    assert len(late) <= 1, (fought.seed, order)


def check_writers(fought: Duel) -> None:
    """Whoever was taken over has at most one write under way when the next one begins."""
    order = [write.by for write in fought.wrote]
    began = {by: order.index(by) for by in dict.fromkeys(order)}
    for by, start in began.items():
        late = [other for other in order[start:] if began[other] < start]
        assert len(late) <= len([first for first in began.values() if first < start]), (fought.seed, by, order)


def check_end(fought: Duel) -> None:
    assert list(fought.traffic.values()) == [100], (fought.seed, fought.traffic, [a.done for a in fought.actors])
    assert Holder.parse(fought.tags.get(LEASE)) is None, fought.seed


@pytest.mark.parametrize("results", [(Result.PASS, Result.PASS), (Result.FAIL, Result.PASS)], ids=["good", "one bad"])
def test_two_rollouts_at_once_are_one_after_the_other_or_one_is_refused(results: tuple[Result, Result]) -> None:
    both = 0
    for seed in range(SCHEDULES):
        fought = duel(seed)
        for name, result in zip(("a", "b"), results, strict=True):
            fought.actor(name, fought.random.uniform(0, 20), rolling_out(name, result))
        fought.run()
        check_one_writer(fought)
        check_end(fought)
        writers = {write.by for write in fought.wrote}
        both += len(writers) == 2
        assert writers, seed
    assert both < SCHEDULES / 3  # nearly always one is refused while the other runs


@pytest.mark.parametrize("result", [Result.PASS, Result.FAIL])
def test_a_rollout_that_is_taken_over_stops_and_the_other_ends_whole(result: Result) -> None:
    for seed in range(SCHEDULES):
        fought = duel(seed)
        fought.actor("a", 0, rolling_out("a"))
        fought.actor("b", fought.random.uniform(0, 300), rolling_out("b", result, take_over=True))
        fought.run()
        check_one_writer(fought)
        check_end(fought)
        done = fought.actors[1].done
        assert isinstance(done, Ended), (seed, done)
        assert done.exit_code in (ExitCode.OK, ExitCode.GATE_FAILED), (seed, done)


def test_a_rollback_by_hand_holds_whatever_the_rollout_was_writing() -> None:
    late = 0
    for seed in range(2 * SCHEDULES):
        fought = duel(seed)
        fought.actor("a", 0, rolling_out("a"))
        fought.actor("hand", fought.random.uniform(50, 300), rolling_back)
        fought.run()
        check_one_writer(fought)
        check_end(fought)
        if any(write.by == "hand" for write in fought.wrote) or fought.wrote[-1].traffic == {"blue": 100}:
            assert fought.traffic == {"blue": 100}, seed
        late += fought.wrote[-1].by == "a"
        assert isinstance(fought.actors[1].done, Ended | UsageError), (seed, fought.actors[1].done)
    assert late < SCHEDULES


def test_a_machine_that_sleeps_between_its_calls_never_writes_over_who_took_over() -> None:
    ended: Counter[str] = Counter()
    for seed in range(SCHEDULES):
        fought = duel(seed, sleepy=0.03)
        fought.actor("a", 0, rolling_out("a"))
        fought.actor("b", fought.random.uniform(0, 600), rolling_out("b", take_over=seed % 2 == 0))
        fought.actor("hand", fought.random.uniform(1500, 4000), rolling_back)
        fought.run()
        check_writers(fought)
        ended.update(type(actor.done).__name__ for actor in fought.actors)
        # Whoever is stopped leaves traffic to whoever stopped it; the last one to act has made it whole.
        assert sum(fought.traffic.values()) == 100, seed
    assert ended["LostLeaseError"] > SCHEDULES / 10


@pytest.mark.parametrize("kind", [RequestKind.ABORT, RequestKind.PAUSE])
def test_what_an_operator_asks_is_never_lost(kind: RequestKind) -> None:
    taken = 0
    for seed in range(SCHEDULES):
        fought = duel(seed)
        fought.actor("a", 0, rolling_out("a"))
        fought.actor("ops", fought.random.uniform(40, 250), asking(kind))
        fought.tagging(300)
        fought.run()
        check_one_writer(fought)
        run, operator, _ = fought.actors
        assert isinstance(operator.done, Ended), (seed, operator.done)
        marks = marks_of(fought.tags)
        assert marks is not None
        said = operator.done.text
        if said.startswith("nothing to"):
            assert not marks.is_active, (seed, said)
            continue
        taken += operator.done.exit_code in (ExitCode.OK, ExitCode.PAUSED)
        assert isinstance(run.done, Ended), (seed, run.done)
        if operator.done.exit_code is not ExitCode.REFUSED:
            assert run.done.exit_code is (ExitCode.ABORTED if kind is RequestKind.ABORT else ExitCode.PAUSED), (
                seed,
                said,
            )
        else:
            assert run.done.exit_code is ExitCode.OK, (seed, said, run.done)
    assert taken > SCHEDULES / 4
