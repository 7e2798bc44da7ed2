"""What a load will send is known before: the same language as the load generator's."""

from __future__ import annotations

import math

import pytest
from windows import run, steady, window

from deployer.errors import UsageError
from deployer.loadtest.advice import unprovable
from deployer.loadtest.figures import Load
from deployer.loadtest.merge import joined, thinned
from deployer.loadtest.shapes import expected_requests, lasts_s, peak_rps, stage_numbers, stages
from deployer.manifest.schema import LatencyTargets, Slo
from loadtests import shapes as theirs  # the load generator's own, which deployer itself may not import

GOOD = ["constant", "soak", "stages:30s@10,60s@40", "stages:1.5s@0,2s@7.5", "spike:5x,at=30s,for=10s"]
BAD = [
    "",
    "steady",
    "stages:",
    "stages:30@10",
    "stages:0s@10",
    "stages:5s@0",
    "spike:5x",
    "spike:0x,at=0s,for=1s",
    "soak:1",
]


@pytest.mark.parametrize("shape", GOOD)
def test_a_shape_is_read_as_the_generator_reads_it(shape: str) -> None:
    assert [(each.seconds, each.rps) for each in stages(shape, 12.0)] == [
        (each.seconds, each.rps) for each in theirs.parse_shape(shape, 12.0)
    ]


@pytest.mark.parametrize("shape", BAD)
def test_what_is_no_shape_is_refused_as_the_generator_refuses_it(shape: str) -> None:
    with pytest.raises(UsageError, match="not a shape") as caught:
        stages(shape, 12.0)
    assert "stages:30s@10" in caught.value.hint
    with pytest.raises(ValueError, match="not a shape"):
        theirs.parse_shape(shape, 12.0)


def load(shape: str = "constant", **changes: object) -> Load:
    return Load(**{"arrivals": "poisson", "shape": shape, "rps": 10.0, "seconds": 60.0, **changes})  # type: ignore[arg-type]


def test_peak_length_and_number_of_requests_are_known() -> None:
    assert [lasts_s(shape) for shape in GOOD] == [None, None, 90.0, 3.5, None]
    assert [peak_rps(load(shape)) for shape in GOOD] == [10.0, 10.0, 40.0, 7.5, 50.0]
    assert expected_requests(load()) == 600
    assert expected_requests(load("stages:30s@10,60s@40")) == 300 + 30 * 40
    assert expected_requests(load("spike:5x,at=10s,for=10s", seconds=15.0)) == 100 + 5 * 50
    assert expected_requests(load(arrivals="closed")) is None
    assert peak_rps(load(arrivals="replay")) is None


def test_each_window_knows_its_stage() -> None:
    asked = load("stages:2s@10,3s@40", warm_up_s=5.0)
    assert stage_numbers(asked, [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]) == (0, 0, 1, 1, 1, 1)
    assert stage_numbers(load("spike:5x,at=2s,for=1s"), [0.0, 2.0, 3.0]) == (0, 1, 2)
    assert stage_numbers(load(), [0.0, 1.0]) == ()
    assert stage_numbers(load("stages:2s@10", arrivals="replay"), [0.0]) == ()


SLO = Slo(latency=LatencyTargets(p95="300ms", p99="900ms"), error_rate="0.1%")  # type: ignore[arg-type]


def test_targets_that_a_run_cannot_prove_are_named_before_it() -> None:
    (text,) = unprovable(load(rps=10.0), SLO)
    assert "600 requests are too few to prove error_rate, even" in text
    assert "2,99" in text
    assert "at this rate" in text
    (text,) = unprovable(load(rps=1.0), SLO)
    assert "error_rate and p99" in text
    assert unprovable(load(rps=100.0), SLO) == ()
    assert unprovable(load(arrivals="closed"), SLO) == ()
    assert unprovable(load(rps=1.0), Slo(latency=LatencyTargets(p50="1s"))) == ()  # type: ignore[arg-type]
    assert unprovable(load(rps=0.1), Slo(error_rate="1%"))  # type: ignore[arg-type]


def test_joined_windows_lose_no_request() -> None:
    both = joined([window({1.0: 2}, {500: 1}, start_s=3.0), window({1.0: 1, 2.0: 4}, start_s=4.0)])
    assert (both.start_s, both.seconds, both.sent) == (3.0, 2.0, 8)
    assert dict(both.statuses) == {200: 7, 500: 1}
    assert dict(both.latencies_ms) == {1.0: 3, 2.0: 4} == dict(both.good_latencies_ms)


def test_a_long_run_is_told_in_longer_steps_and_the_warm_up_stays_apart() -> None:
    windows = (window({9.0: 1}, is_warm_up=True), *steady(10, {1.0: 3}, start_s=1.0))
    few = thinned(windows, 4)
    assert [(each.is_warm_up, each.seconds) for each in few] == [
        (True, 1),
        (False, 3),
        (False, 3),
        (False, 3),
        (False, 1),
    ]
    assert sum(each.sent for each in few) == 31
    assert len(thinned(windows, 100)) == 11
    assert thinned((), 4) == ()
    assert math.isclose(sum(each.seconds for each in few), 11)
    assert run(few).windows == few
