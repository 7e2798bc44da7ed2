"""What is around the endpoint, what people do meanwhile, and how others plug in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.identity import DefaultAzureCredential
from azure.monitor.query import LogsQueryClient, LogsQueryResult
from doubles.arm import Answer, AzureDouble
from doubles.azure.inventory import COMPONENT, CUSTOMER_ID, LOGS
from doubles.azure.rights import action_of
from doubles.azure.world import GROUP_ID, REGION, SUBSCRIPTION
from unit.doubles.client import Client, said

pytestmark = pytest.mark.azure
ENDPOINT = "/onlineEndpoints/digits"
ML = "Microsoft.MachineLearningServices"
SETTINGS = f"/subscriptions/{SUBSCRIPTION}/resourcegroups/rg/providers/Microsoft.Insights/autoscalesettings"
TESTS = Path(__file__).parents[2]


def setting(arm: Client, least: int = 1, usual: int = 2) -> dict[str, Any]:
    capacity = {"minimum": str(least), "maximum": "5", "default": str(usual)}
    target = f"{arm.ml}{ENDPOINT}/deployments/blue"
    properties = {"targetResourceUri": target, "profiles": [{"name": "p", "capacity": capacity, "rules": []}]}
    return {"location": REGION, "properties": properties}


def test_autoscale_settings_are_made_read_listed_and_deleted(arm: Client) -> None:
    api = "2022-10-01"
    assert arm("GET", f"{SETTINGS}/mine", api=api).status_code == 404
    assert [arm("PUT", f"{SETTINGS}/mine", setting(arm), api=api).status_code for _ in range(2)] == [201, 200]
    assert arm("GET", f"{SETTINGS}/mine", api=api).json()["properties"]["enabled"]
    assert [each["name"] for each in arm("GET", SETTINGS, api=api).json()["value"]] == ["mine"]
    assert said(arm("PUT", f"{SETTINGS}/mine", setting(arm, least=4), api=api)).startswith("400 ")
    assert [arm("DELETE", f"{SETTINGS}/mine", api=api).status_code for _ in range(2)] == [200, 204]


def test_the_workspace_leads_to_its_telemetry(azure: AzureDouble, arm: Client) -> None:
    workspace = arm("GET", "").json()
    assert workspace["location"] == REGION
    component = arm("GET", workspace["properties"]["applicationInsights"], api="2020-02-02").json()["properties"]
    assert component["WorkspaceResourceId"] == LOGS
    assert arm("GET", LOGS, api="2022-10-01").json()["properties"]["customerId"] == CUSTOMER_ID
    assert arm("GET", f"{COMPONENT}/currentbillingfeatures", api="2015-05-01").json()["DataVolumeCap"]["Cap"] == 100
    azure.inventory.resources[COMPONENT.lower()]["properties"]["SamplingPercentage"] = 10.0
    assert arm("GET", COMPONENT, api="2020-02-02").json()["properties"]["SamplingPercentage"] == 10
    assert arm("GET", f"{COMPONENT}x", api="2020-02-02").status_code == 404


def test_a_diagnostic_setting_is_there_when_somebody_made_it(azure: AzureDouble, arm: Client) -> None:
    path = f"{ENDPOINT}/providers/Microsoft.Insights/diagnosticSettings"
    assert arm("GET", path, api="2021-05-01-preview").json() == {"value": []}
    azure.inventory.send_logs(azure.endpoint("digits").document["id"], "AmlOnlineEndpointTrafficLog")
    found = arm("GET", path, api="2021-05-01-preview").json()["value"][0]["properties"]
    assert (found["workspaceId"], found["logs"][0]["category"]) == (LOGS, "AmlOnlineEndpointTrafficLog")


def test_rights_can_be_set(azure: AzureDouble, arm: Client) -> None:
    for scope in ("", ENDPOINT):
        path = f"{arm.ml}{scope}/providers/Microsoft.Authorization/permissions"
        assert arm("GET", path, api="2022-04-01").json()["value"][0]["actions"] == ["*"]
    azure.inventory.grant("*/read", but=("x/read",))
    path = f"{GROUP_ID}/providers/Microsoft.Authorization/permissions"
    found = arm("GET", path, api="2022-04-01").json()["value"][0]
    assert (found["actions"], found["notActions"]) == (["*/read"], ["x/read"])


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", f"{GROUP_ID}", "Microsoft.Resources/subscriptions/resourceGroups/read"),
        ("PUT", f"{Client.ml}{ENDPOINT}", f"{ML}/workspaces/onlineEndpoints/write"),
        ("POST", f"{Client.ml}{ENDPOINT}/listKeys", f"{ML}/workspaces/onlineEndpoints/listKeys/action"),
        ("DELETE", f"{Client.ml}{ENDPOINT}/deployments/b", f"{ML}/workspaces/onlineEndpoints/deployments/delete"),
        ("GET", f"{Client.ml}/providers/Microsoft.Insights/metrics", "Microsoft.Insights/metrics/read"),
        ("GET", f"/subscriptions/s/providers/{ML}/locations/x/usages", f"{ML}/locations/usages/read"),
    ],
)
def test_a_request_is_an_action(method: str, path: str, action: str) -> None:
    assert action_of(method, path) == action


@pytest.mark.parametrize("azure", [{"enforce_rights": True}], indirect=True)
def test_what_is_not_granted_is_forbidden(azure: AzureDouble, arm: Client) -> None:
    azure.inventory.grant("*/read", f"{ML}/workspaces/onlineEndpoints/*", but=(f"{ML}/*/delete",))
    assert arm("GET", ENDPOINT).status_code == 200
    assert arm("PATCH", ENDPOINT, {"tags": {"a": "1"}}).status_code == 200
    assert said(arm("DELETE", ENDPOINT)).startswith("403 AuthorizationFailed The client ")
    assert f"action '{ML}/workspaces/models/versions/write'" in said(arm("PUT", "/models/m/versions/1", {}))


@pytest.mark.parametrize("azure", [{"groups": {"rg", "telemetry"}}], indirect=True)
def test_telemetry_may_be_in_another_group(azure: AzureDouble, arm: Client) -> None:
    elsewhere = LOGS.replace("/rg/", "/telemetry/")
    azure.inventory.resources[elsewhere.lower()] = {"id": elsewhere}
    assert arm("GET", elsewhere, api="2022-10-01").json() == {"id": elsewhere}


def test_a_cluster_is_healthy_or_not(azure: AzureDouble, arm: Client) -> None:
    azure.inventory.attach("aks2", problem="the extension does not answer")
    healthy, ill = (arm("GET", f"/computes/{name}").json()["properties"] for name in ("aks1", "aks2"))
    assert (healthy["provisioningState"], healthy["provisioningErrors"]) == ("Succeeded", None)
    assert "defaultinstancetype" in healthy["properties"]["instanceTypes"]
    assert ill["provisioningErrors"][0]["error"]["message"] == "the extension does not answer"
    assert len(arm("GET", "/computes").json()["value"]) == 2
    assert arm("GET", "/computes/nobody").status_code == 404


def test_sizes_have_prices_and_usages_have_limits(azure: AzureDouble, arm: Client) -> None:
    base = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/{REGION}"
    sizes = {each["name"]: each for each in arm("GET", f"{base}/vmSizes").json()["value"]}
    assert sizes["Standard_DS2_v2"]["estimatedVMPrices"]["values"][0]["retailPrice"] == 0.146
    azure.inventory.taken["standardFSv2Family"] = 7
    usages = {each["name"]["value"]: each for each in arm("GET", f"{base}/usages").json()["value"]}
    assert usages["standardFSv2Family"]["currentValue"] == 7
    assert usages["standardDSv2Family"]["currentValue"] == 8, "two instances with their reserve, of two cores each"


def test_subscription_and_group_are_there(arm: Client) -> None:
    assert arm("GET", f"/subscriptions/{SUBSCRIPTION}", api="2022-12-01").json()["state"] == "Enabled"
    assert arm("GET", GROUP_ID, api="2022-09-01").json()["location"] == REGION


# ---- people


def test_people_change_things_at_once(azure: AzureDouble, arm: Client) -> None:
    azure.write("digits", traffic={"green": 100}, tags={"a": "1"})
    azure.scale("digits", "blue", 0)
    azure.rename("digits", "green", "emerald")
    held = arm("GET", ENDPOINT).json()
    assert (held["properties"]["traffic"], held["tags"]) == ({"emerald": 100}, {"a": "1"})
    found = {each["name"]: each["sku"]["capacity"] for each in arm("GET", f"{ENDPOINT}/deployments").json()["value"]}
    assert found == {"blue": 0, "emerald": 1}
    azure.delete("digits", "emerald")
    assert arm("GET", ENDPOINT).json()["properties"]["traffic"] == {}


def test_an_endpoint_that_was_made_again_has_another_birthday(azure: AzureDouble, arm: Client) -> None:
    before = arm("GET", ENDPOINT).json()
    azure.recreate("digits")
    after = arm("GET", ENDPOINT).json()
    assert after["id"] == before["id"]
    assert after["systemData"]["createdAt"] > before["systemData"]["createdAt"]
    assert arm("GET", f"{ENDPOINT}/deployments").json()["value"] == []


# ---- plugging in


def test_others_serve_on_the_same_port_with_the_same_rules(azure: AzureDouble, arm: Client) -> None:
    azure.route("POST", r"/v1/workspaces/(?P<id>[^/]+)/query", lambda request: Answer(200, request.params))
    url = f"{azure.address}/v1/workspaces/w1/query"
    assert arm("POST", url).json() == {"id": "w1"}
    azure.fault("POST .*/query$", 504)
    assert arm("POST", url).status_code == 504
    azure.identity.expire()
    assert arm("POST", url).status_code == 401


def test_a_query_of_the_logs_finds_its_way_here(azure: AzureDouble) -> None:
    table = {"name": "PrimaryResult", "columns": [{"name": "n", "type": "long"}], "rows": [[3]]}
    azure.route("POST", r"/v1/workspaces/[^/]+/query", lambda _request: Answer(200, {"tables": [table]}))
    client = LogsQueryClient(DefaultAzureCredential(), endpoint=azure.address)
    answer = client.query_workspace(CUSTOMER_ID, "T | count as n", timespan=timedelta(minutes=5))
    assert isinstance(answer, LogsQueryResult)
    assert [list(row) for row in answer.tables[0].rows] == [[3]]
    assert json.loads(azure.calls[-1].body)["query"] == "T | count as n"


def test_another_service_is_asked_for_what_has_no_route(azure: AzureDouble, arm: Client) -> None:
    def handle(method: str, target: str, headers: Any, body: bytes) -> Any:
        asked = target.startswith("/v1/")
        return SimpleNamespace(status=202, body={"method": method}, headers={}, cut=False) if asked else None

    azure.mount(handle)
    assert arm("POST", f"{azure.address}/v1/any", {}).json() == {"method": "POST"}
    assert arm("GET", f"{azure.address}/elsewhere").status_code == 404


def test_every_call_is_counted(azure: AzureDouble, arm: Client) -> None:
    arm("GET", ENDPOINT)
    arm("GET", f"{ENDPOINT}x")
    assert azure.count("GET", "/onlineEndpoints/digits") == 2
    assert azure.count("GET", "/onlineEndpoints/digits", ok=True) == 1
    assert azure.calls[0].api_version == arm.api


# ---- as a program


def test_it_serves_as_a_program_until_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "environment.json"
    command = [sys.executable, "-m", "doubles.arm", "--port-file", str(told), "--folder", str(tmp_path / "tls")]
    command += ["--create", "digits:blue,green", "--set", "traffic_s=0.01", "--set", "tag_patch=merge"]
    with subprocess.Popen(command, cwd=TESTS, env={**os.environ, "PYTHONPATH": str(TESTS.parent)}) as process:
        try:
            deadline = time.monotonic() + 20
            while not told.exists():
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.02)
            for name, value in json.loads(told.read_text()).items():
                monkeypatch.setenv(name, value)
            address = os.environ["ARM_CLOUD_METADATA_URL"].partition("/metadata")[0]
            arm = Client(address)
            assert arm("GET", f"{ENDPOINT}/deployments").json()["value"][1]["name"] == "green"
            assert arm("PATCH", ENDPOINT, {"tags": {"a": "1"}}).json()["tags"] == {"a": "1"}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
