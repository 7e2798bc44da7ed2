"""Time as an argument: the engine waits and stamps through a Clock, so tests never wait on real time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """One clock for waiting and for stamping."""

    def now(self) -> datetime:
        """Aware UTC. Never goes backwards within one process, whatever happens to the wall clock."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait at most ``seconds`` (>= 0); may return early, for instance when a signal arrived."""
        ...
