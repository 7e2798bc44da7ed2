"""Plain YAML scalars, accepted only where every YAML reader agrees on what they mean.

YAML 1.1 (PyYAML, so the Azure SDK and ``az``) and YAML 1.2 (editors, most other tools) read ``no``, ``1:30``, ``012``
or ``1e3`` differently. A rollout must not depend on who reads it, so such a scalar is refused unless it is quoted.

Source: yaml.org/type (YAML 1.1 types), yaml.org/spec/1.2.2 section 10.3 (core schema), PyYAML 6 ``resolver.py``.
"""

from __future__ import annotations

import math
import re

from deployer.manifest.problems import FieldError, shown

CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
"""Characters that no value may hold, escaped or not: control, line and direction changing, half characters."""
FORBIDDEN = re.compile(f"{CONTROL.pattern}|\t|\r")
"""Characters that may not stand in a line of a file."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?")

_BASED = r"[-+]?0x[0-9a-fA-F_]+|[-+]?0b[01_]+|0o[0-7]+"
_DECIMAL = r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}"
_FRACTION_AND_ZONE = r"(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?"

_SURPRISES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), reading, hint)
    for pattern, reading, hint in (
        (
            r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF",
            "a boolean to some YAML readers and text to others",
            "write true or false, or quote it",
        ),
        (
            r"[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*",
            "a number in base 60 to some YAML readers and text to others",
            "quote it, or write a duration as 1m30s",
        ),
        (r"[-+]?0[0-9_]+", "octal to some YAML readers and decimal to others", "drop the leading zero, or quote it"),
        (r"[-+]?[1-9][0-9]{18,}", "too long for a number", "quote it"),
        (
            f"{_BASED}|{_DECIMAL}",
            "a number to some YAML readers and text to others",
            "write it in plain decimal digits, or quote it",
        ),
        (r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "no finite number", "write a finite number, or quote it"),
        (f"(?:{_DATE}){_FRACTION_AND_ZONE}", "a date to some YAML readers and text to others", "quote it"),
        (r"=|<<", "a key word of YAML 1.1", "quote it"),
    )
)


def read_plain(text: str) -> str | float | bool | None:
    """Value of the unquoted scalar ``text``.

    Raises:
        FieldError: YAML readers differ on it, or it is no finite number; the hint says what to write.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    for pattern, reading, hint in _SURPRISES:
        if pattern.fullmatch(text):
            raise FieldError(f"{shown(text)} without quotes is {reading}", hint=hint)
    return text


def is_number(text: str) -> bool:
    """Whether ``text`` would be a number without quotes."""
    return bool(_INT.fullmatch(text) or _FLOAT.fullmatch(text))
