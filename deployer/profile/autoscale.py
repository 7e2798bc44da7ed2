"""The autoscale rule that goes with a measured capacity, as the platform wants it written.

Scale out at 80 % of what an instance sustains; never fewer instances than carry the peak with its headroom, because a
scale-out takes 12 to 18 minutes (azureml-examples#3515) and the minimum has to carry the ramp meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from deployer.manifest.schema import PlatformType

SCALE_OUT = 0.8
"""Share of the sustainable rate of an instance at which one more is asked for."""
SCALE_IN = 0.5
"""Share at which one is given back: after that the others stay below ``SCALE_OUT`` from two instances on."""
LEAST_IN_PRODUCTION = 2
"""Fewest instances: one is restarted now and then, by the service itself too."""
ROOM = 2
"""The maximum is so many times the minimum: room for twice the peak, and an end to what a mistake may cost."""
MOST_BUSY, LEAST_BUSY = 90, 10
"""Percent, of ``target_utilization_percentage``."""


@dataclass(frozen=True, slots=True)
class AutoscaleRule:
    """When to have how many instances."""

    minimum: int
    maximum: int
    out_rps: float
    """Requests a second of one instance above which one more is wanted."""
    in_rps: float
    """Below which one fewer will do."""
    target_utilization_pct: int
    """The same as share of an instance's concurrent requests that are in use, for Kubernetes."""


def rule_for(
    *, rate: float, rps_per_instance: float, instances: int, mean_latency_s: float, concurrency: int
) -> AutoscaleRule:
    """Work out the rule.

    Args:
        rate: requests a second that must be carried, headroom included.
        rps_per_instance: what one instance sustains within the SLO, > 0.
        instances: of the recommended configuration.
        mean_latency_s: of an answer at the sustainable rate.
        concurrency: ``max_concurrent_requests_per_instance``.
    """
    minimum = max(LEAST_IN_PRODUCTION, instances, math.ceil(rate / rps_per_instance - 1e-9))
    out = SCALE_OUT * rps_per_instance
    busy = 100 * out * mean_latency_s / concurrency  # Little's law: requests in flight are rate times time
    return AutoscaleRule(
        minimum=minimum,
        maximum=ROOM * minimum,
        out_rps=out,
        in_rps=SCALE_IN * rps_per_instance,
        target_utilization_pct=min(max(round(busy), LEAST_BUSY), MOST_BUSY),
    )


def written(rule: AutoscaleRule, platform: PlatformType) -> dict[str, Any]:
    """Write the rule as the platform takes it: an Azure Monitor autoscale setting, or ``scale_settings``.

    Azure Monitor's ``RequestsPerMinute`` of a deployment counts all its instances; ``dividePerInstance`` shares them.

    Source: learn.microsoft.com/azure/templates/microsoft.insights/autoscalesettings (2022-10-01), and
    learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-kubernetes-online (scale_settings).
    """
    if platform is PlatformType.KUBERNETES:
        return {
            "scale_settings": {
                "type": "target_utilization",
                "min_instances": rule.minimum,
                "max_instances": rule.maximum,
                "target_utilization_percentage": rule.target_utilization_pct,
                "polling_interval": 10,
            }
        }
    if platform is PlatformType.LOCAL:
        return {"instances": {"minimum": rule.minimum, "maximum": rule.maximum}, **_rates(rule)}
    capacity = {"minimum": str(rule.minimum), "maximum": str(rule.maximum), "default": str(rule.minimum)}
    return {
        "location": "<REGION>",
        "properties": {
            "enabled": True,
            "targetResourceUri": "<DEPLOYMENT_ID>",
            "profiles": [
                {
                    "name": "measured",
                    "capacity": capacity,
                    "rules": [
                        _azure_rule("GreaterThan", rule.out_rps, "Increase", "PT5M", "PT5M"),
                        _azure_rule("LessThan", rule.in_rps, "Decrease", "PT30M", "PT15M"),
                    ],
                }
            ],
        },
    }


def _rates(rule: AutoscaleRule) -> dict[str, Any]:
    return {
        "scale_out_above_rps_per_instance": round(rule.out_rps, 2),
        "scale_in_below_rps_per_instance": round(rule.in_rps, 2),
    }


def _azure_rule(operator: str, rps: float, direction: str, window: str, cooldown: str) -> dict[str, Any]:
    return {
        "metricTrigger": {
            "metricName": "RequestsPerMinute",
            "metricNamespace": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
            "metricResourceUri": "<DEPLOYMENT_ID>",
            "operator": operator,
            "threshold": round(60 * rps, 1),
            "statistic": "Average",
            "timeAggregation": "Average",
            "timeGrain": "PT1M",
            "timeWindow": window,
            "dividePerInstance": True,
        },
        "scaleAction": {"direction": direction, "type": "ChangeCount", "value": "1", "cooldown": cooldown},
    }
