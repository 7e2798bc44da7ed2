"""A configuration of a deployment: what a profile compares, and which field of the document each word stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.manifest.azureml import DeploymentSource
from deployer.manifest.schema import PlatformType
from deployer.manifest.sources import digest_of

WORKERS = "WORKER_COUNT"
"""Environment variable of Azure ML's inference server (learn.microsoft.com, how-to-deploy-online-endpoints)."""
CONCURRENCY = "max_concurrent_requests_per_instance"
LOCAL_CORE = "local-core-hour"
CLUSTER_CORE = "cluster-core-hour"
RATES = (LOCAL_CORE, CLUSTER_CORE)
"""Prices that are no instance type's: a core of this machine, and a core (with 4 GiB) of a cluster, for an hour."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a candidate sets; hashable, so that it names itself."""

    instance_count: int
    workers: int
    max_concurrent_requests_per_instance: int
    instance_type: str | None = None
    """None: the platform has one size."""
    resources: str | None = None
    """``resources`` of the document as canonical JSON; None: it has none, or the platform does not read them."""

    def applied(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Give ``document`` with this configuration: every other field, unknown ones too, stays."""
        changed: dict[str, Any] = dict(document)
        changed["instance_count"] = self.instance_count
        variables: dict[str, Any] = changed.get("environment_variables") or {}
        changed["environment_variables"] = {**variables, WORKERS: str(self.workers)}
        settings: dict[str, Any] = changed.get("request_settings") or {}
        changed["request_settings"] = {**settings, CONCURRENCY: self.max_concurrent_requests_per_instance}
        if self.instance_type is not None:
            changed["instance_type"] = self.instance_type
        if self.resources is not None:
            changed["resources"] = json.loads(self.resources)
        return changed

    def record(self) -> dict[str, Any]:
        """Write it as JSON-able data, in the words of a profile; what the platform does not know is left out."""
        written: dict[str, Any] = {} if self.instance_type is None else {"instance_type": self.instance_type}
        written |= {
            "instance_count": self.instance_count,
            "workers": self.workers,
            CONCURRENCY: self.max_concurrent_requests_per_instance,
        }
        return written if self.resources is None else written | {"resources": json.loads(self.resources)}

    def __str__(self) -> str:
        """``Standard_F4s_v2 x 3, 4 workers, 8 in flight``."""
        size = self.instance_type or "instance"
        plural = "" if self.instance_type or self.instance_count == 1 else "s"
        named = f"{size} x {self.instance_count}" if self.instance_type else f"{self.instance_count} {size}{plural}"
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        said = f"{named}, {workers}, {self.max_concurrent_requests_per_instance} in flight"
        if self.resources is None:
            return said
        asked = json.loads(self.resources).get("requests", {})
        return f"{said}, {' '.join(f'{key} {value}' for key, value in asked.items())}"


def configuration_of(document: Mapping[str, Any], platform: PlatformType) -> Configuration:
    """Read the configuration that a deployment document has, with Azure's defaults."""
    source = DeploymentSource(None, document, Path(), "")
    written = source.environment_variables.get(WORKERS, "1")
    resources = document.get("resources")
    return Configuration(
        instance_count=source.instance_count,
        workers=int(written) if written.isascii() and written.isdigit() and 0 < len(written) < 6 else 1,
        max_concurrent_requests_per_instance=source.request_settings.max_concurrent_requests_per_instance,
        instance_type=None if platform is PlatformType.LOCAL else source.instance_type,
        resources=canonical(resources) if platform is PlatformType.KUBERNETES and resources else None,
    )


def canonical(resources: Any) -> str:
    """Write ``resources`` so that equal ones are equal text."""
    return json.dumps(resources, sort_keys=True, separators=(",", ":"))


def digest_with(digest: str, configuration: Configuration) -> str:
    """Hex SHA-256 that names the version ``digest`` of a template in ``configuration``."""
    return digest_of({"template": digest, "configuration": configuration.record()})
