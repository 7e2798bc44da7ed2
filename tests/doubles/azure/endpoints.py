"""Online endpoints: what ARM and Azure ML accept, and what they answer."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from doubles.azure.checks import check_mirror, check_tags, check_traffic
from doubles.azure.messages import Answer, Handler, Refusal, Request, bad, missing
from doubles.azure.world import (
    GROUP,
    LONG_AGO,
    PRINCIPAL,
    REGION,
    TENANT,
    WORKSPACE,
    WORKSPACE_ID,
    Resource,
    World,
    stamp,
)

NAME = re.compile(r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")
TYPE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
PATH = r"(?P<workspace>.+/workspaces/[^/]+)/onlineEndpoints"


class Endpoint(Resource):
    """One online endpoint and its deployments, by their names in lower case."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        super().__init__(name, document)
        self.deployments: dict[str, Any] = {}
        self.keys = ["", ""]

    def unknown(self) -> Refusal:
        return missing(
            "Microsoft.MachineLearningServices/workspaces", f"{WORKSPACE}/onlineEndpoints/{self.name}", GROUP
        )

    @property
    def traffic(self) -> dict[str, int]:
        return self.properties["traffic"]

    @property
    def mirror(self) -> dict[str, int]:
        return self.properties["mirrorTraffic"]


