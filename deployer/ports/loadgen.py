"""Synthetic traffic while rolling out, and load tests."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deployer.loadtest.figures import Figures, Load
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


class RunningTest(Protocol):
    """A load test that goes on in the background until it ends or is stopped."""

    def progress(self) -> Figures:
        """What was sent and seen up to about a second ago; ``partial`` while it runs."""
        ...

    def wait(self, seconds: float) -> bool:
        """Block for up to ``seconds``; True: the test has ended."""
        ...

    def renew(self, target: ScoringTarget) -> None:
        """Go on with the headers of ``target``: a token ends before a long load does.

        Raises:
            PlatformError: this engine cannot; what is sent stays as it was.
        """
        ...

    def stop(self, why: str) -> None:
        """End it early, and keep what was seen: ``figures().partial`` is ``why``. Idempotent."""
        ...

    def figures(self) -> Figures:
        """Block until the test has ended; return everything.

        Raises:
            PlatformError: it ended without a single figure.
        """
        ...


class LoadTester(Protocol):
    """Runs load tests."""

    def start(
        self, target: ScoringTarget, load: Load, payload: Path, *, keep_requests: bool = False
    ) -> AbstractContextManager[RunningTest]:
        """Send ``load`` with ``payload``; leaving the context ends it, whatever ends it, and leaves nothing running.

        Args:
            target: where to send; its headers are secret.
            load: what to send.
            payload: file with the body, or ``.jsonl`` with one body a line, of which each request sends one.
            keep_requests: also give every single request.

        Raises:
            PlatformError: the generator does not start.
        """
        ...
