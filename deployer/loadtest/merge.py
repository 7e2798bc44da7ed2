"""Windows joined: exactly, for every count is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from deployer.loadtest.figures import Window


def joined(windows: Sequence[Window]) -> Window:
    """Join windows that follow each other into one.

    Args:
        windows: at least one, all of the warm-up or none.
    """
    statuses: Counter[int] = Counter()
    latencies: Counter[float] = Counter()
    good: Counter[float] = Counter()
    for window in windows:
        statuses.update(window.statuses)
        latencies.update(window.latencies_ms)
        good.update(window.good_latencies_ms)
    return Window(
        start_s=windows[0].start_s,
        seconds=sum(window.seconds for window in windows),
        is_warm_up=windows[0].is_warm_up,
        sent=sum(window.sent for window in windows),
        statuses=statuses,
        latencies_ms=latencies,
        good_latencies_ms=good,
    )


def thinned(windows: Sequence[Window], most: int) -> tuple[Window, ...]:
    """Join neighbours until at most about ``most`` are left; the warm-up stays apart."""
    size = -(-len(windows) // most) if windows else 1
    found: list[Window] = []
    for is_warm_up in (True, False):
        part = [window for window in windows if window.is_warm_up is is_warm_up]
        found += [joined(part[start : start + size]) for start in range(0, len(part), size)]
    return tuple(found)
