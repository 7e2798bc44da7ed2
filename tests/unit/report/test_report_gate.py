"""What the gate can tell, and what it would have told, in words and as JSON."""

from __future__ import annotations

import json
from math import inf

from told import FAIL, plan

from deployer.gate.power import PROOF, Power, Shortfall
from deployer.report.gate import backtest_text, power_record, power_text
from deployer.rollout.model import Step, StepKind
from deployer.rollout.power import StepPower

AT_20 = Step(StepKind.WEIGHT, weight_pct=20, min_s=5, max_s=60)
ROWS = (
    Power("+20% latency", 300, 39.2),
    Power("+50% latency", 70, 9.0),
    Power("+100% latency", 20, 9.1),
    Power("25% errors", 20, 9.0),
    Power("50% errors", 10, 9.0),
    Power(f"{PROOF}p95", 96, 12.0),
)


def test_what_is_found_in_the_same_time_is_said_once_and_by_its_weakest_sign() -> None:
    assert power_text([StepPower(AT_20, ROWS, None)]).split("\n") == [
        "At this rate of requests the gate takes about:",
        "  20%  12s to pass a good version (p95); 9s to find +50% latency or 25% errors; 39s to find +20% latency",
    ]


def test_what_a_step_mostly_misses_is_said_with_how_often_it_is_found() -> None:
    rows = (*ROWS[1:], Power("+20% latency", 300, 120.0, nats=8.0), Power("1% errors", 9000, 6000.0, nats=8.0))
    assert power_text([StepPower(AT_20, rows, None)]).split("\n")[2] == (
        "       within its 1m this step finds +20% latency in about 1 of 10 rollouts, 1% errors hardly ever: "
        "more traffic, weight or time would find more"
    )


def test_what_is_too_short_is_said_below_its_step() -> None:
    short = Shortfall("a PASS takes about 45s, over max 40s", never=False)
    powers = [StepPower(AT_20, ROWS, None), StepPower(plan().steps[-2], ROWS, short)]
    text = power_text(powers).split("\n")
    assert text[1].startswith("  20%   12s")
    assert text[2].startswith("  bake  12s")
    assert text[3] == "        too short: a PASS takes about 45s, over max 40s"


def test_what_never_happens_is_said_so() -> None:
    rows = (Power("25% errors", -1, inf), Power(f"{PROOF}gate.min_requests", -1, inf))
    text = power_text([StepPower(AT_20, rows, None)])
    assert text.endswith("20%  never passes (gate.min_requests); finds nothing in time")
    assert "nothing to pass" in power_text([StepPower(AT_20, (), None)])


def test_nothing_is_said_of_an_unknown_rate() -> None:
    assert power_text([]) == ""
    assert power_record([]) == []


def test_what_takes_for_ever_is_null_in_json() -> None:
    written = power_record([StepPower(AT_20, (Power("25% errors", -1, inf),), None)])
    assert json.loads(json.dumps(written, allow_nan=False)) == [
        {
            "step": "20%",
            "needs": [{"question": "25% errors", "requests": -1, "seconds": None, "chance": 0.0}],
            "too_short": None,
        }
    ]


def test_a_backtest_says_the_verdict_and_each_metrics_part_in_it() -> None:
    lines = backtest_text(FAIL).split("\n")
    assert lines[0].startswith("fail at 2026-01-01 00:00:00 UTC: p95 28x the stable's")
    assert lines[1].split()[:2] == ["fail", "p95"]
    assert len(lines) == 3


def test_recorded_traffic_that_is_too_short_says_so() -> None:
    assert backtest_text(None) == "inconclusive: the gate never looked, the recorded traffic is too short"
