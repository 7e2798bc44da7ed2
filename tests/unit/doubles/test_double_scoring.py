"""The data plane: who answers, who is refused, and what is logged."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests
from doubles.arm import AzureDouble
from doubles.azure.scoring import Row
from unit.doubles.client import Client

pytestmark = pytest.mark.azure
PIN = "azureml-model-deployment"


class Users:
    """Requests to ``digits`` over one connection."""

    def __init__(self, azure: AzureDouble) -> None:
        self.azure, self.session = azure, requests.Session()
        self.session.verify = str(azure.authority)
        self.headers = {"Authorization": f"Bearer {azure.endpoint('digits').keys[0]}"}

    def ask(self, pin: str | None = None, **headers: str) -> requests.Response:
        url = self.azure.endpoint("digits").properties["scoringUri"]
        more = {PIN: pin} if pin else {}
        return self.session.post(url, json=[[1]], headers={**self.headers, **more, **headers}, timeout=10)


@pytest.fixture
def users(azure: AzureDouble) -> Users:
    azure.behave("blue", latency_ms=0)
    azure.behave("green", latency_ms=0)
    return Users(azure)


def test_an_answer_says_who_served_it(users: Users) -> None:
    answer = users.ask(**{"x-ms-client-request-id": "mine"})
    assert (answer.status_code, answer.headers[PIN]) == (200, "blue")
    assert answer.headers["x-ms-server-version"].startswith("azmlinfsrv/")
    assert (answer.headers["x-ms-client-request-id"], bool(answer.headers["X-Request-ID"])) == ("mine", True)
    row = users.azure.traffic[0].document()
    assert (row["XRequestId"], row["XMSClientRequestId"]) == (answer.headers["X-Request-ID"], "mine")
    assert (row["ResponseCode"], row["ModelStatusCode"], row["DeploymentName"]) == (200, 200, "blue")


def test_a_row_has_the_columns_of_the_table(azure: AzureDouble) -> None:
    table = json.loads((Path(__file__).parents[2] / "doubles" / "amlonlineendpointtrafficlog.json").read_text())
    assert azure.send("digits", 1)[0].document().keys() == table["columns"].keys()


def test_traffic_is_split_by_weight(users: Users) -> None:
    users.azure.write("digits", traffic={"blue": 75, "green": 25})
    served = Counter(users.ask().headers[PIN] for _ in range(200))
    assert 30 < served["green"] < 70
    assert served.total() == 200


def test_a_pinned_request_reaches_what_has_no_traffic(users: Users) -> None:
    assert users.ask("green").headers[PIN] == "green"
    assert users.azure.traffic[0].pinned
    assert users.ask("nobody").status_code == 404
    users.azure.add("digits", "young", state="Creating")
    users.azure.scale("digits", "green", 0)
    assert [users.ask(name).status_code for name in ("young", "green")] == [404, 404]


def test_a_key_is_needed_and_either_will_do(users: Users) -> None:
    users.headers = {"Authorization": f"Bearer {users.azure.endpoint('digits').keys[1]}"}
    assert users.ask().status_code == 200
    users.headers = {"Authorization": "Bearer wrong"}
    assert users.ask().status_code == 401
    assert [row.code for row in users.azure.traffic] == [200, 401]


def test_a_token_of_the_endpoint_is_good(azure: AzureDouble, arm: Client, users: Users) -> None:
    azure.endpoint("digits").properties["authMode"] = "AMLToken"
    assert users.ask().status_code == 401
    token = arm("POST", "/onlineEndpoints/digits/token").json()["accessToken"]
    users.headers = {"Authorization": f"Bearer {token}"}
    assert users.ask().status_code == 200


def test_without_traffic_nobody_answers(users: Users) -> None:
    users.azure.write("digits", traffic={})
    assert users.ask().status_code == 404
    assert users.azure.traffic[0].deployment == ""


def test_a_model_that_fails_is_a_424(users: Users) -> None:
    users.azure.behave("blue", error_rate=1.0, status=503)
    answer = users.ask()
    assert (answer.status_code, answer.headers["ms-azureml-model-error-statuscode"]) == (424, "503")
    assert (users.azure.traffic[0].code, users.azure.traffic[0].model_code) == (424, 503)


def test_a_cluster_has_codes_of_its_own(azure: AzureDouble, users: Users) -> None:
    azure.endpoint("digits").properties["compute"] = "aks1"
    azure.behave("blue", error_rate=1.0)
    assert users.ask().status_code == 502
    azure.deployment("digits", "blue").properties["requestSettings"]["requestTimeout"] = "PT0.01S"
    azure.behave("blue", latency_ms=500)
    assert users.ask().status_code == 504
    assert [row.code for row in azure.send("digits", 1)] == [504]
    assert all(row.kubernetes for row in azure.traffic)


def test_a_model_that_is_too_slow_is_a_408(users: Users) -> None:
    users.azure.deployment("digits", "blue").properties["requestSettings"]["requestTimeout"] = "PT0.05S"
    users.azure.behave("blue", latency_ms=5000)
    began = time.monotonic()
    assert users.ask().status_code == 408
    assert time.monotonic() - began < 5


def test_too_many_at_once_are_refused(users: Users) -> None:
    users.azure.behave("blue", latency_ms=1200)
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(Users(users.azure).ask().status_code)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(codes) == {200: 2, 429: 3}
    assert users.ask().status_code == 200


def test_the_latency_of_a_model_is_felt_and_logged(users: Users) -> None:
    users.azure.behave("blue", latency_ms=80)
    began = time.monotonic()
    users.ask()
    assert time.monotonic() - began >= 0.08
    assert users.azure.traffic[0].total_ms >= 80


def test_a_part_is_mirrored_and_its_answers_are_not_seen(users: Users) -> None:
    users.azure.write("digits", mirror={"green": 50})
    users.azure.behave("green", error_rate=1.0)
    told: list[Row] = []
    users.azure.listeners.append(told.append)
    assert {users.ask().status_code for _ in range(60)} == {200}
    mirrored = [row for row in users.azure.traffic if row.mirrored]
    assert 15 < len(mirrored) < 45
    assert {row.deployment for row in mirrored} == {"green"}
    assert told == users.azure.traffic


def test_many_requests_are_made_up_quickly(users: Users, clocked: Any) -> None:
    users.azure.write("digits", traffic={"blue": 90, "green": 10}, mirror={})
    users.azure.behave("green", error_rate=0.2, latency_ms=30, sigma=0.5)
    took = []
    for _ in range(2):
        began = time.process_time()
        rows = users.azure.send("digits", 100_000, seconds=600)
        took.append(time.process_time() - began)
    assert min(took) < 1.0
    assert len(users.azure.traffic) == 200_000
    green = [row for row in rows if row.deployment == "green"]
    assert 9_500 < len(green) < 10_500
    assert 0.18 < sum(row.code == 424 for row in green) / len(green) < 0.22
    assert 25 < sorted(row.total_ms for row in green)[len(green) // 2] < 37
    assert 599 < (rows[-1].ended - rows[0].ended).total_seconds() < 600
    assert rows[-1].ended == clocked.now


def test_requests_without_traffic_and_mirrored_ones_are_made_up_too(azure: AzureDouble) -> None:
    azure.write("digits", mirror={"green": 50})
    assert 60 < sum(row.mirrored for row in azure.send("digits", 200)) < 140
    azure.write("digits", traffic={}, mirror={})
    assert {row.code for row in azure.send("digits", 10)} == {404}
