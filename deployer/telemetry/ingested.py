"""What all telemetry shares that reads rows which arrive late: ask, keep what settled, and say what can be believed.

The order of the questions makes every claim a careful one: first the independent count, then how far the rows have
come, and the rows themselves last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Protocol, TypeVar

from deployer.cloud.service_clock import SKEW_S
from deployer.errors import DeployerError, TelemetryError
from deployer.gate.samples import Cell, Samples
from deployer.ports.clock import Clock
from deployer.telemetry.kql import block_ms, check_order, stretches
from deployer.telemetry.log_analytics import Logs
from deployer.telemetry.watermark import LOOK_BACK, MINUTE, Assessment, Counts, Pulse, Tally, Window, assess

STRETCH = timedelta(minutes=15)
"""About as much is asked at once; it comes as a row a block, deployment and code, however many requests there were."""
SETTLED_LAGS = 2.0
"""What ended so many ``max_lag_s`` ago changes no more, so it is not asked again."""

BEFORE = timedelta(minutes=10)
"""Requests are counted from so long before: that the count works is known before the first minute of a rollout is."""

FEW_UNTOLD = 0.02
"""Part of all answers that may name no deployment, such as those of a pod that was replaced before we reached it."""
FEW_INTERIM = 0.01
"""Part of all rows that may tell of no answer; with more of them nobody knows that every answer is there."""
UNCOUNTED = "without an independent count nobody knows which requests are missing from telemetry"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Bars:
    """What a question about answers found in one stretch of time."""

    cells: tuple[Cell, ...]
    tallies: tuple[Tally, ...]
    problems: tuple[str, ...] = ()
    doubtful: tuple[tuple[Cell, ...], tuple[Tally, ...]] = ((), ())
    """Cells and tallies under names of deployments that somebody else may have written: the count decides."""
    untold: int = 0
    """Answers that name no deployment."""
    interim: int = 0
    """Rows that tell of no answer: requests that go on, and whose end is not known."""


class Question(Protocol):
    """What is asked of one kind of table, and how its answers are read."""

    shared: bool
    """Other endpoints may write rows that look the same."""

    @property
    def learned(self) -> int:
        """Grows when rows read before may now be told apart better."""
        ...

    def pulse(self, since: datetime, until: datetime) -> str:
        """KQL: what has arrived of [since, until)."""
        ...

    def read_pulse(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> tuple[list[Pulse], list[str]]:
        """Read what ``pulse`` answered, and what is wrong with it.

        Raises:
            TelemetryError: it is not understood. Nothing is guessed.
        """
        ...

    def bars(self, since: datetime, until: datetime, *, block_s: float) -> str:
        """KQL: every answer that ended in [since, until)."""
        ...

    def read_bars(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Bars:
        """Read what ``bars`` answered.

        Raises:
            TelemetryError: it is not understood. Nothing is guessed.
        """
        ...

    def earliest(self, since: datetime) -> datetime:
        """Since when rows are looked at to find every answer that ended after ``since``."""
        ...

    def latest(self, until: datetime) -> datetime:
        """Until when rows are looked at to find every answer that ended before ``until``."""
        ...


class Count(Protocol):
    """An independent count of requests (``deployer.telemetry.metrics.AzureMetrics`` is one)."""

    def count(self, since: datetime, until: datetime) -> Counts:
        """Count requests by minute, from the minute of ``since`` on.

        Raises:
            TelemetryError: it cannot be had now.
        """
        ...


class IngestedTelemetry:
    """Telemetry over rows that arrive late (implements ``ports.telemetry.Telemetry``).

    Mirrored answers are not told apart: a deployment has live traffic or mirrored traffic, never both, so whatever the
    log holds of it is read either way. Whether Azure logs mirrored requests at all is not documented.

    Args:
        logs: where KQL is answered.
        question: what is asked.
        clock: tells how old rows are.
        max_lag_s: as late as rows may be; assumed of all of them where nothing better is known.
        counter: independent count; None: there is none, so nothing is ever complete.
    """

    def __init__(
        self, logs: Logs, question: Question, clock: Clock, *, max_lag_s: float, counter: Count | None = None
    ) -> None:
        self._logs, self._question, self._clock = logs, question, clock
        self._max_lag_s, self._counter = max_lag_s, counter
        self._settled: dict[tuple[datetime, datetime, float], tuple[int, Bars]] = {}
        self._pulses: dict[tuple[datetime, str], Pulse] = {}
        self._felt_since: datetime | None = None

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """Read every answer that ended in [since, until); see the port.

        Raises:
            TelemetryError: nothing could be read, or not understood.
        """
        check_order(since, until)
        block_ms(block_s)
        since, until = since.astimezone(UTC), until.astimezone(UTC)
        now = self._clock.now()
        window = Window(now, since, until, block_s, self._max_lag_s)
        counts, uncounted = self._counted(window)
        problems = self._feel_pulse(since, now)
        parts, partial = self._read(window)
        tallies = chain.from_iterable(part.tallies for part in parts)
        found = Assessment(None)
        if not partial:  # else it is a problem already
            doubtful = chain.from_iterable(part.doubtful[1] for part in parts)
            pulses = list(self._pulses.values())
            found = assess(window, pulses, tallies, counts, shared=self._question.shared, doubtful=doubtful)
        cells, left_out = _ours(parts, found.adopted, counts.until if counts is not None else None)
        untold = sum(part.untold for part in parts)
        answers = sum(cell.n for cell in cells)
        vague, wrong = _untold(untold, answers)
        interim = _interim(sum(part.interim for part in parts), answers)
        said = chain(problems, partial, *(part.problems for part in parts), wrong, found.problems)
        doubts = filter(None, (uncounted, found.doubt, left_out, vague, interim))
        problem, doubt = ("; ".join(dict.fromkeys(each)) or None for each in (said, doubts))
        complete_until = found.complete_until if interim is None else None
        return Samples(cells, block_s, complete_until, found.expected, problem, doubt)

    def _counted(self, window: Window) -> tuple[Counts | None, str | None]:
        """Count independently; None, and why, when that cannot be done now."""
        if self._counter is None:
            return None, UNCOUNTED
        try:
            counts = self._counter.count(window.since - BEFORE, max(window.since, min(window.until, window.now)))
        except TelemetryError as exc:
            return None, f"{UNCOUNTED}: {exc.message} ({exc.hint})"
        return counts, None

    def _feel_pulse(self, first: datetime, now: datetime) -> list[str]:
        """Ask how far the rows have come; what is known of minutes that have all their rows is kept."""
        since = now - timedelta(seconds=self._max_lag_s) - 3 * MINUTE
        if self._felt_since is None or first < self._felt_since:
            since = min(first, now - timedelta(seconds=LOOK_BACK * self._max_lag_s) - 2 * MINUTE)
        since = since.replace(second=0, microsecond=0)
        kql = self._question.pulse(since, now + MINUTE)
        reply = self._logs.ask(kql, self._question.earliest(since), self._question.latest(now + MINUTE))
        problems = [reply.partial] if reply.partial else []
        if reply.ahead_s is not None and abs(reply.ahead_s) > SKEW_S:
            problems.append(f"the clocks disagree: that of Log Analytics is {reply.ahead_s:+.0f}s off")
        if reply.partial is None:
            pulses, wrong = understood(lambda: self._question.read_pulse(reply.columns, reply.rows))
            problems += wrong
            self._felt_since = since if self._felt_since is None else min(since, self._felt_since)
            self._pulses = {key: kept for key, kept in self._pulses.items() if kept.minute < since}
            self._pulses |= {(pulse.minute, pulse.deployment): pulse for pulse in pulses}
        return problems

    def _read(self, window: Window) -> tuple[list[Bars], list[str]]:
        """Ask stretch by stretch; what settled before is not asked again."""
        settled = window.now - timedelta(seconds=SETTLED_LAGS * self._max_lag_s)
        self._settled = {
            key: part for key, part in self._settled.items() if window.since <= key[0] and key[2] == window.block_s
        }
        parts: list[Bars] = []
        partial: list[str] = []
        for start, end in stretches(window.since, window.until, block_s=window.block_s, about=STRETCH):
            key = (start, end, window.block_s)
            learned, part = self._settled.get(key, (-1, None))
            if part is None or (learned != self._question.learned and (part.doubtful[1] or part.untold)):
                kql = self._question.bars(start, end, block_s=window.block_s)
                reply = self._logs.ask(kql, self._question.earliest(start), self._question.latest(end))
                if reply.partial is not None:
                    partial.append(reply.partial)
                    continue
                part = understood(lambda reply=reply: self._question.read_bars(reply.columns, reply.rows))
                if end <= settled and not part.problems:
                    self._settled[key] = self._question.learned, part
            parts.append(part)
        return parts, partial


def _ours(
    parts: Sequence[Bars], adopted: frozenset[str], counted_until: datetime | None
) -> tuple[tuple[Cell, ...], str | None]:
    """All cells but doubtful ones that no count bears out, yet or at all, and what to say of those."""
    cells = list(chain.from_iterable(part.cells for part in parts))
    left_out = 0
    for cell in chain.from_iterable(part.doubtful[0] for part in parts):
        if cell.deployment in adopted and counted_until is not None and cell.start < counted_until:
            cells.append(cell)
        else:
            left_out += cell.n
    if not left_out:
        return tuple(cells), None
    return tuple(cells), f"{left_out} answers are left out: nothing shows that their containers are this endpoint's"


def _untold(n: int, rows: int) -> tuple[str | None, list[str]]:
    """What to say of answers that name no deployment: a doubt when they are few, a problem when not.

    Few ones are missing from their deployments, so the count and its tolerance deal with them.
    """
    if not n:
        return None, []
    text = f"{n} answers name no deployment (Service Name is the endpoint's), and no probe reached their containers"
    return (text, []) if n <= FEW_UNTOLD * (rows + n) else (None, [text])


def _interim(n: int, answers: int) -> str | None:
    """What to say of rows that tell of no answer; nothing where they are few."""
    if n <= FEW_INTERIM * (answers + n):
        return None
    return f"{n} rows hold a code below 200 and are left out: how those requests ended is not in the log"


def understood(read: Callable[[], _T]) -> _T:
    """What ``read`` makes of an answer.

    Raises:
        TelemetryError: it is not understood, whatever is wrong with it.
    """
    try:
        return read()
    except DeployerError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, ArithmeticError) as exc:
        raise TelemetryError(
            f"the answer of Azure is not understood: {type(exc).__name__}: {exc}"[:300],
            hint="Check that the table's columns have their documented types.",
        ) from exc
