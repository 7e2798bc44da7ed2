"""How long a step needs before the gate can decide, from the rate of requests alone. Rules of thumb, not promises.

Information per request is that of an efficient test (nats); the gate's own cost (mixtures, ranks instead of
likelihoods) is a factor measured on simulated rollouts (tests/bench/gate). Times are medians and may be off by a third.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from deployer.gate.betting import caps
from deployer.gate.blocks import ENOUGH, LONGEST_S, least_s
from deployer.gate.evidence import latency_chance, named_targets
from deployer.gate.passing import BESIDE, ERRORS_AT_MOST, SAFE_MS, TAILS_FROM, latency_bound
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Gate, Slo

LOCATION = 4.7
"""Fisher information a request about a common factor of latency, for a usual service (ln latency sd about 0.6)."""
TAIL = {"p95": 0.081, "p99": 0.0105}
"""The same, seen only through answers above the quantile. Source of both: from the oracle of tests/bench/gate."""
EFFICIENCY = 0.75
FAIL_COST_NATS = 3.2
PASS_COST_NATS = 1.4
SLOWER = (1.2, 1.5, 2.0)
WORSE = (5.0, 20.0)
"""Regressions that are listed: latency factors, and error shares in units of the slo."""
PROOF = "pass: "
NEVER = 3.0
_SHARES = {"p50": 0.5, "p95": 0.05, "p99": 0.01}
MOST_PCT = 50
WEIGHTS_PCT = (1, 2, 5, 10, 20, 25, MOST_PCT)
"""Weights that are proposed."""


@dataclass(frozen=True, slots=True)
class Power:
    """How much one answer of the gate takes."""

    question: str
    """``+50% latency``, ``1% errors``, ``pass``, ..."""
    requests: int
    """Of the candidate; -1: more than can be said."""
    seconds: float
    """Median, from the start of the step; ``inf``: never."""
    nats: float = 0.0
    """Evidence that it takes."""
    lag_s: float = 0.0
    """Part of ``seconds`` that passes before the first answer is known."""

    def chance(self, within_s: float) -> float:
        """How often the answer is there after ``within_s``: about, and rather less where traffic is thin.

        Evidence grows like a sum of independent log likelihood ratios: a mean of m nats with a variance of 2 m.
        """
        if not math.isfinite(self.seconds) or within_s <= self.lag_s:
            return 0.0
        done = (within_s - self.lag_s) / max(self.seconds - self.lag_s, 1e-9)
        return 0.5 * (1 + math.erf((done - 1) * math.sqrt(self.nats / done) / 2))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a step gets."""

    weight_pct: int
    rps: float
    """Of the whole endpoint."""
    next_weight_pct: int = 100
    stable: bool = True
    lag_s: float = 0.0
    """How late telemetry is."""
    error_rate: float | None = None
    """Of the stable; None: a tenth of the slo."""
    typical_ms: float | None = None
    """The stable's median latency; where it is small, a few ms count as harmless (``passing.SAFE_MS``)."""

    @property
    def share(self) -> float:
        """Candidate's share of traffic."""
        return self.weight_pct / 100

    @property
    def beside(self) -> bool:
        """There is stable traffic at the same time."""
        return self.stable and self.weight_pct < 100

    @property
    def block_s(self) -> float:
        """Length of a block when the gate chooses it, not below what the rate allows."""
        return min(ENOUGH / self.rps, LONGEST_S) if self.rps > 0 else LONGEST_S


def plan_power(slo: Slo, gate: Gate, traffic: Traffic) -> tuple[Power, ...]:
    """Requests and time until the gate fails each regression, and until it passes an identical candidate."""
    rows = [*_fails(slo, gate, traffic), *_passes(slo, gate, traffic)]
    return tuple(rows)


def _fails(slo: Slo, gate: Gate, traffic: Traffic) -> Iterator[Power]:
    if traffic.beside:
        for factor in SLOWER:
            excess = math.log(factor / gate.compare.latency.tolerate)
            info = EFFICIENCY * 0.5 * (1 - traffic.share) * LOCATION * excess**2 if excess > 0 else 0.0
            yield _row(f"+{100 * (factor - 1):.0f}% latency", latency_chance(gate), info, gate, traffic)
    limit = slo.error_rate or 0.01
    base = _base(limit, traffic)
    for times in WORSE:
        share = min(times * limit, 0.5)
        info = EFFICIENCY * (_paired(share, base, traffic.share) if traffic.beside else _kl(share, limit))
        yield _row(f"{100 * share:.3g}% errors", gate.false_rollback, info, gate, traffic)


