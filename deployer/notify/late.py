"""Tracing that may still be in the making: OpenTelemetry takes seconds to import, and no traffic waits for that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from time import monotonic, perf_counter, time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from deployer.notify.aside import Aside
from deployer.ports.platform import Platform
from deployer.report.listeners import Quiet
from deployer.rollout.actions import Action
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.events import Event
from deployer.rollout.model import Rollout

if TYPE_CHECKING:
    from deployer.notify.traces import Observer

WAIT_S = 6.0
"""How long the end of a command may wait for the making and for what is not exported yet."""


class Late(Quiet):
    """Keeps what happens, in order, for an observer that a thread makes and tells. Leaving it waits at most WAIT_S."""

    def __init__(self, make: Callable[[], Observer | None], note: Callable[[str], None]) -> None:
        """Start nothing yet.

        Args:
            make: makes the observer; None: there is none.
            note: told what cannot be traced; called from any thread.
        """
        self._note, self._is_full = note, False
        self._observer = Aside(make, self._failed, "traces")

    def __enter__(self) -> Self:
        """Have the observer made."""
        self._observer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End what is open, and wait a little for what is not exported yet."""
        self._hand(lambda observer: observer.__exit__(kind, error, tb))
        if not self._observer.finish(monotonic() + WAIT_S):
            self._note("OpenTelemetry: the last spans or metrics could not be exported in time, left")

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Keep it."""
        self._hand(lambda observer: observer.on_event(state, event, at))

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """Keep it."""
        self._hand(lambda observer: observer.on_look(state, endpoint, action, now))

    def called(self, name: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Make one call of the platform, and keep how long it took."""
        at_ns, began, failed = time_ns(), perf_counter(), ""
        try:
            return call(*args, **options)
        except Exception as exc:
            failed = type(exc).__name__
            raise
        finally:
            seconds = perf_counter() - began
            self._hand(lambda observer: observer.was_called(name, at_ns, seconds, failed))

    def _hand(self, work: Callable[[Observer], object]) -> None:
        if not self._observer.hand(work) and not self._is_full:
            self._is_full = True
            self._note("OpenTelemetry: too much waits to be traced: some of it is left out")

    def _failed(self, kind: str) -> None:
        self._note(f"OpenTelemetry: something of this rollout could not be traced ({kind})")


class Watched:
    """A platform whose calls are traced."""

    def __init__(self, platform: Platform, late: Late) -> None:
        self._platform, self._late = platform, late

    @classmethod
    def of(cls, platform: Platform, late: Late) -> Platform:
        """Give the same platform, watched."""
        return cast("Platform", cls(platform, late))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._platform, name)
        return partial(self._late.called, name, found) if callable(found) else found
