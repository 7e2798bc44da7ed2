"""The data plane: requests are split, answered, refused and logged as by a managed online endpoint."""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from doubles.azure.behaviours import Behaviour
from doubles.azure.deployments import REQUESTS, Deployment, Deployments
from doubles.azure.endpoints import Endpoint
from doubles.azure.messages import Answer, Handler, Request
from doubles.azure.world import REGION, SUBSCRIPTION, TENANT, WORKSPACE, World

PIN = "azureml-model-deployment"
_REASONS = {
    200: "OK",
    401: "Unauthorized",
    404: "Not Found",
    408: "Request Timeout",
    424: "Failed Dependency",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_SECONDS = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?")


class Row(NamedTuple):
    """One request, as AmlOnlineEndpointTrafficLog keeps it (WIRE 4b)."""

    ended: datetime
    endpoint: str
    deployment: str
    """Empty: none was reached."""
    code: int
    model_code: int | None
    total_ms: int
    model_ms: int | None
    request_id: str
    client_request_id: str = ""
    pinned: bool = False
    mirrored: bool = False
    """Whether and under which name these are logged is not known (WIRE 4b): the reader decides."""
    auth: str = "Key"
    user_agent: str = ""
    sent: int = 0
    received: int = 0
    path: str = "/score"
    kubernetes: bool = False
    """The log is of managed endpoints only (WIRE 4b)."""

    def document(self) -> dict[str, Any]:
        """The row with the columns of the table."""
        return {
            "TimeGenerated": self.ended - timedelta(milliseconds=self.total_ms),
            "EndpointName": self.endpoint,
            "DeploymentName": self.deployment,
            "AzureMLWorkspaceId": WORKSPACE,
            "AzureMLWorkspaceName": WORKSPACE,
            "Method": "POST",
            "Path": self.path,
            "Protocol": "HTTP/1.1",
            "AuthType": self.auth,
            "IdentityData": "",
            "UserAgent": self.user_agent[:70],
            "ResponseCode": self.code,
            "ResponseCodeReason": _REASONS.get(self.code, ""),
            "ModelStatusCode": self.model_code,
            "ModelStatusReason": _REASONS.get(self.model_code or 0, ""),
            "TotalDurationMs": self.total_ms,
            "RequestDurationMs": 0,
            "ResponseDurationMs": self.model_ms,
            "RequestThrottlingDelayMs": 0,
            "ResponseThrottlingDelayMs": 0,
            "RequestPayloadSize": self.sent,
            "ResponsePayloadSize": self.received,
            "XRequestId": self.request_id,
            "XMSClientRequestId": self.client_request_id,
            "Location": REGION,
            "OperationName": "Score",
            "TenantId": TENANT,
            "SourceSystem": "Azure",
            "Type": "AmlOnlineEndpointTrafficLog",
            "_ResourceId": f"/subscriptions/{SUBSCRIPTION}/resourcegroups/rg/providers/microsoft.machinelearningservices"
            f"/workspaces/{WORKSPACE}/onlineendpoints/{self.endpoint.lower()}",
            "_SubscriptionId": SUBSCRIPTION,
            "_BilledSize": 512.0,
            "_IsBillable": "True",
        }


@dataclass(frozen=True, slots=True)
class _Codes:
    """What the front end answers (docs how-to-troubleshoot-online-endpoints #http-status-codes)."""

    late: int
    failed: int
    busy: int


MANAGED, KUBERNETES = _Codes(408, 424, 429), _Codes(504, 502, 503)


@dataclass(frozen=True, slots=True)
class _Outcome:
    code: int
    model_code: int | None
    total_ms: float
    model_ms: float | None


class Scoring:
    """Serves ``/inference/{endpoint}/score``.

    Attributes:
        traffic: every request so far, mirrored ones too.
        listeners: told of each row, in the thread that made it.
        overhead_ms: of the front end.
    """

    def __init__(self, world: World, deployments: Deployments, seed: int) -> None:
        self.world, self.deployments = world, deployments
        self.traffic: list[Row] = []
        self.listeners: list[Callable[[Row], None]] = []
        self.overhead_ms = 1.0
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("POST", r"/inference/(?P<endpoint>[^/]+)(?P<score>/.+)", self.score),
            ("GET", r"/inference/(?P<endpoint>[^/]+)/swagger\.json", self.swagger),
        ]

    # ---- over HTTP

    def swagger(self, request: Request) -> Answer:
        paths = {"/score": {"post": {"operationId": "RunMLService"}}}
        return Answer(200, {"swagger": "2.0", "info": {"title": request.params["endpoint"]}, "paths": paths})

    def score(self, request: Request) -> Answer:
        """Codes: docs how-to-troubleshoot-online-endpoints #http-status-codes. Bodies of refusals are invented."""
        began = time.monotonic()
        with self.world.lock:
            endpoint = self.deployments.endpoints.all.get(request.params["endpoint"].lower())
            refusal, deployment = self._route(request, endpoint)
            held = deployment is not None and self._enter(deployment)
            mirror = self._mirror(endpoint) if endpoint and deployment and PIN not in request.headers else None
        if endpoint is None or refusal or deployment is None:
            return self._answer(request, endpoint, None, _Outcome(refusal, None, _since(began), None))
        if not held:
            return self._answer(
                request, endpoint, deployment, _Outcome(_codes(endpoint).busy, None, _since(began), None)
            )
        try:
            outcome = self._run(deployment)
            time.sleep(max(outcome.total_ms / 1000 - (time.monotonic() - began), 0.0))
        finally:
            with self.world.lock:
                deployment.pending -= 1
        if mirror is not None:
            self._note(endpoint, mirror, self._run(mirror), request, mirrored=True)
        return self._answer(request, endpoint, deployment, outcome)

    def _route(self, request: Request, endpoint: Endpoint | None) -> tuple[int, Deployment | None]:
        if endpoint is None:
            return 404, None
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if endpoint.properties["authMode"] == "Key":
            allowed = token in endpoint.keys
        else:
            allowed = (
                token == f"aml-{endpoint.keys[0]}" if endpoint.properties["authMode"] == "AMLToken" else bool(token)
            )
        if not allowed:
            return 401, None
        found = self._pick(endpoint, request.headers.get(PIN))
        return (0, found) if found is not None else (404, None)

    def _pick(self, endpoint: Endpoint, pin: str | None) -> Deployment | None:
        """A pinned request reaches what has no traffic too (docs), but nothing without instances (assumed); None: 404."""
        if pin is not None:
            found = endpoint.deployments.get(pin.lower())
            return found if found is not None and found.was_ready and found.instances else None
        ready = [
            (endpoint.deployments[name.lower()], share)
            for name, share in endpoint.traffic.items()
            if share and name.lower() in endpoint.deployments
        ]
        if not ready:
            return None
        return self._chance.choices([each for each, _ in ready], [share for _, share in ready])[0]

    def _mirror(self, endpoint: Endpoint) -> Deployment | None:
        for name, share in endpoint.mirror.items():
            if self._chance.random() * 100 < share:
                return endpoint.deployments.get(name.lower())
        return None

    def _enter(self, deployment: Deployment) -> bool:
        """At most 2 x max_concurrent x instances at once (docs: else 429)."""
        most = {**REQUESTS, **deployment.settings}["maxConcurrentRequestsPerInstance"]
        if deployment.pending >= 2 * most * max(deployment.instances, 0):
            return False
        deployment.pending += 1
        return True

    def _run(self, deployment: Deployment) -> _Outcome:
        behaviour = self.deployments.behaviour(deployment)
        with self._lock:
            return self._outcome(behaviour, _timeout_ms(deployment), _codes(deployment.endpoint), self._chance)

    def _outcome(self, behaviour: Behaviour, timeout_ms: float, codes: _Codes, chance: random.Random) -> _Outcome:
        model_ms = behaviour.model_ms(chance)
        if model_ms > timeout_ms:
            return _Outcome(codes.late, None, timeout_ms + self.overhead_ms, None)
        failed = chance.random() < behaviour.error_rate
        model_code = behaviour.status if failed else 200
        return _Outcome(codes.failed if failed else 200, model_code, model_ms + self.overhead_ms, model_ms)

    def _answer(
        self, request: Request, endpoint: Endpoint | None, deployment: Deployment | None, outcome: _Outcome
    ) -> Answer:
        row = self._note(endpoint, deployment, outcome, request)
        headers = {"Server": "azureml-frontdoor", "X-Request-ID": row.request_id}
        if request.headers.get("x-ms-client-request-id"):
            headers["x-ms-client-request-id"] = request.headers["x-ms-client-request-id"]
        if deployment is not None:  # recordings 01 and 02
            headers |= {PIN: deployment.name, "azureml-model-session": deployment.name}
        if outcome.model_code is None:
            return Answer(
                outcome.code, f"{_REASONS[outcome.code]}\n".encode(), {**headers, "Content-Type": "text/plain"}
            )
        assert deployment is not None
        failed = outcome.model_code >= 400
        headers |= {
            "x-ms-run-fn-exec-ms": f"{outcome.model_ms:.3f}",
            "x-ms-run-function-failed": str(failed),
        }
        if server := self.deployments.behaviour(deployment).server:
            headers["x-ms-server-version"] = server
        if failed:  # docs: 424 carries what the model said
            headers |= {
                "ms-azureml-model-error-statuscode": str(outcome.model_code),
                "ms-azureml-model-error-reason": "model_error",
            }
        return Answer(outcome.code, {"error": "the model failed"} if failed else [5215.198, 3726.995], headers)

    def _note(
        self,
        endpoint: Endpoint | None,
        deployment: Deployment | None,
        outcome: _Outcome,
        request: Request,
        *,
        mirrored: bool = False,
    ) -> Row:
        with self.world.lock:
            row = Row(
                self.world.now(),
                endpoint.name if endpoint else request.params["endpoint"],
                deployment.name if deployment else "",
                outcome.code,
                outcome.model_code,
                round(outcome.total_ms),
                None if outcome.model_ms is None else round(outcome.model_ms),
                self.world.guid(),
                request.headers.get("x-ms-client-request-id", ""),
                PIN in request.headers,
                mirrored,
                endpoint.properties["authMode"] if endpoint else "",
                request.headers.get("user-agent", ""),
                len(request.body),
                path=request.params["score"],
                kubernetes=bool(endpoint and endpoint.properties["compute"]),
            )
            self._append([row])
        return row

    def _append(self, rows: list[Row]) -> None:
        self.traffic += rows
        for row in rows if self.listeners else ():
            for listener in self.listeners:
                listener(row)

    # ---- without HTTP

    def send(self, name: str, n: int, *, seconds: float = 60.0, end: datetime | None = None) -> list[Row]:
        """Make the rows of ``n`` users' requests, evenly over the ``seconds`` before ``end`` (now), at today's split."""
        with self.world.lock:
            self.world.settle()
            endpoint = self.deployments.endpoints.all[name.lower()]
            end = (end or self.world.now()).astimezone(UTC)
            rows = list(self._made(endpoint, n, seconds, end))
            self._append(rows)
            return rows

    def _made(self, endpoint: Endpoint, n: int, seconds: float, end: datetime) -> Iterator[Row]:
        chance, start = self._chance, end - timedelta(seconds=seconds)
        step = timedelta(seconds=seconds / n) if n else timedelta()
        there = [endpoint.deployments.get(key.lower()) for key, share in endpoint.traffic.items() if share]
        live = [each for each in there if each is not None]
        shares = [share for share in endpoint.traffic.values() if share]
        codes, kubernetes = _codes(endpoint), bool(endpoint.properties["compute"])
        known = {
            each.name: (self.deployments.behaviour(each), _timeout_ms(each), codes)
            for each in endpoint.deployments.values()
        }
        picked: list[Any] = chance.choices(live, shares, k=n) if live else [None] * n
        mirror = next(
            ((endpoint.deployments[key.lower()], share) for key, share in endpoint.mirror.items() if share), None
        )
        prefix = f"{chance.getrandbits(64):016x}"
        for number, deployment in enumerate(picked):
            at, request_id = start + (number + 1) * step, f"{prefix}-{number}"
            if deployment is None:
                yield Row(at, endpoint.name, "", 404, None, 1, None, request_id, kubernetes=kubernetes)
                continue
            outcome = self._outcome(*known[deployment.name], chance)
            yield _row(at, deployment, outcome, request_id, kubernetes)
            if mirror is not None and chance.random() * 100 < mirror[1]:
                outcome = self._outcome(*known[mirror[0].name], chance)
                yield _row(at, mirror[0], outcome, f"{request_id}-m", kubernetes, mirrored=True)


def _row(
    at: datetime,
    deployment: Deployment,
    outcome: _Outcome,
    request_id: str,
    kubernetes: bool,
    *,
    mirrored: bool = False,
) -> Row:
    return Row(
        at,
        deployment.endpoint.name,
        deployment.name,
        outcome.code,
        outcome.model_code,
        round(outcome.total_ms),
        None if outcome.model_ms is None else round(outcome.model_ms),
        request_id,
        mirrored=mirrored,
        kubernetes=kubernetes,
    )


def _codes(endpoint: Endpoint) -> _Codes:
    return KUBERNETES if endpoint.properties["compute"] else MANAGED


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000


def _timeout_ms(deployment: Deployment) -> float:
    found = _SECONDS.fullmatch({**REQUESTS, **deployment.settings}["requestTimeout"])
    assert found is not None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return (hours * 3600 + minutes * 60 + seconds) * 1000
