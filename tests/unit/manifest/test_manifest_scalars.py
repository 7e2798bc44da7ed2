"""An unquoted scalar is accepted only where YAML 1.1 and YAML 1.2 read the same from it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from deployer.manifest.problems import FieldError
from deployer.manifest.scalars import is_number, read_plain

CORE: tuple[tuple[str, Any], ...] = (
    (r"null|Null|NULL|~|", lambda text: None),
    (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    (r"[-+]?[0-9]+", int),
    (r"0o[0-7]+", lambda text: int(text, 0)),
    (r"0x[0-9a-fA-F]+", lambda text: int(text, 0)),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"[-+]?\.(inf|Inf|INF)", lambda text: float(text.replace(".", ""))),
    (r"\.(nan|NaN|NAN)", lambda text: float("nan")),
)
"""The core schema, YAML 1.2.2 section 10.3.2, as printed there."""


def core_value(text: str) -> object:
    """What a YAML 1.2 reader makes of the plain scalar ``text``."""
    for pattern, read in CORE:
        if re.fullmatch(pattern, text):
            return read(text)
    return text


def old_value(text: str) -> object:
    """What PyYAML (YAML 1.1: the Azure SDK, ``az``) makes of the plain scalar ``text``."""
    loader = yaml.SafeLoader("")
    node = yaml.ScalarNode(loader.resolve(yaml.ScalarNode, text, (True, False)), text)
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as exc:
        return exc


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


SURPRISING = """
    true True TRUE tRue yes no on off y n null ~ = << 1:30 1:30.5 0:30 8080:80 012 08 0o14 0x10 0b11 1_000 1e3 1.0e3
    1.0e+3 1e+3 .5 -.5 5. . ._ +1 -0 00 1.5.2 .inf -.INF .nan 2024-01-01 2024-1-1 2024-01-01T10:00:00Z 12e4567 1.0e+999
    123456789012345678 1234567890123456789 5m 1h30m +25% 1.3x 1% digits
"""
WORDS = st.sampled_from(SURPRISING.split())
NUMBERISH = st.text("0123456789_+-.:eExobaAfFnNT Z", max_size=12).map(str.strip)


@given(st.one_of(WORDS, NUMBERISH))
@example("")
@example("1" * 5000)
def test_what_is_accepted_means_the_same_to_every_reader(text: str) -> None:
    try:
        value = read_plain(text)
    except FieldError:
        return
    assert same(value, old_value(text))
    assert same(value, core_value(text))


def refusal(text: str) -> FieldError | None:
    try:
        read_plain(text)
    except FieldError as exc:
        return exc
    return None


@given(st.one_of(WORDS, NUMBERISH))
def test_what_is_refused_is_read_differently_or_is_no_finite_decimal_number(text: str) -> None:
    refused = refusal(text)
    if refused is None:
        return
    alike = same(old_value(text), core_value(text))
    infinite = re.fullmatch(r"[-+]?\.(inf|nan)", text, re.IGNORECASE)
    long = re.fullmatch(r"[-+]?[1-9][0-9]{18,}", text)
    overflow = old_value(text) in (float("inf"), float("-inf"))
    hexadecimal = re.fullmatch(r"[-+]?0x[0-9a-fA-F_]+", text)
    leading_zero = re.fullmatch(r"[-+]?0[0-9]+", text)  # 00, 007: the same number to both, octal to the eye
    underscores = re.fullmatch(r"[-+]?[0-9._]+(?:[eE][-+]?[0-9]+)?", text)  # 08_: a number to the eye
    assert not alike or infinite or long or overflow or hexadecimal or leading_zero or underscores or text == "<<"
    assert refused.hint


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-7", -7),
        ("+4", 4),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1.0e+3", 1000.0),
        ("5m", "5m"),
        ("+25%", "+25%"),
        ("y", "y"),
        ("8080:80", "8080:80"),
    ],
)
def test_plain_values(text: str, value: object) -> None:
    assert same(read_plain(text), value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no", "boolean"),
        ("Yes", "boolean"),
        ("on", "boolean"),
        ("OFF", "boolean"),
        ("1:30", "base 60"),
        ("012", "octal"),
        ("08", "octal"),
        ("1_000", "text to others"),
        ("0x10", "number"),
        ("0o14", "number"),
        ("1e3", "number"),
        ("-.5", "number"),
        ("12e4567", "number"),
        ("2024-01-01", "date"),
        ("2001-12-14 21:59:43.10 -5", "date"),
        (".nan", "finite"),
        ("-.inf", "finite"),
        ("1.0e+999", "number"),
        ("9" * 19, "too long"),
        ("=", "key word"),
    ],
)
def test_surprises_are_refused(text: str, why: str) -> None:
    with pytest.raises(FieldError, match=why):
        read_plain(text)


def test_only_numbers_are_numbers() -> None:
    assert [is_number(text) for text in ("5", "-1.5", "5m", "", "1e3")] == [True, True, False, False, False]