class Endpoints:
    """All endpoints of the workspace."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.all: dict[str, Endpoint] = {}
        self._freed: dict[str, datetime] = {}
        self._newest = ""
        self.computes: Mapping[str, Any] = {}
        """Clusters by name in lower case."""

    def routes(self) -> list[tuple[str, str, Handler]]:
        one = rf"{PATH}/(?P<endpoint>[^/]+)"
        return [
            ("GET", PATH, self.list),
            ("GET", one, lambda request: Answer(200, self.shown(request))),
            ("PUT", one, self.put),
            ("PATCH", one, self.patch),
            ("DELETE", one, self.delete),
            ("POST", rf"{one}/listKeys", self.list_keys),
            ("POST", rf"{one}/regenerateKeys", self.regenerate_keys),
            ("POST", rf"{one}/token", self.token),
        ]

    # ---- reads

    def find(self, request: Request) -> Endpoint:
        """The endpoint that the path names.

        Raises:
            Refusal: there is none.
        """
        name = request.params["endpoint"]
        if (found := self.all.get(name.lower())) is None:
            raise Endpoint(name, {}).unknown()
        return found

    def shown(self, request: Request) -> dict[str, Any]:
        return self.find(request).read(request)

    def list(self, request: Request) -> Answer:
        hidden = self._newest if request.twisted("list_misses") else ""
        return self.world.listed(request, [each.read(request) for key, each in self.all.items() if key != hidden])

    # ---- writes

    def put(self, request: Request) -> Answer:
        name = request.params["endpoint"]
        found = self.all.get(name.lower())
        body = request.json
        asked = body.get("properties") or {}
        if found is None:
            self._check_name(name)
        else:
            self.refuse_busy(found)
        check_tags(body.get("tags") or {})
        traffic, mirror = asked.get("traffic") or {}, asked.get("mirrorTraffic") or {}
        kubernetes = self._check_compute(asked.get("compute"))
        there, now, also = (found.deployments, found.traffic, found.mirror) if found else ({}, {}, {})
        check_traffic(traffic, there, now)
        check_mirror(mirror, traffic, there, also, kubernetes=kubernetes)
        return self._update(request, found, body) if found else self._create(request, name, body)

    def _check_name(self, name: str) -> None:
        if not (3 <= len(name) <= 32 and NAME.match(name)):
            # limits: docs how-to-manage-quotas; the text is invented
            raise bad(
                f"Endpoint name '{name}' is invalid: 3 to 32 letters, digits and hyphens, beginning with a letter."
            )
        if name.lower() in self.world.settings.taken:
            raise bad(  # recordings/07; the status is assumed
                "There is already an endpoint with this name, Endpoint name needs to be unique within a region. "
                "Try some other name."
            )
        if self.world.now() < self._freed.get(name.lower(), LONG_AGO):
            raise Refusal(  # recordings/07: re-create of a deleted endpoint name
                404,
                "NotFound",
                "The specified resource was not found.",
                details=[
                    {
                        "code": "InferencingClientCallFailed",
                        "message": '{"title":"Not Found"}',
                        "details": [],
                        "additionalInfo": [],
                    }
                ],
            )

    def _check_compute(self, compute: str | None) -> bool:
        """Whether it is on Kubernetes: then on a cluster that is attached (assumed; the text is invented)."""
        if compute and compute.rpartition("/")[2].lower() not in self.computes:
            raise bad(f"Compute {compute.rpartition('/')[2]} is not attached to workspace {WORKSPACE}.")
        return bool(compute)

    def refuse_busy(self, endpoint: Endpoint, *, but: Resource | None = None) -> None:
        """One operation at a time per endpoint (docs #http-status-codes: 409 on Kubernetes; managed: #36961)."""
        now = self.world.now()
        each = [endpoint, *endpoint.deployments.values()] if self.world.settings.lock == "endpoint" else [endpoint]
        if any(resource.is_busy(now) for resource in each if resource is not but):
            raise conflict(endpoint)

    def _create(self, request: Request, name: str, body: dict[str, Any]) -> Answer:
        endpoint = self.make(name, body)
        endpoint.state = "Creating"
        scoring = {key: endpoint.properties[key] for key in ("scoringUri", "swaggerUri")}
        endpoint.properties.update(dict.fromkeys(scoring, False))  # recording 01

        def finish() -> None:
            endpoint.properties.update(scoring)
            endpoint.state = "Succeeded"
            endpoint.document["systemData"]["lastModifiedAt"] = stamp(self.world.now())

        operation = self.world.start(endpoint, "oeidp", self.world.settings.endpoint_s, finish, request=request)
        shown = copy.deepcopy(endpoint.document)
        return Answer(201, shown, self.world.headers(request, operation, endpoint.document["id"]))

    def make(self, name: str, body: dict[str, Any]) -> Endpoint:
        """Let it exist, as recordings 01 and 02 show it."""
        asked = body.get("properties") or {}
        now, path = stamp(self.world.now()), f"{WORKSPACE_ID}/onlineEndpoints/{name}"
        base = f"{self.world.address}/inference/{name}"  # of the real ones the host is the endpoint's own
        identity = body.get("identity") or {"type": "None"}
        if "SystemAssigned" in identity["type"]:
            identity = {**identity, "principalId": self.world.guid(), "tenantId": TENANT}
        document = {
            "id": path,
            "name": name,
            "type": TYPE,
            "properties": {
                "description": asked.get("description"),
                "properties": {**(asked.get("properties") or {}), "azureml.onlineendpointid": path.lower()},
                "scoringUri": f"{base}/score",
                "swaggerUri": f"{base}/swagger.json",
                "authMode": asked.get("authMode") or "Key",
                "provisioningState": "Succeeded",
                "compute": asked.get("compute"),
                "traffic": dict(asked.get("traffic") or {}),
                "mirrorTraffic": dict(asked.get("mirrorTraffic") or {}),
                "publicNetworkAccess": asked.get("publicNetworkAccess") or "Enabled",
            },
            "systemData": {"createdAt": now, "createdBy": PRINCIPAL, "lastModifiedAt": now},
            "tags": dict(body.get("tags") or {}),
            "location": body.get("location") or REGION,
            "kind": "K8S" if asked.get("compute") else "Managed",
            "identity": identity,
        }
        endpoint = self.all[name.lower()] = Endpoint(name, document)
        endpoint.keys = [f"{self.world.guid()}-primary", f"{self.world.guid()}-secondary"]
        self._newest = name.lower()
        return endpoint

    def _update(self, request: Request, endpoint: Endpoint, body: dict[str, Any]) -> Answer:
        """A full replace: what the body lacks is gone (WIRE 2); identity and auth mode stay when they are left out."""
        endpoint.remember()
        asked = copy.deepcopy(body.get("properties") or {})
        endpoint.state = "Updating"
        endpoint.document["systemData"]["lastModifiedAt"] = stamp(self.world.now())  # 02: the start of the operation

        def finish() -> None:
            held = endpoint.properties
            held["traffic"], held["mirrorTraffic"] = asked.get("traffic") or {}, asked.get("mirrorTraffic") or {}
            held["description"] = asked.get("description")
            held["properties"] = {
                **(asked.get("properties") or {}),
                **held["properties"],
            }  # TypeSpec: cannot be removed
            endpoint.document["tags"] = dict(body.get("tags") or {})
            endpoint.state = "Succeeded"

        operation = self.world.start(endpoint, "oeidp", self.world.settings.traffic_s, finish, request=request)
        shown = self._lie(endpoint, body, asked) if self.world.settings.lying else copy.deepcopy(endpoint.document)
        return Answer(201, shown, self.world.headers(request, operation, endpoint.document["id"]))

    @staticmethod
    def _lie(endpoint: Endpoint, body: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
        """The 201 of an update (recording 02): Creating, the new traffic, no address, location, identity, createdAt."""
        uri = endpoint.properties["properties"]["AzureAsyncOperationUri"]
        return {
            **{key: endpoint.document[key] for key in ("id", "name", "type", "kind")},
            "properties": {
                "description": asked.get("description"),
                "properties": {**(asked.get("properties") or {}), "AzureAsyncOperationUri": uri},
                "scoringUri": None,
                "swaggerUri": None,
                "authMode": asked.get("authMode"),
                "provisioningState": "Creating",
                "compute": endpoint.properties["compute"],
                "traffic": asked.get("traffic") or {},
                "mirrorTraffic": asked.get("mirrorTraffic") or {},
                "publicNetworkAccess": "Enabled",
            },
            "systemData": {"lastModifiedAt": endpoint.document["systemData"]["lastModifiedAt"]},
            "tags": body.get("tags") or {},
        }

    def patch(self, request: Request) -> Answer:
        """Tags and identity only (swagger/OnlineEndpoint.tsp.md); anything else in the body is ignored (assumed)."""
        endpoint = self.find(request)
        self.refuse_busy(endpoint)
        body = request.json
        check_tags({key: value for key, value in (body.get("tags") or {}).items() if value is not None})
        endpoint.remember()

        def finish() -> None:
            self.world.retag(endpoint.document, body)
            if body.get("identity"):
                endpoint.document["identity"] = {**endpoint.document["identity"], **body["identity"]}
            endpoint.document["systemData"]["lastModifiedAt"] = stamp(self.world.now())
            endpoint.state = "Succeeded" if endpoint.state == "Updating" else endpoint.state

        if self.world.settings.patch_status == 200 and request.twist is None:
            finish()
            return Answer(200, copy.deepcopy(endpoint.document))
        endpoint.state = "Updating"
        operation = self.world.start(endpoint, "oeidp", self.world.settings.traffic_s, finish, request=request)
        return Answer(202, None, self.world.headers(request, operation))

    def delete(self, request: Request) -> Answer:
        """With all its deployments (docs); 202 with ``null`` or 204 (recording 05). It ends what is under way."""
        endpoint = self.all.get(request.params["endpoint"].lower())
        if endpoint is None:
            return Answer(204)
        if endpoint.state == "Deleting":
            raise conflict(endpoint)
        for resource in (endpoint, *endpoint.deployments.values()):
            self.world.cancel(resource.operation)
        endpoint.remember()
        endpoint.state = "Deleting"
        operation = self.world.start(
            endpoint, "oeidp", self.world.settings.delete_s, lambda: self.drop(endpoint), request=request
        )
        return Answer(202, b"null", self.world.headers(request, operation))

    def drop(self, endpoint: Endpoint) -> None:
        """Let it be gone."""
        self.all.pop(endpoint.name.lower(), None)
        self._freed[endpoint.name.lower()] = self.world.now() + timedelta(seconds=self.world.settings.freed_late_s)

    # ---- keys

    def list_keys(self, request: Request) -> Answer:
        endpoint = self.find(request)
        if endpoint.properties["authMode"] != "Key":
            raise bad("Keys exist only for endpoints whose authMode is Key.")  # invented
        return Answer(200, {"primaryKey": endpoint.keys[0], "secondaryKey": endpoint.keys[1]})

    def regenerate_keys(self, request: Request) -> Answer:
        """202 with Location (TypeSpec); the SDK sends the current key as keyValue (WIRE 2), a new one is made."""
        endpoint = self.find(request)
        index = 1 if request.json.get("keyType") == "Secondary" else 0

        def finish() -> None:
            endpoint.keys[index] = f"{self.world.guid()}-{'secondary' if index else 'primary'}"

        before = endpoint.state
        operation = self.world.start(endpoint, "oeidp", 0.0, finish, request=request)
        self.world.settle()
        endpoint.state = before
        return Answer(202, None, self.world.headers(request, operation))

    def token(self, request: Request) -> Answer:
        """Recording 01: expires after 24 h, refresh after 12 h."""
        endpoint = self.find(request)
        now = int(self.world.now().timestamp())
        return Answer(
            200,
            {
                "accessToken": f"aml-{endpoint.keys[0]}",
                "tokenType": "Bearer",
                "expiryTimeUtc": now + 24 * 3600,
                "refreshAfterTimeUtc": now + 12 * 3600,
            },
        )


def conflict(endpoint: Endpoint) -> Refusal:
    """Status: docs #http-status-codes; the text is invented (recordings/07)."""
    return Refusal(409, "Conflict", f"Another operation is in progress on endpoint {endpoint.name}. Try again later.")
