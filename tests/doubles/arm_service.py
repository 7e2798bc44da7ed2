"""Online endpoints of ARM in memory, under azure-core, by a clock that tests move: for faults at an exact moment.

``doubles/arm.py`` is the service as it is, over HTTPS; this one is for what a client cannot make a server do at will: a
read that is old, an answer that is lost after the change, an operation that fails after half of it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from azure.core.exceptions import ServiceResponseError

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Cloud, Workspace, find_cloud
from tests.doubles.arm_script import Answer, Asked, ScriptedTransport, Tokens
from tests.doubles.telemetry import ManualClock

WORKSPACE = Workspace("s", "g", "w")
ENDPOINT = f"{WORKSPACE.id}/onlineEndpoints/digits"
MANAGER = "https://management.azure.com"
KINDS = {
    re.compile(r"/onlineEndpoints/[^/]+$"): "endpoint",
    re.compile(r"/onlineEndpoints$"): "endpoints",
    re.compile(r"/deployments$"): "deployments",
    re.compile(r"/deployments/[^/]+$"): "deployment",
    re.compile(r"/getLogs$"): "logs",
    re.compile(r"/listKeys$"): "keys",
    re.compile(r"/token$"): "token",
    re.compile(r"/mfeOperationsStatus/"): "operation",
    re.compile(r"/workspaces/w$"): "workspace",
    re.compile(r"/autoscalesettings$"): "settings",
    re.compile(r"/autoscalesettings/[^/]+$"): "setting",
}


@dataclass
class _Operation:
    until: datetime
    finish: Callable[[], None]
    error: dict[str, Any] | None = None
    done: bool = False


@dataclass
class Service:
    """What ARM holds, and how it will misbehave.

    Attributes:
        takes_s: how long a change of the endpoint takes.
        deploys_s: how long a deployment takes.
        stale_reads: how many of the next reads of the endpoint show what was before the last change.
        unknown_reads: how many of the next reads of a single deployment say 404.
        fault: asked before each request; what it returns is the answer, without effect; an exception is raised.
        lost: asked after each request that changed something; True cuts the connection.
        failing: error of the next operation; ``half`` whether the change happens all the same.
        merges: a PATCH of tags merges instead of replacing.
        least_instances: fewer are refused; a managed deployment has one or more (Azure/mlops-v2#48; the text is
            invented). What a cluster's may have is not known.
    """

    clock: ManualClock = field(default_factory=ManualClock)
    endpoint: dict[str, Any] | None = None
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    takes_s: float = 20.0
    deploys_s: float = 60.0
    stale_reads: int = 0
    unknown_reads: int = 0
    fault: Callable[[Asked, str], Answer | None] = lambda _asked, _kind: None
    lost: Callable[[Asked, str], bool] = lambda _asked, _kind: False
    failing: dict[str, Any] | None = None
    half: bool = False
    merges: bool = False
    least_instances: int = 1
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    _stale: dict[str, Any] | None = None
    _operations: dict[str, _Operation] = field(default_factory=dict)

    def create(
        self, *deployments: str, traffic: dict[str, int] | None = None, tags: dict[str, str] | None = None
    ) -> None:
        """An endpoint with ready deployments."""
        self.endpoint = self._new_endpoint(
            {
                "location": "westeurope",
                "tags": dict(tags or {}),
                "identity": {"type": "SystemAssigned", "principalId": "p", "tenantId": "t"},
                "properties": {"authMode": "Key", "traffic": dict(traffic or {}), "mirrorTraffic": {}},
            }
        )
        self._show(self.endpoint, "Succeeded")
        for name in deployments:
            self.add(name)

    def add(self, name: str, *, capacity: int = 1, digest: str = "d", state: str = "Succeeded") -> dict[str, Any]:
        """A deployment that exists."""
        made = self._new_deployment(name, {"tags": {"deployer.digest": digest}, "sku": {"capacity": capacity}})
        self._show(made, state)
        self.deployments[name] = made
        return made

    def answer(self, asked: Asked) -> Answer:
        kind = next((kind for pattern, kind in KINDS.items() if pattern.search(asked.path)), "?")
        self.asked.append((asked.method, kind, asked.body))
        self._pass_time()
        if (faulty := self.fault(asked, kind)) is not None:
            return faulty
        made = getattr(self, f"_{asked.method.lower()}_{kind}")(asked)
        if asked.method in {"PUT", "PATCH", "DELETE"} and self.lost(asked, kind):
            raise ServiceResponseError("Connection aborted")
        return made

    def calls(self, method: str, kind: str) -> list[Any]:
        """Bodies of the requests of this sort."""
        return [body for each, that, body in self.asked if (each, that) == (method, kind)]

    # ---- the endpoint

    def _get_workspace(self, _asked: Asked) -> Answer:
        return Answer(body={"location": "westeurope"})

    def _get_endpoint(self, _asked: Asked) -> Answer:
        if self.stale_reads > 0:
            self.stale_reads -= 1
            return Answer(body=self._stale) if self._stale is not None else _missing()
        return Answer(body=copy.deepcopy(self.endpoint)) if self.endpoint is not None else _missing()

    def _get_endpoints(self, _asked: Asked) -> Answer:
        return Answer(body={"value": [copy.deepcopy(self.endpoint)] if self.endpoint else []})

    def _put_endpoint(self, asked: Asked) -> Answer:
        if self.endpoint is not None and self._is_busy(self.endpoint):
            return _conflict()
        body = asked.body
        before = self._stale = copy.deepcopy(self.endpoint)
        if self.endpoint is None:
            self.endpoint = self._new_endpoint(body)
        self._show(self.endpoint, "Updating")

        def finish() -> None:
            made = self._new_endpoint(body)
            made["systemData"] = (before or made)["systemData"]
            self._show(made, "Succeeded")
            self.endpoint = made

        return self._start(
            self.endpoint, finish, {"properties": {"provisioningState": "Creating", **body["properties"]}}
        )

    def _patch_endpoint(self, asked: Asked) -> Answer:
        if self.endpoint is None:
            return _missing()
        if self._is_busy(self.endpoint):
            return _conflict()
        self._stale = copy.deepcopy(self.endpoint)
        self.endpoint["tags"] = {**(self.endpoint["tags"] if self.merges else {}), **asked.body["tags"]}
        return Answer(200, copy.deepcopy(self.endpoint))

    def _post_keys(self, _asked: Asked) -> Answer:
        return Answer(body={"primaryKey": "the-key", "secondaryKey": "another"})

    def _post_token(self, _asked: Asked) -> Answer:
        refresh = int((self.clock.now() + timedelta(hours=12)).timestamp())
        return Answer(body={"accessToken": "the-token", "refreshAfterTimeUtc": refresh})

    # ---- deployments

    def _get_deployments(self, _asked: Asked) -> Answer:
        return Answer(body={"value": copy.deepcopy(list(self.deployments.values()))})

    def _get_deployment(self, asked: Asked) -> Answer:
        if self.unknown_reads > 0:
            self.unknown_reads -= 1
            return _missing()
        found = self.deployments.get(asked.path.rpartition("/")[2])
        return Answer(body=copy.deepcopy(found)) if found is not None else _missing()

    def _put_deployment(self, asked: Asked) -> Answer:
        if self.endpoint is None:
            return _missing()
        name = asked.path.rpartition("/")[2]
        if name in self.deployments and self._is_busy(self.deployments[name]):
            return _conflict()
        made = self.deployments[name] = self._new_deployment(name, asked.body)
        self._show(made, "Creating")
        return self._start(made, lambda: self._show(made, "Succeeded"), {}, self.deploys_s)

    def _patch_deployment(self, asked: Asked) -> Answer:
        found = self.deployments.get(asked.path.rpartition("/")[2])
        if found is None:
            return _missing()
        if self._is_busy(found):
            return _conflict()
        if asked.body["sku"]["capacity"] < self.least_instances:
            return Answer(400, {"error": {"code": "BadRequest", "message": "The instance count has to be at least 1."}})
        found["sku"]["capacity"] = asked.body["sku"]["capacity"]
        self._show(found, "Updating")
        found["systemData"]["lastModifiedAt"] = self.clock.now().isoformat()
        return self._start(found, lambda: self._show(found, "Succeeded"), {})

    def _delete_deployment(self, asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        found = self.deployments.get(name)
        if found is None:
            return Answer(204, "")
        self._show(found, "Deleting")
        return self._start(found, lambda: self.deployments.pop(name, None) and None, "null")

    def _post_logs(self, asked: Asked) -> Answer:
        return Answer(body={"content": self.printed.get(asked.body["containerType"], "")})

    # ---- operations and autoscale

    def _get_operation(self, asked: Asked) -> Answer:
        found = self._operations.get(asked.path.rpartition("/")[2])
        if found is None:
            return _missing()
        status = "Updating" if not found.done else "Failed" if found.error else "Succeeded"
        return Answer(body={"status": status, **({"error": found.error} if found.done and found.error else {})})

    def _get_settings(self, _asked: Asked) -> Answer:
        return Answer(body={"value": copy.deepcopy(list(self.settings.values()))})

    def _get_setting(self, asked: Asked) -> Answer:
        found = self.settings.get(asked.path.rpartition("/")[2])
        return Answer(body=copy.deepcopy(found)) if found else _missing()

    def _put_setting(self, asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        self.settings[name] = {"id": asked.path, "name": name, **copy.deepcopy(asked.body)}
        return Answer(200, self.settings[name])

    def _delete_setting(self, asked: Asked) -> Answer:
        self.settings.pop(asked.path.rpartition("/")[2], None)
        return Answer(200, "")

    # ---- how it is done

    def _start(
        self, resource: dict[str, Any], finish: Callable[[], None], body: Any, takes_s: float | None = None
    ) -> Answer:
        number = f"op{len(self._operations)}"
        error, self.failing = self.failing, None

        def end() -> None:
            if error is None or self.half:
                finish()
            if error is not None:
                target = self.endpoint if resource.get("type") == "endpoint" else resource
                self._show(target or {}, "Failed")

        until = self.clock.now() + timedelta(seconds=self.takes_s if takes_s is None else takes_s)
        self._operations[number] = _Operation(until, end, error)
        url = f"{MANAGER}/subscriptions/s/providers/x/mfeOperationsStatus/{number}"
        resource["properties"]["properties"] = {
            **(resource["properties"].get("properties") or {}),
            "AzureAsyncOperationUri": url,
        }
        return Answer(201, body, {"Azure-AsyncOperation": f"{url}?api-version=v&sig=SECRET"})

    def _pass_time(self) -> None:
        for each in self._operations.values():
            if not each.done and self.clock.now() >= each.until:
                each.done = True
                each.finish()

    def _new_endpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            **copy.deepcopy(body),
            "id": ENDPOINT,
            "name": "digits",
            "type": "endpoint",
            "kind": "Managed",
            "systemData": {"createdAt": self.clock.now().isoformat()},
            "properties": {
                **copy.deepcopy(body["properties"]),
                "scoringUri": "https://digits.westeurope.inference.ml.azure.com/score",
                "properties": {
                    **body["properties"].get("properties", {}),
                    "azureml.onlineendpointid": ENDPOINT.lower(),
                },
            },
        }

    def _new_deployment(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        now = self.clock.now().isoformat()
        return {
            **copy.deepcopy(body),
            "id": f"{ENDPOINT}/deployments/{name}",
            "name": name,
            "systemData": {"createdAt": now, "lastModifiedAt": now},
            "properties": copy.deepcopy(body.get("properties", {})),
        }

    @staticmethod
    def _show(document: dict[str, Any], state: str) -> None:
        document["properties"]["provisioningState"] = state

    @staticmethod
    def _is_busy(document: dict[str, Any]) -> bool:
        return document["properties"]["provisioningState"] in {"Creating", "Updating", "Deleting", "Scaling"}


class ServiceTransport(ScriptedTransport):
    """Asks a service instead of a script."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service

    def next(self, asked: Asked) -> Answer | Exception:
        return self._service.answer(asked)


