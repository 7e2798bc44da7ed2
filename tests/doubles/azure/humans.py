"""What people do in the portal while nobody looks: it happens at once, without HTTP and without an operation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from doubles.azure.deployments import Deployment, Deployments
from doubles.azure.endpoints import Endpoint, Endpoints
from doubles.azure.world import World, stamp


class Humans:
    """Edits of the world, past all rules."""

    def __init__(self, world: World, endpoints: Endpoints, deployments: Deployments) -> None:
        self.world, self._endpoints, self._deployments = world, endpoints, deployments

    def endpoint(self, name: str) -> Endpoint:
        """As it is now.

        Raises:
            KeyError: there is none.
        """
        with self.world.lock:
            self.world.settle()
            return self._endpoints.all[name.lower()]

    def deployment(self, endpoint: str, name: str) -> Deployment:
        """As it is now.

        Raises:
            KeyError: there is none.
        """
        return self.endpoint(endpoint).deployments[name.lower()]

    def create(
        self,
        name: str,
        *deployments: str,
        traffic: Mapping[str, int] | None = None,
        tags: Mapping[str, str] | None = None,
        compute: str | None = None,
        auth_mode: str = "Key",
    ) -> Endpoint:
        """An endpoint with ready deployments."""
        with self.world.lock:
            body = {
                "tags": dict(tags or {}),
                "identity": {"type": "SystemAssigned"},
                "properties": {"authMode": auth_mode, "compute": compute, "traffic": dict(traffic or {})},
            }
            made = self._endpoints.make(name, body)
            for each in deployments:
                self.add(name, each)
            return made

    def add(
        self,
        endpoint: str,
        name: str,
        *,
        instances: int = 1,
        state: str = "Succeeded",
        tags: Mapping[str, str] | None = None,
        **properties: Any,
    ) -> Deployment:
        """A deployment that is ready, or in ``state``."""
        with self.world.lock:
            held = self.endpoint(endpoint)
            kubernetes = bool(held.properties["compute"])
            body = {
                "tags": dict(tags or {}),
                "sku": {"name": "Default", "capacity": instances},
                "properties": {
                    "endpointComputeType": "Kubernetes" if kubernetes else "Managed",
                    "instanceType": "defaultinstancetype" if kubernetes else "Standard_DS2_v2",
                    "properties": {},
                    **properties,
                },
            }
            if kubernetes:  # the SDK's get() throws without it (WIRE 7)
                body["properties"].setdefault(
                    "containerResourceRequirements", {"containerResourceRequests": {"cpu": "1"}}
                )
            made = self._deployments.make(held, name, body)
            if state == "Succeeded":
                self._deployments.bring_up(made)
            made.state = state
            return made

    def write(
        self,
        name: str,
        *,
        traffic: Mapping[str, int] | None = None,
        mirror: Mapping[str, int] | None = None,
        tags: Mapping[str, str] | None = None,
        state: str | None = None,
    ) -> None:
        """Replace what is given."""
        with self.world.lock:
            endpoint = self.endpoint(name)
            endpoint.remember()
            given = {"traffic": traffic, "mirrorTraffic": mirror}
            endpoint.properties.update({key: dict(value) for key, value in given.items() if value is not None})
            if tags is not None:
                endpoint.document["tags"] = dict(tags)
            if state is not None:
                endpoint.state = state
            endpoint.document["systemData"]["lastModifiedAt"] = stamp(self.world.now())

    def delete(self, endpoint: str, deployment: str | None = None) -> None:
        """Delete an endpoint, or one of its deployments and its traffic."""
        with self.world.lock:
            held = self.endpoint(endpoint)
            if deployment is None:
                self._endpoints.drop(held)
                return
            held.deployments.pop(deployment.lower())
            for shares in (held.traffic, held.mirror):
                shares.pop(deployment, None)

    def recreate(self, name: str) -> Endpoint:
        """Delete an endpoint and make another of the same name, empty."""
        with self.world.lock:
            before = copy.deepcopy(self.endpoint(name).document)
            self.delete(name)
            made = self.create(
                name, auth_mode=before["properties"]["authMode"], compute=before["properties"]["compute"]
            )
            later = max(
                self.world.now(), datetime.fromisoformat(before["systemData"]["createdAt"]) + timedelta(seconds=1)
            )
            made.document["systemData"]["createdAt"] = stamp(later)
            return made

    def scale(self, endpoint: str, deployment: str, instances: int) -> None:
        """Give it so many instances; 0, which nobody can write on a managed endpoint: none of them is up."""
        with self.world.lock:
            found = self.deployment(endpoint, deployment)
            found.remember()
            found.document["sku"]["capacity"] = found.instances = instances
            found.document["systemData"]["lastModifiedAt"] = stamp(self.world.now())

    def rename(self, endpoint: str, deployment: str, name: str) -> None:
        """The same version under another name; its traffic follows."""
        with self.world.lock:
            held = self.endpoint(endpoint)
            found = held.deployments.pop(deployment.lower())
            now = stamp(self.world.now())
            found.name = found.document["name"] = name
            found.document["id"] = f"{held.document['id']}/deployments/{name}"
            found.document["systemData"] = {**found.document["systemData"], "createdAt": now, "lastModifiedAt": now}
            held.deployments[name.lower()] = found
            for shares in (held.traffic, held.mirror):
                if deployment in shares:
                    shares[name] = shares.pop(deployment)
