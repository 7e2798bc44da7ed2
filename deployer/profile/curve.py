"""Violation against rate, as predicted by the fitted queue and as measured by each open probe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deployer.profile.belief import Belief
from deployer.profile.fit import bad_of
from deployer.profile.predict import Draw, violations
from deployer.profile.service import Trace
from deployer.profile.targets import Target
from deployer.profile.trials import Point

_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1)
_BATCHES = 10
_T95 = 1.833
"""Student's t of 9 degrees of freedom, two-sided 90 %."""


def curve_of(belief: Belief, traces: Sequence[Trace], targets: tuple[Target, ...], seed: int) -> tuple[Point, ...]:
    """Points of the binding target by rate: predicted over half to one and a tenth of the capacity, and measured."""
    target = targets[belief.limit.binding]
    measured = [_measured(trace, target) for trace in traces if trace.probe.kind == "open" and trace.arrival.size]
    draw = Draw.of(belief.queue, 100, 1000, seed)
    width = 1.645 * belief.sd * max(belief.limit.slope, 1.0)
    predicted: list[Point] = []
    for share in _SHARES:
        rate = share * belief.rps
        seen = float(violations(belief.queue, rate * math.exp(belief.warp.mean), targets, draw)[belief.limit.binding])
        predicted.append(Point(rate, seen, seen * math.exp(-width), seen * math.exp(width), measured=False))
    return tuple(sorted([*measured, *predicted], key=lambda point: point.rps))


def _measured(trace: Trace, target: Target) -> Point:
    """Share over the share allowed in one probe; the interval by batch means, because latencies follow each other."""
    bad = bad_of(trace.latency, trace.failed, target)
    share = float(bad.mean()) / target.allowed
    parts = [float(part.mean()) / target.allowed for part in np.array_split(bad, _BATCHES) if part.size]
    half = _T95 * float(np.std(parts, ddof=1)) / math.sqrt(len(parts)) if len(parts) > 1 else share
    return Point(trace.probe.rps, share, max(0.0, share - half), share + half, measured=True)
