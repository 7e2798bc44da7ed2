"""Calls and time of a change on Azure: deployer beside a script of plain SDK calls, on the same double, in the same run.

Run: ``python tests/bench/azure_bench.py`` (under two minutes). Prints figures; asserts nothing. Each actor is a process
of its own with a double of its own, all at once: ``deployer``, ``sdk`` (azure-ai-ml as scripts use it: get, change,
``begin_create_or_update(...).result()``, get) and ``sdk polling 2 s`` (the same with ``polling_interval=2``). The
service's own times are made short; what is lost on top of them does not depend on them, but for the SDK's polling.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from doubles.arm import AzureDouble  # noqa: E402 - the path has to be set first

TRAFFIC_S, DEPLOY_S = 3.0, 6.0
ACTORS = ("deployer", "sdk", "sdk polling 2 s")
OPERATION_S = {"deployment": DEPLOY_S, "traffic": TRAFFIC_S, "rollback": TRAFFIC_S}
FOREIGN = ("AZURE", "AML_", "ARM_")
WIDTH = 36


@dataclass(frozen=True, slots=True)
class Figures:
    """What one actor did in one step."""

    calls: int
    waiting: int
    """Of them, while the operation ran and nothing else was to be learnt."""
    sent_s: float
    """Until the write that the step is about was sent."""
    lost_s: float
    """On top of the operation's own time."""

    @classmethod
    def of(cls, calls: Sequence[Any], begun: float, seconds: float, operation_s: float) -> Figures:
        writes = [call.at for call in calls if call.method == "PUT"]
        sent = writes[-1] if writes else begun
        waiting = sum(call.method != "PUT" and 0 < call.at - sent < operation_s for call in calls)
        return cls(len(calls), waiting, sent - begun, seconds - operation_s)

    def __str__(self) -> str:
        return f"{self.calls:3d} ({self.waiting:d}) {self.sent_s:8.1f} s {self.lost_s:8.1f} s"


def prepared() -> AzureDouble:
    azure = AzureDouble(traffic_s=TRAFFIC_S, deploy_s=DEPLOY_S)
    azure.create("digits", "blue", traffic={"blue": 100})
    azure.assets.register("models", "digits", "1")
    azure.assets.register("environments", "inference", "1")
    return azure


def measure(actor: str, double: AzureDouble, folder: str, found: dict[str, Figures]) -> None:
    with double as azure:
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("azure_actors.py")), actor],
            env={**own, **azure.environment(), "DEPLOYER_HOME": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        first, begun = 0, 0.0
        for line in process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "begin":
                first, begun = len(azure.calls), time.monotonic()
            elif word == "end":
                seconds, _, name = rest.partition(" ")
                found[name] = Figures.of(azure.calls[first:], begun, float(seconds), OPERATION_S[name])
            process.stdin.write("\n")
            process.stdin.flush()
        process.wait()


def main() -> None:
    started = time.monotonic()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"the service takes {DEPLOY_S:g} s for a deployment and {TRAFFIC_S:g} s for a change of traffic")
    measured: dict[str, dict[str, Figures]] = {actor: {} for actor in ACTORS}
    with tempfile.TemporaryDirectory() as folder:
        threads = [
            threading.Thread(target=measure, args=(actor, prepared(), folder, found))
            for actor, found in measured.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"\n{'':14}" + "".join(f"{actor:>{WIDTH}}" for actor in ACTORS))
    print(" " * 14 + f"{'calls (waiting)  sent after  lost':>{WIDTH}}" * len(ACTORS))
    for name in OPERATION_S:
        print(f"{name:14}" + "".join(f"{measured[actor].get(name, 'did not end')!s:>{WIDTH}}" for actor in ACTORS))
    for actor in ACTORS[1:]:
        compare(measured["deployer"], measured[actor], actor)
    print(f"({time.monotonic() - started:.0f} s, load average at the end {os.getloadavg()[0]:.1f})")


def compare(ours: dict[str, Figures], theirs: dict[str, Figures], actor: str) -> None:
    if "traffic" in ours and "traffic" in theirs:
        lost = [each["traffic"].lost_s for each in (theirs, ours)]
        calls = [each["traffic"].calls for each in (theirs, ours)]
        print(
            f"a change of traffic: {actor} loses {lost[0] / lost[1]:.1f} x the time, makes {calls[0] / calls[1]:.2f} x the calls"
        )


if __name__ == "__main__":
    main()
