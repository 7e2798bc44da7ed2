"""Quantities on the command line, written as in a manifest."""

from __future__ import annotations

from deployer.errors import UsageError
from deployer.manifest.quantities import parse_duration


def seconds(option: str, value: str, *, zero: bool = False) -> float:
    """Parse a duration such as ``10s``, greater than 0, or with ``zero`` 0 itself.

    Raises:
        UsageError: it is none.
    """
    try:
        parsed = parse_duration(value)
    except ValueError as exc:
        raise UsageError(f"{option}: {exc}", hint="Write it as 10s or 5m.") from exc
    if parsed < 0 or (parsed == 0 and not zero):
        raise UsageError(f"{option} {value} is not longer than 0", hint="Write it as 10s or 5m.")
    return parsed
