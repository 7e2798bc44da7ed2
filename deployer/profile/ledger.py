"""The budget of a profile: what time and money were spent, what is left, and what a step may still take."""

from __future__ import annotations

import math
from datetime import datetime

HOUR_S = 3600.0


class Ledger:
    """Minutes and dollars of one profile. Instances cost from when they are asked for until they are known to be gone.

    Args:
        started: when it began, aware UTC.
        seconds: that it may take, without the removal of what is deployed at its end.
        usd: that its instances may cost; None: no limit.
        removal_s: that what is deployed goes on to cost after its removal was asked for. Money for that is kept.
    """

    def __init__(self, started: datetime, seconds: float, usd: float | None, *, removal_s: float = 0.0) -> None:
        self.budget_s = seconds
        self.budget_usd = usd
        self._removal_s = removal_s
        self._started = started
        self._usd = 0.0
        self._rate = 0.0
        self._since = started

    def charge(self, usd_per_hour: float, now: datetime) -> None:
        """From ``now`` on, what is deployed costs ``usd_per_hour``."""
        self._usd = self.spent_usd(now)
        self._rate, self._since = usd_per_hour, now

    def spent_s(self, now: datetime) -> float:
        """Seconds so far."""
        return max((now - self._started).total_seconds(), 0.0)

    def spent_usd(self, now: datetime) -> float:
        """Dollars so far."""
        return self._usd + self._rate * max((now - self._since).total_seconds(), 0.0) / HOUR_S

    def left_usd(self, now: datetime) -> float:
        """Dollars left; infinite without a limit, never negative."""
        return math.inf if self.budget_usd is None else max(self.budget_usd - self.spent_usd(now), 0.0)

    def left_s(self, now: datetime) -> float:
        """Seconds until time or, at what is deployed now and its removal, money is used up; never negative."""
        seconds = self.budget_s - self.spent_s(now)
        if self._rate > 0:
            seconds = min(seconds, self.left_usd(now) / self._rate * HOUR_S - self._removal_s)
        return max(seconds, 0.0)

    def affords(self, seconds: float, usd_per_hour: float, now: datetime) -> bool:
        """Whether something that takes ``seconds`` at ``usd_per_hour`` fits into what is left.

        Both removals are paid for: that of what stands now, and its own.
        """
        usd = (usd_per_hour * (seconds + self._removal_s) + self._rate * self._removal_s) / HOUR_S
        return seconds <= self.budget_s - self.spent_s(now) and usd <= self.left_usd(now)
