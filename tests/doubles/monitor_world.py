"""Azure's telemetry as the tests give it answers: the double served over HTTPS, and the unpatched SDK before it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from doubles.azure.certificates import certificates
from doubles.monitor import CUT, WORKSPACE_ID, Monitor
from doubles.monitor_server import serve
from doubles.monitor_tables import COMPONENT
from doubles.telemetry import ManualClock

from deployer.cloud.arm import Arm
from deployer.cloud.clouds import Cloud
from deployer.ports.telemetry import Telemetry
from deployer.telemetry.app_insights import app_insights
from deployer.telemetry.metrics import AzureMetrics, metrics
from deployer.telemetry.traffic_log import traffic_log

T0 = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


class Tokens:
    """A credential; ``scopes`` is what tokens were asked for."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken("token", int(time.time()) + 3600)


class MonitorWorld:
    """One endpoint whose requests are in the traffic log or in Application Insights, and in the metrics.

    Args:
        monitor: the service.
        address: where it is served.
    """

    def __init__(self, monitor: Monitor, clock: ManualClock, address: str) -> None:
        self.monitor, self.clock, self.address = monitor, clock, address
        self.tokens = Tokens()
        self.cloud = Cloud("OurCloud", address, address, address, "", ())
        self.telemetry: Telemetry = self.traffic_log()
        self.by_container = False

    def metrics(self, *, delay_s: float = 0.0) -> AzureMetrics:
        arm = Arm(self.cloud, self.tokens, self.clock)
        return metrics(arm, resource_id=self.monitor.endpoint_id, clock=self.clock, delay_s=delay_s)

    def traffic_log(self, *, max_lag_s: float = 20.0, counted: bool = True, across: bool = True) -> Telemetry:
        return traffic_log(
            self.cloud,
            self.tokens,
            workspace_id=WORKSPACE_ID if across else None,
            resource_id=self.monitor.endpoint_id,
            endpoint=self.monitor.endpoint,
            clock=self.clock,
            max_lag_s=max_lag_s,
            counter=self.metrics() if counted else None,
        )

    def app_insights(self, *, max_lag_s: float = 20.0, counted: bool = True, across: bool = False) -> Telemetry:
        return app_insights(
            self.cloud,
            self.tokens,
            workspace_id=WORKSPACE_ID if across else None,
            resource_id=COMPONENT,
            endpoint=self.monitor.endpoint,
            clock=self.clock,
            max_lag_s=max_lag_s,
            counter=self.metrics() if counted else None,
        )

    def answer(
        self,
        at: datetime,
        deployment: str | None,
        *,
        code: int = 200,
        model_code: int | None = None,
        ms: int = 10,
        n: int = 1,
        mirrored: bool = False,
        seen: bool = True,
    ) -> None:
        """``n`` answers ended at ``at``; where mirrored ones are logged is not known, so they are logged alike."""
        if deployment is not None and code:
            self.monitor.count(at, deployment, code=code, n=n)
        if not seen:
            return
        if not self.by_container:
            self.monitor.traffic(at, deployment, code=code, model_code=model_code, ms=ms, n=n)
        elif deployment is not None:  # what no deployment answered never reached a container
            self.monitor.app_request(at, deployment, code=model_code or code, ms=ms, n=n)

    def make_partial(self) -> None:
        self.monitor.partial = True

    def cut_off(self) -> None:
        self.monitor.always = {"query": CUT, "metrics": CUT}


@contextmanager
def monitor_world(folder: Path, **options: Any) -> Iterator[MonitorWorld]:
    """Serve a world until the block ends."""
    clock = ManualClock(T0)
    monitor = Monitor(clock, **options)
    authority, tls = certificates(folder)
    with pytest.MonkeyPatch.context() as patch, serve(monitor, tls) as address:
        patch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        yield MonitorWorld(monitor, clock, address)
    monitor.close()
