"""What Azure says of an endpoint's surroundings, read once however many checks want it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Workspace
from deployer.errors import DeniedError, DeployerError, NotFoundError
from deployer.platforms.inspection.quota import Size, Usage, read_sizes, read_usages
from deployer.ports.platform import Endpoint, Platform

ML = "2024-10-01"
PERMISSIONS = "2022-04-01"
DIAGNOSTICS = "2021-05-01-preview"
COMPONENTS = "2020-02-02"
BILLING = "2015-05-01"
LOGS = "2022-10-01"
"""API versions. Source: that learn.microsoft.com/rest lists; not the newest, whose fields the checks do not need."""

_T = TypeVar("_T")


class Once(Generic[_T]):
    """Something read by whoever needs it first; the others wait for it. Who asks after a failure reads anew."""

    def __init__(self, read: Callable[[], _T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._value: list[_T] = []
        self._failures: list[DeployerError] = []

    def __call__(self) -> _T:
        """Return it.

        Raises:
            DeployerError: it could not be read, now or while this waited for whoever was reading.
        """
        before = len(self._failures)
        with self._lock:
            if len(self._failures) > before:
                raise self._failures[-1]
            if not self._value:
                try:
                    self._value.append(self._read())
                except DeployerError as exc:
                    self._failures.append(exc)
                    raise
            return self._value[0]


class Facts:
    """Reads of one endpoint's surroundings. Safe to share between threads; nothing is written.

    Args:
        arm: asks Azure Resource Manager.
        workspace: of the endpoint.
        endpoint: its name.
        platform: of the endpoint.
    """

    def __init__(self, arm: Arm, workspace: Workspace, endpoint: str, platform: Platform) -> None:
        self._arm = arm
        self.where = workspace
        self.endpoint_id = f"{workspace.id}/onlineEndpoints/{endpoint}"
        self.group_id = f"/subscriptions/{workspace.subscription_id}/resourceGroups/{workspace.resource_group}"
        self.subscription_id = f"/subscriptions/{workspace.subscription_id}"
        self.workspace: Once[Mapping[str, Any]] = Once(self._workspace)
        self.endpoint: Once[Mapping[str, Any] | None] = Once(lambda: arm.get(self.endpoint_id, ML))
        self.observed: Once[Endpoint | None] = Once(platform.observe)
        self.sizes: Once[dict[str, Size]] = Once(lambda: read_sizes(self._of_region("vmSizes")))
        self.usages: Once[tuple[Usage, ...]] = Once(lambda: read_usages(self._of_region("usages"), workspace.name))
        self.registries: Once[dict[str, str]] = Once(self._registries)
        """Id by lower-case name of each registry that is seen in the subscription."""
        self.diagnostics: Once[list[dict[str, Any]]] = Once(self._diagnostics)
        self._resources: dict[str, Once[Mapping[str, Any] | None]] = {}
        self._lock = threading.Lock()

    @property
    def region(self) -> str:
        """Of the workspace, as ``westeurope``."""
        return str(self.workspace().get("location", "")).replace(" ", "").lower()

    def resource(self, resource_id: str, api_version: str) -> Mapping[str, Any] | None:
        """Read any other resource; None: it does not exist."""
        with self._lock:
            read = partial(self._arm.get, resource_id, api_version)
            once = self._resources.setdefault(resource_id, Once(read))
        return once()

    def permissions(self, scope: str) -> list[dict[str, Any]]:
        """Read what this identity may do at ``scope``."""
        return self._arm.list(f"{scope}/providers/Microsoft.Authorization/permissions", PERMISSIONS)

    def deployment(self, name: str) -> Mapping[str, Any] | None:
        """Read a deployment as ARM has it."""
        return self.resource(f"{self.endpoint_id}/deployments/{name}", ML)

    def _workspace(self) -> Mapping[str, Any]:
        found = self._arm.get(self.where.id, ML)
        if found is None:
            raise NotFoundError(
                f"there is no workspace {self.where.name} in resource group {self.where.resource_group}",
                hint="Check subscription_id, resource_group and workspace.",
            )
        return found

    def _of_region(self, what: str) -> list[dict[str, Any]]:
        path = f"{self.subscription_id}/providers/Microsoft.MachineLearningServices/locations/{self.region}/{what}"
        return self._arm.list(path, ML)

    def _registries(self) -> dict[str, str]:
        try:
            found = self._arm.list(f"{self.subscription_id}/providers/Microsoft.MachineLearningServices/registries", ML)
        except DeniedError:  # who may see one of them may still not list them all
            return {}
        return {str(each.get("name")).lower(): str(each.get("id")) for each in found}

    def _diagnostics(self) -> list[dict[str, Any]]:
        return self._arm.list(f"{self.endpoint_id}/providers/Microsoft.Insights/diagnosticSettings", DIAGNOSTICS)
