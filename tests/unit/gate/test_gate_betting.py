import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.gate import betting
from deployer.gate.betting import bernoulli, caps, from_any_start, from_first, heterogeneity, mean_log, temper
from deployer.gate.contrast import Pair, odds, ranks
from deployer.gate.histogram import FINE_BINS


def test_a_restart_mixture_is_its_recursion():
    x = np.random.default_rng(0).normal(0, 1, (7, 3))
    prior = (1 - betting.FIRST) * np.log1p(1 / (10 + np.arange(7))) / np.log1p(200)
    prior[0] += betting.FIRST
    running = np.zeros(3)
    for block in range(7):
        running = (running + prior[block]) * np.exp(x[block])
    expected = math.log(np.mean(running + 1 - prior.sum()))
    assert from_any_start(x) == pytest.approx(expected, abs=1e-12)


def test_nothing_seen_is_evidence_of_one():
    assert from_any_start(np.zeros((0, 4))) == pytest.approx(0)
    assert from_first(np.zeros((0, 4))) == pytest.approx(0)


def test_priors_never_add_up_to_more_than_one():
    assert from_any_start(np.zeros((20_000, 2))) == pytest.approx(0, abs=1e-9)


def test_a_late_fault_is_still_found():
    x = np.concatenate([np.full((60, 1), -0.3), np.full((10, 1), 2.0)])
    assert from_any_start(x) > 20 - 8
    assert from_first(x) < 3


def test_evidence_is_clipped_before_it_overflows():
    assert from_first(np.full((1000, 2), 5.0)) == betting.LARGEST
    assert from_any_start(np.full((1000, 2), 5.0)) == betting.LARGEST


def test_longer_blocks_may_bring_more_by_the_root():
    found = caps(np.array([10.0, 30.0, 120.0]), 30.0, 0.05)
    assert found == pytest.approx([0.75 * math.log(20), 0.75 * math.log(20), 1.5 * math.log(20)])
    assert caps(np.array([30.0]), 30.0, 0.05, 1.0) == pytest.approx([math.log(20)])


def test_tempering_caps_gains_and_not_losses():
    x = temper(np.array([[9.0, -9.0]]), np.array([2.0]), np.array(0.25), np.array([2.0]))
    assert x.tolist() == [[2.0, -6.0]]


def test_a_mean_of_evidence_is_weighted():
    assert mean_log([(3.0, math.log(4)), (1.0, 0.0)]) == pytest.approx(math.log(13 / 4))


@given(st.floats(0.001, 0.7), st.integers(0, 12))
def test_a_bernoulli_bet_has_mean_one_at_the_limit_and_less_within_it(limit, n):
    tilts = np.array([-1.0, 0.5, 2.0])
    k = np.arange(n + 1)
    e = np.exp(bernoulli(k, np.full(n + 1, n), limit, tilts))

    def mean(share):
        chance = np.array([math.comb(n, j) * share**j * (1 - share) ** (n - j) for j in range(n + 1)])
        return chance @ e

    assert mean(limit) == pytest.approx(np.ones(3))
    assert (mean(limit * 0.5)[1:] <= 1 + 1e-9).all()
    assert mean(limit + (1 - limit) / 2)[0] <= 1 + 1e-9


def test_equal_blocks_are_taken_as_equal():
    v = np.full(20, 4.0)
    assert heterogeneity(np.full(20, 8.0), np.full(20, 8.0), v, (0.1, 0.5)) == pytest.approx(0.01)


def test_differences_within_their_own_noise_are_not_believed():
    v, noise = np.full(21, 4.0), np.sqrt((20 + np.sqrt(40)) / 21)
    signs = np.where(np.arange(21) % 2, 1.0, -1.0)
    assert heterogeneity(2 * noise * signs, np.zeros(21), v, (0.01, 0.9)) == pytest.approx(0.0001)
    assert heterogeneity(4 * noise * signs, np.zeros(21), v, (0.01, 0.9)) > 0.1


def test_unequal_blocks_are_believed_up_to_the_most():
    rng = np.random.default_rng(1)
    v = np.full(40, 25.0)
    wild = 100 + 25 * rng.normal(0, 0.3, 40) + 5 * rng.normal(size=40)
    assert 0.01 < heterogeneity(wild, np.full(40, 100.0), v, (0.1, 0.5)) < 0.25
    assert heterogeneity(100 * rng.normal(size=40), np.zeros(40), v, (0.1, 0.5)) == pytest.approx(0.25)


