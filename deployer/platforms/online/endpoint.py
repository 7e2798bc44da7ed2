"""An Azure ML online endpoint behind the platform port: what managed and Kubernetes endpoints share.

Documents are compiled and local files uploaded by azure-ai-ml (``azureml``); everything else is plain ARM, because the
SDK polls every 30 s, prints, loses fields and believes what operations say of themselves (WIRE 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Cloud, Workspace
from deployer.errors import DeniedError, NotFoundError, PlatformError, QuotaExceededError
from deployer.platforms.online.autoscale import Autoscale
from deployer.platforms.online.deployment_write import MAKE_BUSY_S, DeploymentWrite, require_idle, require_version
from deployer.platforms.online.endpoint_create import EndpointCreate
from deployer.platforms.online.endpoint_delete import delete_empty
from deployer.platforms.online.endpoint_resource import Deadline, EndpointResource, shares, state_of, tags_of
from deployer.platforms.online.progress import Progress
from deployer.platforms.online.reading import (
    created_at,
    digest_of,
    elastic_limits,
    name_of,
    read_deployment,
    read_endpoint,
)
from deployer.platforms.online.scoring import Scoring
from deployer.platforms.online.specification import record, recorded, stale
from deployer.platforms.online.tag_write import TAGS_MAX, TagWrite, check_tags
from deployer.platforms.online.traffic_write import TrafficWrite, check_split
from deployer.ports.clock import Clock
from deployer.ports.platform import (
    Capabilities,
    Deployment,
    DeploymentSpec,
    DeploymentState,
    Endpoint,
    ScoringTarget,
    Traffic,
)

if TYPE_CHECKING:  # azure.core takes 0.3 s to import
    from azure.core.credentials import TokenCredential

RECENT_S = 10.0
"""Whoever decides has just observed: what was ready then need not be asked for again right before the write."""
SPARE_TAGS = 14
"""Of the 50 tags of an endpoint, kept free for the rollout's own and for those of people."""


class Assets(Protocol):
    """Makes the body of a deployment's PUT (``deployer.platforms.online.azureml.AzureMl``)."""

    def compile(
        self, document: Mapping[str, Any], base_dir: Path, *, endpoint: str, name: str, note: Callable[[str], None]
    ) -> dict[str, Any]:
        """Upload what is local, resolve what is named, send nothing else; tell ``note`` of it, from another thread."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of online endpoint differs from the other: data."""

    capabilities: Capabilities
    containers: tuple[str, ...]
    """Containers whose logs can be read."""
    has_monitor_autoscale: bool
    """Autoscaling is a setting of Azure Monitor beside the deployment, which can be changed; else part of it."""
    on_cluster: bool
    """It lives on a cluster of one's own: it may be scored at a private address and over plain http."""


def _ignore(_text: str) -> None:
    """Tell nobody."""


