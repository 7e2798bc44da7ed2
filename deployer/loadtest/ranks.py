"""Counted values in order: every quantile is the value of a rank (nearest rank), none is made up in between."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


class Ranked:
    """How many there are of each value; infinite values are allowed."""

    def __init__(self, counts: Mapping[float, int]) -> None:
        """Take in counts, which are positive."""
        self.values = np.array(sorted(counts), np.float64)
        """Rising."""
        self.reached = np.cumsum(np.array([counts[value] for value in self.values.tolist()], np.int64))
        """How many are at most each value."""
        self.n = int(self.reached[-1]) if self.values.size else 0

    def at_rank(self, rank: int) -> float:
        """The value of a rank, from 1; infinite beyond the last."""
        place = int(np.searchsorted(self.reached, max(rank, 1)))
        return float(self.values[place]) if place < self.values.size else math.inf

    def at(self, level: float) -> float:
        """The quantile; NaN without a value."""
        return self.at_rank(math.ceil(self.n * level)) if self.n else math.nan

    def upto(self, limit: float) -> int:
        """How many are at most ``limit``."""
        place = int(np.searchsorted(self.values, limit, "right"))
        return int(self.reached[place - 1]) if place else 0
