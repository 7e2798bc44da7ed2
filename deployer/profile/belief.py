"""Everything the probes so far say about one configuration: a queue, where it meets the SLO, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deployer.profile.fit import DISTRUST, TRUST, Reply, Warp, compare, warp_of
from deployer.profile.identify import believe
from deployer.profile.predict import Limit, find_limit
from deployer.profile.queueing import Queue
from deployer.profile.service import Trace
from deployer.profile.targets import Target

_CHANCE = 0.004
"""Relative standard error of a predicted limit: ``find_limit`` on other seeds (tests/unit/profile)."""
_NEAR = 0.15
"""A model that does not fit is only asked about rates so near (in ln)."""
LEAST_MARGIN, MOST_MARGIN = 0.008, 0.03
"""The promise lies so far below the estimate at least and at most."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed after some probes."""

    queue: Queue
    limit: Limit
    warp: Warp
    spread: float
    """Relative standard error from the service times alone: more of them make it smaller."""

    @property
    def rps(self) -> float:
        """Estimated capacity; 0 when the queue breaks the SLO even unloaded."""
        return self.limit.rps * math.exp(-self.warp.mean)

    @property
    def sd(self) -> float:
        """Relative standard error of ``rps``."""
        return math.hypot(self.warp.sd, self.spread, _CHANCE)

    @property
    def safe_rps(self) -> float:
        """What to promise: about one standard error below the estimate."""
        return self.rps * math.exp(-min(max(self.sd, LEAST_MARGIN), MOST_MARGIN))


def conclude(
    traces: Sequence[Trace], targets: tuple[Target, ...], limit: int | None, seed: int, *, trusted: bool
) -> Belief:
    """Believe in a queue, find its limit, and stretch it until it agrees with the open probes."""
    queue = believe(traces, limit)
    found = find_limit(queue, targets, seed)
    spread = float(np.std(queue.sizes_s) / np.mean(queue.sizes_s)) / math.sqrt(queue.sizes_s.size) * found.stiffness
    if found.rps <= 0:
        return Belief(queue, found, Warp(0.0, DISTRUST, misfit=False), spread)
    opens = [trace for trace in traces if trace.probe.kind == "open"]
    target = targets[found.binding]
    replies = [compare(queue, trace, target, seed + i) for i, trace in enumerate(opens)]
    warp = warp_of(replies, trust=TRUST if trusted else DISTRUST)
    if warp.misfit or not trusted:
        warp = _nearby(replies, [math.log(trace.probe.rps / found.rps) for trace in opens], warp)
    return Belief(queue, found, warp, spread)


def _nearby(replies: Sequence[Reply], rates: Sequence[float], warp: Warp) -> Warp:
    """The warp by the probes near the estimate alone, if there are any."""
    near = [reply for reply, rate in zip(replies, rates, strict=True) if abs(rate + warp.mean) < _NEAR]
    return replace(warp_of(near, trust=DISTRUST), misfit=True) if near else warp
