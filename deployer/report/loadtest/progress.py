"""A running load test: redrawn in place on a terminal, a line every ten seconds elsewhere, nothing for JSON."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from deployer.loadtest.figures import Figures
from deployer.ports.clock import Clock
from deployer.report.loadtest.text import progress_text
from deployer.report.output import Output
from deployer.report.words import plain

EVERY_S = 10.0
"""Between two lines of a log."""


class Progress:
    """Shows what a test sees, about once a second."""

    def __init__(self, out: Output, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._live = Live(console=out.console, refresh_per_second=4, transient=True) if out.is_live else None
        self._began: datetime | None = None
        self._said: datetime | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None and not self._out.as_json:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Take the drawing away."""
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Say something that stays."""
        if not self._out.as_json:
            self._out.console.print(Text(plain(f"note: {text}")), soft_wrap=True)

    def show(self, seen: Figures) -> None:
        """Show what was seen so far."""
        if self._out.as_json:
            return
        now = self._clock.now()
        self._began = self._began or now
        text = plain(progress_text(seen, (now - self._began).total_seconds()))
        if self._live is not None:
            self._live.update(Text(text))
        elif self._said is None or (now - self._said).total_seconds() >= EVERY_S:
            self._said = now
            self._out.console.print(Text(f"{now:%H:%M:%S}  {text}"), soft_wrap=True)
