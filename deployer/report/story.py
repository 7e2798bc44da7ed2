"""What happened at each step so far: the fold of a journal for people's eyes."""

from __future__ import annotations

from datetime import datetime

from deployer.report.words import event_words
from deployer.rollout.events import Advanced, Cleaned, Event, GotStuck, Judged, Reverted, Shifted
from deployer.rollout.model import Rollout


class Story:
    """One line and the times of each step, gathered from events."""

    def __init__(self) -> None:
        self.lines: dict[int, str] = {}
        self.began: dict[int, datetime] = {}
        self.done: dict[int, datetime] = {}
        self._position = 0

    def add(self, state: Rollout, event: Event, at: datetime) -> None:
        """Take in one event; ``state`` is the state after it."""
        self.began.setdefault(self._position, at)
        if not isinstance(event, (Judged, Shifted, Reverted, Cleaned, GotStuck)):
            kind, text = event_words(state, event)
            self.lines[self._position] = text if kind != "start" else ""
        if state.position != self._position:
            self.done[self._position] = at
            self._position = state.position
            self.began[self._position] = at
        if state.is_final:
            self.done[self._position] = at

    def seconds(self, position: int, now: datetime) -> float | None:
        """How long the step took, or takes so far; None: not begun."""
        began = self.began.get(position)
        return None if began is None else (self.done.get(position, now) - began).total_seconds()
