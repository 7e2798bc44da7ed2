"""What is around an endpoint: workspace, computes, quota, prices, rights, autoscale, diagnostics, telemetry resources."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from doubles.azure.messages import Answer, Handler, Refusal, Request, missing
from doubles.azure.world import GROUP, GROUP_ID, REGION, SUBSCRIPTION, TENANT, WORKSPACE, WORKSPACE_ID, World

ML = r"/subscriptions/[^/]+/providers/Microsoft\.MachineLearningServices"
COMPONENT = f"{GROUP_ID}/providers/Microsoft.Insights/components/ai"
LOGS = f"{GROUP_ID}/providers/Microsoft.OperationalInsights/workspaces/logs"
CUSTOMER_ID = "11111111-2222-3333-4444-555555555555"
"""Of the Log Analytics workspace: what queries name."""
ACCOUNTS = f"{GROUP_ID}/providers/Microsoft.Storage/storageAccounts"
REGISTRY = f"{GROUP_ID}/providers/Microsoft.ContainerRegistry/registries/registry"


@dataclass(frozen=True, slots=True)
class Size:
    """A VM size. Prices are invented."""

    name: str
    family: str
    vcpus: int
    memory_gb: float
    usd_per_hour: float
    gpus: int = 0

    def document(self) -> dict[str, Any]:
        """Shape: learn.microsoft.com/rest/api/azureml/virtual-machine-sizes/list."""
        return {
            "name": self.name,
            "family": self.family,
            "vCPUs": self.vcpus,
            "gpus": self.gpus,
            "osVhdSizeMB": 1047552,
            "maxResourceVolumeMB": 14336,
            "memoryGB": self.memory_gb,
            "lowPriorityCapable": True,
            "premiumIO": True,
            "estimatedVMPrices": {
                "billingCurrency": "USD",
                "unitOfMeasure": "OneHour",
                "values": [
                    {"retailPrice": self.usd_per_hour, "osType": "Linux", "vmTier": "Standard"},
                    {"retailPrice": round(self.usd_per_hour / 5, 4), "osType": "Linux", "vmTier": "LowPriority"},
                ],
            },
            "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
        }


SIZES = (
    Size("Standard_DS2_v2", "standardDSv2Family", 2, 7.0, 0.146),
    Size("Standard_DS3_v2", "standardDSv2Family", 4, 14.0, 0.293),
    Size("Standard_DS4_v2", "standardDSv2Family", 8, 28.0, 0.585),
    Size("Standard_F2s_v2", "standardFSv2Family", 2, 4.0, 0.0846),
    Size("Standard_F4s_v2", "standardFSv2Family", 4, 8.0, 0.169),
    Size("Standard_E4s_v3", "standardESv3Family", 4, 32.0, 0.252),
    Size("Standard_NC6s_v3", "standardNCSv3Family", 6, 112.0, 3.06, gpus=1),
)


class Inventory:
    """Attributes may be changed by tests.

    Attributes:
        limits: cores by family.
        taken: cores that others of the subscription use, by family.
        permissions: as ``Microsoft.Authorization/permissions`` lists them.
        resources: anything that a GET answers as it is, by path in lower case.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.used: Callable[[], dict[str, int]] = dict
        self.sizes = {size.name.lower(): size for size in SIZES}
        self.limits = {size.family: 100 for size in SIZES}
        self.taken = {size.family: 0 for size in SIZES}
        self.permissions: list[dict[str, Any]] = [
            {"actions": ["*"], "notActions": [], "dataActions": ["*"], "notDataActions": []}
        ]
        self.computes: dict[str, dict[str, Any]] = {}
        self.autoscale: dict[str, dict[str, Any]] = {}
        self.diagnostics: dict[str, list[dict[str, Any]]] = {}
        self.resources = {path.lower(): document for path, document in _resources().items()}
        self.attach("aks1")

    def routes(self) -> list[tuple[str, str, Handler]]:
        setting = r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Insights/autoscalesettings"
        return [
            ("GET", r"/subscriptions/[^/]+(/resourceGroups/[^/]+(/providers/[^/]+/[^/]+/[^/]+)?)?", self.get),
            ("GET", r".+/components/[^/]+/currentbillingfeatures", self.get),
            ("GET", r".+/workspaces/[^/]+/computes", self.list_computes),
            ("GET", r".+/workspaces/[^/]+/computes/[^/]+", self.compute),
            ("GET", rf"{ML}/locations/[^/]+/usages", self.usages),
            ("GET", rf"{ML}/locations/[^/]+/vmSizes", self.vm_sizes),
            ("GET", r".*/providers/Microsoft\.Authorization/permissions", self.rights),
            ("GET", r"(?P<target>.+)/providers/Microsoft\.Insights/diagnosticSettings", self.diagnostic_settings),
            ("GET", setting, lambda request: Answer(200, {"value": copy.deepcopy(list(self.autoscale.values()))})),
            ("GET", rf"{setting}/[^/]+", self.autoscale_get),
            ("PUT", rf"{setting}/[^/]+", self.autoscale_put),
            ("DELETE", rf"{setting}/[^/]+", self.autoscale_delete),
        ]

    # ---- to be set up by tests

    def attach(self, name: str, *, problem: str = "", namespace: str = "default", kind: str = "Kubernetes") -> None:
        """Attach a cluster; ``problem`` is what is wrong with it. Shape: rest/api/azureml/compute/get."""
        self.computes[name.lower()] = {
            "id": f"{WORKSPACE_ID}/computes/{name}",
            "name": name,
            "type": "Microsoft.MachineLearningServices/workspaces/computes",
            "location": REGION,
            "properties": {
                "computeType": kind,
                "computeLocation": REGION,
                "provisioningState": "Failed" if problem else "Succeeded",
                "provisioningErrors": [{"error": {"code": "Unhealthy", "message": problem}}] if problem else None,
                "isAttachedCompute": True,
                "resourceId": f"{GROUP_ID}/providers/Microsoft.ContainerService/managedClusters/{name}",
                "properties": {
                    "namespace": namespace,
                    "defaultInstanceType": "defaultinstancetype",
                    "instanceTypes": {
                        "defaultinstancetype": {
                            "nodeSelector": None,
                            "resources": {
                                "requests": {"cpu": "100m", "memory": "2Gi"},
                                "limits": {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": None},
                            },
                        }
                    },
                },
            },
        }

    def send_logs(self, endpoint_id: str, *categories: str, workspace: str = LOGS, enabled: bool = True) -> None:
        """Give an endpoint a diagnostic setting. Shape: rest/api/monitor/diagnostic-settings/list."""
        name = f"setting{len(self.diagnostics.get(endpoint_id.lower(), []))}"
        self.diagnostics.setdefault(endpoint_id.lower(), []).append(
            {
                "id": f"{endpoint_id}/providers/Microsoft.Insights/diagnosticSettings/{name}",
                "type": "Microsoft.Insights/diagnosticSettings",
                "name": name,
                "properties": {
                    "workspaceId": workspace,
                    "logs": [{"category": each, "categoryGroup": None, "enabled": enabled} for each in categories],
                    "metrics": [],
                },
            }
        )

    def grant(self, *actions: str, but: tuple[str, ...] = (), data: tuple[str, ...] = ()) -> None:
        """This identity may do these and no others."""
        self.permissions = [
            {"actions": list(actions), "notActions": list(but), "dataActions": list(data), "notDataActions": []}
        ]

    # ---- quota

    def size_of(self, properties: dict[str, Any]) -> Size | None:
        return self.sizes.get(str(properties.get("instanceType")).lower())

    def shortage(self, family: str, cores: int) -> str:
        """Why ``cores`` more cannot be had; empty: they can."""
        free = self.limits[family] - self.taken[family] - self.used().get(family, 0)
        if cores <= free:
            return ""
        return (  # invented; docs #error-outofquota say what it is about
            f"Not enough quota available for {family} in {REGION}. {cores} cores are required, of which 20% are reserved "
            f"for upgrades; {max(free, 0)} of {self.limits[family]} are left."
        )

    # ---- answers

    def get(self, request: Request) -> Answer:
        found = self.resources.get(request.path.lower())
        if found is None:
            raise missing("Microsoft.Resources", request.name, GROUP)
        return Answer(200, copy.deepcopy(found))

    def list_computes(self, request: Request) -> Answer:
        return Answer(200, {"value": copy.deepcopy(list(self.computes.values()))})

    def compute(self, request: Request) -> Answer:
        found = self.computes.get(request.name.lower())
        if found is None:
            raise missing("Microsoft.MachineLearningServices/workspaces", f"{WORKSPACE}/computes/{request.name}", GROUP)
        return Answer(200, copy.deepcopy(found))

    def usages(self, request: Request) -> Answer:
        """Shape: rest/api/azureml/usages/list; one row of the workspace, then the subscription's by family and in total."""
        used, base = (
            self.used(),
            f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/{REGION}",
        )
        total = sum(self.taken.values()) + sum(used.values())
        rows = [("Total Cluster Dedicated Regional vCPUs", "TotalDedicatedCores", total, 1000)]
        rows += [
            (f"{family} Cluster Dedicated vCPUs", family, self.taken[family] + used.get(family, 0), limit)
            for family, limit in self.limits.items()
        ]
        value = [
            {
                "id": f"{base}/quotas/{name}",
                "type": "Microsoft.MachineLearningServices/usages",
                "unit": "Count",
                "currentValue": current,
                "limit": limit,
                "name": {"value": name, "localizedValue": localized},
            }
            for localized, name, current, limit in rows
        ]
        return Answer(200, {"value": value})

    def vm_sizes(self, request: Request) -> Answer:
        return Answer(200, {"value": [size.document() for size in self.sizes.values()]})

    def rights(self, request: Request) -> Answer:
        """Shape: rest/api/authorization/permissions/list-for-resource."""
        return Answer(200, {"value": copy.deepcopy(self.permissions)})

    def diagnostic_settings(self, request: Request) -> Answer:
        return Answer(200, {"value": copy.deepcopy(self.diagnostics.get(request.params["target"].lower(), []))})

    def autoscale_get(self, request: Request) -> Answer:
        found = self.autoscale.get(request.name.lower())
        if found is None:
            raise missing("Microsoft.Insights/autoscalesettings", request.name, GROUP)
        return Answer(200, copy.deepcopy(found))

    def autoscale_put(self, request: Request) -> Answer:
        """Shape and codes: rest/api/monitor/autoscale-settings/create-or-update."""
        body, held = request.json, request.json.get("properties") or {}
        for profile in held.get("profiles") or []:
            capacity = profile.get("capacity") or {}
            least, most, usual = (int(capacity.get(key, 0)) for key in ("minimum", "maximum", "default"))
            if not least <= usual <= most:
                raise Refusal(
                    400, "BadRequest", "The default capacity has to be between minimum and maximum."
                )  # invented
        if not held.get("targetResourceUri"):
            raise Refusal(400, "BadRequest", "targetResourceUri is required.")  # invented
        is_new = request.name.lower() not in self.autoscale
        document = {
            "id": request.path,
            "name": request.name,
            "type": "Microsoft.Insights/autoscaleSettings",
            "location": body.get("location") or REGION,
            "tags": body.get("tags") or {},
            "properties": {**held, "name": request.name, "enabled": held.get("enabled", True)},
        }
        self.autoscale[request.name.lower()] = document
        return Answer(201 if is_new else 200, copy.deepcopy(document))

    def autoscale_delete(self, request: Request) -> Answer:
        return Answer(200 if self.autoscale.pop(request.name.lower(), None) else 204)


def _resources() -> dict[str, dict[str, Any]]:
    """Shapes: rest/api of each type; workspace: what azure-ai-ml 1.35.2 reads of it."""
    guid = "00000000-0000-0000-0000-00000000dddd"
    return {
        f"/subscriptions/{SUBSCRIPTION}": {
            "id": f"/subscriptions/{SUBSCRIPTION}",
            "subscriptionId": SUBSCRIPTION,
            "tenantId": TENANT,
            "displayName": "Double",
            "state": "Enabled",
        },
        GROUP_ID: {
            "id": GROUP_ID,
            "name": GROUP,
            "type": "Microsoft.Resources/resourceGroups",
            "location": REGION,
            "properties": {"provisioningState": "Succeeded"},
        },
        WORKSPACE_ID: {
            "id": WORKSPACE_ID,
            "name": WORKSPACE,
            "type": "Microsoft.MachineLearningServices/workspaces",
            "location": REGION,
            "kind": "Default",
            "tags": {},
            "sku": {"name": "Basic", "tier": "Basic"},
            "identity": {"type": "SystemAssigned", "principalId": guid, "tenantId": TENANT},
            "properties": {
                "friendlyName": WORKSPACE,
                "provisioningState": "Succeeded",
                "workspaceId": guid,
                "tenantId": TENANT,
                "applicationInsights": COMPONENT,
                "containerRegistry": REGISTRY,
                "keyVault": f"{GROUP_ID}/providers/Microsoft.KeyVault/vaults/vault",
                "discoveryUrl": f"https://{REGION}.api.azureml.ms/discovery",
                "mlFlowTrackingUri": f"azureml://{REGION}.api.azureml.ms/mlflow/v1.0{WORKSPACE_ID}",
                "publicNetworkAccess": "Enabled",
                "v1LegacyMode": False,
            },
            "systemData": {"createdAt": "2026-01-01T00:00:00.0000000Z", "createdBy": guid},
        },
        COMPONENT: {
            "id": COMPONENT,
            "name": "ai",
            "type": "microsoft.insights/components",
            "location": REGION,
            "kind": "web",
            "properties": {
                "Application_Type": "web",
                "AppId": guid,
                "SamplingPercentage": None,
                "RetentionInDays": 90,
                "WorkspaceResourceId": LOGS,
                "IngestionMode": "LogAnalytics",
            },
        },
        f"{COMPONENT}/currentbillingfeatures": {
            "CurrentBillingFeatures": ["Basic"],
            "DataVolumeCap": {"Cap": 100.0, "ResetTime": 24, "WarningThreshold": 90, "MaxHistoryCap": 1000.0},
        },
        LOGS: {
            "id": LOGS,
            "name": "logs",
            "type": "Microsoft.OperationalInsights/workspaces",
            "location": REGION,
            "properties": {
                "customerId": CUSTOMER_ID,
                "provisioningState": "Succeeded",
                "retentionInDays": 30,
                "workspaceCapping": {
                    "dailyQuotaGb": -1.0,
                    "quotaNextResetTime": "",
                    "dataIngestionStatus": "RespectQuota",
                },
            },
        },
    }
