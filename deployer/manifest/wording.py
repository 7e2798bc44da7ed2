"""The words for values of the wrong kind, the same for our models and for Azure's schema."""

from __future__ import annotations

from deployer.manifest.problems import Expanded, shown
from deployer.manifest.scalars import is_number

TEXT = "text"
NUMBERS = ("a whole number", "a number")
BOOLEAN = "true or false"
MAPPING = "a mapping"
LIST = "a list"


def wrong_kind(value: object, *expected: str) -> tuple[str, str]:
    """Message and hint for ``value`` where one of the ``expected`` kinds belongs."""
    kinds = " or ".join(expected)
    if value is None:
        return f"there is no value, {kinds} is needed", "give a value, or remove the key"
    return f"{shown(value)} is not {kinds}", _remedy(value, expected)


def _remedy(value: object, expected: tuple[str, ...]) -> str:
    if TEXT in expected and isinstance(value, bool | int | float):
        return f'put it in quotes: "{shown(value)}"'
    if LIST in expected:
        return "write [a, b], or lines that start with a dash"
    wanted = set(expected) & {*NUMBERS, BOOLEAN}
    if not wanted or not isinstance(value, str):
        return ""
    if isinstance(value, Expanded):
        return "an environment variable is always text: write the value here"
    if BOOLEAN in wanted or is_number(value):
        return "write true or false, without quotes" if BOOLEAN in wanted else "remove the quotes"
    return ""
