"""Listeners of a running rollout: a live tree on a terminal, plain lines elsewhere, nothing for ``--json``."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from deployer.gate.verdict import Result
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.report.words import arm_words, event_words, plain
from deployer.rollout.actions import Action, Wait
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.events import Event, Judged
from deployer.rollout.model import Rollout

REPEAT_S = 10.0
"""An unchanged verdict is said again after this long, so that a CI log shows life."""


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
    """One plain line an event."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._judged: tuple[Result, datetime] | None = None
        self._noted = ""

    def _say(self, at: datetime | None, kind: str, text: str) -> None:
        stamp = f"{at:%H:%M:%S}  " if at else " " * 10
        for line in plain(text).splitlines() or [""]:
            self._console.print(f"{stamp}{kind:<9} {line}", markup=False, highlight=False, soft_wrap=True)
            stamp, kind = " " * 10, ""

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Print the event; a verdict only when it changed or was not said for a while."""
        kind, text = event_words(state, event)
        if isinstance(event, Judged):
            verdict = event.verdict
            said = self._judged
            if said is not None and said[0] is verdict.result and (at - said[1]).total_seconds() < REPEAT_S:
                return
            self._judged = (verdict.result, at)
            text += f" [{state.plan.candidate}: {arm_words(verdict.candidate)}"
            text += f"; {state.plan.stable}: {arm_words(verdict.stable)}]" if state.plan.stable else "]"
        self._say(at, kind, text)

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """Say what is waited for when that changed and is not merely the next look."""
        if isinstance(action, Wait) and action.why != self._noted and "next look" not in action.why:
            self._noted = action.why
            self._say(now, "wait", action.why)

    def on_note(self, text: str) -> None:
        """Print the note."""
        self._say(None, "note", text)


class LiveTree(Quiet):
    """The tree, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._story = Story()
        self._live = Live(console=console, refresh_per_second=4, transient=False)
        self._endpoint: Endpoint | None = None
        self._note = ""

    def __enter__(self) -> Self:
        """Begin drawing."""
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Leave the last tree on the screen."""
        self._live.__exit__(kind, error, tb)

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Take the event in and redraw."""
        self._story.add(state, event, at)
        self._live.update(tree(state, self._story, self._endpoint, at, self._note), refresh=True)

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """Redraw with the endpoint as it is now."""
        self._endpoint = endpoint
        self._live.update(tree(state, self._story, endpoint, now, self._note))

    def on_note(self, text: str) -> None:
        """Show the note below the tree."""
        self._note = text
