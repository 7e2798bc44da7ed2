"""What must not pass: an endpoint that hardly answers, and a run whose requests were wrong."""

from __future__ import annotations

import pytest
from windows import run, steady

from deployer.loadtest.verdict import Result, judge
from deployer.manifest.schema import LatencyTargets, Slo
from deployer.report.loadtest.record import Outcome, record_of
from deployer.report.loadtest.text import shown

P95 = Slo(latency=LatencyTargets(p95="300ms"))  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [424, 429, 1429, 500, 503, 504, 0, -1])
def test_a_failed_request_is_later_than_any_latency_target(status: int) -> None:
    verdict = judge(run(steady(60, {100.0: 20}, {status: 30})), P95)
    assert verdict.result is Result.MISSED
    assert verdict.text == "p95 is longer than anything measured: too many requests failed (at most 300 ms)"


def test_few_failures_leave_a_percentile_as_it_is() -> None:
    verdict = judge(run(steady(60, {100.0: 99}, {503: 1})), P95)
    assert verdict.text == "p95 is 100 ms, shown to be at most 100 ms (at most 300 ms)"


@pytest.mark.parametrize("slo", [P95, Slo(error_rate="1%")])  # type: ignore[arg-type]
@pytest.mark.parametrize(("wrong", "result"), [(45, Result.INCONCLUSIVE), (2, Result.INCONCLUSIVE), (1, Result.PASSED)])
def test_a_run_with_rejected_requests_does_not_pass(slo: Slo, wrong: int, result: Result) -> None:
    verdict = judge(run(steady(60, {100.0: 100 - wrong}, {404: wrong})), slo)
    assert verdict.result is result
    said = f"{60 * wrong:,} of 6,000 requests were rejected as wrong, so nothing is known of them. The request itself is wr"
    assert verdict.text.startswith(said) == (wrong > 1)
    assert verdict.text.endswith("(at most 300 ms)" if slo is P95 else "(at most 1%)")


def test_a_missed_target_stays_missed_whatever_was_rejected() -> None:
    assert judge(run(steady(60, {700.0: 60}, {404: 40})), P95).result is Result.MISSED


def test_what_failed_is_shown_beyond_the_last_good_answer() -> None:
    figures = run(steady(60, {100.0: 20}, {503: 30}))
    made = record_of(
        Outcome("id", "digits", "local", None, "local", "p", "0", figures, judge(figures, P95), interrupted=False), None
    )
    bounds = {"estimate": None, "lower": 100.0, "upper": None}
    assert made["latency_ms"]["p95"] == bounds == {key: made["targets"][0][key] for key in bounds}
    assert shown("p95", made["latency_ms"]["p95"]) == "no good answer [100-?]"