@dataclass
class Azure:
    """Everything a platform is made of, around one service."""

    service: Service = field(default_factory=Service)
    tokens: Tokens = field(default_factory=Tokens)
    cloud: Cloud = field(default_factory=lambda: find_cloud("", {}))

    def __post_init__(self) -> None:
        self.clock = self.service.clock
        self.arm = Arm(self.cloud, self.tokens, self.clock, transport=ServiceTransport(self.service))

    def parts(self) -> dict[str, Any]:
        """Arguments of a platform."""
        return {
            "arm": self.arm,
            "cloud": self.cloud,
            "workspace": WORKSPACE,
            "credential": self.tokens,
            "clock": self.clock,
            "assets": Compiler(),
        }


class Compiler:
    """Compiles a document to a body that holds it, as azure-ai-ml would with ARM ids."""

    def compile(self, document: Any, base_dir: Any, *, endpoint: str, name: str, note: Any) -> dict[str, Any]:
        note("uploading code: 100 %")
        return {
            "location": "westeurope",
            "tags": dict(document.get("tags", {})),
            "sku": {"name": "Default", "capacity": document.get("instance_count", 1)},
            "properties": {
                "endpointComputeType": "Managed",
                "environmentVariables": document.get("environment_variables", {}),
            },
        }


def _missing() -> Answer:
    return Answer(404, {"error": {"code": "ResourceNotFound", "message": "not found"}})


def _conflict() -> Answer:
    return Answer(409, {"error": {"code": "Conflict", "message": "another operation is in progress"}})
