"""Which rights a rollout needs on Azure, what breaks without each, and which of them somebody has. Pure.

The lists are the source of ``manifests/azure/deployer-role.json`` and ``profiler-role.json`` beside it; a test keeps
them the same. The role of who rolls out cannot delete an endpoint: only profiles and who cleans up after them do that.

Source: learn.microsoft.com/azure/role-based-access-control/permissions (AI + machine learning, Monitor), names of all
actions, read 2026-11-25; learn.microsoft.com/azure/role-based-access-control/role-definitions, how wildcards and
NotActions work: an action is granted when one role grants it and that same role does not take it back;
learn.microsoft.com/azure/azure-monitor/logs/api/azure-resource-queries, rights to the logs of a resource (2026-11-26).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from deployer.manifest.schema import PlatformType, TelemetrySource

_ML = "Microsoft.MachineLearningServices"
_WORKSPACE = f"{_ML}/workspaces"
_ENDPOINT = f"{_WORKSPACE}/onlineEndpoints"
_DEPLOYMENT = f"{_ENDPOINT}/deployments"


class Scope(StrEnum):
    """Where a right must be held (a role given further up holds below)."""

    WORKSPACE = "workspace"
    GROUP = "resource group"
    SUBSCRIPTION = "subscription"
    LOGS = "Log Analytics workspace"
    COMPONENT = "Application Insights component"
    IDENTITY = "user-assigned identity"
    REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Situation:
    """What of a rollout decides which rights it needs."""

    platform: PlatformType
    source: TelemetrySource
    auth_mode: str = "key"
    local_code: bool = True
    local_model: bool = True
    local_environment: bool = True
    named_environment: bool = True
    """The environment is one of the workspace's, found by its name."""
    asks_workspace: bool = True
    """Rows are asked of a Log Analytics workspace by its id; else of the resource that they tell of."""
    user_identity: bool = False
    """The endpoint has a user-assigned identity, which every write of the endpoint names."""
    registry_assets: bool = False
    """Model or environment is in a registry, which may be of another resource group."""


@dataclass(frozen=True, slots=True)
class Right:
    """One action of the least-privilege role."""

    action: str
    without: str
    """What does not work without it."""
    scope: Scope = Scope.WORKSPACE
    blocks: bool = True
    """A rollout without it would fail; else it only sees less."""
    needed: Callable[[Situation], bool] = lambda _: True

    @property
    def changes(self) -> bool:
        """It changes something, or hands out a key that can: nobody who only looks should have it."""
        return not self.action.endswith("/read")


def _uploads(situation: Situation) -> bool:
    return situation.local_code or situation.local_model or situation.local_environment


def _managed(situation: Situation) -> bool:
    return situation.platform is PlatformType.MANAGED


def _reads_logs(situation: Situation) -> bool:
    return situation.source is TelemetrySource.TRAFFIC_LOG


def _reads_component(situation: Situation) -> bool:
    return situation.source is TelemetrySource.APP_INSIGHTS


def _asks_workspace(situation: Situation) -> bool:
    return situation.asks_workspace and (_reads_logs(situation) or _reads_component(situation))


def _asks_component(situation: Situation) -> bool:
    return _reads_component(situation) and not situation.asks_workspace


