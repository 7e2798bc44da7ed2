"""Which number stands for an answer in every record."""

from __future__ import annotations

import re

from locust.contrib.fasthttp import ResponseContextManager

RATE_LIMITED = 1429
"""A 429 by the endpoint's limits on requests or bytes a second; 429 itself: too many pending, the deployment is full.

Azure ML answers 429 to both and tells them apart in words. Source:
learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints, HTTP status codes (read 2026-11-25).
"""

_RATE = re.compile(r"rate[- ]?limit", re.IGNORECASE)
_SAID = 400


def status_of(response: ResponseContextManager) -> int:
    """Return an answer's status, or 0 when there was none."""
    status = response.status_code
    if status != 429:
        return status
    raw = getattr(response, "_response", None)
    said = f"{getattr(raw, 'status_message', '')} {(response.content or b'')[:_SAID]!r}"
    return RATE_LIMITED if _RATE.search(said) else status
