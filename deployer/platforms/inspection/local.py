"""What must be true of this machine before the local platform can roll out on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from deployer.errors import how_to_install
from deployer.local.client import LocalClient
from deployer.ports.inspection import Check, CheckState, Price, Question

PARTS = {
    "model server": ("azureml_inference_server_http", "gunicorn"),
    "router": ("envoy",),
    "telemetry": ("duckdb", "duckdb_kql"),
}
"""Modules that each part of the platform is made of."""
LEAST_FREE_MB = 500
GOOD_FREE_MB = 2000
"""Disk space: each version keeps a copy of its code and model, and the router logs every request."""


class LocalInspector:
    """Checks of this machine (implements ``ports.inspection.Inspector``)."""

    def __init__(self, endpoint: str, home: Path) -> None:
        self._client = LocalClient(endpoint, home)
        self._home = home

    def questions(self, *, to_plan: bool = False) -> Sequence[Question]:
        """List the checks; here who may plan may also roll out."""
        return (
            Question("system", self._system),
            Question("parts", self._parts),
            Question("ports", self._ports),
            Question("disk", self._disk),
            Question("endpoint", self._endpoint),
        )

    def price(self) -> Price | None:
        """Nothing extra."""
        return None

    def _system(self) -> Sequence[Check]:
        if sys.platform == "linux":
            return [Check("system", CheckState.OK, f"Linux, Python {sys.version.split()[0]}")]
        text = f"the local platform does not run on {sys.platform}"
        return [Check("system", CheckState.FAIL, text, "Run it on Linux, or in a container.")]

    def _parts(self) -> Sequence[Check]:
        checks: list[Check] = []
        for part, modules in PARTS.items():
            missing = [name for name in modules if importlib.util.find_spec(name) is None]
            if missing:
                text = f"{', '.join(missing)} is not installed"
                checks.append(Check(part, CheckState.FAIL, text, how_to_install("local")))
            else:
                checks.append(Check(part, CheckState.OK, f"{', '.join(modules)} can be imported"))
        return checks

    def _ports(self) -> Sequence[Check]:
        try:
            with socket.create_server(("127.0.0.1", 0)):
                return [Check("ports", CheckState.OK, "there are free ones on 127.0.0.1")]
        except OSError as exc:
            text = f"no port can be opened on 127.0.0.1: {exc}"
            return [Check("ports", CheckState.FAIL, text, "Let this process listen on the loopback interface.")]

    def _disk(self) -> Sequence[Check]:
        place = next(folder for folder in (self._home, *self._home.parents) if folder.exists())
        if not os.access(place, os.W_OK):
            return [
                Check("disk", CheckState.FAIL, f"{place} is not writable", "Set DEPLOYER_HOME to a folder of yours.")
            ]
        free_mb = shutil.disk_usage(place).free // 1_000_000
        text = f"{free_mb:,} MB free below {place}"
        if free_mb >= GOOD_FREE_MB:
            return [Check("disk", CheckState.OK, text)]
        state = CheckState.WARN if free_mb >= LEAST_FREE_MB else CheckState.FAIL
        return [Check("disk", state, text, f"Free some: {GOOD_FREE_MB:,} MB are comfortable.")]

    def _endpoint(self) -> Sequence[Check]:
        name = self._client.layout.endpoint
        if not self._client.exists():
            return [Check("endpoint", CheckState.OK, f"{name} does not exist yet: the rollout creates it")]
        runs = "runs" if self._client.is_running() else "is down: the rollout starts it"
        return [Check("endpoint", CheckState.OK, f"{name} {runs}")]
