"""The fitted queue judged by the probes, and stretched until it agrees with them.

Each probe is replayed: its own arrivals and pauses, service times drawn anew. What chance did to the arrivals is then
in both the prediction and the observation, and only the server is compared. One number, the warp, says how much faster
than sent the fitted queue would have to be fed to do as badly as the server did; its prior says how far the model is
trusted, and leaves a little room for its being wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployer.gate.estimates import Z95
from deployer.profile.predict import Limit
from deployer.profile.queueing import Flags, Floats, Queue, respond
from deployer.profile.service import Trace
from deployer.profile.targets import Target

TRUST = 0.006
"""Prior sd of ln(warp) while the model agrees with what was seen."""
DISTRUST = 0.15
"""The same once it does not."""
DOUBT = 0.01
"""Prior chance of ``DISTRUST`` before anything has shown that the model is wrong."""
_DOUBTED = math.log(100)
"""Ln of how many times better probes must be explained by ``DISTRUST`` for the model not to be trusted any more."""
_COARSE = np.array([-0.25, -0.12, -0.06, -0.03, 0.0, 0.03, 0.06, 0.12, 0.25])
_REPLAYED = 80_000
"""Requests replayed at each warp, about."""
_FINE = np.linspace(-0.25, 0.25, 1001)


@dataclass(frozen=True, slots=True)
class Reply:
    """One probe against its replays: counts of bad requests."""

    seen: int
    mean: Floats
    spread: Floats
    """Mean and sd over the replays, at each warp of ``_COARSE``."""

    def surprise(self, warp: float) -> float:
        """Standard deviations by which the server did worse than the queue fed ``exp(warp)`` times as fast.

        On a square-root scale, where they hardly depend on the count.
        """
        mean, spread = (float(np.interp(warp, _COARSE, values)) for values in (self.mean, self.spread))
        root = 2 * math.sqrt(mean + 0.375)
        return (2 * math.sqrt(self.seen + 0.375) - root) / (2 * spread / root)

    def likelihood(self) -> Floats:
        """Ln of it at each warp of ``_FINE``: negative binomial, because bad requests come in bursts."""
        mean, spread = np.interp(_FINE, _COARSE, self.mean), np.interp(_FINE, _COARSE, self.spread)
        size = mean**2 / np.maximum(spread**2 - mean, 0.1 * mean)
        chosen = self.seen * np.log(mean / (size + mean)) + size * np.log(size / (size + mean))
        return _ln_gamma(self.seen + size) - _ln_gamma(size) + chosen


def _ln_gamma(values: Floats) -> Floats:
    return np.array([math.lgamma(value) for value in values.tolist()])


@dataclass(frozen=True, slots=True)
class Warp:
    """Posterior of ln(warp)."""

    mean: float
    sd: float
    misfit: bool


def bad_of(latency: Floats, failed: Flags, target: Target) -> Flags:
    """Which requests count against ``target``."""
    return failed | (latency > target.limit_s)


def replay(queue: Queue, trace: Trace, warps: Floats, copies: int, chance: np.random.Generator) -> tuple[Floats, Flags]:
    """Latencies and failures of ``queue`` under the arrivals and pauses of ``trace``, sped up by ``exp(warp)``.

    Returns:
        Arrays by (warp, copy, request); the copies of every warp share their service times.
    """
    n = trace.arrival.size
    total = copies * n
    ranks = ((chance.permutation(total) + chance.random()) / total * queue.sizes_s.size).astype(np.intp)
    sizes = np.tile(np.sort(queue.sizes_s)[ranks].reshape(copies, n), (warps.size, 1))
    slower = np.repeat(np.exp(-warps), copies)[:, None]
    starts, lengths = trace.pauses
    pauses = (slower * starts, np.tile(lengths, (slower.size, 1))) if starts.size else None
    latency, refused = respond(queue, slower * trace.arrival, sizes, pauses)
    failed = refused | (chance.random(refused.shape) < queue.errors) if queue.errors else refused
    shape = (warps.size, copies, n)
    return latency.reshape(shape), failed.reshape(shape)


def compare(queue: Queue, trace: Trace, target: Target, seed: int) -> Reply:
    """Replay one probe over the range of warps."""
    copies = min(max(_REPLAYED // max(trace.arrival.size, 1), 10), 32)
    seen = int(np.count_nonzero(bad_of(trace.latency, trace.failed, target)))
    latency, failed = replay(queue, trace, _COARSE, copies, np.random.default_rng([seed, trace.arrival.size]))
    counts = bad_of(latency, failed, target).sum(axis=2).astype(np.float64)
    mean = counts.mean(axis=1) + 0.1  # so few copies may all have none
    # What replays cannot know: lags of the generator, a size that is off by a little.
    variance = np.maximum(1.15 * counts.var(axis=1, ddof=1), mean) + (0.04 * mean) ** 2
    return Reply(seen, mean, np.sqrt(variance))


def warp_of(replies: Sequence[Reply], *, trust: float = TRUST) -> Warp:
    """Combine the probes; the model is untrusted once they are explained far better by a warp that it rules out."""
    together = np.sum([reply.likelihood() for reply in replies], axis=0) if replies else np.zeros_like(_FINE)
    misfit = _evidence(together, DISTRUST) - _evidence(together, trust) > _DOUBTED
    return _posterior(together, DISTRUST if misfit else trust, replies, misfit=misfit)


def _evidence(together: Floats, trust: float) -> float:
    """Ln of the likelihood of all probes over a prior of sd ``trust``."""
    return math.log(float(np.exp(together - together.max()) @ _prior(trust)) + 1e-300)


def _prior(trust: float) -> Floats:
    density = np.exp(-0.5 * (_FINE / trust) ** 2)
    return density / density.sum()


def _posterior(together: Floats, trust: float, replies: Sequence[Reply], *, misfit: bool) -> Warp:
    weight = np.exp(together - together.max()) * ((1 - DOUBT) * _prior(trust) + DOUBT * _prior(DISTRUST))
    weight /= weight.sum()
    mean = float(weight @ _FINE)
    low, high = np.interp((0.025, 0.975), np.cumsum(weight), _FINE)  # what is hardly believed and far off adds nothing
    sd = float(high - low) / (2 * Z95)
    if len(replies) > 1:  # probes that contradict each other make the error larger
        surprise = sum(reply.surprise(mean) ** 2 for reply in replies) / (len(replies) - 1)
        sd *= float(np.sqrt(max(1.0, surprise)))
    return Warp(mean, sd, misfit=misfit)


def excess(queue: Queue, limit: Limit, trace: Trace, target: Target, seed: int) -> float:
    """Standard deviations by which a probe did worse than a server whose capacity is exactly the probe's rate."""
    warp = float(np.clip(np.log(limit.rps / trace.probe.rps), -0.25, 0.25))
    return compare(queue, trace, target, seed).surprise(warp)
