"""Synthetic rollouts: one row a request, with everything that makes gates err."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

GOOD = (
    "identical",
    "bursts",
    "incident",
    "cold_start",
    "slower_1",
    "slower_3",
    "faster_20",
    "replicas",
    "replica_errors",
    "lag_by_arm",
    "stall",
)
BAD = (
    "errors_100",
    "hang",
    "errors_0.5",
    "errors_1",
    "errors_2",
    "errors_5",
    "slower_20",
    "slower_50",
    "slower_100",
    "tail_x_3",
    "late_errors_20",
    "late_slow_2",
    "leak",
    "half_slow",
    "errors_bursty",
)
NEITHER = ("slower_10",)


@dataclass(frozen=True)
class Stream:
    at_s: np.ndarray
    seen_s: np.ndarray
    arm: np.ndarray  # 0 candidate, 1 stable
    ms: np.ndarray
    status: np.ndarray
    llr: np.ndarray  # ln likelihood ratio of what the candidate is against a good one, by request


def base_ms(z):
    """p50/p95/p99 = 84/253/620 ms at standard normal z."""
    ln84, ln253, ln620 = np.log([84.0, 253.0, 620.0])
    up = ln84 + z * (ln253 - ln84) / 1.644854
    far = ln253 + (z - 1.644854) * (ln620 - ln253) / (2.326348 - 1.644854)
    low = ln84 + 0.45 * z
    return np.exp(np.where(z < 0, low, np.where(z < 1.644854, up, far)))


def wander(rng, duration_s, sd, step_s=30.0, rho=0.7):
    n = int(duration_s / step_s) + 2
    noise = rng.normal(0, sd * np.sqrt(1 - rho**2), n)
    out = np.empty(n)
    out[0] = rng.normal(0, sd)
    for i in range(1, n):
        out[i] = rho * out[i - 1] + noise[i]
    return lambda t: np.exp(out[(t / step_s).astype(int)])


def make(name, rps, seed, *, weight=0.1, duration_s=1800.0, lag=(30.0, 180.0)):
    """One rollout. Chance comes from the seed alone."""
    rng = np.random.default_rng([seed, round(rps * 10), zlib.crc32(name.encode())])
    second = np.arange(int(duration_s))
    rate = np.where(second % 300 < 60, rps * 4, rps * 0.7) if name == "bursts" else np.full(second.size, rps)
    counts = rng.poisson(rate)
    t = np.sort(np.repeat(second, counts) + rng.uniform(0, 1, counts.sum()))
    arm = (rng.random(t.size) >= weight).astype(int)
    shared = wander(rng, duration_s, 0.08)(t)
    factor, p_error, p_null = _candidate(name, t, arm == 0, rng, duration_s)
    z = rng.normal(size=t.size)
    ms = base_ms(z) * shared * factor
    bad = rng.random(t.size) < p_error
    llr = np.where(bad, np.log(p_error / p_null), np.log((1 - p_error) / (1 - p_null)) + _latency_llr(name, z, factor))
    ms = np.where(bad, rng.uniform(3, 30, t.size), ms)
    status = np.where(bad, 500, 200)
    if name == "hang":
        ms, status = np.where(arm == 0, 30_000.0, ms), np.where(arm == 0, 504, status)
        llr = np.full(t.size, np.log(1 / 0.001))
    late = rng.uniform(*lag, t.size)
    if name == "lag_by_arm":
        late = np.where(arm == 0, late * 1.5 + np.where(ms > 150, 60.0, 0.0), late)
    return Stream(t, t + late, arm, ms, status, np.where(arm == 0, llr, 0.0))


def _candidate(name, t, mine, rng, duration_s):
    """Latency factor, share of errors, and that of a good candidate, by request."""
    one, base = np.ones(t.size), np.full(t.size, 0.001)
    amount = float(name.rpartition("_")[2]) if name.rpartition("_")[2].replace(".", "").isdigit() else 0.0
    burst, incident = t % 300 < 60, (t > 700) & (t < 900)
    if name == "bursts":
        busy = np.where(burst, 0.004, base)
        return np.where(burst, 1.4, 1.0), busy, busy
    if name == "incident":
        broken = np.where(incident, 0.2, base)
        return np.where(incident, 2.0, 1.0), broken, broken
    if name == "replicas":
        speeds = [wander(rng, duration_s, sd, 60.0, 0.5)(t) for sd in (0.04, 0.02)]
        return np.where(mine, *speeds), base, base
    if name == "replica_errors":
        rates = [0.002 * wander(rng, duration_s, sd, 120.0, 0.5)(t) for sd in (0.4, 0.2)]
        return one, np.where(mine, *rates), base
    factors = {
        "cold_start": lambda: 1 + 6 * np.exp(-t / 20) * (t < 55),
        "slower": lambda: one + amount / 100,
        "faster": lambda: one - amount / 100,
        "late_slow": lambda: np.where(t > 900, amount, 1.0),
        "leak": lambda: 1 + 2 * t / 1800,
        "half_slow": lambda: _some(rng, t.size, *MIXED["half_slow"]),
        "tail_x": lambda: _some(rng, t.size, *MIXED["tail_x_3"]),
        "stall": lambda: np.where(((t > 500) & (t < 508)) | ((t > 1300) & (t < 1308)), 12.0, 1.0),
    }
    rates = {
        "errors": lambda: np.full(t.size, min(amount / 100, 0.999)),
        "late_errors": lambda: np.where(t > 900, amount / 100, 0.001),
        "errors_bursty": lambda: np.where(t % 120 < 24, 0.15, 0.001),
    }
    kind = name if name in factors or name in rates else name.rpartition("_")[0]
    factor = np.where(mine, factors[kind](), 1.0) if kind in factors else one
    return factor, np.where(mine, rates[kind](), base) if kind in rates else base, base


def _some(rng, n, share, slower):
    return np.where(rng.random(n) < share, slower, 1.0)


MIXED = {"half_slow": (0.5, 1.8), "tail_x_3": (0.02, 9.0)}
"""Share of the candidate's requests that are slower, and by how much: which ones, not even the oracle knows."""


def _latency_llr(name, z, factor):
    """ln density ratio of the latency against the same request of a good candidate."""
    x = np.log(base_ms(z) * factor)
    grid = np.linspace(-6, 8, 4000)
    logs = np.log(base_ms(grid))
    slopes = np.gradient(logs, grid)
    there = np.interp(x, logs, grid)

    def log_density(at):
        return -0.5 * at**2 - np.log(np.interp(at, grid, slopes))

    if name in MIXED:
        share, slower = MIXED[name]
        ratio = np.exp(log_density(np.interp(x - np.log(slower), logs, grid)) - log_density(there))
        return np.log(1 - share + share * ratio)
    return log_density(z) - log_density(there)
