import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.gate import permutation
from deployer.gate.permutation import (
    hypergeometric_log_mgf,
    log_choose,
    log_factorial,
    log_gamma,
    log_sum_exp,
    rank_scores,
    score_log_mgf,
)

TILTS = np.array([-2.0, -0.25, 0.5, 1.0, 5.0])


def ints(*values):
    return np.array(values, np.int64)


def enumerated(values, drawn, tilts):
    """ln of the mean of exp(tilt * sum) over every subset, by brute force."""
    sums = np.array([sum(chosen) for chosen in itertools.combinations(values, drawn)])
    return np.array([np.log(np.mean(np.exp(tilt * sums))) for tilt in tilts])


def test_log_gamma_agrees_with_the_library_to_twelve_digits():
    x = np.concatenate([np.linspace(1, 12, 100), np.geomspace(12, 1e12, 50)])
    expected = np.array([math.lgamma(value) for value in x])
    assert np.allclose(log_gamma(x), expected, rtol=1e-12, atol=1e-12)


def test_factorials_agree_across_the_end_of_the_table():
    n = ints(0, 1, 5, 4094, 4095, 4096, 10**8)
    expected = np.array([math.lgamma(value + 1) for value in n.tolist()])
    assert np.allclose(log_factorial(n), expected, rtol=1e-12)
    assert np.allclose(log_factorial(n[:4]), expected[:4], rtol=1e-12)


def test_impossible_draws_have_no_weight():
    assert log_choose(ints(5, 5, 5), ints(-1, 6, 2)).tolist()[:2] == [-np.inf, -np.inf]
    assert log_choose(ints(5), ints(2))[0] == pytest.approx(math.log(10))


def test_a_sum_of_nothing_is_minus_infinity():
    assert log_sum_exp(np.array([-np.inf, -np.inf]), axis=0) == -np.inf
    assert log_sum_exp(np.array([1000.0, 1000.0]), axis=0) == pytest.approx(1000 + math.log(2))


@given(st.integers(0, 6), st.integers(0, 6), st.data())
def test_bad_answers_agree_with_every_labelling(n, others, data):
    bad = data.draw(st.integers(0, n + others))
    values = [1.0] * bad + [0.0] * (n + others - bad)
    found = hypergeometric_log_mgf(ints(n), ints(others), ints(bad), TILTS)[0]
    assert np.allclose(found, enumerated(values, n, TILTS), atol=1e-10)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.data())
def test_rank_sums_agree_with_every_labelling(counts, data):
    pool = sum(counts)
    n = data.draw(st.integers(0, pool))
    scores = rank_scores(ints(counts))[0]
    values = np.repeat(scores, counts).tolist()
    found = score_log_mgf(ints(n), ints(counts), rank_scores(ints(counts)), TILTS)[0]
    assert np.allclose(found, enumerated(values, n, TILTS), atol=1e-9)


def test_a_wide_block_is_approximated_closely(monkeypatch):
    args = (ints(60, 500), ints(540, 4500), ints(300, 900))
    exact = permutation._hypergeometric_sum(*args, TILTS)
    monkeypatch.setattr(permutation, "EXACT_RANGE", 0)
    close = permutation._hypergeometric(*args, TILTS)
    assert np.abs(close - exact).max() < 2e-3


def test_ranks_of_a_middling_block_are_approximated_closely(monkeypatch):
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 6, (1, 40))
    scores, tilts = rank_scores(counts), np.array([-1.0, 0.25, 1.0, 2.0])
    exact = permutation._elementary(ints(25), counts, scores, tilts)
    close = permutation._saddlepoint(ints(25), counts, scores, tilts)
    assert np.abs(close - exact).max() < 5e-3


def test_a_solver_that_is_cut_short_still_answers(monkeypatch):
    counts = ints([200, 300, 500])
    exact = permutation._score_log_mgf(ints(300), counts, rank_scores(counts), TILTS)
    monkeypatch.setattr(permutation, "_NEWTON", 2)
    assert np.abs(permutation._score_log_mgf(ints(300), counts, rank_scores(counts), TILTS) - exact).max() < 1


def test_the_larger_arm_is_expanded_by_its_complement():
    counts = ints([2, 3, 1, 4])
    scores = rank_scores(counts)
    values = np.repeat(scores[0], counts[0]).tolist()
    assert np.allclose(score_log_mgf(ints(8), counts, scores, TILTS)[0], enumerated(values, 8, TILTS), atol=1e-10)


