"""What must not pass: an endpoint that hardly answers, and a run whose requests were wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


LOADTESTS = Path(__file__).parents[3] / "loadtests"
WATCHED = """
import scoring
from argparse import Namespace
from locust.env import Environment
environment = Environment(parsed_options=Namespace(autostart=True))
web_ui = environment.create_web_ui("127.0.0.1", 0, delayed_start=True)
web_ui.app.testing = True
scoring._only_watch(environment)
print(web_ui.app.test_client().post("/swarm", data={"user_count": 5, "spawn_rate": 5}).status_code)
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=LOADTESTS, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.local
def test_a_load_is_not_started_from_the_web_ui() -> None:
    ended = python("-m", "locust", "-f", "scoring.py", "--host", "http://127.0.0.1:9/score", "--payload", "scoring.py")
    assert ended.returncode == 1
    assert "load generator: give --headless" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.local
def test_a_web_ui_that_only_watches_starts_nothing() -> None:
    ended = python("-c", WATCHED)
    assert ended.stdout.split() == ["409"], ended.stderr
