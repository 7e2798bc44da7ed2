"""Up to when late rows are all there, and how many there should be: pure rules, without any service."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.telemetry.watermark import Assessment, Counts, Pulse, Tally, Window, assess, lateness_s, named

T0 = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
MAX_LAG_S = 300.0


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def window(now: float = 20, *, until: float | None = None, block_s: float = 10) -> Window:
    return Window(at(now), T0, at(now if until is None else until), block_s, MAX_LAG_S)


def pulses(now: float, lag_s: float | None = 60.0) -> list[Pulse]:
    """Every minute of the last half hour, as far as rows that are ``lag_s`` late have come."""
    came = now - (lag_s or 0) / 60
    minutes = range(int(now) - 30, int(came) + 1)
    return [Pulse(at(m), "blue", 100, 0, min(at(m + 1), at(came)), lag_s) for m in minutes]


def tallies(until: float, *, n: int = 100, deployment: str = "blue", failed: int = 0, items: float = 1) -> list[Tally]:
    return [Tally(at(m), deployment, n, n * items, failed) for m in range(int(until))]


def counts(now: float, *, n: float = 100, failed: float = 0, deployment: str = "blue", delay: float = 2) -> Counts:
    minutes = range(int(now))
    return Counts(
        {(at(m), deployment): n for m in minutes}, {(at(m), deployment): failed for m in minutes}, at(now - delay)
    )


def test_everything_is_complete_as_long_ago_as_rows_are_late_and_no_later_than_the_count_reaches() -> None:
    found = assess(window(), pulses(20), tallies(19), counts(20))
    assert found == Assessment(at(18), {"blue": 1900})
    assert assess(window(), pulses(20, 150), tallies(17.5), counts(20)).complete_until == at(17)
    assert assess(window(), pulses(20, 150), tallies(19), counts(20)).complete_until == at(17.5)


def test_nothing_is_claimed_beyond_what_was_asked() -> None:
    assert assess(window(until=10), pulses(20), tallies(10), counts(20)).complete_until == at(10)


def test_without_a_count_nothing_is_complete_however_old_the_rows_are() -> None:
    assert assess(window(), pulses(20), tallies(19), None) == Assessment(None)
    assert assess(window(), [], [], None) == Assessment(None)


def test_a_count_that_knows_of_nothing_beside_rows_is_none() -> None:
    nothing = Counts({}, {}, at(18))
    found = assess(window(), pulses(20), tallies(19), nothing)
    assert (found.complete_until, found.expected, found.problems) == (None, {}, ())
    assert "metrics count no request" in (found.doubt or "")
    assert assess(window(), [], [], nothing).complete_until == at(15)


def test_a_young_minute_that_lacks_rows_is_waited_for() -> None:
    late = [t for t in tallies(19) if t.start != at(16)]
    assert assess(window(), pulses(20), late, counts(20)).complete_until == at(16)


def test_an_old_minute_that_lacks_rows_is_given_up_and_counted_as_missing() -> None:
    lost = [t for t in tallies(19) if t.start != at(5)]
    found = assess(window(), pulses(20), lost, counts(20))
    assert found.complete_until == at(18)
    assert found.expected["blue"] - sum(t.rows for t in lost) == 100


def test_rows_after_the_watermark_do_not_make_up_for_those_that_are_missing_before() -> None:
    half = tallies(19, n=50)
    found = assess(window(), pulses(20), half, counts(20))
    assert found.complete_until == at(15)
    assert found.expected["blue"] - sum(t.rows for t in half) == 15 * 50


@pytest.mark.parametrize(("seen", "complete"), [(90, 18), (85, 18), (79, 16)])
def test_a_tenth_and_chance_may_be_missing_of_a_minute(seen: int, complete: float) -> None:
    rows = [Tally(t.start, t.deployment, seen, seen, 0) if t.start == at(16) else t for t in tallies(19)]
    assert assess(window(), pulses(20), rows, counts(20)).complete_until == at(complete)


def test_our_own_probes_are_not_due() -> None:
    probed = [Pulse(p.minute, "blue", 130, 30, p.last, 60.0) for p in pulses(20)]
    found = assess(window(), probed, tallies(19), counts(20, n=130))
    assert found == Assessment(at(18), {"blue": 1900})


def test_failed_probes_are_no_hidden_failures() -> None:
    probed = [Pulse(p.minute, "blue", 130, 30, p.last, 60.0) for p in pulses(20)]
    assert assess(window(), probed, tallies(19), counts(20, n=130, failed=30)).problems == ()


@pytest.mark.parametrize(
    ("failed", "seen", "hidden"), [(0, 0, False), (1, 0, True), (5, 5, False), (5, 2, True), (0, 5, False)]
)
def test_failures_that_rows_do_not_tell_of_are_a_problem(failed: int, seen: int, hidden: bool) -> None:
    found = assess(window(), pulses(20), tallies(19, failed=seen), counts(20, failed=failed))
    assert bool(found.problems) == hidden


def test_names_that_the_count_does_not_know_are_a_problem_unless_others_write_there_too() -> None:
    rows = [*tallies(19), *tallies(19, deployment="mauve")]
    assert "mauve" in assess(window(), pulses(20), rows, counts(20)).problems[0]
    assert assess(window(), pulses(20), rows, counts(20), shared=True).problems == ()


def test_a_deployment_that_has_just_begun_to_answer_is_not_a_stranger() -> None:
    rows = [*tallies(19), Tally(at(17), "green", 5, 5, 0)]
    assert assess(window(), pulses(20), rows, counts(20)).problems == ()


def test_more_rows_than_requests_are_others_where_others_write_too() -> None:
    rows = tallies(19, n=130)
    assert assess(window(), pulses(20), rows, counts(20)).problems == ()
    assert "others" in assess(window(), pulses(20), rows, counts(20), shared=True).problems[0]


def test_what_is_sampled_is_expected_in_rows() -> None:
    found = assess(window(), pulses(20), tallies(19, n=25, items=4), counts(20))
    assert found == Assessment(at(18), {"blue": 475})


@pytest.mark.parametrize("block_s", [7.0, 30.0, 90.0, 600.0])
def test_blocks_of_any_length_are_compared_in_whole_minutes(block_s: float) -> None:
    length = timedelta(seconds=block_s)
    epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    start = epoch + -((epoch - T0) // length) * length
    rows = []
    while start < at(19):
        rows.append(Tally(start, "blue", round(100 * block_s / 60), round(100 * block_s / 60), 0))
        start += length
    found = assess(window(block_s=block_s), pulses(20), rows, counts(20))
    seen = sum(t.rows for t in rows)
    assert found.complete_until is not None
    assert found.expected.get("blue", 0) <= seen + 0.1 * seen


def test_lateness_is_that_of_minutes_that_have_all_their_rows() -> None:
    young = [Pulse(at(m), "blue", 100, 0, at(m), 10.0) for m in range(15, 20)]
    assert lateness_s(young, at(20), MAX_LAG_S) == MAX_LAG_S
    old = [Pulse(at(m), "blue", 100, 0, at(m), 90.0 + m) for m in range(8, 14)]
    assert lateness_s([*young, *old], at(20), MAX_LAG_S) == 103.0
    ancient = [Pulse(at(-60), "blue", 100, 0, at(-60), 299.0)]
    assert lateness_s([*old, *ancient], at(20), MAX_LAG_S) == 103.0


def test_lateness_that_nobody_knows_or_that_is_absurd_is_the_most_that_may_be() -> None:
    assert lateness_s([], at(20), MAX_LAG_S) == MAX_LAG_S
    assert lateness_s([Pulse(at(10), "blue", 1, 0, at(10), None)], at(20), MAX_LAG_S) == MAX_LAG_S
    assert lateness_s([Pulse(at(10), "blue", 1, 0, at(10), 1e9)], at(20), MAX_LAG_S) == MAX_LAG_S


@given(
    rows=st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["blue", "green"]), st.integers(1, 300)), max_size=40),
    due=st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["blue", "green"]), st.floats(0, 300)), max_size=40),
    until=st.integers(0, 25),
    delay=st.integers(0, 10),
)
def test_whatever_is_told_no_claim_reaches_beyond_now_or_what_was_asked(
    rows: list[tuple[int, str, int]], due: list[tuple[int, str, float]], until: int, delay: int
) -> None:
    told = [Tally(at(m), name, n, n, 0) for m, name, n in rows]
    counted = Counts({(at(m), name): n for m, name, n in due}, {}, at(20 - delay))
    found = assess(window(until=until), pulses(20), told, counted)
    if found.complete_until is None:
        assert not counted.requests
    else:
        assert found.complete_until <= min(at(until), at(20 - 1), at(20 - delay)) or not counted.requests
    assert all(n > 0 for n in found.expected.values())


def test_names_from_outside_are_one_safe_line() -> None:
    assert named(["a\x1b[31m\n", "b" * 100]) == f"a?[31m?, {'b' * 64}"
