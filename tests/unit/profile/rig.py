"""A FIFO server of exactly known behaviour that answers probes, independent of the product's simulator."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from deployer.profile.capacity import CapacitySearch
from deployer.profile.trials import Capacity, Probe, Seen, Tally


@dataclass
class Fifo:
    size_s: Callable[[np.random.Generator], float]
    slots: int = 1
    limit: int | None = None
    error_share: float = 0.0
    factor: Callable[[int], float] = field(default=lambda served: 1.0)
    pause: tuple[float, float] | None = None
    """Every so many seconds, for so long; the first one starts after one second."""
    delay_s: float = 0.0005
    served: int = 0
    cut_s: float | None = None
    away: int = 429
    """What it answers when ``limit`` are inside."""
    broken: int = 500
    """What its errors answer."""
    down: Callable[[int, float], bool] = field(default=lambda probe, at: False)
    """Whether nothing but errors comes from it, by number of the probe (from 1) and second in it."""
    phase: Callable[[float], float] = field(default=lambda at: 1.0)
    """Factor on service times by second of the probe."""
    probes: int = 0

    def answer(self, probe: Probe, seed: int, stop: Callable[[Tally], bool] | None = None) -> Seen:
        chance = np.random.default_rng([seed, self.served])
        self.probes += 1
        free, inside, rows, among = [0.0] * self.slots, [], [], Counter[int]()
        if probe.kind == "open":
            ready = np.cumsum(chance.exponential(1 / probe.rps, int(2 * probe.rps * probe.seconds) + 20)).tolist()
        else:
            ready = [1e-4 * i for i in range(max(probe.concurrency, 1))]
        while ready and ready[0] < probe.seconds:
            at = heapq.heappop(ready)
            while inside and inside[0] <= at:
                heapq.heappop(inside)
            status, end = 200, at
            if self.over(at, among, probe.kind):
                status = 1429
            elif self.down(self.probes, at) or (self.error_share and chance.random() < self.error_share):
                status = self.broken
            elif self.limit is not None and len(inside) >= self.limit:
                status = self.away
            else:
                self.served += 1
                end = self._over(
                    max(at, heapq.heappop(free)), self.size_s(chance) * self.factor(self.served) * self.phase(at)
                )
                heapq.heappush(free, end)
                heapq.heappush(inside, end)
            rows.append((at, 1000 * (end - at + self.delay_s), status))
            if probe.kind != "open":
                heapq.heappush(ready, end + self.delay_s)
        arrival, latency, codes = (np.array(column) for column in zip(*rows, strict=True))
        spent = probe.seconds
        if stop is not None and probe.stop_when_hopeless:
            for second in range(3, int(probe.seconds)):
                known = arrival + latency / 1000 <= second
                failed = (codes != 200) & known
                late = {limit: int(np.count_nonzero(failed | (known & (latency > limit)))) for limit in self.limits}
                if stop(Tally(second, int(known.sum()), int(failed.sum()), late)):
                    kept = arrival <= second
                    arrival, latency, codes, spent = arrival[kept], latency[kept], codes[kept], float(second)
                    self.cut_s = spent
                    break
        return Seen(probe, arrival, latency, codes.astype(np.int16), spent)

    limits: tuple[float, ...] = ()

    def over(self, at: float, among: Counter[int], kind: str) -> bool:
        """Whether the endpoint before this server turns a request away; it does not here."""
        return False

    def _over(self, start: float, size: float) -> float:
        if self.pause is None:
            return start + size
        every, length = self.pause
        left, now = size, start
        while True:
            into = (now - 1) % every
            if now >= 1 and into < length - 1e-9:
                now += length - into
                continue
            room = every - into if now >= 1 else 1 - now
            if left <= room:
                return now + left
            left, now = left - room, now + room


def run(search: CapacitySearch, server: Fifo, seed: int = 1) -> tuple[Capacity, list[Probe]]:
    """The whole conversation."""
    server.limits = search.limits_ms
    probes: list[Probe] = []
    while isinstance(probe := search.next(), Probe):
        probes.append(probe)
        search.tell(server.answer(probe, seed + len(probes), search.is_hopeless))
    return search.answer_so_far(), probes
