"""The same rollouts over HTTPS: azure-ai-ml, azure-identity and azure-core unpatched, against ``doubles.arm``.

The double lives by the world's clock, so nothing waits in real time. Its script of faults strikes by number of the
request, whoever sent it: deployer's own ARM client, azure-ai-ml or the probe. The environment alone leads here.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure_rollouts import QUICK, AzureWorld
from doubles.arm import AzureDouble
from doubles.azure.world import CANCELED, GROUP, NEVER, SUBSCRIPTION, WORKSPACE, WORKSPACE_ID
from faulty_wire import WRITES
from stateful.world import Behaviour

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Workspace, find_cloud
from deployer.cloud.credentials import credential
from deployer.engine.effects import Deployable
from deployer.engine.operations import Job
from deployer.engine.probe import HttpProbe
from deployer.platforms.diagnosis.diagnose import meaning_of
from deployer.platforms.online.azureml import AzureMl
from deployer.rollout.model import Plan

CANARY = "canary-Secret-9f8e7d6c"
"""Planted wherever a secret can be: it must not be met anywhere else."""
DOCUMENT = {
    "model": "azureml:digits:1",
    "environment": "azureml:inference:1",
    "instance_type": "Standard_DS3_v2",
    "instance_count": 3,
    "request_settings": {"request_timeout_ms": 3000},
    "environment_variables": {"WORKER_COUNT": "1"},
}


def _without_properties(body: Any) -> Any:
    if isinstance(body, dict) and isinstance(body.get("properties"), dict):
        return {**body, "properties": {**body["properties"], "properties": None}}
    return body


FAULTS: dict[str, tuple[str | int, dict[str, Any]]] = {
    **{str(status): (status, {}) for status in (400, 401, 403, 404, 409, 412, 429, 500, 502, 503, 504)},
    "409 retry after": (409, {"retry_after": 5}),
    "429 seconds": (429, {"retry_after": 7}),
    "429 date": (429, {"retry_after": "Wed, 21 Oct 2099 07:28:00 GMT"}),
    "429 absurd": (429, {"retry_after": 1_000_000}),
    **{
        name: (name, {})
        for name in ("cut", "lost", "invalid_json", "truncated", "token_expired", "stale", "missing", "list_misses")
    },
    **{name: (name, {}) for name in ("still_updating", "lro_failed", "lro_half", "lro_canceled", "lro_gone")},
    "lro_never": ("lro_never", {}),
    "no properties": ("edited", {"edit": _without_properties}),
}
"""As the double plays them, by name."""


@dataclass
class HttpsWorld(AzureWorld):
    """A world whose platform is reached over HTTPS."""

    settings: dict[str, Any] = field(default_factory=dict)

    def set_up(self) -> Any:
        switches = {"endpoint_s": 60.0, "traffic_s": 12.0, "deploy_s": 20.0, "scale_s": 5.0, "delete_s": 10.0}
        self.double = AzureDouble(now=self.clock.now, **(switches | self.settings))
        self._open = self._opened()
        next(self._open)
        compute = f"{WORKSPACE_ID}/computes/aks1" if self.kind == "kubernetes" else None
        self.double.create("digits", traffic={"blue": 100}, tags={"team": "ml"}, compute=compute)
        self.double.add("digits", "blue", instances=3, tags={"deployer.digest": "base"})
        self.double.endpoint("digits").keys = [CANARY, f"{CANARY}-2"]
        self.double.behave("green", log=f"loaded, AccountKey={CANARY}==\n")
        self.double.assets.register("models", "digits", "1")
        self.double.assets.register("environments", "inference", "1")
        self._asked = 0
        return RequestsTransport(connection_timeout=10, read_timeout=30)

    def _opened(self) -> Iterator[None]:
        with self.double, pytest.MonkeyPatch.context() as patch:
            for name, value in self.double.environment().items():
                patch.setenv(name, value)
            patch.setenv("SSL_CERT_FILE", self.double.environment()["REQUESTS_CA_BUNDLE"])
            yield

    def close(self) -> None:
        """End the double."""
        next(self._open, None)
        os.environ.pop("AZUREML_CURRENT_CLOUD", None)

    def parts(self) -> dict[str, Any]:
        cloud, workspace = find_cloud("", os.environ), Workspace(SUBSCRIPTION, GROUP, WORKSPACE)
        self._asked = len(self.double.calls)  # the cloud is described before a fault can be planned
        identity = credential(cloud)
        return {
            "arm": Arm(cloud, identity, self.clock, transport=self.wire),
            "cloud": cloud,
            "workspace": workspace,
            "credential": identity,
            "clock": self.clock,
            "assets": AzureMl(cloud, workspace, identity),
        }

    def plan_faults(self, faults: Mapping[int, str]) -> None:
        self.double.heal()
        for number, name in faults.items():
            kind, options = FAULTS[name]
            self.double.fault(".", kind, nth=number + 1, **options)

    def heal(self) -> None:
        """Nothing goes wrong any more; what would never have ended is given up by the service."""
        self.double.heal()
        for operation in self.double.world.operations.values():
            if operation.is_pending and operation.until == NEVER:
                operation.error, operation.until = CANCELED, self.clock.now()

    def job(self) -> Job:
        job = super().job()

        def deployable(plan: Plan) -> Deployable:
            made = job.deployable(plan)
            versions = {name: replace(each, document=DOCUMENT) for name, each in made.versions.items()}
            return replace(made, versions=versions)

        probe = HttpProbe(
            self.platform,
            job.wanted.manifest,
            {"a.json": b'{"data": [1]}'},
            {},
            lambda: False,
            partial(meaning_of, platform=self.kind),
        )
        return replace(job, deployable=deployable, probe=probe)

    @property
    def endpoint(self) -> dict[str, Any]:
        try:
            return self.double.endpoint("digits").document
        except KeyError:
            return {"properties": {}, "tags": {}}

    @property
    def deployments(self) -> dict[str, dict[str, Any]]:
        try:
            return {each.name: each.document for each in self.double.endpoint("digits").deployments.values()}
        except KeyError:
            return {}

    def sent(self) -> Iterator[tuple[str, str, Any]]:
        for call in list(self.double.calls)[self._asked :]:
            yield call.method, call.path, json.loads(call.body) if call.method in WRITES and call.body else None


@cache
def undisturbed(*, bad: bool = False) -> tuple[tuple[str, str], ...]:
    """Method and path of all requests of a rollout that nothing happens to."""
    with tempfile.TemporaryDirectory() as home, https_world(Path(home), bad=bad) as world:
        world.run()
        return tuple((method, path) for method, path, _ in world.sent())


@contextmanager
def https_world(home: Path, *, bad: bool = False, **over: Any) -> Iterator[HttpsWorld]:
    """A world for a quick rollout, and its end."""
    behaviour = Behaviour(error_share=0.5) if bad else Behaviour()
    over = {"over": {"warmup": None}, **over}
    world = HttpsWorld(home, strategy=QUICK, candidate=behaviour, **over)
    world.gate["min_requests"] = 10
    try:
        yield world
    finally:
        world.close()