def test_mixed_blocks_are_each_taken_their_own_way():
    counts = np.array([[3, 2, 5], [200, 300, 500], [1, 1, 0], [4, 0, 0]])
    scores = rank_scores(counts)
    together = score_log_mgf(ints(4, 300, 2, 0), counts, scores, TILTS)
    alone = np.concatenate(
        [score_log_mgf(ints(n), counts[[k]], scores[[k]], TILTS) for k, n in enumerate((4, 300, 2, 0))]
    )
    assert np.allclose(together, alone)
    assert np.allclose(together[3], 0)
    assert np.allclose(together[2], 0)  # everything was drawn: its sum is that of all, 0


def test_it_makes_no_difference_which_blocks_are_computed_together():
    rng = np.random.default_rng(7)
    counts = rng.poisson(rng.uniform(0.5, 9, (30, 1)), (30, 60)).astype(np.int64)
    n = (counts.sum(axis=1) * rng.uniform(0.05, 0.6, 30)).astype(np.int64)
    scores = np.where(np.arange(60) > 57, 3.0 * rng.random((30, 60)), 0.0)
    together = permutation._score_log_mgf(n, counts, scores, TILTS)
    alone = [permutation._score_log_mgf(n[[k]], counts[[k]], scores[[k]], TILTS) for k in range(30)]
    assert np.allclose(together, np.concatenate(alone), rtol=0, atol=1e-11)


def test_extreme_counts_stay_finite():
    found = hypergeometric_log_mgf(
        ints(10**7, 1, 10**8, 0, 5), ints(9 * 10**7, 10**8, 1, 7, 0), ints(10**5, 10**8, 3, 3, 5), TILTS
    )
    assert np.isfinite(found).all()
    counts = ints([5 * 10**7, 4 * 10**7, 10**7])
    ranked = score_log_mgf(ints(10**7), counts, rank_scores(counts), TILTS)
    assert np.isfinite(ranked).all()


def test_a_tilt_of_nothing_changes_nothing():
    assert np.allclose(hypergeometric_log_mgf(ints(3), ints(9), ints(4), np.array([0.0])), 0, atol=1e-12)


def test_memory_changes_no_result_and_is_emptied_when_full(monkeypatch):
    args = (ints(*range(1, 30)), ints(*range(31, 60)), ints(*range(2, 31)))
    first = hypergeometric_log_mgf(*args, TILTS)
    again = hypergeometric_log_mgf(*args, TILTS)
    monkeypatch.setattr(permutation, "_REMEMBERED", 3)
    hypergeometric_log_mgf(ints(*range(1, 30)), ints(*range(131, 160)), ints(*range(2, 31)), TILTS)
    emptied = hypergeometric_log_mgf(*args, TILTS)
    assert np.array_equal(first, again)
    assert np.array_equal(first, emptied)


@given(
    looks=st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 80)), min_size=1, max_size=12),
        min_size=1,
        max_size=4,
    ),
    remembered=st.sampled_from([0, 3, 5000]),
)
def test_what_is_remembered_changes_no_result(looks, remembered):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permutation, "_REMEMBERED", remembered)
        permutation._HYPERGEOMETRIC.clear()
        for look in looks:
            n, others, bad = (np.array(column, np.int64) for column in zip(*look, strict=True))
            bad = np.minimum(bad, n + others)
            found = hypergeometric_log_mgf(n, others, bad, TILTS)
            assert np.allclose(found, permutation._hypergeometric(n, others, bad, TILTS), rtol=1e-12, atol=1e-12)
        permutation._HYPERGEOMETRIC.clear()


def test_blocks_too_large_to_be_remembered_are_computed_each_time():
    n, others, bad = ints(3_000_000, 50), ints(2_500_000, 60), ints(40, 7)
    permutation._HYPERGEOMETRIC.clear()
    found = hypergeometric_log_mgf(n, others, bad, TILTS)
    assert not permutation._HYPERGEOMETRIC
    assert np.allclose(found, permutation._hypergeometric(n, others, bad, TILTS))
    assert np.allclose(found[1], hypergeometric_log_mgf(n[1:], others[1:], bad[1:], TILTS)[0], rtol=1e-9)


def test_sums_that_are_forgotten_are_computed_again():
    n, counts = ints(3), np.array([[4, 2, 5]], np.int64)
    scores = rank_scores(counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permutation, "_REMEMBERED", 0)
        found = [score_log_mgf(n + more, counts, scores, TILTS) for more in (0, 1, 0)]
    assert np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])


def test_the_same_block_under_other_scores_is_another_sum():
    n, counts = ints(3), np.array([[4, 2, 5]], np.int64)
    ranked = score_log_mgf(n, counts, rank_scores(counts), TILTS)
    assert not np.array_equal(ranked, score_log_mgf(n, counts, np.array([[0.0, 0.0, 1.0]]), TILTS))
    assert np.array_equal(ranked, score_log_mgf(n, counts, rank_scores(counts), TILTS))
