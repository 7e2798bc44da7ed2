"""Listeners of a running rollout: a live tree on a terminal, plain lines elsewhere, nothing for ``--json``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from deployer.gate.verdict import Verdict
from deployer.manifest.quantities import format_duration
from deployer.report.harmless import plain
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.report.verdicts import is_news
from deployer.report.words import event_words
from deployer.rollout.actions import Action, Restore, SetWeight, StartStable, Wait
from deployer.rollout.ending import Ended
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.events import Event, Judged
from deployer.rollout.model import Phase, Rollout
from deployer.rollout.pace import Usual

REPEAT_S = 10.0
"""An unchanged verdict is said again after this long, so that a CI log shows life."""
ALIVE_S = 60.0
"""What is waited for is said again after this long."""
LONG_S = 10.0
"""What usually takes less than this is not worth a word about how long it takes."""
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

    def on_usual(self, usual: Usual) -> None:
        """Ignore."""

    def on_done(self, done: Ended) -> None:
        """The command has done what it was asked; ignore."""


class Lines(Quiet):
    """One plain line an event; what belongs to it is indented below."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._verdict: Verdict | None = None
        self._said: tuple[Verdict, datetime] | None = None
        """The verdict that was printed last at this step, and when."""
        self._waiting = ""
        self._waited: datetime | None = None
        """When it was last said what is waited for."""
        self._usual = Usual()
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
        """Say what is waited for when that changed, and again every ALIVE_S, so that a CI log shows life."""
        waiting = waiting_for(action) or writing(action, self._usual)
        if not waiting:
            return
        is_new = waiting != self._waiting
        if is_new or self._waited is None or (now - self._waited).total_seconds() >= ALIVE_S:
            self._waiting, self._waited = waiting, now
            elapsed = "" if is_new else format_duration(max((now - state.entered_at).total_seconds(), 0.0))
            said = ", ".join(filter(None, (elapsed, usually(state, self._usual))))
            self._say(now, "wait", f"{waiting} ({said})" if said else waiting)

    def on_usual(self, usual: Usual) -> None:
        """Keep it for what is waited for."""
        self._usual = usual

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
        self._usual = Usual()
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
        waiting = waiting_for(action) or writing(action, self._usual)
        self._state, self._endpoint, self._now, self._waiting = state, endpoint, now, waiting
        self._draw()

    def on_usual(self, usual: Usual) -> None:
        """Keep it for what is waited for."""
        self._usual = usual

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
        expected = usually(self._state, self._usual)
        return tree(self._state, self._story, self._endpoint, self._now, notes, self._waiting, expected)


def waiting_for(action: Action) -> str:
    """Say what is waited for; empty when nothing is, or the step says it itself."""
    return action.why if isinstance(action, Wait) and action.why not in UNSAID else ""


def writing(action: Action, usual: Usual) -> str:
    """Say that traffic is being written, where that takes long enough to wait for."""
    if not isinstance(action, SetWeight | StartStable | Restore) or (usual.shift_s or 0.0) < LONG_S:
        return ""
    return "writing traffic and reading it back"


def usually(state: Rollout, usual: Usual) -> str:
    """Say how long the phase usually takes, where it is worth waiting for; empty when that is not known."""
    if state.phase in (Phase.PREPARING, Phase.DEPLOYING):
        seconds = usual.deploy_s
    elif state.phase in (Phase.SHIFTING, Phase.REVERTING):
        seconds = usual.shift_s
    else:
        seconds = None
    return f"usually {format_duration(seconds)}" if seconds is not None and seconds >= LONG_S else ""


class Many(Quiet):
    """Tells several listeners. The first is the user's own; whatever another one fails of becomes its note."""

    def __init__(self, first: Quiet, *others: Quiet) -> None:
        self._first, self._others = first, others

    def __enter__(self) -> Self:
        """Enter all, the first one first."""
        self._first.__enter__()
        for each in self._others:
            self._try(each, each.__enter__)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Leave all, the first one last: what the others have to say is still shown."""
        for each in reversed(self._others):
            self._try(each, lambda each=each: each.__exit__(kind, error, tb))
        self._first.__exit__(kind, error, tb)

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Tell all."""
        self._first.on_event(state, event, at)
        for each in self._others:
            self._try(each, lambda each=each: each.on_event(state, event, at))

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """Tell all."""
        self._first.on_look(state, endpoint, action, now)
        for each in self._others:
            self._try(each, lambda each=each: each.on_look(state, endpoint, action, now))

    def on_note(self, text: str) -> None:
        """Tell all."""
        self._first.on_note(text)
        for each in self._others:
            self._try(each, lambda each=each: each.on_note(text))

    def on_usual(self, usual: Usual) -> None:
        """Tell all."""
        self._first.on_usual(usual)
        for each in self._others:
            self._try(each, lambda each=each: each.on_usual(usual))

    def on_done(self, done: Ended) -> None:
        """Tell all."""
        self._first.on_done(done)
        for each in self._others:
            self._try(each, lambda each=each: each.on_done(done))

    def _try(self, listener: Quiet, call: Callable[[], object]) -> None:
        """Call; nobody who only listens may stop a rollout."""
        try:
            call()
        except Exception as exc:  # noqa: BLE001 - whatever it is, traffic in hand matters more
            self._first.on_note(f"{type(listener).__name__} failed and is left out: {type(exc).__name__}")
