"""Load tests by Locust on this machine, in a process of its own (or several), which ends with this one."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL, SIGTERM
from threading import Event, Thread
from time import monotonic

from deployer.errors import PlatformError
from deployer.loadgen.locust import HEADLESS, LAG_LIMIT_MS, figures_of, find_locustfile, start_locust
from deployer.loadgen.tally import Tally
from deployer.loadtest.figures import Figures, Health, Load
from deployer.ports.platform import ScoringTarget

STOP_S = 5.0
"""From SIGTERM to SIGKILL."""
START_S = 30.0
"""Longest time until the first line of figures."""
SILENT_S = 10.0
"""Without a line of figures (there is one a second) the generator hangs."""
BUSY_PCT = 90.0
"""Of one core: above it the process queues requests inside itself."""


@dataclass(frozen=True, slots=True)
class LocalLoad:
    """Starts ``loadtests/scoring.py`` under Locust on this machine."""

    @contextlib.contextmanager
    def start(
        self, target: ScoringTarget, load: Load, payload: Path, *, keep_requests: bool = False
    ) -> Generator[LocustTest]:
        """Start ``load``; see ``ports.loadgen.LoadTester``."""
        with tempfile.TemporaryDirectory(prefix="deployer-load-") as folder:
            records = Path(folder) / "records"
            arguments = ["--host", target.url, "--payload", str(payload.resolve()), "--records", str(records)]
            process = start_locust(find_locustfile(), [*arguments, *_arguments(load), *HEADLESS], target.headers)
            running = LocustTest(process, load, records, tuple(target.headers.values()), keep_requests=keep_requests)
            try:
                running.wait_until_started(START_S)
                yield running
            finally:
                running.stop("the load test was left")


def _arguments(load: Load) -> list[str]:
    given = {
        "--arrivals": load.arrivals,
        "--shape": "constant" if load.arrivals == "closed" else load.shape,
        "--rps": f"{load.rps:g}" if load.rps > 0 else "1",
        "--concurrency": str(load.concurrency),
        "--seconds": f"{load.seconds:g}",
        "--warm-up": f"{load.warm_up_s:g}",
        "--in-flight": str(max(load.in_flight, load.concurrency)),
        "--timeout": f"{load.timeout_s:g}",
        "--drain": f"{load.timeout_s:g}",
        "--lanes": str(load.processes),
        "--users": str(load.processes),
        "--spawn-rate": str(load.processes),
        **({"--seed": str(load.seed)} if load.seed is not None else {}),
        **({"--replay": load.replay} if load.replay else {}),
        **({"--processes": str(load.processes)} if load.processes > 1 else {}),
    }
    return [word for pair in given.items() for word in pair]


class LocustTest:
    """A Locust load test, and what it has said and recorded so far."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        load: Load,
        records: Path,
        secrets: Sequence[str],
        *,
        keep_requests: bool,
    ) -> None:
        self._process = process
        self._secrets = secrets
        self._records = records
        self._tally = Tally(load, keep_requests=keep_requests)
        self._load = load
        self._read_bytes = 0
        self._started_at = datetime.now(UTC)  # noqa: TID251 - a label; nothing is decided by it
        self._line: Mapping[str, float] = {}
        self._lags: list[float] = []
        self._cpu: list[float] = []
        self._said: deque[str] = deque(maxlen=5)
        self._heard_at = monotonic()
        self._started_or_ended, self._ended = Event(), Event()
        self._why: str | None = None
        self._reader = Thread(target=self._read, name="load figures", daemon=True)
        self._reader.start()

    def progress(self) -> Figures:
        """What was sent and seen up to about a second ago."""
        self._take_records()
        return self._figures("running")

    def wait(self, seconds: float) -> bool:
        """Block for up to ``seconds``; True: the test has ended, or hangs (and was ended)."""
        end = monotonic() + seconds
        while not self._ended.wait(min(max(end - monotonic(), 0.0), 0.5)):
            if monotonic() - self._heard_at > SILENT_S + self._load.timeout_s:
                self.stop("the load generator hung")
            elif monotonic() >= end:
                return False
        return True

    def stop(self, why: str) -> None:
        """End it early, and keep what was seen."""
        if self._process.poll() is None and not self._ended.is_set():
            self._why = self._why or why
            self._signal(SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._signal(SIGKILL)
        self._process.wait()
        self._signal(SIGKILL)  # workers that outlived their master
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def figures(self) -> Figures:
        """Block until the test has ended; return everything."""
        while not self.wait(60.0):
            pass
        self._process.wait()
        self._take_records()
        code = self._process.returncode
        if not self._line and not self._tally.requests:
            raise self._failed(f"ended: {self._last_words()}")
        partial = self._why
        if partial is None and code not in (0, 1):  # 1: Locust's word for "some requests failed"
            partial = f"the load generator ended by itself (exit code {code}): {self._last_words()}"
        if partial is None and (lost := self._line.get("lost", 0)) > 0:
            partial = f"{lost:.0f} of the load generator's workers were lost"
        return self._figures(partial)

    def wait_until_started(self, timeout_s: float) -> None:
        """Block until the first request is due.

        Raises:
            PlatformError: it ended first, or did not start in time.
        """
        in_time = self._started_or_ended.wait(timeout_s)
        if not self._line:
            raise self._failed(f"ended: {self._last_words()}" if in_time else f"is not running after {timeout_s:g}s")

    def _failed(self, why: str) -> PlatformError:
        return PlatformError(
            f"the load generator {why}",
            hint="Run `python -m locust --version` with the same Python, and check the request file and the rate.",
        )

    def _figures(self, partial: str | None) -> Figures:
        lag_ms = _quantile(self._lags, 0.99)
        cpu_pct = max(self._cpu[1:], default=0.0)
        health = Health(lag_ms, cpu_pct, _problem(lag_ms, cpu_pct))
        return self._tally.figures(self._started_at, health, partial)

    def _take_records(self) -> None:
        with contextlib.suppress(FileNotFoundError), self._records.open("rb") as file:
            file.seek(self._read_bytes)
            self._read_bytes += self._tally.add(file.read())

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _last_words(self) -> str:
        self._reader.join(timeout=1)
        said = " | ".join(self._said) or "it said nothing"
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return said[-600:]

    def _read(self) -> None:
        for text in self._process.stdout or ():
            line = figures_of(text)
            if line is not None:
                self._line, self._heard_at = line, monotonic()
                self._lags.append(line.get("lag_p99_ms") or 0.0)
                self._cpu.append(line.get("cpu_pct") or 0.0)
                self._started_or_ended.set()
            elif text.strip():
                self._said.append(text.strip())
        self._started_or_ended.set()
        self._ended.set()


def _quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[math.ceil(q * len(values)) - 1] if values else 0.0


def _problem(lag_ms: float, cpu_pct: float) -> str | None:
    if lag_ms > LAG_LIMIT_MS:
        return f"requests were sent up to {lag_ms:.0f} ms late: this machine is too busy for the rate"
    if cpu_pct > BUSY_PCT:
        return f"the generator used {cpu_pct:.0f} % of a core: spread the rate over more processes"
    return None