RIGHTS = (
    Right(f"{_WORKSPACE}/read", "the workspace and its region cannot be found"),
    Right(f"{_ENDPOINT}/read", "traffic and tags cannot be read: nothing can be verified"),
    Right(f"{_ENDPOINT}/write", "traffic cannot be shifted, nor rolled back"),
    Right(f"{_DEPLOYMENT}/read", "nobody can see whether a deployment is ready"),
    Right(f"{_DEPLOYMENT}/write", "the candidate cannot be deployed or scaled"),
    Right(f"{_DEPLOYMENT}/delete", "a failed candidate keeps its name and its quota"),
    Right(f"{_DEPLOYMENT}/getLogs/action", "a deployment that fails does not say why", blocks=False),
    Right(
        f"{_ENDPOINT}/listKeys/action",
        "smoke tests, warm-up and load have no key to send",
        needed=lambda situation: situation.auth_mode == "key",
    ),
    Right(
        f"{_ENDPOINT}/token/action",
        "smoke tests, warm-up and load have no token to send",
        needed=lambda situation: situation.auth_mode == "aml_token",
    ),
    Right(
        f"{_ENDPOINT}/score/action",
        "the endpoint does not answer smoke tests, warm-up and load",
        needed=lambda situation: situation.auth_mode == "aad_token",
    ),
    Right(f"{_WORKSPACE}/codes/versions/read", "code cannot be found again", needed=lambda it: it.local_code),
    Right(f"{_WORKSPACE}/codes/versions/write", "local code cannot be uploaded", needed=lambda it: it.local_code),
    Right(f"{_WORKSPACE}/models/versions/read", "the model cannot be found"),
    Right(f"{_WORKSPACE}/models/versions/write", "a local model cannot be uploaded", needed=lambda it: it.local_model),
    Right(
        f"{_WORKSPACE}/environments/versions/read",
        "the environment cannot be found",
        needed=lambda it: it.named_environment,
    ),
    Right(
        f"{_WORKSPACE}/environments/versions/write",
        "an environment of the deployment's own cannot be made",
        needed=lambda it: it.local_environment,
    ),
    Right(f"{_WORKSPACE}/datastores/read", "nobody says where uploads go", needed=_uploads),
    Right(f"{_WORKSPACE}/datastores/listSecrets/action", "uploads are refused by the storage account", needed=_uploads),
    Right(
        f"{_WORKSPACE}/computes/read",
        "nobody can see whether the cluster is attached and healthy",
        needed=lambda it: it.platform is PlatformType.KUBERNETES,
    ),
    Right(
        f"{_ML}/locations/mfeOperationsStatus/read",
        "an operation that fails does not say why",
        Scope.SUBSCRIPTION,
        blocks=False,
    ),
    Right(
        f"{_ML}/locations/usages/read",
        "quota is not known beforehand",
        Scope.SUBSCRIPTION,
        blocks=False,
        needed=_managed,
    ),
    Right(
        f"{_ML}/locations/vmSizes/read",
        "cores and prices of instance types are not known",
        Scope.SUBSCRIPTION,
        blocks=False,
        needed=_managed,
    ),
    Right(
        "Microsoft.Insights/autoscaleSettings/read",
        "the stable's autoscale rules are not seen: the candidate would go without",
        Scope.GROUP,
        needed=_managed,
    ),
    Right(
        "Microsoft.Insights/autoscaleSettings/write",
        "the candidate gets no autoscale rules and the stable may shrink in the bake",
        Scope.GROUP,
        needed=_managed,
    ),
    Right(
        "Microsoft.Insights/autoscaleSettings/delete",
        "autoscale settings outlive their deployments",
        Scope.GROUP,
        blocks=False,
        needed=_managed,
    ),
    Right(
        "Microsoft.Insights/diagnosticSettings/read",
        "nobody can see whether the traffic log is switched on",
        blocks=False,
        needed=_reads_logs,
    ),
    Right("Microsoft.Insights/metrics/read", "the gate cannot tell whether its telemetry is complete"),
    Right(
        "Microsoft.OperationalInsights/workspaces/read",
        "cap and state of the Log Analytics workspace are not known",
        Scope.LOGS,
        blocks=False,
    ),
    Right(
        "Microsoft.OperationalInsights/workspaces/query/read",
        "the gate is blind",
        Scope.LOGS,
        needed=_asks_workspace,
    ),
    Right(
        "Microsoft.OperationalInsights/workspaces/query/AmlOnlineEndpointTrafficLog/read",
        "the gate is blind",
        Scope.LOGS,
        needed=lambda it: _reads_logs(it) and it.asks_workspace,
    ),
    Right(
        "Microsoft.OperationalInsights/workspaces/query/AppRequests/read",
        "the gate is blind",
        Scope.LOGS,
        needed=lambda it: _reads_component(it) and it.asks_workspace,
    ),
    Right(
        "Microsoft.Insights/logs/*/read",  # no action names the traffic log's table there: ARM would refuse the role
        "the gate is blind",
        needed=lambda it: _reads_logs(it) and not it.asks_workspace,
    ),
    Right(
        "Microsoft.Insights/components/read",
        "sampling and daily cap of Application Insights are not known",
        Scope.COMPONENT,
        blocks=False,
        needed=_reads_component,
    ),
    Right(
        "Microsoft.Insights/components/currentBillingFeatures/read",
        "the daily cap of Application Insights is not known",
        Scope.COMPONENT,
        blocks=False,
        needed=_reads_component,
    ),
    Right("Microsoft.Insights/components/query/read", "the gate is blind", Scope.COMPONENT, needed=_asks_component),
    Right("Microsoft.Insights/logs/AppRequests/read", "the gate is blind", Scope.COMPONENT, needed=_asks_component),
    Right(
        "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
        "no write of the endpoint is accepted: traffic cannot be shifted",
        Scope.IDENTITY,
        needed=lambda it: it.user_identity,
    ),
    Right(
        f"{_ML}/registries/read",
        "the registry of the model or environment cannot be found",
        Scope.REGISTRY,
        needed=lambda it: it.registry_assets,
    ),
    Right(
        f"{_ML}/registries/assets/read",
        "the registry's model or environment cannot be used",
        Scope.REGISTRY,
        needed=lambda it: it.registry_assets,
    ),
    Right("Microsoft.Authorization/permissions/read", "rights cannot be checked beforehand", blocks=False),
)
DELETE_ENDPOINT = Right(f"{_ENDPOINT}/delete", "test endpoints that `profile` made stay, empty", blocks=False)
"""Only ``profile`` and ``gc`` use it, on test endpoints: who rolls out does not get it, and cannot delete others."""


