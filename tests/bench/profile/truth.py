"""The true capacity of each simulated server, by long simulation; kept in truths.json. ``python truth.py [NAME...]`` remakes it.

Violation is counted at five rates within 4 % of the crossing, ``REQUESTS`` requests each after the queue has settled, and
a straight line through ln(violation) of each target gives the rate where it equals 1: the least of them counts. All
again, at most four times, until its standard error is below ``PRECISE``. Without warm-up, and with the generator's lag.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from servers import SERVERS, Live, Server

FILE = Path(__file__).with_name("truths.json")
REQUESTS = 1_500_000
PRECISE = 0.002
ALLOWED = {"p50": 0.5, "p95": 0.05, "p99": 0.01}


def violations(server: Server, rps: float, requests: int, seed: int) -> np.ndarray:
    """Share of bad requests over the share allowed, of each target."""
    live = Live(replace(server, slow=lambda at, served: 1.0), seed)
    arrivals = np.cumsum(np.random.default_rng([seed, 5]).exponential(1 / rps, requests))
    _, latency, status, _ = live.open(arrivals)
    warm = requests // 50
    latency, failed = latency[warm:], status[warm:] != 200
    found = []
    for name, limit in server.slo.items():
        bad = failed if name == "error_rate" else failed | (latency > limit)
        found.append(float(bad.mean()) / (limit if name == "error_rate" else ALLOWED[name]))
    return np.array(found)


def capacity(server: Server) -> dict[str, float]:
    """Where the violation is 1; 0 if it is more at any rate."""
    mean = np.mean([server.draw(np.random.default_rng(i))() for i in range(4000)]) if server else 0
    ceiling = (1 if server.shared else server.slots) / float(mean) * (1 - server.pause_s / (server.pause_every_s or 1))
    if violations(server, 0.01 * ceiling, 20_000, 1).max() > 1.03:
        return {"rps": 0.0}
    low, high = 0.01 * ceiling, ceiling
    while high / low > 1.02:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if violations(server, middle, 150_000, 2).max() < 1 else (low, middle)
    steps = math.sqrt(low * high) * np.array([0.96, 0.98, 1.0, 1.02, 1.04])
    rates, seen, found = np.empty(0), np.empty((0, len(server.slo))), (math.inf, math.inf, 0.0)
    while found[1] > PRECISE and rates.size < 20:
        more = [violations(server, float(rate), REQUESTS, 10 + rates.size + i) for i, rate in enumerate(steps)]
        rates, seen = np.append(rates, steps), np.concatenate([seen, more])
        found = min(crossing(rates, of_target) for of_target in seen.T if of_target.min() > 0)
    return {"rps": round(found[0], 3), "relative_error": round(found[1], 5), "slope": round(found[2], 2)}


def crossing(rates: np.ndarray, seen: np.ndarray) -> tuple[float, float, float]:
    """Rate at which one target's violation is 1, its relative standard error, and the slope there."""
    slope, at = np.polyfit(np.log(rates), np.log(seen), 1)
    if slope <= 0:  # a target that the rate does not touch
        return math.inf, math.inf, float(slope)
    error = np.std(np.log(seen) - np.polyval([slope, at], np.log(rates)), ddof=2) / slope / math.sqrt(rates.size)
    return float(np.exp(-at / slope)), float(error), float(slope)


def main() -> None:
    """Remake the truths named, or all."""
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    for server in SERVERS:
        if not sys.argv[1:] or server.name in sys.argv[1:]:
            known[server.name] = capacity(server)
            print(server.name, known[server.name], flush=True)
            FILE.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
