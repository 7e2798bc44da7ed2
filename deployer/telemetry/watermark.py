"""Up to when rows that arrive late can be believed to be all there, and how many there should be.

Rows of Azure come minutes after the answers they tell of, out of order, and at times not at all. Two witnesses are
heard, and the more careful one decides: how late rows came lately, and an independent count by minute and deployment.
Without the count lost rows cannot be told from requests that never were, whatever their age: then the watermark is
None, which never promotes, and what the rows hold may still fail a candidate. Nothing here asks anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil

MINUTE = timedelta(minutes=1)
MISSING = 0.1
CHANCE = 2.0
"""A count may be short of the other by a tenth, or by so many square roots: as the gate has it (gate/blindness.py)."""
FAILURES, FEW = 2.0, 10.0
"""The rows are believed about failures unless the count has more than twice as many, and more than a few more."""
LOOK_BACK = 3.0
"""Lateness is measured over so many ``max_lag_s``: the newest of them is left out, for its late rows are not in yet."""
DUMB = "metrics count no request of this endpoint while telemetry holds some, so nobody knows what is missing"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What has arrived of one minute and one deployment, our own probes included."""

    minute: datetime
    deployment: str
    """Empty: no deployment answered."""
    rows: int
    probes: int
    """Of the rows: requests of our own, which nobody judges."""
    last: datetime
    """The newest row is of this moment."""
    lag_s: float | None
    """95 % of the rows were there so long after their request came in, or ended; None: the source does not say."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows one deployment has in one block."""

    start: datetime
    deployment: str
    rows: int
    items: float
    """Answers that the rows stand for: more than ``rows`` where the source samples."""
    failed: int
    """Of the rows: errors and time-outs."""


@dataclass(frozen=True, slots=True)
class Counts:
    """An independent count: requests by minute and deployment."""

    requests: Mapping[tuple[datetime, str], float]
    failed: Mapping[tuple[datetime, str], float]
    until: datetime
    """What ended before is counted."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked, and when."""

    now: datetime
    since: datetime
    until: datetime
    block_s: float
    max_lag_s: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """What ``assess`` found."""

    complete_until: datetime | None
    expected: Mapping[str, int] = field(default_factory=dict[str, int])
    problems: tuple[str, ...] = ()
    doubt: str | None = None
    """Why nothing is complete."""
    adopted: frozenset[str] = frozenset()
    """Deployments whose doubtful rows are taken for theirs, because the count needs them."""


def lateness_s(pulses: Iterable[Pulse], now: datetime, max_lag_s: float) -> float:
    """How late rows come, in seconds: the worst of the minutes that are old enough to have all their rows.

    A young minute shows only its quick rows, so it says nothing. Without an old one ``max_lag_s`` is assumed.
    """
    lag = timedelta(seconds=max_lag_s)
    first, last = now - LOOK_BACK * lag - 2 * MINUTE, now - lag - MINUTE
    known = [pulse.lag_s for pulse in pulses if pulse.lag_s is not None and first <= pulse.minute <= last]
    return min(max(0.0, *known), max_lag_s) if known else max_lag_s


