"""Windows and runs to judge, made by hand or by a queue whose truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from deployer.loadtest.figures import Figures, Health, Load, Window

HEALTHY = Health(lag_p99_ms=0.4, cpu_pct=20.0)
STARTED = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)


def window(
    good: Mapping[float, int] | None = None,
    other: Mapping[int, int] | None = None,
    *,
    start_s: float = 0.0,
    is_warm_up: bool = False,
    waiting: Mapping[float, int] | None = None,
) -> Window:
    """One second: good answers by latency, others by status (none of them has a latency), and what still waited."""
    good, other = dict(good or {}), dict(other or {})
    statuses = Counter({200: sum(good.values())} if good else {}) + Counter(other)
    waiting = dict(waiting or {})
    sent = statuses.total() + sum(waiting.values())
    return Window(start_s, 1.0, is_warm_up, sent, statuses, good, good, waiting)


def steady(
    seconds: int, good: Mapping[float, int], other: Mapping[int, int] | None = None, *, start_s: float = 0.0
) -> tuple[Window, ...]:
    """The same every second."""
    return tuple(window(good, other, start_s=start_s + second) for second in range(seconds))


def run(windows: Sequence[Window], *, partial: str | None = None, health: Health = HEALTHY, **load: Any) -> Figures:
    """A whole run."""
    asked = Load(**{"arrivals": "poisson", "shape": "constant", "rps": 10.0, "seconds": 60.0, **load})
    return Figures(asked, STARTED, tuple(windows), health, partial)


def queue(random: np.random.Generator, *, load: float, rate: float, seconds: int) -> tuple[Window, ...]:
    """An M/M/1 queue in its steady state: ``rate`` services a second, arrivals ``load`` times as many.

    Its time in system is exponential with mean 1 / (rate (1 - load)). By Lindley's recursion.
    """
    before_s = 50.0 / (rate * (1 - load) ** 2)
    n = random.poisson(load * rate * (seconds + before_s))
    arrival = np.sort(random.uniform(-before_s, seconds, n))
    service = random.exponential(1 / rate, n)
    done = np.maximum.accumulate(arrival + service - np.cumsum(service)) + np.cumsum(service)
    latency = np.round((done - arrival) * 1000, 1)
    second = np.floor(arrival).astype(int)
    return tuple(window(dict(Counter(latency[second == number].tolist())), start_s=number) for number in range(seconds))
