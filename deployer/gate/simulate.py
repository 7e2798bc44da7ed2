"""How often the gate would err, and how long it would take, at one's own traffic: made-up rollouts, truly judged.

The stable sits at three quarters of each latency target and a tenth of the error target; minutes differ (noise
shared by both arms), and telemetry is late. Chance comes in as a generator, so a seed gives the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployer.gate.backtest import LAG_BINS, Arrivals, Replay, backtest
from deployer.gate.blocks import fetch_block_s
from deployer.gate.evidence import named_targets
from deployer.gate.ledger import CANDIDATE, ERROR, OK, utc
from deployer.gate.passing import SAFE_MS
from deployer.gate.verdict import Result, Shift
from deployer.manifest.schema import Gate, Slo

EPOCH_S = 1_767_225_600.0
NOISE = 0.08
"""Sd of ln latency from minute to minute, both arms alike."""
_Z = {"p50": 0.0, "p95": 1.645, "p99": 2.326}
_SIGMA = 0.6
_BAR = 30


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of candidate."""

    name: str
    bad: bool
    factor: float = 1.0
    """Its latency over the stable's."""
    error_rate: float | None = None
    """Its share of errors; None: the stable's."""
    shared: bool = False
    """An incident hits both arms for a tenth of the time."""


@dataclass(frozen=True, slots=True)
class World:
    """What is simulated."""

    slo: Slo
    gate: Gate
    rps: float
    weight_pct: int = 10
    duration_s: float = 1800.0
    lag_s: tuple[float, float] = (0.0, 0.0)
    """Telemetry is late by between so much and so much."""
    every_s: float | None = None
    """Between looks; None: ``gate.look``."""

    @property
    def base_ms(self) -> float:
        """The stable's median."""
        return min((limit * 0.75 / np.exp(_SIGMA * _Z[name]) for name, limit in named_targets(self.slo)), default=100.0)

    @property
    def base_errors(self) -> float:
        """The stable's share of errors."""
        return (self.slo.error_rate or 0.01) / 10


def scenarios(world: World) -> tuple[Scenario, ...]:
    """What a candidate may be like, by the manifest's own margins."""
    limit = world.slo.error_rate or 0.01
    compare = world.gate.compare.latency
    worse = max(compare.rule_out, 1 + SAFE_MS / world.base_ms)  # what a PASS rules out
    return (
        Scenario("identical", bad=False),
        Scenario(f"{100 * (compare.tolerate - 1) / 2:.3g}% slower", bad=False, factor=1 + (compare.tolerate - 1) / 2),
        Scenario("incident on both", bad=False, shared=True),
        Scenario(f"{100 * (worse - 1):.3g}% slower", bad=True, factor=worse),
        Scenario(f"{100 * (2 * worse - 2):.3g}% slower", bad=True, factor=2 * worse - 1),
        Scenario(f"{100 * min(2 * limit, 1):.3g}% errors", bad=True, error_rate=min(2 * limit, 1.0)),
        Scenario(f"{100 * min(5 * limit, 1):.3g}% errors", bad=True, error_rate=min(5 * limit, 1.0)),
        Scenario("100% errors", bad=True, error_rate=1.0),
    )


