"""Several runs at once on one clock: exactly one moves at any moment, and a seed decides which.

A run gives its turn away at every request and whenever it sleeps. Time stands still while anybody can move; then it
jumps to the first that wakes. So all interleavings of calls can happen, and each is the same again for the same seed.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

PATIENCE_S = 60.0
"""Real seconds after which a run that does not give its turn away is a bug of the test."""


@dataclass
class _Run:
    name: str
    work: Callable[[], Any]
    go: threading.Event = field(default_factory=threading.Event)
    wake_at: datetime | None = None
    """None: it can move now."""
    result: Any = None
    done: bool = False


class Turns:
    """Lets runs take turns.

    Args:
        seed: of the order.
        clock: moved when nobody can.
    """

    def __init__(self, seed: int, clock: Any) -> None:
        self._chance = random.Random(seed)
        self._clock = clock
        self._runs: list[_Run] = []
        self._finished = threading.Event()

    def add(self, name: str, work: Callable[[], Any]) -> None:
        """Let ``work`` be one of them."""
        self._runs.append(_Run(name, work))

    def play(self) -> dict[str, Any]:
        """Run all to their ends; what each returned, or the exception it ended with."""
        threads = [threading.Thread(target=self._live, args=(run,), daemon=True) for run in self._runs]
        for thread in threads:
            thread.start()
        self._next()
        assert self._finished.wait(10 * PATIENCE_S), "the runs do not end"
        for thread in threads:
            thread.join(PATIENCE_S)
        return {run.name: run.result for run in self._runs}

    def pass_on(self, name: str, seconds: float | None = None) -> None:
        """Give the turn away; return when it is ``name``'s again, after ``seconds`` of the clock."""
        run = next(each for each in self._runs if each.name == name)
        run.wake_at = None if seconds is None else self._clock.now() + timedelta(seconds=seconds)
        run.go.clear()
        self._next()
        assert run.go.wait(PATIENCE_S), f"{name} never gets its turn again"

    def _live(self, run: _Run) -> None:
        assert run.go.wait(PATIENCE_S)
        try:
            run.result = run.work()
        except BaseException as exc:  # noqa: BLE001 - however a run ends, the others go on
            run.result = exc
        run.done = True
        self._next()

    def _next(self) -> None:
        waiting = [run for run in self._runs if not run.done]
        if not waiting:
            self._finished.set()
            return
        able = [run for run in waiting if run.wake_at is None or run.wake_at <= self._clock.now()]
        if not able:
            first = min(run.wake_at for run in waiting if run.wake_at is not None)
            self._clock.advance((first - self._clock.now()).total_seconds())
            able = [run for run in waiting if run.wake_at is not None and run.wake_at <= first]
        chosen = self._chance.choice(able)
        chosen.wake_at = None
        chosen.go.set()
