from __future__ import annotations

from typing import Any

import pytest
from playbook import manifest, plan

from deployer.errors import PlanError
from deployer.rollout.model import Plan
from deployer.rollout.power import power_of, refuse_hopeless

STRATEGY = {"canary": {"steps": [5, {"pause": {"for": "1m"}}, 50], "each": {"min": "5s", "max": "60s"}, "bake": "10s"}}
MIRROR = {"blue_green": {"mirror": "20%", "mirror_for": "30s", "bake": "1m"}}


def powers(rps: float, strategy: dict[str, Any] = STRATEGY, found: Plan | None = None) -> Any:
    wanted = manifest(strategy)
    return power_of(found or plan(strategy), wanted.slo, wanted.gate, rps)


def test_each_gated_step_says_what_it_can_find_and_how_long_a_pass_takes() -> None:
    found = powers(200)
    assert [str(power.step) for power in found] == ["5%", "50%", "bake"]
    assert all(any(row.question.startswith("pass") for row in power.rows) for power in found)
    assert not any("latency" in row.question for row in found[-1].rows)  # nothing to compare with at 100 %


def test_a_mirror_step_has_the_traffic_that_is_mirrored() -> None:
    assert [str(power.step) for power in powers(200, MIRROR)] == ["mirror 20%", "bake"]


def test_without_a_stable_nothing_is_compared() -> None:
    alone = powers(200, found=plan(STRATEGY, stable=None))
    assert not any("latency" in row.question for power in alone for row in power.rows)


def test_a_step_that_can_practically_never_be_decided_is_refused_with_what_would_do() -> None:
    with pytest.raises(PlanError, match="step 5% can practically never be decided") as refused:
        refuse_hopeless(powers(0.5))
    assert "what would do" in refused.value.message
    refuse_hopeless(powers(2000))


def test_late_telemetry_delays_every_answer() -> None:
    wanted = manifest(STRATEGY)
    late = power_of(plan(STRATEGY), wanted.slo, wanted.gate, 200, lag_s=180.0)
    for power, on_time in zip(late, powers(200), strict=True):
        assert [row.seconds for row in power.rows] == [row.seconds + 180 for row in on_time.rows]
