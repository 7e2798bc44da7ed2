"""Keeps the latest look at each endpoint, each by a thread of its own: one that does not answer holds up nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic

from deployer.errors import DeployerError
from deployer.ports.views import Status
from deployer.wiring.dashboard import Known, Lens

SLOW_S = 5.0
"""A look that takes longer is said to."""
IDLE_S = 60.0
"""Nobody looks on when no page was asked for during this time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The latest look at an endpoint."""

    status: Status | None = None
    at: datetime | None = None
    """When ``status`` was read."""
    problem: str = ""
    """Why the latest look gave nothing."""
    down: bool = False
    """It is a local endpoint whose processes do not run."""
    began: float | None = None
    """When the look under way began; None: none is."""

    def words(self, now: float) -> str:
        """Say what the look is worth; empty: it is fresh."""
        if self.began is not None and now - self.began > SLOW_S:
            return f"does not answer for {now - self.began:.0f} s"
        if self.problem:
            return self.problem
        return "down" if self.down else ""


class Watching:
    """Looks at endpoints while somebody reads."""

    def __init__(self, now: Callable[[], datetime], idle_s: float = IDLE_S) -> None:
        """Look at nothing yet.

        Args:
            now: tells the time that a look is shown with.
            idle_s: after which nobody reads any more.
        """
        self._now, self._idle_s = now, idle_s
        self._seen: dict[Known, Seen] = {}
        self._lock = threading.Lock()
        self._wake = threading.Condition()
        self._asked = monotonic()
        self._ended = False

    def add(self, lenses: Iterable[Lens]) -> None:
        """Look through ``lenses`` too, each once."""
        for lens in lenses:
            with self._lock:
                if lens.of in self._seen:
                    continue
                self._seen[lens.of] = Seen()
            threading.Thread(target=self._look_on, args=(lens,), name=f"look at {lens.of.key}", daemon=True).start()

    def seen(self, of: Known) -> Seen | None:
        """The latest look; None: nobody looks at it."""
        with self._lock:
            return self._seen.get(of)

    def all(self) -> list[Known]:
        """Every endpoint that is looked at."""
        with self._lock:
            return list(self._seen)

    def touch(self) -> None:
        """Somebody reads."""
        with self._wake:
            self._asked = monotonic()
            self._wake.notify_all()

    def end(self) -> None:
        """Look no more; looks under way are left to themselves."""
        with self._wake:
            self._ended = True
            self._wake.notify_all()

    def settle(self, timeout_s: float) -> None:
        """Wait until everything was looked at once, at most ``timeout_s``."""
        until = monotonic() + timeout_s
        with self._wake:
            self._wake.wait_for(
                lambda: all(seen.at or seen.problem or seen.down for seen in self._seen.values()),
                max(until - monotonic(), 0.0),
            )

    def _look_on(self, lens: Lens) -> None:
        while not self._ended:
            self._look(lens)
            with self._wake:
                self._wake.notify_all()
                self._wake.wait_for(lambda: self._ended, lens.every_s)
                self._wake.wait_for(lambda: self._ended or monotonic() - self._asked < self._idle_s)

    def _look(self, lens: Lens) -> None:
        self._set(lens.of, began=monotonic())
        try:
            status = lens.look()
        except DeployerError as exc:
            self._set(lens.of, began=None, problem=exc.message, down=False)
        except Exception as exc:  # noqa: BLE001 - an endpoint that cannot be read is shown as such
            self._set(lens.of, began=None, problem=f"cannot be read: {type(exc).__name__}", down=False)
        else:
            self._set(lens.of, began=None, problem="", down=status is None, status=status, at=self._now())

    def _set(self, of: Known, **changes: object) -> None:
        with self._lock:
            self._seen[of] = replace(self._seen[of], **changes)  # pyright: ignore[reportArgumentType]
