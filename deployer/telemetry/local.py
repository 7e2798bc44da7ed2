"""Telemetry of the local platform: the gate's KQL on the traffic log, checked against the router's own count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

from deployer.errors import DeployerError, TelemetryError
from deployer.gate.samples import Cell, Samples
from deployer.ports.clock import Clock
from deployer.telemetry.kql import Counted, Table, histogram, read_histogram, stretches

SKEW = timedelta(seconds=5)
"""Telemetry that claims to be complete further ahead of our clock than this lives in another time."""

GRACE = timedelta(seconds=1)
"""The router counts an answer when the model gave it, the log when the client has it: this far apart at most."""

SETTLED = timedelta(minutes=1)
"""What ended this long before everything is complete changes no more, so it is not asked again."""

_THINNEST = timedelta(seconds=1)
_T = TypeVar("_T")


class Source(Protocol):
    """What is asked of the local platform (``deployer.local.client.LocalClient`` is one)."""

    def query(self, kql: str) -> dict[str, Any]:
        """Answer ``kql`` as ``deployer.local.access_log.TrafficLog.query`` describes."""
        ...

    def counters(self) -> dict[str, Any]:
        """The router's own count of answers.

        Returns:
            ``epoch``: differs after each start of the router. ``epoch_started_at``, ``at``: ISO 8601.
            ``answered``: answers by deployment since the epoch began, to users and mirrored; those that the client
            did not wait for are not in it.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Count:
    at: datetime
    epoch: str
    epoch_started_at: datetime
    answered: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Answer:
    counted: Counted
    complete_until: datetime | None
    problems: tuple[str, ...]


class LocalTelemetry:
    """Telemetry of one local endpoint (implements ``ports.telemetry.Telemetry``).

    ``Samples.expected`` is what the router surely answered between two of its counts inside the time asked for, so a
    complete log never holds less. It needs two fetches, or a router that started inside that time.

    Args:
        source: the local platform.
        endpoint: name of the endpoint.
        clock: tells when the source lives in another time.
    """

    def __init__(self, source: Source, endpoint: str, clock: Clock) -> None:
        self._source = source
        self._endpoint = endpoint
        self._clock = clock
        self._counts: list[_Count] = []
        self._settled: dict[tuple[Table, datetime, datetime, float], Counted] = {}

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """Read every answer that ended in [since, until); see the port.

        Raises:
            TelemetryError: nothing could be read, or not understood.
        """
        self._settled = {key: part for key, part in self._settled.items() if since <= key[1] and key[3] == block_s}
        live = self._ask(Table.LIVE, since, until, block_s)
        shadow = self._ask(Table.SHADOW, since, until, block_s) if mirrored else None
        self._count()
        read = (live, shadow) if shadow is not None else (live,)
        source_until = _earliest(*(answer.complete_until for answer in read))
        complete_until = _earliest(source_until, until)
        cells = tuple(cell for answer in read for cell in answer.counted.cells)
        expected = _surely_answered(self._counts, since, complete_until)
        if shadow is None and _exceeds(expected, cells):  # mirrored requests are in the router's count
            shadow = self._ask(Table.SHADOW, since, until, block_s)
            expected = _without(expected, shadow.counted.cells)
        problems = list(dict.fromkeys(problem for answer in read for problem in answer.problems))
        problems += self._doubts(since, block_s, source_until, {cell.deployment for cell in cells})
        return Samples(cells, block_s, complete_until, expected, "; ".join(problems) or None)

    def _ask(self, table: Table, since: datetime, until: datetime, block_s: float) -> _Answer:
        """Ask stretch by stretch; what settled before is not asked again, the last stretch always is."""
        parts: list[Counted] = []
        said: list[_Answer] = []
        for start, end in stretches(since, until, block_s=block_s):
            key = (table, start, end, block_s)
            if key in self._settled and end < until:
                parts.append(self._settled[key])
                continue
            kql = histogram(table, self._endpoint, start, end, block_s=block_s)
            ask = partial(self._source.query, kql)
            answer = _understood(lambda ask=ask: _read(ask(), since, until), "the local traffic log")
            parts.append(answer.counted)
            said.append(answer)
            if answer.complete_until is not None and end < answer.complete_until - SETTLED and not answer.problems:
                self._settled[key] = answer.counted
        cells = tuple(chain.from_iterable(part.cells for part in parts))
        counted = Counted(cells, sum(part.unattributed for part in parts), sum(part.untimed for part in parts))
        problems = list(dict.fromkeys(problem for answer in said for problem in answer.problems))
        if counted.untimed:
            problems.append(f"{counted.untimed} answers have no duration")
        return _Answer(counted, _earliest(*(answer.complete_until for answer in said)), tuple(problems))

    def _count(self) -> None:
        """Remember the router's count of now, if it can be had: telemetry does not depend on it."""
        try:
            count = _understood(lambda: _read_count(self._source.counters()), "the router's count")
        except TelemetryError:
            return
        last = self._counts[-1] if self._counts else None
        if last is None or count.epoch != last.epoch or count.at - last.at >= _THINNEST:
            self._counts.append(count)

    def _doubts(
        self, since: datetime, block_s: float, source_until: datetime | None, deployments: set[str]
    ) -> Iterable[str]:
        now = self._clock.now()
        if source_until is not None and source_until - now > SKEW:
            yield f"the clocks disagree: the traffic log is at {source_until.isoformat()}, but it is {now.isoformat()}"
        known = {name for count in self._counts for name in count.answered}
        if known and (strange := sorted(deployments - known)):
            yield f"answers of {', '.join(strange)}, which the router does not know"


