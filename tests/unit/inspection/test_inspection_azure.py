"""What doctor finds on Azure: one thing is wrong at a time, and it is named with what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from azure.core.exceptions import ServiceRequestError
from surroundings import (
    COMPONENT,
    COMPUTE,
    ENDPOINT,
    GROUP,
    IDENTITY,
    LOGS,
    PERMISSIONS,
    REGION,
    REGISTRY,
    SETTINGS,
    SPACE,
    SUB,
    Azure,
)

from deployer.engine.doctor import exit_code, inspect
from deployer.errors import ExitCode, TelemetryError
from deployer.manifest.schema import TelemetrySource
from deployer.platforms.inspection.rights import RIGHTS, Scope, is_granted, profiler_role
from deployer.platforms.inspection.telemetry import LEAST_LAG_S
from deployer.ports.inspection import CheckState
from deployer.ports.platform import DeploymentSpec
from deployer.telemetry import metrics

OK, WARN, FAIL, UNKNOWN = CheckState
SCOPES = {
    Scope.WORKSPACE: SPACE,
    Scope.GROUP: GROUP,
    Scope.SUBSCRIPTION: SUB,
    Scope.LOGS: LOGS,
    Scope.COMPONENT: COMPONENT,
    Scope.IDENTITY: IDENTITY,
    Scope.REGISTRY: REGISTRY,
}
MANAGED, CLUSTER = "managed/canary.yaml", "kubernetes/canary.yaml"


@pytest.mark.parametrize("manifest", [MANAGED, "managed/bluegreen.yaml", CLUSTER, "kubernetes/bluegreen.yaml"])
def test_where_all_is_well_nothing_is_found(manifest: str) -> None:
    checks = Azure(manifest).checks()
    assert [(check.name, check.text) for check in checks if check.state is not OK] == []
    assert exit_code(checks) is ExitCode.OK


@pytest.mark.parametrize("manifest", [MANAGED, CLUSTER])
def test_an_inspection_writes_nothing_and_asks_nothing_twice(manifest: str) -> None:
    azure = Azure(manifest)
    calls = len(azure.platform.calls)
    azure.checks()
    assert len(azure.arm.asked) == len(set(azure.arm.asked))
    assert azure.platform.calls[calls:] == ["observe"]


# ---- identity, workspace, rights


def test_without_an_identity_one_check_fails_and_the_others_do_not_repeat_it() -> None:
    azure = Azure()
    azure.tokens.refused = "Attempted credentials:\n\tEnvironmentCredential: unset\n\tAzureCliCredential: not found"
    checks = azure.checks()
    first, *others = checks
    assert (first.name, first.state) == ("identity", FAIL)
    assert "Environment, AzureCli gave no token" in first.text
    assert "az login" in first.fix
    assert {(check.state, check.text) for check in others} == {(UNKNOWN, "not asked: there is no identity")}
    assert azure.arm.asked == []


def test_an_identity_that_ends_before_a_rollout_does_is_told_to_who_rolls_out() -> None:
    early = {"ends_early": lambda: ("what `az login` got cannot be renewed", "Set AZURE_CLIENT_ID.")}
    check = Azure().the("identity", **early)
    assert (check.state, check.fix) == (WARN, "Set AZURE_CLIENT_ID.")
    assert "cannot be renewed" in check.text
    planned = inspect(Azure().inspector(**early).questions(to_plan=True), Azure().clock)
    assert planned[0].state is OK, "a plan takes no hour"


def test_a_login_host_that_cannot_be_reached_is_a_fault_of_the_network_and_no_bug() -> None:
    azure = Azure()
    azure.tokens.failure = ServiceRequestError("Cannot connect to host login.microsoftonline.com:443")
    first, *others = azure.checks()
    assert (first.name, first.state) == ("identity", UNKNOWN)
    assert "login.microsoftonline.com" in first.text
    assert "Check the network" in first.fix
    assert {check.text for check in others} == {"not asked: there is no identity"}


def test_a_workspace_that_does_not_exist_fails() -> None:
    azure = Azure()
    del azure.arm.there[SPACE]
    assert azure.the("workspace").state is FAIL
    assert azure.the("quota").state is UNKNOWN


def test_a_workspace_that_may_not_be_read_fails() -> None:
    azure = Azure()
    azure.arm.denied.add(SPACE)
    assert azure.the("workspace").state is FAIL


@pytest.mark.parametrize("manifest", [MANAGED, CLUSTER])
@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.action)
def test_each_missing_right_is_named_with_what_breaks(right: object, manifest: str) -> None:
    azure = Azure(manifest)
    inspector = azure.inspector()
    scope = f"{SCOPES[right.scope]}{PERMISSIONS}"  # type: ignore[attr-defined]
    granted = azure.arm[scope][0]["actions"]
    granted[:] = [each for each in granted if not is_granted(right.action, [{"actions": [each]}])]  # type: ignore[attr-defined]
    found = azure.found("rights")
    if not right.needed(inspector._situation()):  # type: ignore[attr-defined]
        assert [check.state for check in found] == [OK]
        return
    (check,) = found
    assert check.state is (FAIL if right.blocks else WARN)  # type: ignore[attr-defined]
    assert right.action in check.text  # type: ignore[attr-defined]
    assert right.without in check.text  # type: ignore[attr-defined]
    assert "deployer-role.json" in check.fix


def from_registry(azure: Azure, model: str) -> Azure:
    deployment = azure.spec.deployment
    azure.spec = replace(azure.spec, deployment=replace(deployment, document={**deployment.document, "model": model}))
    return azure


@pytest.mark.parametrize("action", ["registries/read", "registries/assets/read"])
def test_a_model_of_a_registry_needs_rights_there(action: str) -> None:
    azure = from_registry(Azure(), "azureml://registries/Models/models/digits/versions/1")
    assert azure.the("rights").state is OK
    azure.arm[f"{REGISTRY}{PERMISSIONS}"][0]["actions"].remove(f"Microsoft.MachineLearningServices/{action}")
    check = azure.the("rights")
    assert check.state is FAIL
    assert f"{action} is missing on the registry" in check.text


@pytest.mark.parametrize("how", ["elsewhere", "hidden"])
def test_a_registry_that_is_not_seen_is_told_and_stops_nobody(how: str) -> None:
    azure = from_registry(Azure(), "azureml://registries/models/models/digits/versions/1")
    listed = f"{SUB}/providers/Microsoft.MachineLearningServices/registries"
    if how == "hidden":
        azure.arm.denied.add(listed)
    else:
        azure.arm.there[listed] = []
    assert [check.state for check in azure.found("rights")] == [OK, WARN]
    assert "registry models is not seen" in azure.found("rights")[1].text


def test_a_public_registry_is_for_everybody() -> None:
    azure = from_registry(Azure(), "azureml://registries/azureml-meta/models/llama/versions/1")
    azure.arm.there[f"{SUB}/providers/Microsoft.MachineLearningServices/registries"] = []
    assert azure.the("rights").state is OK


def test_what_only_a_profile_needs_is_told_and_not_missed() -> None:
    azure = Azure()
    assert "none to delete endpoints, which only `profile` and `gc` use" in azure.the("rights").text
    azure.arm[f"{SPACE}{PERMISSIONS}"].append({"actions": profiler_role()["Actions"], "notActions": []})
    assert "delete" not in azure.the("rights").text


def test_an_endpoint_with_an_identity_of_its_own_needs_the_right_to_assign_it() -> None:
    azure = Azure()
    del azure.arm.there[f"{IDENTITY}{PERMISSIONS}"]
    assert azure.the("rights").state is OK
    azure.arm[ENDPOINT]["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    assert azure.the("rights").state is FAIL
    assert "userAssignedIdentities/assign/action is missing on the user-assigned identity" in azure.the("rights").text


@pytest.mark.parametrize("named", [{"resource_id": IDENTITY}, IDENTITY])
def test_an_endpoint_yet_to_be_made_needs_it_as_its_file_says(named: object) -> None:
    azure = Azure()
    del azure.arm.there[ENDPOINT], azure.arm.there[f"{IDENTITY}{PERMISSIONS}"]
    azure.spec.endpoint.document["identity"] = {"type": "user_assigned", "user_assigned_identities": [named]}  # type: ignore[index]
    assert azure.the("rights").state is FAIL


def test_rights_that_may_not_be_listed_are_unknown() -> None:
    azure = Azure()
    azure.arm.denied.add(f"{SPACE}{PERMISSIONS}")
    assert azure.the("rights").state is UNKNOWN


@pytest.mark.parametrize("held", [[], ["*/read"]], ids=["nothing", "Reader"])
def test_who_only_plans_is_never_told_to_take_the_role_that_writes(held: list[str]) -> None:
    azure = from_registry(Azure(), "azureml://registries/hidden/models/digits/versions/1")
    for scope in SCOPES.values():
        azure.arm.there[f"{scope}{PERMISSIONS}"] = [{"actions": held, "notActions": []}]
    azure.arm.there[f"{SUB}{PERMISSIONS}"] = []
    checks = inspect(azure.inspector().questions(to_plan=True), azure.clock)
    to_this = [check.fix for check in checks if "to this identity" in check.fix]
    assert "Assign the role Reader on the subscription to this identity." in to_this
    assert "Assign the role Reader on the registry to this identity." in to_this
    assert all("role Reader on" in fix for fix in to_this)


def test_an_owner_has_every_right() -> None:
    azure = Azure()
    for scope in SCOPES.values():
        azure.arm.there[f"{scope}{PERMISSIONS}"] = [{"actions": ["*"], "notActions": []}]
    assert azure.the("rights").state is OK


# ---- clock


@pytest.mark.parametrize(
    ("ahead_s", "state", "said"),
    [
        (0.0, OK, "agrees"),
        (240.0, WARN, "4m behind Azure's"),
        (-240.0, WARN, "4m ahead of Azure's"),
        (1200.0, FAIL, "20m behind"),
    ],
)
def test_a_clock_that_is_off_is_told_and_one_that_is_off_by_far_refused(
    ahead_s: float, state: CheckState, said: str
) -> None:
    check = Azure().the("clock", ahead_s=lambda: ahead_s)
    assert (check.state, said in check.text) == (state, True)


# ---- endpoint and stable


def test_settings_of_the_file_that_the_endpoint_does_not_have_are_told() -> None:
    azure = Azure()
    assert azure.found("settings") == []
    azure.arm.properties(ENDPOINT)["authMode"] = "AADToken"
    check = azure.the("settings")
    assert (check.state, "auth_mode is AADToken, endpoint.yml says Key" in check.text) == (WARN, True)


@pytest.mark.parametrize("state", ["Updating", "Creating", "Deleting", "updating", "SomethingNew"])
def test_an_endpoint_that_is_being_changed_fails(state: str) -> None:
    azure = Azure()
    azure.arm.properties(ENDPOINT)["provisioningState"] = state
    assert (azure.the("endpoint").state, azure.the("endpoint").fix[:4]) == (FAIL, "Wait")


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_an_endpoint_whose_last_change_failed_is_worth_a_word(state: str) -> None:
    azure = Azure()
    azure.arm.properties(ENDPOINT)["provisioningState"] = state
    assert azure.the("endpoint").state is WARN


def test_an_endpoint_without_a_state_is_unknown() -> None:
    azure = Azure()
    del azure.arm.properties(ENDPOINT)["provisioningState"]
    assert azure.the("endpoint").state is UNKNOWN


def test_an_endpoint_that_does_not_exist_yet_is_no_failure() -> None:
    azure = Azure()
    del azure.arm.there[ENDPOINT], azure.arm.there[SETTINGS]
    azure.platform.vanish()
    states = {check.name: check.state for check in azure.checks()}
    assert (states["endpoint"], states["stable"], states["freshness"]) == (OK, OK, OK)
    assert states["diagnostics"] is WARN
    assert exit_code(azure.checks()) is ExitCode.OK


@pytest.mark.parametrize(
    "url", ["https://evil.example.com/score", "https://inference.ml.azure.com.evil.example/score", "http://10.0.0.1/"]
)
def test_a_scoring_address_that_is_not_the_clouds_fails(url: str) -> None:
    azure = Azure()
    azure.arm.properties(ENDPOINT)["scoringUri"] = url
    assert azure.the("scoring host").state is FAIL


@pytest.mark.parametrize(
    ("url", "fails"), [("http://10.0.0.4/api/v1/endpoint/digits/score", False), ("http://20.1.2.3/score", True)]
)
def test_a_cluster_may_answer_at_a_private_address(url: str, fails: bool) -> None:
    azure = Azure(CLUSTER)
    azure.arm.properties(ENDPOINT)["scoringUri"] = url
    assert bool(azure.found("scoring host")) is fails


def test_a_private_endpoint_is_worth_a_word() -> None:
    azure = Azure()
    azure.arm.properties(ENDPOINT)["publicNetworkAccess"] = "Disabled"
    assert azure.the("network").state is WARN


def test_a_stable_that_failed_fails() -> None:
    azure = Azure()
    azure.platform.fail("blue", "out of memory")
    assert (azure.the("stable").state, "out of memory" in azure.the("stable").text) == (FAIL, True)


def test_a_stable_that_scales_itself_is_said_to_be_of_unknown_size() -> None:
    azure = Azure(CLUSTER)
    azure.arm.there[f"{ENDPOINT}/deployments/blue"] = {
        "sku": {"capacity": 12},
        "properties": {"scaleSettings": {"scaleType": "TargetUtilization", "minInstances": 1, "maxInstances": 20}},
    }
    _, elastic = azure.found("stable")
    assert (elastic.state, "from 1 to 20 instances" in elastic.text) == (WARN, True)


# ---- room and money


def test_a_quota_that_is_too_small_fails_and_names_what_fits() -> None:
    azure = Azure()
    azure.arm[f"{REGION}/usages"][0]["limit"] = 15  # 5 left, 3 x 1.2 -> 4 instances of 2 cores
    check = azure.the("quota")
    assert check.state is FAIL
    assert "8 vCPUs are needed and 5 are left of standardFSv2Family" in check.text
    assert "Standard_DS2_v2" in check.fix


def test_a_quota_that_lacks_only_the_reserve_is_worth_a_word() -> None:
    azure = Azure()
    azure.arm[f"{REGION}/usages"][0]["limit"] = 16  # 6 left, 3 instances of 2 cores
    assert (azure.the("quota").state, "reserve" in azure.the("quota").text) == (WARN, True)


def test_a_quota_that_is_just_enough_passes() -> None:
    azure = Azure()
    azure.arm[f"{REGION}/usages"][0]["limit"] = 18
    assert azure.the("quota").state is OK


def test_the_candidate_is_counted_as_large_as_the_stable_has_grown() -> None:
    azure = Azure()
    azure.platform.edit_scale("blue", 10)
    assert azure.the("quota").text.startswith("10 x Standard_F2s_v2: 24 vCPUs needed")


def test_without_a_stable_the_baseline_is_counted_too() -> None:
    azure = Azure()
    azure.platform.remove("blue")
    azure.platform.edit_traffic({})
    assert azure.the("quota").text.startswith("3 x Standard_F2s_v2 and 3 x Standard_F2s_v2: 16 vCPUs needed")


def test_a_candidate_that_is_there_already_adds_nothing() -> None:
    azure = Azure()
    azure.platform.create_deployment(DeploymentSpec("green", {"instance_count": 3}, azure.spec.path, "d"))
    azure.arm.there[f"{ENDPOINT}/deployments/green"] = {"properties": {"instanceType": "Standard_F2s_v2"}}
    azure.arm[f"{REGION}/usages"][0]["limit"] = 10
    assert azure.the("quota").state is OK


def test_an_instance_type_that_the_region_lacks_fails() -> None:
    azure = Azure()
    del azure.arm[f"{REGION}/vmSizes"][0]
    assert "not offered in westeurope" in azure.the("quota").text
    assert azure.the("price").state is WARN


def test_quota_that_may_not_be_read_is_unknown() -> None:
    azure = Azure()
    azure.arm.denied.add(f"{REGION}/usages")
    assert azure.the("quota").state is UNKNOWN
    assert azure.the("price").state is OK


def test_the_price_says_where_it_is_from() -> None:
    assert "$0.1 an hour (the service's estimate, 2026-01-01)" in Azure().the("price").text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"provisioningState": "Failed"}, "is Failed"),
        ({"provisioningErrors": [{"error": {"code": "X", "message": "extension missing"}}]}, "extension missing"),
        ({"computeType": "AmlCompute"}, "not Kubernetes"),
    ],
)
def test_a_cluster_that_is_not_healthy_fails(change: dict[str, object], said: str) -> None:
    azure = Azure(CLUSTER)
    azure.arm.properties(COMPUTE).update(change)
    assert (azure.the("compute").state, said in azure.the("compute").text) == (FAIL, True)


def test_a_cluster_that_is_not_attached_fails() -> None:
    azure = Azure(CLUSTER)
    del azure.arm.there[COMPUTE]
    assert azure.the("compute").state is FAIL


# ---- the gate's eyes


@pytest.mark.parametrize(
    "logs",
    [
        [],
        [{"category": "AmlOnlineEndpointTrafficLog", "enabled": False}],
        [{"category": "AmlOnlineEndpointConsoleLog", "enabled": True}],
    ],
)
def test_a_traffic_log_that_is_not_switched_on_fails(logs: list[dict[str, object]]) -> None:
    azure = Azure()
    azure.arm[SETTINGS][0]["properties"]["logs"] = logs
    assert (azure.the("diagnostics").state, azure.the("ingestion").state) == (FAIL, WARN)


def test_without_any_diagnostic_setting_it_fails() -> None:
    azure = Azure()
    azure.arm.there[SETTINGS] = []
    assert azure.the("diagnostics").state is FAIL


def test_the_group_of_all_logs_is_as_good() -> None:
    azure = Azure()
    azure.arm[SETTINGS][0]["properties"]["logs"] = [{"categoryGroup": "allLogs", "enabled": True}]
    assert azure.the("diagnostics").state is OK


def test_a_log_that_goes_elsewhere_fails() -> None:
    azure = Azure()
    azure.arm.properties(LOGS)["customerId"] = "99999999-2222-3333-4444-555555555555"
    assert azure.the("diagnostics").state is FAIL


def test_where_the_log_goes_may_be_unknown() -> None:
    azure = Azure()
    del azure.arm.there[LOGS]
    assert azure.the("diagnostics").state is UNKNOWN
    assert azure.the("ingestion").state is FAIL


def test_telemetry_older_than_max_lag_is_stale_when_rows_are_missing() -> None:
    azure = Azure()
    azure.rows.age_s, azure.rows.expected = 601, {"blue": 40}
    assert "10m1s old, over max_lag (10m), and Azure counted 39 more" in azure.the("freshness").text
    assert azure.the("freshness").state is FAIL
    azure.rows.age_s = 599
    assert azure.the("freshness").state is OK


def test_telemetry_that_is_complete_only_up_to_long_ago_is_stale() -> None:
    azure = Azure()
    azure.rows.age_s, azure.rows.complete_s = 720, 601
    assert azure.the("freshness").state is FAIL
    azure.rows.complete_s = 600
    assert azure.the("freshness").state is WARN


def test_an_endpoint_that_nobody_asks_is_not_refused() -> None:
    azure = Azure()
    azure.rows.age_s, azure.rows.complete_s = 720, 120
    assert (azure.the("freshness").state, "none is missing" in azure.the("freshness").text) == (WARN, True)
    azure.rows.complete_s = None
    assert azure.the("freshness").state is UNKNOWN


def test_a_log_of_the_endpoints_own_needs_no_workspace_named() -> None:
    azure = Azure()
    azure.spec.manifest.gate.telemetry.__dict__["log_analytics_workspace_id"] = None
    check = azure.the("diagnostics", source=TelemetrySource.TRAFFIC_LOG)
    assert (check.state, check.text) == (OK, "AmlOnlineEndpointTrafficLog goes to logs")
    del azure.arm[SETTINGS][0]["properties"]["workspaceId"]
    assert azure.the("diagnostics", source=TelemetrySource.TRAFFIC_LOG).state is FAIL


def test_requests_that_azure_counted_and_telemetry_lacks_fail() -> None:
    azure = Azure()
    azure.rows.age_s, azure.rows.expected = None, {"blue": 120}
    assert (azure.the("freshness").state, "120 requests" in azure.the("freshness").text) == (FAIL, True)


def test_without_any_request_its_age_is_unknown() -> None:
    azure = Azure()
    azure.rows.age_s = None
    assert azure.the("freshness").state is UNKNOWN
    assert exit_code(azure.checks()) is ExitCode.REFUSED


def test_telemetry_that_cannot_be_read_fails() -> None:
    azure = Azure()
    azure.rows.error = TelemetryError("403", hint="Ask for Log Analytics Reader.")
    assert (azure.the("freshness").state, azure.the("freshness").fix) == (FAIL, "Ask for Log Analytics Reader.")


def asking(azure: Azure, *, max_lag: float = 600.0, each_max: float = 1800.0, bake: float = 1800.0) -> Azure:
    """Change what the manifest waits for."""
    manifest = azure.spec.manifest
    gate = manifest.gate.model_copy(
        update={"telemetry": manifest.gate.telemetry.model_copy(update={"max_lag": max_lag})}
    )
    each = manifest.strategy.canary.each.model_copy(update={"max": each_max, "min": 60.0})  # type: ignore[union-attr]
    canary = manifest.strategy.canary.model_copy(update={"each": each, "bake": bake})  # type: ignore[union-attr]
    strategy = manifest.strategy.model_copy(update={"canary": canary})
    changed = manifest.model_copy(update={"gate": gate, "strategy": strategy})
    azure.spec = replace(azure.spec, manifest=changed)
    return azure


@pytest.mark.parametrize("manifest", [MANAGED, CLUSTER])
@pytest.mark.parametrize(
    ("waits", "state", "said"),
    [
        ({"max_lag": 179.0}, FAIL, "max_lag is 2m59s"),
        ({"max_lag": 180.0}, OK, "outlasts the 3m"),
        ({"each_max": 180.0}, FAIL, "ends before its answers are counted"),
        ({"bake": 90.0}, FAIL, "bake"),
        ({"each_max": 600.0}, WARN, "ends after 10m, and answers may be 10m late"),
        ({"bake": 300.0}, WARN, "bake"),
        ({}, OK, "outlasts the 10m"),
    ],
)
def test_a_manifest_that_waits_less_than_azure_takes_is_told_so_before(
    manifest: str, waits: dict[str, float], state: CheckState, said: str
) -> None:
    check = asking(Azure(manifest), **waits).the("patience")
    assert (check.state, said in check.text) == (state, True)


def test_no_count_is_believed_sooner_than_metrics_tell_it() -> None:
    assert metrics.DELAY_S + 60 == LEAST_LAG_S


@pytest.mark.parametrize("age_s", [30.0, None])
def test_a_gate_without_its_independent_count_is_told_of_also_where_nothing_was_asked(age_s: float | None) -> None:
    azure = Azure()
    azure.rows.age_s, azure.rows.complete_s, azure.rows.doubt = age_s, None, "nobody knows which requests are missing"
    assert (azure.the("freshness").state, "cannot pass" in azure.the("freshness").text) == (WARN, True)


def test_doubtful_telemetry_is_worth_a_word() -> None:
    azure = Azure()
    azure.rows.problem = "3 answers name no deployment"
    assert azure.the("freshness").state is WARN


def test_sampling_and_caps_are_said() -> None:
    azure = Azure(CLUSTER)
    azure.arm.properties(COMPONENT)["SamplingPercentage"] = 20.0
    azure.arm.properties(LOGS)["workspaceCapping"] = {"dailyQuotaGb": 1.0, "dataIngestionStatus": "ApproachingQuota"}
    assert (azure.the("sampling").state, azure.the("ingestion").state) == (WARN, WARN)
    assert "20%" in azure.the("sampling").text
    assert "1 GB a day" in azure.the("ingestion").text


@pytest.mark.parametrize(("cap", "state"), [(0.5, WARN), (1.0, WARN), (5.0, OK), (None, OK)])
def test_a_low_cap_of_the_component_is_worth_a_word(cap: float | None, state: CheckState) -> None:
    azure = Azure(CLUSTER)
    azure.arm.there[f"{COMPONENT}/currentbillingfeatures"]["DataVolumeCap"] = {"Cap": cap}
    assert azure.the("sampling").state is state


@pytest.mark.parametrize("state", ["OverQuota", "ForceOff", "SubscriptionSuspended"])
def test_a_log_that_takes_no_more_today_fails(state: str) -> None:
    azure = Azure()
    azure.arm.properties(LOGS)["workspaceCapping"]["dataIngestionStatus"] = state
    assert azure.the("ingestion").state is FAIL


def test_without_application_insights_a_cluster_cannot_be_judged() -> None:
    azure = Azure(CLUSTER)
    azure.arm.properties(SPACE)["applicationInsights"] = None
    assert (azure.the("workspace").state, azure.the("sampling").state) == (FAIL, FAIL)


def test_metrics_alone_never_pass_and_that_is_said() -> None:
    check = Azure().the("telemetry", source=TelemetrySource.METRICS)
    assert check.state is WARN
    assert "never pass" in check.text
