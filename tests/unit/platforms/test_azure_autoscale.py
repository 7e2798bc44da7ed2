"""Autoscale rules: copied to the candidate, held on the stable, given back."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deployer.errors import DeniedError, PlatformError, QuotaExceededError
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from tests.doubles.arm_script import Answer
from tests.doubles.arm_service import ENDPOINT, Azure

BLUE = f"{ENDPOINT}/deployments/blue".replace("resourceGroups", "resourcegroups")


def setting(minimum: str = "2", maximum: str = "6") -> dict[str, Any]:
    rule = {"metricTrigger": {"metricName": "CpuUtilizationPercentage", "metricResourceUri": BLUE}, "scaleAction": {}}
    night = {"name": "night", "capacity": {"minimum": "1", "maximum": "3", "default": "1"}, "rules": [rule]}
    day = {"name": "day", "capacity": {"minimum": minimum, "maximum": maximum, "default": "2"}, "rules": [rule]}
    return {
        "id": "/x/autoscalesettings/mine",
        "name": "mine",
        "type": "Microsoft.Insights/autoscaleSettings",
        "location": "westeurope",
        "tags": {"team": "x"},
        "properties": {"enabled": True, "targetResourceUri": BLUE, "profiles": [day, night], "notifications": []},
    }


class Stage:
    def __init__(self) -> None:
        self.azure = Azure()
        self.service = self.azure.service
        self.service.create("blue", "green", traffic={"blue": 100})
        self.service.deployments["blue"]["sku"]["capacity"] = 4
        self.service.settings["mine"] = setting()
        self.platform = ManagedPlatform("digits", **self.azure.parts())

    def of(self, name: str) -> dict[str, Any]:
        (found,) = [
            each
            for each in self.service.settings.values()
            if each["properties"]["targetResourceUri"].lower() == f"{ENDPOINT}/deployments/{name}".lower()
        ]
        return found

    def minima(self, name: str) -> list[str]:
        return [profile["capacity"]["minimum"] for profile in self.of(name)["properties"]["profiles"]]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_rules_are_copied_with_their_own_metrics_and_the_stable_is_held(stage: Stage) -> None:
    said = stage.platform.match_scaling("green", "blue")
    assert "green got the autoscale rules of blue" in said
    assert "blue held at 4" in said
    green = stage.of("green")
    assert green["name"] != "mine"
    assert BLUE.lower() not in str(green).lower()
    assert green["properties"]["profiles"][0]["rules"][0]["metricTrigger"]["metricResourceUri"].endswith("/green")
    assert stage.minima("green") == ["2", "1"]
    assert stage.minima("blue") == ["4", "3"]  # never above the profile's maximum
    assert stage.of("blue")["tags"] == {"team": "x", "deployer.minimum": "2/2,1/1"}
    assert green["tags"] == {"team": "x"}


def test_a_rule_on_the_endpoints_metrics_looks_at_the_candidate(stage: Stage) -> None:
    theirs = {"DimensionName": "deployment", "Operator": "Equals", "Values": ["Blue"]}
    others = {"DimensionName": "statusCodeClass", "Operator": "Equals", "Values": ["blue"]}
    rule = stage.of("blue")["properties"]["profiles"][0]["rules"][0]
    rule["metricTrigger"] |= {
        "metricName": "RequestLatency_P95",
        "metricResourceUri": ENDPOINT,
        "dimensions": [theirs, others],
    }
    stage.platform.match_scaling("green", "blue")
    trigger = stage.of("green")["properties"]["profiles"][0]["rules"][0]["metricTrigger"]
    assert [each["Values"] for each in trigger["dimensions"]] == [["green"], ["blue"]]
    assert trigger["metricResourceUri"] == ENDPOINT
    assert theirs["Values"] == ["Blue"]


def test_matching_again_changes_nothing_and_forgets_nothing(stage: Stage) -> None:
    stage.platform.match_scaling("green", "blue")
    before = copy.deepcopy(stage.service.settings)
    assert stage.platform.match_scaling("green", "blue")
    assert stage.service.settings == before


def test_a_copy_of_a_held_setting_has_the_minimum_from_before_the_hold(stage: Stage) -> None:
    stage.platform.match_scaling("green", "blue")
    stage.service.add("red")
    stage.platform.match_scaling("red", "blue")
    assert stage.minima("red") == ["2", "1"]
    assert "deployer.minimum" not in stage.of("red")["tags"]


def test_a_hold_is_undone_and_leaves_no_trace(stage: Stage) -> None:
    stage.platform.match_scaling("green", "blue")
    for _ in range(2):
        stage.platform.release_scaling("blue")
    assert stage.of("blue")["properties"] == setting()["properties"]
    assert stage.of("blue")["tags"] == {"team": "x"}
    writes = len(stage.service.calls("PUT", "setting"))
    stage.platform.release_scaling("green")
    stage.platform.release_scaling("nobody")
    assert len(stage.service.calls("PUT", "setting")) == writes


def test_a_hold_that_grows_still_goes_back_to_where_it_began(stage: Stage) -> None:
    stage.platform.match_scaling("green", "blue")
    stage.service.deployments["blue"]["sku"]["capacity"] = 6
    stage.platform.match_scaling("green", "blue")
    assert stage.minima("blue") == ["6", "3"]
    stage.platform.release_scaling("blue")
    assert stage.minima("blue") == ["2", "1"]


def test_without_rules_there_is_nothing_to_copy(stage: Stage) -> None:
    stage.service.settings.clear()
    assert "nothing to copy" in stage.platform.match_scaling("green", "blue")
    assert stage.service.settings == {}


def test_scaling_raises_the_minimum_that_rules_keep(stage: Stage) -> None:
    stage.platform.scale_deployment("blue", 5)
    assert stage.minima("blue") == ["5", "3"]
    assert stage.service.deployments["blue"]["sku"]["capacity"] == 5


def test_rules_are_off_while_there_are_to_be_as_few_instances_as_can_be(stage: Stage) -> None:
    stage.service.endpoint["properties"]["traffic"] = {"green": 100}  # type: ignore[index]
    stage.platform.scale_deployment("blue", 0)
    assert stage.of("blue")["properties"]["enabled"] is False
    assert stage.service.deployments["blue"]["sku"]["capacity"] == 1, "there cannot be fewer"
    stage.azure.clock.advance(60)
    stage.platform.scale_deployment("blue", 2)
    assert stage.of("blue")["properties"]["enabled"] is True
    assert stage.of("blue")["tags"] == {"team": "x", "deployer.minimum": "2/2,1/1"}
    stage.platform.release_scaling("blue")
    assert stage.of("blue")["properties"] == setting()["properties"]


def test_rules_work_again_once_a_version_that_was_scaled_down_has_all_traffic(stage: Stage) -> None:
    stage.service.endpoint["properties"]["traffic"] = {"green": 100}  # type: ignore[index]
    stage.platform.scale_deployment("blue", 0)
    stage.platform.release_scaling("blue")  # a rollback ends so: it had the one instance that is needed
    assert stage.of("blue")["properties"] == setting()["properties"]
    assert stage.of("blue")["tags"] == {"team": "x"}


@pytest.mark.parametrize("is_known", [True, False])
def test_rules_work_again_where_instances_could_not_be_taken_away(stage: Stage, is_known: bool) -> None:
    stage.service.endpoint["properties"]["traffic"] = {"green": 100}  # type: ignore[index]
    stage.service.fault = lambda asked, kind: (
        Answer(400, {"error": {"code": "BadRequest", "message": "no"}})
        if (asked.method, kind) == ("PATCH", "deployment")
        else Answer(403, {"error": {"code": "AuthorizationFailed"}})
        if kind == "settings" and not is_known
        else None
    )
    with pytest.raises(PlatformError, match="BadRequest"):
        stage.platform.scale_deployment("blue", 0)
    assert stage.of("blue")["properties"] == setting()["properties"]
    assert stage.of("blue")["tags"] == {"team": "x"}


def test_rules_that_somebody_switched_off_stay_off(stage: Stage) -> None:
    stage.of("blue")["properties"]["enabled"] = False
    stage.platform.scale_deployment("blue", 5)
    assert stage.of("blue")["properties"]["enabled"] is False
    stage.service.endpoint["properties"]["traffic"] = {}  # type: ignore[index]
    for instances in (0, 5):
        stage.azure.clock.advance(60)
        stage.platform.scale_deployment("blue", instances)
        assert stage.of("blue")["properties"]["enabled"] is False


def test_a_cluster_deployment_that_grows_by_itself_is_not_scaled_by_hand(stage: Stage) -> None:
    platform = KubernetesPlatform("digits", **stage.azure.parts())
    stage.service.deployments["green"]["properties"]["scaleSettings"] = {
        "scaleType": "TargetUtilization",
        "minInstances": 2,
        "maxInstances": 5,
    }

    def seen() -> tuple[int, int]:
        endpoint = platform.observe()
        assert endpoint is not None
        return endpoint.deployments["green"].instances_ready, endpoint.deployments["green"].instances_wanted

    assert seen() == (2, 2)
    platform.scale_deployment("green", 4)
    assert seen() == (4, 4)
    for impossible in (0, 6):
        with pytest.raises(QuotaExceededError):
            platform.scale_deployment("green", impossible)
    assert stage.service.calls("PATCH", "deployment") == []


def test_a_setting_goes_with_its_deployment(stage: Stage) -> None:
    stage.platform.match_scaling("green", "blue")
    stage.platform.delete_deployment("green")
    assert list(stage.service.settings) == ["mine"]


def test_who_may_not_see_rules_is_told_when_matching_and_not_stopped_when_deleting(stage: Stage) -> None:
    stage.service.fault = lambda _asked, kind: (
        Answer(403, {"error": {"code": "AuthorizationFailed", "message": "no"}}) if kind == "settings" else None
    )
    with pytest.raises(DeniedError):
        stage.platform.match_scaling("green", "blue")
    stage.platform.scale_deployment("green", 2)
    stage.azure.clock.advance(60)
    stage.platform.delete_deployment("green")
    assert set(stage.service.deployments) == {"blue"}


def test_on_a_cluster_rules_are_part_of_the_deployment_and_are_said_to_be(stage: Stage) -> None:
    platform = KubernetesPlatform("digits", **stage.azure.parts())
    before = len(stage.service.asked)
    assert "scale_settings" in platform.match_scaling("green", "blue")
    platform.release_scaling("blue")
    assert len(stage.service.asked) == before
