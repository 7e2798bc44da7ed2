"""The true capacity of each simulated server, by long simulation; kept in truths.json. ``python truth.py [NAME...]`` remakes it.

Violation is counted at five rates within 4 % of the crossing, ``REQUESTS`` requests each after the queue has settled, and
a straight line through ln(violation) gives the rate where it equals 1; all again, at most four times, until its standard
error is below ``PRECISE``. Without warm-up, and with the generator's lag.
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


def violation(server: Server, rps: float, requests: int, seed: int) -> float:
    """Worst share of bad requests over the share allowed, over all targets."""
    live = Live(replace(server, slow=lambda at, served: 1.0), seed)
    arrivals = np.cumsum(np.random.default_rng([seed, 5]).exponential(1 / rps, requests))
    _, latency, status, _ = live.open(arrivals)
    warm = requests // 50
    latency, failed = latency[warm:], status[warm:] != 200
    worst = 0.0
    for name, limit in server.slo.items():
        bad = failed if name == "error_rate" else failed | (latency > limit)
        worst = max(worst, float(bad.mean()) / (limit if name == "error_rate" else ALLOWED[name]))
    return worst


def capacity(server: Server) -> dict[str, float]:
    """Where the violation is 1; 0 if it is more at any rate."""
    mean = np.mean([server.draw(np.random.default_rng(i))() for i in range(4000)]) if server else 0
    ceiling = (1 if server.shared else server.slots) / float(mean) * (1 - server.pause_s / (server.pause_every_s or 1))
    if violation(server, 0.01 * ceiling, 20_000, 1) > 1.03:
        return {"rps": 0.0}
    low, high = 0.01 * ceiling, ceiling
    while high / low > 1.02:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if violation(server, middle, 150_000, 2) < 1 else (low, middle)
    steps = math.sqrt(low * high) * np.array([0.96, 0.98, 1.0, 1.02, 1.04])
    rates, seen, error = np.empty(0), np.empty(0), math.inf
    while error > PRECISE and rates.size < 20:
        more = [violation(server, float(rate), REQUESTS, 10 + rates.size + i) for i, rate in enumerate(steps)]
        rates, seen = np.append(rates, steps), np.append(seen, np.log(more))
        slope, at = np.polyfit(np.log(rates), seen, 1)
        error = float(np.std(seen - np.polyval([slope, at], np.log(rates)), ddof=2) / slope / math.sqrt(rates.size))
    rps = float(np.exp(-at / slope))
    return {"rps": round(rps, 3), "relative_error": round(error, 5), "slope": round(float(slope), 2)}


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
