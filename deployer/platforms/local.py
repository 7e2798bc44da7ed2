"""The embedded local platform behind the platform port: Envoy and Azure ML's own model server on this machine.

The endpoint outlives the command: a daemon owns its processes, and every call here is one request to it. A call starts
the daemon when the endpoint exists and nothing runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from deployer.errors import ConflictError, NotFoundError
from deployer.local import lifecycle
from deployer.local.client import LocalClient
from deployer.ports.platform import (
    Capabilities,
    Deployment,
    DeploymentSpec,
    DeploymentState,
    Endpoint,
    ScoringTarget,
    Traffic,
)

_CAPABILITIES = Capabilities(
    platform="local",
    mirror=True,
    mirror_max_pct=50,
    max_deployments=20,
    compare_and_set=True,
    typical_shift_s=0.1,
    restore_reserve_s=20.0,
    poll_s=0.5,
    beat_s=10.0,
    stale_after_s=45.0,  # four missed beats and a slow write
    typical_deploy_s=0.0,
    autoscaling=False,
)


class LocalPlatform:
    """One local endpoint, kept under ``home`` (``$DEPLOYER_HOME``)."""

    def __init__(self, endpoint: str, home: Path) -> None:
        """Fix which endpoint; touches nothing.

        Raises:
            PlatformError: ``endpoint`` is not a valid name.
        """
        self.client = LocalClient(endpoint, home)
        self._home = home

    @property
    def capabilities(self) -> Capabilities:
        """What this platform can do."""
        return _CAPABILITIES

    def observe(self, *, why: bool = True) -> Endpoint | None:
        """Read traffic from Envoy itself, the rest from the daemon."""
        if not self.client.exists():
            return None
        found = self.client.call("observe")
        return None if found is None else _endpoint(found)

    def ensure_endpoint(self, document: Mapping[str, Any]) -> None:
        """Create the endpoint, or take over a changed document."""
        self.client.call("ensure_endpoint", document=dict(document))

    def create_deployment(self, spec: DeploymentSpec) -> None:
        """Copy code and model, and start the instances."""
        self.client.call(
            "create_deployment",
            name=spec.name,
            document=dict(spec.document),
            base_dir=str(spec.base_dir.absolute()),
            digest=spec.digest,
        )

    def set_traffic(
        self,
        traffic: Traffic,
        mirror: Traffic,
        *,
        expect: Mapping[str, str | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        force: bool = False,
    ) -> None:
        """Write Envoy's route table and wait until Envoy reports it. The tags come first: who holds them may write."""
        if tags:
            self.set_tags(tags, expect=expect)
            expect = tags
        self.client.call(
            "set_traffic",
            traffic=dict(traffic),
            mirror=dict(mirror),
            expect=None if expect is None else dict(expect),
            **({"force": True} if force else {}),  # a daemon of an older version knows no such word
        )

    def set_tags(self, tags: Mapping[str, str | None], *, expect: Mapping[str, str | None] | None = None) -> None:
        """Compare and merge in one step."""
        self.client.call("set_tags", tags=dict(tags), expect=None if expect is None else dict(expect))

    def delete_deployment(self, name: str) -> None:
        """Take it out of the routes, drain it, end it."""
        self.client.call("delete_deployment", name=name)

    def delete_endpoint(self) -> None:
        """End its processes and forget what is recorded of it, traffic log included."""
        endpoint = self.observe()
        if endpoint is None:
            return
        if endpoint.deployments:
            raise ConflictError(
                f"endpoint {endpoint.name} holds {', '.join(endpoint.deployments)}",
                hint="Delete its deployments first.",
            )
        lifecycle.down(self._home, endpoint.name, forget=True)

    def scale_deployment(self, name: str, instances: int) -> None:
        """Start or drain instances."""
        self.client.call("scale_deployment", name=name, instances=instances)

    def match_scaling(self, name: str, like: str) -> str:
        """Do nothing: instances here are as many as were asked for."""
        return f"there is no autoscaling on this machine: {name} needs no rules of {like}"

    def release_scaling(self, name: str) -> None:
        """Do nothing: nothing was held."""

    def recreate_deployment(self, name: str, digest: str) -> None:
        """Start the instances again from the snapshot of ``digest``."""
        self.client.call("recreate_deployment", name=name, digest=digest)

    def logs(self, name: str, *, lines: int = 100) -> str:
        """Return what the instances printed."""
        try:
            return self.client.call("logs", name=name, lines=lines)
        except NotFoundError:
            return ""

    def scoring_target(self) -> ScoringTarget:
        """Address and key of the endpoint."""
        found = self.client.call("scoring_target")
        return ScoringTarget(found["url"], found["headers"])

    def invalidate(self) -> None:
        """Do nothing: the key is read each time."""


def _endpoint(found: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        name=found["name"],
        uid=found["uid"],
        scoring_url=found["scoring_url"],
        traffic=found["traffic"],
        mirror=found["mirror"],
        deployments={name: _deployment(each) for name, each in found["deployments"].items()},
        tags=found["tags"],
    )


def _deployment(found: Mapping[str, Any]) -> Deployment:
    return Deployment(
        name=found["name"],
        state=DeploymentState(found["state"]),
        digest=found["digest"],
        instances_ready=found["instances_ready"],
        instances_wanted=found["instances_wanted"],
        message=found["message"],
        created_at=datetime.fromisoformat(found["created_at"]),
    )
