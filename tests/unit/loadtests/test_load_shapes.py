from __future__ import annotations

import math
from collections import Counter
from itertools import chain, islice, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtests.shapes import Stage, arrivals, evenly, lasting, parse_shape, spread


def test_constant_takes_the_rate_for_ever() -> None:
    assert parse_shape("constant", 40) == (Stage(math.inf, 40),)


def test_stages_follow_each_other() -> None:
    assert parse_shape("stages:30s@10,0.5s@40", 1) == (Stage(30, 10), Stage(0.5, 40))


def test_a_spike_rises_from_the_rate_and_falls_back() -> None:
    assert parse_shape("spike:5x,at=30s,for=10s", 8) == (Stage(30, 8), Stage(10, 40), Stage(math.inf, 8))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "constant:",
        "stages:",
        "stages:30@10",
        "stages:0s@10",
        "stages:5s@0",
        "stages:5s@-1",
        "spike:5x",
        "ramp",
        "stages:5s@nan",
    ],
)
def test_what_is_no_shape_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is not a shape"):
        parse_shape(text, 10)


@pytest.mark.parametrize("rps", [0, -1, math.nan, math.inf])
def test_a_rate_is_finite_and_positive(rps: float) -> None:
    with pytest.raises(ValueError, match="not a positive number"):
        parse_shape("constant", rps)


def test_a_seed_repeats_the_arrivals() -> None:
    first, again, other = (list(islice(arrivals(parse_shape("constant", 40), Random(seed)), 50)) for seed in (1, 1, 2))
    assert first == again != other


def test_gaps_are_exponential() -> None:
    times = [0.0, *islice(arrivals(parse_shape("constant", 40), Random(7)), 5000)]
    gaps = [late - early for early, late in pairwise(times)]
    assert stats.kstest(gaps, "expon", args=(0, 1 / 40)).pvalue > 0.001


def test_counts_are_poisson_in_every_stage_across_its_borders() -> None:
    stages = (Stage(1, 20), Stage(1, 0), Stage(1, 60))
    runs = [Counter(int(moment) for moment in arrivals(stages, Random(seed))) for seed in range(2000)]
    for second, mean in enumerate((20, 0, 60)):
        counts = [run[second] for run in runs]
        assert abs(sum(counts) / 2000 - mean) <= 4 * math.sqrt(mean / 2000)
        assert abs(stats.tvar(counts) - mean) <= mean * 0.15


def test_lanes_that_share_the_rate_add_up_to_it() -> None:
    total = sum(len(list(arrivals((Stage(100, 40),), Random(lane), share=0.25))) for lane in range(4))
    assert abs(total - 4000) < 5 * math.sqrt(4000)


@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 200)), min_size=1, max_size=4), st.integers(), st.floats(0.1, 1)
)
def test_arrivals_rise_and_stay_within_stages_that_send(
    parts: list[tuple[float, float]], seed: int, share: float
) -> None:
    stages = [Stage(*part) for part in parts]
    times = list(arrivals(stages, Random(seed), share=share))
    assert times == sorted(times)
    borders = [0.0]
    for stage in stages:
        borders.append(borders[-1] + stage.seconds)
    for moment in times:
        assert any(
            start <= moment <= end and stage.rps > 0
            for start, end, stage in zip(borders, borders[1:], stages, strict=False)
        )


def test_even_arrivals_have_equal_gaps_and_lanes_share_them() -> None:
    whole = list(evenly((Stage(2, 10),)))
    assert whole == pytest.approx([(n + 1) / 10 for n in range(19)])
    lanes = [list(evenly((Stage(2, 10),), lane=lane, lanes=3)) for lane in range(3)]
    assert sorted(chain(*lanes)) == pytest.approx(whole)


def test_a_load_is_cut_after_its_seconds_and_warmed_up_before_at_the_first_rate() -> None:
    stages = parse_shape("stages:30s@10,30s@40", 1)
    assert lasting(stages, 40) == (Stage(30, 10), Stage(10, 40))
    assert lasting(stages, 40, 5) == (Stage(5, 10), Stage(30, 10), Stage(10, 40))


def test_lanes_share_recorded_arrivals() -> None:
    assert [list(spread([0, 1, 2, 3, 4], lane=lane, lanes=2)) for lane in (0, 1)] == [[0, 2, 4], [1, 3]]
