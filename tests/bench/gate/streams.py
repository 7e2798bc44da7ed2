"""Synthetic rollouts: one row a request, with everything that makes gates err."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GOOD = ("identical", "bursts", "incident", "cold_start", "slower_1", "slower_3", "faster_20", "replicas", "replica_errors", "lag_by_arm", "stall")
BAD = (
    "errors_100", "hang", "errors_0.5", "errors_1", "errors_2", "errors_5", "slower_20", "slower_50", "slower_100",
    "tail_x3", "late_errors_20", "late_slow_2", "leak", "half_slow", "errors_bursty",
)
NEITHER = ("slower_10",)


@dataclass(frozen=True)
class Stream:
    at_s: np.ndarray
    seen_s: np.ndarray
    arm: np.ndarray  # 0 candidate, 1 stable
    ms: np.ndarray
    status: np.ndarray


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
    rng = np.random.default_rng([seed, rps_code(rps), sum(name.encode()) * 7919 % 100003])
    rate = np.full(int(duration_s), rps)
    second = np.arange(int(duration_s))
    if name == "bursts":
        rate = np.where(second % 300 < 60, rps * 4, rps * 0.7)
    counts = rng.poisson(rate)
    t = np.sort(np.repeat(second, counts) + rng.uniform(0, 1, counts.sum()))
    n = t.size
    arm = (rng.random(n) >= weight).astype(int)
    mine = arm == 0
    ms = base_ms(rng.normal(size=n)) * wander(rng, duration_s, 0.08)(t)
    p_error = np.full(n, 0.001)
    factor = np.ones(n)
    if name == "bursts":
        factor *= np.where(t % 300 < 60, 1.4, 1.0)
        p_error = np.where(t % 300 < 60, 0.004, p_error)
    elif name == "incident":
        hit = (t > 700) & (t < 900)
        factor *= np.where(hit, 2.0, 1.0)
        p_error = np.where(hit, 0.2, p_error)
    elif name == "cold_start":
        factor *= np.where(mine & (t < 55), 1 + 6 * np.exp(-t / 20), 1.0)
    elif name.startswith("slower_"):
        factor *= np.where(mine, 1 + float(name[7:]) / 100, 1.0)
    elif name == "faster_20":
        factor *= np.where(mine, 0.8, 1.0)
    elif name == "replicas":
        for k in (0, 1):
            factor *= np.where(arm == k, wander(rng, duration_s, 0.04 if k == 0 else 0.02, 60.0, 0.5)(t), 1.0)
    elif name == "replica_errors":
        p_error = 0.002 * np.where(mine, wander(rng, duration_s, 0.4, 120.0, 0.5)(t), wander(rng, duration_s, 0.2, 120.0, 0.5)(t))
    elif name == "stall":  # the lone candidate replica hangs for 8 s, twice
        for start in (500, 1300):
            factor *= np.where(mine & (t > start) & (t < start + 8), 12.0, 1.0)
    elif name == "tail_x3":
        factor *= np.where(mine & (rng.random(n) < 0.02), 3 * 253 / 84, 1.0)
    elif name.startswith("errors_") and name != "errors_bursty":
        p_error = np.where(mine, float(name[7:]) / 100, p_error)
    elif name == "errors_bursty":
        p_error = np.where(mine & (t % 120 < 24), 0.15, p_error)
    elif name == "late_errors_20":
        p_error = np.where(mine & (t > 900), 0.2, p_error)
    elif name == "late_slow_2":
        factor *= np.where(mine & (t > 900), 2.0, 1.0)
    elif name == "leak":
        factor *= np.where(mine, 1 + 2 * t / 1800, 1.0)
    elif name == "half_slow":
        factor *= np.where(mine & (rng.random(n) < 0.5), 1.8, 1.0)
    ms = ms * factor
    bad = rng.random(n) < p_error
    ms = np.where(bad, rng.uniform(3, 30, n), ms)
    status = np.where(bad, 500, 200)
    if name == "hang":
        ms, status = np.where(mine, 30_000.0, ms), np.where(mine, 504, status)
    late = rng.uniform(*lag, n)
    if name == "lag_by_arm":
        late = np.where(mine, late * 1.5 + np.where(ms > 150, 60.0, 0.0), late)
    return Stream(t, t + late, arm, ms, status)


def rps_code(rps):
    return int(rps * 10)
