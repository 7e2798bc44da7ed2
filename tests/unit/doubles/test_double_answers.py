"""How the service answers and who is let in, as a plain client sees it."""

from __future__ import annotations

import re

import pytest
from doubles.arm import AzureDouble
from doubles.azure.world import REGION, SUBSCRIPTION
from unit.doubles.client import Client, said

pytestmark = pytest.mark.azure
ENDPOINT = "/onlineEndpoints/digits"


# ---- how a change is answered


def test_an_update_is_accepted_with_where_to_ask_and_without_retry_after(azure: AzureDouble, arm: Client) -> None:
    response = arm.traffic({"blue": 90, "green": 10})
    assert response.status_code == 201
    assert response.headers["Location"].startswith(f"{azure.address}{arm.ml}{ENDPOINT}?api-version=")
    assert "/mfeOperationsStatus/oeidp:" in response.headers["Azure-AsyncOperation"]
    assert len(response.headers["Azure-AsyncOperation"]) > 2500
    assert response.headers["x-ms-async-operation-timeout"] == "PT30M"
    assert "Retry-After" not in response.headers


def test_the_answer_to_an_update_lies(azure: AzureDouble, arm: Client) -> None:
    azure.settings.traffic_s = 60
    body = arm.traffic({"green": 100}).json()
    told = body["properties"]
    assert (told["provisioningState"], told["traffic"], told["scoringUri"]) == ("Creating", {"green": 100}, None)
    assert not {"location", "identity"} & set(body)
    assert "createdAt" not in body["systemData"]
    now = arm("GET", ENDPOINT).json()["properties"]
    assert (now["provisioningState"], now["traffic"]) == ("Updating", {"blue": 100})


@pytest.mark.parametrize("azure", [{"lying": False}], indirect=True)
def test_in_2022_the_answer_to_an_update_showed_the_old_traffic(arm: Client) -> None:
    told = arm.traffic({"green": 100}).json()["properties"]
    assert (told["provisioningState"], told["traffic"]) == ("Updating", {"blue": 100})


def test_an_operation_is_updating_until_it_has_succeeded(azure: AzureDouble, arm: Client) -> None:
    azure.settings.traffic_s = 0.5
    response = arm.traffic({"green": 100})
    status = arm("GET", response.headers["Azure-AsyncOperation"]).json()
    assert (status["status"], status["endTime"]) == ("Updating", "0001-01-01T00:00:00+00:00")
    done = arm.wait(response)
    assert (done["status"], done["percentComplete"]) == ("Succeeded", 0.0)
    assert done["endTime"] > done["startTime"]
    held = arm("GET", ENDPOINT).json()["properties"]
    assert (held["provisioningState"], held["traffic"]) == ("Succeeded", {"green": 100})
    unsigned = held["properties"]["AzureAsyncOperationUri"]
    assert "&s=" not in unsigned
    assert arm("GET", unsigned).json()["status"] == "Succeeded"


def test_an_update_replaces_everything(azure: AzureDouble, arm: Client) -> None:
    azure.write("digits", mirror={"green": 10}, tags={"a": "1"})
    arm.wait(arm.traffic({"blue": 100}, tags={"b": "2"}))
    held = arm("GET", ENDPOINT).json()
    assert (held["tags"], held["properties"]["mirrorTraffic"]) == ({"b": "2"}, {})


def test_a_new_endpoint_is_creating_without_an_address_first(arm: Client) -> None:
    body = {"location": REGION, "identity": {"type": "SystemAssigned"}, "properties": {"authMode": "Key"}}
    response = arm("PUT", "/onlineEndpoints/fresh", body)
    told = response.json()["properties"]
    assert (response.status_code, told["provisioningState"], told["scoringUri"]) == (201, "Creating", False)
    arm.wait(response)
    held = arm("GET", "/onlineEndpoints/fresh").json()
    assert held["properties"]["scoringUri"].endswith("/inference/fresh/score")
    assert held["identity"]["principalId"]


def test_a_deletion_is_accepted_with_null_and_takes_the_deployments(azure: AzureDouble, arm: Client) -> None:
    azure.settings.delete_s = 0.5
    response = arm("DELETE", ENDPOINT)
    assert (response.status_code, response.text()) == (202, "null")
    assert "/mfeOperationResults/" in response.headers["Location"]
    assert arm("GET", ENDPOINT).json()["properties"]["provisioningState"] == "Deleting"
    arm.wait(response)
    assert arm("GET", response.headers["Location"]).status_code == 204
    assert arm("GET", f"{ENDPOINT}/deployments/blue").status_code == 404
    assert arm("DELETE", ENDPOINT).status_code == 204


@pytest.mark.parametrize("api", ["2022-02-01-preview", "2023-04-01-preview", "2025-12-01"])
def test_several_versions_are_served(arm: Client, api: str) -> None:
    assert arm("GET", ENDPOINT, api=api).status_code == 200


def test_other_versions_are_refused(arm: Client) -> None:
    assert said(arm("GET", ENDPOINT, api="2099-01-01")).startswith(
        "400 NoRegisteredProviderFound No registered resource"
    )
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
    assert said(arm("GET", group, api="nonsense")).startswith("400 InvalidApiVersionParameter")
    assert said(arm("GET", group, api="")).startswith("400 MissingApiVersionParameter")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (SUBSCRIPTION, "another", "SubscriptionNotFound"),
        ("/rg/", "/another/", "ResourceGroupNotFound"),
        ("/workspaces/ws", "/workspaces/another", "ResourceNotFound"),
        ("/onlineEndpoints/digits", "/onlineEndpoints/another", "ResourceNotFound"),
        ("/onlineEndpoints/digits", "/somethingElse", "InvalidResourceType"),
    ],
)
def test_what_does_not_exist_is_not_found(arm: Client, old: str, new: str, code: str) -> None:
    response = arm("GET", (arm.ml + ENDPOINT).replace(old, new))
    assert said(response).startswith(f"404 {code} ")


