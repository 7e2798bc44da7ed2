import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.gate.histogram import (
    FINE_BINS,
    FLOOR_MS,
    LINEAR_MS,
    MAX_MS,
    RATIO,
    RAW_BINS,
    fine_bins,
    raw_bins,
    shrink,
    slide,
    spread,
)


def raw_of(*durations_ms):
    raw = np.zeros((1, RAW_BINS), np.int64)
    np.add.at(raw[0], raw_bins(np.array(durations_ms)), 1)
    return raw


def at_ms(*values_ms):
    fine = np.zeros((1, FINE_BINS), np.int64)
    np.add.at(fine[0], fine_bins(np.array(values_ms, np.float64)), 1)
    return fine


def centre_ms(fine):
    return FLOOR_MS * RATIO ** (np.flatnonzero(fine[0]) + 0.5)


def test_whole_milliseconds_are_kept_while_they_are_wide():
    assert raw_bins(np.array([-5, 0, 1, 63])).tolist() == [0, 0, 1, 63]
    assert raw_bins(np.array([3.0, 3.9, 63.9])).tolist() == [3, 3, 63]
    assert raw_bins(np.array([64, 65, MAX_MS, 10 * MAX_MS])).tolist() == [64, 64, RAW_BINS - 2, RAW_BINS - 2]


@given(st.lists(st.integers(0, 2 * MAX_MS), min_size=1, max_size=40))
def test_no_answer_is_lost(durations):
    fine = spread(raw_of(*durations))
    assert fine.sum() == len(durations)
    assert shrink(fine, 1.05, 2.0).sum() == len(durations)
    assert slide(fine, 7).sum() == len(durations)
    assert slide(fine, -900).sum() == len(durations)


def test_a_cell_of_one_millisecond_stands_for_the_whole_of_it():
    fine = spread(raw_of(*[3] * 8))
    assert centre_ms(fine).min() == pytest.approx(3.06, abs=0.06)
    assert centre_ms(fine).max() == pytest.approx(3.94, abs=0.06)
    assert centre_ms(spread(raw_of(3))) == pytest.approx([3.45], abs=0.1)


def test_spreading_depends_on_counts_alone():
    raw = raw_of(1, 1, 1, 2, 7, 7, 90)
    assert np.array_equal(spread(np.concatenate([raw, 2 * raw]))[0], spread(raw)[0])


def test_logarithmic_bins_are_taken_over_as_they_are():
    raw = np.zeros((1, RAW_BINS), np.int64)
    raw[0, LINEAR_MS:] = np.arange(RAW_BINS - LINEAR_MS)
    assert np.array_equal(spread(raw)[0, -(RAW_BINS - LINEAR_MS) :], raw[0, LINEAR_MS:])


def test_time_outs_are_slower_than_anything_and_stay_so():
    raw = np.zeros((1, RAW_BINS), np.int64)
    raw[0, -1] = 3
    fine = spread(raw)
    for changed in (fine, shrink(fine, 2.0, 4.0), slide(fine, -50)):
        assert changed[0, -1] == 3
    assert fine_bins(np.array([np.inf])).tolist() == [FINE_BINS - 1]


@pytest.mark.parametrize(
    ("value_ms", "becomes_ms"), [(1000.0, 1000 / 1.05), (40.0, 38.0), (5.0, 3.0), (2.2, FLOOR_MS), (0.1, FLOOR_MS)]
)
def test_a_margin_is_a_factor_or_some_milliseconds_whichever_grants_more(value_ms, becomes_ms):
    assert centre_ms(shrink(at_ms(value_ms), 1.05, 2.0)) == pytest.approx([becomes_ms], rel=0.03)


def test_sliding_is_a_factor():
    assert centre_ms(slide(at_ms(100.0), 28)) == pytest.approx([200.0], rel=0.03)


def test_nothing_becomes_nothing():
    assert spread(np.zeros((0, RAW_BINS), np.int64)).shape == (0, FINE_BINS)
    assert shrink(np.zeros((2, FINE_BINS), np.int64), 1.2, 0.0).sum() == 0
