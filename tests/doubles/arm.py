"""Azure Resource Manager, Azure ML online endpoints and their scoring, as a service on this machine over HTTPS.

The Azure SDKs talk to it unpatched; environment variables alone lead them here. What it answers follows recordings of
the service, the SDK's own code and the docs, as cited at each rule; what nobody recorded is marked *invented* (texts),
*assumed* (behaviour) or *[mem]* (from memory).

In a test::

    with AzureDouble(deploy_s=0.2) as azure:
        azure.create("digits", "blue", "green", traffic={"blue": 100})   # ready at once, past HTTP
        monkeypatch.setenv(...)                                           # each of azure.environment()
        azure.fault(("PUT", ".*/onlineEndpoints/digits"), "lost")         # kinds: doubles.azure.faults
        azure.behave("green", error_rate=0.2, latency_ms=30)              # by deployment, image or model name
        ...
        assert azure.count("PUT", "/onlineEndpoints/digits$") == 2
        azure.send("digits", 100_000, seconds=600)                        # rows of the traffic log, without HTTP

``AzureDouble(now=clock.now, traffic_s=70, ...)`` lives by a clock that the test moves: operations end when their time
has come, and are looked at only when somebody asks. All durations and switches: ``doubles.azure.world.Settings``,
which are attributes of ``azure.settings`` as well.

=====================  ===============================================================================================
``environment()``      variables for a process that is to be led here
``address``            https://localhost:PORT
``fault(match, kind)`` script of faults; ``heal()`` ends them
``calls``, ``count``   every call: method, path, api_version, status (0: cut), at, fault, body
``create add write     what people do in the portal, at once
delete recreate scale
rename``
``endpoint(name)``     ``.document``, ``.deployments``, ``.keys``; ``deployment(endpoint, name)``
``behave``             how a model behaves; or DOUBLE_FAILS_WITH, DOUBLE_NEVER_READY, DOUBLE_ERROR_RATE,
                       DOUBLE_LATENCY_MS, DOUBLE_DEPLOY_S in the deployment's environment variables
``traffic``            every scoring request, mirrored ones too: ``scoring.Row``, ``.document()`` is the log's row;
                       ``listeners`` are told of each
``inventory``          limits, taken, permissions, computes, autoscale, diagnostics, ``resources`` by path in lower case
``assets``             registered versions and blobs; ``register(kind, name, version)``
``identity``           ``lifetime_s``, ``expire()``, ``down``, ``stall_s``
``route(method,        more routes on the same port, with the same faults and log; the newest is asked first;
regex, handler)``      ``handler(Request) -> Answer``; ``auth=False``: no token needed
``mount(handle)``      asked for what has no route: ``handle(method, target, headers, body)`` returns None or
                       something with status, body, headers, cut (``doubles.monitor``)
=====================  ===============================================================================================

As a program, for processes that are killed: ``python -m doubles.arm --port-file FILE --folder DIR`` from ``tests/``;
FILE then holds ``environment()`` as JSON. ``--create digits:blue,green`` makes an endpoint, and ``--set deploy_s=1``
changes a setting.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import json
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from doubles.azure.assets import Assets
from doubles.azure.behaviours import Behaviour
from doubles.azure.certificates import certificates
from doubles.azure.deployments import Deployments
from doubles.azure.endpoints import Endpoints
from doubles.azure.faults import Script
from doubles.azure.humans import Humans
from doubles.azure.identity import DOMAIN, SECRET, Identity, identity_server
from doubles.azure.inventory import ACCOUNTS, Inventory
from doubles.azure.messages import Answer, Handler, Request
from doubles.azure.scoring import Scoring
from doubles.azure.wire import Router, https_server, start
from doubles.azure.world import TENANT, WORKSPACE_ID, Settings, World

CLOUD = "DoubleCloud"


class AzureDouble(Humans):
    """One subscription with one workspace; see the module.

    Args:
        now: the service's clock, in aware UTC; None: the real one.
        seed: of everything random.
        folder: where the certificates are kept; None: one for this process.
        port: 0: any.
        switches: of ``Settings``.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] | None = None,
        seed: int = 0,
        folder: Path | None = None,
        port: int = 0,
        **switches: Any,
    ) -> None:
        self.settings = Settings(**switches)
        world = World(self.settings, now or (lambda: datetime.now(UTC)), seed)
        self.endpoints = Endpoints(world)
        self.inventory = Inventory(world)
        self.endpoints.computes = self.inventory.computes
        self.deployments = Deployments(world, self.endpoints, self.inventory)
        super().__init__(world, self.endpoints, self.deployments)
        self.assets = Assets(world)
        self.deployments.exists = self.assets.exists
        self.scoring = Scoring(world, self.deployments, seed)
        self.traffic, self.listeners, self.send = self.scoring.traffic, self.scoring.listeners, self.scoring.send
        self.identity, self.script = Identity(), Script()
        self.fault, self.heal = self.script.add, self.script.clear
        self.router = Router(world, self.identity, self.script)
        self.router.permissions = lambda: self.inventory.permissions
        self.calls, self.route = self.router.calls, self.router.add
        self._add_routes()
        self.authority, tls = certificates(folder or _folder())
        self._server = https_server(self.router, tls, port)
        self.address = world.address = f"https://localhost:{self._server.server_port}"
        storage = f"{world.account}.blob.{DOMAIN}"
        self._identity_server = identity_server(self.identity, storage, ("127.0.0.1", self._server.server_port))
        workspace = self.inventory.resources[WORKSPACE_ID.lower()]["properties"]
        workspace["storageAccount"] = f"{ACCOUNTS}/{world.account}"
        self._stops: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self._stops = [start(self._server, "azure"), start(self._identity_server, "identity")]
        return self

    def __exit__(self, *_exc: object) -> None:
        for stop in self._stops:
            stop()
        self._stops = []
        if self._server.errors:
            raise AssertionError("the double failed") from self._server.errors[0]

    def environment(self) -> dict[str, str]:
        """Variables that lead the Azure SDKs, and deployer, here (WIRE 1)."""
        port = self._identity_server.server_port
        proxy = f"http://127.0.0.1:{port}"
        return {
            "ARM_CLOUD_METADATA_URL": f"{self.address}/metadata/endpoints?api-version=2019-05-01",
            "REQUESTS_CA_BUNDLE": str(self.authority),
            "SSL_CERT_FILE": str(self.authority),  # for what is not the SDK
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{port}/msi/token",
            "IDENTITY_HEADER": SECRET,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "REGISTRY_DISCOVERY_ENDPOINT_URL": f"{self.address}/",
            "HTTPS_PROXY": proxy,  # storage hosts have no address here
            "NO_PROXY": "localhost,127.0.0.1",
        }

    def behave(self, name: str, **how: Any) -> None:
        """Let a model behave so from now on: by ``endpoint/deployment``, deployment, image or model name."""
        with self.world.lock:
            self.deployments.behaviours[name] = replace(self.deployments.behaviours.get(name, Behaviour()), **how)

    def count(self, method: str, pattern: str, *, ok: bool = False) -> int:
        """Calls with this method and a path in which ``pattern`` is found; ``ok``: only those that were answered < 400."""
        found = [each for each in self.calls if each.method == method and re.search(pattern, each.path, re.IGNORECASE)]
        return len([each for each in found if not ok or 0 < each.status < 400])

    def mount(self, handle: Callable[[str, str, Mapping[str, str], bytes], Any]) -> None:
        """Ask ``handle`` for what has no route."""
        self.router.fallback = handle

    def metadata(self, _request: Request) -> Answer:
        """Shape: management.azure.com/metadata/endpoints, api-version 2019-05-01 and later; keys: WIRE 1."""
        address = self.address
        return Answer(
            200,
            [
                {
                    "name": CLOUD,
                    "portal": "https://portal.azure.test",
                    "resourceManager": address,
                    "authentication": {
                        "loginEndpoint": address,
                        "audiences": [address],
                        "tenant": TENANT,
                        "identityProvider": "AAD",
                    },
                    "logAnalyticsResourceId": address,
                    "applicationInsightsResourceId": address,
                    "activeDirectoryDataLake": address,
                    "amlResourceId": address,
                    "graph": address,
                    "batch": address,
                    "media": address,
                    "suffixes": {
                        "storage": DOMAIN,
                        "keyVaultDns": f"vault.{DOMAIN}",
                        "acrLoginServer": f"azurecr.{DOMAIN}",
                    },
                }
            ],
        )

    def _add_routes(self) -> None:
        groups = (self.inventory, self.assets, self.endpoints, self.deployments)
        for method, pattern, handler in [route for group in groups for route in group.routes()]:
            self.route(method, pattern, handler)
        for method, pattern, handler in [*self.scoring.routes(), *self.assets.blob_routes()]:
            self.route(method, pattern, handler, auth=False)
        operations = r"/subscriptions/[^/]+/providers/Microsoft\.MachineLearningServices/locations/[^/]+"
        self.route("GET", rf"{operations}/mfeOperationsStatus/[^/]+", self.world.operation_status)
        self.route("GET", rf"{operations}/mfeOperationResults/[^/]+", self.world.operation_result)
        self.route("GET", r"/metadata/endpoints", self.metadata, auth=False)


@functools.cache
def _folder() -> Path:
    """One for all doubles of this process."""
    folder = Path(tempfile.mkdtemp(prefix="azure-double-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _main() -> None:
    parser = argparse.ArgumentParser(description="Serve until SIGTERM.")
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--create", action="append", default=[], metavar="ENDPOINT:DEPLOYMENT,...")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    kinds = {each.name: type(each.default) for each in fields(Settings)}
    switches = {name: kinds[name](value) for name, _, value in (text.partition("=") for text in args.set)}
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with AzureDouble(folder=args.folder, port=args.port, **switches) as azure:
        for text in args.create:
            name, _, deployments = text.partition(":")
            azure.create(name, *filter(None, deployments.split(",")))
        written = args.port_file.with_suffix(".part")
        written.write_text(json.dumps(azure.environment()), encoding="utf-8")
        written.rename(args.port_file)
        ended.wait()


__all__ = ["Answer", "AzureDouble", "Handler", "Request"]

if __name__ == "__main__":
    _main()
