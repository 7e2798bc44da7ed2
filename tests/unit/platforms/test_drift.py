"""What the service adds or writes in its own way is no difference; what it ignored is one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.platforms.online.drift import differences

WORKSPACE = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws"
PROBE = {"failureThreshold": 30, "initialDelay": "PT10S", "period": "PT10S", "successThreshold": 1, "timeout": "PT2S"}
BODY: dict[str, Any] = {
    "location": "eastus",
    "sku": {"name": "Default", "capacity": 1},
    "tags": {"deployer.digest": "0f" * 32},
    "properties": {
        "endpointComputeType": "Managed",
        "model": f"{WORKSPACE}/models/mir_test_model/versions/1",
        "environmentId": f"{WORKSPACE}/environments/online-endpoint-mir-test/versions/3",
        "codeConfiguration": {"codeId": f"{WORKSPACE}/codes/38b4fd9c/versions/1", "scoringScript": "score.py"},
        "instanceType": "Standard_F2s_v2",
        "environmentVariables": {"WORKER_COUNT": "4"},
        "properties": {},
        "appInsightsEnabled": False,
        "requestSettings": {"requestTimeout": "PT90S", "maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT1S"},
        "livenessProbe": PROBE,
        "scaleSettings": {"scaleType": "Default"},
        "egressPublicNetworkAccess": "enabled",
    },
}
LIVE: dict[str, Any] = {
    "id": f"{WORKSPACE}/onlineEndpoints/e/deployments/blue",
    "name": "blue",
    "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
    "kind": "Managed",
    "location": "East US",
    "sku": {"name": "Default", "tier": "Standard", "capacity": 7},
    "tags": {"deployer.digest": "0f" * 32, "policy": "added by somebody"},
    "systemData": {"createdAt": "2025-02-27T10:37:16.6071446+00:00"},
    "properties": {
        "properties": {"AzureAsyncOperationUri": "https://management.azure.com/x"},
        "endpointComputeType": "Managed",
        "model": f"{WORKSPACE.lower()}/models/mir_test_model/versions/1",
        "environmentId": f"{WORKSPACE}/environments/online-endpoint-mir-test/versions/3",
        "codeConfiguration": {"codeId": f"{WORKSPACE}/codes/38b4fd9c/versions/1", "scoringScript": "score.py"},
        "instanceType": "STANDARD_F2S_V2",
        "environmentVariables": {
            "WORKER_COUNT": "4",
            "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/1498425f064ef007b4f000a85a5f4645/1",
            "AZUREML_ENTRY_SCRIPT": "score.py",
            "AML_APP_ROOT": "/var/azureml-app/onlinescoring",
        },
        "appInsightsEnabled": False,
        "requestSettings": {
            "maxQueueWait": "PT0S",
            "requestTimeout": "PT1M30S",
            "maxConcurrentRequestsPerInstance": 1,
        },
        "livenessProbe": PROBE,
        "readinessProbe": PROBE,
        "modelMountPath": None,
        "scaleSettings": {"scaleType": "Default"},
        "provisioningState": "Succeeded",
        "privateNetworkConnection": False,
        "egressPublicNetworkAccess": "Enabled",
    },
}
"""As recordings/04 (2025), with the settings of BODY."""


def changed(path: str, value: Any) -> dict[str, Any]:
    live = copy.deepcopy(LIVE)
    *way, last = path.split("/")
    at = live
    for step in way:
        at = at.setdefault(step, {})
    if value is None:
        at.pop(last, None)
    else:
        at[last] = value
    return live


def test_what_azure_answers_to_what_was_asked_for_is_no_difference() -> None:
    assert differences(BODY, LIVE) == []


def test_a_body_does_not_differ_from_itself() -> None:
    assert differences(BODY, BODY) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("properties/instanceType", "STANDARD_DS2_V2", "instanceType is STANDARD_DS2_V2, not Standard_F2s_v2"),
        ("properties/model", f"{WORKSPACE}/models/m/versions/2", "model is "),
        ("properties/requestSettings/requestTimeout", "PT5S", "requestSettings.requestTimeout is PT5S, not PT90S"),
        ("properties/requestSettings", None, "requestSettings.requestTimeout is not set, not PT90S"),
        ("properties/livenessProbe/timeout", "PT3S", "livenessProbe.timeout is PT3S, not PT2S"),
        ("properties/codeConfiguration/scoringScript", "main.py", "codeConfiguration.scoringScript is main.py"),
        ("properties/egressPublicNetworkAccess", "Disabled", "egressPublicNetworkAccess is Disabled, not enabled"),
        ("properties/endpointComputeType", "Kubernetes", "endpointComputeType is Kubernetes, not Managed"),
        ("location", "westus", "location is westus, not eastus"),
        ("tags/deployer.digest", None, "tags.deployer.digest is not set"),
        ("properties/environmentVariables/WORKER_COUNT", "5", "environmentVariables.WORKER_COUNT is another value"),
        ("properties/environmentVariables/WORKER_COUNT", "4.0", "environmentVariables.WORKER_COUNT is another value"),
        ("properties/environmentVariables/WORKER_COUNT", None, "environmentVariables.WORKER_COUNT is not set"),
        ("properties/environmentVariables/DEBUG", "1", "environmentVariables.DEBUG is set, though it was not asked"),
        ("properties/appInsightsEnabled", True, "appInsightsEnabled is True, not False"),
    ],
)
def test_what_the_service_ignored_or_somebody_changed_is_a_line(path: str, value: Any, line: str) -> None:
    lines = differences(BODY, changed(path, value))
    assert lines
    assert lines[0].startswith(line)


def test_the_values_of_environment_variables_are_not_shown() -> None:
    body = {"properties": {"environmentVariables": {"A": "hunter2", "B": "swordfish"}}}
    live = {"properties": {"environmentVariables": {"A": "letmein", "C": "opensesame"}}}
    text = " ".join(differences(body, live))
    assert "environmentVariables.A" in text
    assert not any(value in text for value in ("hunter2", "swordfish", "letmein", "opensesame"))


@pytest.mark.parametrize(
    ("wanted", "live", "same"),
    [
        ("500m", "0.5", True),
        ("1", "1000m", True),
        (1, "1", True),
        ("1Gi", "1024Mi", True),
        ("0.5Gi", "512Mi", True),
        ("1Pi", "1024Ti", True),
        ("1Gi", "1G", False),
        ("2", "1", False),
    ],
)
def test_quantities_of_kubernetes_are_compared_by_size(wanted: Any, live: Any, same: bool) -> None:
    body, found = ({"properties": {"containerResourceRequirements": {"cpu": each}}} for each in (wanted, live))
    assert (differences(body, found) == []) is same


@pytest.mark.parametrize(
    ("wanted", "live", "same"),
    [
        ("azureml://registries/r/models/m/labels/latest", "azureml://registries/r/models/m/versions/9", True),
        ("azureml://registries/r/models/m/labels/latest", "azureml://registries/r/models/other/versions/9", False),
        ("azureml:AzureML-sklearn-1.5@latest", "azureml:AzureML-sklearn-1.5:12", True),
        ("azureml://registries/r/models/m/versions/8", "azureml://registries/r/models/m/versions/9", False),
    ],
)
def test_a_label_may_have_become_a_version(wanted: str, live: str, same: bool) -> None:
    body, found = ({"properties": {"model": each}} for each in (wanted, live))
    assert (differences(body, found) == []) is same


def test_lists_are_compared_in_order_and_length() -> None:
    def of(*headers: str) -> dict[str, Any]:
        return {"properties": {"dataCollector": {"requestLogging": {"captureHeaders": list(headers)}}}}

    assert differences(of("a", "b"), of("A", "b")) == []
    assert differences(of("a", "b"), of("a")) == ["dataCollector.requestLogging.captureHeaders.1 is not set, not b"]
    assert differences(of("a"), of("a", "b")) == ["dataCollector.requestLogging.captureHeaders has 2 entries, not 1"]


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["location", "sku", "tags", "properties"]), trees), trees)
def test_any_two_answers_are_compared_without_an_exception(body: dict[str, Any], live: Any) -> None:
    differences(body, live if isinstance(live, dict) else {})
    assert differences(body, body) == []
