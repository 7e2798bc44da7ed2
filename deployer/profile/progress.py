"""Counts of a probe under way, made from the windows that a load generator shows of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deployer.loadtest.figures import Window
from deployer.profile.trials import Tally


def tally(windows: Iterable[Window], limits_ms: Sequence[float]) -> Tally:
    """Count what has been answered or has failed so far, and what was late for each of ``limits_ms``."""
    seconds, sent, errors = 0.0, 0, 0
    late = dict.fromkeys(limits_ms, 0)
    for window in windows:
        seconds = max(seconds, window.start_s + window.seconds)
        ended = sum(window.statuses.values())
        failed = sum(n for status, n in window.statuses.items() if not 200 <= status < 300)
        sent, errors = sent + ended, errors + failed
        for limit_ms in limits_ms:
            late[limit_ms] += failed + sum(n for ms, n in window.good_latencies_ms.items() if ms > limit_ms)
    return Tally(seconds, sent, errors, late)
