"""Real time: the only caller of the time functions."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """Wall time read once, then advanced by a clock that nobody sets and that counts a suspended machine's sleep."""

    def __init__(self) -> None:
        self._wall = datetime.now(UTC)  # noqa: TID251 (this is the Clock)
        self._started = self._ticks()
        self._wake = threading.Event()

    @staticmethod
    def _ticks() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def now(self) -> datetime:
        """Aware UTC; never goes backwards."""
        return self._wall + timedelta(seconds=self._ticks() - self._started)

    def sleep(self, seconds: float) -> None:
        """Wait, or return at once when woken."""
        self._wake.wait(max(seconds, 0.0))
        self._wake.clear()

    def wake(self) -> None:
        """End the current or the next ``sleep`` early; safe to call from a signal handler."""
        self._wake.set()
