"""Has something slow made and used in a daemon thread, in order: who hands work over goes on at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
WAITING = 1024
"""Pieces of work that may wait: what a rollout sees in some minutes, should the making hang."""


class Aside(Generic[T]):
    """A value that is made once, in a thread, and the work that waits for it."""

    def __init__(self, make: Callable[[], T | None], failed: Callable[[str], None], name: str) -> None:
        """Start nothing yet.

        Args:
            make: makes the value; None: there is none, and whatever is handed over is forgotten.
            failed: told the type of whatever the making or the work raises; called from the thread.
            name: the thread's.
        """
        self._make, self._failed = make, failed
        self._work: deque[Callable[[T], object]] = deque()
        self._changed = threading.Condition()
        self._is_begun = self._is_dead = self._busy = self._left = False
        self._thread = threading.Thread(target=self._do_all, name=name, daemon=True)

    def start(self) -> None:
        """Have it made, if nobody did yet; returns at once."""
        with self._changed:
            if self._is_begun:
                return
            self._is_begun = self._busy = True
        try:
            self._thread.start()
        except RuntimeError as exc:  # the machine has no thread left
            self._is_dead, self._busy = True, False
            self._failed(type(exc).__name__)

    def hand(self, work: Callable[[T], object]) -> bool:
        """Have ``work`` done; returns at once and never raises. False: too much waits, it is not done."""
        self.start()
        with self._changed:
            if len(self._work) >= WAITING:
                return False
            if not self._is_dead:
                self._work.append(work)
                self._changed.notify_all()
        return True

    def finish(self, until: float) -> bool:
        """Wait until all is done, at most until the monotonic time ``until``; False: it is not, and is left."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._work and not self._busy, max(until - monotonic(), 0.0))
            self._left = not done
            self._work.clear()
        return done

    def _do_all(self) -> None:
        made = self._try(self._make)
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._work))
                work = self._work.popleft()
                self._busy = True
            if made is not None:
                self._try(lambda work=work, made=made: work(made))

    def _try(self, call: Callable[[], R]) -> R | None:
        try:
            return call()
        except Exception as exc:  # noqa: BLE001 - a thread that dies in silence would tell nothing ever again
            if not self._left:
                self._failed(type(exc).__name__)
            return None
