"""Managed online endpoints: Azure's machines, one public address, mirroring, autoscaling by Azure Monitor."""

from __future__ import annotations

from deployer.platforms.online.endpoint import Kind, OnlineEndpoint
from deployer.platforms.online.progress import SERVER, STORAGE
from deployer.ports.platform import Capabilities

# Source: how-to-manage-quotas and how-to-safely-rollout (limits), azure/recordings 01-03 (20-70 s a traffic change,
# ten minutes a deployment). Beats stand still during a write of traffic, so a lease is stale after more than the
# longest one (``traffic_write.LONGEST_WRITE_S``) and two beats; and a beat that waits for a busy endpoint must not age
# a look so much (half of it) that the way back is not tried.
CAPABILITIES = Capabilities(
    platform="managed",
    mirror=True,
    mirror_max_pct=50,
    max_deployments=20,
    compare_and_set=False,
    typical_shift_s=45.0,
    restore_reserve_s=420.0,
    poll_s=5.0,
    beat_s=30.0,
    stale_after_s=480.0,
    typical_deploy_s=600.0,
    typical_delete_s=480.0,  # assumed: minutes, for its machines are drained first
    least_instances=1,  # 0 is refused: Azure/mlops-v2#48
)
KIND = Kind(
    capabilities=CAPABILITIES,
    containers=(STORAGE, SERVER),
    has_monitor_autoscale=True,
    on_cluster=False,
)


class ManagedPlatform(OnlineEndpoint):
    """One managed online endpoint."""

    kind = KIND
