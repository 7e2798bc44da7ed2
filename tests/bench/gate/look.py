"""What one look costs: ten million answers as histograms, beside the tests that read them one by one.

Run: ``python tests/bench/gate/look.py [ANSWERS]``. Prints times and ratios; asserts nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from scipy import stats

from deployer.gate.judge import judge
from deployer.gate.samples import AnswerClass, Cell, Samples
from deployer.gate.verdict import Moment, Shift
from deployer.manifest.schema import Gate, Slo

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES, CELL_S, WEIGHT = 60, 10, 10
SLO = Slo.model_validate({"latency": {"p95": "400ms", "p99": "900ms"}, "error_rate": "2%"})
TIMES = 7


def answers(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell of time, whether the candidate answered, and milliseconds (0: an error) of each answer."""
    rng = np.random.default_rng(1)
    cells = rng.integers(0, MINUTES * 60 // CELL_S, n)
    ms = np.rint(rng.lognormal(4.4, 0.5, n)).astype(np.int64)
    ms[rng.random(n) < 0.001] = 0
    return cells, rng.random(n) < WEIGHT / 100, ms


def histogram(cells: np.ndarray, mine: np.ndarray, ms: np.ndarray) -> Samples:
    """As telemetry hands them over."""
    keys, counts = np.unique((cells * 2 + mine) * 100_000 + ms, return_counts=True)
    starts = [T0 + timedelta(seconds=CELL_S * cell) for cell in range(MINUTES * 60 // CELL_S)]
    found = tuple(
        Cell(
            starts[key // 200_000],
            "green" if key // 100_000 % 2 else "blue",
            AnswerClass.OK if key % 100_000 else AnswerClass.ERROR,
            key % 100_000,
            count,
        )
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True)
    )
    return Samples(found, CELL_S, T0 + timedelta(minutes=MINUTES))


def measured(what: str, work: Callable[[], Any], times: int = TIMES) -> float:
    """Median of the processor time in s; the wall's beside it."""
    walls: list[float] = []
    processors: list[float] = []
    for _ in range(times):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    print(f"{what:58} {np.median(walls):8.3f} s ({min(walls):.3f}-{max(walls):.3f})", end="")
    print(f"   processor {np.median(processors):8.3f} s")
    return float(np.median(processors))


def main(n: int) -> None:
    cells, mine, ms = answers(n)
    samples = histogram(cells, mine, ms)
    now = T0 + timedelta(minutes=MINUTES + 5)
    moment = Moment(now, "green", "blue", (Shift(T0, WEIGHT),), T0, 20, WEIGHT)
    print(f"{n:,} answers of {MINUTES} minutes in {len(samples.cells):,} cells")
    look = measured("a look: every metric judged and explained", lambda: judge(samples, SLO, Gate(), moment))
    one, other = ms[mine & (ms > 0)], ms[~mine & (ms > 0)]
    ranks = measured("Mann-Whitney alone, of the answers", lambda: stats.mannwhitneyu(one, other), 1)
    quantiles = measured(
        "p95 and p99 of both alone, of the answers", lambda: [np.quantile(x, (0.95, 0.99)) for x in (one, other)]
    )
    print(f"over the look: Mann-Whitney {ranks / look:.1f} x, quantiles {quantiles / look:.1f} x")
    print(f"verdict: {judge(samples, SLO, Gate(), moment).text}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
