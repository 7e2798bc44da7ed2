"""An endpoint as a platform reports it, and what a platform can do: the facts that decisions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

Traffic = Mapping[str, int]
"""Deployment name -> integer percent. Names with 0 are left out; the sum is 0 or 100."""


def in_words(traffic: Traffic) -> str:
    """Say who has how much: ``blue 80%, green 20%``."""
    return ", ".join(f"{name} {weight}%" for name, weight in sorted(traffic.items())) or "nothing"


class DeploymentState(StrEnum):
    """What a deployment can do now."""

    CREATING = "creating"
    READY = "ready"  # every wanted instance answers its readiness probe
    DEGRADED = "degraded"  # at least one instance answers, not all of them
    FAILED = "failed"  # will not become ready by itself
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform can do: data, checked when planning, before anything is touched."""

    platform: str
    mirror: bool
    mirror_max_pct: int
    max_deployments: int
    compare_and_set: bool
    """``set_tags(expect=...)`` is atomic. Azure has no ETag: there it is checked, not atomic."""
    typical_shift_s: float
    """What one verified traffic write usually takes, in seconds."""
    restore_reserve_s: float
    """Seconds of the deadline kept for the way back."""
    poll_s: float
    """How often a look is worth its cost while something changes by itself, in seconds."""
    beat_s: float
    """How often a living run renews its lease, in seconds."""
    stale_after_s: float
    """A lease that did not change for this long has no owner, in seconds: several beats, and, where tags cannot be
    written during a write of traffic, the longest one that does not make the endpoint busy."""
    typical_deploy_s: float
    """What the platform itself usually takes to make a deployment (machines, image), in seconds; 0: nothing."""
    typical_delete_s: float = 0.0
    """What it usually takes until a deployment that is removed costs nothing any more, in seconds."""
    autoscaling: bool = True
    """It may have rules that change the number of instances by themselves."""
    least_instances: int = 0
    """A deployment cannot have fewer: what is scaled down costs so many for as long as it is kept."""


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """A version to deploy: immutable, named by its digest."""

    name: str
    document: Mapping[str, Any]
    """Azure ML CLI v2 deployment YAML as parsed; relative paths are relative to ``base_dir``."""
    base_dir: Path
    digest: str
    """Hex SHA-256 over document, code and model contents."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment as the platform reports it."""

    name: str
    state: DeploymentState
    digest: str | None
    """None: not created by deployer, which therefore never deletes it."""
    instances_ready: int
    instances_wanted: int
    message: str = ""
    """Why it is not ready, or what it is doing: one line."""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One reading of an endpoint: everything the engine decides from."""

    name: str
    uid: str
    """Differs when the endpoint was deleted and made again under the same name."""
    scoring_url: str
    traffic: Traffic
    mirror: Traffic
    deployments: Mapping[str, Deployment] = field(default_factory=dict[str, Deployment])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    settling: bool = False
    """Traffic may be about to change: an operation is under way, or a write of ours has an unknown outcome."""
