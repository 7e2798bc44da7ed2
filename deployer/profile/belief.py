"""Everything the probes so far say about one configuration: a queue, where it meets the SLO, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deployer.profile.fit import DISTRUST, TRUST, Reply, Warp, compare, warp_of
from deployer.profile.identify import believe
from deployer.profile.predict import Draw, Limit, find_limit, violations
from deployer.profile.queueing import Queue
from deployer.profile.service import Trace
from deployer.profile.targets import Target

_CHANCE, _CHANCE_PAUSED = 0.003, 0.006
"""Relative standard error of a predicted limit, without and with pauses: ``find_limit`` on other seeds."""
_NEAR = 0.15
"""A model that does not fit is only asked about rates so near (in ln)."""
LEAST_MARGIN, MOST_MARGIN = 0.008, 0.05
"""The promise lies so far below the estimate at least and at most."""
_TOLERATED = 0.02
"""Promising so much more than the truth is tolerable; beyond it is what the margin guards against."""
_SIGMAS = 2.3
_PERIODIC = 0.03
"""Pauses by the clock differ so much less than pauses at random."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed after some probes."""

    queue: Queue
    limit: Limit
    warp: Warp
    spread: float
    """Relative standard error from the service times alone: more of them make it smaller."""
    pauses: float = 0.0
    """The same from having seen few pauses."""

    @property
    def rps(self) -> float:
        """Estimated capacity; 0 when the queue breaks the SLO even unloaded."""
        return self.limit.rps * math.exp(-self.warp.mean)

    @property
    def sd(self) -> float:
        """Relative standard error of ``rps``."""
        return math.hypot(self.warp.sd, self.spread, self.pauses, _CHANCE_PAUSED if self.queue.stalls else _CHANCE)

    @property
    def safe_rps(self) -> float:
        """What to promise: so far below the estimate that it is hardly ever 2 % above the truth."""
        return self.rps * math.exp(-min(max(_SIGMAS * self.sd - _TOLERATED, LEAST_MARGIN), MOST_MARGIN))


def conclude(
    traces: Sequence[Trace], targets: tuple[Target, ...], limit: int | None, seed: int, *, trusted: bool, fine: bool
) -> Belief:
    """Believe in a queue, find its limit (``fine``: for an answer), and stretch it to agree with the open probes."""
    queue = believe(traces, limit)
    found = find_limit(queue, targets, seed, fine=fine)
    spread = float(np.std(queue.sizes_s) / np.mean(queue.sizes_s)) / math.sqrt(queue.sizes_s.size) * found.stiffness
    if found.rps <= 0:
        return Belief(queue, found, Warp(0.0, DISTRUST, misfit=False), spread)
    opens = [trace for trace in traces if trace.probe.kind == "open"]
    target = targets[found.binding]
    replies = [compare(queue, trace, target, seed + i) for i, trace in enumerate(opens)]
    warp = warp_of(replies, trust=TRUST if trusted else DISTRUST)
    if warp.misfit or not trusted:
        warp = _nearby(replies, [math.log(trace.probe.rps / found.rps) for trace in opens], warp)
    return Belief(queue, found, warp, spread, _stall_spread(queue, found, targets, seed))


def _stall_spread(queue: Queue, limit: Limit, targets: tuple[Target, ...], seed: int) -> float:
    """Relative standard error of the limit from having seen few pauses."""
    if queue.stalls is None:
        return 0.0
    calm = replace(queue, stalls=None)
    without = float(violations(calm, limit.rps, targets, Draw.of(calm, 64, 1000, seed))[limit.binding])
    chance = (_PERIODIC if queue.stalls.is_periodic else 1.0) / math.sqrt(queue.stalls.lengths_s.size)
    return max(0.0, 1 - without) * chance / max(limit.slope, 0.5)


def _nearby(replies: Sequence[Reply], rates: Sequence[float], warp: Warp) -> Warp:
    """The warp by the probes near the estimate alone, if there are any."""
    near = [reply for reply, rate in zip(replies, rates, strict=True) if abs(rate + warp.mean) < _NEAR]
    return replace(warp_of(near, trust=DISTRUST), misfit=True) if near else warp
