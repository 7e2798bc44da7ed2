"""A plain client of ARM: azure-core and azure-identity, unpatched, without retries; nothing is hidden."""

from __future__ import annotations

import re
from typing import Any

from azure.core.rest import HttpRequest
from azure.identity import DefaultAzureCredential
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from doubles.arm import AzureDouble
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE


class Client:
    """ARM as a plain client of it sees it: no retries, nothing hidden; azure-core and azure-identity, unpatched."""

    ml = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
    api = "2025-12-01"

    def __init__(self, double: AzureDouble | str) -> None:
        self.address = double if isinstance(double, str) else double.address
        self.credential = DefaultAzureCredential(retry_total=0)
        scope = f"{self.address}/.default"
        policy = ARMChallengeAuthenticationPolicy(self.credential, scope)
        self._client: Any = ARMPipelineClient(self.address, policies=[policy])

    def __call__(self, method: str, path: str, body: Any = None, *, api: str | None = None, **query: str) -> Any:
        path = path if path.startswith(("https:", "/subscriptions")) else self.ml + path
        url = path if path.startswith("https:") else self.address + path
        params = {} if "api-version=" in url else {"api-version": self.api if api is None else api, **query}
        request = HttpRequest(method, url, params=params, json=body)
        return self._client.send_request(request, read_timeout=5)

    def traffic(self, traffic: dict[str, int], mirror: dict[str, int] | None = None, **more: Any) -> Any:
        """PUT of the endpoint."""
        properties = {"authMode": "Key", "properties": {}, "traffic": traffic, "mirrorTraffic": mirror or {}}
        body = {"location": "westeurope", "identity": {"type": "SystemAssigned"}, "tags": {}, **more}
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
            if status["status"] != "Updating":
                return status


def said(response: Any) -> str:
    """Status, code and text of a refusal."""
    error = response.json()["error"]
    return re.sub(
        r"\s+", " ", f"{response.status_code} {error['code']} {error['message']} {error.get('details') or ''}"
    )
