"""What a load will send, known before it is sent: its stages, peak and number of requests.

The language is that of ``loadtests/shapes.py``, which the load generator reads and nobody here may import.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from deployer.errors import UsageError
from deployer.loadtest.figures import Load

HOW = "Write constant, soak, stages:30s@10,60s@40 or spike:5x,at=30s,for=10s."
_STAGE = re.compile(r"(\d+(?:\.\d+)?)s@(\d+(?:\.\d+)?)")
_SPIKE = re.compile(r"(\d+(?:\.\d+)?)x,at=(\d+(?:\.\d+)?)s,for=(\d+(?:\.\d+)?)s")


@dataclass(frozen=True, slots=True)
class Stage:
    """``rps`` requests a second on average for ``seconds``, possibly infinite."""

    seconds: float
    rps: float


def stages(shape: str, rps: float) -> tuple[Stage, ...]:
    """Read a shape.

    Raises:
        UsageError: it is none.
    """
    kind, _, rest = shape.partition(":")
    found: tuple[Stage, ...] = ()
    if shape in ("constant", "soak"):
        found = (Stage(math.inf, rps),)
    elif kind == "spike" and (match := _SPIKE.fullmatch(rest)):
        times, at_s, for_s = map(float, match.groups())
        found = (Stage(at_s, rps), Stage(for_s, rps * times), Stage(math.inf, rps))
    elif kind == "stages":
        matches = [_STAGE.fullmatch(part) for part in rest.split(",")]
        if all(matches):
            found = tuple(Stage(float(match[1]), float(match[2])) for match in matches if match)
    if not found or any(stage.seconds <= 0 for stage in found) or all(stage.rps == 0 for stage in found):
        raise UsageError(f"--shape {shape} is not a shape of load", hint=HOW)
    return found


def lasts_s(shape: str) -> float | None:
    """How long a shape lasts by itself; None: as long as it is asked to."""
    total = sum(stage.seconds for stage in stages(shape, 1.0))
    return total if math.isfinite(total) else None


def stage_numbers(load: Load, starts_s: Sequence[float]) -> tuple[int, ...]:
    """Which stage each of the measured windows belongs to, by its start; empty where the rate does not change."""
    if load.arrivals in ("closed", "replay") or load.shape in ("constant", "soak"):
        return ()
    ends = list(accumulate(stage.seconds for stage in stages(load.shape, load.rps)))
    return tuple(min(bisect_right(ends, start - load.warm_up_s + 0.01), len(ends) - 1) for start in starts_s)


def peak_rps(load: Load) -> float | None:
    """Most requests a second of an open load; None: not known before (closed, replay)."""
    if load.arrivals in ("closed", "replay"):
        return None
    return max(stage.rps for stage in stages(load.shape, load.rps))


def expected_requests(load: Load) -> float | None:
    """Requests of the measured time of an open load, on average; None: not known before."""
    if load.arrivals in ("closed", "replay"):
        return None
    left, total = load.seconds, 0.0
    for stage in stages(load.shape, load.rps):
        total += min(stage.seconds, max(left, 0.0)) * stage.rps
        left -= stage.seconds
    return total
