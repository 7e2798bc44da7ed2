"""What ARM's documents say, as the engine wants to know it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from deployer.platforms.online.endpoint_resource import BUSY, properties, shares, state_of, tags_of
from deployer.rollout.endpoint import Deployment, DeploymentState, Endpoint
from deployer.rollout.tags import DIGEST

RECORD_PREFIX = "deployer.spec."
"""Tags that hold recorded specifications: of no interest to whoever observes."""
LATER_S = 5.0
"""A deployment that was modified this long after it was created is being changed, not made (recordings 03, 04: the
two times are equal, or differ by microseconds)."""


def instant(text: object) -> datetime | None:
    """Read one of ARM's times (up to seven digits of a second); None when it is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def read_endpoint(
    document: Mapping[str, Any], deployments: Mapping[str, Deployment], *, unproven: bool = False
) -> Endpoint:
    """Read an endpoint. Traffic bears the names of the deployments, however the service writes them there.

    Args:
        document: as ARM shows it.
        deployments: by name.
        unproven: what became of our last write of traffic is not known.
    """
    names = {name.lower(): name for name in deployments}

    def named(key: str) -> dict[str, int]:
        return {names.get(name.lower(), name): share for name, share in shares(document, key).items()}

    return Endpoint(
        name=str(document.get("name") or ""),
        uid=f"{str(document.get('id')).lower()}@{_created(document)}",
        scoring_url=str(properties(document).get("scoringUri") or ""),
        traffic=named("traffic"),
        mirror=named("mirrorTraffic"),
        deployments=deployments,
        tags={key: value for key, value in tags_of(document).items() if not key.startswith(RECORD_PREFIX)},
        settling=unproven or state_of(document) in BUSY,
    )


def name_of(document: Mapping[str, Any]) -> str:
    """Name of a deployment."""
    return str(document.get("name") or "").rpartition("/")[2]


def elastic_limits(document: Mapping[str, Any]) -> tuple[int, int] | None:
    """Least and most instances of a deployment that grows with its utilization (Kubernetes); None: it does not.

    Source: reference-yaml-deployment-kubernetes-online (scale_settings; 1 when nothing is said).
    """
    scale = cast("dict[str, Any]", properties(document).get("scaleSettings") or {})
    if str(scale.get("scaleType") or "").lower() != "targetutilization":
        return None
    least = int(scale.get("minInstances") or 1)
    return least, max(least, int(scale.get("maxInstances") or 1))


def capacity_of(document: Mapping[str, Any]) -> int:
    """Instances that a deployment is to have; the least of them, where it grows by itself."""
    if (limits := elastic_limits(document)) is not None:
        return limits[0]
    sku = cast("dict[str, Any]", document.get("sku") or {})
    return int(sku.get("capacity") or 0)


def digest_of(document: Mapping[str, Any]) -> str | None:
    """Version that deployer put there; None: it did not."""
    return tags_of(document).get(DIGEST)


def created_at(document: Mapping[str, Any]) -> datetime | None:
    """When it was made."""
    return instant(_created(document))


def read_deployment(document: Mapping[str, Any], *, serving: int, message: str) -> Deployment:
    """Read a deployment.

    Args:
        document: as ARM shows it.
        serving: instances that are known to serve while it is not ``Succeeded``: those it had before it was changed,
            at least one when it has traffic, 0 when nothing is known: that it is changed or scaled proves no instance,
            for it may have been at 0.
        message: why it is not ready, or what it does.
    """
    wanted, state = capacity_of(document), _STATES.get(state_of(document), DeploymentState.CREATING)
    if state is DeploymentState.CREATING and serving:
        state = DeploymentState.DEGRADED
    is_ready = state is DeploymentState.READY
    return Deployment(
        name=name_of(document),
        state=state,
        digest=digest_of(document),
        instances_ready=wanted if is_ready else 0 if state is DeploymentState.DELETING else min(serving, wanted),
        instances_wanted=wanted,
        message=message,
        created_at=created_at(document),
    )


def was_up(document: Mapping[str, Any]) -> bool:
    """Whether it ran before what is being done to it now: only then can it be scaled or changed."""
    state = state_of(document)
    if state == "scaling":
        return True
    made = created_at(document)
    changed = instant(cast("dict[str, Any]", document.get("systemData") or {}).get("lastModifiedAt"))
    return (
        state == "updating" and made is not None and changed is not None and (changed - made).total_seconds() > LATER_S
    )


_STATES = {
    "succeeded": DeploymentState.READY,
    "creating": DeploymentState.CREATING,
    "updating": DeploymentState.CREATING,
    "scaling": DeploymentState.CREATING,
    "deleting": DeploymentState.DELETING,
    "failed": DeploymentState.FAILED,
    "canceled": DeploymentState.FAILED,
}
"""By provisioning state; one that nobody knows yet is not ready."""


def _created(document: Mapping[str, Any]) -> str:
    return str(cast("dict[str, Any]", document.get("systemData") or {}).get("createdAt") or "")
