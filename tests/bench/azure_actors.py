"""What each actor of ``azure_bench`` does, in a process of its own: ``python azure_actors.py ACTOR``.

It says on stdout when a step begins and ends, and goes on when it is answered.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import yaml  # noqa: E402 - the path has to be set first
from azure.ai.ml import MLClient, load_online_deployment  # noqa: E402
from azure.identity import DefaultAzureCredential  # noqa: E402
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE  # noqa: E402
from doubles.telemetry import MemoryTelemetry  # noqa: E402

from deployer.clocks import SystemClock  # noqa: E402
from deployer.cloud.arm import Arm  # noqa: E402
from deployer.cloud.clouds import Workspace, find_cloud  # noqa: E402
from deployer.cloud.credentials import credential  # noqa: E402
from deployer.engine.operations import Site  # noqa: E402
from deployer.engine.rollback import roll_back  # noqa: E402
from deployer.platforms.managed import ManagedPlatform  # noqa: E402
from deployer.platforms.online.azureml import AzureMl  # noqa: E402
from deployer.ports.platform import DeploymentSpec, DeploymentState  # noqa: E402
from deployer.report.listeners import Quiet  # noqa: E402
from deployer.stores.file import FileJournal  # noqa: E402

DOCUMENT = {
    "name": "green",
    "endpoint_name": "digits",
    "model": "azureml:digits:1",
    "environment": "azureml:inference:1",
    "instance_type": "Standard_DS3_v2",
    "instance_count": 1,
}


def step(name: str, work: Callable[[], object]) -> None:
    """Do ``work`` between two marks on stdout."""
    print(f"begin {name}", flush=True)
    sys.stdin.readline()
    started = time.monotonic()
    with redirect_stdout(io.StringIO()):  # the SDK prints dots
        work()
    print(f"end {time.monotonic() - started:.3f} {name}", flush=True)
    sys.stdin.readline()


def act_as_deployer() -> None:
    cloud, workspace, clock = find_cloud("", os.environ), Workspace(SUBSCRIPTION, GROUP, WORKSPACE), SystemClock()

    def reach() -> ManagedPlatform:
        identity = credential(cloud)
        return ManagedPlatform(
            "digits",
            arm=Arm(cloud, identity, clock),
            cloud=cloud,
            workspace=workspace,
            credential=identity,
            clock=clock,
            assets=AzureMl(cloud, workspace, identity),
        )

    platform = reach()

    def deploy() -> None:
        platform.create_deployment(DeploymentSpec("green", DOCUMENT, Path.cwd(), "new"))
        while True:
            endpoint = platform.observe()
            if endpoint is not None and endpoint.deployments["green"].state is DeploymentState.READY:
                return
            clock.sleep(platform.capabilities.poll_s)

    def bring_back() -> None:
        """As a pipeline on another machine does: it knows nothing but the endpoint's name."""
        journal = FileJournal(Path(os.environ["DEPLOYER_HOME"]) / "journal")
        site = Site("digits", reach(), MemoryTelemetry(clock), journal, clock, "ann@here", lambda: None)
        roll_back(site, Quiet(), to="blue", reason="bench")

    step("deployment", deploy)
    step("traffic", lambda: platform.set_traffic({"green": 20, "blue": 80}, {}))
    step("rollback", bring_back)


def act_as_sdk(**options: Any) -> None:
    client = MLClient(DefaultAzureCredential(), SUBSCRIPTION, GROUP, WORKSPACE, **options)

    def deploy() -> None:
        deployment = load_online_deployment(io.StringIO(yaml.safe_dump(DOCUMENT)))
        client.online_deployments.begin_create_or_update(deployment).result()

    def shift(traffic: dict[str, int]) -> None:
        endpoint = client.online_endpoints.get("digits")
        endpoint.traffic = traffic
        client.online_endpoints.begin_create_or_update(endpoint).result()
        assert client.online_endpoints.get("digits").traffic == {"blue": 0, "green": 0} | traffic

    step("deployment", deploy)
    step("traffic", lambda: shift({"green": 20, "blue": 80}))
    step("rollback", lambda: shift({"blue": 100}))


if __name__ == "__main__":
    {
        "deployer": act_as_deployer,
        "sdk": act_as_sdk,
        "sdk polling 2 s": lambda: act_as_sdk(polling_interval=2),
    }[sys.argv[1]]()
