"""What a server's own answers say of it: service times behind the queue, slots, pauses, admission limit.

In a FIFO queue before ``c`` servers a request starts when at most ``c - 1`` of the earlier ones are still inside, so
its service time follows from arrivals and answers alone, however long it waited. So any load teaches service times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappush, heappushpop

import numpy as np
from numpy.typing import NDArray

from deployer.loadtest.kinds import RATE_LIMITED
from deployer.profile.queueing import Flags, Floats, Stalls, worked
from deployer.profile.trials import Probe, Seen

THROTTLED = 429
_OUTAGE = 10
"""Failures between two answers, in a time in which so many answers are usual."""
_STRAY, _LEFT_OVER = 0.005, 0.3
"""Shares that the endpoint's rate limit turns away without being met: by chance, and right after it was."""
_SHED = 0.2
"""Part of those that find a house full that fails, at least: many more do, but a client counts answers on their way."""
_SILENT = 5.0
"""A pause is so many times longer than 98 % of the times between answers ..."""
_RARE = 0.01
"""... and rarer than this; slow requests that are more frequent belong to the service times."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One probe, requests ordered by arrival, in seconds; pauses found in it cut out of ``work_*``."""

    probe: Probe
    seconds: float
    arrival: Floats
    latency: Floats
    failed: Flags
    """Anything but 2xx."""
    refused: Flags
    """429: turned away at the door."""
    pauses: tuple[Floats, Floats]
    """Starts and lengths of the pauses seen."""
    whole: Flags
    """Which pauses began with a request in service: the others may have begun earlier than seen."""
    work_arrival: Floats
    work_done: Floats
    """The same instants on a clock that stands still in pauses."""
    limited: int = 0
    """Requests that the endpoint's rate limit turned away. Left out of everything else: they say nothing of what stands
    behind it."""

    @property
    def is_limited(self) -> bool:
        """Whether it met the endpoint's rate limit, and not only what an earlier probe had left of it."""
        least = _LEFT_OVER if self.probe.kind == "warm" else _STRAY
        return self.limited > max(2, least * (self.limited + self.arrival.size))

    @property
    def broken(self) -> Flags:
        """Which failed, and were not turned away."""
        return self.failed & ~self.refused

    @property
    def is_outage(self) -> bool:
        """Whether for a while, or all the time, nothing but failures came: something happened, whatever the load.

        Not of a warm-up that sees nothing else: that server only fails.
        """
        failed = self.arrival[self.broken]
        if failed.size < _OUTAGE or failed.size == self.arrival.size:
            return self.probe.kind != "warm" and failed.size >= _OUTAGE
        answered = np.concatenate([[0.0], self.arrival[~self.failed], [max(self.seconds, self.arrival[-1])]])
        between, _ = np.histogram(failed, answered)
        return bool(np.any((between >= _OUTAGE) & (np.diff(answered) * self.rps >= _OUTAGE)))

    @property
    def rps(self) -> float:
        """Answers with 2xx a second of working time."""
        served = ~self.failed
        if not served.any():
            return 0.0
        start = 0.1 * self.work_arrival[-1]
        span = float(self.work_done[served].max()) - start
        return float(np.count_nonzero(self.work_done[served] > start) / span) if span > 0 else 0.0


def trace_of(seen: Seen, slow_s: float = 0.0) -> Trace:
    """Read a probe; pauses (longer than ``slow_s``) are found at once."""
    arrived = np.argsort(seen.arrival_s, kind="stable")
    order = arrived[np.asarray(seen.status)[arrived] != RATE_LIMITED]
    arrival = np.asarray(seen.arrival_s, np.float64)[order]
    latency = np.asarray(seen.latency_ms, np.float64)[order] / 1000
    status = np.asarray(seen.status)[order]
    failed = (status < 200) | (status > 299)
    served = status != THROTTLED
    starts, lengths, whole = find_pauses(arrival[served], arrival[served] + latency[served], slow_s)
    pauses = (starts, lengths)
    return Trace(
        seen.probe, seen.seconds, arrival, latency, failed, ~served, pauses, whole,
        worked(arrival, pauses), worked(arrival + latency, pauses), arrived.size - order.size,
    )  # fmt: skip


