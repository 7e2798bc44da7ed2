"""Evidence against the candidate: one e-value a metric, and their mean, which fails it.

The null of every metric is "nothing to roll back": within ``tolerate`` of the stable, or (absolute targets) within the
slo *or* no worse than the stable in the same blocks, so that a breach shared by both arms never blames the candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployer.gate import betting
from deployer.gate.blocks import Blocks, least_s
from deployer.gate.contrast import Contrast, Pair, exceedances, odds, ranks, tail_slope, tails
from deployer.gate.histogram import Counts, shrink
from deployer.gate.ledger import CANDIDATE, STABLE
from deployer.gate.permutation import Floats, Ints
from deployer.manifest.schema import Gate, Slo

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
HARMLESS_MS = 2.0
"""A candidate slower by no more than this is not rolled back for it, however large the ratio: 1 ms in 4 is noise."""
ERROR_FLOOR = 0.002
"""Below this share of errors the comparison of errors does not fail a candidate."""
LATENCY_TILTS = np.array([0.4, 1.0, 2.25])
ERROR_TILTS = np.array([0.5, 1.5, 3.0])
RANK_TILTS = np.array([0.4, 1.2])
TAIL_TILTS = np.array([0.3, 0.7])
"""Alternatives, beyond the margin: few, as each one more costs all the others evidence."""
WOBBLE = (0.03, 0.10)
"""Harmless difference of equal deployments from block to block, sd of ln latency: assumed, and at most believed."""
ERROR_WOBBLE = (0.30, 0.80)
"""The same for the log odds of an error."""
ERROR_CAP = 1.0
"""As ``betting.CAP``, for errors: stalls do not cause them."""
TAIL_CAP = 0.5
"""The same for the tail, where one stall shows most and a regression in every block."""
BREAKER_SHARE = 0.15
"""More errors than this share are a catastrophe."""
BREAKER_TILTS = np.log(np.array([0.6, 0.99]) / np.array([0.4, 0.01])) - np.log(BREAKER_SHARE / (1 - BREAKER_SHARE))
BREAKER_PAIR_TILTS = np.array([3.0, 6.0])
ALONE = 0.3
"""Part of an absolute metric's weight that is kept for time without stable traffic."""
WEIGHTS = {
    ("error_rate", "compare"): 0.28,
    ("p99", "compare"): 0.17,
    ("p95", "compare"): 0.08,
    ("shift", "compare"): 0.30,
    ("p50", "compare"): 0.02,
    ("error_rate", "slo"): 0.06,
    ("latency", "slo"): 0.05,
    ("breaker", "slo"): 0.04,
}
"""Weight of each metric's e-value in the mean. Source: tuned on simulated rollouts, tests/bench/gate."""
LATENCY_SLACK = 5.0
"""A harmless difference of latencies reaches an e-value so many times more rarely than Ville's bound allows.

Measured, not proven: margin, tempering and caps each give away evidence (ADR 7). Errors have no such slack.
"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One metric's evidence against the candidate."""

    metric: str
    rule: str
    weight: float
    log_e: float
    log_e_alone: float | None = None
    """Absolute rules: the same without the stable's excuse."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Latency counts of the blocks in which both arms were warm and had traffic."""

    candidate: Counts
    stable: Counts
    caps: Floats


def observed_only(gate: Gate, metric: str, rule: str) -> bool:
    """Whether a metric is reported but never acted on."""
    if rule == "compare" and "compare" in gate.observe_only:
        return True
    return ("error_rate" if metric == "breaker" else metric) in gate.observe_only


def warm_arms(blocks: Blocks, gate: Gate, chance: float) -> Arms:
    """Latencies to be compared, for a decision with this chance of error."""
    used = _run(blocks.warm & blocks.paired)
    candidate, stable = blocks.fine[CANDIDATE][used], blocks.fine[STABLE][used]
    return Arms(candidate, stable, betting.caps(blocks.length_s[used], least_s(gate), chance))


def _run(used: NDArray[np.bool_]) -> NDArray[np.bool_] | slice:
    """The same rows as a slice, if they follow each other: then nothing is copied."""
    places = np.flatnonzero(used)
    whole = places.size and int(places[-1] - places[0]) + 1 == places.size
    return slice(int(places[0]), int(places[-1]) + 1) if whole else used


