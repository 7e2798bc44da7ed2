"""Reads the access log into the telemetry store, and keeps both bounded: the daemon's side of ``access_log``.

The store belongs to one thread. When it cannot be opened, traffic goes on and queries say why: the gate is blind then,
and blind never promotes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from deployer.errors import TelemetryError
from deployer.local.access_log import TrafficLog
from deployer.local.layout import Layout
from deployer.local.router import Router

_POLL_MIN_S, _POLL_MAX_S = 0.05, 0.2
_REOPEN_S = 5.0
_ROTATE_BYTES = 64 << 20
_ROTATE_EVERY_S = 30.0
"""The reader leaves a rotated log a second after its last line, and only the last one is kept for it."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Traffic:
    """The telemetry of one endpoint."""

    def __init__(self, layout: Layout) -> None:
        """Describe it; ``start`` opens the store."""
        self._layout = layout
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="telemetry")
        self._log: TrafficLog | None = None
        self._problem = "the telemetry store is being opened"
        self._task: asyncio.Task[None] | None = None

    @property
    def files(self) -> tuple[Path, Path]:
        """Access logs of users' requests and of mirrored ones."""
        return self._layout.telemetry / "live.log", self._layout.telemetry / "shadow.log"

    def start(self) -> None:
        """Read in the background until ``stop``."""
        self._task = asyncio.create_task(self._follow(), name="follow the access log")

    async def stop(self) -> None:
        """Read what is there and close the store."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._log is not None:
            with suppress(Exception):  # closing must not stop the end of everything else
                await self._run(self._log.poll)
                await self._run(self._log.close)
        self._thread.shutdown(wait=False)

    async def query(self, kql: str) -> dict[str, Any]:
        """Rows of a query, after everything in the log was read.

        Raises:
            TelemetryError: the store cannot be had.
        """
        log = self._log
        if log is None:
            raise TelemetryError(self._problem, hint=f"Read {self._layout.log('daemon')}.")

        def read() -> dict[str, Any]:
            log.poll()
            return log.query(kql)

        return await self._run(read)

    async def rotate(self, router: Router) -> None:
        """Start new access logs when one is large. What is still unread in the old ones is read from them."""
        for path in self.files:
            with suppress(OSError):
                old = path.with_suffix(".log.1")
                if path.stat().st_size > _ROTATE_BYTES and _age_s(old) > _ROTATE_EVERY_S:
                    path.replace(old)
                    await router.reopen_logs()

    async def _follow(self) -> None:
        pause = _POLL_MIN_S
        while True:
            try:
                if self._log is None:
                    self._log = await self._run(self._open)
                rows = await self._run(self._log.poll)
                pause = _POLL_MIN_S if rows else min(pause * 1.2, _POLL_MAX_S)
            except Exception as exc:  # noqa: BLE001  # whatever the store throws, traffic must go on and be retried
                self._problem = f"the telemetry store does not work: {exc}"
                _log.warning(self._problem)
                await self._close()
                pause = _REOPEN_S
            await asyncio.sleep(pause)

    def _open(self) -> TrafficLog:
        live, shadow = self.files
        database = self._layout.telemetry / "traffic.duckdb"
        return TrafficLog(database, live, shadow, self._layout.endpoint)

    async def _close(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            with suppress(Exception):
                await self._run(log.close)

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _age_s(path: Path) -> float:
    """Seconds since ``path`` was written; infinite when it does not exist."""
    try:
        return time.time() - path.stat().st_mtime  # noqa: TID251  # files are stamped by this clock
    except FileNotFoundError:
        return math.inf
