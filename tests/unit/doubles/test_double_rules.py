"""Every rule of the service that the double knows, as a plain client meets it."""

from __future__ import annotations

from typing import Any

import pytest
from doubles.arm import AzureDouble
from doubles.azure.world import REGION, SUBSCRIPTION
from unit.doubles.client import Client, said

pytestmark = pytest.mark.azure
ENDPOINT = "/onlineEndpoints/digits"


# ---- what is refused


@pytest.mark.parametrize(
    ("traffic", "mirror", "text"),
    [
        ({"blue": 99}, {}, "sum of the traffic has to be 0 or 100"),
        ({"blue": 60, "green": 60}, {}, "sum of the traffic has to be 0 or 100"),
        ({"blue": 110, "green": -10}, {}, "whole number from 0 to 100"),
        ({"blue": 99.5, "green": 0.5}, {}, "whole number from 0 to 100"),
        ({"blue": 95, "nobody": 5}, {}, "nobody does not exist"),
        ({"blue": 95, "young": 5}, {}, "its provisioning state is Creating"),
        ({"blue": 95, "failed": 5}, {}, "its provisioning state is Failed"),
        ({"blue": 95, "again": 5}, {}, "its provisioning state is Updating"),  # it never was up
        ({"blue": 100}, {"green": 51}, "from 0 to 50"),
        ({"blue": 100}, {"blue": 10}, "either live traffic or mirrored"),
        ({"blue": 100}, {"green": 10, "third": 10}, "one deployment only"),
        ({"blue": 100}, {"nobody": 10}, "nobody does not exist"),
    ],
)
def test_an_impossible_split_is_refused(
    azure: AzureDouble, arm: Client, traffic: dict[str, int], mirror: dict[str, int], text: str
) -> None:
    for name, state in {"young": "Creating", "failed": "Failed", "again": "Updating", "third": "Succeeded"}.items():
        azure.add("digits", name, state=state)
    response = arm.traffic(traffic, mirror)
    assert said(response).startswith("400 BadRequest ")
    assert text in said(response)
    assert azure.endpoint("digits").traffic == {"blue": 100}


def test_all_traffic_may_be_taken_away(azure: AzureDouble, arm: Client) -> None:
    assert arm.wait(arm.traffic({}))["status"] == "Succeeded"
    assert azure.endpoint("digits").traffic == {}


def test_a_kubernetes_endpoint_has_no_mirror(azure: AzureDouble, arm: Client) -> None:
    azure.create("edge", "blue", "green", traffic={"blue": 100}, compute=f"{arm.ml}/computes/aks1")
    held = azure.endpoint("edge").properties
    body = {"location": REGION, "properties": {**held, "mirrorTraffic": {"green": 10}}}
    assert "not supported for Kubernetes" in said(arm("PUT", "/onlineEndpoints/edge", body))


def test_a_kubernetes_endpoint_is_on_a_cluster_that_is_attached(arm: Client) -> None:
    body = {"location": REGION, "properties": {"authMode": "Key", "compute": f"{arm.ml}/computes/azureml:aks1"}}
    assert "Compute azureml:aks1 is not attached" in said(arm("PUT", "/onlineEndpoints/edge", body))
    body["properties"]["compute"] = f"{arm.ml}/computes/aks1"
    assert arm("PUT", "/onlineEndpoints/edge", body).json()["kind"] == "K8S"


@pytest.mark.parametrize("name", ["ab", "1digits", "digits_1", "digits-", "d" * 33])
def test_a_bad_name_is_refused(arm: Client, name: str) -> None:
    assert said(arm("PUT", f"/onlineEndpoints/{name}", {"properties": {}})).startswith("400 ")
    assert said(arm.deploy(name)).startswith("400 ")


@pytest.mark.parametrize("azure", [{"taken": {"famous"}, "freed_late_s": 60.0}], indirect=True)
def test_a_name_that_is_taken_or_just_freed_is_refused(azure: AzureDouble, arm: Client) -> None:
    body = {"location": REGION, "properties": {"authMode": "Key"}}
    assert "unique within a region" in said(arm("PUT", "/onlineEndpoints/famous", body))
    azure.delete("digits")
    assert "404 NotFound" in said(late := arm("PUT", ENDPOINT, body))
    assert late.json()["error"]["details"][0]["code"] == "InferencingClientCallFailed"


