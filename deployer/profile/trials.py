"""What a capacity search asks of the world and what it is told: trials of load, and the answer they lead to.

The search never sends anything. Whoever drives it asks ``next``, sends that load, and tells what came back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MOST_IN_FLIGHT = 450
"""Requests at once of any trial: below the 500 connections that an endpoint on Azure admits by default, everywhere.

Source: learn.microsoft.com/azure/machine-learning/how-to-manage-quotas, online endpoints (read 2026-11-22).
"""

Kind = Literal["warm", "closed", "open"]
"""``warm``: closed with one request in flight; ``closed``: ``concurrency`` always in flight; ``open``: Poisson."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One trial of load, to be sent as soon as asked for."""

    kind: Kind
    rps: float
    """Of ``open``; 0 for the others."""
    concurrency: int
    """Of ``warm`` (1) and ``closed``; 0 for ``open``."""
    seconds: float
    stop_when_hopeless: bool
    """End it as soon as ``is_hopeless`` says so: what is left would teach nothing."""
    why: str
    """For people: ``confirm 82.5 rps``."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came back: one element a request, ordered by arrival, nothing left out (no warm-up is cut off)."""

    probe: Probe
    arrival_s: NDArray[np.float64]
    """Intended arrival in ``open``, sending in the others; from the start of the probe."""
    latency_ms: NDArray[np.float64]
    """From that arrival to the whole answer, of any status."""
    status: NDArray[np.int16]
    """HTTP code; 0: no answer in time; -1: over the generator's cap; 1429: turned away by the endpoint's rate limit."""
    seconds: float
    """Load time spent, at most the probe's."""
    healthy: bool = True
    """False: the generator could not keep up; the search sends the probe again and uses nothing of this one."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of a probe under way, for ``is_hopeless``."""

    seconds: float
    sent: int
    """Arrivals that had an answer, or failed, so far."""
    errors: int
    """Status other than 2xx."""
    late: Mapping[float, int]
    """By limit in ms (``CapacitySearch.limits_ms``): errors, and answers later than it."""


@dataclass(frozen=True, slots=True)
class Point:
    """Violation of the binding target at a rate: share of requests, over the share allowed (1: just met)."""

    rps: float
    violation: float
    lower: float
    upper: float
    measured: bool
    """False: predicted by the fitted model."""


BELOW = 0.8
"""Share of the endpoint's rate limit that is sent: at 500 rps a second of Poisson arrivals is over it once in 10^6."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one configuration carries within the SLO."""

    sustainable_rps: float
    """To be promised: on the lower side of the estimate. 0 when infeasible."""
    lower: float
    upper: float
    """90 % interval of the true capacity."""
    infeasible: bool
    """No rate at all keeps the SLO."""
    measured: bool
    """The rate was confirmed under load. False: predicted, or the search ended early."""
    ceiling_rps: float
    """Highest throughput seen; more is impossible however long users wait."""
    note: str
    """What a reader must know, in a sentence or more; may be empty."""
    curve: tuple[Point, ...]
    load_seconds: float
    binding: str = ""
    """Target that limits the rate: ``p95``, ``error_rate``."""
    endpoint_rps: float = math.inf
    """About what the endpoint's own rate limit admits, whatever stands behind it; infinite: it was not met."""
    error_rate_shown: float | None = None
    """95 % upper bound of the share of errors at the confirmed rates together; None: nothing was sent there."""

    @property
    def is_capped(self) -> bool:
        """Whether it may carry more than could be sent below the endpoint's limit."""
        return self.sustainable_rps >= 0.99 * BELOW * self.endpoint_rps