def _surely_answered(counts: Sequence[_Count], since: datetime, until: datetime | None) -> dict[str, int]:
    """Answers by deployment that the router gave in [since, until): a lower bound, between its counts inside.

    A count that falls began anew at 0: another router, or a deployment made again under its name.
    """
    inside = [] if until is None else [c for c in counts if since + GRACE <= c.at < until - GRACE]
    total: dict[str, int] = {}
    before: _Count | None = None
    for count in inside:
        epoch_is_inside = count.epoch_started_at >= since + GRACE
        same = before is not None and before.epoch == count.epoch
        for name, answered in count.answered.items():
            if before is None and not epoch_is_inside:
                continue
            already = before.answered.get(name, 0) if before is not None and same else 0
            total[name] = total.get(name, 0) + (answered - already if answered >= already else answered)
        before = count
    return {name: n for name, n in total.items() if n > 0}


def _exceeds(expected: Mapping[str, int], cells: Iterable[Cell]) -> bool:
    return bool(_without(expected, cells))


def _without(expected: Mapping[str, int], cells: Iterable[Cell]) -> dict[str, int]:
    left = Counter(expected)
    for cell in cells:
        left[cell.deployment] -= cell.n
    return {name: left[name] for name in expected if left[name] > 0}


def _understood(ask: Callable[[], _T], what: str) -> _T:
    hint = "Look at `deployer local status`; the platform may still be starting."
    try:
        return ask()
    except TelemetryError:
        raise
    except DeployerError as exc:
        raise TelemetryError(f"{what} cannot be read: {exc.message}", hint=exc.hint) from exc
    except Exception as exc:  # whatever a source does, the gate must hear that it is blind
        raise TelemetryError(f"{what} cannot be read: {type(exc).__name__}: {exc}", hint=hint) from exc


def _read(answer: Mapping[str, Any], since: datetime, until: datetime) -> _Answer:
    counted = read_histogram(answer["columns"], answer["rows"])
    complete = answer["complete_until"]
    problems = [answer["problem"]] if answer["problem"] else []
    problems += [
        f"{incident['text']} (before {incident['until']})"
        for incident in answer["incidents"]
        if _moment(incident["since"]) < until and _moment(incident["until"]) > since
    ]
    return _Answer(counted, None if complete is None else _moment(complete), tuple(problems))


def _read_count(answer: Mapping[str, Any]) -> _Count:
    answered = {str(name): int(n) for name, n in answer["answered"].items()}
    return _Count(_moment(answer["at"]), str(answer["epoch"]), _moment(answer["epoch_started_at"]), answered)


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at.astimezone(UTC)


def _earliest(*moments: datetime | None) -> datetime | None:
    known = [at for at in moments if at is not None]
    return min(known) if len(known) == len(moments) else None
