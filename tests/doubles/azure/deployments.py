"""Online deployments: their making in stages, quota, scaling, logs."""

from __future__ import annotations

import copy
import math
from typing import Any

from doubles.azure.behaviours import STAGES, Behaviour, failure_of, read
from doubles.azure.checks import check_tags
from doubles.azure.endpoints import NAME, PATH, Endpoint, Endpoints, conflict
from doubles.azure.inventory import Inventory
from doubles.azure.messages import Answer, Handler, Refusal, Request, bad
from doubles.azure.world import PRINCIPAL, REGION, WORKSPACE, Operation, Resource, World, stamp

TYPE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"
PROBE = {"failureThreshold": 30, "successThreshold": 1, "timeout": "PT2S", "period": "PT10S", "initialDelay": "PT10S"}
REQUESTS = {"maxQueueWait": "PT0S", "requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1}
"""Defaults that the service fills in (recordings 03, 04)."""


class Deployment(Resource):
    """One deployment; ``serving`` is what its instances run: None until they are up."""

    def __init__(self, name: str, document: dict[str, Any], endpoint: Endpoint) -> None:
        super().__init__(name, document)
        self.endpoint = endpoint
        self.was_ready = False
        self.instances = 0
        self.pending = 0
        self.stages_of: Operation | None = None
        """The operation that makes its containers anew."""
        self.failed_with = ""

    def unknown(self) -> Refusal:
        """Recordings/07."""
        info = {"deploymentName": self.name, "endpointName": self.endpoint.name, "workspaceName": WORKSPACE}
        error = Refusal(
            404,
            "UserError",
            f"Deployment {self.name} not found in endpoint {self.endpoint.name}, workspace {WORKSPACE}",
        )
        error.info = [{"type": "MessageParameters", "info": {"value": info}}]
        return error

    @property
    def capacity(self) -> int:
        return self.document["sku"]["capacity"]

    @property
    def settings(self) -> dict[str, Any]:
        return self.properties.get("requestSettings") or {}

    @property
    def image(self) -> str:
        return str(self.properties.get("environmentId") or "")


class Deployments:
    """Deployments of all endpoints."""

    def __init__(self, world: World, endpoints: Endpoints, inventory: Inventory) -> None:
        self.world = world
        self.endpoints = endpoints
        self.inventory = inventory
        self.behaviours: dict[str, Behaviour] = {}
        self.exists: Any = lambda _id: True
        """Whether an asset is registered."""
        inventory.used = self._cores_used

    def routes(self) -> list[tuple[str, str, Handler]]:
        some = rf"{PATH}/(?P<endpoint>[^/]+)/deployments"
        one = rf"{some}/(?P<deployment>[^/]+)"
        return [
            ("GET", some, self.list),
            ("GET", one, lambda request: Answer(200, self.find(request, reading=True).read(request))),
            ("PUT", one, self.put),
            ("PATCH", one, self.patch),
            ("DELETE", one, self.delete),
            ("POST", rf"{one}/getLogs", self.logs),
        ]

    def find(self, request: Request, *, reading: bool = False) -> Deployment:
        endpoint = self.endpoints.find(request)
        found = endpoint.deployments.get(request.params["deployment"].lower())
        if found is None:
            raise Deployment(request.params["deployment"], {}, endpoint).unknown()
        return found

    def list(self, request: Request) -> Answer:
        found = list(self.endpoints.find(request).deployments.values())
        found = found[:-1] if request.twisted("list_misses") else found
        if request.twisted("stale"):
            found = [each for each in found if each.previous is not None]
        return self.world.listed(request, [each.read(request) for each in found])

    def behaviour(self, deployment: Deployment) -> Behaviour:
        """By name, image or model, whichever was told; then by the document's own environment."""
        keys = [f"{deployment.endpoint.name}/{deployment.name}", deployment.name, deployment.image]
        keys += [str(deployment.properties.get("model") or "")]
        told = [self.behaviours[key] for key in keys if key in self.behaviours]
        told += [each for key, each in self.behaviours.items() if any(f"/{key}/" in f"{id_}/" for id_ in keys[2:])]
        return told[0] if told else Behaviour(**read(deployment.properties.get("environmentVariables") or {}))

    # ---- writes

    def put(self, request: Request) -> Answer:
        endpoint = self.endpoints.find(request)
        name, body = request.params["deployment"], request.json
        self._refuse_busy(endpoint, name)
        found = endpoint.deployments.get(name.lower())
        self._check(endpoint, name, body, is_new=found is None)
        shortage = self._shortage(found, body)
        deployment = found or self.make(endpoint, name, body)
        if found is not None:
            found.remember()
            self._replace(found, body)
        deployment.state = "Updating" if found else "Creating"  # 2025; in 2022 a new one was Updating (recording 03)
        behaviour = self.behaviour(deployment)
        code = "OutOfQuota" if shortage else behaviour.fails_with or self._missing_asset(deployment)
        seconds = self.world.settings.deploy_s if behaviour.deploy_s is None else behaviour.deploy_s
        operation = self.world.start(
            deployment,
            "odidp",
            math.inf if behaviour.never_ready else seconds,
            lambda: self.bring_up(deployment),
            request=request,
            error={"code": code, "message": shortage or failure_of(code).message} if code else None,
        )
        deployment.stages_of, deployment.failed_with = operation, code
        headers = self.world.headers(request, operation, deployment.document["id"])
        headers["x-ms-ratelimit-remaining-subscription-resource-requests"] = "24"  # recording 03
        return Answer(201, copy.deepcopy(deployment.document), headers)

    def _refuse_busy(self, endpoint: Endpoint, name: str) -> None:
        now = self.world.now()
        if endpoint.is_busy(now) and self.world.settings.busy == 400:
            state = "Updating" if endpoint.state == "Succeeded" else endpoint.state
            raise bad(  # azure-sdk-for-net#36961, also just after Succeeded
                f"Cannot create a deployment in endpoint {endpoint.name} because it is in {state} provisioning state."
            )
        self.endpoints.refuse_busy(endpoint)
        found = endpoint.deployments.get(name.lower())
        if found is not None and found.is_busy(now):
            raise conflict(endpoint)

    def _check(self, endpoint: Endpoint, name: str, body: dict[str, Any], *, is_new: bool) -> None:
        settings, properties = self.world.settings, body.get("properties") or {}
        if is_new and not (3 <= len(name) <= 32 and NAME.match(name)):
            raise bad(f"Deployment name '{name}' is invalid.")  # invented
        if is_new and len(endpoint.deployments) >= settings.max_deployments:
            # docs how-to-manage-quotas; the text is invented
            raise bad(
                f"Endpoint {endpoint.name} has {settings.max_deployments} deployments, which is the limit.",
                "QuotaExceeded",
            )
        check_tags(body.get("tags") or {})
        self._check_capacity(endpoint, body)
        kubernetes = bool(endpoint.properties["compute"])
        if (properties.get("endpointComputeType") == "Kubernetes") != kubernetes:
            raise bad("The compute type of the deployment does not match that of its endpoint.")  # invented
        if not kubernetes and (properties.get("instanceType") or "").lower() not in self.inventory.sizes:
            raise bad(
                f"Instance type {properties.get('instanceType')} is not supported in {REGION}.", "InvalidSkuInRegion"
            )

    def _check_capacity(self, endpoint: Endpoint, body: dict[str, Any]) -> None:
        """docs how-to-manage-quotas for the most; Azure/mlops-v2#48 for the least of a managed one. Text invented."""
        capacity = (body.get("sku") or {}).get("capacity", 1)
        least, most = 0 if endpoint.properties["compute"] else 1, self.world.settings.max_instances
        if not isinstance(capacity, int) or not least <= capacity <= most:
            code = "QuotaExceeded" if isinstance(capacity, int) and capacity > most else "BadRequest"
            raise bad(f"The number of instances has to be from {least} to {most}.", code)

    def make(self, endpoint: Endpoint, name: str, body: dict[str, Any]) -> Deployment:
        """Let it exist, without instances."""
        now = stamp(self.world.now())
        document = {
            "id": f"{endpoint.document['id']}/deployments/{name}",
            "name": name,
            "type": TYPE,
            "properties": {},
            "systemData": {"createdAt": now, "createdBy": PRINCIPAL, "lastModifiedAt": now},
            "tags": {},
            "location": body.get("location") or REGION,
            "kind": "K8S" if endpoint.properties["compute"] else "Managed",
            "sku": {},
        }
        made = endpoint.deployments[name.lower()] = Deployment(name, document, endpoint)
        self._replace(made, body)
        return made

    def _replace(self, deployment: Deployment, body: dict[str, Any]) -> None:
        asked = copy.deepcopy(body.get("properties") or {})
        kept = deployment.properties.get("properties") or {}
        deployment.document["properties"] = {
            "description": None,
            "modelMountPath": None,
            "privateNetworkConnection": False,
            "egressPublicNetworkAccess": "Enabled",
            **asked,
            "properties": {**(asked.get("properties") or {}), **kept},
        }
        deployment.document["tags"] = dict(body.get("tags") or {})
        deployment.document["sku"] = {
            "name": "Default",
            "tier": "Standard",
            "capacity": (body.get("sku") or {}).get("capacity", 1),
        }
        deployment.document["systemData"]["lastModifiedAt"] = stamp(self.world.now())

    def bring_up(self, deployment: Deployment) -> None:
        """Its instances are up: defaults and injected variables show now (recordings 03 and 04)."""
        held = deployment.properties
        held["requestSettings"] = {**REQUESTS, **(held.get("requestSettings") or {})}
        for probe in ("livenessProbe", "readinessProbe"):
            held[probe] = {**PROBE, **(held.get(probe) or {})}
        held.setdefault("scaleSettings", {"scaleType": "Default"})
        if held.get("instanceType") and held.get("endpointComputeType") == "Managed":
            held["instanceType"] = held["instanceType"].upper()
        injected = {"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/1498425f064ef007b4f000a85a5f4645/1"}
        if script := (held.get("codeConfiguration") or {}).get("scoringScript"):
            injected |= {"AZUREML_ENTRY_SCRIPT": script, "AML_APP_ROOT": "/var/azureml-app/onlinescoring"}
        held["environmentVariables"] = {**(held.get("environmentVariables") or {}), **injected}
        self.resize(deployment)

    @staticmethod
    def resize(deployment: Deployment) -> None:
        """It has as many instances as it should."""
        deployment.state, deployment.was_ready = "Succeeded", True
        deployment.instances, deployment.failed_with = deployment.capacity, ""

    def patch(self, request: Request) -> Answer:
        """sku and tags only (swagger/OnlineEndpoint.tsp.md)."""
        deployment, body = self.find(request), request.json
        self._refuse_busy(deployment.endpoint, deployment.name)
        self._check_capacity(deployment.endpoint, body)
        check_tags({key: value for key, value in (body.get("tags") or {}).items() if value is not None})
        deployment.remember()
        before = deployment.capacity
        shortage = self._shortage(
            deployment, {"properties": deployment.properties, "sku": body.get("sku") or {"capacity": before}}
        )
        self.world.retag(deployment.document, body)
        deployment.document["systemData"]["lastModifiedAt"] = stamp(self.world.now())
        wanted = (body.get("sku") or {}).get("capacity", before)
        if wanted == before and request.twist is None:
            return Answer(200, copy.deepcopy(deployment.document))
        deployment.document["sku"]["capacity"] = wanted
        deployment.state = "Scaling"  # in the enum; not recorded
        operation = self.world.start(
            deployment,
            "odidp",
            self.world.settings.scale_s,
            lambda: self.resize(deployment),
            request=request,
            error={"code": "OutOfQuota", "message": shortage} if shortage else None,
        )
        return Answer(202, None, self.world.headers(request, operation))

    def delete(self, request: Request) -> Answer:
        """Refused while it has live traffic (docs, studio note) or mirrored (assumed); it ends what is under way."""
        endpoint = self.endpoints.find(request)
        deployment = endpoint.deployments.get(request.params["deployment"].lower())
        if deployment is None:
            return Answer(204)
        self.endpoints.refuse_busy(endpoint, but=deployment)
        if deployment.state == "Deleting":
            raise conflict(endpoint)
        shares = {**endpoint.traffic, **endpoint.mirror}
        if any(share for name, share in shares.items() if name.lower() == deployment.name.lower()):
            raise bad(
                f"Deployment {deployment.name} has traffic and cannot be deleted. Set its traffic to 0 first."
            )  # invented
        self.world.cancel(deployment.operation)
        deployment.remember()
        deployment.state = "Deleting"
        operation = self.world.start(
            deployment,
            "odidp",
            self.world.settings.delete_s,
            lambda: endpoint.deployments.pop(deployment.name.lower(), None) and None,
            request=request,
        )
        return Answer(202, b"null", self.world.headers(request, operation))

    # ---- quota and assets

    def _shortage(self, deployment: Deployment | None, body: dict[str, Any]) -> str:
        """What is missing for ``body``; 20 % more is reserved (docs quota-allocation). The text is invented."""
        size = self.inventory.sizes.get(str((body.get("properties") or {}).get("instanceType")).lower())
        if size is None:
            return ""  # Kubernetes
        wanted = reserve((body.get("sku") or {}).get("capacity", 1)) * size.vcpus
        held = 0
        if deployment is not None and self.inventory.size_of(deployment.properties) is size:
            held = reserve(deployment.capacity) * size.vcpus
        return self.inventory.shortage(size.family, wanted - held)

    def _cores_used(self) -> dict[str, int]:
        """By family; a deployment that failed keeps its own (WIRE 2)."""
        used: dict[str, int] = {}
        for endpoint in self.endpoints.all.values():
            for each in endpoint.deployments.values():
                if (size := self.inventory.size_of(each.properties)) is not None:
                    used[size.family] = used.get(size.family, 0) + reserve(each.capacity) * size.vcpus
        return used

    def _missing_asset(self, deployment: Deployment) -> str:
        named = [deployment.properties.get("model"), deployment.properties.get("environmentId")]
        strict = self.world.settings.strict_assets
        return "ResourceNotFound" if strict and not all(self.exists(each) for each in named if each) else ""

    # ---- logs

    def logs(self, request: Request) -> Answer:
        """What a container has printed so far; empty before it exists (assumed)."""
        deployment, body = self.find(request), request.json
        container = body.get("containerType") or "InferenceServer"
        if container not in {"StorageInitializer", "InferenceServer"}:
            raise bad(f"Container type {container} is unknown.")  # invented
        lines = self._printed(deployment)[container].splitlines()
        tail = body.get("tail")
        return Answer(200, {"content": "\n".join(lines[-int(tail) :] if tail else lines)})

    def stage(self, deployment: Deployment) -> str:
        """image, pull, model or server: what it does, where it failed; server when it is up."""
        operation = deployment.stages_of
        if operation is None or operation.status == "Succeeded":
            return "server"
        if deployment.failed_with and not operation.is_pending:
            return failure_of(deployment.failed_with).stage
        seconds = (operation.until - operation.started).total_seconds()
        part = (self.world.now() - operation.started).total_seconds() / max(seconds, 1e-9)
        return next((stage for stage, end in STAGES if part < end), "server")

    def _printed(self, deployment: Deployment) -> dict[str, str]:
        stage = "model" if deployment.was_ready else self.stage(deployment)
        fetched = "Downloading the model\nDownloaded the model in 1.2 s\n"
        printed = {"StorageInitializer": "", "InferenceServer": ""}
        if stage in {"model", "server"} or deployment.was_ready:
            printed["StorageInitializer"] = fetched
        if stage == "server" or deployment.was_ready:
            printed["InferenceServer"] = (
                "Azure ML Inferencing HTTP server v1.5.1\nLoaded logging config\n" + self.behaviour(deployment).log
            )
        if deployment.failed_with and stage == "server":
            printed["InferenceServer"] += failure_of(deployment.failed_with).log
        elif deployment.was_ready:
            printed["InferenceServer"] += "Listening at: http://0.0.0.0:5001\nInvoked init\n"
        return printed


def reserve(instances: int) -> int:
    """Instances that count against quota: a fifth more, rounded up."""
    return math.ceil(instances * 12 / 10)
