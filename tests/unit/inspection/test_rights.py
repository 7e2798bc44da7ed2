"""The least-privilege role, and who has what of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.manifest.schema import PlatformType, TelemetrySource
from deployer.platforms.inspection.rights import (
    RIGHTS,
    Situation,
    is_granted,
    missing_rights,
    needed_rights,
    profiler_role,
    role,
)

ROLE = Path(__file__).parents[3] / "manifests" / "azure" / "deployer-role.json"
OPERATIONS = Path(__file__).with_name("azure_operations.txt")
LOGS_OF_A_RESOURCE = next(right for right in RIGHTS if right.action == "Microsoft.Insights/logs/*/read")
READ = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/read"
KEYS = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listKeys/action"
ALL = [
    Situation(
        platform,
        source,
        auth,
        *uploads,
        asks_workspace=asks_workspace,
        user_identity=uploads[0],
        registry_assets=uploads[0],
    )
    for platform in (PlatformType.MANAGED, PlatformType.KUBERNETES)
    for source in (TelemetrySource.TRAFFIC_LOG, TelemetrySource.APP_INSIGHTS, TelemetrySource.METRICS)
    for auth in ("key", "aml_token", "aad_token")
    for uploads in ((True, True, True), (False, False, False))
    for asks_workspace in (True, False)
]


def entry(actions: list[str], but: list[str] | None = None) -> dict[str, Any]:
    return {"actions": actions, "notActions": but or [], "dataActions": [], "notDataActions": []}


@pytest.mark.parametrize(
    ("pattern", "granted"),
    [
        (READ, True),
        (READ.upper(), True),
        ("*", True),
        ("*/read", True),
        ("Microsoft.MachineLearningServices/*", True),
        ("Microsoft.MachineLearningServices/workspaces/*/read", True),
        ("Microsoft.MachineLearningServices/workspaces/onlineEndpoints/*", True),
        ("Microsoft.MachineLearningServices/workspaces/onlineEndpoints", False),
        ("Microsoft.MachineLearningServices/workspaces/read", False),
        ("*/write", False),
        ("Microsoft.MachineLearningServices/workspaces/onlineEndpoints/rea", False),
        ("Microsoft.MachineLearningServices.workspaces/onlineEndpoints/read", False),
        ("", False),
    ],
)
def test_a_pattern_grants_what_it_stands_for(pattern: str, *, granted: bool) -> None:
    assert is_granted(READ, [entry([pattern])]) is granted


def test_not_actions_take_back_what_the_same_role_gives() -> None:
    assert not is_granted(KEYS, [entry(["*"], ["*/listKeys/action"])])
    assert is_granted(READ, [entry(["*"], ["*/listKeys/action"])])


def test_not_actions_do_not_deny_what_another_role_gives() -> None:
    assert is_granted(KEYS, [entry(["*"], ["*/action"]), entry([KEYS])])


def test_nobody_without_a_role_has_a_right() -> None:
    assert not is_granted(READ, [])
    assert not is_granted(READ, [{}])
    assert not is_granted(READ, [{"actions": None, "notActions": None}])


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.action)
def test_without_one_action_of_the_role_exactly_that_one_is_missing(right: Any) -> None:
    others = [action for action in role()["Actions"] if not is_granted(right.action, [entry([action])])]
    lost = missing_rights(RIGHTS, [entry(others)])
    assert set(lost) - {LOGS_OF_A_RESOURCE} == {right} - {LOGS_OF_A_RESOURCE}
    assert right in lost
    assert not missing_rights(RIGHTS, [entry(role()["Actions"])])


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.action)
def test_every_action_of_the_role_is_needed_in_some_situation_and_says_what_breaks(right: Any) -> None:
    assert any(right in needed_rights(situation) for situation in ALL)
    assert right.without


@pytest.mark.parametrize("situation", ALL, ids=str)
def test_only_what_the_situation_uses_is_asked_for(situation: Situation) -> None:
    needed = {right.action.rpartition("/onlineEndpoints/")[2] for right in needed_rights(situation)}
    keys = {"key": "listKeys/action", "aml_token": "token/action", "aad_token": "score/action"}
    assert needed & set(keys.values()) == {keys[situation.auth_mode]}
    actions = {right.action for right in needed_rights(situation)}
    assert any("autoscaleSettings" in action for action in actions) is (situation.platform is PlatformType.MANAGED)
    assert any("computes" in action for action in actions) is (situation.platform is PlatformType.KUBERNETES)
    assert any("codes/versions/write" in action for action in actions) is situation.local_code


@pytest.mark.parametrize(
    ("source", "asks_workspace", "wanted"),
    [
        (TelemetrySource.TRAFFIC_LOG, True, {"query/read", "query/AmlOnlineEndpointTrafficLog/read"}),
        (TelemetrySource.TRAFFIC_LOG, False, {"Insights/logs/*/read"}),
        (TelemetrySource.APP_INSIGHTS, True, {"query/read", "query/AppRequests/read"}),
        (TelemetrySource.APP_INSIGHTS, False, {"components/query/read", "Insights/logs/AppRequests/read"}),
        (TelemetrySource.METRICS, True, set()),
    ],
)
def test_rows_are_asked_where_the_telemetry_asks_them(
    source: TelemetrySource, asks_workspace: bool, wanted: set[str]
) -> None:
    situation = Situation(PlatformType.MANAGED, source, asks_workspace=asks_workspace)
    asked = {right.action for right in needed_rights(situation) if right.without == "the gate is blind"}
    prefixes = ("Microsoft.OperationalInsights/workspaces/", "Microsoft.Insights/", "Microsoft.")
    assert asked == {next(f"{each}{end}" for each in prefixes if f"{each}{end}" in role()["Actions"]) for end in wanted}


@pytest.mark.parametrize("action", [*role()["Actions"], *profiler_role()["Actions"]])
def test_azure_knows_every_action_of_the_role(action: str) -> None:
    known = [line for line in OPERATIONS.read_text().splitlines() if not line.startswith("#")]
    assert any(is_granted(each, [entry([action])]) for each in known)


def test_the_role_has_one_wildcard_and_nothing_twice() -> None:
    actions = role()["Actions"]
    assert [action for action in actions if "*" in action] == [LOGS_OF_A_RESOURCE.action], "it has no finer grain"
    assert len(actions) == len(set(actions))
    assert not [action for action in actions if action.endswith("onlineEndpoints/delete")], "it never deletes endpoints"


def test_the_role_that_is_shipped_is_the_one_that_is_checked() -> None:
    assert json.loads(ROLE.read_text()) == role()
    assert json.loads(ROLE.with_name("profiler-role.json").read_text()) == profiler_role()


def test_who_profiles_has_the_one_right_more_that_profiles_use() -> None:
    both = [entry(role()["Actions"]), entry(profiler_role()["Actions"])]
    assert is_granted("Microsoft.MachineLearningServices/workspaces/onlineEndpoints/delete", both)
    assert len(profiler_role()["Actions"]) == 1