def test_a_busy_endpoint_refuses_everything_but_its_deletion(azure: AzureDouble, arm: Client) -> None:
    azure.settings.traffic_s = 60
    arm.traffic({"green": 100})
    for response in (
        arm.traffic({"blue": 100}),
        arm("PATCH", ENDPOINT, {"tags": {}}),
        arm.deploy("red"),
        arm("PATCH", f"{ENDPOINT}/deployments/green", {"sku": {"capacity": 2}}),
        arm("DELETE", f"{ENDPOINT}/deployments/green"),
    ):
        assert said(response).startswith("409 Conflict ")
    assert arm("DELETE", ENDPOINT).status_code == 202


@pytest.mark.parametrize("azure", [{"busy": 400, "settle_s": 60.0}], indirect=True)
def test_a_deployment_can_be_refused_just_after_the_endpoint_succeeded(arm: Client) -> None:
    assert arm.wait(arm.traffic({"green": 100}))["status"] == "Succeeded"
    text = "Cannot create a deployment in endpoint digits because it is in Updating provisioning state."
    assert text in said(arm.deploy("red"))


def test_a_deployment_under_way_locks_only_itself(azure: AzureDouble, arm: Client) -> None:
    azure.settings.deploy_s = 60
    assert arm.deploy("red").status_code == 201
    assert said(arm.deploy("red")).startswith("409 ")
    assert arm.deploy("white").status_code == 201
    assert arm.traffic({"green": 100}).status_code == 201


@pytest.mark.parametrize("azure", [{"lock": "endpoint", "deploy_s": 60.0}], indirect=True)
def test_or_it_locks_the_whole_endpoint(arm: Client) -> None:
    assert arm.deploy("red").status_code == 201
    for response in (arm.deploy("white"), arm.traffic({"green": 100}), arm("PATCH", ENDPOINT, {"tags": {}})):
        assert said(response).startswith("409 ")


def test_a_deletion_overtakes_what_is_under_way(azure: AzureDouble, arm: Client) -> None:
    azure.settings.deploy_s = 60
    making = arm.deploy("red")
    arm.wait(arm("DELETE", f"{ENDPOINT}/deployments/red"))
    status = arm("GET", making.headers["Azure-AsyncOperation"]).json()
    assert (status["status"], status["error"]["code"]) == ("Canceled", "OperationCanceled")
    assert "red" not in azure.endpoint("digits").deployments


def test_what_has_traffic_is_not_deleted(azure: AzureDouble, arm: Client) -> None:
    azure.write("digits", mirror={"green": 10})
    for name in ("blue", "green"):
        assert "has traffic and cannot be deleted" in said(arm("DELETE", f"{ENDPOINT}/deployments/{name}"))
    assert arm("DELETE", f"{ENDPOINT}/deployments/nobody").status_code == 204


# ---- deployments


def test_a_deployment_gets_defaults_and_injected_variables_once_it_is_up(azure: AzureDouble, arm: Client) -> None:
    azure.settings.deploy_s = 0.3
    response = arm.deploy(
        "red", codeConfiguration={"codeId": "c", "scoringScript": "s.py"}, environmentVariables={"A": "1"}
    )
    assert response.status_code == 201
    assert response.json()["properties"]["provisioningState"] == "Creating"
    assert "readinessProbe" not in response.json()["properties"]
    assert arm.wait(response)["status"] == "Succeeded"
    held = arm("GET", f"{ENDPOINT}/deployments/red").json()["properties"]
    assert held["instanceType"] == "STANDARD_DS2_V2"
    assert held["requestSettings"]["requestTimeout"] == "PT5S"
    assert held["environmentVariables"].keys() == {"A", "AZUREML_MODEL_DIR", "AZUREML_ENTRY_SCRIPT", "AML_APP_ROOT"}


