"""The platform contract, on everything that must keep it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.contract.platform_contract import PlatformContract, is_ready
from tests.doubles.memory import MemoryPlatform
from tests.doubles.telemetry import ManualClock

from deployer.errors import NotFoundError
from deployer.local import lifecycle
from deployer.platforms.local import LocalPlatform
from deployer.ports.platform import Deployment, DeploymentSpec

MODELS = Path(__file__).parents[1] / "models"


def make_spec(name: str, script: str, *, version: str = "1", instances: int = 1, **environment: str) -> DeploymentSpec:
    document: dict[str, Any] = {
        "name": name,
        "code_configuration": {"code": "tiny", "scoring_script": script},
        "instance_count": instances,
        "request_settings": {"request_timeout_ms": 1000, "max_concurrent_requests_per_instance": 1},
        "environment_variables": {"VERSION": version, **environment},
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return DeploymentSpec(name, document, MODELS, digest)


class MemoryWorld:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.platform = MemoryPlatform("digits", self.clock)
        self.empty = MemoryPlatform("nothing", self.clock)
        self.platform.ensure_endpoint({"name": "digits"})
        for name in ("blue", "green"):
            self.platform.create_deployment(self.spec(name))

    def spec(self, name: str, *, version: str = "1", instances: int = 1) -> DeploymentSpec:
        return make_spec(name, "score.py", version=version, instances=instances)

    def broken(self, name: str) -> DeploymentSpec:
        self.platform.fail(name, "RuntimeError: torn")
        self.clock.advance(1)
        return make_spec(name, "broken.py")

    def pending(self, name: str) -> DeploymentSpec:
        self.platform.ready_after_s = 3600
        return make_spec(name, "slow.py")

    def await_state(self, name: str, is_so: Callable[[Deployment], bool]) -> Deployment:
        endpoint = self.platform.peek()
        assert endpoint is not None
        assert is_so(endpoint.deployments[name])
        return endpoint.deployments[name]


class LocalWorld:
    """One endpoint for all tests: only what a test left behind is put back."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.platform = LocalPlatform("digits", home)
        self.empty = LocalPlatform("nothing", home)

    def reset(self) -> None:
        platform = self.platform
        platform.ensure_endpoint({"name": "digits", "auth_mode": "key"})
        platform.set_traffic({}, {})
        endpoint = platform.observe()
        assert endpoint is not None
        platform.set_tags(dict.fromkeys(endpoint.tags))
        for name in endpoint.deployments.keys() - {"blue", "green"}:
            platform.delete_deployment(name)
        for name in ("blue", "green"):
            platform.create_deployment(self.spec(name))
            platform.scale_deployment(name, 1)
            self.await_state(name, is_ready)

    def spec(self, name: str, *, version: str = "1", instances: int = 1) -> DeploymentSpec:
        return make_spec(name, "score.py", version=version, instances=instances)

    def broken(self, name: str) -> DeploymentSpec:
        return make_spec(name, "broken.py")

    def pending(self, name: str) -> DeploymentSpec:
        return make_spec(name, "slow.py", INIT_S="60")

    def await_state(self, name: str, is_so: Callable[[Deployment], bool]) -> Deployment:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            endpoint = self.platform.observe()
            assert endpoint is not None
            if is_so(endpoint.deployments[name]):
                return endpoint.deployments[name]
            time.sleep(0.05)
        raise AssertionError(f"{name} is {endpoint.deployments[name]}")


class TestMemoryPlatform(PlatformContract):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()


@pytest.fixture(scope="module")
def local_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorld]:
    world = LocalWorld(tmp_path_factory.mktemp("home"))
    yield world
    with suppress(NotFoundError):
        lifecycle.down(world.home, forget=True)


@pytest.mark.local
class TestLocalPlatform(PlatformContract):
    @pytest.fixture
    def world(self, local_endpoint: LocalWorld) -> LocalWorld:
        local_endpoint.reset()
        return local_endpoint
