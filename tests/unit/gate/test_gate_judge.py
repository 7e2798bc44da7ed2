import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.gate.worlds import (
    CLIENT,
    ERROR,
    GATE,
    SLO,
    T0,
    THROTTLED,
    TIMEOUT,
    after,
    decided,
    gate,
    look,
    moment,
    pair,
    samples,
    slo,
    traffic,
)

from deployer.gate.blocks import score_blocks
from deployer.gate.evidence import Evidence
from deployer.gate.explain import Case, reasons
from deployer.gate.judge import judge
from deployer.gate.ledger import Ledger
from deployer.gate.samples import Cell
from deployer.gate.verdict import Result, Shift


def named(verdict, metric, rule=None):
    return [r for r in verdict.reasons if r.metric == metric and rule in (None, r.rule)]


def test_a_good_candidate_passes_a_local_step_within_seconds():
    second, verdict = decided(pair(40), 40, following=50)
    assert (verdict.result, second <= 25) == (Result.PASS, True)
    assert all(reason.result is Result.PASS for reason in verdict.reasons)


def test_a_good_candidate_passes_the_next_step_on_the_evidence_of_both():
    first = pair(20)
    later = [
        *traffic("candidate", 20, 15, first=20, seed=1),
        *traffic("stable", 20, 15, first=20, seed=1),
    ]
    shifts = (Shift(T0, 20), Shift(after(20), 50))
    verdict = look([*first, *later], 35, weight=50, shifts=shifts, step=20)
    assert verdict.result is Result.PASS


def test_a_faster_candidate_passes_too():
    second, verdict = decided(pair(40, ms=4.0), 40, following=50)
    assert (verdict.result, second <= 25) == (Result.PASS, True)


@pytest.mark.parametrize("seed", range(6))
def test_a_candidate_that_always_raises_fails_within_a_second_or_two(seed):
    second, verdict = decided(pair(5, seed=seed, error=1.0), 5)
    assert verdict.result is Result.FAIL
    assert second <= 2
    assert named(verdict, "breaker")[0].result is Result.FAIL
    assert verdict.candidate.errors <= 25


def test_ten_errors_in_a_row_are_enough_for_the_breaker_and_a_few_are_not():
    stable = traffic("stable", 32, 1)
    few, many = (Cell(T0, "candidate", ERROR, 3, n) for n in (3, 10))
    assert look([few, *stable], 1).result is not Result.FAIL
    assert look([many, *stable], 1).result is Result.FAIL


def test_the_breaker_waits_neither_for_settling_nor_for_complete_data():
    cells = pair(3, error=1.0)
    assert look(cells, 3, gate=gate(settle="60s")).result is Result.FAIL
    assert look(cells, 3, complete=-500, gate=gate(settle="60s")).result is Result.FAIL


def test_a_slow_candidate_fails_whatever_the_size_of_a_millisecond():
    second, verdict = decided(pair(40, ms=300.0, sigma=0.1), 40)
    assert (verdict.result, second <= 15) == (Result.FAIL, True)
    assert named(verdict, "shift")[0].result is Result.FAIL
    assert named(verdict, "shift")[0].lower > 10


def test_a_breach_beside_a_better_stable_says_that_both_were_needed_in_plain_numbers():
    verdict = look(pair(40, weight=50, ms=1500.0), 40, weight=50)
    (text,) = [reason.text for reason in verdict.reasons if (reason.metric, reason.rule) == ("p95", "slo")]
    assert re.match(r"p95 \d,\d{3} ms \(\d,\d{3} to \d,\d{3}\): over the slo 200 ms, and slower than the stable", text)
    assert text.endswith("either alone would not fail it")


