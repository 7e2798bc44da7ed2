"""A run in a process of its own, for tests that kill it: ``python runner_process.py HOME WHAT``.

It reaches the double by its environment, as every process does. Time passes FASTER times as fast for it and for the
double, so that a rollout of two minutes takes seconds; the same start is read from the environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from azure_rollouts import QUICK  # noqa: E402 - the path has to be set first
from doubles.azure.world import GROUP, REGION, SUBSCRIPTION, WORKSPACE  # noqa: E402
from doubles.simple_gate import judge  # noqa: E402

from deployer.cloud.arm import Arm  # noqa: E402
from deployer.cloud.clouds import Workspace, find_cloud  # noqa: E402
from deployer.cloud.credentials import credential  # noqa: E402
from deployer.engine.effects import Deployable  # noqa: E402
from deployer.engine.operations import Job, Site, roll_out  # noqa: E402
from deployer.engine.probe import Probed  # noqa: E402
from deployer.engine.rollback import roll_back  # noqa: E402
from deployer.engine.signals import Signals  # noqa: E402
from deployer.errors import DeployerError  # noqa: E402
from deployer.gate.samples import AnswerClass, Cell, Samples  # noqa: E402
from deployer.manifest.schema import Manifest  # noqa: E402
from deployer.platforms.managed import ManagedPlatform  # noqa: E402
from deployer.ports.platform import DeploymentSpec  # noqa: E402
from deployer.report.listeners import Quiet  # noqa: E402
from deployer.rollout.plan import Version, Wanted  # noqa: E402
from deployer.stores.file import FileJournal  # noqa: E402

FASTER = 60.0
START = datetime(2026, 1, 1, tzinfo=UTC)
BEGAN = "TEST_BEGAN_AT"
"""Variable: ``time.time()`` when the clock showed START."""


class FastClock:
    """Real time, faster."""

    def __init__(self, began: float) -> None:
        self._began = began

    def now(self) -> datetime:
        return START + timedelta(seconds=(time.time() - self._began) * FASTER)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, 0.0) / FASTER)


class SteadyTelemetry:
    """Every deployment that the gate asks about answers 40 requests a second, the candidate badly if it is bad."""

    def __init__(self, *, bad: bool) -> None:
        self._bad = bad

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        cells: list[Cell] = []
        at = since
        while at < until:
            for name in ("blue", "green"):
                failed = 20 if self._bad and name == "green" else 0
                cells.append(Cell(at, name, AnswerClass.OK, 8, 40 - failed))
                if failed:
                    cells.append(Cell(at, name, AnswerClass.ERROR, 2, failed))
            at += timedelta(seconds=1)
        expected = {name: sum(cell.n for cell in cells if cell.deployment == name) for name in ("blue", "green")}
        return Samples(tuple(cells), block_s, until, expected, None)


class _Assets:
    def compile(
        self, document: Mapping[str, Any], base_dir: Path, *, endpoint: str, name: str, note: object
    ) -> dict[str, Any]:
        return {
            "location": REGION,
            "tags": {},
            "sku": {"name": "Default", "capacity": 3},
            "properties": {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "properties": {}},
        }


class _Probe:
    def smoke(self, name: str) -> Probed:
        return Probed(passed=True, text="asked")

    def warm_up(self, name: str, *, instances: int, workers: int) -> Probed:
        return Probed(passed=True, text="asked")


def site(home: Path, *, bad: bool) -> tuple[Site, Signals]:
    clock, cloud = FastClock(float(os.environ[BEGAN])), find_cloud("", os.environ)
    identity = credential(cloud)
    platform = ManagedPlatform(
        "digits",
        arm=Arm(cloud, identity, clock),
        cloud=cloud,
        workspace=Workspace(SUBSCRIPTION, GROUP, WORKSPACE),
        credential=identity,
        clock=clock,
        assets=_Assets(),
    )
    signals = Signals(lambda: None)
    journal = FileJournal(home / "journal")
    return Site("digits", platform, SteadyTelemetry(bad=bad), journal, clock, "ann@here", signals), signals


def job(*, bake: str) -> Job:
    strategy = {**QUICK, "canary": {**QUICK["canary"], "bake": bake}}
    document = {
        "version": 1,
        "name": "digits",
        "platform": "local",
        "endpoint": {"name": "digits"},
        "deployment": {},
        "slo": {"error_rate": "5%"},
        "strategy": strategy,
        "gate": {"look": "5s", "min_requests": 10, "warm_up": "0s"},
    }
    manifest = Manifest.model_validate(document)
    digest = hashlib.sha256(b"new").hexdigest()
    slo, gate = manifest.slo, manifest.gate
    return Job(
        Wanted(manifest, "digits", Version(None, digest), None, f"spec-{digest}", 30.0),
        {"name": "digits"},
        lambda plan: Deployable(
            {plan.candidate: DeploymentSpec(plan.candidate, {}, Path.cwd(), digest)},
            {},
            lambda samples, moment: judge(samples, slo, gate, moment),
            1.0,
            lambda _samples, _moment, _verdict: "{}",
        ),
        _Probe(),
        None,
    )


def main(home: Path, what: str) -> int:
    made, signals = site(home, bad=what == "bad")
    signals.install()
    try:
        if what == "rollback":
            ended = roll_back(made, Quiet(), to="blue", reason="by hand")
        else:
            asked = job(bake="30m" if what == "long" else "5s")
            ended = roll_out(made, asked, Quiet(), rollout_id=f"r{os.getpid()}")
    except DeployerError as exc:
        print(json.dumps({"exit_code": int(exc.exit_code), "text": exc.message, "hint": exc.hint}))
        return int(exc.exit_code)
    print(json.dumps({"exit_code": int(ended.exit_code), "text": ended.text, "hint": ""}))
    return int(ended.exit_code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
