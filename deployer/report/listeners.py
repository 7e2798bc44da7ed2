"""Listeners of a running rollout: a live tree on a terminal, plain lines elsewhere, nothing for ``--json``."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from deployer.gate.verdict import Verdict
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.report.verdicts import is_news
from deployer.report.words import event_words, plain
from deployer.rollout.actions import Action, Wait
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.events import Event, Judged
from deployer.rollout.model import Rollout

REPEAT_S = 10.0
"""An unchanged verdict is said again after this long, so that a CI log shows life."""
NOTES = 3
"""Latest notes that are kept below the tree."""
UNSAID = ("next look of the gate", "gate skipped", "holding")
"""What is waited for in a step that says itself how long it lasts."""


class Quiet:
    """Says nothing."""

    def __enter__(self) -> Self:
        """Enter; nothing to do."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Leave; nothing to do."""

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Ignore."""

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """Ignore."""

    def on_note(self, text: str) -> None:
        """Ignore."""


class Lines(Quiet):
    """One plain line an event; what belongs to it is indented below."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._verdict: Verdict | None = None
        self._said: tuple[Verdict, datetime] | None = None
        """The verdict that was printed last at this step, and when."""
        self._waiting = ""
        self._note = ""

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Print the event; an unchanged verdict not more often than every REPEAT_S, its reason only when it is news."""
        kind, text = event_words(state, event, self._verdict)
        self._waiting = ""
        if not isinstance(event, Judged):
            self._said = None
            self._say(at, kind, text)
            return
        said, verdict = self._said, event.verdict
        self._verdict = verdict
        if said is not None and said[0].result is verdict.result:
            if (at - said[1]).total_seconds() < REPEAT_S:
                return
            text = text if is_news(said[0], verdict) else text.split("\n")[0]
        self._said = verdict, at
        self._say(at, kind, text)

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """Say what is waited for when that changed."""
        waiting = waiting_for(action)
        if waiting and waiting != self._waiting:
            self._waiting = waiting
            self._say(now, "wait", waiting)

    def on_note(self, text: str) -> None:
        """Print the note, once."""
        if text != self._note:
            self._note = text
            self._say(None, "note", text)

    def _say(self, at: datetime | None, kind: str, text: str) -> None:
        stamp = f"{at:%H:%M:%S}" if at else ""
        for line in plain(text).split("\n"):
            self._console.print(Text(f"{stamp:<8}  {kind:<9} {line}".rstrip()), soft_wrap=True)
            stamp = kind = ""


class LiveTree(Quiet):
    """The tree, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._story = Story()
        self._live = Live(console=console, refresh_per_second=4, transient=False)
        self._is_drawing = False
        self._state: Rollout | None = None
        self._endpoint: Endpoint | None = None
        self._waiting = ""
        self._now: datetime | None = None
        self._notes: deque[str] = deque(maxlen=NOTES)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Leave the last tree on the screen."""
        if self._is_drawing:
            self._live.stop()

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Take the event in and redraw at once."""
        self._story.add(state, event, at)
        self._state, self._now, self._waiting = state, at, ""
        self._draw(at_once=True)

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """Redraw with the endpoint as it is now."""
        self._state, self._endpoint, self._now, self._waiting = state, endpoint, now, waiting_for(action)
        self._draw()

    def on_note(self, text: str) -> None:
        """Show the note below the tree."""
        if text not in self._notes:
            self._notes.append(text)
            self._draw(at_once=True)

    def _draw(self, *, at_once: bool = False) -> None:
        if not self._is_drawing:
            self._is_drawing = True
            self._live.start()
        self._live.update(self._drawn(), refresh=at_once)

    def _drawn(self) -> RenderableType:
        notes = "\n".join(self._notes)
        if self._state is None or self._now is None:
            return Group(Text(plain(notes), style="dim"))
        return tree(self._state, self._story, self._endpoint, self._now, notes, self._waiting)


def waiting_for(action: Action) -> str:
    """Say what is waited for; empty when nothing is, or the step says it itself."""
    return action.why if isinstance(action, Wait) and action.why not in UNSAID else ""
