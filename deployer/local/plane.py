"""The data plane of one endpoint: Envoy, the running deployments, and the order in which one learns of the other."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from deployer.errors import DeployerError, NotFoundError, TransientError
from deployer.local.deployments import Served, stop_all
from deployer.local.envoy_config import Split, Target
from deployer.local.layout import Layout
from deployer.local.record import Deployed, Record
from deployer.local.revisions import Revision, load_revision
from deployer.local.router import Router, choose_port, is_free
from deployer.local.servers import Instance
from deployer.local.settings import nothing_known

_PORTS_TRIED = 5
_DRAIN_MARGIN_S = 1.0
_ROUTES_SPREAD_S = 0.05
"""Envoy's worker follows the reported route table within 2.1 ms (LOCAL.md); this is more than enough."""


class Plane:
    """Everything that runs for an endpoint."""

    def __init__(self, layout: Layout) -> None:
        """Describe it; nothing runs before ``start``."""
        self.served: dict[str, Served] = {}
        self._layout = layout
        self._router: Router | None = None
        self._unwritten: set[str] = set()

    @property
    def router(self) -> Router:
        """Envoy.

        Raises:
            TransientError: it was not started yet.
        """
        if self._router is None:
            raise TransientError("the endpoint is starting", hint="Repeat in a second.")
        return self._router

    def live(self, name: str) -> Served:
        """A deployment that exists.

        Raises:
            NotFoundError: it does not, or is being deleted.
        """
        served = self.served.get(name)
        if served is None or served.is_deleting:
            there = ", ".join(sorted(other for other, each in self.served.items() if not each.is_deleting))
            raise NotFoundError(
                f"there is no deployment {name} on local endpoint {self._layout.endpoint}",
                hint=f"Use one that exists ({there})." if there else "Create one first.",
            )
        return served

    def start(self, record: Record) -> None:
        """Run what the record says, on the recorded port. Deployments become ready later.

        One whose snapshot is gone has failed; the others run.
        """
        for name, deployed in record.deployments.items():
            try:
                self.serve(name, deployed, load_revision(self._layout, deployed.digest))
            except DeployerError as exc:
                lost = Revision(self._layout.revisions / deployed.digest, nothing_known(deployed.instances))
                self.served[name] = Served(name, deployed.digest, deployed.created_at, lost, self._layout, self.flush)
                self.served[name].problem = exc.message
        self._router = Router(self._layout, record.port)
        version = _version(record)
        self._write_endpoints(self.served)
        self.router.write_clusters(self._targets(record), version)
        self._write_routes(record, version)
        self.router.start()

    async def start_empty(self) -> int:
        """Run Envoy without deployments on a port that is free, and return the port.

        Raises:
            TransientError: Envoy does not start.
        """
        for _ in range(_PORTS_TRIED):
            port = choose_port()
            router = Router(self._layout, port)
            router.write_clusters([], "none")
            router.write_routes([], Split({}, {}), uuid.uuid4().hex, "none")
            router.start()
            try:
                await router.wait_live()
            except TransientError:
                await router.stop()
                if is_free(port):
                    raise
            else:
                self._router = router
                return port
        raise TransientError("every port that was tried was taken at the same moment", hint="Repeat.")

    async def stop(self) -> None:
        """End everything at once."""
        if self._router is not None:
            await self._router.stop()
            self._router = None
        await stop_all([instance for served in self.served.values() for instance in served.instances])

    def serve(self, name: str, deployed: Deployed, revision: Revision) -> None:
        """Start a deployment; Envoy learns of it by ``apply``."""

        def changed() -> None:
            if self._router is not None and self.served.get(name) is served:
                self._write_endpoints([name])

        served = Served(name, deployed.digest, deployed.created_at, revision, self._layout, changed)
        self.served[name] = served
        served.grow(deployed.instances)

    async def apply(self, record: Record, *, with_clusters: bool) -> Split:
        """Tell Envoy what should be and return what it reports then.

        Clusters come before the routes that name them. A cluster that is gone from ``served`` was taken out of the
        routes before, so it can go at once.

        Raises:
            TransientError: not verified in time, or the disk is full.
        """
        version = _version(record)
        if with_clusters:
            self._write_endpoints(self.served)
            self.router.write_clusters(self._targets(None), version)
            await self.router.verify_clusters(version)
        self._write_routes(record, version)
        return await self.router.verify_routes(version)

    async def drain(self, served: Served, instances: Sequence[Instance]) -> None:
        """Wait until instances have answered what they were sent, but not longer than an answer may take."""
        sockets = [instance.socket for instance in instances]
        deadline = time.monotonic() + served.revision.settings.timeout_ms / 1000 + _DRAIN_MARGIN_S
        await asyncio.sleep(_ROUTES_SPREAD_S)
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError, KeyError, TransientError):
                waiting = await self.router.active(served.name) if served.is_deleting else 0
                if waiting + await self.router.active_on(served.name, sockets) == 0:
                    return
            await asyncio.sleep(_ROUTES_SPREAD_S)

    def forget(self, name: str) -> None:
        """Drop a deployment that is out of the routes; its instances still run."""
        del self.served[name]

    def flush(self) -> None:
        """Write what could not be written when it changed."""
        if self._router is not None and self._unwritten:
            self._write_endpoints(list(self._unwritten & self.served.keys()))

    async def settle(self) -> None:
        """Wait a moment until Envoy sees every instance that is ready."""
        with suppress(OSError, ValueError, KeyError):
            await self.router.settle({name: len(served.ready) for name, served in self.served.items()})

    def _write_endpoints(self, names: Iterable[str]) -> None:
        for name in names:
            sockets: dict[str, Path] = {each.name: each.socket for each in self.served[name].ready}
            try:
                self.router.write_endpoints(name, sockets, uuid.uuid4().hex)
                self._unwritten.discard(name)
            except (OSError, TransientError):
                self._unwritten.add(name)

    def _write_routes(self, record: Record, version: str) -> None:
        split = Split(dict(record.traffic), dict(record.mirror))
        self.router.write_routes(self._targets(record), split, record.key, version)

    def _targets(self, record: Record | None) -> list[Target]:
        """Deployments as Envoy sees them: those of the record, or all that still answer."""
        return [
            Target(
                name=name,
                timeout_ms=served.revision.settings.timeout_ms,
                in_flight=max(1, served.revision.settings.concurrency * len(served.instances)),
            )
            for name, served in self.served.items()
            if record is None or name in record.deployments
        ]


def _version(record: Record) -> str:
    """Text that no other table ever had: its number, and a hash of what it says."""
    said = json.dumps([dict(record.traffic), dict(record.mirror), sorted(record.deployments)], sort_keys=True)
    return f"{record.serial}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
