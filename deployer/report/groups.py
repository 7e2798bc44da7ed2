"""Groups of lines in a CI system's log: one for each step of a rollout."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import TracebackType

from deployer.report.ci import Ci
from deployer.report.listeners import Quiet
from deployer.report.words import step_name
from deployer.rollout.endpoint import in_words
from deployer.rollout.events import Adopted, Event
from deployer.rollout.model import WAY_BACK, Rollout


class Groups(Quiet):
    """Folds the lines of each step into a group of the CI system's log; comes after what prints the lines."""

    def __init__(self, ci: Ci, write: Callable[[str], object]) -> None:
        self._ci = ci
        self._write = write
        self._title = ""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End the last group."""
        self._change("")

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Begin a group when another step, or the way back, has begun; what ended the last one stands in it."""
        back = f"way back to {in_words(state.plan.restore)}"
        title = back if state.phase in WAY_BACK else step_name(state.plan, state.step)
        if isinstance(event, Adopted) and state.phase not in WAY_BACK:
            title = "resume"  # where its plan stands is known from the tags alone
        self._change("" if state.is_final else title)

    def _change(self, title: str) -> None:
        if title == self._title:
            return
        if self._title:
            self._write(self._ci.end())
        if title:
            self._write(self._ci.begin(title))
        self._title = title
