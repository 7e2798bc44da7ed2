"""This run beside the previous one of the same endpoint and load."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deployer.loadtest.statistics import Interval


class Change(StrEnum):
    """What the intervals allow to say."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference shown"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, lower being better."""

    metric: str
    before: Interval
    now: Interval
    change: Change


def compare(metric: str, before: Interval, now: Interval) -> Comparison:
    """Say whether a figure moved further than both intervals reach."""
    if now.estimate is None and before.estimate is not None and before.upper is not None:
        return Comparison(metric, before, now, Change.WORSE)
    ends = (before.lower, before.upper, now.lower, now.upper)
    if any(end is None for end in ends):
        return Comparison(metric, before, now, Change.UNKNOWN)
    before_low, before_high, now_low, now_high = (end for end in ends if end is not None)
    better = Change.BETTER if now_high < before_low else Change.SAME
    change = Change.WORSE if now_low > before_high else better
    return Comparison(metric, before, now, change)
