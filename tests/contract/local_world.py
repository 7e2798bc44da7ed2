"""A local endpoint for tests: one that is reused, with small models that do as the request says (``tests/models``)."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deployer.errors import TransientError
from deployer.local import lifecycle
from deployer.platforms.local import LocalPlatform
from deployer.ports.platform import Deployment, DeploymentSpec, Endpoint

MODELS = Path(__file__).parents[1] / "models"


def make_spec(
    name: str,
    script: str = "score.py",
    *,
    version: str = "1",
    instances: int = 1,
    settings: Any = None,
    **environment: str,
) -> DeploymentSpec:
    """A version of one of the models; what differs in any argument is another version."""
    document: dict[str, Any] = {
        "name": name,
        "code_configuration": {"code": "tiny", "scoring_script": script},
        "model": {"path": "tiny/score.py"},
        "instance_count": instances,
        "request_settings": {"request_timeout_ms": 1000, **(settings or {})},
        "environment_variables": {"VERSION": version, **environment},
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return DeploymentSpec(name, document, MODELS, digest)


@dataclass(frozen=True)
class Answer:
    code: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def served_by(self) -> str | None:
        return self.headers.get("azureml-model-deployment")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class LocalWorld:
    """One endpoint for many tests: only what a test left behind is put back."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.platform = LocalPlatform("digits", home)
        self.empty = LocalPlatform("nothing", home)

    def reset(self) -> None:
        platform = self.platform
        platform.ensure_endpoint({"name": "digits", "auth_mode": "key"})
        platform.set_traffic({}, {})
        endpoint = self.observe()
        platform.set_tags(dict.fromkeys(endpoint.tags))
        for name in endpoint.deployments.keys() - {"blue", "green"}:
            platform.delete_deployment(name)
        for name in ("blue", "green"):
            if name in endpoint.deployments and endpoint.deployments[name].digest != self.spec(name).digest:
                platform.delete_deployment(name)
            platform.create_deployment(self.spec(name))
            platform.scale_deployment(name, 1)
            self.await_ready(name)

    def end(self) -> None:
        lifecycle.down(self.home, forget=True)

    def spec(self, name: str, *, version: str = "1", instances: int = 1) -> DeploymentSpec:
        return make_spec(name, version=version, instances=instances)

    def broken(self, name: str) -> DeploymentSpec:
        return make_spec(name, "broken.py")

    def pending(self, name: str) -> DeploymentSpec:
        return make_spec(name, "slow.py", INIT_S="60")

    def observe(self) -> Endpoint:
        endpoint = self.platform.observe()
        assert endpoint is not None
        return endpoint

    def await_state(self, name: str, is_so: Callable[[Deployment], bool], timeout_s: float = 30) -> Deployment:
        """Wait through restarts of any part."""
        deadline = time.monotonic() + timeout_s
        seen: object = None
        while time.monotonic() < deadline:
            try:
                seen = self.observe().deployments[name]
                if is_so(seen):
                    return seen
            except TransientError as exc:
                seen = exc
            time.sleep(0.02)
        raise AssertionError(f"{name} is {seen}")

    def await_ready(self, name: str, instances: int = 1) -> Deployment:
        return self.await_state(name, lambda found: found.state == "ready" and found.instances_ready == instances)

    def ask(self, body: Any = None, *, pin: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One scoring request on a connection of its own."""
        target = self.platform.scoring_target()
        url = urlsplit(target.url)
        pinned = {"azureml-model-deployment": pin} if pin else {}
        sent = {"Content-Type": "application/json", **target.headers, **pinned, **(headers or {})}
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        try:
            connection.request("POST", url.path, json.dumps(body or {}), sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def log(self, name: str = "live") -> list[dict[str, Any]]:
        """Lines of the access log, once Envoy has written what it knows now."""
        time.sleep(0.15)
        path = self.platform.client.layout.telemetry / f"{name}.log"
        return [json.loads(line) for line in path.read_text().splitlines()]
