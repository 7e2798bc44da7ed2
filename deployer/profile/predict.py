"""What a fitted queue would do at a rate, and the rate at which it just keeps the SLO.

Chance is drawn once and stretched to every rate, so that the violation is a smooth function of the rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deployer.profile.queueing import Floats, Queue, respond
from deployer.profile.targets import Target, shares

_LONGER = 1.03
_FULLEST = 0.98
"""Share of the ceiling beyond which no rate is called sustainable, whatever the SLO allows."""
_STEEP = 20.0
"""Slope given to a limit that is the ceiling itself."""
_PAUSED = 4
"""With pauses so many times as many requests are simulated: what comes after a pause varies much."""
_SETTLE = 0.15
"""Share of each copy thrown away: it starts empty."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Chance for one set of predictions: unit-rate gaps and service times by (copy, request)."""

    gaps: Floats
    sizes: Floats
    seed: int

    @staticmethod
    def of(queue: Queue, copies: int, count: int, seed: int) -> Draw:
        """Exponential gaps of mean 1, and service times from those seen, each of their quantiles once (stratified)."""
        chance = np.random.default_rng([seed, count])
        total = copies * count
        gaps = chance.exponential(1.0, (copies, count))
        ranks = ((chance.permutation(total) + 0.5) / total * queue.sizes_s.size).astype(np.intp)
        return Draw(gaps, np.sort(queue.sizes_s)[ranks].reshape(copies, count), seed)


def violations(queue: Queue, rps: float, targets: tuple[Target, ...], draw: Draw) -> Floats:
    """Share of bad requests over the share allowed at ``rps``, for each target."""
    arrivals = np.cumsum(draw.gaps, axis=1) / rps
    chance = np.random.default_rng([draw.seed, 3])
    seconds = float(arrivals[:, -1].max())
    pauses = queue.stalls.draw(arrivals.shape[0], seconds, chance) if queue.stalls else None
    latency, refused = respond(queue, arrivals, draw.sizes, pauses)
    failed = refused | (chance.random(refused.shape) < queue.errors) if queue.errors else refused
    settled = int(_SETTLE * arrivals.shape[1])
    share = shares(latency[:, settled:], failed[:, settled:], targets)
    used, work = draw.gaps[:, settled:].mean(axis=1), draw.sizes[:, settled:].mean(axis=1)
    # Control variates: what a copy got of load explains most of its violation; their expectations are known.
    known = np.stack([np.ones_like(used), used - 1, work / np.mean(queue.sizes_s) - 1], axis=1)
    fitted: Floats = np.asarray(np.linalg.lstsq(known, share, rcond=None)[0][0], np.float64)
    mean: Floats = share.mean(axis=0)
    return np.where((fitted > 0.5 * mean) & (fitted < 2 * mean), fitted, mean)


@dataclass(frozen=True, slots=True)
class Limit:
    """Where the predicted violation crosses 1."""

    rps: float
    """0: it is above 1 at any rate."""
    binding: int
    """Index of the target that binds there."""
    slope: float
    """d ln(violation) / d ln(rate) there: near 1 or below, the objective is nearly flat."""
    idle: float
    """Violation at next to no load."""
    stiffness: float
    """- d ln(rps) / d ln(service time): by how many percent the limit falls when service takes a percent longer."""


def find_limit(queue: Queue, targets: tuple[Target, ...], seed: int, *, fine: bool = True) -> Limit:
    """The highest rate at which every target is kept, by bisection on rough runs and a last long one.

    Without ``fine`` the last run is a quarter as long: good enough to choose the next probe.
    """
    rough = Draw.of(queue, 128, 600, seed)
    low, high = 0.01 * queue.ceiling_rps, _FULLEST * queue.ceiling_rps
    idle = violations(queue, low, targets, rough)
    if idle.max() > 1.0:
        return Limit(0.0, int(idle.argmax()), 0.0, float(idle.max()), 1.0)
    full = violations(queue, high, targets, Draw.of(queue, *shape_of(queue, high, 200_000), seed))
    if full.max() <= 1.0:
        return Limit(high, int(full.argmax()), _STEEP, float(idle.max()), 1.0)
    while high / low > 1.06:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if violations(queue, middle, targets, rough).max() < 1 else (low, middle)
    rate = float(np.sqrt(low * high))
    requests = max(600_000, int(2000 / min(target.allowed for target in targets))) // (1 if fine else 4)
    requests *= _PAUSED if queue.stalls else 1
    return _crossing(queue, rate, targets, Draw.of(queue, *shape_of(queue, rate, requests), seed), float(idle.max()))


def _crossing(queue: Queue, rate: float, targets: tuple[Target, ...], draw: Draw, idle: float) -> Limit:
    """Bracket the crossing in small steps from ``rate``, then draw a line through ln(violation)."""
    points: list[tuple[float, float, int]] = []
    below, above = points, points
    step = 1.03
    for _ in range(6):
        found = violations(queue, rate, targets, draw)
        points.append((rate, float(np.log(max(found.max(), 1e-6))), int(found.argmax())))
        points.sort()
        below = [point for point in points if point[1] < 0] or points[:1]
        above = [point for point in points if point[1] >= 0] or points[-1:]
        if above[0][1] >= 0 > below[-1][1] and above[0][0] / below[-1][0] < 1.08:
            break
        rate = below[-1][0] * step if above[0][1] < 0 else above[0][0] / step
        step *= 1.03
    (left, at_left, _), (right, at_right, binding) = below[-1], above[0]
    slope = max((at_right - at_left) / max(float(np.log(right / left)), 1e-9), 0.1)
    rps = float(np.clip(left * np.exp(-at_left / slope), left / 1.1, right * 1.1))
    longer = replace(queue, sizes_s=queue.sizes_s * _LONGER)
    worse = violations(longer, right, targets, replace(draw, sizes=draw.sizes * _LONGER))[binding]
    stiffness = float((np.log(max(worse, 1e-6)) - at_right) / np.log(_LONGER) / slope)
    return Limit(rps, binding, slope, idle, min(max(stiffness, 1.0), 5.0))


def shape_of(queue: Queue, rps: float, requests: int) -> tuple[int, int]:
    """Copies and requests of each, at least ten relaxation times of the queue long, ``requests`` in all."""
    busy = min(rps / queue.ceiling_rps, 0.985)
    variation = 1 + float(np.var(queue.sizes_s) / np.mean(queue.sizes_s) ** 2)
    relaxation = 0.5 * variation / (1 - np.sqrt(busy)) ** 2
    count = int(np.clip(10 * relaxation, 600, 6000))
    if queue.stalls:
        count = max(count, int(np.clip(6 * queue.stalls.interval_s * rps, 600, 8000)))
    return max(64, requests // count), count
