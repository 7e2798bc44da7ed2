"""Durations, shares and growths are written with their unit and read to what the unit says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.manifest.problems import FieldError
from deployer.manifest.quantities import (
    DURATION_MAX_S,
    format_duration,
    format_share,
    parse_duration,
    parse_growth,
    parse_share,
    read_amount,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("80ms", 0.08),
        ("0s", 0),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1d2h3m4s5ms", 93784.005),
        ("366d", 366 * 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "5", "m", "-5m", "+5m", "5 m", "5M", "30m1h", "1s1s", "5m\n", "٣s", "1e3s", None, True, [], "1m s"]
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(FieldError, match="is not a duration") as caught:
        parse_duration(value)
    assert caught.value.hint == "write number and unit, as 80ms, 30s, 5m or 1h30m"


@pytest.mark.parametrize("value", [300, 1.5])
def test_a_number_without_unit_is_refused_with_the_units(value: object) -> None:
    with pytest.raises(FieldError, match=f"{value} is not a duration: it has no unit") as caught:
        parse_duration(value)
    assert caught.value.hint == f"write {value}ms, {value}s or {value}m"


@pytest.mark.parametrize("text", ["367d", "9" * 400 + "d"])
def test_durations_end_where_dates_would_overflow(text: str) -> None:
    with pytest.raises(FieldError, match="is over 366 days"):
        parse_duration(text)


@given(st.integers(0, int(DURATION_MAX_S)))
def test_a_written_duration_reads_back_to_its_two_largest_units(seconds: int) -> None:
    back = parse_duration(format_duration(seconds))
    assert back <= seconds
    assert seconds - back < {0: 1, 1: 60, 2: 3600}[(seconds >= 3600) + (seconds >= 86400)]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0ms"), (0.08, "80ms"), (1, "1s"), (5400, "1h30m"), (93784, "1d2h")])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.5%", 0.005), ("0%", 0), ("100%", 1)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)
    assert format_share(share) == text


@pytest.mark.parametrize("value", ["1", 1, 0.01, "-1%", "1 %", "%", "1%\n", None])
def test_a_share_needs_its_percent_sign(value: object) -> None:
    with pytest.raises(FieldError, match="is not a share"):
        parse_share(value)


def test_no_share_is_over_the_whole() -> None:
    with pytest.raises(FieldError, match=r"'100\.1%' is over 100%"):
        parse_share("100.1%")


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("500m", 0.5),
        ("1001m", 1.001),
        (2, 2.0),
        ("1.5G", 1.5e9),
        ("1Gi", 2**30),
        ("1Pi", 2**50),
        ("1E", 1e18),
        ("", None),
        ("x", None),
        ("1e3", None),
        ("-1", None),
        (True, None),
        (None, None),
    ],
)
def test_amounts_are_read_as_kubernetes_does(value: object, amount: float | None) -> None:
    assert read_amount(value) == amount


@pytest.mark.parametrize(("text", "factor"), [("+25%", 1.25), ("+0%", 1), ("1.25x", 1.25), ("3x", 3)])
def test_growths(text: str, factor: float) -> None:
    assert parse_growth(text) == pytest.approx(factor)


@pytest.mark.parametrize("value", ["25%", "-25%", "1.25", 1.25, "x", "+25", "+25%\n", None])
def test_what_is_no_growth(value: object) -> None:
    with pytest.raises(FieldError, match="is not a growth"):
        parse_growth(value)


@pytest.mark.parametrize(("text", "why"), [("0.9x", "is below 1x"), ("9" * 400 + "x", "is not finite")])
def test_a_growth_is_finite_and_no_improvement(text: str, why: str) -> None:
    with pytest.raises(FieldError, match=why):
        parse_growth(text)
