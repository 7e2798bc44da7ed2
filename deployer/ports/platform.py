"""Where deployments run and traffic is split: the one port that every platform implements.

Rules for every implementation, enforced by ``tests/contract``: each call is idempotent; a call that changes
something returns only once a read shows the change, and raises otherwise; what failed is said by the class of the
error; nothing waits without a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from deployer.rollout.endpoint import Capabilities, Deployment, DeploymentSpec, DeploymentState, Endpoint, Traffic

__all__ = [
    "DEPLOYMENT_HEADER",
    "Capabilities",
    "Deployment",
    "DeploymentSpec",
    "DeploymentState",
    "Endpoint",
    "Platform",
    "ScoringTarget",
    "Traffic",
]

DEPLOYMENT_HEADER = "azureml-model-deployment"
"""In a request: the deployment to ask, whatever the weights. In an answer: the one that served it.

Source: learn.microsoft.com/azure/machine-learning/how-to-safely-rollout-online-endpoints (read 2025-11-22)
"""


@dataclass(frozen=True, slots=True)
class ScoringTarget:
    """Where and how to send a scoring request."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    """Authentication. Secret: never logged, never sent to another host."""
    in_clear: bool = False
    """The platform allows ``headers`` to be sent there over plain http: a cluster in a network of one's own."""


class Platform(Protocol):
    """One endpoint on one platform (the endpoint's name is fixed when the adapter is made)."""

    @property
    def capabilities(self) -> Capabilities:
        """What this platform can do; constant, no I/O."""
        ...

    def observe(self, *, why: bool = True) -> Endpoint | None:
        """Read the endpoint as it is now; None when it does not exist. Changes nothing.

        Args:
            why: also ask what deployments that are not ready do, or why they failed (``Deployment.message``), where
                that takes calls of its own.

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

    def set_traffic(
        self,
        traffic: Traffic,
        mirror: Traffic,
        *,
        expect: Mapping[str, str | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        force: bool = False,
    ) -> None:
        """Replace the whole traffic and mirror map with one write; return once a read shows it. Idempotent.

        Args:
            traffic: live percent by deployment.
            mirror: mirrored percent by deployment.
            expect: what the named tags must hold right before the write (None: absent), else nothing is written. Where
                there is no compare-and-set they are checked on the reading that the write is made from.
            tags: merged into the endpoint's with the same write, as by ``set_tags``.
            force: also to a deployment that has no ready instance.

        Raises:
            NotReadyError: a deployment with weight > 0 has no ready instance. Weights are unchanged.
            NotFoundError: a named deployment does not exist. Weights are unchanged.
            ConflictError: ``expect`` does not hold, or another operation is in flight. Weights are unknown: observe
                before retrying.
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

    def delete_endpoint(self) -> None:
        """Delete the endpoint, which holds no deployment any more; silent when it is already gone. Idempotent.

        Raises:
            ConflictError: it holds a deployment. Nothing changed.
        """
        ...

    def scale_deployment(self, name: str, instances: int) -> None:
        """Set the number of instances; return once accepted (readiness: ``observe``). Traffic is untouched.

        Args:
            name: the deployment.
            instances: how many; 0: as few as there can be (``Capabilities.least_instances``), and no rule adds to them.

        Raises:
            ConflictError: none, for a deployment with traffic. Nothing changed.
            NotFoundError: there is no such deployment.
            QuotaExceededError: more than there can be. Nothing changed.
        """
        ...

    def match_scaling(self, name: str, like: str) -> str:
        """Give ``name`` the autoscale rules of ``like``, and hold ``like`` at no fewer instances than it has now.

        Traffic and instances stay as they are. Idempotent.

        Returns:
            What was done, in one line; also when there was nothing to do.

        Raises:
            DeniedError: no right to read or write autoscale rules.
        """
        ...

    def release_scaling(self, name: str) -> None:
        """Undo the hold that ``match_scaling`` put on ``name``, and have its rules work again if they were off.

        Idempotent; silent without rules or without ``name``.
        """
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
        """Where the endpoint is scored; the key may be one that was read a while ago.

        Raises:
            NotFoundError: the endpoint does not exist.
        """
        ...

    def invalidate(self) -> None:
        """Read the key anew next time, because the scoring host refused it."""
        ...
