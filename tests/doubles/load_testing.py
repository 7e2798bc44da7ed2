"""Azure Load Testing's data plane under azure-core: tests, files, runs and their statistics, by a clock that tests move.

Shapes are those of the SDK's own models (azure-developer-loadtesting 1.2.0b1, api-version 2025-11-01-preview), by which
every answer is read back here before it is sent. That runs go through these states in this order is in the SDK's
``TestRunStatus``; how long each takes, and the texts of errors, are *invented*.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from azure.core.rest._requests_basic import RestRequestsTransportResponse
from azure.developer.loadtesting import models

from deployer.ports.clock import Clock
from tests.doubles.arm_script import Answer, Asked, ScriptedTransport
from tests.doubles.telemetry import ManualClock

API_VERSION = "2025-11-01-preview"
STATES = ("ACCEPTED", "NOTSTARTED", "PROVISIONING", "PROVISIONED", "CONFIGURING", "CONFIGURED")
"""Before ``EXECUTING``."""

STATISTICS = {
    "transaction": "Total",
    "sampleCount": 1000.0,
    "errorCount": 10.0,
    "errorPct": 1.0,
    "meanResTime": 22.0,
    "medianResTime": 20.0,
    "maxResTime": 900.0,
    "minResTime": 5.0,
    "pct1ResTime": 50.0,
    "pct2ResTime": 80.0,
    "pct3ResTime": 200.0,
    "pct75ResTime": 30.0,
    "throughput": 50.0,
}


@dataclass(frozen=True)
class Served:
    """An answer over HTTP; ``cut``: the connection is closed instead."""

    status: int
    body: Any
    headers: Mapping[str, str]
    cut: bool = False


@dataclass
class LoadTestingDouble:
    """The service.

    Attributes:
        provisions_s: from the start of a run to its first request.
        runs_s: how long it sends.
        stops_s: from being told to stop to its end.
        ends: state of a run that was not stopped.
        fault: asked before each request; what it returns is the answer, without effect; an exception is raised.
        stuck: runs stay as they are when they are told to stop.
        rejects: name of a file that does not pass validation.
    """

    clock: Clock = field(default_factory=ManualClock)
    provisions_s: float = 120.0
    runs_s: float = 60.0
    stops_s: float = 20.0
    ends: str = "DONE"
    statistics: dict[str, Any] = field(default_factory=lambda: dict(STATISTICS))
    fault: Callable[[Asked], Answer | Exception | None] = lambda _asked: None
    stuck: bool = False
    rejects: str = ""
    tests: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer | Exception:
        self.asked.append(asked)
        if asked.query.get("api-version") != API_VERSION:
            return _error(400, "InvalidApiVersion", "unknown api-version")
        if not asked.headers.get("Authorization", "").startswith("Bearer token-"):
            return _error(401, "Unauthorized", "no token")
        if (fault := self.fault(asked)) is not None:
            return fault
        for pattern, handle in (
            (r"/tests/([^/]+)", self._test),
            (r"/tests/([^/]+)/files/([^/]+)", self._file),
            (r"/test-runs/([^/:]+)", self._run),
            (r"/test-runs/([^/:]+):stop", self._stop),
        ):
            if match := re.fullmatch(pattern, asked.path):
                return handle(asked, *match.groups())
        return _error(404, "NotFound", f"no such path {asked.path}")

    def handle(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Served:
        """Serve over HTTP: ``AzureDouble.mount``."""
        parts = urlsplit(target)
        named = {name.title(): value for name, value in headers.items()}
        content = body if named.get("Content-Type") == "application/octet-stream" else json.loads(body or b"null")
        answer = self.answer(Asked(method, parts.path, dict(parse_qsl(parts.query)), named, content))
        if isinstance(answer, Exception):
            return Served(0, None, {}, cut=True)
        return Served(answer.status, json.loads(json.dumps(answer.body, default=str)), answer.headers)

    def _test(self, asked: Asked, name: str) -> Answer:
        if asked.method != "PATCH" or asked.headers["Content-Type"] != "application/merge-patch+json":
            return _error(405, "MethodNotAllowed", asked.method)
        known = self.tests.setdefault(name, {"testId": name})
        for key, value in asked.body.items():
            known[key] = {**known.get(key, {}), **value} if isinstance(value, dict) else value
        return Answer(200, models.Test(known).as_dict())

    def _file(self, asked: Asked, test: str, name: str) -> Answer:
        if test not in self.tests:
            return _error(404, "TestNotFound", f"no test {test}")
        if asked.method == "PUT":
            self.files[test, name] = (asked.query["fileType"], asked.body)
        kind, _ = self.files[test, name]
        is_script = kind == "TEST_SCRIPT"
        state = "VALIDATION_SUCCESS" if is_script else "NOT_VALIDATED"
        told = {"fileName": name, "fileType": kind, "validationStatus": state}
        if name == self.rejects:
            told |= {"validationStatus": "VALIDATION_FAILURE", "validationFailureDetails": "it is no Locust script"}
        return Answer(201 if asked.method == "PUT" else 200, models.TestFileInfo(told).as_dict())

    def _run(self, asked: Asked, name: str) -> Answer:
        if asked.method == "PATCH":
            if asked.body["testId"] not in self.tests:
                return _error(404, "TestNotFound", f"no test {asked.body['testId']}")
            self.runs[name] = {**asked.body, "testRunId": name, "began": self.clock.now(), "stopped": None}
            return Answer(201, self._shown(name))
        if name not in self.runs:
            return _error(404, "TestRunNotFound", f"no run {name}")
        return Answer(200, self._shown(name))

    def _stop(self, asked: Asked, name: str) -> Answer:
        if self.state(name) in ("DONE", "FAILED", "CANCELLED"):
            return _error(409, "TestRunAlreadyEnded", "the run has ended")
        if not self.stuck:
            self.runs[name]["stopped"] = self.clock.now()
        return Answer(200, self._shown(name))

    def state(self, name: str) -> str:
        run = self.runs[name]
        stopped: datetime | None = run["stopped"]
        if stopped is not None:
            return "CANCELLED" if (self.clock.now() - stopped).total_seconds() >= self.stops_s else "CANCELLING"
        at_s = (self.clock.now() - run["began"]).total_seconds()
        if at_s < self.provisions_s:
            return STATES[int(len(STATES) * at_s / self.provisions_s)]
        return "EXECUTING" if at_s < self.provisions_s + self.runs_s else self.ends

    def _shown(self, name: str) -> dict[str, Any]:
        run, state = self.runs[name], self.state(name)
        shown: dict[str, Any] = {"testRunId": name, "testId": run["testId"], "status": state, "kind": "Locust"}
        shown["portalUrl"] = f"https://portal.azure.com/#{name}"
        shown["secrets"] = {key: {**secret, "value": None} for key, secret in run["secrets"].items()}
        at_s = (self.clock.now() - run["began"]).total_seconds() - self.provisions_s
        if at_s > 0 and self.statistics:
            shown["testRunStatistics"] = {
                "Total": self.statistics,
                "score": {**self.statistics, "transaction": "score"},
            }
        if state == "FAILED":
            shown["errorDetails"] = [{"code": "EngineError", "message": "an engine was lost"}]
        return models.TestRun(shown).as_dict()


class LoadTestingTransport(ScriptedTransport):
    """Leads the SDK to the double."""

    def __init__(self, service: LoadTestingDouble) -> None:
        super().__init__()
        self._service = service

    def send(self, request: Any, **_options: Any) -> RestRequestsTransportResponse:
        parts = urlsplit(request.url)
        is_file = request.headers.get("Content-Type") == "application/octet-stream"
        body = request.content if is_file else json.loads(request.content) if request.content else None
        answer = self._service.answer(
            Asked(request.method, parts.path, dict(parse_qsl(parts.query)), dict(request.headers), body)
        )
        if isinstance(answer, Exception):
            raise answer
        made = requests.Response()
        made.status_code = answer.status
        made.headers.update({"Content-Type": "application/json", **answer.headers})
        made._content_consumed = True
        made._content = json.dumps(answer.body, default=str).encode()
        response = RestRequestsTransportResponse(request=request, internal_response=made, block_size=4096)
        response.read()
        return response


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"error": {"code": code, "message": message}})
