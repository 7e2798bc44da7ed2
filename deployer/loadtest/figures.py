"""What a load test sends, and what was sent and seen: the shape of every load generator's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int16]]

NO_ANSWER = 0
"""Status of a request that got no answer: refused, reset or timed out."""
OVER_CAP = -1
"""Status of an arrival that found all ``in_flight`` slots taken, and was never sent."""

SOME_FAILURE = 599
"""A failed request of which an engine does not say how it failed (``Figures.coarse``)."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send."""

    arrivals: str
    """``poisson``, ``constant`` or ``replay`` (open: requests come whatever the answers do), or ``closed``."""
    shape: str
    """``constant``, ``stages:30s@10,60s@40``, ``spike:5x,at=30s,for=10s`` or ``soak``; ``closed`` when arrivals are."""
    rps: float
    """Requests a second of constant, spike and soak; ignored by closed and replay."""
    seconds: float
    """Measured time, after the warm-up."""
    concurrency: int = 1
    """Closed: requests always in flight."""
    warm_up_s: float = 0.0
    """Sent before the measured time, and kept apart in every figure."""
    in_flight: int = 256
    """Requests at once; an arrival over it is a failed request."""
    timeout_s: float = 60.0
    """Longest wait for an answer."""
    processes: int = 1
    seed: int | None = None
    """Repeats arrivals and choice of payloads; None: new ones each time."""
    replay: str | None = None
    """File of recorded arrivals, when ``arrivals`` is ``replay``."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of intended arrivals, one second as a rule."""

    start_s: float
    """From the start of the load, warm-up included."""
    seconds: float
    is_warm_up: bool
    sent: int
    """Arrivals, those over the cap among them."""
    statuses: Mapping[int, int]
    """Requests by HTTP status, ``NO_ANSWER`` or ``OVER_CAP``; what is still in flight is missing."""
    latencies_ms: Mapping[float, int]
    """Answers of any status by time from the intended arrival to the last byte, in steps of 0.1 ms."""
    good_latencies_ms: Mapping[float, int]
    """The same of 2xx answers."""
    waiting_ms: Mapping[float, int] = field(default_factory=dict[float, int])
    """Requests without an answer yet when the load was ended early, by how long they had waited."""

    @property
    def waiting(self) -> int:
        """How many these are."""
        return sum(self.waiting_ms.values())


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the generator did what it was asked."""

    lag_p99_ms: float
    """How late requests were sent."""
    cpu_pct: float
    """Of one core, of the busiest process."""
    problem: str | None = None
    """Why figures say more about the generator than about the endpoint; None: they can be trusted."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Every request by intended arrival, warm-up left out; three arrays of one length."""

    arrival_s: Floats
    """From the start of the measured time."""
    latency_ms: Floats
    """From the intended arrival; NaN without an answer."""
    status: Ints


@dataclass(frozen=True, slots=True)
class Figures:
    """What one load test sent and saw."""

    load: Load
    started_at: datetime
    windows: tuple[Window, ...]
    health: Health
    partial: str | None = None
    """Why it ended early; None: it ran to its end."""
    requests: Requests | None = None
    """Every request, when asked for."""
    coarse: str | None = None
    """What is not exact in these figures, and why; None: every request was counted."""
    in_flight: int | None = None
    """Requests under way when this was said; None: not known."""
    phase: str | None = None
    """What goes on while nothing is sent, or no more; None: the load runs."""
