"""Kubernetes online endpoints: a cluster that is attached to the workspace; no mirroring, scaling in the deployment."""

from __future__ import annotations

from deployer.platforms.online.endpoint import Kind, OnlineEndpoint
from deployer.platforms.online.progress import SERVER
from deployer.ports.platform import Capabilities

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
    typical_delete_s=60.0,  # assumed: pods end within their grace period, nodes stay
)
KIND = Kind(
    capabilities=CAPABILITIES,
    containers=(SERVER,),
    has_monitor_autoscale=False,
    on_cluster=True,
)


class KubernetesPlatform(OnlineEndpoint):
    """One online endpoint on a cluster of your own."""

    kind = KIND