def _passes(slo: Slo, gate: Gate, traffic: Traffic) -> Iterator[Power]:
    """The slowest of the needed proofs, for an identical candidate well within the slo."""
    chance = gate.missed_regression
    exposed = min(max(traffic.next_weight_pct, traffic.weight_pct), 100) / 100
    proofs: list[Power] = []
    if slo.error_rate is not None:
        bound = min(slo.error_rate / exposed, max(slo.error_rate, ERRORS_AT_MOST))
        proofs.append(
            _row("pass: error_rate", chance, EFFICIENCY * _kl(_base(slo.error_rate, traffic), bound), gate, traffic)
        )
    for metric, _ in named_targets(slo):
        share = _SHARES[metric]
        bound = min(share * (BESIDE if traffic.beside else 1.0) / exposed, max(share, 0.75))
        proofs.append(_row(f"pass: {metric}", chance, EFFICIENCY * _kl(share / 2, bound), gate, traffic))
    if traffic.beside:
        for metric in ("shift", *(name for name, _ in named_targets(slo) if name in TAIL and exposed > TAILS_FROM)):
            slope = 0.5 * LOCATION if metric == "shift" else TAIL[metric]
            bound = latency_bound(gate, metric, exposed)
            if traffic.typical_ms:
                bound = max(bound, 1 + SAFE_MS / traffic.typical_ms)
            info = EFFICIENCY * (1 - traffic.share) * slope * math.log(bound) ** 2
            proofs.append(_row(f"pass: {metric} against the stable", chance, info, gate, traffic))
    least = gate.min_requests
    proofs.append(Power("pass: gate.min_requests", least, _seconds(least, traffic) + traffic.lag_s))
    yield max(proofs, key=lambda row: row.seconds)


def _row(question: str, chance: float, info: float, gate: Gate, traffic: Traffic) -> Power:
    if info <= 0:
        return Power(question, -1, math.inf)
    waits_s = traffic.lag_s + (gate.settle or 0.0)
    need = math.log(1 / chance) + (PASS_COST_NATS if question.startswith(PROOF) else FAIL_COST_NATS)
    requests = math.ceil(need / info)
    block_s = max(traffic.block_s, least_s(gate)) if gate.block is None else gate.block
    cap = float(caps(np.array([block_s]), least_s(gate), chance)[0])
    capped_s = math.ceil(need / cap) * block_s
    return Power(question, requests, max(_seconds(requests, traffic), capped_s) + waits_s, need, waits_s)


def _seconds(requests: int, traffic: Traffic) -> float:
    return requests / (traffic.rps * traffic.share) if traffic.rps > 0 else math.inf


def _base(limit: float, traffic: Traffic) -> float:
    return min(limit / 10 if traffic.error_rate is None else traffic.error_rate, limit)


def _kl(p: float, q: float) -> float:
    """Relative entropy of two shares, in nats."""
    first = p * math.log(p / q) if p > 0 else 0.0
    return first + (1 - p) * math.log((1 - p) / (1 - q))


def _paired(candidate: float, stable: float, share: float) -> float:
    """Nats per candidate request about two shares of bad answers when only both together are known."""
    pooled = share * candidate + (1 - share) * stable
    return _kl(candidate, pooled) + (1 - share) / share * _kl(stable, pooled)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A step that will probably end undecided."""

    text: str
    """Why, and what would help."""
    never: bool
    """It takes over three times the step's max: refuse it. Otherwise warn."""


def check_step(slo: Slo, gate: Gate, traffic: Traffic, max_s: float) -> Shortfall | None:
    """Whether an identical candidate would usually still be unproven after ``max_s``; None if not."""
    passing = _passing(slo, gate, traffic)
    if passing.seconds <= max_s:
        return None
    helps: list[str] = []
    for weight in (weight for weight in WEIGHTS_PCT if weight > traffic.weight_pct):
        if _passing(slo, gate, replace(traffic, weight_pct=weight)).seconds <= max_s:
            helps.append(f"weight {weight}")
            break
    took = "for ever"
    if math.isfinite(passing.seconds):
        took = format_duration(passing.seconds)
        helps.append(f"max {format_duration(math.ceil(passing.seconds / 60) * 60)}")
    for weight in dict.fromkeys((traffic.weight_pct, max(traffic.weight_pct, MOST_PCT))):
        rps = _enough_rps(slo, gate, replace(traffic, weight_pct=weight), max_s)
        if rps is not None and rps > traffic.rps:
            where = f" at weight {weight}" if weight != traffic.weight_pct else ""
            helps.append(f"{rps} requests/s in all{where} (load.rps)")
    text = (
        f"at weight {traffic.weight_pct} and {traffic.rps:g} requests/s a PASS takes about {took} "
        f"({passing.question}: {passing.requests} requests of the candidate), over max {format_duration(max_s)}; "
        f"what would do: {', or '.join(helps) or 'a looser slo or gate.compare'}"
    )
    return Shortfall(text, passing.seconds > NEVER * max_s)


def _enough_rps(slo: Slo, gate: Gate, traffic: Traffic, max_s: float) -> int | None:
    """Least whole rate at which a PASS takes at most ``max_s``; None: no rate would do."""
    at_best = _passing(slo, gate, traffic)
    if at_best.requests <= 0 or max_s <= traffic.lag_s or not traffic.share:
        return None
    rps = max(math.ceil(at_best.requests / ((max_s - traffic.lag_s) * traffic.share)), 1)
    return rps if _passing(slo, gate, replace(traffic, rps=float(rps))).seconds <= max_s else None


def _passing(slo: Slo, gate: Gate, traffic: Traffic) -> Power:
    return next(_passes(slo, gate, traffic))
