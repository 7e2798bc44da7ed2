"""How many requests, and how long a run, would prove a target."""

from __future__ import annotations

import math

from deployer.loadtest.chance import is_above, is_at_most

CLOSE = 0.98
"""A share this near to what is allowed is not told apart from it by any run that people wait for."""


def requests_to_prove(allowed: float, share: float = 0.0, inflation: float = 1.0) -> int | None:
    """Requests after which ``share`` is proven to be at most ``allowed``, or above it; None: too close to tell.

    Args:
        allowed: share that may be bad, in (0, 1).
        share: that is seen.
        inflation: requests that say as much as one independent one.
    """
    if CLOSE * allowed < share <= allowed / CLOSE:
        return None
    low, high = 1.0, 2.0
    while not _is_proven(allowed, share, high):
        low, high = high, 2 * high
        if high > 1e12:
            return None
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (low, middle) if _is_proven(allowed, share, middle) else (middle, high)
    return math.ceil(high * inflation)


def _is_proven(allowed: float, share: float, n: float) -> bool:
    return is_at_most(share * n, n, allowed) if share <= allowed else is_above(share * n, n, allowed)