def against(blocks: Blocks, broken: Evidence, slo: Slo, gate: Gate, *, stable: bool) -> list[Evidence]:
    """Every metric's evidence, also of those only observed; ``broken`` is the breaker's."""
    found: list[Evidence] = []
    if stable:
        found.extend(_compared(blocks, gate))
    found.extend(_absolute(blocks, slo, gate, stable=stable))
    found.append(broken)
    return found


def is_latency_comparison(metric: str, rule: str) -> bool:
    """Whether the metric compares latencies with the stable's."""
    return rule == "compare" and metric != "error_rate"


def latency_chance(gate: Gate) -> float:
    """Chance at which Ville's bound is set for the comparison of latencies, so that they keep ``false_rollback``."""
    return max(gate.false_rollback, min(LATENCY_SLACK * gate.false_rollback, 0.5))


def total(found: list[Evidence], gate: Gate) -> float:
    """Ln of the mean e-value of the metrics that are acted on (0 when there are none)."""
    acted = [(item.weight, item.log_e) for item in found if not observed_only(gate, item.metric, item.rule)]
    return betting.mean_log(acted) if acted else 0.0


def nearest(found: list[Evidence], gate: Gate) -> tuple[float, float]:
    """Ln of evidence, and the e-value at which it fails the candidate: of the whole mean or of the latencies in it."""
    latencies = [
        item if is_latency_comparison(item.metric, item.rule) else replace(item, log_e=-betting.LARGEST)
        for item in found
    ]
    routes = (total(found, gate), 1 / gate.false_rollback), (total(latencies, gate), 1 / latency_chance(gate))
    return max(routes, key=lambda route: route[0] - np.log(route[1]))


def is_proven_worse(found: list[Evidence], gate: Gate) -> bool:
    """Whether the mean e-value fails the candidate, or what the comparison of latencies brings to it does."""
    log_e, fails_at = nearest(found, gate)
    return bool(log_e >= np.log(fails_at))


def _compared(blocks: Blocks, gate: Gate) -> Iterator[Evidence]:
    yield Evidence("error_rate", "compare", WEIGHTS["error_rate", "compare"], _error_log_e(blocks, gate))
    arms = warm_arms(blocks, gate, latency_chance(gate))
    pair = Pair(shrink(arms.candidate, gate.compare.latency.tolerate, HARMLESS_MS), arms.stable)
    shifted, tail = ranks(pair, RANK_TILTS, WOBBLE), tails(pair, TAIL_TILTS, WOBBLE)
    parts = slower([(pair, QUANTILES[metric]) for metric in ("p50", "p95")], LATENCY_TILTS)
    p50, p95 = _any_start(parts, arms.caps).tolist()
    found = {
        "shift": float(_any_start(shifted, arms.caps)),
        "p50": p50,
        "p95": p95,
        "p99": float(_any_start(tail, arms.caps * (TAIL_CAP / betting.CAP))),
    }
    for metric, log_e in found.items():
        yield Evidence(metric, "compare", WEIGHTS[metric, "compare"], log_e)


def _error_log_e(blocks: Blocks, gate: Gate) -> float:
    n, bad = blocks.n[blocks.paired], blocks.errors[blocks.paired]
    base = float(np.log(gate.compare.error_rate.tolerate))
    contrast = odds(n, bad, ERROR_TILTS, base, ERROR_WOBBLE)
    caps = betting.caps(blocks.length_s[blocks.paired], least_s(gate), gate.false_rollback, ERROR_CAP)
    log_e = float(_any_start(contrast, caps))
    rare = bad[:, CANDIDATE].sum() < ERROR_FLOOR * n[:, CANDIDATE].sum()
    return min(log_e, 0.0) if rare else log_e


def slower(parts: list[tuple[Pair, float]], tilts: Floats) -> Contrast:
    """Contrasts, by part and block, of the answers above the pooled quantile of each part (latencies, level)."""
    n, bad = (np.stack(each) for each in zip(*(exceedances(*part) for part in parts), strict=True))
    slopes = np.array([tail_slope(pair.reached[-1], level) for pair, level in parts])
    return odds(n, bad, tilts, 0.0, (WOBBLE[0] * slopes, WOBBLE[1] * slopes))


