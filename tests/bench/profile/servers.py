"""Simulated servers whose true capacity is known: an event loop of their own, nothing shared with the product.

A server lives on one clock: pauses and warm-up go on between probes. Latencies carry what a real generator adds
(``noise_s``: half-normal lag, as measured with Locust on one core), unless a scene turns it off.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

REFUSED_S = 0.0008


@dataclass
class Server:
    """One scene: how it serves, and what is asked of it."""

    name: str
    slo: dict[str, float]
    """``p95`` and so on in seconds, ``error_rate`` as a share."""
    draw: Callable[[np.random.Generator], Callable[[], float]]
    slots: int = 1
    shared: bool = False
    """Requests in service share one processor (a GIL) instead of having a server each."""
    limit: int | None = None
    pause_every_s: float = 0.0
    pause_s: float = 0.0
    pause_random: bool = False
    slow: Callable[[float, int], float] = field(default=lambda at, served: 1.0)
    """Factor on service times by seconds since the start and requests served: warm-up."""
    noise_s: float = 0.0004
    delay_s: float = 0.0006
    flat: bool = False
    tells_limit: bool = True
    errors: float = 0.0


class Live:
    """One run of a server: keeps its clock, its pauses and what it has served."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.chance = np.random.default_rng([seed, 77])
        self.draw = server.draw(self.chance)
        self.now = 0.0
        self.served = 0
        self.load_s = 0.0
        self.starts: list[float] = []
        self.began: list[float] = []
        self.paused: list[float] = [0.0]
        self._next_pause = (
            self.chance.exponential(server.pause_every_s)
            if server.pause_random
            else self.chance.random() * server.pause_every_s
        )

    # the clock that stands still in pauses ------------------------------------------------------------------------
    def _plan(self, until: float) -> None:
        server = self.server
        while server.pause_s and self._next_pause <= until:
            self.starts.append(self._next_pause)
            self.began.append(self._next_pause - self.paused[-1])
            self.paused.append(self.paused[-1] + server.pause_s)
            gap = self.chance.exponential(server.pause_every_s) if server.pause_random else server.pause_every_s
            self._next_pause += max(gap, server.pause_s * 1.01)

    def _work(self, at: float) -> float:
        """Clock of work at wall time ``at``."""
        if not self.server.pause_s:
            return at
        self._plan(at)
        n = bisect_right(self.starts, at)
        inside = max(0.0, self.starts[n - 1] + self.server.pause_s - at) if n else 0.0
        return at - self.paused[n] + inside

    def _wall(self, work: float) -> float:
        if not self.server.pause_s:
            return work
        at = work
        while True:
            self._plan(at + 1)
            n = bisect_right(self.began, work)
            wall = work + self.paused[n]
            if wall <= at + 1:
                return wall
            at = wall

    def size(self, at: float) -> float:
        self.served += 1
        return self.draw() * self.server.slow(at, self.served)

    # load ---------------------------------------------------------------------------------------------------------
    def open(
        self, arrivals: np.ndarray, stop: Callable[[float, np.ndarray, np.ndarray, np.ndarray], bool] | None = None
    ):
        """Latencies and statuses of arrivals (seconds from now); cut as soon as ``stop`` says so, asked every second."""
        times = arrivals.tolist()
        arrival, latency, status = self._share(iter(times), None) if self.server.shared else self._fifo(times)
        latency = latency + self.server.delay_s + np.abs(self.chance.normal(0, self.server.noise_s, latency.size))
        spent = float(arrivals[-1]) if arrivals.size else 0.0
        if stop is not None:
            for second in range(3, math.ceil(spent)):
                seen = arrival + latency <= second
                if stop(float(second), arrival[seen], latency[seen], status[seen]):
                    keep = arrival <= second
                    arrival, latency, status = arrival[keep], latency[keep], status[keep]
                    spent = float(second)
                    break
        end = spent + (float(latency.max()) if latency.size else 0.0)
        self.now += max(spent, end) + 0.5
        self.load_s += spent
        return arrival, latency, status, spent

    def closed(self, concurrency: int, seconds: float):
        """The same with ``concurrency`` requests always in flight."""
        if self.server.shared:
            arrival, latency, status = self._share(None, (concurrency, seconds))
        else:
            arrival, latency, status = self._loop(concurrency, seconds)
        latency = latency + self.server.delay_s
        self.now += seconds + float(latency.max()) + 0.5
        self.load_s += seconds
        return arrival, latency, status, seconds

    def _serve(self, at: float, free: list[float], inside: list[float]) -> tuple[float, int]:
        server, wall = self.server, self.now + at
        work = self._work(wall)
        if server.errors and self.chance.random() < server.errors:
            return wall, 500
        if server.limit is not None:
            while inside and inside[0] <= work:
                heapq.heappop(inside)
            if len(inside) >= server.limit:
                return wall + REFUSED_S, 429
        start = max(work, heapq.heappop(free))
        end = start + self.size(wall)
        heapq.heappush(free, end)
        if server.limit is not None:
            heapq.heappush(inside, end)
        return self._wall(end), 200

    def _fifo(self, arrivals: list[float]):
        free, inside = [0.0] * self.server.slots, []
        latency, status = np.empty(len(arrivals)), np.empty(len(arrivals), np.int16)
        for i, at in enumerate(arrivals):
            end, status[i] = self._serve(at, free, inside)
            latency[i] = end - self.now - at
        return np.array(arrivals), latency, status

    def _loop(self, concurrency: int, seconds: float):
        free, inside, rows = [0.0] * self.server.slots, [], []
        ready = [i * 1e-5 for i in range(concurrency)]
        while ready[0] < seconds:
            at = heapq.heappop(ready)
            end, code = self._serve(at, free, inside)
            rows.append((at, end - self.now - at, code))
            heapq.heappush(
                ready, end - self.now + self.server.delay_s + float(abs(self.chance.normal(0, self.server.noise_s)))
            )
        arrival, latency, status = (np.array(column) for column in zip(*rows, strict=True))
        return arrival, latency, status.astype(np.int16)

    def _share(self, source, closed):
        """Processor sharing among at most ``slots`` requests, FIFO before them."""
        server = self.server
        left: dict[int, float] = {}
        queue: list[int] = []
        begun: list[float] = []
        ended: dict[int, tuple[float, int]] = {}
        ready: list[tuple[float, int]] = []
        ids = itertools.count()
        pending = None
        if closed:
            ready = [(i * 1e-5, i) for i in range(closed[0])]
            heapq.heapify(ready)

        def upcoming():
            nonlocal pending
            if closed:
                return ready[0][0] if ready and ready[0][0] < closed[1] else math.inf
            if pending is None:
                pending = next(source, math.inf)
            return pending

        now = 0.0
        while True:
            arrive = upcoming()
            rate = 1 / max(1, len(left))
            first = min(left, key=left.__getitem__) if left else None
            depart = now + left[first] / rate if first is not None else math.inf
            if math.isinf(arrive) and first is None:
                break
            at = min(arrive, depart)
            for key in left:
                left[key] -= (at - now) * rate
            now = at
            if arrive <= depart:
                pending = None
                if closed:
                    heapq.heappop(ready)
                key = next(ids)
                begun.append(at)
                if server.limit is not None and len(left) + len(queue) >= server.limit:
                    ended[key] = (at + REFUSED_S, 429)
                elif len(left) < server.slots:
                    left[key] = self.size(self.now + at)
                else:
                    queue.append(key)
                if closed and key in ended:
                    heapq.heappush(ready, (ended[key][0], 0))
            else:
                del left[first]
                ended[first] = (at, 200)
                if queue:
                    left[queue.pop(0)] = self.size(self.now + at)
                if closed:
                    heapq.heappush(ready, (at + server.delay_s + float(abs(self.chance.normal(0, server.noise_s))), 0))
        arrival = np.array(begun)
        latency = np.array([ended[key][0] for key in range(len(begun))]) - arrival
        return arrival, latency, np.array([ended[key][1] for key in range(len(begun))], np.int16)