def test_a_deployment_that_does_not_exist_is_a_users_error(arm: Client) -> None:
    response = arm("GET", f"{ENDPOINT}/deployments/nobody")
    assert said(response).startswith("404 UserError Deployment nobody not found in endpoint digits, workspace ws")
    assert response.json()["error"]["additionalInfo"][0]["info"]["value"]["deploymentName"] == "nobody"


@pytest.mark.parametrize("azure", [{"page": 2}], indirect=True)
def test_lists_may_come_in_pages(azure: AzureDouble, arm: Client) -> None:
    for name in ("red", "white", "black"):
        azure.add("digits", name)
    names, url = [], f"{ENDPOINT}/deployments"
    while url:
        page = arm("GET", url).json()
        names.append([each["name"] for each in page["value"]])
        url = page.get("nextLink")
    assert names == [["blue", "green"], ["red", "white"], ["black"]]


# ---- PATCH


def test_a_patch_replaces_the_tags_and_moves_no_traffic(azure: AzureDouble, arm: Client) -> None:
    azure.write("digits", tags={"a": "1"})
    response = arm("PATCH", ENDPOINT, {"tags": {"b": "2"}, "properties": {"traffic": {"green": 100}}})
    assert (response.status_code, response.json()["tags"]) == (200, {"b": "2"})
    assert azure.endpoint("digits").traffic == {"blue": 100}


@pytest.mark.parametrize("azure", [{"tag_patch": "merge", "patch_status": 202}], indirect=True)
def test_or_it_merges_them_and_takes_its_time(azure: AzureDouble, arm: Client) -> None:
    azure.write("digits", tags={"a": "1", "c": "3"})
    response = arm("PATCH", ENDPOINT, {"tags": {"b": "2", "c": None}})
    assert response.status_code == 202
    assert arm.wait(response)["status"] == "Succeeded"
    assert azure.endpoint("digits").document["tags"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"a": "1" * 257}, "InvalidTagValueLength"),
        ({"a" * 513: "1"}, "InvalidTagNameLength"),
        ({"": "1"}, "InvalidTagName"),
        ({f"a{number}": "1" for number in range(51)}, "InvalidTagCount"),
    ],
)
def test_tags_have_limits(arm: Client, tags: dict[str, str], code: str) -> None:
    assert said(arm("PATCH", ENDPOINT, {"tags": tags})).startswith(f"400 {code} ")


def test_a_patch_scales_a_deployment(azure: AzureDouble, arm: Client) -> None:
    azure.settings.scale_s = 0.5
    response = arm(
        "PATCH", f"{ENDPOINT}/deployments/green", {"sku": {"name": "Default", "capacity": 3}, "tags": {"a": "1"}}
    )
    assert response.status_code == 202
    assert azure.deployment("digits", "green").state == "Scaling"
    arm.wait(response)
    found = azure.deployment("digits", "green")
    assert (found.state, found.instances, found.document["tags"]) == ("Succeeded", 3, {"a": "1"})
    for capacity in (0, 51):  # a managed deployment cannot be stopped: Azure/mlops-v2#48
        refused = arm("PATCH", f"{ENDPOINT}/deployments/green", {"sku": {"capacity": capacity}})
        assert refused.status_code == 400
        assert "has to be from 1 to 50" in said(refused)


# ---- keys


def test_keys_are_listed_and_made_anew(arm: Client) -> None:
    before = arm("POST", f"{ENDPOINT}/listKeys").json()
    arm.wait(arm("POST", f"{ENDPOINT}/regenerateKeys", {"keyType": "Primary", "keyValue": before["primaryKey"]}))
    after = arm("POST", f"{ENDPOINT}/listKeys").json()
    assert after["primaryKey"] != before["primaryKey"]
    assert after["secondaryKey"] == before["secondaryKey"]


def test_a_token_is_for_a_day(azure: AzureDouble, arm: Client) -> None:
    azure.create("tokens", auth_mode="AMLToken")
    token = arm("POST", "/onlineEndpoints/tokens/token").json()
    assert token["expiryTimeUtc"] - token["refreshAfterTimeUtc"] == 12 * 3600
    assert arm("POST", "/onlineEndpoints/tokens/listKeys").status_code == 400


# ---- who asks


def test_no_token_or_an_old_one_is_not_let_in(azure: AzureDouble, arm: Client) -> None:
    assert arm("GET", ENDPOINT).status_code == 200
    azure.identity.expire()
    response = arm("GET", ENDPOINT)
    assert said(response).startswith("401 ExpiredAuthenticationToken ")
    assert re.match(r'Bearer authorization_uri="https://', response.headers["WWW-Authenticate"])


def test_a_token_that_expires_is_fetched_anew(azure: AzureDouble, arm: Client) -> None:
    azure.identity.lifetime_s = 60.0
    for _ in range(3):
        assert arm("GET", ENDPOINT).status_code == 200
    assert azure.identity.given == 3
    assert set(azure.identity.scopes) == {azure.address}
