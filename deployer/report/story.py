"""What happened at each step so far, and on the way back: the fold of a journal for people's eyes."""

from __future__ import annotations

from datetime import datetime

from deployer.gate.verdict import Verdict
from deployer.report.verdicts import versus
from deployer.report.words import event_words, first_line, outcome_words
from deployer.rollout.events import (
    Adopted,
    Advanced,
    Cleaned,
    Deployed,
    Event,
    GotStuck,
    Judged,
    Prepared,
    Requested,
    Retired,
    Reverted,
    RevertFailed,
    Scaled,
    ScalingMatched,
    Smoked,
    Warmed,
)
from deployer.rollout.model import WAY_BACK, Rollout

TOLD = (Adopted, Requested, Prepared, Deployed, Smoked, Warmed, ScalingMatched, Scaled, Advanced, Retired)
"""Events whose words stay beside their step."""
TOLD_BACK = (Requested, Scaled, RevertFailed, Reverted, Cleaned, GotStuck)
"""The same for the way back."""


class Story:
    """One line and the times of each step, and the way back, gathered from events."""

    def __init__(self, *, is_elsewhere: bool = False) -> None:
        self.is_elsewhere = is_elsewhere
        """The journal that would tell it is on another machine."""
        self.lines: dict[int, str] = {}
        self.began: dict[int, datetime] = {}
        self.done: dict[int, datetime] = {}
        self.back: list[str] = []
        """What was done to bring traffic back, in order."""
        self.last_words: list[str] = []
        """What the removed deployments' logs say went wrong."""
        self.back_began: datetime | None = None
        self.back_done: datetime | None = None
        self.verdict: Verdict | None = None
        """The gate's latest."""
        self._position: int | None = None

    def add(self, state: Rollout, event: Event, at: datetime) -> None:
        """Take in one event; ``state`` is the state after it."""
        before = state.position if self._position is None else self._position
        self.began.setdefault(before, at)
        if isinstance(event, Judged):
            self.verdict = event.verdict
        if state.phase in WAY_BACK:
            self._add_back(state, event, before, at)
        elif isinstance(event, TOLD):
            self.lines[before] = self._told(state, event)
        if state.position != before:
            self.done[before] = self.began[state.position] = at
        if state.is_final:
            self.done.setdefault(state.position, at)
        self._position = state.position

    def seconds(self, position: int, now: datetime) -> float | None:
        """How long the step took, or takes so far; None: not begun."""
        began = self.began.get(position)
        return None if began is None else _seconds(began, self.done.get(position, now))

    def back_seconds(self, now: datetime) -> float | None:
        """How long the way back took, or takes so far; None: not begun."""
        return None if self.back_began is None else _seconds(self.back_began, self.back_done or now)

    def _told(self, state: Rollout, event: Event) -> str:
        passed = isinstance(event, Advanced) and self.verdict is not None and event.reason == self.verdict.text
        if passed and self.verdict is not None:
            return f"{self.verdict.result.value}: {versus(self.verdict)}"
        return first_line(event.reason if isinstance(event, Advanced) else event_words(state, event)[1])

    def _add_back(self, state: Rollout, event: Event, position: int, at: datetime) -> None:
        if self.back_began is None:
            self.back_began = self.done[position] = at
            self.lines[position] = outcome_words(state.outcome) if state.outcome else ""
        if isinstance(event, TOLD_BACK):
            said = event_words(state, event)[1]
            self.back.append(first_line(said))
            self.last_words = said.split("\n")[1:] if isinstance(event, Cleaned) else []
        if state.is_final:
            self.back_done = at


def _seconds(began: datetime, done: datetime) -> float:
    return max((done - began).total_seconds(), 0.0)
