"""The endpoint: what may change it, and what must hold before and after.

Each change is checked first, then recorded, then made, then verified. The lock is held only for as long as that takes:
copying a model and draining a deployment happen outside it, so that the way back never waits behind them.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer.errors import (
    ConflictError,
    DeployerError,
    NotFoundError,
    NotReadyError,
    QuotaExceededError,
    TransientError,
)
from deployer.local.checks import check_split, check_tags
from deployer.local.deployments import Served, stop_all
from deployer.local.layout import Layout, check_name
from deployer.local.plane import Plane
from deployer.local.processes import utc_now
from deployer.local.record import Deployed, Record, load_record, save_record
from deployer.local.revisions import Revision, load_revision, prune_revisions, take_revision
from deployer.local.settings import check_instances

DEPLOYMENTS_MAX = 20
"""Deployments of one endpoint (Azure's limit: learn.microsoft.com, how-to-manage-quotas)."""


class Endpoint:
    """One endpoint: its record, and the plane that follows it."""

    def __init__(self, layout: Layout) -> None:
        """Read what is recorded; nothing runs before ``restore`` or ``ensure``.

        Raises:
            PlatformError: the record is damaged.
        """
        self.plane = Plane(layout)
        self._layout = layout
        self._record = load_record(layout)
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    @property
    def exists(self) -> bool:
        """Whether it was created."""
        return self._record is not None

    def restore(self) -> None:
        """Run again what the record says, if there is one."""
        if self._record is not None:
            self.plane.start(self._record)

    async def stop(self) -> None:
        """End everything that runs; the record stays."""
        for task in self._removals.values():
            task.cancel()
        await asyncio.gather(*self._removals.values(), return_exceptions=True)
        await self.plane.stop()

    async def ensure(self, document: Mapping[str, Any]) -> None:
        """Make it exist as ``document`` says; traffic, tags and key are kept."""
        async with self._lock:
            if self._record is not None:
                self._save(replace(self._record, document=document))
                return
            tags = {key: value for key, value in check_tags(document.get("tags") or {}).items() if value is not None}
            port = await self.plane.start_empty()
            try:
                record = Record(uuid.uuid4().hex, port, secrets.token_urlsafe(32), document, tags)
                await self.plane.apply(record, with_clusters=True)
                self._save(record)
            except DeployerError:
                await self.plane.stop()
                raise

    async def observe(self) -> dict[str, Any] | None:
        """What the platform port calls an ``Endpoint``, as JSON; None when it was never created."""
        if self._record is None:
            return None
        split = await self.plane.router.read_split()
        await self.plane.settle()
        record = self._record
        return {
            "name": self._layout.endpoint,
            "uid": record.uid,
            "scoring_url": _url(record),
            "traffic": dict(split.traffic),
            "mirror": dict(split.mirror),
            "tags": dict(record.tags),
            "deployments": {name: served.report() for name, served in self.plane.served.items()},
        }

    async def create_deployment(self, name: str, document: Mapping[str, Any], base_dir: str, digest: str) -> None:
        """Start a deployment at weight 0, from a snapshot taken now."""
        check_name(name, "deployment")
        self._check_free(name, digest)
        revision = await asyncio.to_thread(take_revision, self._layout, document, Path(base_dir), digest)
        await self._create(name, digest, revision)

    async def recreate_deployment(self, name: str, digest: str) -> None:
        """Start a deployment again from the snapshot of ``digest``."""
        check_name(name, "deployment")
        self._check_free(name, digest)
        await self._create(name, digest, load_revision(self._layout, digest))

    async def set_traffic(
        self,
        traffic: Mapping[str, Any],
        mirror: Mapping[str, Any],
        expect: Mapping[str, str | None] | None,
        force: bool = False,  # noqa: FBT001, FBT002 - by name, from another process
    ) -> None:
        """Replace the split if ``expect`` holds; return once Envoy reports it."""
        wanted = check_split(traffic, mirror)
        async with self._lock:
            record = self._existing()
            self._check_tags(record, expect)
            for name in [*wanted.traffic, *wanted.mirror]:
                served = self.plane.live(name)
                if not served.ready and not force:
                    raise NotReadyError(
                        f"deployment {name} has no ready instance ({served.message or 'scaled to 0'})",
                        hint="Wait until it is ready; weights are unchanged.",
                    )
            await self.plane.router.wait_live()
            found = await self._apply(replace(record, traffic=wanted.traffic, mirror=wanted.mirror))
            if found != wanted:
                raise TransientError(
                    f"the router reports {dict(found.traffic)} instead of {dict(wanted.traffic)}",
                    hint="Observe before repeating.",
                )

    async def set_tags(self, tags: Mapping[str, Any], expect: Mapping[str, str | None] | None) -> None:
        """Merge tags if ``expect`` holds; compare and write are one step."""
        checked = check_tags(tags)
        async with self._lock:
            record = self._existing()
            self._check_tags(record, expect)
            merged = {key: value for key, value in {**record.tags, **checked}.items() if value is not None}
            self._save(replace(record, tags=merged))

    def _check_tags(self, record: Record, expect: Mapping[str, str | None] | None) -> None:
        for key, value in (expect or {}).items():
            if record.tags.get(key) != value:
                raise ConflictError(
                    f"tag {key} of endpoint {self._layout.endpoint} is {record.tags.get(key)!r}, not {value!r}",
                    hint="Observe the endpoint: another writer was first.",
                )

    async def delete_deployment(self, name: str) -> None:
        """Take it out of the routes, let it finish what it was sent, end it. Silent when it is gone."""
        async with self._lock:
            record = self._existing()
            if name in record.deployments:
                self._check_idle(record, name, "be deleted")
                served = self.plane.live(name)
                served.is_deleting = True
                rest = {other: kept for other, kept in record.deployments.items() if other != name}
                try:
                    await self._apply(replace(record, deployments=rest))
                finally:
                    self._removals[name] = asyncio.create_task(self._remove(served), name=f"remove {name}")
        if name in self._removals:
            await asyncio.shield(self._removals[name])

    async def scale_deployment(self, name: str, instances: int) -> None:
        """Start or drain instances until there are ``instances``."""
        check_instances(instances, name)
        async with self._lock:
            record = self._existing()
            served = self.plane.live(name)
            if instances == 0:
                self._check_idle(record, name, "be scaled to 0")
            deployed = replace(record.deployments[name], instances=instances)
            released = served.release(instances)
            served.grow(instances)
            await self._apply(replace(record, deployments={**record.deployments, name: deployed}), with_clusters=True)
        if released:
            await self.plane.drain(served, released)
            await stop_all(released)

    def scoring_target(self) -> dict[str, Any]:
        """Where and how to send a request. Holds the key."""
        record = self._existing()
        return {"url": _url(record), "headers": {"Authorization": f"Bearer {record.key}"}}

    async def counters(self) -> dict[str, Any]:
        """Envoy's own count of answered requests by deployment, since ``epoch`` began."""
        self._existing()
        epoch, started_at, answered = await self.plane.router.count_answered()
        return {"epoch": epoch, "epoch_started_at": started_at, "at": utc_now(), "answered": answered}

    def status(self) -> dict[str, Any]:
        """What runs, for people: port, processes, deployments. Holds no secret."""
        record = self._record
        if record is None:
            return {"port": None, "router": "not created", "router_pid": None, "deployments": {}}
        router = self.plane.router
        return {
            "port": record.port,
            "scoring_url": _url(record),
            "traffic": dict(record.traffic),
            "mirror": dict(record.mirror),
            "router": router.problem or "running",
            "router_pid": router.pid,
            "deployments": {name: served.report() for name, served in self.plane.served.items()},
        }

    def log_files(self, name: str) -> list[Path]:
        """Logs of the instances of a deployment.

        Raises:
            NotFoundError: there is no such deployment.
        """
        self._existing()
        served = self.plane.served.get(name) or self.plane.live(name)
        return [instance.log for instance in served.instances]

    def _existing(self) -> Record:
        if self._record is None:
            raise NotFoundError(
                f"there is no local endpoint {self._layout.endpoint}",
                hint="Create it with `deployer rollout MANIFEST`.",
            )
        return self._record

    def _save(self, record: Record) -> None:
        save_record(self._layout, record)
        self._record = record

    async def _apply(self, record: Record, *, with_clusters: bool = False) -> Any:
        """Record what should be, then make it so."""
        self._save(replace(record, serial=record.serial + 1))
        return await self.plane.apply(self._existing(), with_clusters=with_clusters)

    def _check_idle(self, record: Record, name: str, what: str) -> None:
        if name in {**record.traffic, **record.mirror}:
            raise ConflictError(
                f"deployment {name} has traffic and cannot {what}",
                hint="Move its traffic elsewhere first; nothing was changed.",
            )

    def _check_free(self, name: str, digest: str) -> None:
        record = self._existing()
        there = record.deployments.get(name)
        if there is not None and there.digest != digest:
            raise ConflictError(
                f"deployment {name} exists as version {there.digest[:12]}, not {digest[:12]}",
                hint="Delete it first, or use another name; nothing was changed.",
            )
        if there is None and len(record.deployments) >= DEPLOYMENTS_MAX:
            raise QuotaExceededError(
                f"endpoint {self._layout.endpoint} has {DEPLOYMENTS_MAX} deployments already",
                hint="Delete one that has no traffic.",
            )

    async def _create(self, name: str, digest: str, revision: Revision) -> None:
        while name in self._removals:
            await asyncio.shield(self._removals[name])
        async with self._lock:
            self._check_free(name, digest)
            record = self._existing()
            before = self.plane.served.get(name)
            if before is not None and before.state != "failed":
                return
            if before is not None:
                await stop_all(before.release(0))
            deployed = Deployed(digest, revision.settings.instances, utc_now())
            self.plane.serve(name, deployed, revision)
            await self._apply(replace(record, deployments={**record.deployments, name: deployed}), with_clusters=True)
            prune_revisions(self._layout, {each.digest for each in self._existing().deployments.values()})

    async def _remove(self, served: Served) -> None:
        """The slow part of a deletion, mostly without the lock."""
        try:
            await self.plane.drain(served, served.instances)
            async with self._lock:
                self.plane.forget(served.name)
                await self._apply(self._existing(), with_clusters=True)
                self.plane.router.forget_endpoints(served.name)
        finally:
            await stop_all(served.release(0))
            del self._removals[served.name]


def _url(record: Record) -> str:
    return f"http://127.0.0.1:{record.port}/score"
