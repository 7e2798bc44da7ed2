"""What rollouts can leave behind on Azure beside deployments: autoscale settings, holds, recorded versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from deployer.cloud.arm import Arm
from deployer.errors import ConflictError, DeniedError, PlatformError
from deployer.platforms.inspection.capacity import price
from deployer.platforms.inspection.facts import ML, Facts
from deployer.platforms.online.autoscale import API as AUTOSCALE
from deployer.platforms.online.autoscale import HELD
from deployer.platforms.online.endpoint_resource import properties, tags_of
from deployer.platforms.online.specification import stale
from deployer.ports.inspection import Leftover, LeftoverKind, Price
from deployer.ports.platform import Endpoint, Platform
from deployer.rollout.tags import GOOD, PREVIOUS, marks_of, revision_of


class AzureCaretaker:
    """Left-overs of one managed or Kubernetes endpoint (implements ``ports.inspection.Caretaker``).

    Args:
        arm: asks and deletes.
        facts: of the endpoint.
        platform: of the endpoint; releases holds and removes tags.
        today: the day, for prices.
        fetch: reads JSON from the public price list; None: its prices do not hold in this cloud.
    """

    def __init__(
        self,
        arm: Arm,
        facts: Facts,
        platform: Platform,
        today: Callable[[], date],
        fetch: Callable[[str], Any] | None,
    ) -> None:
        self._arm = arm
        self._facts = facts
        self._platform = platform
        self._today = today
        self._fetch = fetch

    def find(self, endpoint: Endpoint) -> Sequence[Leftover]:
        """List settings without a deployment, holds without a rollout, and records that nobody returns to."""
        return (*self._settings(endpoint), *self._records(endpoint))

    def remove(self, leftover: Leftover) -> None:
        """Look again, then remove it."""
        endpoint = self._platform.observe()
        if endpoint is None:
            return
        if leftover.name not in {each.name for each in self.find(endpoint) if each.kind is leftover.kind}:
            if leftover.kind is LeftoverKind.HOLD and self._is_active(endpoint):
                raise ConflictError(f"a rollout holds {leftover.name}", hint="Run gc again when it has ended.")
            return
        match leftover.kind:
            case LeftoverKind.AUTOSCALE:
                self._arm.delete(f"{self._settings_path}/{leftover.name}", AUTOSCALE)
            case LeftoverKind.HOLD:
                self._platform.release_scaling(leftover.name)
            case LeftoverKind.RECORD:
                keys = [key for key in self._stale(endpoint) if _record_name(key) == leftover.name]
                self._platform.set_tags(dict.fromkeys(keys))
            case LeftoverKind.DEPLOYMENT:
                self._platform.delete_deployment(leftover.name)
            case LeftoverKind.ENDPOINT:
                self._platform.delete_endpoint()

    def usd_per_hour(self, deployment: str) -> Price | None:
        """Price of an instance of ``deployment``; None too when Azure does not say now."""
        try:
            held = properties(self._facts.deployment(deployment) or {})
            if str(held.get("endpointComputeType", "Managed")).lower() != "managed" or not held.get("instanceType"):
                return None
            return price(str(held["instanceType"]), self._facts, self._today(), self._fetch)
        except PlatformError:
            return None

    @property
    def _settings_path(self) -> str:
        return f"{self._facts.group_id}/providers/Microsoft.Insights/autoscalesettings"

    def _settings(self, endpoint: Endpoint) -> list[Leftover]:
        try:
            settings = self._arm.list(self._settings_path, AUTOSCALE)
        except DeniedError:
            return []  # who may not see them has made none
        names = {name.lower(): name for name in endpoint.deployments}
        found: list[Leftover] = []
        for setting in settings:
            deployment = self._target(setting)
            if deployment is None:
                continue
            name = str(setting.get("name") or "")
            if deployment not in names:
                if name.lower() == f"{self._facts.where.name}-{endpoint.name}-{deployment}".lower():
                    why = f"scales deployment {deployment}, which is gone"
                    found.append(Leftover(LeftoverKind.AUTOSCALE, name, why))
            elif tags_of(setting).get(HELD) and not self._is_active(endpoint):
                why = "is kept from shrinking, and no rollout is under way"
                found.append(Leftover(LeftoverKind.HOLD, names[deployment], why))
        return found

    def _target(self, setting: Mapping[str, Any]) -> str | None:
        """Lower-case name of the endpoint's deployment that ``setting`` scales; None: something else."""
        target = str(properties(setting).get("targetResourceUri") or "").lower()
        prefix = f"{self._facts.endpoint_id}/deployments/".lower()
        return target.removeprefix(prefix) if target.startswith(prefix) else None

    def _records(self, endpoint: Endpoint) -> list[Leftover]:
        counts: dict[str, int] = {}
        for key in self._stale(endpoint):
            counts[_record_name(key)] = counts.get(_record_name(key), 0) + 1
        return [
            Leftover(LeftoverKind.RECORD, name, f"version that nobody returns to, in {count} of the endpoint's tags")
            for name, count in sorted(counts.items())
        ]

    def _stale(self, endpoint: Endpoint) -> list[str]:
        if self._is_active(endpoint):
            return []  # a rollout may be about to need any of them
        document = self._arm.get(self._facts.endpoint_id, ML)
        revisions = [revision_of(endpoint.tags.get(tag)) for tag in (GOOD, PREVIOUS)]
        deployed = [each.digest for each in endpoint.deployments.values()]
        kept = [*deployed, *(revision.digest for revision in revisions if revision)]
        return stale(tags_of(document or {}), [digest for digest in kept if digest])

    @staticmethod
    def _is_active(endpoint: Endpoint) -> bool:
        marks = marks_of(endpoint.tags)
        return marks is not None and marks.is_active


def _record_name(key: str) -> str:
    """``deployer.spec.0a1b2c3d4e5f.0`` is part of ``0a1b2c3d4e5f``."""
    return key.split(".")[2] if key.count(".") >= 2 else key