def assess(
    window: Window,
    pulses: Sequence[Pulse],
    tallies: Iterable[Tally],
    counts: Counts | None,
    *,
    shared: bool = False,
    doubtful: Iterable[Tally] = (),
) -> Assessment:
    """Say up to when ``tallies`` are complete, what they should hold, and what is wrong with them.

    Args:
        window: what was asked, and when.
        pulses: of the last ``LOOK_BACK`` times ``max_lag_s``.
        tallies: what the rows of [since, until) hold, our probes left out.
        counts: the independent count; None: there is none, so nobody knows what is missing and nothing is complete.
        shared: others write rows to the same place, so names that the count does not know are no problem, and more
            rows than it knows of are one.
        doubtful: rows under names of deployments that somebody else may have written.
    """
    tallies, doubtful = tuple(tallies), tuple(doubtful)
    if counts is None:
        return Assessment(None)
    if _is_dumb(counts, (*tallies, *doubtful)):
        return Assessment(None, doubt=DUMB)
    lag = timedelta(seconds=lateness_s(pulses, window.now, window.max_lag_s))
    ripe = min(counts.until, window.now - lag)
    adopted = _Book.of(window, pulses, tallies, counts).lacking({tally.deployment for tally in doubtful}, ripe)
    doubtful = tuple(tally for tally in doubtful if tally.deployment in adopted)
    book = _Book.of(window, pulses, (*tallies, *doubtful), counts)
    young = window.now - timedelta(seconds=window.max_lag_s)
    complete = min(window.until, window.now - lag, book.covered_until(young))
    counted = [key for key in book.due if key[0] + book.length <= complete]
    strange = book.strangers()
    problems = [*book.hidden_failures(counted), *(book.surplus(counted, adopted) if shared else _unknown(strange))]
    problems += book.invented_failures(doubtful, window.since - MINUTE)
    if shared and strange:  # theirs for certain, for a probe of ours reached them: what they tell may fail a candidate
        why = f"metrics do not know {named(strange)}, so nobody counts which of its answers are missing"
        return Assessment(None, problems=tuple(problems), doubt=why, adopted=adopted)
    return Assessment(complete, book.expected(counted), tuple(problems), adopted=adopted)


def _unknown(strange: list[str]) -> list[str]:
    """What to say of names that the count does not know: the log's dimension is another one."""
    return [f"answers of {named(strange)}, which the metrics of this endpoint do not know"] if strange else []


def _is_dumb(counts: Counts, tallies: Iterable[Tally]) -> bool:
    """Whether the count knows of no request at all where there are rows that it had the time to count."""
    return not counts.requests and any(tally.start < counts.until - 2 * MINUTE for tally in tallies)


def _is_short(seen: float, due: float) -> bool:
    return seen < due - max(MISSING * due, CHANCE * due**0.5)


