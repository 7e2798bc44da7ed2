"""Where deployments run and traffic is split: the one port that every platform implements.

Rules for every implementation, enforced by ``tests/contract``: each call is idempotent; a call that changes
something returns only once a read shows the change, and raises otherwise; what failed is said by the class of the
error; nothing waits without a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

Traffic = Mapping[str, int]
"""Deployment name -> integer percent. Names with 0 are left out; the sum is 0 or 100."""


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


@dataclass(frozen=True, slots=True)
class ScoringTarget:
    """Where and how to send a scoring request."""

    url: str
    headers: Mapping[str, str]
    """Authentication. Secret: never logged, never sent to another host."""


class Platform(Protocol):
    """One endpoint on one platform (the endpoint's name is fixed when the adapter is made)."""

    @property
    def capabilities(self) -> Capabilities:
        """What this platform can do; constant, no I/O."""
        ...

    def observe(self) -> Endpoint | None:
        """Read the endpoint as it is now; None when it does not exist. Changes nothing.

        Raises:
            TransientError: the platform did not answer in time. Nothing is known.
        """
        ...

    def ensure_endpoint(self, document: Mapping[str, Any]) -> None:
        """Make the endpoint exist as Azure ML YAML ``document`` says. Existing traffic and tags are kept."""
        ...

    def create_deployment(self, spec: DeploymentSpec) -> None:
        """Start creating ``spec`` at weight 0; return once the platform knows it (readiness: ``observe``).

        Idempotent: the same name with the same digest is left alone, unless it failed: then it is made anew.

        Raises:
            ConflictError: the name exists with another digest. Nothing changed.
            QuotaExceededError: no capacity. Nothing changed.
        """
        ...

    def set_traffic(self, traffic: Traffic, mirror: Traffic) -> None:
        """Replace the whole traffic and mirror map with one write; return once a read shows it. Idempotent.

        Raises:
            NotReadyError: a deployment with weight > 0 has no ready instance. Weights are unchanged.
            NotFoundError: a named deployment does not exist. Weights are unchanged.
            ConflictError: another operation is in flight. Weights are unknown: observe before retrying.
            TransientError: not verified in time. Weights are unknown: observe before retrying.
        """
        ...

    def set_tags(self, tags: Mapping[str, str | None], *, expect: Mapping[str, str | None] | None = None) -> None:
        """Merge ``tags`` into the endpoint's (None removes); traffic is untouched. Idempotent.

        Args:
            tags: keys and values of at most 256 characters.
            expect: what the named tags must hold now (None: absent), else nothing is written.

        Raises:
            ConflictError: ``expect`` does not hold. Nothing changed.
        """
        ...

    def delete_deployment(self, name: str) -> None:
        """Delete; silent when it is already gone. Drains what it is answering first.

        Raises:
            ConflictError: it has live or mirrored traffic. Nothing changed.
        """
        ...

    def scale_deployment(self, name: str, instances: int) -> None:
        """Set the number of instances (>= 0); return once accepted (readiness: ``observe``). Traffic is untouched."""
        ...

    def recreate_deployment(self, name: str, digest: str) -> None:
        """Start creating ``name`` again from what the platform recorded of ``digest``.

        Raises:
            NotFoundError: nothing is recorded of it.
            ConflictError: the name exists with another digest.
        """
        ...

    def logs(self, name: str, *, lines: int = 100) -> str:
        """Return the last ``lines`` lines of what the deployment printed; empty when there is nothing."""
        ...

    def scoring_target(self) -> ScoringTarget:
        """Where the endpoint is scored.

        Raises:
            NotFoundError: the endpoint does not exist.
        """
        ...
