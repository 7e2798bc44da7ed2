"""From the log e-values of blocks to one e-value of the rollout so far: tempering, cap, mixtures.

An e-value has mean at most 1 while its null holds, so by Ville's inequality it exceeds 1 / alpha at any of
however many looks with a chance of at most alpha. Nothing is spent per look or per step.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deployer.gate.permutation import Floats, log_sum_exp

Bounds = tuple[float | Floats, float | Floats]
"""Harmless sd between blocks: least, and most."""
LARGEST = 600.0
"""Logs of e-values are clipped here: exp stays finite."""
CAP = 0.75
"""Part of the evidence needed that one shortest block may bring: one stall of one replica must not decide."""
FIRST = 0.7
"""Prior chance that a fault is there from the first block on."""
RESTART_SPAN = (10.0, 2000.0)
"""A fault that starts in block b is given prior mass of about 1 / (10 + b), up to so many blocks."""


_TINY = 1e-300


def caps(length_s: Floats, least_s: float, chance: float, part: float = CAP) -> Floats:
    """Most nats of each block, for a decision with this chance of error; longer blocks may bring more, by the root."""
    return part * np.log(1 / chance) * np.sqrt(np.maximum(length_s, least_s) / least_s)


def temper(log_e: Floats, variance: Floats, h2: Floats, cap: Floats) -> Floats:
    """Evidence of each block, shape (..., blocks, alternatives), after harmless differences of blocks are allowed for.

    Dividing by 1 + h2 * V keeps an e-value under the sharp null (Jensen) and is exactly calibrated when the log odds of
    equal deployments vary from block to block as N(0, h2).
    """
    return np.minimum(log_e / (1 + h2[..., None] * variance)[..., None], cap[:, None])


def from_any_start(x: Floats) -> Floats:
    """Log of the mixture over alternatives, and over the block in which the fault began (most mass on the first).

    R <- (R + prior(b)) * exp(x_b); E = mean over alternatives of R + the prior of blocks to come.

    Args:
        x: shape (..., blocks, alternatives).
    """
    if not x.shape[-2]:
        return np.zeros(x.shape[:-2])
    prior, later = _log_starts(x.shape[-2])
    begun = np.full((*x.shape[:-2], x.shape[-2] * x.shape[-1] + 1), later + np.log(x.shape[-1]))
    rest = np.cumsum(x[..., ::-1, :], axis=-2)[..., ::-1, :] + prior[:, None]
    begun[..., :-1] = rest.reshape(*x.shape[:-2], -1)
    return np.clip(log_sum_exp(begun, axis=-1) - np.log(x.shape[-1]), -LARGEST, LARGEST)


@lru_cache(maxsize=1024)
def _log_starts(blocks: int) -> tuple[Floats, float]:
    """Logs of the prior mass of a fault that starts in each block so far, and in any later one."""
    offset, most = RESTART_SPAN
    at = np.arange(blocks, dtype=np.float64)
    prior = np.where(at < most, (1 - FIRST) * np.log1p(1 / (offset + at)) / np.log1p(most / offset), 0.0)
    prior[:1] += FIRST
    with np.errstate(divide="ignore"):
        return np.log(prior), float(np.log(max(1 - prior.sum(), 0.0)))


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


def heterogeneity(observed: Floats, expected: Floats, variance: Floats, bounds: Bounds) -> Floats:
    """Harmless variance h2 of the effect between blocks, around the fitted effect, within ``bounds``.

    DerSimonian-Laird (Control. Clin. Trials 7, 1986), less 1.5 standard deviations of its own noise, times
    (1 + r) / (1 - r) for the autocorrelation r of neighbouring blocks.

    Args:
        observed: statistic of each block, shape (..., blocks).
        expected: its mean at the fitted effect.
        variance: its variance, which is also its slope in the effect.
        bounds: of the effect's standard deviation.
    """
    least, most = np.square(bounds[0]), np.square(bounds[1])
    used = variance > 0
    v = np.where(used, variance, 1.0)
    residual = np.where(used, (observed - expected) / np.sqrt(v), 0.0)
    blocks, squares = used.sum(axis=-1), np.square(residual).sum(axis=-1)
    spare = squares - (blocks - 1) - 1.5 * np.sqrt(2.0 * np.maximum(blocks - 1, 0))
    total = variance.sum(axis=-1)
    scale = total - np.square(variance).sum(axis=-1) / np.maximum(total, _TINY)
    follow = (residual[..., 1:] * residual[..., :-1]).sum(axis=-1) / np.maximum(squares, _TINY) * blocks / (blocks + 10)
    rho = np.clip(follow, 0.0, 0.6)
    found = spare / np.maximum(scale, _TINY) * (1 + rho) / (1 - rho)
    return np.where((blocks > 1) & (spare > 0) & (scale > 0), np.clip(found, least, most), least)
