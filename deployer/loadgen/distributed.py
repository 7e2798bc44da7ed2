"""Load tests by a Locust master here and workers here or on other hosts, for rates that one machine cannot send.

The master listens on one address, 127.0.0.1 unless told otherwise: Locust's protocol is neither encrypted nor
authenticated, and whoever reaches the port can join and gets the payload. Keys never travel by it: a worker on another
host takes its own from its environment (every other option, the deployment too, comes from the master)::

    DEPLOYER_LOAD_KEY=... locust -f loadtests/scoring.py --worker --master-host MASTER --master-port 5557
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import PlatformError, UsageError
from deployer.loadgen.local import START_S, arguments_of
from deployer.loadgen.locust import HEADLESS, SecretFile, find_locustfile, other_headers, start_locust
from deployer.loadgen.process import LocustTest
from deployer.loadtest.figures import Load
from deployer.manifest.quantities import format_duration
from deployer.ports.platform import ScoringTarget

ANY = ("0.0.0.0", "::", "*")  # noqa: S104 - refused as an address to give to workers


@dataclass(frozen=True, slots=True)
class DistributedLoad:
    """Starts a master, and workers on this machine; others may join."""

    workers: int = 2
    """That share the rate; the load starts when all have joined."""
    local_workers: int | None = None
    """Of them, started here; None: all."""
    bind: str = "127.0.0.1"
    """Address on which the master listens."""
    port: int = 0
    """0: any free one, which no other host could know."""
    join_s: float = START_S
    """Longest wait for all workers."""

    @contextlib.contextmanager
    def start(
        self, target: ScoringTarget, load: Load, payload: Path, *, keep_requests: bool = False
    ) -> Generator[LocustTest]:
        """Start ``load``; see ``ports.loadgen.LoadTester``.

        A worker that is lost takes its share of the rate with it: the test goes on, and is partial.

        Raises:
            UsageError: the target wants headers that workers on other hosts are not given.
        """
        if self._foreign and other_headers(target):
            raise UsageError(
                "workers on other hosts send no other headers than the key and the deployment",
                hint="Leave --bind out: workers on this machine send them all.",
            )
        port = self.port or _free_port(self.bind)
        with (
            tempfile.TemporaryDirectory(prefix="deployer-load-") as folder,
            contextlib.closing(SecretFile(target)) as secret,
            contextlib.ExitStack() as begun,
        ):
            processes = self._processes(load, target, payload, Path(folder), secret, port, begun)
            running = LocustTest(
                processes[0], load, Path(folder), secret, target, workers=processes[1:], keep_requests=keep_requests
            )
            begun.pop_all()
            try:
                if self._foreign:
                    running.await_workers(self._invitation(port), self.join_s + START_S)
                else:
                    running.wait_until_started(self.join_s + START_S)
                yield running
            finally:
                running.stop("the load test was left")

    @property
    def _foreign(self) -> int:
        """Workers that somebody starts."""
        return 0 if self.local_workers is None else self.workers - self.local_workers

    def _invitation(self, port: int) -> str:
        host = "HOST" if self.bind in ANY else self.bind
        who = "1 worker" if self._foreign == 1 else f"{self._foreign} workers"
        return (
            f"waiting up to {format_duration(self.join_s)} for {who}; start each with DEPLOYER_LOAD_KEY=... locust "
            f"-f loadtests/scoring.py --worker --master-host {host} --master-port {port}"
        )

    def _processes(
        self,
        load: Load,
        target: ScoringTarget,
        payload: Path,
        folder: Path,
        secret: SecretFile,
        port: int,
        begun: contextlib.ExitStack,
    ) -> list[subprocess.Popen[str]]:
        """Start the master, then workers; ``begun`` ends what has started if a later one does not."""
        locustfile = find_locustfile()
        users = max(self.workers, load.processes)
        joining = ["--expect-workers", str(self.workers), "--expect-workers-max-wait", f"{self.join_s:.0f}"]
        listening = ["--master", "--master-bind-host", self.bind, "--master-bind-port", str(port)]
        arguments = arguments_of(load, target, payload, folder, users=users)
        commands = [[*arguments, *listening, *joining, *HEADLESS]]
        local = self.workers if self.local_workers is None else self.local_workers
        host = "127.0.0.1" if self.bind in ANY else self.bind
        worker = ["--worker", "--master-host", host, "--master-port", str(port), *HEADLESS[1:]]
        commands += [worker] * local
        processes: list[subprocess.Popen[str]] = []
        for command in commands:
            process = start_locust(locustfile, command, secret)
            begun.callback(process.kill)
            processes.append(process)
        return processes


def _free_port(host: str) -> int:
    try:
        with socket.create_server((host, 0)) as server:
            return server.getsockname()[1]
    except OSError as exc:
        raise PlatformError(
            f"the load generator's master cannot listen on {host}: {exc.strerror or exc}",
            hint="Give an address of this machine.",
        ) from exc
