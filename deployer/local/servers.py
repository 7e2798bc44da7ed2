"""Model servers: real ``azureml-inference-server-http`` processes, kept alive, N instances a deployment.

An instance that was never ready and ends has a broken model: it has failed. One that was ready and dies is started
again with growing pauses, until it dies too often. Liveness waits behind a busy worker, so a slow answer never counts
as death: only the end of the process does.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from deployer.local.http_unix import fetch
from deployer.local.layout import Layout, open_log
from deployer.local.processes import MARK, clean_environment
from deployer.local.revisions import Revision
from deployer.local.settings import Settings
from deployer.local.tether import LOADED

TETHER = Path(__file__).with_name("tether.py")

_APP = "azureml_inference_server_http.server.entry:app"
_PROBE_EVERY_S = 0.05
_PROBE_TIMEOUT_S = 2.0
_CRASHES = 5
"""Deaths within ``_CRASH_WINDOW_S`` that make a failure of a crash."""
_CRASH_WINDOW_S = 30.0
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.1, 5.0
_GRACE_S = 3.0
_WORKER_SILENCE_S = 300
"""A worker that is silent for so long is killed (default of azmlinfsrv, constants.py, ``WORKER_TIMEOUT``)."""

_EXCEPTION = re.compile(r"^(?!(?:azureml_inference_server_http|gunicorn)\.)[A-Za-z_][\w.]*(?:: .*)?$")


class State(StrEnum):
    """What one instance is doing."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class Instance:
    """One model server on its own socket."""

    def __init__(self, name: str, revision: Revision, layout: Layout, changed: Callable[[], None]) -> None:
        """Describe it; ``changed`` is called after each change of ``state``."""
        self.name = name
        self.state = State.STARTING
        self.message = "starting"
        self.pid: int | None = None
        self._revision = revision
        self._layout = layout
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._layout.socket(self.name)

    @property
    def log(self) -> Path:
        """What it printed."""
        return self._layout.log(self.name)

    def start(self) -> None:
        """Start it in the background, with a new log; the one before is kept beside it."""
        with suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.1"))
        self._task = asyncio.create_task(self._supervise(), name=f"supervise {self.name}")

    async def stop(self) -> None:
        """End it: answers in progress get a few seconds, then nothing of it is left."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._end_process(_GRACE_S)
        self.socket.unlink(missing_ok=True)

    async def _supervise(self) -> None:
        deaths: deque[float] = deque(maxlen=_CRASHES)
        while True:
            try:
                was_ready, reason = await self._run_once()
                await self._end_process(0.0)
            except OSError as exc:
                self._enter(State.FAILED, f"cannot be started: {exc}")
                return
            deaths.append(time.monotonic())
            if not was_ready and len(deaths) == 1:
                self._enter(State.FAILED, reason)
                return
            if len(deaths) == _CRASHES and deaths[-1] - deaths[0] < _CRASH_WINDOW_S:
                self._enter(State.FAILED, f"crashed {_CRASHES} times within {_CRASH_WINDOW_S:g} s: {reason}")
                return
            self._enter(State.STARTING, f"restarting: {reason}")
            recent = sum(1 for at in deaths if deaths[-1] - at < _CRASH_WINDOW_S)
            await asyncio.sleep(min(_PAUSE_MIN_S * 2 ** (recent - 1), _PAUSE_MAX_S))

    async def _run_once(self) -> tuple[bool, str]:
        """Run one process to its end; whether it was ready in between, and why it ended."""
        reports, report = os.pipe()
        os.set_blocking(reports, False)
        try:
            process = await self._spawn(report)
        except OSError:
            os.close(reports)
            raise
        finally:
            os.close(report)
        ended = asyncio.create_task(process.wait())
        try:
            ready = await self._await_ready(ended, reports)
            if ready:
                self._enter(State.READY, "")
            elif not ended.done():
                return False, f"not ready within {self._revision.settings.ready_within_s:g} s"
            return ready, self._reason(await ended, was_ready=ready)
        finally:
            ended.cancel()
            os.close(reports)

    async def _spawn(self, report: int) -> asyncio.subprocess.Process:
        self.socket.unlink(missing_ok=True)
        with open_log(self.log) as log:
            self._process = await asyncio.create_subprocess_exec(
                *command(self._revision.settings, self.socket),
                cwd=self._revision.code,
                env=environment(self.name, self._revision, self._layout.root) | {LOADED: str(report)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[report],
            )
        self.pid = self._process.pid
        return self._process

    async def _await_ready(self, ended: asyncio.Task[int], reports: int) -> bool:
        """Wait until every worker has loaded its model and one of them answers."""
        settings = self._revision.settings
        deadline = time.monotonic() + settings.ready_within_s
        loaded = 0
        while not ended.done() and time.monotonic() < deadline:
            with suppress(BlockingIOError):
                loaded += len(os.read(reports, 1024))
            if loaded >= settings.workers and await self._answers():
                return True
            await asyncio.wait({ended}, timeout=_PROBE_EVERY_S)
        return False

    async def _answers(self) -> bool:
        try:
            status, _ = await fetch(self.socket, "/", timeout_s=_PROBE_TIMEOUT_S)
        except OSError:
            return False
        return status == 200

    async def _end_process(self, grace_s: float) -> None:
        """End the process and whatever it started."""
        process = self._process
        if process is None:
            return
        if process.returncode is None and grace_s:
            with suppress(ProcessLookupError):
                process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace_s + 1)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        self._process = self.pid = None

    def _reason(self, code: int, *, was_ready: bool) -> str:
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"ended with code {code}" if was_ready else last_error(self.log)

    def _enter(self, state: State, message: str) -> None:
        self.state = state
        self.message = message
        self._changed()


def command(settings: Settings, socket: Path) -> list[str]:
    """The command line of one model server, tied to the life of this process."""
    silence = max(_WORKER_SILENCE_S, int(settings.ready_within_s), 2 * settings.timeout_ms // 1000)
    options = {
        "--config": f"file:{TETHER}",
        "--bind": f"unix:{socket}",
        "--umask": str(0o077),
        "--workers": str(settings.workers),
        "--timeout": settings.environment.get("WORKER_TIMEOUT", str(silence)),
        "--graceful-timeout": f"{_GRACE_S:.0f}",
        "--worker-tmp-dir": "/dev/shm",  # noqa: S108  # gunicorn's heartbeat, unlinked at once; a full disk must not kill it
    }
    flat = [part for pair in options.items() for part in pair]
    gunicorn = [sys.executable, "-P", "-m", "gunicorn", "--no-control-socket", *flat, _APP]
    return [*tethered(), *gunicorn]


def tethered() -> list[str]:
    """What to put before a program and its arguments, so that it dies with this process."""
    return [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]


def environment(instance: str, revision: Revision, root: Path) -> dict[str, str]:
    """The environment of one model server: the deployment's own variables, and nothing secret of the caller's."""
    settings = revision.settings
    defaults = {
        "OMP_NUM_THREADS": "1",
        "SCORING_TIMEOUT_MS": str(settings.timeout_ms + 500),  # frees a hung worker just after its caller got 408
        "OTEL_SDK_DISABLED": "true",
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    }
    fixed = {
        "AML_APP_ROOT": str(revision.code),
        "AML_APP_INSIGHTS_ENABLED": "false",
        "AZUREML_ENTRY_SCRIPT": settings.scoring_script,
        "AZUREML_MODEL_DIR": str(revision.model),
        "HOSTNAME": instance,
        MARK: str(root),
    }
    return clean_environment() | defaults | dict(settings.environment) | fixed


def last_error(log: Path) -> str:
    """The most telling line at the end of a log: the last exception of the user's code, else the last line."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65536))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "no log"
    for before, line in zip(reversed(lines[:-1]), reversed(lines), strict=False):
        if _EXCEPTION.match(line) and before.startswith("  "):
            return line[:300]
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "no output")
