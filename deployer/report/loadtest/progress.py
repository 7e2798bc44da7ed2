"""A running load test: a panel redrawn in place on a terminal, a line every ten seconds elsewhere, nothing for JSON."""

from __future__ import annotations

import math
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deployer.loadtest.estimates import Latencies
from deployer.loadtest.figures import Figures
from deployer.loadtest.kinds import FAILED, WORDS, Kind, kinds_of
from deployer.loadtest.verdict import statuses
from deployer.manifest.quantities import format_duration
from deployer.ports.clock import Clock
from deployer.report.harmless import plain
from deployer.report.loadtest.text import ms
from deployer.report.output import Output

EVERY_S = 10.0
"""Between two lines of a log."""
RECENT = 10
"""Windows, a second each, that running figures cover."""


class Progress:
    """Shows what a test sees, about once a second."""

    def __init__(self, out: Output, clock: Clock) -> None:
        self._out = out
        self._clock = clock
        is_live = out.is_live and not out.as_json
        self._live = Live(console=out.console, refresh_per_second=4, transient=True) if is_live else None
        self._began: datetime | None = None
        self._said: tuple[datetime, str | None] | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None:
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
        if seen.phase is None:
            self._began = self._began or now
        elapsed_s = (now - self._began).total_seconds() if self._began else 0.0
        if self._live is not None:
            self._live.update(panel(seen, elapsed_s))
        elif self._is_due(now, seen.phase):
            self._said = now, seen.phase
            line = ", ".join(f"{label} {value}" if label else value for label, value in rows(seen, elapsed_s))
            self._out.console.print(Text(f"{now:%H:%M:%S}  {plain(line)}"), soft_wrap=True)

    def _is_due(self, now: datetime, phase: str | None) -> bool:
        return self._said is None or phase != self._said[1] or (now - self._said[0]).total_seconds() >= EVERY_S


def panel(seen: Figures, elapsed_s: float) -> RenderableType:
    """Draw the running figures."""
    table = Table.grid(padding=(0, 2))
    for label, value in rows(seen, elapsed_s):
        table.add_row(Text(label or "phase", style="dim"), Text(plain(value)))
    return Panel(table, title="load test", title_align="left", expand=False)


def rows(seen: Figures, elapsed_s: float) -> list[tuple[str, str]]:
    """Say what a running test sees, as (label, value): of the last ten seconds, and failures of all."""
    recent = seen.windows[-RECENT:]
    latencies = Latencies(recent)
    seconds = sum(window.seconds for window in recent)
    rps = sum(window.sent for window in recent) / seconds if seconds else 0.0
    kinds = kinds_of(statuses(seen.windows))
    failed = {kind: n for kind, n in kinds.items() if kind in FAILED | {Kind.REJECTED} and n}
    wrong = ", ".join(f"{n:,} {WORDS[kind][0]}" for kind, n in sorted(failed.items(), key=lambda each: -each[1]))
    times = ", ".join(f"p{level * 100:g} {_ms(latencies.at(level))}" for level in (0.5, 0.95, 0.99))
    left_s = seen.load.warm_up_s + seen.load.seconds - elapsed_s
    left = "waiting for the last answers" if left_s <= 0 else f"{format_duration(max(left_s, 1.0))} left"
    if seen.phase is not None and not seen.windows:
        return [("", seen.phase)]
    return [
        ("", seen.phase or f"{'warming up' if elapsed_s < seen.load.warm_up_s else 'measuring'}, {left}"),
        ("sent", f"{rps:.1f}/s"),
        ("in flight", "-" if seen.in_flight is None else f"{seen.in_flight:,}"),
        ("latency", times),
        ("failed", f"{sum(failed.values()):,} of {kinds.total():,}{f' ({wrong})' if wrong else ''}"),
        ("lag", f"{seen.health.lag_p99_ms:.1f} ms"),
    ]


def _ms(value: float) -> str:
    return "-" if math.isnan(value) else ms(value if math.isfinite(value) else None)
