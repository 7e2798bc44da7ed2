"""Azure's clock, known from the ``Date`` of its answers: what Azure stamps is compared with it, not with ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from deployer.manifest.quantities import format_duration
from deployer.ports.clock import Clock

SKEW_S = 6.0
"""Azure's clock and ours may be so far apart without being noticed: five seconds, and one that ``Date`` is cut to."""
MOST_S = 300.0
"""A clock that is further off is no clock that is off: tokens and certificates would fail next."""
STEADY_S = 3.0
"""``Date`` is cut to seconds and answers take a while, so a reading that differs by less says nothing new."""


class ServiceClock:
    """Azure's clock, as far as it is known (a ``ports.clock.Clock``).

    Args:
        clock: ours; it waits.
        server_time: what Azure's clock says now; None: nobody knows yet, and then the two are taken to agree.
    """

    def __init__(self, clock: Clock, server_time: Callable[[], datetime | None]) -> None:
        self._clock, self._server_time = clock, server_time
        self._ahead_s = 0.0

    def now(self) -> datetime:
        """What Azure's clock says now."""
        return self._clock.now() + timedelta(seconds=self.ahead_s())

    def sleep(self, seconds: float) -> None:
        """Wait as ours does."""
        self._clock.sleep(seconds)

    def ahead_s(self) -> float:
        """Azure's clock less ours; 0 where they agree within ``SKEW_S``. Changes only when a reading does."""
        there = self._server_time()
        if there is None:
            return self._ahead_s
        read_s = (there - self._clock.now()).total_seconds()
        if abs(read_s) <= SKEW_S and not self._ahead_s:
            return 0.0
        if abs(read_s - self._ahead_s) > STEADY_S:
            self._ahead_s = read_s if abs(read_s) > SKEW_S else 0.0
        return self._ahead_s


def in_words(ahead_s: float) -> str:
    """How far our clock is off, where Azure's is ahead of it by ``ahead_s``."""
    return f"this machine's clock is {format_duration(round(abs(ahead_s)))} {'behind' if ahead_s > 0 else 'ahead of'}"
