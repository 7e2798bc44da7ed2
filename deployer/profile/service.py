"""What a server's own answers say of it: service times behind the queue, slots, pauses, admission limit.

In a FIFO queue before ``c`` servers a request starts when at most ``c - 1`` of the earlier ones are still inside, so its
service time follows from arrivals and answers alone, however long it waited. That is why any load teaches service times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappush, heappushpop

import numpy as np

from deployer.profile.queueing import Flags, Floats, Stalls
from deployer.profile.trials import Probe, Seen

THROTTLED = 429
_SILENT = 5.0
"""A pause is so many times longer than 98 % of the times between answers ..."""
_RARE = 0.01
"""... and rarer than this; slow requests that are more frequent belong to the service times."""


@dataclass(frozen=True, slots=True)
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
    work_arrival: Floats
    work_done: Floats
    """The same instants on a clock that stands still in pauses."""

    @property
    def rps(self) -> float:
        """Answers with 2xx a second of working time."""
        served = ~self.failed
        if not served.any():
            return 0.0
        start = 0.1 * self.work_arrival[-1]
        span = float(self.work_done[served].max()) - start
        return float(np.count_nonzero(self.work_done[served] > start)) / span if span > 0 else 0.0


def trace_of(seen: Seen) -> Trace:
    """Read a probe; pauses are found at once."""
    order = np.argsort(seen.arrival_s, kind="stable")
    arrival = np.asarray(seen.arrival_s, np.float64)[order]
    latency = np.asarray(seen.latency_ms, np.float64)[order] / 1000
    status = np.asarray(seen.status)[order]
    failed = (status < 200) | (status > 299)
    served = status != THROTTLED
    pauses = find_pauses(arrival[served], arrival[served] + latency[served])
    return Trace(
        seen.probe, seen.seconds, arrival, latency, failed, ~served, pauses,
        worked(arrival, pauses), worked(arrival + latency, pauses),
    )  # fmt: skip


def worked(at: Floats, pauses: tuple[Floats, Floats]) -> Floats:
    """Instants on a clock that stands still in pauses."""
    starts, lengths = pauses
    if not starts.size:
        return at
    n = np.searchsorted(starts, at, side="right")
    before = np.concatenate([[0.0], np.cumsum(lengths)])[n]
    inside = np.maximum(0.0, (starts + lengths)[n - 1] - at) * (n > 0)
    return at - before + inside


def find_pauses(arrival: Floats, done: Floats) -> tuple[Floats, Floats]:
    """Starts and lengths of the times without any answer, with requests inside, that stand out by far."""
    none = (np.empty(0), np.empty(0))
    if arrival.size < 60:
        return none
    left = np.sort(done)
    inside = np.searchsorted(arrival, left, side="right") - np.arange(1, left.size + 1)
    following = np.minimum(np.searchsorted(arrival, left, side="right"), arrival.size - 1)
    since = np.concatenate([[arrival[0]], np.where(inside[:-1] > 0, left[:-1], arrival[following[:-1]])])
    silence = left - since
    longest = np.quantile(silence, 0.98)
    stands_out = silence > _SILENT * longest
    if not stands_out.any() or stands_out.mean() > _RARE:
        return none
    usual = float(np.median(silence))
    return since[stands_out] + usual / 2, silence[stands_out] - usual


def stalls_of(traces: Sequence[Trace]) -> Stalls | None:
    """The pauses of all probes as one process; None below three of them."""
    found = [trace.pauses for trace in traces]
    lengths = np.concatenate([lengths for _, lengths in found]) if found else np.empty(0)
    if lengths.size < 3:
        return None
    gaps = np.concatenate([np.diff(starts) for starts, _ in found])
    seconds = sum(trace.seconds for trace in traces)
    if gaps.size >= 3 and np.std(gaps) < 0.1 * np.mean(gaps):
        return Stalls(float(np.median(gaps)), is_periodic=True, lengths_s=lengths)
    return Stalls(seconds / lengths.size, is_periodic=False, lengths_s=lengths)


def sizes_of(trace: Trace, slots: int, delay_s: float) -> tuple[Floats, Flags]:
    """Service time of each served request by arrival, in seconds, and whether it had to wait.

    Args:
        delay_s: part of every latency during which no server is occupied.
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
    counts: list[Floats] = []
    for trace in traces:
        if trace.refused.any():
            served = ~trace.refused
            came = np.searchsorted(trace.arrival[served], trace.arrival[trace.refused], side="right")
            gone = np.sort((trace.arrival + trace.latency)[served])
            counts.append((came - np.searchsorted(gone, trace.arrival[trace.refused], side="right")).astype(np.float64))
    return int(np.median(np.concatenate(counts))) if counts else None