def test_blocks_that_follow_each_other_are_less_equal_than_they_look():
    v = np.full(40, 25.0)
    swing = np.where(np.arange(40) < 20, 1.0, -1.0)
    jumpy = np.where(np.arange(40) % 2, 1.0, -1.0)
    both = [heterogeneity(8 * shape, np.zeros(40), v, (0.0, 5.0)) for shape in (swing, jumpy)]
    assert both[0] > 2 * both[1]


def test_differences_between_blocks_are_measured_by_the_book():
    rng = np.random.default_rng(2)
    v = rng.uniform(2, 9, 30)
    noise = rng.normal(0, 6, 31)
    observed = 20 + noise[1:] + 0.7 * noise[:-1]
    expected = np.full(30, 20.0)
    residual = (observed - expected) / np.sqrt(v)
    q = float(residual @ residual)
    tau2 = (q - 29 - 1.5 * math.sqrt(58)) / (v.sum() - (v @ v) / v.sum())
    r = min(float(residual[1:] @ residual[:-1]) / q * 30 / 40, 0.6)
    assert 0 < r < 0.6
    assert heterogeneity(observed, expected, v, (0.0, 99.0)) == pytest.approx(tau2 * (1 + r) / (1 - r))


def test_one_block_says_nothing_about_differences():
    assert heterogeneity(np.array([9.0]), np.array([1.0]), np.array([1.0]), (0.2, 0.9)) == pytest.approx(0.04)
    assert heterogeneity(np.array([9.0, 1.0]), np.zeros(2), np.array([1.0, 0.0]), (0.2, 0.9)) == pytest.approx(0.04)


def _null_blocks(rng, blocks, n, others):
    """Blocks of labels drawn at random, whatever the (wildly varying) outcomes are."""
    candidate = np.zeros((blocks, FINE_BINS), np.int64)
    stable = np.zeros((blocks, FINE_BINS), np.int64)
    for block in range(blocks):
        bins = np.clip(rng.normal(300 + 20 * rng.normal(), 25, n + others).astype(int), 0, FINE_BINS - 1)
        np.add.at(candidate[block], bins[:n], 1)
        np.add.at(stable[block], bins[n:], 1)
    return candidate, stable


def test_rank_bets_have_a_mean_of_at_most_one_under_the_null():
    rng = np.random.default_rng(11)
    candidate, stable = _null_blocks(rng, 4000, 6, 34)
    for tilts in (np.array([0.25, 0.5, 1.0]), np.array([-0.25, -0.5, -1.0])):
        e = np.exp(ranks(Pair(candidate, stable), tilts, (0.0, 0.0)).log_e)
        error = e.std(axis=0) / np.sqrt(len(e))
        assert (np.abs(e.mean(axis=0) - 1) < 4 * error).all()


def test_odds_bets_have_a_mean_of_at_most_one_under_the_null():
    rng = np.random.default_rng(12)
    shared = rng.uniform(0, 0.5, 6000)
    bad = np.stack([rng.binomial(8, shared), rng.binomial(40, shared)], axis=1)
    n = np.tile([8, 40], (6000, 1))
    e = np.exp(odds(n, bad, np.array([0.5, 1.0, -0.5]), 0.0, (0.0, 0.0)).log_e)
    error = e.std(axis=0) / np.sqrt(len(e))
    assert (np.abs(e.mean(axis=0) - 1) < 4 * error).all()


def test_odds_bets_beyond_a_tolerated_ratio_have_a_mean_of_one_at_it_and_less_within():
    rng = np.random.default_rng(13)
    base = math.log(1.3)
    for ratio, exact in ((1.3, True), (1.0, False)):
        share = rng.uniform(0.01, 0.4, 8000)
        worse = share * ratio / (1 - share + share * ratio)
        bad = np.stack([rng.binomial(20, worse), rng.binomial(60, share)], axis=1)
        e = np.exp(odds(np.tile([20, 60], (8000, 1)), bad, np.array([1.0]), base, (0.0, 0.0)).log_e)
        error = e.std() / np.sqrt(len(e))
        assert e.mean() < 1 + 4 * error
        assert not exact or e.mean() > 1 - 4 * error


def test_a_process_with_restarts_has_a_mean_of_at_most_one_under_the_null():
    rng = np.random.default_rng(14)
    n = np.tile([10, 50], (12, 1))
    values = []
    for _ in range(1500):
        share = rng.uniform(0, 0.3, 12)
        bad = np.stack([rng.binomial(10, share), rng.binomial(50, share)], axis=1)
        contrast = odds(n, bad, np.array([0.5, 1.0, 2.0]), 0.0, (0.3, 0.3))
        x = temper(contrast.log_e, contrast.variance, contrast.h2, np.full(12, 3.0))
        values.append(math.exp(from_any_start(x)))
    assert np.mean(values) < 1 + 4 * np.std(values) / np.sqrt(len(values))