def _inside(arrival: Floats, latency: Floats, served: Flags, at: Floats) -> NDArray[np.intp]:
    """How many of those that were served are inside at each instant of ``at``."""
    gone = np.sort((arrival + latency)[served])
    return np.searchsorted(arrival[served], at) - np.searchsorted(gone, at, side="right")


def find_pauses(arrival: Floats, done: Floats, slow_s: float) -> tuple[Floats, Floats, Flags]:
    """Starts, lengths and wholeness of the times without any answer, requests inside, that stand out by far.

    Nothing up to ``slow_s``, which is longer than any one request takes by itself, is a pause.
    """
    none = (np.empty(0), np.empty(0), np.empty(0, np.bool_))
    if arrival.size < 60:
        return none
    left = np.sort(done)
    came = np.searchsorted(arrival, left, side="right")
    is_busy = came[:-1] > np.arange(1, left.size)
    since = np.concatenate([[arrival[0]], np.where(is_busy, left[:-1], arrival[np.minimum(came[:-1], left.size - 1)])])
    silence = left - since
    stands_out = silence > max(_SILENT * float(np.quantile(silence, 0.98)), slow_s)
    if not stands_out.any() or stands_out.mean() > _RARE:
        return none
    usual = float(np.median(silence))
    whole = np.concatenate([[False], is_busy])
    return since[stands_out] + usual / 2, silence[stands_out] - usual, whole[stands_out]


def slow_s(trace: Trace) -> float:
    """How long a silence must be to be more than a slow request, judged by requests that were alone."""
    return _SILENT * float(np.quantile(trace.latency, 0.98))


def stalls_of(traces: Sequence[Trace]) -> Stalls | None:
    """The pauses of all probes as one process; None below three of them."""
    lengths = np.concatenate([trace.pauses[1] for trace in traces])
    whole = np.concatenate([trace.whole for trace in traces])
    if lengths.size < 3:
        return None
    gaps = np.concatenate([np.diff(trace.pauses[0]) for trace in traces])
    is_periodic = gaps.size >= 3 and bool(np.std(gaps) < 0.1 * np.mean(gaps))
    every = float(np.median(gaps)) if is_periodic else sum(trace.seconds for trace in traces) / lengths.size
    # Those that did not begin with a request in service may be longer than seen; by the clock they are all alike.
    known = (
        lengths[whole]
        if np.count_nonzero(whole) >= (1 if is_periodic else 3)
        else lengths[lengths >= np.median(lengths)]
    )
    return Stalls(every, is_periodic, known)


def sizes_of(trace: Trace, slots: int, delay_s: float) -> tuple[Floats, Flags]:
    """Service time of each served request by arrival, in seconds, and whether it had to wait.

    ``delay_s`` of every latency no server is occupied.
    """
    took_part = ~trace.refused
    arrivals, left = trace.work_arrival[took_part], trace.work_done[took_part] - delay_s
    sizes, waited = np.empty(arrivals.size), np.empty(arrivals.size, np.bool_)
    latest: list[float] = []
    for i, (now, end) in enumerate(zip(arrivals.tolist(), left.tolist(), strict=True)):
        opens = latest[0] if len(latest) == slots else now
        start = max(now, opens)
        sizes[i] = end - start
        waited[i] = opens > now
        if len(latest) < slots:
            heappush(latest, end)
        else:
            heappushpop(latest, end)
    good = ~trace.failed[took_part]
    return np.maximum(sizes[good], 1e-6), waited[good]


def limit_of(traces: Sequence[Trace]) -> int | None:
    """The admission limit as refusals show it: the usual number inside when one was turned away; None without any."""
    return _usually_inside(traces, [trace.refused for trace in traces])


def are_shed(traces: Sequence[Trace]) -> bool:
    """Whether failures come as from a full house: often, once as many are inside as usually when one fails."""
    limit = _usually_inside(traces, [trace.broken for trace in traces])
    if not limit:
        return False
    full = [
        trace.broken[_inside(trace.arrival, trace.latency, ~trace.failed, trace.arrival) >= limit] for trace in traces
    ]
    return float(np.concatenate(full).mean()) > _SHED


def _usually_inside(traces: Sequence[Trace], turned_away: Sequence[Flags]) -> int | None:
    counts = [
        _inside(trace.arrival, trace.latency, ~trace.failed, trace.arrival[away])
        for trace, away in zip(traces, turned_away, strict=True)
        if away.any()
    ]
    return int(np.median(np.concatenate(counts))) if counts else None