def test_errors_are_not_blamed_for_a_fail_that_only_latencies_brought():
    found = [Evidence("shift", "compare", 0.5, np.log(41.0)), Evidence("error_rate", "compare", 0.5, np.log(50.0))]
    blocks = score_blocks(
        Ledger.of(samples(pair(20), 20), "candidate", "stable", ()), GATE, moment(20), after(20).timestamp()
    )
    said = {
        failed: {
            reason.metric
            for reason in reasons(Case(blocks, blocks, more, [], failed=True, slo=SLO, gate=GATE))
            if reason.result is Result.FAIL
        }
        for failed, more in (("by latencies", found), ("by all", [found[0], replace(found[1], log_e=np.log(200.0))]))
    }
    assert said == {"by latencies": {"shift"}, "by all": {"shift", "error_rate"}}


def test_a_candidate_with_more_errors_than_tolerable_fails():
    _, verdict = decided(pair(40, error=0.15), 40)
    assert verdict.result is Result.FAIL
    assert named(verdict, "error_rate", "compare")[0].result is Result.FAIL


def test_time_outs_are_errors_and_slower_than_anything():
    verdict = look(pair(12, error=0.4, answer=TIMEOUT), 12)
    assert verdict.result is Result.FAIL
    assert verdict.candidate.errors > 0
    assert verdict.candidate.p95_ms is not None


@pytest.mark.parametrize("seed", range(3))
def test_a_shared_incident_holds_and_never_blames_the_candidate(seed):
    verdict = look(pair(40, seed=seed, error=0.3, ms=400.0, stable={"error": 0.3, "ms": 400.0}), 40)
    assert verdict.result is Result.INCONCLUSIVE
    assert "environment incident" in verdict.text


def test_a_breach_is_the_environments_only_if_the_stable_breaks_the_slo_too():
    found = set()
    for seed in range(40):
        strict = slo(error_rate="2%")
        verdict = look(pair(9, weight=80, seed=seed, error=0.12), 9, weight=80, slo=strict, gate=gate(block="9s"))
        found.update(reason.text for reason in verdict.reasons if reason.metric == "error_rate")
    assert any("that it is worse than the stable is not shown yet" in text for text in found)
    assert not any("environment incident" in text for text in found)


def test_without_a_stable_the_slo_alone_decides_and_the_verdict_says_so():
    good = traffic("candidate", 40, 20)
    passed = look(good, 20, weight=100, stable=None)
    assert passed.result is Result.PASS
    assert "not protected from shared incidents" in passed.text
    assert {reason.rule for reason in passed.reasons} == {"slo"}
    bad = look(traffic("candidate", 40, 20, ms=400.0), 20, weight=100, stable=None)
    assert bad.result is Result.FAIL
    assert "not protected from shared incidents" in bad.text
    assert "over the slo 100 ms; within it, it would not fail" in bad.text
    assert bad.stable is None


def test_at_full_weight_the_slo_alone_decides_and_earlier_evidence_is_kept():
    shifts = (Shift(T0, 50), Shift(after(30), 100))
    before = pair(30, weight=50)
    good = [*before, *traffic("candidate", 40, 20, first=30)]
    verdict = look(good, 50, weight=100, shifts=shifts, step=30)
    assert verdict.result is Result.PASS
    assert named(verdict, "shift", "compare")[0].result is Result.PASS
    slow = [*before, *traffic("candidate", 40, 20, first=30, ms=400.0, sigma=0.1)]
    assert look(slow, 50, weight=100, shifts=shifts, step=30).result is Result.FAIL
    broken = [*before, *traffic("candidate", 40, 3, first=30, error=1.0)]
    assert look(broken, 33, weight=100, shifts=shifts, step=30).result is Result.FAIL


def test_a_regression_of_a_later_step_is_found_beside_good_evidence_from_before():
    shifts = (Shift(T0, 20), Shift(after(40), 50))
    later = [*traffic("candidate", 20, 20, first=40, ms=60.0), *traffic("stable", 20, 20, first=40)]
    verdict = look([*pair(40), *later], 60, weight=50, shifts=shifts, step=40)
    assert verdict.result is Result.FAIL


def test_no_traffic_yet_is_inconclusive():
    assert look((), 5, shifts=()).result is Result.INCONCLUSIVE
    verdict = look((), 5)
    assert verdict.result is Result.INCONCLUSIVE
    assert "0 of the 60 requests" in verdict.text


