"""Kubernetes online endpoints: a cluster that is attached to the workspace; no mirroring, scaling in the deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Cloud, Workspace
from deployer.platforms.online.endpoint import Assets, Kind, OnlineEndpoint
from deployer.platforms.online.progress import SERVER
from deployer.ports.clock import Clock
from deployer.ports.platform import Capabilities

if TYPE_CHECKING:  # azure.core takes 0.3 s to import
    from azure.core.credentials import TokenCredential

# Source: how-to-manage-quotas and how-to-safely-rollout (limits). Nothing was recorded of clusters: times are those of
# managed endpoints, but that no machine has to be waited for.
CAPABILITIES = Capabilities(
    platform="kubernetes",
    mirror=False,
    mirror_max_pct=0,
    max_deployments=20,
    compare_and_set=False,
    typical_shift_s=45.0,
    restore_reserve_s=420.0,
    poll_s=5.0,
    beat_s=30.0,
    stale_after_s=480.0,
    typical_deploy_s=300.0,
)
KIND = Kind(
    capabilities=CAPABILITIES,
    containers=(SERVER,),
    has_monitor_autoscale=False,
    on_cluster=True,
)


class KubernetesPlatform(OnlineEndpoint):
    """One online endpoint on a cluster of your own."""

    def __init__(
        self,
        endpoint: str,
        *,
        arm: Arm,
        cloud: Cloud,
        workspace: Workspace,
        credential: TokenCredential,
        clock: Clock,
        assets: Assets | None = None,
    ) -> None:
        super().__init__(
            endpoint,
            KIND,
            arm=arm,
            cloud=cloud,
            workspace=workspace,
            credential=credential,
            clock=clock,
            assets=assets,
        )
