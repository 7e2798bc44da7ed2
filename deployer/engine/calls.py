"""Counts what is asked of a platform, so that the journal can say what a rollout cost it in calls and in waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from deployer.ports.clock import Clock
from deployer.ports.platform import Platform


class Calls:
    """Calls since they were last taken: how many of each, and seconds spent in all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0

    def watch(self, platform: Platform) -> Platform:
        """Give the same platform, with every call counted."""
        return cast("Platform", _Watched(platform, self._counted))

    def take(self) -> dict[str, Any]:
        """Return what was counted since the last time, for an entry of the journal; empty when nothing was."""
        if not self._counts:
            return {}
        taken = {"calls": dict(sorted(self._counts.items())), "called_s": round(self._seconds, 3)}
        self._counts.clear()
        self._seconds = 0.0
        return taken

    def _counted(self, name: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        began = self._clock.now()
        try:
            return call(*args, **options)
        finally:
            self._counts[name] += 1
            self._seconds += (self._clock.now() - began).total_seconds()


class _Watched:
    def __init__(self, platform: Platform, counted: Callable[..., Any]) -> None:
        self._platform = platform
        self._counted = counted

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._platform, name)
        return partial(self._counted, name, found) if callable(found) else found
