"""A running profile: a panel redrawn in place on a terminal, plain lines elsewhere, nothing for JSON."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deployer.manifest.quantities import format_duration
from deployer.ports.clock import Clock
from deployer.ports.profiling import Look, TrialRecord
from deployer.report.harmless import plain
from deployer.report.output import Output

ALIVE_S = 30.0
"""What goes on is said again after this long, so that a CI log shows life."""
TRIALS, NOTES = 6, 3
"""Latest of them that the panel shows."""


class Progress:
    """Shows how a profile goes (an ``engine.profiler.Listener``)."""

    def __init__(self, out: Output, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        self._live = Live(console=out.console, refresh_per_second=4, transient=True)
        self._is_live = out.is_live and not out.as_json
        self._trials: deque[TrialRecord] = deque(maxlen=TRIALS)
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._look: Look | None = None
        self._said: tuple[str, datetime] | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Take the drawing away: the result follows."""
        if self._is_live:
            self._live.stop()

    def on_look(self, look: Look) -> None:
        """Draw, or say what is new."""
        self._look = look
        if self._is_live:
            self._live.update(self._panel(look))
            return
        text, now = _doing(look), self._clock.now()
        if self._said is None or self._said[0] != text or (now - self._said[1]).total_seconds() >= ALIVE_S:
            self._said = text, now
            self._say("try", f"{text}; {spent(look)}")

    def on_trial(self, record: TrialRecord) -> None:
        """Keep or say what a trial saw."""
        self._trials.append(record)
        if not self._is_live:
            self._say("seen", trial_words(record))

    def on_note(self, text: str) -> None:
        """Keep or say a note."""
        self._notes.append(text)
        if not self._is_live:
            self._say("note", text)

    def _say(self, kind: str, text: str) -> None:
        if not self._out.as_json:
            self._out.console.print(Text(f"{self._clock.now():%H:%M:%S}  {kind:<5} {plain(text)}"), soft_wrap=True)

    def _panel(self, look: Look) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for answer in look.advice.answers:
            if answer.capacity is not None or answer.configuration == look.configuration:
                rate = "..." if answer.capacity is None else f"{answer.capacity.sustainable_rps:.4g} rps"
                mark = ">" if answer.configuration == look.configuration else " "
                price = f"${answer.usd_per_hour:.4g}/h"
                table.add_row(mark, plain(str(answer.configuration)), price, rate, plain(answer.why))
        lines = [Text(plain(_doing(look)), style="bold"), Text(spent(look), style="dim"), table]
        lines += [Text(plain(trial_words(each)), style="dim") for each in self._trials]
        lines += [Text(plain(f"note: {note}"), style="yellow") for note in self._notes]
        return Group(*lines)


def _doing(look: Look) -> str:
    where = f"{look.configuration}: " if look.configuration else ""
    number = f" (trial {look.trial})" if look.trial and look.configuration else ""
    return f"{where}{look.doing}{number}"


def spent(look: Look) -> str:
    """Say what was spent and what is left."""
    time = f"{format_duration(look.spent_s)} of {format_duration(look.budget_s)}"
    return time if look.budget_usd is None else f"{time}, ${look.spent_usd:.2f} of ${look.budget_usd:.2f}"


def trial_words(record: TrialRecord) -> str:
    """Sum a trial up in a line."""
    quantiles = (("p50", record.p50_ms), ("p95", record.p95_ms), ("p99", record.p99_ms))
    latency = ", ".join(f"{name} {value:.4g} ms" for name, value in quantiles if value is not None) or "no answer"
    rate = record.sent / record.seconds if record.seconds else 0.0
    failed = f", {record.failed} of {record.sent} failed" if record.failed else ""
    unused = f"; NOT USED: {record.problem}" if record.problem else ""
    return f"{record.probe.why}: {rate:.4g} rps, {latency}{failed}{unused}"