def test_losing_sight_is_blind_and_says_why():
    cells = pair(30)
    assert look(cells, 30).result is Result.PASS
    for how, words in (
        ({"problem": "partial result"}, "partial result"),
        ({"complete": 30 - 700}, "old, over gate.telemetry.max_lag"),
        ({"expected": {"candidate": 2 * sum(c.n for c in cells if c.deployment == "candidate")}}, "of the"),
    ):
        verdict = look(cells, 30, **how)
        assert (verdict.result, verdict.until) == (Result.BLIND, None)
        assert words in verdict.text
        assert verdict.reasons[0].metric == "telemetry"


def test_unknown_completeness_is_blind():

    verdict = judge(samples(pair(30), None), SLO, GATE, moment(30))
    assert verdict.result is Result.BLIND


def test_a_problem_of_telemetry_silences_even_the_breaker():
    assert look(pair(5, error=1.0), 5, problem="two writers").result is Result.BLIND


def test_more_rows_than_an_independent_lower_bound_are_no_problem():
    assert look(pair(30), 30, expected={"candidate": 5, "stable": 5}).result is Result.PASS


@pytest.mark.parametrize("gone", ["candidate", "stable"])
def test_one_silent_arm_is_blind(gone):
    cells = [cell for cell in pair(30) if cell.deployment != gone or cell.start < after(10)]
    verdict = look(cells, 30)
    assert verdict.result is Result.BLIND
    assert f"no answers of {gone}" in verdict.text


def test_mirrored_traffic_has_no_weight_to_be_silent_against():
    verdict = look(pair(30), 30, weight=0, mirrored=True, shifts=(Shift(T0, 0),))
    assert verdict.result is Result.PASS


def test_traffic_that_stopped_never_passes():
    verdict = look(pair(30), 300, complete=300)
    assert verdict.result is Result.INCONCLUSIVE
    assert "traffic has stopped" in verdict.text


def test_too_few_requests_in_the_step_never_pass():
    verdict = look(pair(30), 30, step=28)
    assert verdict.result is Result.INCONCLUSIVE
    assert "gate.min_requests" in verdict.text
    assert named(verdict, "requests")[0].needed == 60


def test_half_of_the_data_never_promotes():
    cells = pair(30)
    half = [cell for k, cell in enumerate(cells) if cell.deployment == "stable" or k % 2]
    count = sum(cell.n for cell in cells if cell.deployment == "candidate")
    assert look(half, 30, expected={"candidate": count}).result is Result.BLIND


def test_an_unsettled_block_is_not_scored():
    cells = pair(30)
    assert look(cells, 30, gate=gate(settle="29s")).result is Result.INCONCLUSIVE
    assert look(cells, 30, complete=1).result is Result.INCONCLUSIVE


def test_latency_of_the_warm_up_is_left_out_and_its_errors_are_not():
    slow_start = [*traffic("candidate", 8, 10, ms=400.0), *traffic("candidate", 8, 30, first=10)]
    cells = [*slow_start, *traffic("stable", 32, 40)]
    assert look(cells, 40, gate=gate(warm_up="10s")).result is Result.PASS
    assert look(cells, 40, gate=gate(warm_up="0s")).result is not Result.PASS
    broken = [*traffic("candidate", 8, 9, error=0.5), *traffic("stable", 32, 9)]
    assert look(broken, 9, gate=gate(warm_up="20s")).result is Result.FAIL


@pytest.mark.parametrize(("kind", "metric"), [(THROTTLED, "throttled"), (CLIENT, "client")])
def test_answers_that_are_not_the_models_hold_a_pass_without_blaming_it(kind, metric):
    verdict = look(pair(40, error=0.3, answer=kind), 40)
    assert verdict.result is Result.INCONCLUSIVE
    assert named(verdict, metric)
    assert verdict.candidate.errors == 0
    assert look(pair(40, error=0.3, answer=kind, stable={"error": 0.3, "answer": kind}), 40).result is Result.PASS


