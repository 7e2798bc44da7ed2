from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.meter import BEHIND_S, Meter, quantile, tenths, unhealthy


def test_every_arrival_is_answered_failed_or_in_flight() -> None:
    meter = Meter(cap=3)
    assert [meter.admit(0.001) for _ in range(5)] == [True, True, True, False, False]
    meter.end(12.34, 200)
    meter.end(50.0, 500)
    assert (meter.sent, meter.answered, meter.failed, meter.in_flight, meter.over_cap) == (5, 1, 3, 1, 2)
    assert meter.admit(0.001)
    meter.end(0.0, 0)
    assert (meter.sent, meter.answered, meter.failed, meter.in_flight, meter.unanswered) == (6, 1, 4, 1, 3)


def test_a_generator_far_behind_gives_up_and_its_lag_tells_why_also_while_it_warms_up() -> None:
    meter = Meter(cap=3, warm_up_s=60.0)
    assert meter.admit(9.9, 30.0)
    assert not meter.is_behind(BEHIND_S)
    assert (meter.lags_ms, meter.sent) == ({}, 1)
    assert meter.is_behind(BEHIND_S + 0.1)
    assert meter.line(1.0, 0.0)["gave_up"] == 1
    assert (meter.summary(70.0, 50.0)["lag_p99_ms"], meter.sent) == (10_100.0, 1)


@pytest.mark.parametrize(("status", "answered"), [(200, 1), (299, 1), (302, 0), (404, 0), (500, 0), (0, 0)])
def test_only_2xx_is_an_answer(status: int, answered: int) -> None:
    meter = Meter(cap=1)
    meter.admit(0)
    meter.end(1.0, status)
    assert (meter.answered, meter.failed) == (answered, 1 - answered)


def test_latencies_are_exact_to_a_tenth_of_a_millisecond() -> None:
    meter = Meter(cap=9)
    for latency in (104.94, 104.96, 3456.78):
        meter.admit(0)
        meter.end(latency, 200)
    assert meter.latencies_ms == {104.9: 1, 105.0: 1, 3456.8: 1}
    assert tenths(147.123) == 147.1


def test_what_got_no_answer_is_later_than_everything() -> None:
    meter = Meter(cap=10)
    for _ in range(10):
        meter.admit(0)
    for _ in range(9):
        meter.end(10.0, 200)
    meter.end(0.1, 0)
    assert meter.latency_ms(0.9) == 10.0
    assert meter.latency_ms(0.95) is None


@given(st.lists(st.integers(0, 50), min_size=1), st.floats(0.01, 1))
def test_the_quantile_is_the_nearest_rank(values: list[int], q: float) -> None:
    found = quantile(Counter(map(float, values)).items(), q)
    assert found is not None
    assert sum(value <= found for value in values) >= q * len(values) - 1e-9
    assert sum(value < found for value in values) < q * len(values) + 1e-9


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.5) is None


def test_a_line_is_json_and_its_lag_forgets_what_is_ten_seconds_old() -> None:
    meter = Meter(cap=1)
    meter.admit(0.5)
    assert meter.line(1.0, 3.21)["lag_p99_ms"] == 500.0
    for second in range(2, 11):
        meter.line(second, 0.0)
    assert meter.line(11.0, 0.0)["lag_p99_ms"] is None
    assert json.loads(json.dumps(meter.line(12.0, 0.0)))["sent"] == 1


def test_the_summary_holds_the_whole_histogram_and_the_lag_of_the_whole_run() -> None:
    meter = Meter(cap=1)
    meter.admit(0.5)
    meter.end(20.0, 200)
    for second in range(12):
        meter.line(second, 0.0)
    summary = json.loads(json.dumps(meter.summary(12.0, 1.0)))
    assert summary["histogram_ms"] == {"20.0": 1}
    assert summary["lag_p99_ms"] == 500.0
    assert "500 ms late" in summary["unhealthy"]


def test_a_generator_is_healthy_until_it_is_late_or_busy() -> None:
    assert unhealthy(None, 0) is None
    assert unhealthy(9.9, 79) is None
    assert "late" in (unhealthy(10.1, 5) or "")
    assert "90 % of a core" in (unhealthy(1, 90) or "")
