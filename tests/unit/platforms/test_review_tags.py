"""An endpoint lives for years: what is written for one version must not pile up until nothing can be written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deployer.platforms.managed import ManagedPlatform
from deployer.ports.platform import DeploymentSpec
from tests.doubles.arm_service import Azure

VERSIONS = 30


def spec(n: int) -> DeploymentSpec:
    digest = hashlib.sha256(str(n).encode()).hexdigest()
    noise = {f"NOTE_{each}": hashlib.sha256(f"{n}{each}".encode()).hexdigest()[:12] for each in range(12)}
    return DeploymentSpec(f"v{n}", {"environment_variables": noise}, Path(), digest)


@pytest.mark.parametrize("merges", [False, True])
def test_thirty_versions_one_after_another_leave_room_for_the_next(merges: bool) -> None:
    """Where a PATCH of tags merges, a key that is left out stays and can only be emptied; that counts among the 50."""
    azure = Azure()
    azure.service.create("blue", traffic={"blue": 100}, tags={"empty": "", **{f"own{n}": "x" for n in range(10)}})
    azure.service.merges = merges
    platform = ManagedPlatform("digits", **azure.parts())
    for n in range(VERSIONS):
        platform.create_deployment(spec(n))
        azure.service.clock.sleep(azure.service.deploys_s)
        platform.set_traffic({"blue": 90, f"v{n}": 10}, {})
        platform.set_traffic({"blue": 100}, {})
        platform.set_tags({"deployer.good": f"{n}|v{n}|{spec(n).digest}|0"})
        platform.delete_deployment(f"v{n}")
    assert azure.service.endpoint is not None
    assert len(azure.service.endpoint["tags"]) <= 30
    assert azure.service.endpoint["tags"]["empty"] == ""
    platform.recreate_deployment("again", spec(VERSIONS - 1).digest)
