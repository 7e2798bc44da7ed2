"""Azure as an inspection reads it: documents by their path, healthy until a test says otherwise."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from doubles.memory import MemoryPlatform
from doubles.telemetry import ManualClock

from deployer.cloud.clouds import Workspace, find_cloud
from deployer.engine.doctor import inspect
from deployer.errors import DeniedError, TelemetryError
from deployer.gate.samples import AnswerClass, Cell, Samples
from deployer.manifest.load import load_manifest
from deployer.manifest.schema import PlatformType
from deployer.manifest.spec import RolloutSpec
from deployer.platforms.inspection.azure import AzureInspector, Surroundings
from deployer.platforms.inspection.facts import Facts
from deployer.platforms.inspection.rights import role
from deployer.ports.inspection import Check
from deployer.ports.platform import DeploymentSpec
from deployer.stores.files import DiskFiles
from deployer.wiring.azure import source_of

MANIFESTS = Path(__file__).parents[3] / "manifests"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
LOGS_GUID = "11111111-2222-3333-4444-555555555555"
ENV = {
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
    "AZUREML_RESOURCE_GROUP": "rg",
    "AZUREML_WORKSPACE_NAME": "ws",
    "LOG_ANALYTICS_WORKSPACE_ID": LOGS_GUID,
}
SUB = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{SUB}/resourceGroups/rg"
SPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/ws"
ENDPOINT = f"{SPACE}/onlineEndpoints/digits"
REGION = f"{SUB}/providers/Microsoft.MachineLearningServices/locations/westeurope"
LOGS = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/logs"
COMPONENT = f"{GROUP}/providers/Microsoft.Insights/components/ai"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/digits"
REGISTRY = f"{SUB}/resourceGroups/shared/providers/Microsoft.MachineLearningServices/registries/models"
PERMISSIONS = "/providers/Microsoft.Authorization/permissions"
SETTINGS = f"{ENDPOINT}/providers/Microsoft.Insights/diagnosticSettings"
COMPUTE = f"{SPACE}/computes/aks-prod"


def _usage(name: str, used: int, limit: int) -> dict[str, Any]:
    return {"name": {"value": name, "localizedValue": name}, "currentValue": used, "limit": limit, "unit": "Count"}


def documents() -> dict[str, Any]:
    """Everything as it should be. A list is a collection."""
    return {
        SPACE: {"id": SPACE, "location": "westeurope", "properties": {"applicationInsights": COMPONENT}},
        ENDPOINT: {
            "id": ENDPOINT,
            "properties": {
                "provisioningState": "Succeeded",
                "scoringUri": "https://digits.westeurope.inference.ml.azure.com/score",
                "publicNetworkAccess": "Enabled",
                "authMode": "Key",
            },
        },
        f"{REGION}/vmSizes": [
            {
                "name": "Standard_F2s_v2",
                "family": "standardFSv2Family",
                "vCPUs": 2,
                "memoryGB": 4.0,
                "gpus": 0,
                "estimatedVMPrices": {
                    "billingCurrency": "USD",
                    "unitOfMeasure": "OneHour",
                    "values": [{"retailPrice": 0.1, "osType": "Linux", "vmTier": "Standard"}],
                },
            },
            {"name": "Standard_DS2_v2", "family": "standardDSv2Family", "vCPUs": 2, "memoryGB": 7.0, "gpus": 0},
        ],
        f"{REGION}/usages": [
            _usage("standardFSv2Family", 10, 100),
            _usage("standardDSv2Family", 0, 100),
            _usage("Total Cluster Dedicated Regional vCPUs", 10, 300),
        ],
        **{
            f"{scope}{PERMISSIONS}": [{"actions": role()["Actions"], "notActions": []}]
            for scope in (SPACE, GROUP, SUB, LOGS, COMPONENT, IDENTITY, REGISTRY)
        },
        f"{SUB}/providers/Microsoft.MachineLearningServices/registries": [{"id": REGISTRY, "name": "models"}],
        SETTINGS: [
            {
                "name": "logs",
                "properties": {
                    "workspaceId": LOGS,
                    "logs": [{"category": "AmlOnlineEndpointTrafficLog", "enabled": True}],
                },
            }
        ],
        LOGS: {
            "properties": {
                "customerId": LOGS_GUID,
                "workspaceCapping": {"dailyQuotaGb": -1.0, "dataIngestionStatus": "RespectQuota"},
            }
        },
        COMPONENT: {"properties": {"WorkspaceResourceId": LOGS, "SamplingPercentage": None}},
        f"{COMPONENT}/currentbillingfeatures": {"DataVolumeCap": {"Cap": 100.0}},
        COMPUTE: {
            "properties": {
                "computeType": "Kubernetes",
                "provisioningState": "Succeeded",
                "provisioningErrors": None,
                "properties": {"namespace": "ml"},
            }
        },
    }


class Documents:
    """ARM's reads, answered from documents; what is not there does not exist."""

    def __init__(self) -> None:
        self.there = documents()
        self.denied: set[str] = set()
        self.asked: list[str] = []

    def __getitem__(self, path: str) -> Any:
        return self.there[path]

    def properties(self, path: str) -> dict[str, Any]:
        return self.there[path]["properties"]

    def get(self, path: str, api_version: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        return copy.deepcopy(self._ask(path))

    def list(self, path: str, api_version: str, query: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        return copy.deepcopy(self._ask(path) or [])

    def _ask(self, path: str) -> Any:
        self.asked.append(path)
        if path in self.denied:
            raise DeniedError(f"GET {path}: no right (AuthorizationFailed)", hint="Ask for the role.")
        return self.there.get(path)


@dataclass
class Rows:
    """Telemetry that holds one answer, so many seconds old."""

    clock: ManualClock
    age_s: float | None = 30.0
    expected: dict[str, int] = field(default_factory=dict)
    problem: str | None = None
    doubt: str | None = None
    error: TelemetryError | None = None
    complete_s: float | None = 0.0
    """How long ago the rows were complete; None: nobody knows."""

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        if self.error is not None:
            raise self.error
        cells = ()
        if self.age_s is not None:
            start = self.clock.now() - timedelta(seconds=self.age_s + block_s)
            cells = (Cell(start, "blue", AnswerClass.OK, 5, 1),) if start >= since else ()
        complete = None if self.complete_s is None else until - timedelta(seconds=self.complete_s)
        return Samples(cells, block_s, complete, self.expected, self.problem, self.doubt)


class Tokens:
    def __init__(self) -> None:
        self.refused = ""
        self.failure: Exception | None = None

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        if self.failure is not None:
            raise self.failure
        if self.refused:
            raise ClientAuthenticationError(self.refused)
        return AccessToken("token", 2_000_000_000)


class Azure:
    """One endpoint with a healthy stable ``blue``, and the manifest of a rollout to it."""

    def __init__(self, manifest: str = "managed/canary.yaml", **more: str) -> None:
        self.clock = ManualClock()
        self.arm = Documents()
        self.tokens = Tokens()
        self.rows = Rows(self.clock)
        self.platform = MemoryPlatform("digits", self.clock)
        self.platform.ensure_endpoint({})
        self.platform.create_deployment(DeploymentSpec("blue", {"instance_count": 3}, Path(), "old"))
        self.platform.edit_traffic({"blue": 100})
        self.spec: RolloutSpec = load_manifest(MANIFESTS / manifest, files=DiskFiles(), env={**ENV, **more})

    def inspector(self, **over: Any) -> AzureInspector:
        cloud = find_cloud("AzureCloud", {})
        facts = Facts(self.arm, Workspace(SUBSCRIPTION, "rg", "ws"), "digits", self.platform)  # type: ignore[arg-type]
        platform: PlatformType = self.spec.manifest.platform.type
        source = over.pop("source", source_of(platform, self.spec.manifest.gate.telemetry))
        around = Surroundings(
            cloud,
            self.tokens,
            facts,
            self.rows,
            source,
            self.clock,
            None,
            over.pop("ahead_s", lambda: 0.0),
            over.pop("ends_early", lambda: None),
        )
        return AzureInspector(self.spec, around)

    def checks(self, **over: Any) -> Sequence[Check]:
        return inspect(self.inspector(**over).questions(), self.clock)

    def found(self, name: str, **over: Any) -> list[Check]:
        return [check for check in self.checks(**over) if check.name == name]

    def the(self, name: str, **over: Any) -> Check:
        (check,) = self.found(name, **over)
        return check
