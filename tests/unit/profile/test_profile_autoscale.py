"""The autoscale rule that goes with a measured capacity."""

from __future__ import annotations

import json

import pytest

from deployer.manifest.schema import PlatformType
from deployer.profile.autoscale import AutoscaleRule, rule_for, written


def rule(
    rate: float = 100.0, rps: float = 40.0, instances: int = 3, latency_s: float = 0.02, concurrency: int = 2
) -> AutoscaleRule:
    return rule_for(
        rate=rate, rps_per_instance=rps, instances=instances, mean_latency_s=latency_s, concurrency=concurrency
    )


def test_an_instance_is_added_at_80_percent_and_the_minimum_carries_peak_and_headroom() -> None:
    found = rule()
    assert (found.out_rps, found.minimum, found.maximum) == (32.0, 3, 6)
    assert rule(rate=200.0).minimum == 5


def test_in_production_there_are_two_at_least() -> None:
    assert rule(rate=5.0, instances=1).minimum == 2


def test_one_fewer_still_stays_below_the_threshold() -> None:
    found = rule()
    for n in range(found.minimum, found.maximum + 1):
        assert found.in_rps * n / (n - 1) < found.out_rps


@pytest.mark.parametrize(("latency_s", "percent"), [(0.02, 32), (0.0001, 10), (1.0, 90)])
def test_utilization_is_what_little_says_within_reason(latency_s: float, percent: int) -> None:
    assert rule(latency_s=latency_s).target_utilization_pct == percent


def test_azure_monitor_gets_a_setting_with_a_rule_each_way() -> None:
    setting = written(rule(), PlatformType.MANAGED)
    (profile,) = setting["properties"]["profiles"]
    assert profile["capacity"] == {"minimum": "3", "maximum": "6", "default": "3"}
    out, back = profile["rules"]
    assert (out["metricTrigger"]["threshold"], out["metricTrigger"]["dividePerInstance"]) == (1920.0, True)
    assert (out["scaleAction"]["direction"], back["scaleAction"]["direction"]) == ("Increase", "Decrease")
    json.dumps(setting)


def test_a_cluster_gets_scale_settings() -> None:
    assert written(rule(), PlatformType.KUBERNETES)["scale_settings"] == {
        "type": "target_utilization",
        "min_instances": 3,
        "max_instances": 6,
        "target_utilization_percentage": 32,
        "polling_interval": 10,
    }


def test_this_machine_gets_the_numbers() -> None:
    assert written(rule(), PlatformType.LOCAL)["scale_out_above_rps_per_instance"] == 32.0
