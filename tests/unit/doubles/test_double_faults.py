"""Each thing that can go wrong on the wire goes wrong when it was told to, and only then."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from azure.core.exceptions import AzureError, IncompleteReadError, ServiceResponseError
from doubles.arm import AzureDouble
from unit.doubles.client import Client, said

pytestmark = pytest.mark.azure
ENDPOINT = "/onlineEndpoints/digits"
GET, PUT = f"^GET .*{ENDPOINT}$", f"^PUT .*{ENDPOINT}$"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 429, 500, 502, 503, 504])
def test_a_status_is_answered_without_effect(azure: AzureDouble, arm: Client, status: int) -> None:
    azure.fault(PUT, status)
    assert said(arm.traffic({"green": 100})).startswith(f"{status} ")
    assert azure.endpoint("digits").operation is None
    assert arm.traffic({"green": 100}).status_code == 201


@pytest.mark.parametrize("after", ["7", "Wed, 21 Oct 2099 07:28:00 GMT", "1000000"])
def test_a_client_is_told_when_to_come_again(azure: AzureDouble, arm: Client, after: str) -> None:
    azure.fault(GET, 429, retry_after=after, code="SubscriptionRequestsThrottled", message="Later.")
    response = arm("GET", ENDPOINT)
    assert said(response).startswith("429 SubscriptionRequestsThrottled Later.")
    assert response.headers["Retry-After"] == after


def test_a_fault_strikes_from_the_nth_request_so_many_times(azure: AzureDouble, arm: Client) -> None:
    fault = azure.fault(("GET", f".*{ENDPOINT}"), 503, nth=2, times=2)
    assert [arm("GET", ENDPOINT).status_code for _ in range(4)] == [200, 503, 503, 200]
    assert fault.hits == 2
    azure.fault(GET, 500, times=None)
    assert [arm("GET", ENDPOINT).status_code for _ in range(3)] == [500] * 3
    azure.heal()
    assert arm("GET", ENDPOINT).status_code == 200


def test_two_faults_on_one_request_come_one_after_the_other(azure: AzureDouble, arm: Client) -> None:
    azure.fault(GET, 503)
    azure.fault(GET, 500)
    assert [arm("GET", ENDPOINT).status_code for _ in range(3)] == [503, 500, 200]


def test_an_unknown_fault_is_refused(azure: AzureDouble) -> None:
    with pytest.raises(ValueError, match="no such fault"):
        azure.fault(GET, "lsot")


def test_a_connection_is_cut_before_or_after_the_effect(azure: AzureDouble, arm: Client) -> None:
    for kind, effect in (("cut", False), ("lost", True)):
        azure.fault(PUT, kind)
        with pytest.raises(ServiceResponseError):
            arm.traffic({"green": 100})
        assert (azure.endpoint("digits").operation is not None) == effect
    assert [call.status for call in azure.calls if call.method == "PUT"] == [0, 0]


def test_an_answer_is_no_json_or_stops_in_the_middle_or_drips(azure: AzureDouble, arm: Client) -> None:
    azure.fault(GET, "invalid_json")
    with pytest.raises(ValueError, match="Expecting"):
        arm("GET", ENDPOINT).json()
    azure.fault(GET, "truncated")
    with pytest.raises(IncompleteReadError):
        arm("GET", ENDPOINT)
    azure.fault(GET, "slow", seconds=0.4)
    began = time.monotonic()
    assert arm("GET", ENDPOINT).json()["name"] == "digits"
    assert time.monotonic() - began > 0.3


def test_an_answer_is_edited(azure: AzureDouble, arm: Client) -> None:
    azure.fault(GET, "edited", edit=lambda body: {**body, "properties": None})
    assert arm("GET", ENDPOINT).json()["properties"] is None
    assert azure.endpoint("digits").properties


def test_a_header_leads_elsewhere(azure: AzureDouble, arm: Client) -> None:
    azure.fault(PUT, "edited", headers={"Azure-AsyncOperation": "https://elsewhere.example/status"})
    response = arm.traffic({"green": 100})
    assert (response.status_code, response.headers["Azure-AsyncOperation"]) == (201, "https://elsewhere.example/status")


def test_a_service_that_is_gone_hangs_up() -> None:
    with requests.Session() as session, AzureDouble() as azure:
        session.verify, session.trust_env = str(azure.authority), False
        url = azure.environment()["ARM_CLOUD_METADATA_URL"]
        assert session.get(url, timeout=5).status_code == 200
        azure.__exit__()
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=5)


def test_storage_of_another_double_is_out_of_reach(azure: AzureDouble) -> None:
    """What a client left behind goes on uploading, by the proxy of whoever comes next."""
    for account, answers in ((azure.world.account, True), ("storage1", False)):
        url = f"https://{account}.blob.azure.test/azureml-blobstore/x?sig=s"
        try:
            assert requests.put(url, data=b"x", timeout=5).status_code == 201
        except requests.ConnectionError:
            assert not answers
    assert [call.method for call in azure.calls] == ["PUT"]


def test_all_tokens_expire(azure: AzureDouble, arm: Client) -> None:
    azure.fault(GET, "token_expired", nth=2)
    assert arm("GET", ENDPOINT).status_code == 200
    assert said(arm("GET", ENDPOINT)).startswith("401 ExpiredAuthenticationToken ")


@pytest.mark.parametrize(
    ("kind", "status", "state", "traffic"),
    [
        ("lro_failed", "Failed", "Failed", {"blue": 100}),
        ("lro_half", "Failed", "Failed", {"green": 100}),
        ("lro_canceled", "Canceled", "Canceled", {"blue": 100}),
    ],
)
def test_an_operation_does_not_succeed(
    azure: AzureDouble, arm: Client, kind: str, status: str, state: str, traffic: dict[str, int]
) -> None:
    azure.fault(PUT, kind, code="Whatever")
    told = arm.wait(arm.traffic({"green": 100}))
    assert (told["status"], told["error"]["code"]) == (
        status,
        "OperationCanceled" if status == "Canceled" else "Whatever",
    )
    found = azure.endpoint("digits")
    assert (found.state, found.traffic) == (state, traffic)
    assert arm.wait(arm.traffic({"green": 100}))["status"] == "Succeeded", "the next one is accepted"


def test_an_operation_never_ends(azure: AzureDouble, arm: Client) -> None:
    azure.fault(PUT, "lro_never")
    response = arm.traffic({"green": 100})
    time.sleep(0.2)
    assert arm("GET", response.headers["Azure-AsyncOperation"]).json()["status"] == "Updating"
    assert azure.endpoint("digits").state == "Updating"


def test_nobody_knows_the_operation_but_it_happens(azure: AzureDouble, arm: Client) -> None:
    azure.fault(PUT, "lro_gone")
    response = arm.traffic({"green": 100})
    assert arm("GET", response.headers["Azure-AsyncOperation"]).status_code == 404
    time.sleep(0.15)
    assert azure.endpoint("digits").traffic == {"green": 100}


def test_a_read_is_old(azure: AzureDouble, arm: Client) -> None:
    arm.wait(arm.traffic({"green": 100}))
    azure.fault(GET, "stale", times=2)
    seen = [arm("GET", ENDPOINT).json()["properties"]["traffic"] for _ in range(3)]
    assert seen == [{"blue": 100}, {"blue": 100}, {"green": 100}]


def test_a_read_of_what_is_new_finds_nothing(azure: AzureDouble, arm: Client) -> None:
    arm.wait(arm.deploy("red"))
    azure.fault(".*/deployments/red$", "missing")
    assert said(arm("GET", f"{ENDPOINT}/deployments/red")).startswith("404 UserError Deployment red not found")
    azure.fault(".*/deployments/red$", "stale")
    assert [arm("GET", f"{ENDPOINT}/deployments/red").status_code for _ in range(2)] == [404, 200]


@pytest.mark.parametrize("kind", ["list_misses", "stale"])
def test_a_list_lacks_what_is_new(azure: AzureDouble, arm: Client, kind: str) -> None:
    for name in ("blue", "green"):
        azure.scale("digits", name, 2)
    arm.wait(arm.deploy("red"))
    azure.fault("GET .*/deployments$", kind)
    names = [[each["name"] for each in arm("GET", f"{ENDPOINT}/deployments").json()["value"]] for _ in range(2)]
    assert names == [["blue", "green"], ["blue", "green", "red"]]


def test_a_list_of_endpoints_lacks_what_is_new(azure: AzureDouble, arm: Client) -> None:
    azure.create("newest")
    azure.fault("GET .*/onlineEndpoints$", "list_misses")
    assert [len(arm("GET", "/onlineEndpoints").json()["value"]) for _ in range(2)] == [1, 2]


def test_an_endpoint_says_updating_although_it_has_succeeded(azure: AzureDouble, arm: Client) -> None:
    assert arm.wait(arm.traffic({"green": 100}))["status"] == "Succeeded"
    azure.fault(GET, "still_updating")
    states = [arm("GET", ENDPOINT).json()["properties"]["provisioningState"] for _ in range(2)]
    assert states == ["Updating", "Succeeded"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"), ("REQUESTS_CA_BUNDLE", "/does/not/exist.pem")],
)
def test_nobody_answers_or_is_trusted(
    azure: AzureDouble, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    client: Any = Client(azure)
    with pytest.raises((AzureError, OSError)):
        client("GET", ENDPOINT)


def test_arm_is_nowhere(azure: AzureDouble) -> None:
    for address in ("https://localhost:1", "https://nowhere.invalid"):
        with pytest.raises(AzureError):
            Client(address)("GET", ENDPOINT)
    assert azure.calls == []


def test_identity_takes_its_time(azure: AzureDouble, arm: Client) -> None:
    azure.identity.stall_s = 0.3
    began = time.monotonic()
    assert arm("GET", ENDPOINT).status_code == 200
    assert time.monotonic() - began >= 0.3


def test_identity_is_down(azure: AzureDouble, arm: Client) -> None:
    azure.identity.down = True
    with pytest.raises(AzureError):
        arm("GET", ENDPOINT)
