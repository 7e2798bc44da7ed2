"""How many requests a second, when: shapes of load, and the moments at which requests of such a load arrive.

Everything here is arithmetic on the standard library; nothing sleeps and nothing is sent.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

HELP = "constant | soak | stages:30s@10,60s@40 (seconds at requests/s, in turn) | spike:5x,at=30s,for=10s (times --rps)"

_STAGE = re.compile(r"(\d+(?:\.\d+)?)s@(\d+(?:\.\d+)?)")
_SPIKE = re.compile(r"(\d+(?:\.\d+)?)x,at=(\d+(?:\.\d+)?)s,for=(\d+(?:\.\d+)?)s")


@dataclass(frozen=True, slots=True)
class Stage:
    """``rps`` requests a second on average (>= 0) for ``seconds`` (> 0, may be infinite)."""

    seconds: float
    rps: float


def parse_shape(text: str, rps: float) -> tuple[Stage, ...]:
    """Read a shape as ``HELP`` shows; ``rps`` is the rate of ``constant`` and the base of ``spike``.

    Raises:
        ValueError: it is none; the message says what is wrong.
    """
    if not (math.isfinite(rps) and rps > 0):
        raise ValueError(f"rate {rps} is not a positive number of requests a second")
    kind, _, rest = text.partition(":")
    if text in ("constant", "soak"):
        return (Stage(math.inf, rps),)
    if kind == "spike" and (match := _SPIKE.fullmatch(rest)):
        times, at_s, for_s = map(float, match.groups())
        return _sound((Stage(at_s, rps), Stage(for_s, rps * times), Stage(math.inf, rps)), text)
    if kind == "stages":
        matches = [_STAGE.fullmatch(part) for part in rest.split(",")]
        if all(matches):
            return _sound(tuple(Stage(float(match[1]), float(match[2])) for match in matches if match), text)
    raise ValueError(f"{text!r} is not a shape: write {HELP}")


def _sound(stages: tuple[Stage, ...], text: str) -> tuple[Stage, ...]:
    if any(stage.seconds <= 0 for stage in stages) or all(stage.rps == 0 for stage in stages):
        raise ValueError(f"{text!r} is not a shape: every stage takes time, and at least one sends something")
    return stages


def lasting(stages: Sequence[Stage], seconds: float, warm_up_s: float = 0.0) -> tuple[Stage, ...]:
    """Cut ``stages`` after ``seconds``, and put ``warm_up_s`` at the first rate before them."""
    kept: list[Stage] = [Stage(warm_up_s, next(stage.rps for stage in stages if stage.rps > 0))] if warm_up_s else []
    for stage in stages:
        if seconds > 0:
            kept.append(Stage(min(stage.seconds, seconds), stage.rps))
            seconds -= stage.seconds
    return tuple(kept)


def arrivals(stages: Sequence[Stage], random: Random, *, share: float = 1.0) -> Iterator[float]:
    """Yield when requests arrive, in seconds from the start, rising; ends with the last stage.

    An exact Poisson process whose rate is that of the stage: exponential gaps are drawn in units of expected arrivals
    and laid along the stages. The sum of processes with shares that add up to 1 is the whole load.

    Args:
        stages: the shape.
        random: the only source of chance; the same state gives the same arrivals.
        share: of the rate, in (0, 1].

    Source: Daley, Vere-Jones, An Introduction to the Theory of Point Processes (2003), random time change (7.4).
    """
    return _laid(stages, lambda: random.expovariate(1.0), random.expovariate(1.0), share)


def evenly(stages: Sequence[Stage], *, lane: int = 0, lanes: int = 1) -> Iterator[float]:
    """Yield arrivals with equal gaps; lane ``lane`` of ``lanes`` gets every ``lanes``-th, offset by its number."""
    return _laid(stages, lambda: 1.0, (lane + 1) / lanes, 1 / lanes)


def recorded(path: Path) -> list[float]:
    """Read recorded arrivals, in seconds from the first on: one a line, in seconds or as ISO 8601 instants.

    A CSV file with a header gives its column ``timestamp``, a JSON Lines file its member of that name.

    Raises:
        ValueError: a line is neither, or there is none.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [line for line in file if line.strip()]
    if rows and rows[0].lstrip().startswith("{"):
        texts = [str(json.loads(row).get("timestamp", "")) for row in rows]
    elif rows and "timestamp" in next(csv.reader(rows[:1])):
        texts = [row["timestamp"] or "" for row in csv.DictReader(rows)]
    else:
        texts = rows
    times = sorted(_seconds(text.strip(), path) for text in texts)
    if not times:
        raise ValueError(f"{path} holds no arrivals: write one a line")
    return [at - times[0] for at in times]


def spread(times: Sequence[float], *, lane: int = 0, lanes: int = 1) -> Iterator[float]:
    """Yield every ``lanes``-th of recorded arrivals."""
    return iter(times[lane::lanes])


def _seconds(text: str, path: Path) -> float:
    try:
        if math.isfinite(seconds := float(text)):
            return seconds
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except ValueError as exc:
        raise ValueError(f"{path}: {text[:40]!r} is neither seconds nor an instant") from exc


def _laid(stages: Sequence[Stage], draw: Callable[[], float], gap: float, share: float) -> Iterator[float]:
    start_s, position_s = 0.0, 0.0
    for stage in stages:
        rate = stage.rps * share
        end_s = start_s + stage.seconds
        while rate > 0 and position_s + gap / rate < end_s:
            position_s += gap / rate
            gap = draw()
            yield position_s
        gap -= (end_s - position_s) * rate if rate > 0 else 0.0
        start_s = position_s = end_s
