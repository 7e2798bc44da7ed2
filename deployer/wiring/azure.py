"""Reaching an endpoint on Azure: one identity, one way to ARM, and everything that goes through it."""

from __future__ import annotations

import json
import logging
import os
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Cloud, Workspace, find_cloud
from deployer.cloud.credentials import credential as find_credential
from deployer.cloud.credentials import ends_early
from deployer.cloud.service_clock import ServiceClock
from deployer.errors import PlanError, PlatformError, TelemetryError
from deployer.gate.samples import Samples
from deployer.manifest.load import RolloutSpec
from deployer.manifest.schema import PlatformType, TelemetrySource
from deployer.manifest.schema import Telemetry as AskedTelemetry
from deployer.platforms.inspection.azure import AzureInspector, Surroundings
from deployer.platforms.inspection.capacity import price
from deployer.platforms.inspection.facts import Facts, Once
from deployer.platforms.inspection.leftovers import AzureCaretaker
from deployer.platforms.inspection.telemetry import linked_component
from deployer.ports.clock import Clock
from deployer.ports.inspection import Caretaker, Inspector, Price
from deployer.ports.platform import Platform
from deployer.ports.telemetry import Telemetry
from deployer.telemetry.service_time import InServiceTime
from deployer.telemetry.witness import witness
from deployer.wiring.watch import Watch, watch_for
from deployer.wiring.where import Place

PRICES_TIMEOUT_S = 8.0
PUBLIC = "AzureCloud"


@dataclass(frozen=True, slots=True)
class Connected:
    """An endpoint on Azure with what reaches it. Nothing was asked yet."""

    platform: Platform
    telemetry: Telemetry
    inspector: Inspector | None
    """None: there is no manifest to inspect for."""
    caretaker: Caretaker
    watch: Watch | None = None
    """Is told of the plan that is carried out, so that both arms can be asked beside telemetry."""
    price: Callable[[str], Price | None] = lambda _: None
    """Asks what an instance of a type costs in the workspace's region; None: nobody says."""


class NoTelemetry:
    """Telemetry of an endpoint that was reached by name: the manifest says where to look, and there is none."""

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """Say so.

        Raises:
            TelemetryError: always.
        """
        raise TelemetryError("where telemetry is kept is not known", hint="Give the manifest instead of the name.")


class Deferred:
    """Telemetry whose place is read from Azure when it is first asked."""

    def __init__(self, make: Callable[[], Telemetry]) -> None:
        self._made = Once(make)

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """Read it; see the port.

        Raises:
            TelemetryError: its place cannot be read either.
        """
        try:
            telemetry = self._made()
        except PlatformError as exc:
            raise TelemetryError(exc.message, hint=exc.hint) from exc
        return telemetry.fetch(since, until, block_s=block_s, mirrored=mirrored)


def source_of(platform: PlatformType, asked: AskedTelemetry) -> TelemetrySource:
    """Choose where the gate reads when the manifest does not.

    A Kubernetes endpoint has no traffic log (WIRE 7). Without either, metrics remain, which can never pass.
    """
    if asked.source is not None:
        return asked.source
    if platform is PlatformType.KUBERNETES:
        return TelemetrySource.APP_INSIGHTS
    if asked.log_analytics_workspace_id:
        return TelemetrySource.TRAFFIC_LOG
    return TelemetrySource.APP_INSIGHTS if asked.app_insights else TelemetrySource.METRICS


