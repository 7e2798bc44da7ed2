"""Synthetic traffic beside a rollout: started once somebody can answer, and anew when the endpoint's key changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from deployer.errors import DeployerError, PlatformError
from deployer.ports.clock import Clock
from deployer.ports.loadgen import LoadGenerator, LoadStats, RunningLoad
from deployer.ports.platform import Platform, ScoringTarget

RENEW_S = 60.0
"""A key that seems to be refused is read anew at most so often: a broken model fails as well."""
REFUSED, FEW = 0.5, 10
"""It seems to be refused when more than this share of the requests since the last look failed, and at least so many."""


@dataclass(frozen=True, slots=True)
class WantedLoad:
    """Synthetic traffic to be sent while the rollout runs."""

    generator: LoadGenerator
    rps: float
    payload: Path


class SyntheticLoad:
    """Keeps one load running, if any is wanted, until the context ends.

    Args:
        wanted: what is to be sent; None: nothing.
        platform: gives the address and the key.
        clock: by which a key is read anew.
        note: told when the load is in trouble. A rollout goes on without it: the gate then says what is missing.
    """

    def __init__(
        self, wanted: WantedLoad | None, platform: Platform, clock: Clock, note: Callable[[str], None]
    ) -> None:
        self._wanted, self._platform, self._clock, self._note = wanted, platform, clock, note
        self._stack = ExitStack()
        self._running: RunningLoad | None = None
        self._target: ScoringTarget | None = None
        self._before = LoadStats(0, 0, 0)
        self._renewed_at: datetime | None = None
        self._is_said = False

    def __enter__(self) -> Self:
        """Enter; nothing is started yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End the load."""
        self._stack.close()

    def look(self, *, may_start: bool) -> None:
        """Start it when it may start; later say once what is wrong with it, and follow the key."""
        if self._wanted is None:
            return
        if self._running is None:
            if may_start:
                self._start(self._wanted)
            return
        running = self._follow_key(self._wanted, self._running)
        if running is not None and not self._is_said and (problem := running.problem()) is not None:
            self._is_said = True
            self._note(f"synthetic load: {problem}")

    def _start(self, wanted: WantedLoad) -> None:
        try:
            self._target = self._platform.scoring_target()
            self._running = self._stack.enter_context(
                wanted.generator.run(self._target, rps=wanted.rps, payload=wanted.payload)
            )
        except DeployerError as exc:
            self._wanted = None
            self._note(f"synthetic load did not start: {exc.message}. {exc.hint}")

    def _follow_key(self, wanted: WantedLoad, running: RunningLoad) -> RunningLoad | None:
        """Start the load anew when its key is another one now: a token ran out, or somebody changed the key.

        Returns:
            The load that runs now; None: it did not start again.
        """
        if self._seems_refused(running.stats()):
            self._platform.invalidate()
        try:
            target = self._platform.scoring_target()
        except PlatformError:
            return running  # it goes on with the key it has
        if target == self._target:
            return running
        self._note("synthetic load: the endpoint's key has changed; starting it anew with the new one")
        self._stack.close()
        self._running, self._before, self._is_said = None, LoadStats(0, 0, 0), False
        self._start(wanted)
        return self._running

    def _seems_refused(self, now: LoadStats) -> bool:
        answered, failed = now.answered - self._before.answered, now.failed - self._before.failed
        if answered + failed < FEW:
            return False
        self._before = now
        if failed <= REFUSED * (answered + failed):
            return False
        at = self._clock.now()
        if self._renewed_at is not None and at - self._renewed_at < timedelta(seconds=RENEW_S):
            return False
        self._renewed_at = at
        return True
