"""Azure for tests: the real SDKs and our own ARM client against the HTTPS double, led there by environment alone.

One double serves a whole module; every test gets endpoint and deployments back as they were. Time is the test's own:
a wait of ten minutes takes none.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doubles.arm import AzureDouble
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Workspace, find_cloud
from deployer.cloud.credentials import credential
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from deployer.platforms.online.endpoint import OnlineEndpoint
from deployer.ports.platform import Deployment, DeploymentSpec
from tests.doubles.telemetry import ManualClock

DURATIONS = {"endpoint_s": 90.0, "traffic_s": 20.0, "deploy_s": 300.0, "scale_s": 60.0, "delete_s": 60.0}
"""Of managed endpoints (recordings 01 to 03), some shortened."""

OTHERWISE = {"tag_patch": "merge", "patch_status": 202, "busy": 400, "lying": False, "settle_s": 9.0}
"""How the service may behave where nobody has recorded it."""
LOCKED = {"lock": "endpoint"}
"""And so: any operation excludes any other on the same endpoint and its deployments."""


@contextmanager
def led_to(double: AzureDouble) -> Iterator[None]:
    """Lead everything in this process that asks for Azure to ``double``."""
    before = dict(os.environ)
    os.environ.update(double.environment())
    os.environ.pop("AZUREML_CURRENT_CLOUD", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def make_spec(name: str, kind: str, *, version: str = "1", instances: int = 1, **environment: str) -> DeploymentSpec:
    """A version that is made of registered assets; what differs in any argument is another version."""
    document: dict[str, Any] = {
        "name": name,
        "model": "azureml:digits:1",
        "environment": "azureml:serving:1",
        "instance_count": instances,
        "environment_variables": {"VERSION": version, **environment},
        "type": kind,
    }
    if kind == "managed":
        document["instance_type"] = "Standard_DS2_v2"
    else:
        document["resources"] = {"requests": {"cpu": "1", "memory": "1Gi"}}
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return DeploymentSpec(name, document, Path(__file__).parent, digest)


class AzureWorld:
    """One workspace with the endpoint ``digits``.

    Attributes:
        clock: moves the double too.
        double: the service; enter ``led_to`` first.
    """

    def __init__(self, kind: str, double: AzureDouble, clock: ManualClock) -> None:
        self.kind = kind
        self.double = double
        self.clock = clock
        self.cloud = find_cloud("", os.environ)
        self.workspace = Workspace(SUBSCRIPTION, GROUP, WORKSPACE)
        self._credential = credential(self.cloud, os.environ)
        double.inventory.limits = dict.fromkeys(double.inventory.limits, 10_000)
        double.assets.register("models", "digits", "1")
        double.assets.register("environments", "serving", "1")
        self.platform = self.reach("digits")
        self.empty = self.reach("nothing")
        self.platform.ensure_endpoint(self.document)
        for name in ("blue", "green"):
            self.platform.create_deployment(self.spec(name))
        for name in ("blue", "green"):
            self.await_state(name, lambda found: found.instances_ready == 1)
        self._kept = copy.deepcopy(double.endpoint("digits"))

    @property
    def document(self) -> dict[str, Any]:
        """Of the endpoint."""
        compute = {"compute": "azureml:aks1"} if self.kind == "kubernetes" else {}
        return {"name": "digits", "auth_mode": "key", **compute}

    def reach(self, name: str) -> OnlineEndpoint:
        """A platform as a runner that knows nothing makes it."""
        adapter = KubernetesPlatform if self.kind == "kubernetes" else ManagedPlatform
        return adapter(
            name,
            arm=Arm(self.cloud, self._credential, self.clock),
            cloud=self.cloud,
            workspace=self.workspace,
            credential=self._credential,
            clock=self.clock,
        )

    def reset(self) -> None:
        """Endpoint and deployments as they were made, a minute later: nothing that was read before still counts."""
        self.clock.advance(60)
        self.double.heal()
        with self.double.world.lock:
            self.double.world.operations.clear()
            self.double.inventory.autoscale.clear()
            self.double._endpoints.all["digits"] = copy.deepcopy(self._kept)

    def spec(self, name: str, *, version: str = "1", instances: int = 1) -> DeploymentSpec:
        return make_spec(name, self.kind, version=version, instances=instances)

    def broken(self, name: str) -> DeploymentSpec:
        return make_spec(name, self.kind, DOUBLE_FAILS_WITH="UserScriptInitFailed")

    def pending(self, name: str) -> DeploymentSpec:
        return make_spec(name, self.kind, DOUBLE_NEVER_READY="true")

    def await_state(self, name: str, is_so: Callable[[Deployment], bool]) -> Deployment:
        for _ in range(400):
            endpoint = self.platform.observe()
            assert endpoint is not None
            found = endpoint.deployments[name]
            if is_so(found):
                return found
            self.clock.sleep(self.platform.capabilities.poll_s)
        raise AssertionError(found)


@contextmanager
def azure_world(kind: str, **switches: Any) -> Iterator[AzureWorld]:
    """A double and a workspace in it, for a module; ``switches`` are of ``doubles.azure.world.Settings``."""
    clock = ManualClock()
    with AzureDouble(now=clock.now, **{**DURATIONS, **switches}) as double, led_to(double):
        yield AzureWorld(kind, double, clock)
