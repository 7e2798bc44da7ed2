"""Exact limits of a share seen in independent requests."""

from __future__ import annotations

import math


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
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    while high - low > 1e-9 + 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(k, n, middle) > risk else (low, middle)
    return high


def lower_share(k: int, n: int, risk: float = 0.05) -> float:
    """The share that is undercut with at most ``risk``."""
    return 1.0 - upper_share(n - k, n, risk) if n else 0.0
