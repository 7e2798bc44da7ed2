"""A load test that Locust processes of ours run: what they say, what they record, and how they end."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL, SIGTERM
from threading import Event, Thread
from time import monotonic

from deployer.errors import PlatformError
from deployer.loadgen.locust import LAG_LIMIT_MS, SecretFile, figures_of
from deployer.loadgen.tally import Tally
from deployer.loadtest.figures import Figures, Health, Load
from deployer.loadtest.ranks import Ranked
from deployer.ports.platform import ScoringTarget

STOP_S = 6.0
"""From SIGTERM to SIGKILL: workers have their last report to send, and requests in flight 2 s to end."""
SILENT_S = 10.0
"""Without a line of figures (there is one a second) the generator hangs."""
BUSY_PCT = 90.0
"""Of one core: above it the process queues requests inside itself."""
BUSY_SHARE = 0.9
"""The busiest tenth of the seconds may be busier: a second is short beside what is measured."""


class LocustTest:
    """A Locust load test, and what it has said and recorded so far."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        load: Load,
        folder: Path,
        secret: SecretFile,
        target: ScoringTarget,
        *,
        workers: Sequence[subprocess.Popen[str]] = (),
        keep_requests: bool,
    ) -> None:
        """Watch ``process``, which prints figures and records to ``folder``; ``workers`` are ended with it."""
        self._process = process
        self._workers = workers
        self._secret = secret
        self._secrets = set(target.headers.values())
        self._records = folder / "records"
        self._tally = Tally(load, keep_requests=keep_requests)
        self._load = load
        self._read_bytes = 0
        self._started_at = datetime.now(UTC)  # noqa: TID251 - a label; nothing is decided by it
        self._line: Mapping[str, float] = {}
        self._cpu: list[float] = []
        self._said, self._workers_said = deque[str](maxlen=5), deque[str](maxlen=5)
        self._heard_at = monotonic()
        self._started_or_ended, self._ended = Event(), Event()
        self._why: str | None = None
        self._awaited: str | None = None
        self._start_by = 0.0
        self._readers = [
            Thread(target=self._read, args=(each,), name="load figures", daemon=True) for each in (process, *workers)
        ]
        for reader in self._readers:
            reader.start()

    def progress(self) -> Figures:
        """What was sent and seen up to about a second ago."""
        self._take_records()
        return replace(self._figures("running"), phase=None if self._line else self._awaited)

    def wait(self, seconds: float) -> bool:
        """Block for up to ``seconds``; True: the test has ended, or hangs (and was ended)."""
        end = monotonic() + seconds
        while not self._ended.wait(min(max(end - monotonic(), 0.0), 0.5)):
            if monotonic() > max(self._heard_at + SILENT_S, 0.0 if self._line else self._start_by):
                self.stop("the load generator hung")
            elif monotonic() >= end:
                return False
        return True

    def await_workers(self, phase: str, timeout_s: float) -> None:
        """Do not block until the first request is due: let ``progress`` say what is waited for, in ``phase``."""
        self._awaited, self._start_by = phase, monotonic() + timeout_s

    def renew(self, target: ScoringTarget) -> None:
        """Send with these headers from about the next second on: a token ends before a long load does."""
        self._secrets.update(target.headers.values())
        self._secret.write(target)

    def stop(self, why: str) -> None:
        """End it early, and keep what was seen."""
        if self._process.poll() is None and not self._ended.is_set():
            self._why = self._why or why
            self._process.send_signal(SIGTERM)  # a master ends its workers, and takes their last report
        self._wait_or_kill(self._process)
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(SIGTERM)
        for worker in self._workers:
            self._wait_or_kill(worker)
        for reader in self._readers:
            reader.join()
        for each in (self._process, *self._workers):
            if each.stdout is not None:
                each.stdout.close()

    def figures(self) -> Figures:
        """Block until the test has ended; return everything.

        Raises:
            PlatformError: it ended by itself before the first request.
        """
        while not self.wait(60.0):
            pass
        self._process.wait()
        self._take_records()
        code = self._process.returncode
        if not self._line and not self._tally.requests and self._why is None:
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
        hint = "Run `python -m locust --version` with the same Python, and check the request file and the rate."
        if self._awaited is not None:
            hint = "Start as many workers as --workers says, where they reach the master's port."
        return PlatformError(f"the load generator {why}", hint=hint)

    def _figures(self, partial: str | None) -> Figures:
        lag_ms = self._line.get("run_lag_p99_ms") or 0.0
        cpu = Ranked(Counter(self._cpu[1:]))  # the first second holds what went before
        cpu_pct = cpu.at(BUSY_SHARE) if cpu.n else 0.0
        problem = _problem(lag_ms, cpu_pct, self._tally.over_cap)
        if problem is None and self._line.get("gave_up"):
            problem = "the load generator gave up, far behind its schedule: this machine is too busy for the rate"
        if problem is None and partial is None:
            problem = _missing(self._load, self._tally.requests)
        figures = self._tally.figures(self._started_at, Health(lag_ms, cpu_pct, problem), partial)
        return replace(figures, in_flight=int(self._line.get("in_flight", 0)))

    def _take_records(self) -> None:
        with contextlib.suppress(FileNotFoundError), self._records.open("rb") as file:
            file.seek(self._read_bytes)
            self._read_bytes += self._tally.add(file.read())

    def _wait_or_kill(self, process: subprocess.Popen[str]) -> None:
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._why = self._why or "the load generator did not end"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, SIGKILL)  # also what outlived its master
        process.wait()

    def _last_words(self) -> str:
        for reader in self._readers:
            reader.join(timeout=1)
        said = " | ".join(self._said or self._workers_said) or "it said nothing"
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return said[-600:]

    def _read(self, process: subprocess.Popen[str]) -> None:
        for text in process.stdout or ():
            line = figures_of(text) if process is self._process else None
            if line is not None:
                self._line, self._heard_at = line, monotonic()
                self._cpu.append(line.get("cpu_pct") or 0.0)
                self._started_or_ended.set()
            elif text.strip() and not text.startswith("{"):
                (self._said if process is self._process else self._workers_said).append(text.strip())
        if process is self._process:
            self._started_or_ended.set()
            self._ended.set()


def _problem(lag_ms: float, cpu_pct: float, over_cap: int) -> str | None:
    lost = f", and {over_cap} found no free slot for it" if over_cap else ""
    if lag_ms > LAG_LIMIT_MS:
        return f"requests were sent up to {lag_ms:.0f} ms late{lost}: this machine is too busy for the rate"
    if cpu_pct > BUSY_PCT:
        return f"the generator used {cpu_pct:.0f} % of a core: spread the rate over more processes"
    return None


def _missing(load: Load, sent: int) -> str | None:
    """Say that a load which ran to its end was not sent; the bound is that of ``locust._shortfall``."""
    if load.arrivals not in ("poisson", "constant") or load.shape not in ("constant", "soak"):
        return None
    asked = load.rps * (load.warm_up_s + load.seconds)
    if sent < asked - 6 * math.sqrt(asked) - 1:
        return f"{sent} requests were sent, about {asked:.0f} were asked for"
    return None
