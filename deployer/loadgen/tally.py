"""Requests as the load generator wrote them, folded into windows of one second."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from deployer.loadtest.figures import NO_ANSWER, OVER_CAP, Figures, Health, Load, Requests, Window

ENTRY = np.dtype([("arrival_s", "<f8"), ("latency_ms", "<f4"), ("status", "<i2")])
"""As ``loadtests/records.py`` packs them: 14 bytes."""

UNFINISHED = -2
"""In flight when the load was ended early, for as long as its latency says: neither an answer nor a failure."""


@dataclass(slots=True)
class _Second:
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter[int])
    latencies_ms: Counter[float] = field(default_factory=Counter[float])
    good_latencies_ms: Counter[float] = field(default_factory=Counter[float])
    waiting_ms: Counter[float] = field(default_factory=Counter[float])


class Tally:
    """Everything that was recorded of one load test."""

    def __init__(self, load: Load, *, keep_requests: bool) -> None:
        self._load = load
        self._seconds: dict[int, _Second] = {}
        self._kept: list[np.ndarray[tuple[int], np.dtype[np.void]]] | None = [] if keep_requests else None
        self.requests = 0
        self.over_cap = 0

    def add(self, content: bytes) -> int:
        """Take in whole entries; return how many bytes they were."""
        used = len(content) - len(content) % ENTRY.itemsize
        entries = np.frombuffer(content[:used], ENTRY)
        if self._kept is not None:
            self._kept.append(entries)
        warm_up_s = self._load.warm_up_s
        for arrival_s, latency_ms, status in entries.tolist():
            number = math.floor(arrival_s - warm_up_s)  # windows begin where the warm-up ends
            second = self._seconds.setdefault(number, _Second())
            second.sent += 1
            self.requests += 1
            if status == UNFINISHED:
                second.waiting_ms[round(latency_ms, 1)] += 1
                continue
            second.statuses[status] += 1
            self.over_cap += status == OVER_CAP
            if status not in (NO_ANSWER, OVER_CAP):
                latency = round(latency_ms, 1)
                second.latencies_ms[latency] += 1
                if 200 <= status < 300:
                    second.good_latencies_ms[latency] += 1
        return used

    def figures(self, started_at: datetime, health: Health, partial: str | None) -> Figures:
        """Everything so far."""
        load = self._load
        last = max(self._seconds, default=-1)
        end_s = load.seconds if math.isfinite(load.seconds) else last + 1.0
        windows = tuple(
            Window(
                start_s=max(number + load.warm_up_s, 0.0),
                seconds=max(min(number + 1.0, end_s) - max(number, -load.warm_up_s), 0.0) if number < end_s else 1.0,
                is_warm_up=number < 0,
                sent=second.sent,
                statuses=dict(second.statuses),
                latencies_ms=dict(second.latencies_ms),
                good_latencies_ms=dict(second.good_latencies_ms),
                waiting_ms=dict(second.waiting_ms),
            )
            for number in range(min(self._seconds, default=0), last + 1)
            for second in [self._seconds.get(number, _Second())]
        )
        return Figures(load, started_at, windows, health, partial, self._requests())

    def _requests(self) -> Requests | None:
        if self._kept is None:
            return None
        entries = np.concatenate([np.empty(0, ENTRY), *self._kept])
        entries = entries[(entries["arrival_s"] >= self._load.warm_up_s) & (entries["status"] != UNFINISHED)]
        entries = entries[np.argsort(entries["arrival_s"], kind="stable")]
        latency = entries["latency_ms"].astype(np.float64)
        latency[(entries["status"] == NO_ANSWER) | (entries["status"] == OVER_CAP)] = np.nan
        return Requests(entries["arrival_s"] - self._load.warm_up_s, latency, entries["status"].astype(np.int16))
