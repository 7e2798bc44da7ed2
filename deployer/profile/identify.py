"""From probes to a queue: the number of slots, the service times near the limit, pauses, errors, the admission rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deployer.loadtest.chance import lower_share, upper_share
from deployer.profile.queueing import Floats, Queue
from deployer.profile.service import Trace, are_shed, limit_of, sizes_of, stalls_of

_IDLE = {"open": 0.15, "closed": 0.6}
"""Probes of up to this part of the ceiling leave a server idle, or nearly; open ones come in bursts."""
_SAME = 0.005
"""Means of service times may differ so much (relative) without being told apart."""


def usual_s(trace: Trace) -> tuple[float, float]:
    """Mean latency of good answers outside pauses, and its standard error, in seconds."""
    return _mean(_latencies(trace))


def _mean(values: Floats) -> tuple[float, float]:
    if values.size < 2:
        return (float(values.mean()) if values.size else math.inf), math.inf
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)


def believe(traces: Sequence[Trace], limit: int | None) -> Queue:
    """The queue that explains what was seen; its number of slots is the one that service times agree with best.

    With too many slots those that waited seem to be served longer than those that found one free, with too few shorter.
    """
    traces, calm = told_apart(traces)
    ratio, error = slots_seen(traces)
    low, high = max(1, math.floor(ratio - 2 * error)), max(1, math.ceil(ratio + 2 * error))
    nearest = max(1, round(ratio))
    choices = [slots for slots in range(low, high + 1) if abs(slots - nearest) <= 1]

    def misfit(slots: int) -> float:
        return ((slots - ratio) / error) ** 2 + _contrast(traces, slots) ** 2

    return _queue(traces, choices[0] if len(choices) == 1 else min(choices, key=misfit), limit, _share_broken(calm))


def slots_seen(traces: Sequence[Trace]) -> tuple[float, float]:
    """Ceiling times unloaded latency: how many requests are served at once; and its standard error."""
    closed = [trace for trace in traces if trace.probe.kind != "open"]
    full = fullest(closed)
    room = 0.75 * full.rps * usual_s(closed[0])[0]
    free = [_latencies(trace) for trace in closed if trace.probe.concurrency <= max(1.0, room)]
    free += [_unhindered(trace, room) for trace in traces if trace.probe.kind == "open"]
    mean, error = _mean(np.concatenate(free))
    error = error if math.isfinite(error) else mean  # one answer alone says nothing of its spread
    spread = error / mean * math.sqrt(1 + sum(part.size for part in free) / full.arrival.size)
    return full.rps * mean, full.rps * mean * spread + 0.1


def _latencies(trace: Trace) -> Floats:
    return (trace.work_done - trace.work_arrival)[~trace.failed]


def _unhindered(trace: Trace, room: float) -> Floats:
    """Latencies of those that found fewer than ``room`` requests inside (at least: none)."""
    came = np.arange(trace.arrival.size)
    gone: NDArray[np.intp] = np.searchsorted(np.sort(trace.work_done), trace.work_arrival, side="right")
    return (trace.work_done - trace.work_arrival)[~trace.failed & (came - gone < max(1.0, room))]


def fullest(closed: Sequence[Trace]) -> Trace:
    """The closed probe that shows the ceiling best: the longest of those that reach it, as far as chance allows."""
    best = max(trace.rps * (1 - 2 / math.sqrt(trace.arrival.size + 4)) for trace in closed)
    return max((trace for trace in closed if trace.rps >= 0.92 * best), key=lambda trace: trace.arrival.size)


def told_apart(traces: Sequence[Trace]) -> tuple[list[Trace], list[Trace]]:
    """Failures of a full house count as refusals, with whatever status they come.

    Returns:
        The probes; and those whose failures no load explains: all or the open ones, where fewer failed, or the idle
        ones. A closed loop repeats fast failures at once, an open probe may have been too much.
    """
    idle, loaded = _by_load(traces)
    if not load_breaks(traces):
        opens = [trace for trace in traces if trace.probe.kind == "open"]
        return list(traces), min(list(traces), opens or list(traces), key=_share_broken)
    if not are_shed(loaded):
        return list(traces), idle
    return [replace(trace, refused=trace.failed) if trace in loaded else trace for trace in traces], idle


def _share_broken(traces: Sequence[Trace]) -> float:
    bad, sent = _broken(traces)
    return bad / max(sent, 1)


def load_breaks(traces: Sequence[Trace]) -> bool:
    """Whether more requests fail under load than next to none would let expect."""
    idle, loaded = _by_load(traces)
    usual = upper_share(*_broken(idle))
    return any(lower_share(*_broken([trace]), 0.01) > usual for trace in loaded if not trace.is_outage)


def _by_load(traces: Sequence[Trace]) -> tuple[list[Trace], list[Trace]]:
    most = max((trace.rps for trace in traces), default=0.0)
    idle = [trace for trace in traces if (trace.probe.rps or trace.rps) <= _IDLE.get(trace.probe.kind, 1.0) * most]
    return idle, [trace for trace in traces if trace not in idle]


def _broken(traces: Sequence[Trace]) -> tuple[int, int]:
    return sum(int(trace.broken.sum()) for trace in traces), sum(trace.arrival.size for trace in traces)


def _queue(traces: Sequence[Trace], slots: int, limit: int | None, errors: float) -> Queue:
    delay_s = delay_of(traces, slots)
    return Queue(
        slots=slots,
        sizes_s=pool(traces, slots, delay_s),
        delay_s=delay_s,
        limit=limit if limit is not None else limit_of(traces),
        stalls=stalls_of(traces),
        errors=errors,
    )


def delay_of(traces: Sequence[Trace], slots: int) -> float:
    """What is added to every latency while no server is occupied, in seconds.

    A request that found a free server takes service and delay; of one that waited, the queue shows the service alone.
    The difference of their means, held between 0 and the least latency seen.
    """
    delay_s = 0.0
    for _ in range(2):
        excess_s, error, least_s = _alone(traces, slots, delay_s)
        if math.isinf(error):  # too few good answers, or none
            return 0.0
        delay_s = _held(delay_s + excess_s, error, delay_s + least_s)
    return delay_s


def _contrast(traces: Sequence[Trace], slots: int) -> float:
    """Standard errors by which service times of those alone and of those that waited differ, whatever the delay."""
    delay_s = delay_of(traces, slots)
    excess_s, error, _ = _alone(traces, slots, delay_s)
    return excess_s / error


def _alone(traces: Sequence[Trace], slots: int, delay_s: float) -> tuple[float, float, float]:
    """By how much those that found a free slot took longer than those that waited; its error; the least of them."""
    split = [(trace, *sizes_of(trace, slots, delay_s)) for trace in traces]
    has_open = any(trace.probe.kind == "open" for trace in traces)
    idle = np.concatenate([sizes[~late] for trace, sizes, late in split if trace.probe.kind == "open" or not has_open])
    (alone, error), (behind, error_behind) = (
        _mean(idle),
        _mean(np.concatenate([sizes[late] for _, sizes, late in split])),
    )
    if math.isinf(error) or math.isinf(error_behind):
        return 0.0, math.inf, 0.0
    # Lags of the generator make the inferred times a little wrong, however many there are.
    return alone - behind, math.hypot(error, error_behind, _SAME * behind), float(np.quantile(idle, 0.002))


def _held(mean: float, sd: float, most: float) -> float:
    """Mean of a normal distribution cut to [0, most]."""
    grid = np.linspace(0.0, most, 201)
    z = (grid - mean) / max(sd, most / 100)
    weight = np.exp(-0.5 * (z**2 - np.min(z**2)))
    return float(weight @ grid / weight.sum())


def pool(traces: Sequence[Trace], slots: int, delay_s: float) -> Floats:
    """Service times of the open probes and of the full closed ones; before any open probe, of the latter alone."""
    closed = [trace for trace in traces if trace.probe.kind == "closed" and trace.probe.concurrency >= slots]
    if all(trace.failed.all() for trace in closed):
        closed = [fullest([trace for trace in traces if trace.probe.kind != "open"])]
    opens = [trace for trace in traces if trace.probe.kind == "open"]
    full = np.concatenate([sizes_of(trace, slots, delay_s)[0] for trace in closed])
    sent = np.concatenate([np.empty(0), *(sizes_of(trace, slots, delay_s)[0] for trace in opens)])
    if not sent.size:  # no open probe, or one without a good answer
        return full
    error = math.hypot(_mean(full)[1] / float(full.mean()), _mean(sent)[1] / float(sent.mean()))
    return np.concatenate([sent, full]) if abs(full.mean() / sent.mean() - 1) < 0.01 + 3 * error else sent


def has_moved(trace: Trace, slots: int, delay_s: float, *, least: float = 0.04) -> bool:
    """Whether service times of the first and the second half of a probe differ: the server was not warm."""
    sizes, _ = sizes_of(trace, slots, delay_s)
    (first, error), (second, error_second) = _mean(sizes[: sizes.size // 2]), _mean(sizes[sizes.size // 2 :])
    return sizes.size >= 40 and abs(first / second - 1) > max(least, 4 * math.hypot(error, error_second) / second)
