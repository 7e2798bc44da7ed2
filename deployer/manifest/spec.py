"""A manifest together with all that it refers to: what plan, engine and platforms work from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.manifest.azureml import DeploymentSource, EndpointSource
from deployer.manifest.schema import Manifest


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """One rollout, read and checked; nothing in it depends on the disk any more but code and model files."""

    manifest: Manifest
    path: Path
    """The manifest as it was named."""
    root: Path
    """Nearest directory above the manifest that holds ``.git``, else its own: no local path leads out of it."""
    endpoint: EndpointSource
    deployment: DeploymentSource
    baseline: DeploymentSource | None
    payloads: Mapping[str, bytes]
    """Content of each request file, by its path as the manifest writes it."""
    schemas: Mapping[str, dict[str, Any]]
    """Each JSON schema, by its path as the manifest writes it."""
    digest: str
    """Hex SHA-256 of all of the above: two loads with the same digest are the same rollout."""