@dataclass(slots=True)
class _Book:
    """Rows and independent count side by side, by bucket of whole minutes and deployment."""

    length: timedelta
    counts: Counts
    due: dict[tuple[datetime, str], float]
    """Requests that rows must tell of: counted, less our probes; whole buckets inside the time asked for only."""
    failed_due: Counter[tuple[datetime, str]]
    rows: Counter[tuple[datetime, str]]
    failed: Counter[tuple[datetime, str]]
    shares: dict[str, float]
    """Rows by answer that they stand for: below 1 where the source samples. Counts are compared in rows."""

    @classmethod
    def of(cls, window: Window, pulses: Iterable[Pulse], tallies: Iterable[Tally], counts: Counts) -> _Book:
        length = ceil(window.block_s / 60) * MINUTE
        book = cls(length, counts, {}, Counter(), Counter(), Counter(), {})
        rows: Counter[str] = Counter()
        items: Counter[str] = Counter()
        for tally in tallies:
            key = book._bucket(tally.start), tally.deployment
            book.rows[key] += tally.rows
            book.failed[key] += tally.failed
            rows[tally.deployment] += tally.rows
            items[tally.deployment] += tally.items  # pyright: ignore[reportArgumentType] (a Counter of floats)
        book.shares = {name: rows[name] / items[name] for name in rows if items[name] > 0}
        probes: Counter[tuple[datetime, str]] = Counter()
        for pulse in pulses:
            probes[book._bucket(pulse.minute), pulse.deployment] += pulse.probes
        due: Counter[tuple[datetime, str]] = Counter()
        for (minute, deployment), n in counts.requests.items():
            key = book._bucket(minute), deployment
            if window.since <= key[0] and key[0] + length <= window.until:
                due[key] += n  # pyright: ignore[reportArgumentType]
        for (minute, deployment), n in counts.failed.items():
            book.failed_due[book._bucket(minute), deployment] += n  # pyright: ignore[reportArgumentType]
        book.due = {key: max(0.0, n - probes[key]) for key, n in due.items()}
        for key, n in probes.items():
            book.failed_due[key] = max(0, book.failed_due[key] - n)  # any of them may have failed
        return book

    def _bucket(self, at: datetime) -> datetime:
        return _EPOCH + (at - _EPOCH) // self.length * self.length

    def covered_until(self, young: datetime) -> datetime:
        """Up to when every minute has its rows; one that lacks them since before ``young`` is given up as lost."""
        for bucket, deployment in sorted(self.due):
            if bucket + self.length <= young or bucket >= self.counts.until:
                continue
            due, seen = self.due[bucket, deployment] * self.shares.get(deployment, 1.0), self.rows[bucket, deployment]
            if _is_short(seen, due):
                return bucket
        return self.counts.until

    def lacking(self, names: Iterable[str], ripe: datetime) -> frozenset[str]:
        """Those of ``names`` that the count knows and that have fewer rows than it says, as far as can be told."""
        known = {name for _, name in self.counts.requests}
        found: set[str] = set()
        for name in known.intersection(names):
            keys = [key for key in self.due if key[1] == name and key[0] + self.length <= ripe]
            due = sum(self.due[key] for key in keys) * self.shares.get(name, 1.0)
            if name not in self.shares or (keys and _is_short(sum(self.rows[key] for key in keys), due)):
                found.add(name)
        return frozenset(found)

    def expected(self, counted: Sequence[tuple[datetime, str]]) -> dict[str, int]:
        """Rows of each deployment that there should be, sampled as those that are there.

        Whoever compares sees the rows outside of ``counted`` as well, so as many are expected there as there are.
        """
        due: Counter[str] = Counter()
        for key in counted:
            due[key[1]] += self.due[key]  # pyright: ignore[reportArgumentType]
        rest: Counter[str] = Counter()
        for key in self.rows.keys() - set(counted):
            rest[key[1]] += self.rows[key]
        return {name: n + rest[name] for name in due if (n := int(due[name] * self.shares.get(name, 1.0))) > 0}

    def strangers(self) -> list[str]:
        """Names in the rows that the count has never heard of, while it knows others and had the time to."""
        known = {name for _, name in self.counts.requests}
        behind = self.counts.until - 2 * self.length
        return sorted({name for bucket, name in self.rows if bucket < behind} - known) if known else []

    def hidden_failures(self, counted: Sequence[tuple[datetime, str]]) -> Iterable[str]:
        """Deployments whose failures are in the count and not in the rows."""
        for name in sorted({key[1] for key in counted}):
            due = sum(self.failed_due[key] for key in counted if key[1] == name) * self.shares.get(name, 1.0)
            seen = sum(self.failed[key] for key in counted if key[1] == name)
            if due > FAILURES * seen + FEW:
                yield f"metrics count {due:.0f} failures of {named([name])}, the rows tell of {seen}"

    def invented_failures(self, doubtful: Iterable[Tally], since: datetime) -> Iterable[str]:
        """Deployments whose doubtful rows tell of failures that the count does not know."""
        seen: Counter[str] = Counter()
        for tally in doubtful:
            seen[tally.deployment] += tally.failed if tally.start < self.counts.until else 0
        for name, n in sorted(seen.items()):
            failed = self.counts.failed.items()
            due = sum(n for (minute, whose), n in failed if whose == name and minute >= since)
            if n > FAILURES * due + FEW:
                yield (
                    f"containers that no probe of ours reached tell of {n} failures of {named([name])}, metrics "
                    f"know of {due:.0f}: others' are among them"
                )

    def surplus(self, counted: Sequence[tuple[datetime, str]], adopted: Iterable[str]) -> Iterable[str]:
        """Deployments with more rows than requests: somebody else's answers are among them.

        A tenth more may be the count's fault where our probes saw the containers, and is not where nobody did.
        """
        for name in sorted({key[1] for key in counted}):
            due = sum(self.due[key] for key in counted if key[1] == name) * self.shares.get(name, 1.0)
            seen = sum(self.rows[key] for key in counted if key[1] == name)
            if seen > due + max(0.0 if name in adopted else MISSING * due, CHANCE * due**0.5) + FEW:
                yield f"{seen} rows of {named([name])}, but metrics know of {due:.0f}: others' are among them"


def named(names: Sequence[str]) -> str:
    """Names from outside, safe in one line."""
    return ", ".join("".join(c if c.isprintable() else "?" for c in name)[:64] for name in names[:5])