@pytest.mark.parametrize(("kind", "metric"), [(THROTTLED, "throttled"), (CLIENT, "client")])
def test_where_no_stable_answers_most_requests_refused_hold_a_pass(kind, metric):
    shifts = (Shift(T0, 50), Shift(after(30), 100))

    def bake(share, before=0.0):
        beside = pair(30, weight=50, error=before, answer=kind, stable={"error": before, "answer": kind})
        alone = traffic("candidate", 40, 60, first=30, error=share, answer=kind)
        return look((*beside, *alone), 90, weight=100, shifts=shifts, step=30)

    refused = bake(0.8)
    assert refused.result is Result.INCONCLUSIVE
    assert named(refused, metric)
    assert "requests of the candidate were" in refused.text
    assert bake(0.02).result is Result.PASS
    assert bake(0.3, before=0.3).result is Result.PASS, "as many as before"
    first = look(traffic("candidate", 40, 60, error=0.8, answer=kind), 60, weight=100, stable=None)
    assert named(first, metric)


def test_a_bound_in_milliseconds_is_told_as_one():
    quick = look(pair(60, ms=4.0, stable={"ms": 3.0}), 60)
    assert "proven below 4 ms more than the stable" in quick.text
    slow = look(pair(60, ms=60.0, stable={"ms": 60.0}), 60)
    assert "x the stable" in slow.text
    assert "ms more than the stable" not in slow.text
    worse = look(pair(60, ms=30.0, stable={"ms": 3.0}), 60)
    assert worse.result is Result.FAIL
    assert "up to 2 ms more than the stable is tolerated" in worse.text


def test_a_few_answers_that_hang_fail_a_candidate_by_its_tail():
    hanging = traffic("candidate", 0.5, 120, seed=9, ms=3000.0)
    verdict = look((*pair(120, ms=50.0, stable={"ms": 50.0}), *hanging), 120)
    assert verdict.result is Result.FAIL
    (tail,) = named(verdict, "p99", "compare")
    assert tail.result is Result.FAIL
    told = re.search(r"(\d+) of the (\d+) answers over (\d+) ms are the candidate's, ([\d.]+) would be its", tail.text)
    assert told is not None
    mine, slow, _, usual = map(float, told.groups())
    assert slow >= mine > 2 * usual
    assert not [reason for reason in named(verdict, "shift") if reason.result is Result.FAIL]


@pytest.mark.parametrize(
    ("only", "cells"),
    [
        (["error_rate"], {"error": 0.5}),
        (["compare", "p50", "p95"], {"ms": 400.0}),
    ],
)
def test_what_is_only_observed_is_reported_and_never_acted_on(only, cells):
    verdict = look(pair(30, **cells), 30, gate=gate(observe_only=only))
    assert verdict.result in (Result.PASS, Result.INCONCLUSIVE)
    assert any("only observed" in reason.text for reason in verdict.reasons)


def test_if_everything_is_only_observed_nothing_passes():
    everything = ["p50", "p95", "p99", "error_rate", "compare"]
    verdict = look(pair(30), 30, gate=gate(observe_only=everything))
    assert verdict.result is Result.INCONCLUSIVE
    assert any("nothing can be proven" in reason.text for reason in verdict.reasons)


def test_with_nothing_needed_nothing_is_proven():
    shifts = (Shift(T0, 100),)
    only = gate(observe_only=["p50", "p95", "error_rate"])
    verdict = look(traffic("candidate", 40, 20), 20, weight=100, shifts=shifts, gate=only)
    assert verdict.result is Result.INCONCLUSIVE


def test_a_slo_of_latency_alone_still_compares_errors():
    verdict = look(pair(70), 70, slo=slo(latency={"p95": "200ms"}))
    assert verdict.result is Result.PASS
    assert named(verdict, "error_rate", "compare")[0].result is Result.PASS
    assert look(pair(40, error=0.3), 40, slo=slo(latency={"p95": "200ms"})).result is Result.FAIL


