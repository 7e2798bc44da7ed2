"""What a deployment that is not ready is doing, or why it never will be: one line, asked sparingly.

Azure says no more than ``Creating`` for ten minutes; which stage it is in shows in which container has printed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deployer.cloud.answers import one_line, read_refusal
from deployer.errors import PlatformError
from deployer.platforms.diagnosis.diagnose import diagnose
from deployer.platforms.diagnosis.log_text import harmless
from deployer.platforms.online.drift import differences
from deployer.platforms.online.endpoint_resource import API, BUSY, EndpointResource, operation_of, state_of
from deployer.platforms.online.reading import created_at, name_of, was_up

LOOK_EVERY_S = 15.0
"""Two calls a look, so not at every observation."""
TAIL = 100
STORAGE, SERVER = "StorageInitializer", "InferenceServer"
"""Containers of a deployment, by their name on the wire; a Kubernetes deployment has only the second one."""


@dataclass(frozen=True, slots=True)
class _Told:
    at: datetime
    state: str
    text: str


class Progress:
    """Reads why deployments of one endpoint are not ready."""

    def __init__(
        self, resource: EndpointResource, containers: tuple[str, ...], note: Callable[[str], None] = lambda _: None
    ) -> None:
        """Fix the endpoint.

        Args:
            resource: the endpoint.
            containers: whose logs can be read.
            note: told once what is worth a line of its own, while it also stays in what ``describe`` says.
        """
        self._resource = resource
        self._note = note
        self._containers = containers
        self._told: dict[tuple[str, datetime | None], _Told] = {}
        self._operations: dict[str, str] = {}
        self._notes: dict[str, str] = {}
        self._bodies: dict[str, Mapping[str, Any]] = {}
        self._ignored: dict[str, str] = {}

    def follow(self, name: str, operation_url: str) -> None:
        """Remember where the operation that makes ``name`` is told about."""
        self._operations[name] = operation_url

    def note(self, name: str, text: str) -> None:
        """Say ``text`` at once, and while ``name`` is made."""
        self._notes[name] = text
        self._note(text)

    def compare(self, name: str, body: Mapping[str, Any]) -> None:
        """Remember what ``name`` was to be: the service may ignore a setting without a word."""
        self._bodies[name] = body

    def describe(self, document: Mapping[str, Any]) -> str:
        """Say in one line what the deployment does, why it failed, or how it differs from what was asked for."""
        state, key = state_of(document), (name_of(document), created_at(document))
        if state == "succeeded":
            return self._differences(document)
        if state == "deleting":
            return "being deleted"
        now, told = self._resource.clock.now(), self._told.get(key)
        if told is None or told.state != state or (state in BUSY and now - told.at > timedelta(seconds=LOOK_EVERY_S)):
            text = self._stage(document) if state in BUSY else self._failure(document)
            told = self._told[key] = _Told(now, state, text)
        return told.text

    def logs(self, name: str, container: str, lines: int) -> str:
        """Return the end of what a container printed, without secrets; empty when it cannot be had."""
        path = f"{self._resource.deployment_path(name)}/getLogs"
        try:
            reply = self._resource.arm.post(path, API, {"containerType": container, "tail": lines})
        except PlatformError:  # no container yet, no right to read logs: a message less, not a failure
            return ""
        return harmless(str(reply.body.get("content") or ""))

    def _stage(self, document: Mapping[str, Any]) -> str:
        if was_up(document):
            return "changing its number of instances"
        name = name_of(document)
        if self.logs(name, SERVER, 5).strip():
            return "starting the model server"
        if STORAGE in self._containers and self.logs(name, STORAGE, 5).strip():
            return "downloading the model"
        note = self._notes.get(name)
        return "waiting for machines, the image build and its download" + (f"; {note}" if note else "")

    def _differences(self, document: Mapping[str, Any]) -> str:
        name = name_of(document)
        body = self._bodies.get(name)
        found = differences(body, document) if body is not None else []
        text = one_line(f"Azure runs it otherwise than asked for: {'; '.join(found)}") if found else ""
        if text and self._ignored.get(name) != text:
            self._ignored[name] = text
            self._note(f"{name}: {text}")
        return text

    def _failure(self, document: Mapping[str, Any]) -> str:
        name = name_of(document)
        status = self._resource.operation(self._operations.get(name, ""), operation_of(document))
        refusal = read_refusal(json.dumps(status.get("error") or {}))
        printed = {container: self.logs(name, container, TAIL) for container in self._containers}
        return one_line(diagnose(refusal.code, refusal.text, printed).line)
