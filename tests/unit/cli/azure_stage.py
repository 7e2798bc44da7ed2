"""Azure on this machine for the command line: ARM, scoring and Azure Monitor, led to by environment variables alone.

Users ask without HTTP, and every request becomes a row of telemetry ``delay_s`` later.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import yaml
from doubles.arm import CLOUD, AzureDouble
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE
from doubles.monitor import WORKSPACE_ID, Monitor

from deployer.clocks import SystemClock
from deployer.rollout.tags import DIGEST

MANIFESTS = Path(__file__).parents[3] / "manifests"
TRAFFIC_LOG = "AmlOnlineEndpointTrafficLog"
_MAKING = threading.Lock()
"""All doubles of a process share a certificate, which the first one makes."""
EVERY_S = 0.25


class Stage:
    """One workspace, one endpoint ``digits``, and a copy of the example manifests.

    Args:
        folder: where the manifests are copied to.
        delay_s: after so long a row can be queried.
        switches: of ``doubles.azure.world.Settings``.
    """

    def __init__(self, folder: Path, *, delay_s: float = 0.5, **switches: Any) -> None:
        with _MAKING:
            self.azure = AzureDouble(**switches)
        self.monitor = Monitor(SystemClock(), endpoint="digits", delay_s=delay_s)
        self.azure.mount(self.monitor.handle)
        self.azure.listeners.append(self.monitor.hear)
        self.azure.inventory.attach("aks-prod")
        self.folder = folder
        shutil.copytree(MANIFESTS, folder / "manifests")
        (folder / ".git").mkdir()

    def __enter__(self) -> Self:
        self.azure.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.azure.__exit__(*exc)
        self.monitor.close()

    @property
    def environment(self) -> dict[str, str]:
        """Everything a command needs to find its way here."""
        return self.azure.environment() | {
            "SSL_CERT_FILE": str(self.azure.authority),
            "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
            "AZUREML_RESOURCE_GROUP": GROUP,
            "AZUREML_WORKSPACE_NAME": WORKSPACE,
            "LOG_ANALYTICS_WORKSPACE_ID": WORKSPACE_ID,
        }

    def manifest(self, name: str = "managed/canary.yaml", **changes: Any) -> str:
        """Write a variant of an example: ``changes`` by path, as ``strategy__canary__bake="5s"``."""
        path = self.folder / "manifests" / name
        content = yaml.safe_load(path.read_text())
        for key, value in {"platform__cloud": CLOUD, **changes}.items():
            *parents, last = key.split("__")
            place = content
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return str(path)

    def behave(self, file: str, **variables: str) -> None:
        """Let the version in a deployment's file misbehave, by ``DOUBLE_...`` variables."""
        path = self.folder / "manifests" / file
        content = yaml.safe_load(path.read_text())
        content["environment_variables"] |= variables
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def serve(self, *deployments: str, instances: int = 3, digest: str = "0" * 64, **kwargs: Any) -> str:
        """Let ``digits`` exist with its first deployment live; give its ARM id."""
        endpoint = self.azure.create("digits", **kwargs)
        for name in deployments:
            self.azure.add("digits", name, instances=instances, tags={DIGEST: digest}, instanceType="Standard_F2s_v2")
        self.azure.write("digits", traffic={deployments[0]: 100})
        endpoint_id = str(endpoint.document["id"])
        self.azure.inventory.send_logs(endpoint_id, TRAFFIC_LOG)
        return endpoint_id

    @property
    def traffic(self) -> dict[str, int]:
        """Live traffic as Azure has it, without zeros."""
        return {name: share for name, share in self.azure.endpoint("digits").traffic.items() if share}

    @property
    def deployments(self) -> set[str]:
        """Names of all deployments."""
        return set(self.azure.endpoint("digits").deployments)

    def asked(self, n: int = 20, *, ago_s: float = 0.0) -> None:
        """Users asked ``n`` times, ``ago_s`` seconds ago."""
        end = self.monitor.clock.now() - timedelta(seconds=ago_s)
        self.azure.send("digits", n, seconds=1.0, end=end)

    @contextmanager
    def users(self, rps: float = 40.0) -> Iterator[None]:
        """Users ask all the time."""
        over = threading.Event()

        def ask() -> None:
            while not over.wait(EVERY_S):
                if "digits" in self.azure.endpoints.all:
                    self.azure.send("digits", round(rps * EVERY_S), seconds=EVERY_S)

        thread = threading.Thread(target=ask, name="users", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def forget(self) -> None:
        """No row of the traffic log is left; what was counted stays counted."""
        self.monitor._note()
        self.monitor.db.execute(f"DELETE FROM {TRAFFIC_LOG}_rows")  # noqa: S608