def test_a_slo_of_errors_alone_still_compares_latency():
    assert look(pair(40), 40, slo=slo(error_rate="5%")).result is Result.PASS
    assert look(pair(40, ms=50.0), 40, slo=slo(error_rate="5%")).result is Result.FAIL


def test_less_next_traffic_needs_less_proof():
    cells = pair(9)
    weak, full = (look(cells, 9, gate=gate(min_requests=30), following=share) for share in (25, 100))
    assert (weak.result, full.result) == (Result.PASS, Result.INCONCLUSIVE)


def test_an_inconclusive_verdict_says_what_is_unproven_and_how_much_it_takes():
    verdict = look(pair(12), 12, gate=gate(min_requests=20))
    unproven = [reason for reason in verdict.reasons if reason.result is Result.INCONCLUSIVE]
    assert unproven
    assert all("not yet proven" in reason.text for reason in unproven)
    assert all(reason.needed is None or reason.needed > verdict.candidate.requests for reason in unproven)
    assert any(reason.needed for reason in unproven)


def test_suspicion_holds_a_pass():
    verdict = None
    for seed in range(30):
        verdict = look(pair(18, seed=seed, error=0.06), 18, gate=gate(min_requests=30), slo=slo(error_rate="30%"))
        if named(verdict, "evidence"):
            break
    assert named(verdict, "evidence")
    assert verdict.result is Result.INCONCLUSIVE


def test_order_and_splitting_of_cells_change_nothing():
    cells = list(pair(20, error=0.02))
    halves = [half for cell in cells for half in (replace(cell, n=1), replace(cell, n=cell.n - 1)) if half.n]
    np.random.default_rng(0).shuffle(halves)
    assert look(halves, 20) == look(cells, 20)


def test_foreign_deployments_change_nothing():
    cells = pair(20)
    assert look([*cells, *traffic("other", 50, 20, ms=900.0)], 20) == look(cells, 20)


def test_a_look_does_not_depend_on_the_looks_before():
    cells = pair(20, error=0.02)
    first = look(cells, 20)
    for now in range(1, 20):
        look(cells, now)
    assert look(cells, 20) == first


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([0, 2, 5]))
def test_a_worse_candidate_never_looks_better(seed, errors):
    rank = {Result.PASS: 0, Result.INCONCLUSIVE: 1, Result.BLIND: 1, Result.FAIL: 2}
    cells = pair(15, seed=seed, error=errors / 100)
    spoilt = [
        replace(cell, answer=ERROR) if cell.deployment == "candidate" and k % 4 == 0 else cell
        for k, cell in enumerate(cells)
    ]
    slower = [
        replace(cell, duration_ms=cell.duration_ms + 150) if cell.deployment == "candidate" else cell for cell in cells
    ]
    before = look(cells, 15, gate=gate(min_requests=30))
    for worse in (spoilt, slower):
        assert rank[look(worse, 15, gate=gate(min_requests=30)).result] >= rank[before.result]


def test_a_hundred_million_requests_are_judged():
    cells = [replace(cell, n=cell.n * 100_000) for cell in pair(20, rps=50)]
    verdict = look(cells, 20)
    assert verdict.candidate.requests > 10_000_000
    assert verdict.result in (Result.PASS, Result.INCONCLUSIVE)


def test_all_errors_on_both_sides_are_the_environments():
    verdict = look(pair(20, error=1.0, stable={"error": 1.0}), 20)
    assert verdict.result is Result.INCONCLUSIVE
    assert verdict.candidate.p95_ms is None


def test_a_verdict_counts_its_looks_and_knows_its_horizon():
    verdict = look(pair(20), 20, looks=6)
    assert (verdict.looks, verdict.at, verdict.until) == (7, after(20), after(20))


def test_clocks_that_are_ahead_are_not_believed():
    cells = [*pair(20), Cell(after(90), "stable", ERROR, 3, 1)]

    verdict = judge(samples(cells, 20), SLO, GATE, moment(20))
    assert verdict.result is Result.BLIND
    assert "future" in verdict.text
