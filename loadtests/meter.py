"""What one load-generating process has sent and seen, exactly, and whether its own figures can be trusted."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LAG_WINDOW_S = 10
"""Seconds over which the scheduling lag of the running figures is taken."""

HEALTHY_LAG_MS = 10.0
"""Above this scheduling lag (p99) latencies say more about the generator than about the endpoint.

A tenth of a tight 100 ms target; ``gevent.sleep`` itself is 0.6 ms late (measured, 2 cores).
"""

HEALTHY_CPU_PCT = 80.0
"""Of one core. Above it the process queues requests inside itself."""


BEHIND_S = 10.0
"""So far behind its schedule a generator gives up: it would send for hours what it was to send in minutes."""


def tenths(response_time_ms: float) -> float:
    """Round to 0.1 ms: what histograms keep. Locust's own rounding to two digits hides 5 % at 105 ms."""
    return round(response_time_ms, 1)


@dataclass(slots=True)
class Meter:
    """Counts of one process. ``sent`` = ``answered`` + ``failed`` + ``in_flight``, always."""

    cap: int
    """Requests that may be in flight at once."""
    warm_up_s: float = 0.0
    """Arrivals that are due before it say nothing of how late requests were sent."""
    sent: int = 0
    """Arrivals, those over the cap among them."""
    answered: int = 0
    """Answers with a 2xx status."""
    failed: int = 0
    """Other answers, no answer, and arrivals over the cap."""
    over_cap: int = 0
    unanswered: int = 0
    """Without any HTTP status: over the cap, refused, reset, timed out."""
    in_flight: int = 0
    gave_up: int = 0
    """Lanes that sent no more, hopelessly behind their schedule."""
    latencies_ms: Counter[float] = field(default_factory=Counter[float])
    """Answers by time from the intended arrival to the last byte, in steps of 0.1 ms, whatever their status."""
    lags_ms: Counter[float] = field(default_factory=Counter[float])
    """Arrivals by how late they were sent, in steps of 0.1 ms."""
    _new_latencies_ms: Counter[float] = field(default_factory=Counter[float])
    _recent_lags_ms: deque[list[float]] = field(default_factory=lambda: deque([[]], maxlen=LAG_WINDOW_S))

    def admit(self, lag_s: float, due_s: float = math.inf) -> bool:
        """Count an arrival that is handled ``lag_s`` late; False: it is over the cap, counted as failed."""
        lag_ms = tenths(lag_s * 1000)
        self.sent += 1
        if due_s >= self.warm_up_s:
            self.lags_ms[lag_ms] += 1
            self._recent_lags_ms[-1].append(lag_ms)
        if self.in_flight >= self.cap:
            self.over_cap += 1
            self.unanswered += 1
            self.failed += 1
            return False
        self.in_flight += 1
        return True

    def is_behind(self, lag_s: float) -> bool:
        """Whether there is no use in going on; that is told by the lag, also while warming up."""
        if lag_s <= BEHIND_S:
            return False
        self.lags_ms[tenths(lag_s * 1000)] += 1
        self.gave_up += 1
        return True

    def end(self, latency_ms: float, status: int) -> None:
        """Count the end of an admitted request; ``status`` 0: no answer."""
        self.in_flight -= 1
        self.answered += 200 <= status < 300
        self.failed += not 200 <= status < 300
        if status:
            self.latencies_ms[tenths(latency_ms)] += 1
            self._new_latencies_ms[tenths(latency_ms)] += 1
        else:
            self.unanswered += 1

    def take_new_latencies(self) -> Counter[float]:
        """Return what was added to ``latencies_ms`` since the last call."""
        taken, self._new_latencies_ms = self._new_latencies_ms, Counter()
        return taken

    def line(self, t_s: float, cpu_pct: float) -> dict[str, object]:
        """Figures so far, for one line of JSON; call it once a second. Latencies cover the whole run, lag 10 s."""
        lag = quantile(Counter(lag for second in self._recent_lags_ms for lag in second).items(), 0.99)
        self._recent_lags_ms.append([])
        return {
            "t": round(t_s, 2),
            "sent": self.sent,
            "answered": self.answered,
            "failed": self.failed,
            "over_cap": self.over_cap,
            "in_flight": self.in_flight,
            "gave_up": self.gave_up,
            "p50_ms": self.latency_ms(0.50),
            "p95_ms": self.latency_ms(0.95),
            "lag_p99_ms": lag,
            "run_lag_p99_ms": quantile(self.lags_ms.items(), 0.99),
            "cpu_pct": round(cpu_pct, 1),
        }

    def summary(self, t_s: float, cpu_pct: float) -> dict[str, object]:
        """Everything, at the end: totals, exact histogram, and what makes the run untrustworthy (None: nothing)."""
        lag = quantile(self.lags_ms.items(), 0.99)
        return {
            "summary": True,
            **self.line(t_s, cpu_pct),
            "p99_ms": self.latency_ms(0.99),
            "lag_p99_ms": lag,
            "unanswered": self.unanswered,
            "unhealthy": unhealthy(lag, cpu_pct),
            "histogram_ms": {str(ms): n for ms, n in sorted(self.latencies_ms.items())},
        }

    def latency_ms(self, q: float) -> float | None:
        """The ``q``-quantile of all that ended, no answer being later than any; None: it is one of those."""
        return quantile(self.latencies_ms.items(), q, beyond=self.unanswered)


def quantile(counts: Iterable[tuple[float, int]], q: float, *, beyond: int = 0) -> float | None:
    """Return the nearest-rank ``q``-quantile of (value, count) pairs and of ``beyond`` more that lie above all of them.

    None when there is nothing, or when it lies beyond.
    """
    rows: Sequence[tuple[float, int]] = sorted(counts)
    rank = math.ceil(q * (sum(n for _, n in rows) + beyond))
    for value, n in rows:
        rank -= n
        if rank <= 0:
            return value
    return None


def unhealthy(lag_p99_ms: float | None, cpu_pct: float) -> str | None:
    """Why the generator's figures cannot be trusted, in one line; None when they can."""
    if lag_p99_ms is not None and lag_p99_ms > HEALTHY_LAG_MS:
        return f"requests were sent up to {lag_p99_ms:g} ms late (p99): this machine is too busy for the rate"
    if cpu_pct > HEALTHY_CPU_PCT:
        return f"the generator used {cpu_pct:.0f} % of a core: spread the rate over more processes"
    return None
