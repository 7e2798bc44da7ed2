"""This run beside the previous one of the same endpoint and load."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from deployer.loadtest.estimates import UNKNOWN, Estimate


class Change(StrEnum):
    """What the intervals allow to say."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference shown"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, before and now."""

    metric: str
    before: Estimate
    now: Estimate
    difference: Estimate
    """Now less before."""
    change: Change


def compare(metric: str, before: Estimate, now: Estimate, *, more_is_better: bool = False) -> Comparison:
    """Say whether a figure moved, by the interval of the difference: 90 %, from the intervals of both.

    Source: Zou & Donner, Statistics in Medicine 27 (2008), "MOVER": half widths are added as squares.
    """
    if not (before.is_known and now.is_known) or math.isinf(before.value):
        return Comparison(metric, before, now, UNKNOWN, Change.UNKNOWN)
    if math.isinf(now.value):
        return Comparison(metric, before, now, UNKNOWN, Change.BETTER if more_is_better else Change.WORSE)
    moved = now.value - before.value
    low = moved - math.hypot(now.value - now.low, before.high - before.value)
    high = moved + math.hypot(now.high - now.value, before.value - before.low)
    change = Change.SAME
    if low > 0 or high < 0:
        change = Change.BETTER if (low > 0) == more_is_better else Change.WORSE
    return Comparison(metric, before, now, Estimate(moved, low, high), change)
