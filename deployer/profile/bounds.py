"""Exact limits of a share seen in independent requests."""

from __future__ import annotations

import math
from collections.abc import Callable


def _at_most(k: int, n: int, share: float) -> float:
    """Chance of at most ``k`` of ``n`` at ``share`` (0 < share < 1), summed from its largest term downwards."""
    log_term = n * math.log1p(-share)
    odds = math.log(share) - math.log1p(-share)
    terms = [log_term]
    for i in range(k):
        log_term += math.log((n - i) / (i + 1)) + odds
        terms.append(log_term)
    top = max(terms)
    return min(1.0, math.exp(top) * math.fsum(math.exp(term - top) for term in terms))


def upper_share(k: int, n: int, risk: float = 0.05) -> float:
    """The share that is exceeded with at most ``risk`` when ``k`` of ``n`` were seen (Clopper and Pearson, one-sided).

    Source: Clopper, Pearson, Biometrika 26 (1934), 404-413.
    """
    return _crossing(k / n, 1.0, lambda share: _at_most(k, n, share) - risk) if k < n else 1.0


def lower_share(k: int, n: int, risk: float = 0.05) -> float:
    """The share that is undercut with at most ``risk``."""
    return _crossing(0.0, k / n, lambda share: risk - 1 + _at_most(k - 1, n, share)) if k else 0.0


def _crossing(low: float, high: float, excess: Callable[[float], float]) -> float:
    """Where a falling function of the share passes 0."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high
