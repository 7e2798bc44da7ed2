"""The platform contract, on everything that must keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from deployer.ports.platform import Deployment, DeploymentSpec
from tests.contract.azure_world import LOCKED, OTHERWISE, AzureWorld, azure_world
from tests.contract.local_world import LocalWorld, make_spec
from tests.contract.platform_contract import PlatformContract
from tests.doubles.memory import MemoryPlatform
from tests.doubles.telemetry import ManualClock


class MemoryWorld:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.platform = MemoryPlatform("digits", self.clock)
        self.empty = MemoryPlatform("nothing", self.clock)
        self.platform.ensure_endpoint({"name": "digits"})
        for name in ("blue", "green"):
            self.platform.create_deployment(self.spec(name))

    def spec(self, name: str, *, version: str = "1", instances: int = 1) -> DeploymentSpec:
        return make_spec(name, version=version, instances=instances)

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


class TestMemoryPlatform(PlatformContract):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()


@pytest.fixture(scope="module")
def local_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorld]:
    world = LocalWorld(tmp_path_factory.mktemp("home"))
    yield world
    world.end()


@pytest.mark.local
class TestLocalPlatform(PlatformContract):
    @pytest.fixture
    def world(self, local_endpoint: LocalWorld) -> LocalWorld:
        local_endpoint.reset()
        return local_endpoint


@pytest.fixture(
    scope="module",
    params=["managed", "kubernetes", "managed, otherwise", pytest.param("managed, locked", marks=pytest.mark.slow)],
)
def azure_endpoint(request: pytest.FixtureRequest) -> Iterator[AzureWorld]:
    kind, _, manner = request.param.partition(", ")
    with azure_world(kind, **{"": {}, "otherwise": OTHERWISE, "locked": LOCKED}[manner]) as world:
        yield world


class TestAzurePlatforms(PlatformContract):
    """The real azure-ai-ml and our own ARM client, over HTTPS, against the double."""

    @pytest.fixture
    def world(self, azure_endpoint: AzureWorld) -> AzureWorld:
        azure_endpoint.reset()
        return azure_endpoint