def connect(
    endpoint: str, place: Place, spec: RolloutSpec | None, clock: Clock, note: Callable[[str], None]
) -> Connected:
    """Make what reaches ``endpoint``. Asks nothing but, for a cloud of your own, its metadata.

    Args:
        endpoint: its name.
        place: where it lives.
        spec: what is rolled out to it; None: it was reached by name.
        clock: ours.
        note: told what the platform has to say beside its answers, from any thread.

    Raises:
        PlanError: there is no such cloud, or the platform has no such telemetry.
    """
    logging.getLogger("azure").addHandler(logging.NullHandler())  # else its warnings go to stderr; ours say enough
    cloud = find_cloud(place.cloud, os.environ)
    workspace = Workspace(place.subscription_id, place.resource_group, place.workspace)
    identity = find_credential(cloud)
    arm = Arm(cloud, identity, clock)
    platform = _platform(endpoint, place.platform, cloud, workspace, identity, arm, clock, note)
    facts = Facts(arm, workspace, endpoint, platform)
    fetch = _fetch if cloud.name == PUBLIC else None
    azure_clock = ServiceClock(clock, lambda: _server_time(arm, facts))
    caretaker = AzureCaretaker(arm, facts, platform, lambda: clock.now().date(), fetch)
    if spec is None:
        return Connected(
            platform,
            NoTelemetry(),
            None,
            caretaker,
            price=lambda instance_type: price(instance_type, facts, clock.now().date(), fetch),
        )
    source = source_of(place.platform, spec.manifest.gate.telemetry)
    asked = spec.manifest.gate.telemetry
    there = _telemetry(endpoint, source, asked, cloud, identity, arm, facts, azure_clock)
    telemetry: Telemetry = InServiceTime(there, azure_clock)
    watch = watch_for(spec, platform)
    if watch is not None:
        telemetry = witness(telemetry, watch, watch.arms)
    around = Surroundings(
        cloud, identity, facts, telemetry, source, clock, fetch, azure_clock.ahead_s, lambda: ends_early(identity)
    )
    return Connected(platform, telemetry, AzureInspector(spec, around), caretaker, watch)


def _server_time(arm: Arm, facts: Facts) -> datetime | None:
    """What Azure's clock says; asks for the workspace when nothing was asked yet."""
    if arm.server_time is None:
        with suppress(PlatformError):
            facts.workspace()
    return arm.server_time


def _platform(
    endpoint: str,
    kind: PlatformType,
    cloud: Cloud,
    workspace: Workspace,
    identity: Any,
    arm: Arm,
    clock: Clock,
    note: Callable[[str], None],
) -> Platform:
    from deployer.platforms.kubernetes import KubernetesPlatform  # noqa: PLC0415 - what is not used is not imported
    from deployer.platforms.managed import ManagedPlatform  # noqa: PLC0415

    made = KubernetesPlatform if kind is PlatformType.KUBERNETES else ManagedPlatform
    return made(endpoint, arm=arm, cloud=cloud, workspace=workspace, credential=identity, clock=clock, note=note)


def _telemetry(
    endpoint: str,
    source: TelemetrySource,
    asked: AskedTelemetry,
    cloud: Cloud,
    identity: Any,
    arm: Arm,
    facts: Facts,
    clock: ServiceClock,
) -> Telemetry:
    from deployer.telemetry.app_insights import app_insights  # noqa: PLC0415
    from deployer.telemetry.metrics import metrics  # noqa: PLC0415
    from deployer.telemetry.traffic_log import traffic_log  # noqa: PLC0415

    reads = Arm(cloud.for_metrics, identity, clock) if cloud.metrics_endpoint else arm
    counter = metrics(reads, resource_id=facts.endpoint_id, clock=clock)
    match source:
        case TelemetrySource.TRAFFIC_LOG:
            return traffic_log(
                cloud,
                identity,
                workspace_id=asked.log_analytics_workspace_id,
                resource_id=facts.endpoint_id,
                endpoint=endpoint,
                clock=clock,
                max_lag_s=asked.max_lag,
                counter=counter,
            )
        case TelemetrySource.APP_INSIGHTS:
            return Deferred(
                lambda: app_insights(
                    cloud,
                    identity,
                    resource_id=asked.app_insights or _linked(facts),
                    endpoint=endpoint,
                    clock=clock,
                    max_lag_s=asked.max_lag,
                    workspace_id=asked.log_analytics_workspace_id,
                    counter=counter,
                )
            )
        case TelemetrySource.METRICS:
            return counter
        case TelemetrySource.LOCAL:
            raise PlanError(
                "gate.telemetry.source local is for platform local", hint="Use traffic_log, app_insights or metrics."
            )


def _linked(facts: Facts) -> str:
    found = linked_component(facts)
    if found is None:
        raise TelemetryError(
            f"workspace {facts.where.name} has no Application Insights", hint="Set gate.telemetry.app_insights."
        )
    return found


def _fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PRICES_TIMEOUT_S) as answer:  # noqa: S310 (the address is a constant)
        return json.load(answer)