def constant(mean_s: float):
    return lambda chance: lambda: mean_s


def _buffered(chance, fill):
    box: list[float] = []

    def draw() -> float:
        if not box:
            box.extend(fill(4096).tolist())
        return box.pop()

    return draw


def exponential(mean_s: float):
    return lambda chance: _buffered(chance, lambda n: chance.exponential(mean_s, n))


def lognormal(mean_s: float, sigma: float):
    return lambda chance: _buffered(chance, lambda n: mean_s * np.exp(chance.normal(-(sigma**2) / 2, sigma, n)))


def mixture(fast_s: float, slow_s: float, share: float):
    return lambda chance: _buffered(chance, lambda n: np.where(chance.random(n) < share, slow_s, fast_s))


def _cold_plateau(at: float, served: int) -> float:
    return 2.8 if served < 900 else 1.0


def _slow_start(at: float, served: int) -> float:
    return 1 + 2.5 * math.exp(-at / 8)


SERVERS: tuple[Server, ...] = (
    Server("M/D/1", {"p95": 0.060}, constant(0.010)),
    Server("M/M/4", {"p95": 0.150}, exponential(0.040), slots=4),
    Server("tight SLO", {"p95": 0.030}, constant(0.010)),
    Server("GIL-bound", {"p95": 0.100}, constant(0.008), slots=4, shared=True),
    Server("429 rule", {"p95": 0.5, "error_rate": 0.001}, exponential(0.040), slots=4, limit=8),
    Server("slow warm-up", {"p95": 0.060}, constant(0.010), slow=_slow_start),
    Server("cold plateau", {"p95": 0.060}, constant(0.010), slow=_cold_plateau),
    Server("stall", {"p95": 0.300}, constant(0.008), pause_every_s=10, pause_s=0.5),
    Server("4% slow", {"p95": 0.080}, mixture(0.010, 0.100, 0.04), slots=2, flat=True),
    Server("infeasible", {"p95": 0.005}, exponential(0.006)),
    Server(
        "M/D/1, 429, unknown limit",
        {"p99": 0.5, "error_rate": 0.001},
        constant(0.020),
        slots=2,
        limit=4,
        tells_limit=False,
    ),
    Server("lognormal/2, three targets", {"p50": 0.05, "p95": 0.14, "p99": 0.22}, lognormal(0.030, 0.5), slots=2),
    Server("random stall", {"p95": 0.250}, exponential(0.005), pause_every_s=8, pause_s=0.25, pause_random=True),
    Server("slow model", {"p95": 1.5}, lognormal(0.300, 0.3), slots=2),
    Server("infeasible errors", {"p95": 0.3, "error_rate": 0.001}, constant(0.010), errors=0.01),
)
