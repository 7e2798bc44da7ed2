"""The lease: at most one run of an endpoint, and nobody waits for the dead."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from doubles.memory import CAPABILITIES, MemoryPlatform
from doubles.telemetry import ManualClock
from owners import ELSEWHERE, dead, living, owner_of

from deployer.engine.lease import (
    SETTLE_POLLS,
    Holder,
    Lease,
    LostLeaseError,
    fence_of,
    is_gone,
    this_host,
    this_process,
)
from deployer.errors import ConflictError, ExitCode, PlanError, PlatformError, TransientError
from deployer.ports.platform import Endpoint
from deployer.rollout.tags import LEASE, PHASE, REQUEST

BEAT_S, STALE_AFTER_S = CAPABILITIES.beat_s, CAPABILITIES.stale_after_s


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def platform(clock: ManualClock) -> MemoryPlatform:
    made = MemoryPlatform("digits", clock)
    made.ensure_endpoint({})
    return made


def tag(platform: MemoryPlatform) -> str | None:
    view = platform.peek()
    assert view is not None
    return view.tags.get(LEASE)


def tags(platform: MemoryPlatform) -> dict[str, str]:
    view = platform.peek()
    assert view is not None
    return dict(view.tags)


def lease(platform: MemoryPlatform, clock: ManualClock, owner: str) -> Lease:
    return Lease(platform, clock, owner)


class Living:
    """A clock on which the owner of the lease beats, as a living run elsewhere does."""

    def __init__(self, clock: ManualClock, beat: Callable[[], None]) -> None:
        self._clock = clock
        self._beat = beat
        self.now = clock.now

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)
        self._beat()


def test_a_free_lease_is_taken_and_given_back(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine = lease(platform, clock, "here/1/1")
    mine.acquire()
    assert tag(platform) == "here/1/1|1|0"
    mine.check(tag(platform))
    mine.release()
    assert tag(platform) == "|1|0"
    assert Holder.parse(tag(platform)) is None


def test_a_free_lease_keeps_its_fence_so_that_who_slept_through_it_knows(
    platform: MemoryPlatform, clock: ManualClock
) -> None:
    asleep, other = lease(platform, clock, "here/1/1"), lease(platform, clock, ELSEWHERE)
    asleep.acquire()
    other.acquire(take_over=True)
    other.release()
    assert fence_of(tag(platform)) == 2
    with pytest.raises(LostLeaseError, match="to nobody"):
        asleep.check(tag(platform))
    lease(platform, clock, "third/1/1").acquire()
    assert tag(platform) == "third/1/1|3|0"


def test_an_owner_is_this_process_unless_it_is_told(platform: MemoryPlatform, clock: ManualClock) -> None:
    Lease(platform, clock).acquire()
    assert tag(platform) == f"{this_process()}|1|0"
    assert this_process() == owner_of(os.getpid())


def test_a_living_owner_on_this_machine_is_refused_at_once(platform: MemoryPlatform, clock: ManualClock) -> None:
    owner = living()
    lease(platform, clock, owner).acquire()
    started = clock.now()
    with pytest.raises(PlanError, match="another rollout of this endpoint is running") as refused:
        Lease(platform, clock).acquire()
    assert owner in refused.value.message
    assert "--take-over" in refused.value.hint
    assert (clock.now(), tag(platform)) == (started, f"{owner}|1|0")


def test_a_dead_owner_on_this_machine_is_not_waited_for(platform: MemoryPlatform, clock: ManualClock) -> None:
    lease(platform, clock, dead()).acquire()
    started = clock.now()
    Lease(platform, clock).acquire()
    assert clock.now() == started
    assert tag(platform) == f"{this_process()}|2|0"


def test_an_owner_elsewhere_is_watched_until_its_beat_stood_still_long_enough(
    platform: MemoryPlatform, clock: ManualClock
) -> None:
    lease(platform, clock, ELSEWHERE).acquire()
    started, told = clock.now(), []
    Lease(platform, clock, "here/1/1").acquire(waiting=told.append)
    assert STALE_AFTER_S <= (clock.now() - started).total_seconds() < STALE_AFTER_S + 5
    assert set(told) == {f"watching whether {ELSEWHERE} still runs"}
    assert tag(platform) == "here/1/1|2|0"


class Busy(MemoryPlatform):
    """An endpoint that is being changed for so many seconds from now."""

    seconds = 0.0

    def observe(self, *, why: bool = True) -> Endpoint | None:
        view = super().observe(why=why)
        settling = (self._clock.now() - ManualClock().now()).total_seconds() < self.seconds
        return view and replace(view, settling=settling)


@pytest.mark.parametrize(
    ("busy_s", "taken_s"), [(30.0, 30.0 + STALE_AFTER_S), (1000.0, 2 * STALE_AFTER_S)], ids=["a write", "for ever"]
)
def test_while_the_endpoint_is_busy_its_owner_may_be_writing(busy_s: float, taken_s: float) -> None:
    clock = ManualClock()
    platform = Busy("digits", clock)
    platform.ensure_endpoint({})
    lease(platform, clock, ELSEWHERE).acquire()
    started, platform.seconds = clock.now(), busy_s
    Lease(platform, clock, "here/1/1").acquire()
    assert taken_s - 5 <= (clock.now() - started).total_seconds() < taken_s + 5


def test_staleness_is_what_does_not_change_and_no_clock_is_compared(platform: MemoryPlatform) -> None:
    skewed = ManualClock()
    skewed.advance(-15 * 60)
    lease(platform, skewed, ELSEWHERE).acquire()
    ahead = ManualClock()
    ahead.advance(15 * 60)
    started = ahead.now()
    Lease(platform, ahead, "here/1/1").acquire()
    assert (ahead.now() - started).total_seconds() >= STALE_AFTER_S


def test_an_owner_elsewhere_that_beats_is_refused(platform: MemoryPlatform, clock: ManualClock) -> None:
    theirs = lease(platform, clock, ELSEWHERE)
    theirs.acquire()
    with pytest.raises(PlanError, match=f"running \\({ELSEWHERE}\\)"):
        Lease(platform, Living(clock, theirs.beat), "here/1/1").acquire()
    theirs.check(tag(platform))


def test_a_lease_given_back_while_it_is_watched_is_free(platform: MemoryPlatform, clock: ManualClock) -> None:
    theirs = lease(platform, clock, ELSEWHERE)
    theirs.acquire()
    mine = Lease(platform, Living(clock, theirs.release), "here/1/1")
    mine.acquire()
    mine.check(tag(platform))


def test_a_lease_taken_by_a_third_while_it_is_watched_is_refused(platform: MemoryPlatform, clock: ManualClock) -> None:
    theirs, third = lease(platform, clock, ELSEWHERE), lease(platform, clock, "third/1/1")
    theirs.acquire()
    with pytest.raises(PlanError, match="third/1/1"):
        Lease(platform, Living(clock, lambda: third.acquire(take_over=True)), "here/1/1").acquire()


def test_a_human_takes_a_lease_from_a_living_owner(platform: MemoryPlatform, clock: ManualClock) -> None:
    theirs, mine = lease(platform, clock, living()), lease(platform, clock, "here/1/1")
    theirs.acquire()
    mine.acquire(take_over=True)
    mine.check(tag(platform))
    with pytest.raises(LostLeaseError, match="lost its lease to here/1/1") as lost:
        theirs.check(tag(platform))
    assert lost.value.exit_code == ExitCode.REFUSED
    assert isinstance(lost.value, ConflictError)


def test_a_lease_that_nobody_holds_any_more_is_lost_too(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine = lease(platform, clock, "here/1/1")
    mine.acquire()
    for value in (None, "", "garbled", "here/1/1|2|0", "here/1/1|one|0"):
        with pytest.raises(LostLeaseError):
            mine.check(value)
    with pytest.raises(LostLeaseError, match="to nobody"):
        lease(platform, clock, "here/1/1").check(None)


def test_the_beat_changes_when_it_is_due_and_not_before(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine = lease(platform, clock, "here/1/1")
    mine.beat()
    mine.acquire()
    mine.beat()
    assert tag(platform) == "here/1/1|1|0"
    for number in (1, 2):
        clock.advance(BEAT_S)
        mine.beat()
        assert tag(platform) == f"here/1/1|1|{number}"
        mine.check(tag(platform))


@pytest.mark.parametrize("after_effect", [False, True], ids=["not written", "reply lost"])
def test_a_beat_that_failed_is_made_up_for_by_the_next(
    platform: MemoryPlatform, clock: ManualClock, *, after_effect: bool
) -> None:
    mine = lease(platform, clock, "here/1/1")
    mine.acquire()
    clock.advance(BEAT_S)
    platform.fail_next("set_tags", TransientError("busy", hint="Wait."), after_effect=after_effect)
    with pytest.raises(TransientError):
        mine.beat()
    for _ in (1, 2):
        before = tag(platform)
        clock.advance(BEAT_S)
        mine.beat()
        assert tag(platform) != before
    mine.check(tag(platform))
    mine.release()
    assert Holder.parse(tag(platform)) is None


def test_four_beats_fit_into_what_counts_as_stale() -> None:
    assert BEAT_S * 4 < STALE_AFTER_S


def test_a_beat_never_overwrites_another_runs_lease(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine, theirs = lease(platform, clock, "here/1/1"), lease(platform, clock, ELSEWHERE)
    mine.acquire()
    mine.check(tag(platform))
    clock.advance(2 * 3600)  # the machine slept between the check and the beat
    theirs.acquire(take_over=True)
    with pytest.raises(LostLeaseError):
        mine.beat()
    theirs.check(tag(platform))


def test_releasing_never_removes_another_runs_lease(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine, theirs = lease(platform, clock, "here/1/1"), lease(platform, clock, ELSEWHERE)
    mine.release()
    mine.acquire()
    theirs.acquire(take_over=True)
    mine.release()
    theirs.check(tag(platform))


def test_a_lease_taken_in_the_moment_of_releasing_stays(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine, theirs = lease(platform, clock, "here/1/1"), Holder(ELSEWHERE, 9, 0)
    mine.acquire()
    platform.before = lambda name: platform.edit_tags({LEASE: str(theirs)}) if name == "set_tags" else None
    mine.release()
    assert tag(platform) == str(theirs)


@pytest.mark.parametrize("call", ["observe", "set_tags"])
@pytest.mark.parametrize("error", [TransientError("busy", hint="Wait."), PlatformError("no", hint="Look.")])
def test_a_platform_that_fails_does_not_make_the_release_fail(
    platform: MemoryPlatform, clock: ManualClock, call: str, error: PlatformError
) -> None:
    mine = lease(platform, clock, "here/1/1")
    mine.acquire()
    platform.fail_next(call, error)
    mine.release()
    with pytest.raises(LostLeaseError):
        mine.check(tag(platform))


def test_a_lease_that_does_not_read_back_is_not_held(platform: MemoryPlatform, clock: ManualClock) -> None:
    platform.after = lambda name: platform.edit_tags({LEASE: "third/1/1|5|0"}) if name == "set_tags" else None
    mine = lease(platform, clock, "here/1/1")
    with pytest.raises(PlanError, match="third/1/1"):
        mine.acquire()
    with pytest.raises(LostLeaseError):
        mine.check("third/1/1|5|0")


def test_an_endpoint_that_vanishes_leaves_nothing_to_hold(platform: MemoryPlatform, clock: ManualClock) -> None:
    platform.after = lambda name: platform.vanish() if name == "set_tags" else None
    with pytest.raises(PlanError, match="another run"):
        lease(platform, clock, "here/1/1").acquire()


# ---- what is written under the lease


def test_what_is_written_under_the_lease_is_a_beat_too(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine = lease(platform, clock, "here/1/1")
    mine.acquire()
    mine.write({PHASE: "judging:3"}, expect={REQUEST: None})
    assert tags(platform) == {LEASE: "here/1/1|1|1", PHASE: "judging:3"}
    platform.edit_tags({REQUEST: "pause|bob|"})
    with pytest.raises(ConflictError):
        mine.write({PHASE: "paused:3"}, expect={REQUEST: None})
    assert tags(platform) == {LEASE: "here/1/1|1|1", PHASE: "judging:3", REQUEST: "pause|bob|"}


def test_nothing_is_written_without_a_lease(platform: MemoryPlatform, clock: ManualClock) -> None:
    with pytest.raises(LostLeaseError, match="holds no lease"):
        lease(platform, clock, "here/1/1").write({PHASE: "judging:3"})
    assert tags(platform) == {}


def test_what_is_kept_comes_back_with_the_next_beat(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine = lease(platform, clock, "here/1/1")
    mine.acquire()
    mine.keep({PHASE: "judging:3"})
    platform.edit_tags({PHASE: "deploying:1"})
    clock.advance(BEAT_S)
    mine.beat()
    assert tags(platform)[PHASE] == "judging:3"


def test_the_beat_stands_still_while_traffic_is_written(platform: MemoryPlatform, clock: ManualClock) -> None:
    mine = lease(platform, clock, "here/1/1")
    with mine.guarding() as expect:
        assert expect == {}
    mine.acquire()
    clock.advance(BEAT_S)
    beating = threading.Thread(target=mine.beat)
    with mine.guarding() as expect:
        beating.start()
        beating.join(0.05)
        assert expect == {LEASE: tag(platform)} == {LEASE: "here/1/1|1|0"}
    beating.join()
    assert tag(platform) == "here/1/1|1|1"


# ---- without compare-and-set


@pytest.fixture
def loose(clock: ManualClock) -> MemoryPlatform:
    made = MemoryPlatform("digits", clock, capabilities=replace(CAPABILITIES, compare_and_set=False, poll_s=5.0))
    made.ensure_endpoint({})
    return made


def test_without_compare_and_set_the_lease_is_read_back_again_after_a_pause(
    loose: MemoryPlatform, clock: ManualClock
) -> None:
    started = clock.now()
    lease(loose, clock, "here/1/1").acquire()
    assert (clock.now() - started).total_seconds() == SETTLE_POLLS * 5.0


def test_who_wrote_first_withdraws_when_another_run_wrote_over_it(loose: MemoryPlatform, clock: ManualClock) -> None:
    theirs = "third/1/1|1|0"
    mine = Lease(loose, Living(clock, lambda: loose.edit_tags({LEASE: theirs})), "here/1/1")
    with pytest.raises(PlanError, match="third/1/1"):
        mine.acquire()
    assert tag(loose) == theirs
    with pytest.raises(LostLeaseError):
        mine.write({PHASE: "judging:3"})


def test_who_looks_again_afterwards_does_not_wait(loose: MemoryPlatform, clock: ManualClock) -> None:
    lease(loose, clock, ELSEWHERE).acquire()
    started = clock.now()
    lease(loose, clock, "here/1/1").acquire(take_over=True, at_once=True)
    assert clock.now() == started


@pytest.mark.parametrize("old", [None, f"{ELSEWHERE}|1|7", "|1|7", "garbled"])
def test_an_older_map_that_came_over_the_lease_is_not_a_take_over(
    loose: MemoryPlatform, clock: ManualClock, old: str | None
) -> None:
    loose.edit_tags({LEASE: f"{ELSEWHERE}|1|7"})
    mine = lease(loose, clock, "here/1/1")
    mine.acquire(take_over=True)
    mine.keep({PHASE: "judging:3"})
    loose.edit_tags({LEASE: old, PHASE: "deploying:1"})
    mine.check(tag(loose))
    mine.beat()
    assert tags(loose)[PHASE] == "judging:3"
    assert (Holder.parse(tag(loose)) or mine) == Holder("here/1/1", 2, 8 if old and ELSEWHERE in old else 1)


@pytest.mark.parametrize("newer", [f"{ELSEWHERE}|3|0", f"{ELSEWHERE}|2|0", "|2|4", "|3|0"])
def test_a_lease_as_high_as_ours_or_higher_is_lost(loose: MemoryPlatform, clock: ManualClock, newer: str) -> None:
    loose.edit_tags({LEASE: "|1|0"})
    mine = lease(loose, clock, "here/1/1")
    mine.acquire()
    loose.edit_tags({LEASE: newer})
    for act in (lambda: mine.check(newer), lambda: mine.write({PHASE: "judging:3"})):
        with pytest.raises(LostLeaseError):
            act()
    assert tags(loose) == {LEASE: newer}


def test_a_lease_given_back_is_given_back_again_when_an_older_map_came_over_it(
    loose: MemoryPlatform, clock: ManualClock
) -> None:
    mine = lease(loose, clock, "here/1/1")
    mine.acquire()
    mine.keep({PHASE: "promoted:5"})
    mine.write({PHASE: "promoted:5"})
    older = iter([{LEASE: "here/1/1|1|0", PHASE: "retiring:5"}, {LEASE: "here/1/1|1|0", PHASE: "retiring:5"}])
    loose.before = lambda call: loose.edit_tags(next(older, {})) if call == "observe" else None
    mine.release()
    assert tags(loose) == {LEASE: "|1|1", PHASE: "promoted:5"}


def test_a_lease_given_back_and_taken_by_another_run_is_left_to_it(loose: MemoryPlatform, clock: ManualClock) -> None:
    mine = lease(loose, clock, "here/1/1")
    mine.acquire()
    loose.before = lambda call: loose.edit_tags({LEASE: "third/1/1|2|0"}) if call == "observe" else None
    mine.release()
    assert tag(loose) == "third/1/1|2|0"


def test_a_take_over_is_tried_again_when_the_owner_beats_meanwhile(
    platform: MemoryPlatform, clock: ManualClock
) -> None:
    beats = iter(range(1, 3))

    def beat(call: str) -> None:
        if call == "set_tags" and (number := next(beats, None)) is not None:
            platform.edit_tags({LEASE: f"{ELSEWHERE}|4|{number}"})

    platform.edit_tags({LEASE: f"{ELSEWHERE}|4|0"})
    platform.before = beat
    mine = lease(platform, clock, "here/1/1")
    mine.acquire(take_over=True)
    assert tag(platform) == "here/1/1|5|0"


# ---- who is gone


def test_the_dead_are_gone_and_the_living_are_not() -> None:
    assert is_gone(dead())
    assert not is_gone(living())
    assert not is_gone(this_process())


def test_another_process_with_the_same_number_is_not_the_owner() -> None:
    host, pid, started = this_process().split("/")
    assert is_gone(f"{host}/{pid}/{int(started) - 60_000}")


def test_a_dead_process_that_nobody_buried_is_gone() -> None:
    process = subprocess.Popen(["true"])
    owner = owner_of(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(owner)
    process.wait()


@pytest.mark.parametrize("owner", [ELSEWHERE, "", "x", f"{this_host()}/a/b", f"{this_host()}/1"])
def test_what_cannot_be_known_is_not_gone(owner: str) -> None:
    assert not is_gone(owner)


@pytest.mark.parametrize("value", [None, "", "a|b", "a|b|c", "a|1|2|3", "a|1"])
def test_a_garbled_tag_is_held_by_nobody(value: str | None, platform: MemoryPlatform, clock: ManualClock) -> None:
    assert Holder.parse(value) is None
    platform.edit_tags({LEASE: None})
    lease(platform, clock, "here/1/1").acquire()


@pytest.mark.parametrize(
    ("value", "fence"), [(None, 0), ("", 0), ("garbled", 0), ("a|x|1", 0), ("a|3|1", 3), ("|4|1", 4)]
)
def test_the_fence_is_read_of_a_held_and_of_a_free_lease(value: str | None, fence: int) -> None:
    assert fence_of(value) == fence


def test_a_garbled_lease_can_be_taken(platform: MemoryPlatform, clock: ManualClock) -> None:
    platform.edit_tags({LEASE: "somebody wrote this by hand"})
    mine = lease(platform, clock, "here/1/1")
    mine.acquire(take_over=True)
    mine.check(tag(platform))


def test_a_holder_survives_being_written() -> None:
    assert Holder.parse(str(Holder("here/1/2", 3, 4))) == Holder("here/1/2", 3, 4)


# ---- two at once


class Actor(threading.Thread):
    """A run that makes one platform call at a time, when it is its turn."""

    def __init__(self, platform: MemoryPlatform, clock: ManualClock, owner: str, *, take_over: bool) -> None:
        super().__init__(daemon=True)
        self.platform = platform
        self.capabilities = platform.capabilities
        self.lease = Lease(self, clock, owner)  # type: ignore[arg-type] - its calls go through ``__getattr__``
        self.take_over = take_over
        self.holds = self.ended = False
        self.turn, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self.step()

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            self.done.release()
            self.turn.acquire()
            return getattr(self.platform, name)(*args, **options)

        return call

    def run(self) -> None:
        self.turn.acquire()
        try:
            self.lease.acquire(take_over=self.take_over)
            self.holds = True
            self.observe()  # what it does while it holds the lease
            self.holds = False
            self.lease.release()
        except PlanError:
            self.holds = False
        finally:
            self.ended = True
            self.done.release()

    def step(self) -> None:
        """Let it go on to its next call, or to its end."""
        if not self.ended:
            self.turn.release()
            self.done.acquire()

    @property
    def owns(self) -> bool:
        """It believes that it holds the lease, and the next check would agree."""
        try:
            self.lease.check(tag(self.platform))
        except LostLeaseError:
            return False
        return self.holds


@pytest.mark.parametrize("before", [None, f"{ELSEWHERE}|4|2"], ids=["free", "taken over"])
def test_of_two_runs_at_once_one_gets_the_lease_and_never_both(before: str | None) -> None:
    for order in product((0, 1), repeat=7):
        clock = ManualClock()
        platform = MemoryPlatform("digits", clock)
        platform.ensure_endpoint({})
        platform.edit_tags({LEASE: before})
        actors = [Actor(platform, clock, f"run{n}/1/1", take_over=before is not None) for n in (0, 1)]
        owned: set[int] = set()
        for turn in (*order, *(n for _ in range(12) for n in (0, 1))):
            actors[turn].step()
            owners = {n for n, actor in enumerate(actors) if actor.owns}
            assert len(owners) <= 1, order
            assert before is not None or sum(actor.holds for actor in actors) <= 1, order  # nobody was taken over
            owned |= owners
        assert owned, order
        assert all(actor.ended for actor in actors)


def test_another_machine_of_the_same_image_is_not_this_one() -> None:
    """Hosted runners share host name and number of the first pid namespace; their boot ids differ."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:13]
    assert boot in this_host()
    twin = this_host().replace(boot, "00000000-0000")
    assert is_gone(f"{this_host()}/4194300/1")
    assert not is_gone(f"{twin}/4194300/1")
