"""Load tests by Locust on this machine, in a process of its own (or several), which ends with this one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from deployer.loadgen.locust import HEADLESS, SecretFile, find_locustfile, start_locust
from deployer.loadgen.process import LocustTest
from deployer.loadgen.replay import in_seconds
from deployer.loadtest.figures import Load
from deployer.ports.platform import DEPLOYMENT_HEADER, ScoringTarget

START_S = 30.0
"""Longest time until the first line of figures."""


@dataclass(frozen=True, slots=True)
class LocalLoad:
    """Starts ``loadtests/scoring.py`` under Locust on this machine."""

    start_s: float = START_S

    @contextlib.contextmanager
    def start(
        self, target: ScoringTarget, load: Load, payload: Path, *, keep_requests: bool = False
    ) -> Generator[LocustTest]:
        """Start ``load``; see ``ports.loadgen.LoadTester``."""
        with (
            tempfile.TemporaryDirectory(prefix="deployer-load-") as folder,
            contextlib.closing(SecretFile(target)) as secret,
        ):
            arguments = [*arguments_of(load, target, payload, Path(folder), users=load.processes), *HEADLESS]
            arguments += ["--processes", str(load.processes)] if load.processes > 1 else []
            process = start_locust(find_locustfile(), arguments, secret)
            running = LocustTest(process, load, Path(folder), secret, target, keep_requests=keep_requests)
            try:
                running.wait_until_started(self.start_s)
                yield running
            finally:
                running.stop("the load test was left")


def arguments_of(load: Load, target: ScoringTarget, payload: Path, folder: Path, *, users: int) -> list[str]:
    """Say ``load`` in the locustfile's options; every request goes to ``folder``.

    The deployment is among them: workers on other hosts get options from the master, and cannot read the file with
    the headers. Without it their load would go to whoever has users' traffic.

    Raises:
        UsageError: recorded arrivals cannot be read.
    """
    recording = folder / "arrivals"
    if load.replay:
        recording.write_text(in_seconds(Path(load.replay)), encoding="utf-8")
    given = {
        "--host": target.url,
        "--payload": str(payload.resolve()),
        "--records": str(folder / "records"),
        "--arrivals": load.arrivals,
        "--shape": "constant" if load.arrivals == "closed" else load.shape,
        "--rps": f"{load.rps or 1.0:g}",  # 0 of loads that say by themselves how much they send: ignored
        "--concurrency": str(load.concurrency),
        "--seconds": f"{load.seconds:g}",
        "--warm-up": f"{load.warm_up_s:g}",
        "--in-flight": str(max(load.in_flight, load.concurrency)),
        "--timeout": f"{load.timeout_s:g}",
        "--drain": f"{load.timeout_s:g}",
        "--lanes": str(users),
        "--users": str(users),
        "--spawn-rate": str(users),
        **({"--deployment": deployment} if (deployment := target.headers.get(DEPLOYMENT_HEADER)) else {}),
        **({"--seed": str(load.seed)} if load.seed is not None else {}),
        **({"--replay": str(recording)} if load.replay else {}),
    }
    return [*(word for pair in given.items() for word in pair), *(["--in-clear"] if target.in_clear else [])]