class OnlineEndpoint:
    """One online endpoint (implements ``ports.platform.Platform``); a subclass says of which kind.

    Args:
        name: of the endpoint.
        arm: the way to ARM.
        cloud: whose hosts may see a key.
        workspace: where it lives.
        credential: who asks.
        clock: by which is waited.
        assets: compiles deployment documents; None: azure-ai-ml, imported when first needed.
        note: told what users should know and no answer says: uploads, what is not recorded or was ignored.
    """

    kind: ClassVar[Kind]

    def __init__(
        self,
        name: str,
        *,
        arm: Arm,
        cloud: Cloud,
        workspace: Workspace,
        credential: TokenCredential,
        clock: Clock,
        assets: Assets | None = None,
        note: Callable[[str], None] = _ignore,
    ) -> None:
        self._note = note
        self._azure = (cloud, workspace, credential)
        self._assets = assets
        self._resource = EndpointResource(name, arm, workspace, clock)
        self._progress = Progress(self._resource, self.kind.containers, note)
        self._create = EndpointCreate(self._resource, on_cluster=self.kind.on_cluster)
        self._traffic = TrafficWrite(self._resource, self._recent_deployments)
        self._tags = TagWrite(self._resource)
        self._writes = DeploymentWrite(self._resource, self._progress)
        self._scoring = Scoring(self._resource, cloud, credential, on_cluster=self.kind.on_cluster)
        self._autoscale = Autoscale(self._resource)
        self._served: dict[tuple[str, datetime | None], int] = {}
        """Instances that a deployment was last seen to serve with."""
        self._read: tuple[Deadline, dict[str, Deployment]] | None = None
        """What was read last, for ``RECENT_S`` or until it is changed from here."""
        self._asked: dict[str, int] = {}
        """Instances that a deployment with scale_settings will have as soon as its traffic needs them."""

    @property
    def capabilities(self) -> Capabilities:
        """What this platform can do."""
        return self.kind.capabilities

    def observe(self, *, why: bool = True) -> Endpoint | None:
        """Read endpoint and deployments: two calls, and a few more for ``why`` one is not ready."""
        document = self._resource.read()
        if document is None:
            return None
        found = self._read_deployments(document, why=why)
        return read_endpoint(document, found, unproven=self._traffic.is_unproven)

    def ensure_endpoint(self, document: Mapping[str, Any]) -> None:
        """Create the endpoint; one that exists is left alone. Takes one or two minutes."""
        self._create.ensure(document)

    def create_deployment(self, spec: DeploymentSpec) -> None:
        """Upload and compile the version, record it in the endpoint's tags, and start making it."""
        digests = self._must_make(spec.name, spec.digest)
        if digests is not None:
            document = {"type": self.capabilities.platform, **spec.document}
            body = self._compiler().compile(
                document,
                spec.base_dir,
                endpoint=self._resource.name,
                name=spec.name,
                note=lambda text: self._note(f"{spec.name}: {text}"),
            )
            self._record(spec.name, body, spec.digest, digests)
            self._make(spec.name, body, spec.digest)

    def recreate_deployment(self, name: str, digest: str) -> None:
        """Start making ``name`` again as the endpoint's tags say that ``digest`` was."""
        tags = tags_of(self._resource.require())
        known = recorded(tags, digest, home=self._resource.workspace.id)
        there = self._find(name)
        if there is not None:
            require_version(name, there, digest)
        if known is None or known.missing:
            lacking = f" but for {', '.join(known.missing)}" if known else ""
            raise NotFoundError(
                f"endpoint {self._resource.name} has no record of version {digest[:12]}{lacking}",
                hint="Deploy it again from its manifest.",
            )
        if self._must_make(name, digest) is not None:
            self._make(name, known.body, digest)

    def set_traffic(
        self,
        traffic: Traffic,
        mirror: Traffic,
        *,
        expect: Mapping[str, str | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        force: bool = False,
    ) -> None:
        """Write the whole map with one PUT of the endpoint; return once two reads show it, usually in 20 to 70 s."""
        check_tags(tags or {})
        self._traffic.write(check_split(traffic, mirror, self.capabilities), expect, tags=tags or {}, force=force)

    def set_tags(self, tags: Mapping[str, str | None], *, expect: Mapping[str, str | None] | None = None) -> None:
        """Compare and merge; checked, not atomic: Azure has no ETag."""
        self._tags.write(tags, expect)

    def delete_deployment(self, name: str) -> None:
        """Delete the deployment and its autoscale setting; return once it is gone, often after minutes."""
        endpoint = self._resource.require()
        if self._find(name) is None:
            return
        require_idle(endpoint, name)
        if self.kind.has_monitor_autoscale:
            with suppress(DeniedError):  # who may not see autoscale rules has made none with deployer
                self._autoscale.delete(name)
        self._read = None
        self._writes.delete(name)

    def delete_endpoint(self) -> None:
        """Delete the endpoint; return once it is gone, after a minute or two."""
        delete_empty(self._resource)

    def scale_deployment(self, name: str, instances: int) -> None:
        """Set the number of instances, and the least that rules keep; who gets the fewest has its rules off."""
        self._read = None
        endpoint = self._resource.require() if instances else self._resource.settled()
        live = {**shares(endpoint, "traffic"), **shares(endpoint, "mirrorTraffic")}
        has_traffic = name.lower() in {each.lower() for each in live}
        if not self.kind.has_monitor_autoscale and self._is_elastic(name, instances):
            return
        kept = max(instances, self.capabilities.least_instances)
        if instances or has_traffic:
            self._writes.scale(name, instances, has_traffic=has_traffic)
        else:
            self._shrink(name, kept)
        self._served = {
            key: min(served, kept) if key[0].lower() == name.lower() else served for key, served in self._served.items()
        }
        if self.kind.has_monitor_autoscale and instances:
            with suppress(DeniedError):
                self._autoscale.require(name, instances)

    def _shrink(self, name: str, instances: int) -> None:
        """Take instances away, with the rules off that would give them back; on again where that fails."""
        if not self.kind.has_monitor_autoscale:
            self._writes.scale(name, instances, has_traffic=False)
            return
        with suppress(DeniedError):
            self._autoscale.pause(name)
        try:
            self._writes.scale(name, instances, has_traffic=False)
        except PlatformError:
            with suppress(PlatformError):
                self._autoscale.resume(name)
            raise

    def _is_elastic(self, name: str, instances: int) -> bool:
        """Whether ``name`` grows by its own scale_settings, which then have to allow ``instances``.

        Raises:
            QuotaExceededError: they do not.
        """
        found = self._find(name)
        limits = elastic_limits(found) if found is not None else None
        if limits is None:
            return False
        least, most = limits
        if not 0 < instances <= most:
            raise QuotaExceededError(
                f"{instances} instances of {name}, whose scale_settings keep {least} to {most}",
                hint="Deploy it with other scale_settings.",
            )
        self._asked[name.lower()] = instances
        return True

    def match_scaling(self, name: str, like: str) -> str:
        """Copy autoscale rules and hold the instances of ``like``."""
        if not self.kind.has_monitor_autoscale:
            return f"instances of {like} are scaled by its own scale_settings, which cannot be changed while it is live"
        return self._autoscale.match(name, like)

    def release_scaling(self, name: str) -> None:
        """Undo the hold."""
        if self.kind.has_monitor_autoscale:
            self._autoscale.release(name)

    def logs(self, name: str, *, lines: int = 100) -> str:
        """Return the end of what the containers printed, each under its name."""
        texts = {each: self._progress.logs(name, each, lines).rstrip() for each in self.kind.containers}
        shown = [
            f"== {each} ==\n{text}" if len(self.kind.containers) > 1 else text for each, text in texts.items() if text
        ]
        return "\n".join("\n".join(shown).splitlines()[-lines:]) if lines > 0 else ""

    def scoring_target(self) -> ScoringTarget:
        """Address and key, kept for ten minutes."""
        return self._scoring.target()

    def invalidate(self) -> None:
        """Forget the key, because the scoring host refused it."""
        self._scoring.invalidate()

    def _compiler(self) -> Assets:
        if self._assets is None:
            from deployer.platforms.online.azureml import AzureMl  # noqa: PLC0415 - 2 s, for the few commands that deploy

            self._assets = AzureMl(*self._azure)
        return self._assets

    def _make(self, name: str, body: Mapping[str, Any], digest: str) -> None:
        self._read = None
        self._writes.make(name, body, digest)
        self._progress.compare(name, body)

    def _find(self, name: str) -> dict[str, Any] | None:
        """Read one deployment; absent is what neither a read nor a list knows."""
        return self._resource.deployment(name) or _named(name, self._resource.deployments())

    def _must_make(self, name: str, digest: str) -> list[str] | None:
        """Make room for a version; return what else is deployed, by digest. None: it is there and did not fail.

        Raises:
            ConflictError: the name belongs to another version.
            QuotaExceededError: there are as many deployments as there can be.
        """
        self._resource.require()
        found, there = self._resource.deployment(name), self._resource.deployments()
        found, most = found or _named(name, there), self.capabilities.max_deployments
        if found is None and len(there) >= most:
            raise QuotaExceededError(
                f"endpoint {self._resource.name} has {len(there)} deployments, of {most} at most",
                hint="Delete one that is not needed.",
            )
        if found is not None and state_of(found) != "deleting":
            require_version(name, found, digest)
            if state_of(found) not in {"failed", "canceled"}:
                return None
        if found is not None:
            self._read = None
            self._writes.delete(name)
        return [each for document in there if (each := digest_of(document))]

    def _record(self, name: str, body: Mapping[str, Any], digest: str, deployed: list[str]) -> None:
        """Keep what is needed to make the version again, before it exists; drop what nobody can ask for any more."""
        tags = tags_of(self._resource.require())
        told = "|".join(value for key, value in tags.items() if not key.startswith("deployer.spec."))
        old = [key for key in stale(tags, [digest, *deployed]) if key.split(".")[2] not in told]
        recording = record(
            body, digest, room=TAGS_MAX - SPARE_TAGS - (len(tags) - len(old)), home=self._resource.workspace.id
        )
        if recording.problem or recording.omitted:
            why = recording.problem or f"{', '.join(recording.omitted)} looks like a secret and is not recorded"
            self._progress.note(name, f"{name} cannot be made again once it is deleted: {why}")
        wanted: dict[str, str | None] = {**dict.fromkeys(old), **recording.tags}
        if any(tags.get(key) != value for key, value in wanted.items()):
            self._tags.write(wanted, None, within_s=MAKE_BUSY_S)  # as long as what it is the first half of

    def _read_deployments(self, endpoint: Mapping[str, Any], *, why: bool = False) -> dict[str, Deployment]:
        live = {name.lower() for name in shares(endpoint, "traffic")}
        listed = {name_of(each).lower(): each for each in self._resource.deployments()}
        for name in live - listed.keys():  # a list that lags
            if (found := self._resource.deployment(name)) is not None:
                listed[name] = found
        read = [self._read_deployment(each, has_traffic=name in live, why=why) for name, each in listed.items()]
        known = {each.name: each for each in read}
        self._read = (Deadline(self._resource.clock, RECENT_S), known)
        return known

    def _recent_deployments(self, endpoint: Mapping[str, Any]) -> dict[str, Deployment]:
        """What takes traffic, as just observed; read again when that was a while ago or was changed since."""
        if (read := self._read) is not None and not read[0].has_passed:
            return read[1]
        return self._read_deployments(endpoint)

    def _read_deployment(self, document: Mapping[str, Any], *, has_traffic: bool, why: bool) -> Deployment:
        key = (name_of(document), created_at(document))
        serving = self._served.get(key, 1 if has_traffic else 0)
        message = self._progress.describe(document) if why else ""
        found = read_deployment(document, serving=serving, message=message)
        if state_of(document) == "succeeded" or found.instances_ready < serving:  # what is scaled down stays known
            self._served[key] = found.instances_ready
        asked = self._asked.get(found.name.lower(), 0)
        if asked > found.instances_wanted and elastic_limits(document) and found.state is DeploymentState.READY:
            return replace(found, instances_wanted=asked, instances_ready=asked)
        return found


def _named(name: str, documents: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((each for each in documents if name_of(each).lower() == name.lower()), None)