@pytest.mark.parametrize("azure", [{"max_deployments": 3}], indirect=True)
def test_there_are_so_many_deployments_and_no_more(arm: Client) -> None:
    arm.wait(arm.deploy("red"))
    assert said(arm.deploy("white")).startswith("400 QuotaExceeded ")


def test_an_unknown_instance_type_is_refused(arm: Client) -> None:
    assert said(arm.deploy("red", instanceType="Standard_X1")).startswith("400 InvalidSkuInRegion ")


def test_cores_are_counted_with_a_fifth_in_reserve(azure: AzureDouble, arm: Client) -> None:
    azure.inventory.limits["standardDSv2Family"] = 4 + 4 + 23  # blue and green take 2 x 2 each
    status = arm.wait(arm.deploy("red", instances=10))  # 12 x 2
    assert (status["status"], status["error"]["code"]) == ("Failed", "OutOfQuota")
    assert azure.deployment("digits", "red").state == "Failed"
    rows = {row["name"]["value"]: row for row in arm("GET", USAGES).json()["value"]}
    assert rows["standardDSv2Family"]["currentValue"] == 4 + 4 + 24, "a failed deployment keeps its quota"
    arm.wait(arm("DELETE", f"{ENDPOINT}/deployments/red"))
    azure.inventory.limits["standardDSv2Family"] += 1
    assert arm.wait(arm.deploy("red", instances=10))["status"] == "Succeeded"


USAGES = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/{REGION}/usages"


@pytest.mark.parametrize("code", ["UserScriptImportError", "ImageBuildFailure", "ResourceNotReady"])
def test_a_model_that_cannot_start_fails_and_its_log_says_why(azure: AzureDouble, arm: Client, code: str) -> None:
    status = arm.wait(arm.deploy("red", environmentVariables={"DOUBLE_FAILS_WITH": code}))
    assert (status["status"], status["error"]["code"]) == ("Failed", code)
    assert azure.deployment("digits", "red").state == "Failed"
    log = arm("POST", f"{ENDPOINT}/deployments/red/getLogs", {"containerType": "InferenceServer"}).json()["content"]
    assert ("Traceback" in log) == (code != "ImageBuildFailure")
    azure.behave("red", fails_with="")
    assert arm.wait(arm.deploy("red"))["status"] == "Succeeded", "the name can be used again"


@pytest.mark.parametrize("azure", [{"strict_assets": True}], indirect=True)
def test_a_deployment_of_what_is_not_registered_fails(azure: AzureDouble, arm: Client) -> None:
    model = f"{arm.ml}/models/digits/versions/1"
    assert arm.wait(arm.deploy("red", model=model))["error"]["code"] == "ResourceNotFound"
    azure.assets.register("models", "digits", "1")
    assert arm.wait(arm.deploy("red", model=model))["status"] == "Succeeded"


def test_a_model_that_is_never_ready_stays_in_creating(azure: AzureDouble, arm: Client) -> None:
    azure.behave("slowpoke", never_ready=True)
    arm.deploy("red", model=f"{arm.ml}/models/slowpoke/versions/1")
    assert azure.deployment("digits", "red").state == "Creating"
    assert azure.deployment("digits", "red").operation.is_pending


def test_the_stages_of_a_deployment_show_in_what_its_containers_print(arm: Client, clocked: Any) -> None:
    clocked.azure.settings.deploy_s = 100
    arm.deploy("red")
    seen = []
    for _ in range(10):
        printed = [
            arm("POST", f"{ENDPOINT}/deployments/red/getLogs", {"containerType": each, "tail": 5}).json()["content"]
            for each in ("StorageInitializer", "InferenceServer")
        ]
        seen.append((bool(printed[0]), bool(printed[1])))
        clocked.advance(9.9)
    assert list(dict.fromkeys(seen)) == [(False, False), (True, False), (True, True)]


@pytest.mark.parametrize("azure", [{"canceling": True}], indirect=True)
def test_a_whole_region_may_cancel(arm: Client) -> None:
    status = arm.wait(arm.traffic({"green": 100}))
    assert (status["status"], status["error"]["code"]) == ("Canceled", "OperationCanceled")
