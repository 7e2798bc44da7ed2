"""A double of Azure for each test, and the unpatched SDK before it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from doubles.arm import AzureDouble
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE


@pytest.fixture
def azure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureDouble]:
    """``digits`` has blue and green, all traffic on blue; parametrize indirectly with switches."""
    with AzureDouble(**getattr(request, "param", {})) as double:
        double.create("digits", "blue", "green", traffic={"blue": 100})
        for name, value in double.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "")  # so that it is put back
        monkeypatch.delenv("AZUREML_CURRENT_CLOUD")
        yield double


class Client:
    """ARM as a plain client of it sees it: no retries, nothing hidden."""

    ml = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
    api = "2025-12-01"

    def __init__(self, double: AzureDouble) -> None:
        from azure.identity import DefaultAzureCredential
        from azure.mgmt.core import ARMPipelineClient
        from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

        self.double = double
        self.credential = DefaultAzureCredential()
        scope = f"{double.address}/.default"
        policy = ARMChallengeAuthenticationPolicy(self.credential, scope)
        self._client: Any = ARMPipelineClient(double.address, policies=[policy])

    def __call__(self, method: str, path: str, body: Any = None, *, api: str | None = None, **query: str) -> Any:
        from azure.core.rest import HttpRequest

        url = (
            path
            if path.startswith("https:")
            else self.double.address + (path if path.startswith("/subscriptions") else self.ml + path)
        )
        params = {} if "api-version=" in url else {"api-version": api or self.api, **query}
        request = HttpRequest(method, url, params=params, json=body)
        return self._client.send_request(request, read_timeout=5)

    def traffic(self, traffic: dict[str, int], mirror: dict[str, int] | None = None, **more: Any) -> Any:
        """PUT of the endpoint."""
        held = self.double.endpoint("digits").document
        properties = {"authMode": "Key", "properties": {}, "traffic": traffic, "mirrorTraffic": mirror or {}}
        body = {"location": held["location"], "identity": {"type": "SystemAssigned"}, "tags": held["tags"], **more}
        return self("PUT", "/onlineEndpoints/digits", {**body, "properties": properties})

    def deploy(self, name: str, *, instances: int = 1, endpoint: str = "digits", **properties: Any) -> Any:
        """PUT of a deployment."""
        held = {"endpointComputeType": "Managed", "instanceType": "Standard_DS2_v2", "properties": {}, **properties}
        body = {
            "location": "westeurope",
            "tags": {},
            "sku": {"name": "Default", "capacity": instances},
            "properties": held,
        }
        return self("PUT", f"/onlineEndpoints/{endpoint}/deployments/{name}", body)

    def wait(self, response: Any) -> dict[str, Any]:
        """Poll an operation to its end."""
        assert response.status_code in {200, 201, 202}, response.text()
        while True:
            status = self("GET", response.headers["Azure-AsyncOperation"]).json()
            if status["status"] not in {"Updating"}:
                return status


@pytest.fixture
def arm(azure: AzureDouble) -> Client:
    return Client(azure)


@pytest.fixture
def ml(azure: AzureDouble) -> Iterator[Any]:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    yield MLClient(DefaultAzureCredential(), SUBSCRIPTION, GROUP, WORKSPACE, polling_interval=0.05, retry_total=0)
    os.environ.pop("AZUREML_CURRENT_CLOUD", None)


def said(response: Any) -> str:
    """Status, code and text of a refusal."""
    error = response.json()["error"]
    return re.sub(
        r"\s+", " ", f"{response.status_code} {error['code']} {error['message']} {error.get('details') or ''}"
    )
