"""What others do, as far as it can be said in a few lines, on the same servers.

- ``loadgen``: MLPerf LoadGen's "server" scenario in a search: Poisson runs of at least 60 s and 1000 requests, valid or
  not, doubled and then halved until the rates are 2.5 % apart.
- ``closed``: perf_analyzer's ``--concurrency-range`` with a latency threshold: the best throughput of a closed loop.
- ``stairs``: SageMaker's inference recommender: users added in steps of half a minute.
- ``formula``: instances = rate x latency / concurrent requests / 0.7, turned round (learn.microsoft.com, "Decide on the
  instance count", for Azure ML's online endpoints).
Each returns its rate (0: says infeasible) and leaves its load time in ``live.load_s``.
"""

from __future__ import annotations

import numpy as np
from servers import Live, Server
from truth import ALLOWED


def _worst(server: Server, latency: np.ndarray, status: np.ndarray) -> float:
    failed = status != 200
    shares = [
        float(failed.mean()) / limit
        if name == "error_rate"
        else float((failed | (latency > limit)).mean()) / ALLOWED[name]
        for name, limit in server.slo.items()
    ]
    return max(shares)


def loadgen(server: Server, live: Live, seed: int) -> float:
    chance = np.random.default_rng([seed, 29])
    _, latency, _, _ = live.closed(1, 10.0)
    rate, low, high = 1 / float(latency.mean()), 0.0, 0.0

    def is_valid(rps: float) -> bool:
        seconds = max(60.0, 1000 / rps) if rps > 4 else 120.0
        arrivals = np.sort(chance.random(chance.poisson(rps * seconds))) * seconds
        _, latency, status, _ = live.open(arrivals)
        return _worst(server, latency, status) <= 1

    while not (low and high):
        if is_valid(rate):
            low, rate = rate, rate * 2
        else:
            high, rate = rate, rate / 2
        if rate * float(latency.mean()) < 0.02:
            return 0.0
    while high / low > 1.025:
        middle = (low + high) / 2
        low, high = (middle, high) if is_valid(middle) else (low, middle)
    return low


def closed(server: Server, live: Live, seed: int) -> float:
    best = 0.0
    for concurrency in range(1, 129):
        _, latency, status, seconds = live.closed(concurrency, 5.0)
        if _worst(server, latency, status) > 1:
            break
        best = max(best, float(np.count_nonzero(status == 200)) / seconds)
    return best


def stairs(server: Server, live: Live, seed: int) -> float:
    best = 0.0
    for step in range(1, 20):
        _, latency, status, seconds = live.closed(2 * step - 1, 30.0)
        if _worst(server, latency, status) > 1:
            break
        best = float(np.count_nonzero(status == 200)) / seconds
    return best


def formula(server: Server, live: Live, seed: int) -> float:
    _, latency, _, _ = live.closed(1, 10.0)
    return server.slots * 0.7 / float(latency.mean())


BASELINES = {"LoadGen search": loadgen, "closed loop": closed, "stairs": stairs, "Azure's formula": formula}