def _any_start(contrast: Contrast, caps: Floats) -> Floats:
    return betting.from_any_start(betting.temper(contrast.log_e, contrast.variance, contrast.h2, caps))


def _absolute(blocks: Blocks, slo: Slo, gate: Gate, *, stable: bool) -> Iterator[Evidence]:
    caps = betting.caps(blocks.length_s, least_s(gate), gate.false_rollback)
    if slo.error_rate is not None:
        judged = np.ones(blocks.n.shape[0], np.bool_)
        logs = _target(blocks, (blocks.n, blocks.errors, judged), slo.error_rate, ERROR_TILTS, caps, ERROR_WOBBLE)
        yield _absolute_evidence("error_rate", WEIGHTS["error_rate", "slo"], logs, stable=stable)
    targets = named_targets(slo)
    reached = blocks.reached()
    for column, (metric, _) in enumerate(targets):
        limit = round(1 - QUANTILES[metric], 6)
        slope = tail_slope(reached, QUANTILES[metric])
        wobble = (WOBBLE[0] * slope, WOBBLE[1] * slope)
        counts = (blocks.timed, blocks.late[:, :, column], blocks.warm)
        logs = _target(blocks, counts, limit, LATENCY_TILTS, caps, wobble)
        yield _absolute_evidence(metric, WEIGHTS["latency", "slo"] / len(targets), logs, stable=stable)


def named_targets(slo: Slo) -> list[tuple[str, float]]:
    """Name and limit in ms of the latency targets that the slo gives."""
    given = slo.latency.targets() if slo.latency else ()
    return [(name, limit * 1000) for name, limit in given if limit is not None]


def _target(
    blocks: Blocks,
    counts: tuple[Ints, Ints, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]],
    limit: float,
    tilts: Floats,
    caps: Floats,
    wobble: tuple[float, float],
) -> tuple[float, float, float]:
    """Ln e of: over the limit beside the stable; worse than the stable there; over the limit without stable."""
    n, bad, judged = counts
    beside, alone = judged & blocks.paired, judged & ~blocks.paired
    over = over_limit(n[:, CANDIDATE], bad[:, CANDIDATE], limit, tilts, wobble)
    x = betting.temper(over.log_e, over.variance, over.h2, caps)
    worse = _any_start(odds(n[beside], bad[beside], tilts, 0.0, wobble), caps[beside])
    return float(betting.from_any_start(x[beside])), float(worse), float(betting.from_any_start(x[alone]))


def over_limit(n: Ints, bad: Ints, limit: float, tilts: Floats, wobble: tuple[float, float]) -> Contrast:
    """Contrast of one arm's share of bad answers with ``limit``, without the other arm."""
    observed, size = bad.astype(np.float64), n.astype(np.float64)
    share = float(bad.sum()) / max(int(n.sum()), 1)
    h2 = betting.heterogeneity(observed, size * share, size * share * (1 - share), wobble)
    return Contrast(betting.bernoulli(bad, n, limit, tilts), size * limit * (1 - limit), h2)


def _absolute_evidence(metric: str, weight: float, logs: tuple[float, float, float], *, stable: bool) -> Evidence:
    over, worse, alone = logs
    if not stable:
        return Evidence(metric, "slo", weight, alone, alone)
    log_e = betting.mean_log([(1 - ALONE, min(over, worse)), (ALONE, alone)])
    return Evidence(metric, "slo", weight, log_e, betting.mean_log([(1 - ALONE, over), (ALONE, alone)]))


def breaker(fresh: Blocks, *, stable: bool) -> Evidence:
    """Catastrophe: most answers are errors. Neither capped nor tempered, and judged on whatever has arrived."""
    weight = WEIGHTS["breaker", "slo"]
    n, bad = fresh.n, fresh.errors
    over = betting.bernoulli(bad[:, CANDIDATE], n[:, CANDIDATE], BREAKER_SHARE, BREAKER_TILTS)
    beside = fresh.paired
    worse = odds(n[beside], bad[beside], BREAKER_PAIR_TILTS, 0.0, (0.0, 0.0)).log_e
    logs = [float(betting.from_any_start(part)) for part in (over[beside], worse, over[~beside])]
    return _absolute_evidence("breaker", weight, (logs[0], logs[1], logs[2]), stable=stable)
