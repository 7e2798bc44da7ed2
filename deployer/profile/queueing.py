"""A queue fed by given arrivals, many copies at once: what a fitted server would have done.

FIFO queue before ``slots`` equal servers, at most ``limit`` requests inside (the next one is answered 429 at once), and
pauses in which nobody is served. All copies step through their arrivals together, one array operation for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FAR = 1e18


@dataclass(frozen=True, slots=True)
class Stalls:
    """Pauses of the whole server, by the clock and not by the request."""

    interval_s: float
    """Mean from the start of one to the start of the next."""
    is_periodic: bool
    """False: at random (exponential) intervals."""
    lengths_s: Floats

    def draw(self, copies: int, seconds: float, chance: np.random.Generator) -> tuple[Floats, Floats]:
        """Starts and lengths, each by (copy, pause), over at least ``seconds``; the copies share out all phases."""
        count = int(np.ceil(seconds / self.interval_s * 1.3)) + 8
        if self.is_periodic:
            starts = self.interval_s * (
                np.arange(count) + (chance.permutation(copies)[:, None] + chance.random((copies, 1))) / copies
            )
        else:
            starts = np.cumsum(chance.exponential(self.interval_s, (copies, count)), axis=1)
        lengths = chance.choice(self.lengths_s, (copies, count))
        room = np.diff(starts, axis=1, append=starts[:, -1:] + self.interval_s)
        return starts, np.minimum(lengths, 0.95 * room)


@dataclass(frozen=True, slots=True)
class Queue:
    """A server as the search believes it to be."""

    slots: int
    sizes_s: Floats
    """Service times seen, to be drawn from."""
    delay_s: float
    """Added to every answer without occupying the server: network, framework, the generator."""
    limit: int | None
    """Most requests inside (waiting and served); None: no admission rule."""
    stalls: Stalls | None = None
    errors: float = 0.0
    """Share of requests that fail at any load."""

    @property
    def ceiling_rps(self) -> float:
        """Throughput with every slot busy."""
        paused = float(np.mean(self.stalls.lengths_s)) / self.stalls.interval_s if self.stalls else 0.0
        return self.slots / float(np.mean(self.sizes_s)) * (1 - paused)


def run(arrivals: Floats, sizes: Floats, slots: int, limit: int | None) -> tuple[Floats, Flags]:
    """Departures of FIFO queues by (copy, request); rejected ones depart at their arrival and are flagged.

    The latest ``limit`` departures are all the state there is: the earliest of them is past unless the house is full,
    and the ``slots``-th latest is when a server opens. They are kept sorted by one pass of minima and maxima.

    ``arrivals`` rise along the last axis; ``sizes`` are service times in seconds, of the same shape.
    """
    refused = np.zeros(arrivals.shape[::-1], np.bool_)
    if limit is None and slots == 1:  # Lindley's recursion, unrolled
        done = np.cumsum(sizes, axis=1)
        return done + np.maximum.accumulate(arrivals - (done - sizes), axis=1), refused.T
    columns, work = np.ascontiguousarray(arrivals.T), np.ascontiguousarray(sizes.T)
    room = slots if limit is None else max(limit, 1)
    latest = list(np.full((room, arrivals.shape[0]), -FAR))
    opens_at = max(room - slots, 0)
    gone = np.empty_like(columns)
    for i, now in enumerate(columns):
        end = np.maximum(now, latest[opens_at], out=gone[i])
        end += work[i]
        if limit is None:
            _put(latest, end)
            continue
        full = np.greater(latest[0], now, out=refused[i])
        _put(latest, np.where(full, latest[0], end))
        np.copyto(end, now, where=full)
    return gone.T, refused.T


def _put(rising: list[Floats], value: Floats) -> None:
    """Replace the first row by ``value`` and sort again, in place."""
    for low, high in pairwise(rising):
        np.minimum(value, high, out=low)
        value = np.maximum(value, high, out=high if high is rising[-1] else None)
    if len(rising) == 1:
        np.copyto(rising[0], value)


def respond(
    queue: Queue,
    arrivals: Floats,
    sizes: Floats,
    pauses: tuple[Floats, Floats] | None,
) -> tuple[Floats, Flags]:
    """Latencies in seconds and refusals; ``pauses`` are starts and lengths by (copy, pause), rising."""
    if pauses is None:
        gone, refused = run(arrivals, sizes, queue.slots, queue.limit)
        return gone - arrivals + queue.delay_s, refused
    served, back = np.empty_like(arrivals), np.empty_like(arrivals)
    for row in range(arrivals.shape[0]):
        served[row] = worked(arrivals[row], (pauses[0][row], pauses[1][row]))
    gone, refused = run(served, sizes, queue.slots, queue.limit)
    for row in range(arrivals.shape[0]):
        back[row] = _resumed(gone[row], (pauses[0][row], pauses[1][row]))
    return np.where(refused, 0.0, back - arrivals) + queue.delay_s, refused


def worked(at: Floats, pauses: tuple[Floats, Floats]) -> Floats:
    """Instants on a clock that stands still in pauses (their starts and lengths)."""
    starts, lengths = pauses
    if not starts.size:
        return at
    passed: NDArray[np.intp] = np.searchsorted(starts, at, side="right")
    total: Floats = np.concatenate([[0.0], np.cumsum(lengths)])
    inside: Floats = np.where(passed > 0, np.maximum(0.0, (starts + lengths)[passed - 1] - at), 0.0)
    return at - total[passed] + inside


def _resumed(work: Floats, pauses: tuple[Floats, Floats]) -> Floats:
    """The way back: when the wall clock shows what the clock of work shows."""
    starts, lengths = pauses
    total: Floats = np.concatenate([[0.0], np.cumsum(lengths)])
    passed: NDArray[np.intp] = np.searchsorted(starts - total[:-1], work, side="left")
    return work + total[passed]