def needed_rights(situation: Situation) -> tuple[Right, ...]:
    """Choose the rights that a rollout in ``situation`` uses."""
    return tuple(right for right in RIGHTS if right.needed(situation))


def is_granted(action: str, permissions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether ``permissions`` (as ``Microsoft.Authorization/permissions`` lists them) allow ``action``.

    Each entry stands for one role assignment; its ``notActions`` take back only what its own ``actions`` give.
    """
    for entry in permissions:
        if _any(entry.get("actions"), action) and not _any(entry.get("notActions"), action):
            return True
    return False


def missing_rights(rights: Iterable[Right], permissions: Sequence[Mapping[str, Any]]) -> tuple[Right, ...]:
    """Those of ``rights`` that ``permissions`` do not grant."""
    return tuple(right for right in rights if not is_granted(right.action, permissions))


def _any(patterns: list[str] | None, action: str) -> bool:
    return any(_matches(pattern, action) for pattern in patterns or ())


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """``*`` stands for any text, slashes included; case does not count."""
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.IGNORECASE | re.DOTALL)


def _matches(pattern: str, action: str) -> bool:
    return _pattern(pattern).fullmatch(action) is not None


def role() -> dict[str, Any]:
    """Write the least-privilege role, as ``az role definition create --role-definition`` takes it."""
    about = "What deployer needs to roll out versions on Azure ML online endpoints, and nothing else."
    return _definition("Online endpoint deployer", about, RIGHTS)


def profiler_role() -> dict[str, Any]:
    """Write the role that who profiles has beside ``role``."""
    about = (
        "What `deployer profile` and `deployer gc` need beside the role Online endpoint deployer: test endpoints end."
    )
    return _definition("Online endpoint profiler", about, [DELETE_ENDPOINT])


def _definition(name: str, about: str, rights: Iterable[Right]) -> dict[str, Any]:
    return {
        "Name": name,
        "IsCustom": True,
        "Description": about,
        "Actions": [right.action for right in rights],
        "NotActions": [],
        "DataActions": [],
        "NotDataActions": [],
        "AssignableScopes": ["/subscriptions/00000000-0000-0000-0000-000000000000"],
    }
