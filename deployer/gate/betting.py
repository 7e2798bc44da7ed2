"""From the log e-values of blocks to one e-value of the rollout so far: tempering, cap, mixtures.

An e-value has mean at most 1 while its null holds, so by Ville's inequality it exceeds 1 / alpha at any of
however many looks with a chance of at most alpha. Nothing is spent per look or per step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deployer.gate.permutation import Floats, log_sum_exp

LARGEST = 600.0
"""Logs of e-values are clipped here: exp stays finite."""
CAP = 2 / 3
"""Part of the evidence needed that one shortest block may bring: one stall of one replica must not decide."""
RESTART_SPAN = (10.0, 2000.0)
"""A fault that starts in block b is given prior mass of about 1 / (10 + b), up to so many blocks."""


def caps(length_s: Floats, least_s: float, chance: float) -> Floats:
    """Most nats of each block, for a decision with this chance of error; longer blocks may bring more, by the root."""
    return CAP * np.log(1 / chance) * np.sqrt(np.maximum(length_s, least_s) / least_s)


def temper(log_e: Floats, variance: Floats, h2: float, cap: Floats) -> Floats:
    """Evidence of each block, shape (blocks, alternatives), after harmless differences between blocks are allowed for.

    Dividing by 1 + h2 * V keeps an e-value under the sharp null (Jensen) and is exactly calibrated when the log odds of
    equal deployments vary from block to block as N(0, h2).
    """
    return np.minimum(log_e / (1 + h2 * variance)[:, None], cap[:, None])


def from_any_start(x: Floats) -> float:
    """Log of the mixture over alternatives, and over the block in which the fault began (half the mass on the first).

    R <- (R + prior(b)) * exp(x_b); E = mean over alternatives of R + the prior of blocks to come.
    """
    blocks, alternatives = x.shape
    offset, most = RESTART_SPAN
    at = np.arange(blocks, dtype=np.float64)
    prior = np.where(at < most, 0.5 * np.log1p(1 / (offset + at)) / np.log1p(most / offset), 0.0)
    if blocks:
        prior[0] += 0.5
    later = max(1 - prior.sum(), 0.0)
    rest = np.cumsum(x[::-1], axis=0)[::-1]
    with np.errstate(divide="ignore"):
        begun = np.concatenate([rest + np.log(prior)[:, None], np.full((1, alternatives), np.log(later))])
    return clip(float(log_sum_exp(log_sum_exp(begun, axis=0), axis=0)) - np.log(alternatives))


def from_first(x: Floats) -> float:
    """Log of the mixture over alternatives of the product over all blocks: what a proof of safety may use."""
    total = x.sum(axis=0)
    return clip(float(log_sum_exp(total, axis=0)) - np.log(total.size))


def clip(log_e: float) -> float:
    """``log_e`` within what exp can take."""
    return float(min(max(log_e, -LARGEST), LARGEST))


def mean_log(parts: list[tuple[float, float]]) -> float:
    """Log of the weighted mean of e-values given as (weight, log e): valid under any dependence between them."""
    weights = np.array([weight for weight, _ in parts])
    logs = np.array([log_e for _, log_e in parts])
    return clip(float(log_sum_exp(np.log(weights / weights.sum()) + logs, axis=0)))


def bernoulli(bad: NDArray[np.int64], n: NDArray[np.int64], limit: float, log_odds: Floats) -> Floats:
    """Log likelihood ratios by (block, alternative) of a share of bad answers against ``limit`` in (0, 1).

    Alternatives are the limit's odds times exp(log_odds); positive ones bet on worse, and are e-values for
    every share <= limit, negative ones on better, for every share >= limit.
    """
    odds = limit / (1 - limit) * np.exp(log_odds)
    share = odds / (1 + odds)
    worse, better = np.log(share / limit), np.log((1 - share) / (1 - limit))
    return bad.astype(np.float64)[:, None] * worse + (n - bad).astype(np.float64)[:, None] * better


def heterogeneity(observed: Floats, expected: Floats, variance: Floats, bounds: tuple[float, float]) -> float:
    """Harmless variance h2 of the effect between blocks, around the fitted effect, within ``bounds`` (as sd).

    DerSimonian-Laird (Control. Clin. Trials 7, 1986), less 1.5 standard deviations of its own noise, times
    (1 + r) / (1 - r) for the autocorrelation r of neighbouring blocks.

    Args:
        observed: statistic of each block.
        expected: its mean at the fitted effect.
        variance: its variance, which is also its slope in the effect.
        bounds: least and most standard deviation of the effect.
    """
    least, most = bounds
    used = variance > 0
    blocks = int(used.sum())
    if blocks < 2:
        return least**2
    v = variance[used]
    residual = (observed - expected)[used] / np.sqrt(v)
    spare = float(residual @ residual) - (blocks - 1) - 1.5 * np.sqrt(2.0 * (blocks - 1))
    scale = float(v.sum() - (v @ v) / v.sum())
    if spare <= 0 or scale <= 0:
        return least**2
    follow = float(residual[1:] @ residual[:-1]) / float(residual @ residual) * blocks / (blocks + 10)
    rho = min(max(follow, 0.0), 0.6)
    return float(min(max(spare / scale * (1 + rho) / (1 - rho), least**2), most**2))
