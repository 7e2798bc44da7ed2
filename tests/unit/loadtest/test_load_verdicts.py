"""Met, missed or not shown: each with its reason, and what would have decided it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from windows import HEALTHY, queue, run, steady, window

from deployer.loadtest.compare import Change, compare
from deployer.loadtest.estimates import UNKNOWN, Estimate
from deployer.loadtest.figures import Health
from deployer.loadtest.proof import requests_to_prove
from deployer.loadtest.verdict import Result, judge, measured, ms, percent
from deployer.manifest.schema import LatencyTargets, Slo


def slo(error_rate: str | None = None, **latency: str) -> Slo:
    return Slo(latency=LatencyTargets(**latency) if latency else None, error_rate=error_rate)  # type: ignore[arg-type]


def test_a_target_is_met_when_even_the_upper_bound_meets_it() -> None:
    verdict = judge(run(steady(60, {100.0: 50})), slo("0.1%", p50="120ms", p95="300ms", p99="900ms"))
    assert verdict.result is Result.PASSED
    assert [finding.metric for finding in verdict.findings] == ["p50", "p95", "p99", "error_rate"]
    assert verdict.text == (
        "p50 is 100 ms, shown to be at most 100 ms (at most 120 ms); p95 is 100 ms, shown to be at most 100 ms (at "
        "most 300 ms); p99 is 100 ms, shown to be at most 100 ms (at most 900 ms); none of 3,000 requests failed: "
        "shown to be at most 0.1% (at most 0.1%)"
    )


def test_a_clean_run_that_is_too_short_proves_only_what_it_can() -> None:
    verdict = judge(run(steady(60, {100.0: 10})), slo("0.1%"))
    assert verdict.result is Result.INCONCLUSIVE
    assert verdict.text == (
        "none of 600 requests failed: shown to be at most 0.5% (at most 0.1%): about 3,000 requests would decide it, "
        "5m at this rate"
    )
    assert verdict.findings[0].needed == pytest.approx(2995, rel=0.001)


def test_a_slow_endpoint_misses_its_target() -> None:
    verdict = judge(run(steady(60, {100.0: 8, 700.0: 2})), slo(p50="200ms", p95="300ms"))
    assert verdict.result is Result.MISSED
    assert verdict.text == "p95 is 700 ms, shown to be at least 700 ms (at most 300 ms)"


def test_requests_that_never_end_miss_a_latency_target_too() -> None:
    verdict = judge(run(steady(60, {100.0: 8}, {0: 2})), slo(p95="300ms"))
    assert verdict.result is Result.MISSED
    assert "p95 is longer than anything measured" in verdict.text


def test_failures_are_told_by_their_kinds() -> None:
    verdict = judge(run(steady(60, {100.0: 40}, {429: 6, 1429: 2, 500: 2})), slo("1%"))
    assert verdict.result is Result.MISSED
    assert verdict.text.startswith(
        "600 of 3,000 requests failed (360 turned away for lack of capacity (429), 120 turned away by the endpoint's "
        "rate limit (429), 120 errors of the model or platform (424, 5xx)): shown to be at least "
    )


def test_what_would_decide_it_is_more_than_there_was() -> None:
    needed: list[float] = []
    for seed in range(8):
        windows = queue(np.random.default_rng(seed), load=0.6, rate=50, seconds=60)
        findings = judge(run(windows), slo(p50="45ms", p95="200ms", p99="320ms")).findings
        needed += [each.needed / sum(one.sent for one in windows) for each in findings if each.needed]
    assert len(needed) > 4
    assert min(needed) > 1


def test_too_close_to_tell_is_said() -> None:
    verdict = judge(run(steady(60, {100.0: 99}, {500: 1})), slo("1%"))
    assert verdict.result is Result.INCONCLUSIVE
    assert verdict.text.endswith("too close to the target to tell, however long the run")


def test_an_unproven_latency_says_how_long_a_run_would_decide_it() -> None:
    verdict = judge(run(steady(60, {100.0: 2})), slo(p99="300ms"))
    assert verdict.result is Result.INCONCLUSIVE
    assert verdict.text == (
        "p99 is 100 ms, not bounded by so few requests (at most 300 ms): about 300 requests would decide it, "
        "2m30s at this rate"
    )
    verdict = judge(run(steady(60, {float(value): 1 for value in range(1, 11)})), slo(p95="10ms"))
    assert verdict.result is Result.PASSED
    verdict = judge(run(steady(60, {100.0: 93, 290.0: 4, 310.0: 3})), slo(p95="295ms"))
    assert "it may be up to" not in verdict.text


def test_a_run_of_an_unhealthy_generator_is_thrown_away() -> None:
    sick = Health(lag_p99_ms=400.0, cpu_pct=99.0, problem="requests were sent up to 400 ms late")
    for windows in (steady(60, {1.0: 50}), steady(60, {5000.0: 50}), steady(60, {}, {500: 9})):
        verdict = judge(run(windows, health=sick), slo("0.1%", p95="300ms"))
        assert verdict.result is Result.INCONCLUSIVE
        assert verdict.text.startswith("thrown away, because the figures would tell of the load generator")
        assert verdict.findings == ()


def test_a_run_that_ended_early_passes_nothing_but_may_prove_a_failure() -> None:
    good = run(steady(60, {100.0: 50}), partial="interrupted by SIGINT")
    verdict = judge(good, slo(p95="300ms"))
    assert verdict.result is Result.INCONCLUSIVE
    assert verdict.text.startswith("ended early: interrupted by SIGINT; so far: p95 is 100 ms")
    bad = run(steady(60, {700.0: 50}), partial="interrupted by SIGINT")
    verdict = judge(bad, slo(p95="300ms"))
    assert verdict.result is Result.MISSED
    assert verdict.text.endswith("(ended early: interrupted by SIGINT)")


def test_the_second_that_was_cut_off_is_not_measured() -> None:
    windows = (*steady(5, {1.0: 5}), window({1.0: 1}, start_s=5.0), window(start_s=6.0))
    assert len(measured(run(windows, partial="x"))) == 5
    assert len(measured(run(windows))) == 7
    assert measured(run((), partial="x")) == ()


def test_a_stall_that_made_somebody_end_the_test_is_in_its_figures() -> None:
    frozen = [window(start_s=60.0 + n, waiting={1000.0 * (20 - n): 10}) for n in range(20)]
    verdict = judge(run((*steady(60, {16.0: 10}), *frozen), partial="interrupted by SIGINT"), slo("1%", p95="100ms"))
    assert verdict.result is Result.MISSED
    p95, errors = verdict.findings
    assert p95.text.startswith("p95 is longer than anything measured: too many requests failed or still waited")
    assert 3000 < p95.value.low < 12_000
    assert math.isinf(p95.value.high)
    assert errors.result is Result.INCONCLUSIVE
    assert errors.text.startswith(
        "none of 600 requests failed, 190 more still waited for an answer: shown to be at most 2"
    )


def test_requests_that_were_only_cut_off_are_not_measured() -> None:
    ended = (window({1500.0: 3}, start_s=60.0, waiting={700.0: 7}), window(start_s=61.0, waiting={300.0: 10}))
    windows = measured(run((*steady(60, {1500.0: 10}), *ended), partial="interrupted by SIGINT"))
    assert (len(windows), sum(sum(each.waiting_ms.values()) for each in windows)) == (60, 0)


@pytest.mark.parametrize(("lag_ms", "result"), [(0.4, Result.MISSED), (5.0, Result.INCONCLUSIVE)])
def test_a_miss_that_our_own_lateness_may_explain_blames_nobody(lag_ms: float, result: Result) -> None:
    late = Health(lag_p99_ms=lag_ms, cpu_pct=20.0)
    verdict = judge(run(steady(60, {23.0: 50}), health=late), slo(p95="20ms"))
    assert verdict.result is result
    assert ("but requests were sent up to 5 ms late (p99). Lower the rate" in verdict.text) == (lag_ms > 3)
    assert judge(run(steady(60, {19.0: 50}), health=late), slo(p95="20ms")).result is Result.PASSED
    assert judge(run(steady(60, {9.0: 50}, {500: 20}), health=late), slo("1%")).result is Result.MISSED
    assert judge(run(steady(60, {23.0: 50}), health=late), slo(p50="20ms")).result is Result.MISSED


def test_the_warm_up_is_kept_apart() -> None:
    slow = tuple(window({5000.0: 50}, is_warm_up=True) for _ in range(10))
    assert judge(run((*slow, *steady(60, {100.0: 50}))), slo(p95="300ms")).result is Result.PASSED


def test_requests_that_are_wrong_themselves_say_nothing_of_the_endpoint() -> None:
    verdict = judge(run(steady(60, {1.0: 2}, {400: 8})), slo(p95="300ms"))
    assert verdict.result is Result.INCONCLUSIVE
    assert verdict.text.startswith("480 of 600 requests were rejected as wrong: this says nothing of the endpoint")


@pytest.mark.parametrize("partial", [None, "nobody was there"])
def test_a_run_without_answers_is_inconclusive(partial: str | None) -> None:
    verdict = judge(run((), partial=partial), slo("1%"))
    assert verdict.result is Result.INCONCLUSIVE
    assert ("nobody was there" in verdict.text) == (partial is not None)


def test_latency_is_missed_when_every_answer_is_an_error() -> None:
    verdict = judge(run(steady(60, {}, {500: 10})), slo("50%", p95="300ms"))
    assert verdict.result is Result.MISSED
    assert verdict.findings[0].text == "p95 is longer than anything measured: too many requests failed (at most 300 ms)"
    mixed = judge(run(steady(60, {}, {500: 5, 400: 5})), slo(p95="300ms"))
    assert mixed.result is Result.MISSED


def test_requests_that_prove_a_share() -> None:
    assert requests_to_prove(0.001) == 2995
    assert requests_to_prove(0.01, inflation=10.0) == pytest.approx(2990, rel=0.01)
    assert requests_to_prove(0.01, 0.01) is None
    assert requests_to_prove(0.01, 0.02) is not None
    assert requests_to_prove(0.01, 0.5) is not None
    assert requests_to_prove(1e-13) is None
    nearer, farther = requests_to_prove(0.01, 0.008), requests_to_prove(0.01, 0.004)
    assert nearer is not None
    assert farther is not None
    assert nearer > 5 * farther


def test_numbers_are_written_shortly() -> None:
    assert (ms(1234.5), ms(123.4), ms(12.34)) == ("1,234 ms", "123 ms", "12.3 ms")
    assert ms(math.inf) == "longer than anything measured"
    assert percent(0.0123) == "1.2%"
    assert HEALTHY.problem is None


BEFORE = Estimate(100.0, 95.0, 108.0)


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (Estimate(120.0, 112.0, 126.0), Change.WORSE),
        (Estimate(80.0, 75.0, 83.0), Change.BETTER),
        (Estimate(105.0, 99.0, 110.0), Change.SAME),
        (Estimate(112.0, 107.0, 118.0), Change.WORSE),  # intervals touch, the difference does not reach 0
        (Estimate(math.inf, 90.0, math.inf), Change.WORSE),
        (UNKNOWN, Change.UNKNOWN),
    ],
)
def test_two_runs_differ_when_the_interval_of_the_difference_says_so(now: Estimate, change: Change) -> None:
    assert compare("p95", BEFORE, now).change is change


def test_of_a_rate_more_is_better() -> None:
    more = Estimate(130.0, 125.0, 134.0)
    found = compare("rate", BEFORE, more, more_is_better=True)
    assert found.change is Change.BETTER
    assert found.difference.low == pytest.approx(30 - math.hypot(5, 8))
    assert compare("rate", more, BEFORE, more_is_better=True).change is Change.WORSE
    assert compare("rate", Estimate(math.inf, 1.0, math.inf), more).change is Change.UNKNOWN