def stream(world: World, scenario: Scenario, rng: np.random.Generator) -> Iterator[Arrivals]:
    """One made-up rollout as arrivals, one a look."""
    cell_s, every_s = fetch_block_s(world.gate), world.every_s or world.gate.look
    n = int(rng.poisson(world.rps * world.duration_s))
    at = np.sort(rng.uniform(0, world.duration_s, n))
    arms = (rng.random(n) >= world.weight_pct / 100).astype(np.int64)
    mine = arms == CANDIDATE
    minutes = rng.normal(0, NOISE, int(world.duration_s / 60) + 1)[(at / 60).astype(int)]
    hit = scenario.shared & (at > 0.4 * world.duration_s) & (at < 0.5 * world.duration_s)
    factor = np.where(mine, scenario.factor, 1.0) * np.where(hit, 2.0, 1.0)
    ms = world.base_ms * np.exp(_SIGMA * rng.normal(size=n) + minutes) * factor
    share = np.where(mine & (scenario.error_rate is not None), scenario.error_rate or 0.0, world.base_errors)
    classes = np.where(rng.random(n) < np.where(hit, 0.2, share), ERROR, OK)
    lag = rng.uniform(*world.lag_s, n)
    looks = np.maximum(np.ceil((at + lag) / every_s).astype(int), 1)
    order = np.argsort(looks, kind="stable")
    last = int(np.ceil((world.duration_s + 2 * world.lag_s[1]) / every_s)) + 1
    edges = np.searchsorted(looks[order], np.arange(1, last + 2))
    starts = np.floor(at / cell_s) * cell_s + EPOCH_S
    for look in range(1, last + 1):
        part: NDArray[np.intp] = order[edges[look - 1] : edges[look]]
        lags = np.zeros((2, LAG_BINS), np.int64)
        np.add.at(lags, (arms[part], lag[part].astype(np.int64)), 1)
        now_s = EPOCH_S + look * every_s
        yield Arrivals(now_s, starts[part], arms[part], classes[part], ms[part], np.ones(part.size, np.int64), lags)


def simulate(world: World, rng: np.random.Generator, runs: int) -> dict[str, Any]:
    """Run every scenario ``runs`` times.

    Returns:
        ``{"false_rollback", "missed_regression", "scenarios": [{"name", "bad", "fail", "pass", "inconclusive",
        "median_s", "median_requests"}], ...}``; shares in [0, 1]; ``missed_regression`` is the worst scenario's.
    """
    rows: list[dict[str, Any]] = []
    for scenario in scenarios(world):
        results: list[tuple[Result, float, int]] = []
        for _ in range(runs):
            shifts = (Shift(utc(EPOCH_S), world.weight_pct),)
            replay = Replay(world.slo, world.gate, fetch_block_s(world.gate), shifts)
            outcome = backtest(stream(world, scenario, rng), replay)
            verdict = outcome.verdict
            took_s = verdict.at.timestamp() - EPOCH_S if verdict else 0.0
            results.append((outcome.result, took_s, verdict.candidate.requests if verdict else 0))
        wanted = Result.FAIL if scenario.bad else Result.PASS
        decided = [(took_s, requests) for result, took_s, requests in results if result is wanted]
        rows.append(
            {
                "name": scenario.name,
                "bad": scenario.bad,
                **{
                    r.value: sum(x[0] is r for x in results) / runs
                    for r in (Result.FAIL, Result.PASS, Result.INCONCLUSIVE)
                },
                "median_s": float(np.median([took_s for took_s, _ in decided])) if decided else None,
                "median_requests": int(np.median([requests for _, requests in decided])) if decided else None,
            }
        )
    good, bad = [row for row in rows if not row["bad"]], [row for row in rows if row["bad"]]
    return {
        "rps": world.rps,
        "weight": world.weight_pct,
        "duration_s": world.duration_s,
        "runs": runs,
        "false_rollback": sum(row["fail"] for row in good) / len(good),
        "missed_regression": max(row["pass"] for row in bad),
        "scenarios": rows,
    }


def picture(result: dict[str, Any]) -> str:
    """Draw ``simulate``'s answer as text: one bar a scenario, ``#`` rolled back, ``=`` passed, ``.`` undecided."""
    lines = [f"{result['runs']} rollouts each, {result['rps']:g} requests/s, weight {result['weight']}%"]
    for row in result["scenarios"]:
        fails, passes = round(_BAR * row["fail"]), round(_BAR * row["pass"])
        bar = ("#" * fails + "=" * passes).ljust(_BAR, ".")[:_BAR]
        took = "never" if row["median_s"] is None else f"{row['median_s']:.0f} s, {row['median_requests']} requests"
        lines.append(f"{'bad ' if row['bad'] else 'good'} {row['name']:<18} {bar} {took}")
    lines.append("# rolled back  = passed  . undecided")
    return "\n".join(lines)
