"""Durations, shares and ratios as people write them, parsed to floats whose unit the type names.

A bare number is refused where a unit would be a guess: ``30`` may be seconds or minutes, ``1`` may be 1 % or 100 %.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = r"(?:\d+(?:\.\d+)?(?:ms|d|h|m|s))+"
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_SHARE = r"\d+(?:\.\d+)?%"
_GROWTH = r"\+\d+(?:\.\d+)?%"
_FACTOR = r"\d+(?:\.\d+)?x"


def parse_duration(value: object) -> float:
    """Parse ``80ms``, ``30s``, ``5m``, ``1h30m`` to seconds (finite, >= 0).

    Raises:
        ValueError: anything else; the message says what to write.
    """
    if isinstance(value, bool) or not isinstance(value, str) or not re.fullmatch(_DURATION, value):
        hint = f" (did you mean {value}s?)" if isinstance(value, int) and not isinstance(value, bool) else ""
        raise ValueError(f"{value!r} is not a duration: write a number and a unit, as 80ms, 30s, 5m or 1h30m{hint}")
    parts = _PART.findall(value)
    units = [list(_UNIT_S).index(unit) for _, unit in parts]
    if units != sorted(set(units), reverse=True):
        raise ValueError(f"{value!r} is not a duration: units go from large to small, once each, as 1h30m")
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if not math.isfinite(seconds):
        raise ValueError(f"{value!r} is not a finite duration")
    return seconds


def parse_share(value: object) -> float:
    """Parse ``1%`` or ``0.5%`` to a fraction in [0, 1].

    Raises:
        ValueError: no percent sign, or outside 0-100 %.
    """
    if not isinstance(value, str) or not re.fullmatch(_SHARE, value):
        raise ValueError(f"{value!r} is not a share: write it in percent, as 1% or 0.5%")
    share = float(value[:-1]) / 100
    if share > 1:
        raise ValueError(f"{value!r} is over 100%")
    return share


def parse_growth(value: object) -> float:
    """Parse ``+25%`` or ``1.25x`` to the factor 1.25 (finite, >= 1).

    Raises:
        ValueError: neither form, or below 1.
    """
    if isinstance(value, str) and re.fullmatch(_GROWTH, value):
        factor = 1 + float(value[1:-1]) / 100
    elif isinstance(value, str) and re.fullmatch(_FACTOR, value):
        factor = float(value[:-1])
    else:
        raise ValueError(f"{value!r} is not a growth: write how much worse, as +25% or 1.25x")
    if not math.isfinite(factor) or factor < 1:
        raise ValueError(f"{value!r} is below 1x: it says how much worse than the stable is tolerable")
    return factor


def format_duration(seconds: float) -> str:
    """Write seconds the way ``parse_duration`` reads them, at most two units: ``1h30m``, ``45s``, ``80ms``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])


def _string(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": [example]})


Seconds = Annotated[float, BeforeValidator(parse_duration), _string(_DURATION, "5m")]
"""A duration in seconds, written as ``30s`` or ``1h30m``."""

Share = Annotated[float, BeforeValidator(parse_share), _string(_SHARE, "1%")]
"""A fraction in [0, 1], written in percent."""

Growth = Annotated[float, BeforeValidator(parse_growth), _string(f"(?:{_GROWTH}|{_FACTOR})", "+25%")]
"""A factor >= 1 by which something may be worse, written ``+25%`` or ``1.25x``."""
