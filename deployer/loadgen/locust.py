"""Synthetic load by Locust, always in a process of its own: importing locust patches ``socket`` for the whole process.

The process gets its secrets through an open file without a name (never its command line or environment), a short list
of environment variables, no terminal and no port. It ends with the context that started it, and with this process,
however that ends.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import zlib
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from signal import SIGKILL, SIGTERM
from threading import Event, Thread
from time import monotonic
from typing import Any

import deployer
from deployer.errors import PlatformError
from deployer.ports.loadgen import LoadStats
from deployer.ports.platform import DEPLOYMENT_HEADER, ScoringTarget

STOP_S = 5.0
"""From SIGTERM to SIGKILL. The locustfile lets requests in flight end for 2 s."""

SILENT_S = 5.0
"""Without a line of figures (there is one a second) the process hangs."""

LAG_LIMIT_MS = 50.0
"""Requests sent later than this (p99 over 10 s) are no longer the arrivals that were asked for."""

WINDOW = 10
"""Lines, one a second, over which the rate is checked."""

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
_INHERITED_PREFIXES = ("LC_", "LD_", "PYTHON", "SSL_CERT_")

# 1 is PR_SET_PDEATHSIG (linux/prctl.h): the kernel kills this process when the thread that started it ends. The parent
# may be gone before that took effect: then its id is another. What follows is `python -m locust`.
_CHILD = """
import ctypes, os, runpy, signal, sys
parent = int(sys.argv.pop(1))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that asked for load is gone")
runpy.run_module("locust", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class LocustLoad:
    """Starts ``loadtests/scoring.py`` under Locust: an open model with Poisson arrivals."""

    seed: int | None = None
    """Repeats arrivals and choice of payloads; None: new ones each time."""
    in_flight: int = 256
    """Requests at once; an arrival that finds no free slot is a failed request."""
    start_s: float = 20.0
    """Longest time until it runs."""

    @contextlib.contextmanager
    def run(self, target: ScoringTarget, *, rps: float, payload: Path) -> Generator[RunningLocust]:
        """Send ``payload`` at ``rps`` Poisson arrivals a second until the context ends, whatever ends it.

        Blocks until the first request is due (about a second), and at the end until the process is gone (up to
        ``STOP_S``). Leave the context on the thread that entered it: the load ends with that thread.

        Args:
            target: the endpoint; traffic is split by it as any user's.
            rps: requests a second, on average.
            payload: file with the body, or ``.jsonl`` with one body a line, of which each request sends one.

        Raises:
            PlatformError: it does not start; nothing is left running.
        """
        arguments = ["--host", target.url, "--rps", f"{rps:g}", "--payload", str(payload.resolve())]
        arguments += ["--in-flight", str(self.in_flight)]
        arguments += ["--seed", str(self.seed)] if self.seed is not None else []
        arguments += ["--users", "1", "--spawn-rate", "1", *HEADLESS]
        with contextlib.closing(SecretFile(target)) as secret:
            process = start_locust(find_locustfile(), arguments, secret)
        running = RunningLocust(process, rps, tuple(target.headers.values()))
        try:
            running.wait_until_started(self.start_s)
            yield running
        finally:
            running.stop()


class RunningLocust:
    """A Locust process and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str], rps: float, secrets: Sequence[str]) -> None:
        self._process = process
        self._rps = rps
        self._secrets = secrets
        self._lines: deque[Mapping[str, float]] = deque(maxlen=WINDOW + 1)
        self._said: deque[str] = deque(maxlen=5)
        self._heard_at = monotonic()
        self._started_or_ended = Event()
        self._reader = Thread(target=self._read, name="load figures", daemon=True)
        self._reader.start()

    def stats(self) -> LoadStats:
        """What was sent (= answered with 2xx + failed + in flight) up to a second ago."""
        last: Mapping[str, float] = self._lines[-1] if self._lines else {}
        return LoadStats(int(last.get("sent", 0)), int(last.get("answered", 0)), int(last.get("failed", 0)))

    def problem(self) -> str | None:
        """Why the load is not running as asked, in one line; None while it is."""
        if (code := self._process.poll()) is not None:
            return f"the load generator ended by itself (exit code {code}): {self._last_words()}"
        if (silent_s := monotonic() - self._heard_at) > SILENT_S:
            return f"the load generator has not reported for {silent_s:.0f}s"
        lines = list(self._lines)
        return _shortfall(lines[0], lines[-1], self._rps) if len(lines) > 1 else None

    def wait_until_started(self, timeout_s: float) -> None:
        """Block until the first request is due.

        Raises:
            PlatformError: it ended first, or did not start in time.
        """
        in_time = self._started_or_ended.wait(timeout_s)
        if self._lines:
            return
        why = f"ended: {self._last_words()}" if in_time else f"is not running after {timeout_s:g}s"
        raise PlatformError(
            f"the load generator {why}",
            hint="Run `python -m locust --version` with the same Python, and check load.request and load.rps.",
        )

    def stop(self) -> None:
        """End the process and everything it started; return when it is gone. Idempotent."""
        if self._process.poll() is None:
            self._signal(SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._signal(SIGKILL)
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _last_words(self) -> str:
        self._reader.join(timeout=1)  # ended: what it said last is on its way
        said = " | ".join(self._said) or "it said nothing"
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return said[-600:]

    def _read(self) -> None:
        for text in self._process.stdout or ():
            figures = figures_of(text)
            if figures is not None:
                self._lines.append(figures)
                self._heard_at = monotonic()
                self._started_or_ended.set()
            elif text.strip():
                self._said.append(text.strip())
        self._started_or_ended.set()


def find_locustfile() -> Path:
    """Return the path of ``loadtests/scoring.py``: beside the package in a checkout, else where it was installed.

    Raises:
        PlatformError: it is in neither place.
    """
    checkout = Path(deployer.__file__).resolve().parents[1] / "loadtests" / "scoring.py"
    if checkout.is_file():
        return checkout
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("deployer") or ():
            if (
                file.parts[-2:] == ("loadtests", "scoring.py")
                and (installed := Path(file.locate()).resolve()).is_file()
            ):
                return installed
    raise PlatformError(
        f"the load generator's locustfile is neither {checkout} nor among the installed files of deployer",
        hint="Install deployer again, or run it from its checkout.",
    )


def other_headers(target: ScoringTarget) -> set[str]:
    """Name the headers that a generator elsewhere is not given: it has the key and the deployment, nothing else."""
    return set(target.headers) - {"Authorization", DEPLOYMENT_HEADER}


class SecretFile:
    """An open file without a name that holds a target's headers: every process of a test reads it, again and again."""

    def __init__(self, target: ScoringTarget) -> None:
        with tempfile.TemporaryFile(buffering=0) as file:
            self.descriptor = os.dup(file.fileno())
        self.write(target)

    def write(self, target: ScoringTarget) -> None:
        """Replace what is there. A reader that meets it half written keeps what it has (``loadtests/auth.py``)."""
        content = json.dumps({"headers": dict(target.headers), "in_clear": target.in_clear}).encode()
        os.pwrite(self.descriptor, b"%08x\n%s\n" % (zlib.crc32(content), content), 0)

    def close(self) -> None:
        """Give it up; idempotent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def start_locust(locustfile: Path, arguments: Sequence[str], secret: SecretFile) -> subprocess.Popen[str]:
    """Start Locust, which reads its headers from ``secret``.

    Raises:
        PlatformError: the operating system does not start it.
    """
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, str(os.getpid()), "-f", str(locustfile), *arguments],
            cwd=locustfile.parent,  # Locust imports from, and reads settings in, its working directory
            env={**_environment(), "DEPLOYER_LOAD_HEADERS_FD": str(secret.descriptor)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(secret.descriptor,),
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as exc:
        raise PlatformError(
            f"the load generator cannot be started: {exc.strerror} ({exc.filename})",
            hint="Check limits on processes, open files and memory.",
        ) from exc


HEADLESS = ("--headless", "--only-summary", "--loglevel", "WARNING")


def _environment() -> dict[str, str]:
    """What the process needs of ours: no credentials, and no settings of somebody's other Locust."""
    return {
        name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }


def figures_of(text: str) -> Mapping[str, float] | None:
    """Parse one line of figures; None when it is anything else."""
    try:
        line: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
    except ValueError:
        return None
    return {key: value for key, value in line.items() if isinstance(value, int | float)} if "sent" in line else None


def _shortfall(first: Mapping[str, float], last: Mapping[str, float], rps: float) -> str | None:
    """Say what is missing between two lines of figures; None when nothing is.

    A Poisson count of mean m is below m - 6 sqrt(m) with a chance under exp(-18), for any m (Chernoff's bound).
    """
    if (lag_ms := last.get("lag_p99_ms", 0.0)) > LAG_LIMIT_MS:
        return f"requests are sent up to {lag_ms:.0f} ms late: this machine is too busy for {rps:g} requests/s"
    if (over := last["over_cap"] - first["over_cap"]) > 0:
        return f"{over:.0f} requests found all slots taken: the endpoint answers slower than {rps:g} requests/s come"
    sent, seconds = last["sent"] - first["sent"], last["t"] - first["t"]
    if sent < rps * seconds - 6 * math.sqrt(rps * seconds):
        return f"{sent / seconds:.1f} requests/s are sent, {rps:g} are asked for"
    return None
