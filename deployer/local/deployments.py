"""One deployment: the instances of one revision, and what they amount to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from deployer.local.layout import Layout
from deployer.local.revisions import Revision
from deployer.local.servers import Instance, State


class Served:
    """The running side of a deployment."""

    def __init__(
        self, name: str, digest: str, created_at: str, revision: Revision, layout: Layout, changed: Callable[[], None]
    ) -> None:
        """Describe it; nothing runs before ``scale``. ``changed`` is called after each change of an instance."""
        self.name = name
        self.digest = digest
        self.created_at = created_at
        self.revision = revision
        self.instances: list[Instance] = []
        self.is_deleting = False
        self.problem = ""
        self._started = 0
        self._layout = layout
        self._changed = changed

    @property
    def ready(self) -> list[Instance]:
        """Instances that take requests."""
        return [instance for instance in self.instances if instance.state is State.READY]

    @property
    def state(self) -> str:
        """A ``DeploymentState`` of the platform port, as its value."""
        if self.is_deleting:
            return "deleting"
        if self.problem:
            return "failed"
        ready = len(self.ready)
        if ready == len(self.instances):
            return "ready"
        if ready:
            return "degraded"
        failed = any(instance.state is State.FAILED for instance in self.instances)
        return "failed" if failed else "creating"

    @property
    def message(self) -> str:
        """Why it is not ready, in one line; empty when it is."""
        if self.is_deleting:
            return "answering what it was sent"
        if self.problem:
            return self.problem
        waiting = [instance for instance in self.instances if instance.state is not State.READY]
        waiting.sort(key=lambda instance: instance.state is not State.FAILED)
        return f"{waiting[0].name}: {waiting[0].message}" if waiting else ""

    def report(self) -> dict[str, Any]:
        """What the platform port calls a ``Deployment``, as JSON."""
        return {
            "name": self.name,
            "state": self.state,
            "digest": self.digest,
            "instances_ready": len(self.ready),
            "instances_wanted": len(self.instances),
            "message": self.message,
            "created_at": self.created_at,
            "instances": [{"name": each.name, "state": each.state.value, "pid": each.pid} for each in self.instances],
        }

    def grow(self, instances: int) -> None:
        """Start instances until there are ``instances``."""
        while len(self.instances) < instances:
            instance = Instance(f"{self.name}-{self._started}", self.revision, self._layout, self._changed)
            self._started += 1  # never a name twice: one that is drained still has its socket
            self.instances.append(instance)
            instance.start()

    def release(self, instances: int) -> list[Instance]:
        """Forget the instances beyond ``instances`` and return them, still running: drain, then stop them."""
        released, self.instances = self.instances[instances:], self.instances[:instances]
        return released


async def stop_all(instances: list[Instance]) -> None:
    """Stop instances side by side."""
    await asyncio.gather(*(instance.stop() for instance in instances))
