"""Which Azure: known ones, one's own by its metadata, and where a key may go."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import METADATA_URL, METRICS_ENDPOINT, Workspace, find_cloud
from deployer.errors import PlanError
from tests.doubles.arm_script import Answer, ScriptedTransport, Tokens
from tests.doubles.telemetry import ManualClock

OWN = {
    "name": "Own",
    "portal": "https://portal.own.example",
    "resourceManager": "https://arm.own.example/",
    "authentication": {"loginEndpoint": "https://login.own.example/", "audiences": ["https://management.own.example/"]},
    "logAnalyticsResourceId": "https://logs.own.example/",
    "amlResourceId": "https://ml.own.example",
    "vmImageAliasDoc": "https://raw.githubusercontent.com/Azure/azure-rest-api-specs/aliases.json",
    "suffixes": {"storage": "own.example"},
}
URL = "https://arm.own.example/metadata/endpoints?api-version=2019-05-01"


@pytest.mark.parametrize(
    ("name", "manager", "login", "suffix"),
    [
        ("", "management.azure.com", "login.microsoftonline.com", "inference.ml.azure.com"),
        ("AzureCloud", "management.azure.com", "login.microsoftonline.com", "inference.ml.azure.com"),
        ("AzureUSGovernment", "management.usgovcloudapi.net", "login.microsoftonline.us", "inference.ml.azure.us"),
        ("AzureChinaCloud", "management.chinacloudapi.cn", "login.chinacloudapi.cn", "inference.ml.azure.cn"),
    ],
)
def test_the_clouds_of_microsoft_are_known(name: str, manager: str, login: str, suffix: str) -> None:
    cloud = find_cloud(name, {})
    assert (cloud.resource_manager, cloud.authority) == (f"https://{manager}", f"https://{login}")
    assert cloud.arm_scope == f"https://{manager}/.default"
    assert cloud.may_score(f"https://e.eastus.{suffix}/score")


@pytest.mark.parametrize("name", ["", "Own"])
def test_a_cloud_of_ones_own_is_read_from_its_metadata(name: str) -> None:
    asked: list[str] = []

    def fetch(url: str) -> Any:
        asked.append(url)
        return [{"name": "Other", "resourceManager": "https://other.example"}, OWN]

    cloud = find_cloud(name, {METADATA_URL: URL}, fetch)
    assert asked == [URL]
    assert (cloud.name, cloud.resource_manager) == ("Own", "https://arm.own.example")
    assert cloud.authority == "https://login.own.example"
    assert cloud.logs_endpoint == "https://logs.own.example"
    assert cloud.arm_scope == "https://management.own.example/.default"


@pytest.mark.parametrize("name", ["AzureCloud", "AzureUSGovernment", "AzureChinaCloud"])
def test_the_metadata_of_a_cloud_of_microsoft_changes_nothing_about_it(name: str) -> None:
    known = find_cloud(name, {})
    url = f"{known.resource_manager}/metadata/endpoints?api-version=2019-05-01"
    entry = {**OWN, "name": name, "resourceManager": f"{known.resource_manager}/"}
    assert find_cloud("", {METADATA_URL: url}, lambda _: [OWN, entry]) == known


@pytest.mark.parametrize(
    ("name", "env", "answer"),
    [
        ("Nowhere", {}, None),
        ("Nowhere", {METADATA_URL: URL}, [OWN]),
        ("", {METADATA_URL: "http://arm.own.example"}, [OWN]),
        ("Own", {METADATA_URL: URL}, [{**OWN, "authentication": {}}]),
        ("Own", {METADATA_URL: URL}, "nonsense"),
        ("Own", {METADATA_URL: URL}, OSError("refused")),
    ],
)
def test_a_cloud_that_cannot_be_found_is_refused(name: str, env: dict[str, str], answer: Any) -> None:
    def fetch(_url: str) -> Any:
        if isinstance(answer, OSError):
            raise answer
        return answer

    with pytest.raises(PlanError):
        find_cloud(name, env, fetch)


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://e.eastus.inference.ml.azure.com/score", True),
        ("https://E.EASTUS.INFERENCE.ML.AZURE.COM/score", True),
        ("https://evil.example/inference.ml.azure.com", False),
        ("https://inference.ml.azure.com.evil.example/score", False),
        ("https://evilinference.ml.azure.com/score", False),
        ("https://e.inference.ml.azure.com@evil.example/score", False),
        ("https://evil.example#.inference.ml.azure.com", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_a_key_goes_to_scoring_hosts_only(url: str, may: bool) -> None:
    assert find_cloud("", {}).may_score(url) is may


def test_a_key_goes_to_the_hosts_of_the_own_cloud_and_those_named_by_hand_only() -> None:
    cloud = find_cloud(
        "Own", {METADATA_URL: URL, "DEPLOYER_SCORING_HOSTS": " models.corp.example, .B.example,"}, lambda _: OWN
    )
    for host in ("arm.own.example", "x.arm.own.example", "e.ml.own.example", "models.corp.example", "e.b.example"):
        assert cloud.may_score(f"https://{host}/score")
    others = ("own.example", "portal.own.example", "logs.own.example", "raw.githubusercontent.com")
    for host in (*others, "e.inference.ml.azure.com"):
        assert not cloud.may_score(f"https://{host}/score")


@pytest.mark.parametrize(
    ("url", "managed", "on_cluster"),
    [
        ("http://e.eastus.inference.ml.azure.com/score", False, False),
        ("http://models.corp.example/score", False, True),
        ("https://models.corp.example/score", True, True),
        ("http://10.1.2.3/api/v1/endpoint/e/score", False, True),
        ("https://10.1.2.3/score", False, True),
        ("http://20.1.2.3/score", False, False),
        ("ftp://10.1.2.3/score", False, False),
    ],
)
def test_only_clusters_are_scored_at_private_addresses_and_in_clear(url: str, managed: bool, on_cluster: bool) -> None:
    cloud = find_cloud("", {"DEPLOYER_SCORING_HOSTS": "models.corp.example"})
    assert (cloud.may_score(url), cloud.may_score(url, on_cluster=True)) == (managed, on_cluster)


def test_a_workspace_has_an_id() -> None:
    assert Workspace("s", "g", "w").id == (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    )


@pytest.mark.parametrize("name", ["AzureUSGovernment", "Own"])
def test_metrics_are_asked_at_arm_unless_the_environment_names_another_place(name: str) -> None:
    env = {METADATA_URL: URL, METRICS_ENDPOINT: "https://metrics.own.example/"}
    usual, moved = find_cloud(name, {METADATA_URL: URL}, lambda _: [OWN]), find_cloud(name, env, lambda _: [OWN])
    assert (usual.for_metrics.resource_manager, usual.for_metrics.arm_scope) == (
        usual.resource_manager,
        usual.arm_scope,
    )
    assert moved.resource_manager == usual.resource_manager
    wire, tokens = ScriptedTransport(Answer(body={"value": []})), Tokens()
    Arm(moved.for_metrics, tokens, ManualClock(), transport=wire).get("/x", "v")
    assert wire.hosts == ["metrics.own.example"]
    assert tokens.scopes == [usual.arm_scope], "the token is one for ARM"


@pytest.mark.parametrize("address", ["http://metrics.own.example", "metrics.own.example", "https://"])
def test_a_token_for_metrics_goes_over_https_only(address: str) -> None:
    with pytest.raises(PlanError, match=METRICS_ENDPOINT):
        find_cloud("AzureCloud", {METRICS_ENDPOINT: address})
