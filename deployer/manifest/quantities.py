"""Durations, shares and ratios as people write them, parsed to floats whose unit the type names.

A bare number is refused where a unit would be a guess: ``30`` may be seconds or minutes, ``1`` may be 1 % or 100 %.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from deployer.manifest.problems import FieldError, shown

_UNIT_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = "(?=.)" + "".join(f"(?:{_NUMBER}{unit})?" for unit in _UNIT_S)
_PART = re.compile(f"({_NUMBER})(ms|[dhms])")
_SHARE = f"{_NUMBER}%"
_GROWTH = rf"\+{_NUMBER}%"
_FACTOR = f"{_NUMBER}x"
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([KMGTPE]i|[kMGTPEm])?")
_SCALES = {
    **{f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGTPE", 1)},
    **{prefix: 1000.0**power for power, prefix in enumerate("kMGTPE", 1)},
    "": 1.0,
    "m": 0.001,
}

DURATION_MAX_S = 366 * 86400.0
"""Longest duration: beyond it is a slip, and date arithmetic would overflow somewhere."""


def parse_duration(value: object) -> float:
    """Parse ``80ms``, ``30s``, ``5m``, ``1h30m`` to seconds, 0 to 366 days; units go from large to small.

    Raises:
        FieldError: anything else; its hint says what to write.
    """
    if not isinstance(value, str) or not re.fullmatch(_DURATION, value):
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise FieldError(
                f"{value} is not a duration: it has no unit", hint=f"write {value}ms, {value}s or {value}m"
            )
        raise FieldError(f"{shown(value)} is not a duration", hint="write number and unit, as 80ms, 30s, 5m or 1h30m")
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(value))
    if seconds > DURATION_MAX_S:
        raise FieldError(f"{shown(value)} is over 366 days")
    return seconds


def parse_share(value: object) -> float:
    """Parse ``1%`` or ``0.5%`` to a fraction in [0, 1].

    Raises:
        FieldError: no percent sign, or outside 0-100 %.
    """
    if not isinstance(value, str) or not re.fullmatch(_SHARE, value):
        raise FieldError(f"{shown(value)} is not a share", hint="write it in percent, as 1% or 0.5%")
    share = float(value[:-1]) / 100
    if share > 1:
        raise FieldError(f"{shown(value)} is over 100%")
    return share


def parse_growth(value: object) -> float:
    """Parse ``+25%`` or ``1.25x`` to the factor 1.25 (finite, >= 1).

    Raises:
        FieldError: neither form, or below 1.
    """
    if isinstance(value, str) and re.fullmatch(_GROWTH, value):
        factor = 1 + float(value[1:-1]) / 100
    elif isinstance(value, str) and re.fullmatch(_FACTOR, value):
        factor = float(value[:-1])
    else:
        raise FieldError(f"{shown(value)} is not a growth", hint="write how much worse, as +25% or 1.25x")
    if not math.isfinite(factor):
        raise FieldError(f"{shown(value)} is not finite")
    if factor < 1:
        raise FieldError(f"{shown(value)} is below 1x: it says how much worse than the stable is tolerable")
    return factor


def read_amount(value: object) -> float | None:
    """Read what Kubernetes calls a quantity: ``500m`` is 0.5, ``1Gi`` is 2^30; None: it is none.

    Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity (its exponents are not taken)
    """
    match = _AMOUNT.fullmatch(str(value))
    return round(float(match[1]) * _SCALES[match[2] or ""], 9) if match else None


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


def format_share(share: float) -> str:
    """Write a fraction the way ``parse_share`` reads it: ``0.5%``."""
    return f"{share * 100:.10g}%"


def _string(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": [example]})


Seconds = Annotated[float, BeforeValidator(parse_duration), _string(_DURATION, "5m")]
"""A duration in seconds, written as ``30s`` or ``1h30m``."""

Share = Annotated[float, BeforeValidator(parse_share), _string(_SHARE, "1%")]
"""A fraction in [0, 1], written in percent."""

Growth = Annotated[float, BeforeValidator(parse_growth), _string(f"(?:{_GROWTH}|{_FACTOR})", "+25%")]
"""A factor >= 1 by which something may be worse, written ``+25%`` or ``1.25x``."""
