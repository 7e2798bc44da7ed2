"""Synthetic traffic while rolling out."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deployer.ports.platform import ScoringTarget


@dataclass(frozen=True, slots=True)
class LoadStats:
    """What the load generator has seen so far (its own clients' view)."""

    sent: int
    answered: int
    failed: int


class RunningLoad(Protocol):
    """A load that goes on in the background until stopped."""

    def stats(self) -> LoadStats:
        """What was sent and answered up to now."""
        ...

    def problem(self) -> str | None:
        """Why the load is not running as asked, in one line; None while it is."""
        ...


class LoadGenerator(Protocol):
    """Starts load as a subprocess."""

    def run(self, target: ScoringTarget, *, rps: float, payload: Path) -> AbstractContextManager[RunningLoad]:
        """Send ``payload`` at ``rps`` Poisson arrivals a second until the context ends, whatever ends it.

        Raises:
            PlatformError: the generator does not start.
        """
        ...
