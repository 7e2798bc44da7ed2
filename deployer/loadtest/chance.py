"""Exact bounds of a share and Student's t, without scipy: only what load tests and profiles need."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

Z95 = 1.6448536269514722
"""One-sided 95 %."""
CONFIDENCE = 0.95
"""Of every bound, one-sided: an interval of both holds the truth in 90 % of runs."""
_TINY = 1e-300


def beta_below(x: float, a: float, b: float) -> float:
    """Chance that a Beta(a, b) variable is below ``x``; a, b > 0, not necessarily whole.

    Source: Numerical Recipes (3rd ed., 2007), 6.4: the continued fraction, by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value, step = d, 0.0
    m = 0
    while abs(step - 1) > 1e-13:
        m += 1
        for top in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + top * d)
            c = _away(1 + top / c)
            step = c * d
            value *= step
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _solved(is_below: Callable[[float], bool], low: float, high: float) -> float:
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return middle


def upper_share(bad: float, n: float, risk: float = 1 - CONFIDENCE) -> float:
    """Exact upper bound of a share of which ``bad`` of ``n`` were seen (Clopper & Pearson, Biometrika 26, 1934).

    Both may be fractions: an effective number of requests. The share is over it with at most a chance of ``risk``.
    """
    if bad >= n:
        return 1.0
    return _solved(lambda x: beta_below(x, bad + 1, n - bad) < 1 - risk, 0.0, 1.0)


def lower_share(bad: float, n: float, risk: float = 1 - CONFIDENCE) -> float:
    """Exact lower bound, as ``upper_share``."""
    if bad <= 0:
        return 0.0
    return _solved(lambda x: beta_below(x, bad, n - bad + 1) < risk, 0.0, 1.0)


def is_at_most(bad: float, n: float, share: float) -> bool:
    """Whether ``upper_share(bad, n) <= share``, without looking for the bound."""
    return bad < n and beta_below(share, bad + 1, n - bad) >= CONFIDENCE


def is_above(bad: float, n: float, share: float) -> bool:
    """Whether ``lower_share(bad, n) > share``, without looking for the bound."""
    return bad > 0 and beta_below(share, bad, n - bad + 1) < 1 - CONFIDENCE


@cache
def student(freedom: int) -> float:
    """One-sided 95 % quantile of Student's t with ``freedom`` >= 1 degrees of freedom."""
    half = freedom / 2

    def is_below(t: float) -> bool:
        return 1 - beta_below(freedom / (freedom + t * t), half, 0.5) / 2 < CONFIDENCE

    return _solved(is_below, 0.0, 7.0)
