import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.gate.contrast import Pair, _common_odds, exceedances, odds, outliers, ranks, tail_slope, tails
from deployer.gate.histogram import FINE_BINS, end_ms, fine_bins

TILTS = np.array([0.5, 1.0, 2.0])
FIXED = (0.1, 0.1)


def counted(rows):
    fine = np.zeros((len(rows), FINE_BINS), np.int64)
    for row, values in enumerate(rows):
        np.add.at(fine[row], fine_bins(np.asarray(values, np.float64)), 1)
    return fine


def drawn(seed, blocks, n, factor=1.0, sigma=0.5):
    rng = np.random.default_rng(seed)
    return counted([factor * rng.lognormal(4.4, sigma, n) for _ in range(blocks)])


def test_slow_answers_are_those_above_the_pooled_quantile():
    candidate, stable = counted([range(100, 110)]), counted([range(10, 100)])
    n, bad = exceedances(Pair(candidate, stable), 0.5)
    assert n.tolist() == [[10, 90]]
    assert bad[0, 0] == 10
    assert bad.sum() <= 50


def test_a_thin_block_takes_its_threshold_from_earlier_ones():
    blocks = [list(range(10, 60))] * 6
    candidate, stable = counted([[70.0]] * 6), counted(blocks)
    _, bad = exceedances(Pair(candidate, stable), 0.95)
    assert bad[-1].sum() <= 6
    _, lone = exceedances(Pair(candidate[:1], stable[:1]), 0.95)
    assert lone.sum() >= 1


def test_just_so_many_earlier_blocks_are_used_as_it_takes():
    low, high = list(range(10, 60)), [1000.0] * 50
    candidate, stable = counted([[5.0]] * 4), counted([high, low, low, low])
    _, bad = exceedances(Pair(candidate, stable), 0.95)
    assert bad[3].sum() == 0  # 204 answers: the first block is in, and its are the slow ones
    _, without = exceedances(Pair(candidate[1:], stable[1:]), 0.95)
    assert without[2].sum() > 0


@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.95, 0.99]))
def test_thresholds_do_not_know_who_answered(seed, quantile):
    candidate, stable = drawn(seed, 4, 12), drawn(seed + 1, 4, 40)
    n, bad = exceedances(Pair(candidate, stable), quantile)
    other_n, other_bad = exceedances(Pair(stable, candidate), quantile)
    assert np.array_equal(n, other_n[:, ::-1])
    assert np.array_equal(bad, other_bad[:, ::-1])


def test_swapped_labels_turn_the_rank_bet_around():
    candidate, stable = drawn(1, 5, 15), drawn(2, 5, 45)
    mine = ranks(Pair(candidate, stable), TILTS, FIXED)
    other = ranks(Pair(stable, candidate), -TILTS, FIXED)
    assert np.allclose(mine.log_e, other.log_e, atol=1e-6)
    assert np.allclose(mine.variance, other.variance)


def test_swapped_labels_turn_the_odds_bet_around():
    n, bad = np.array([[10, 40], [12, 50]]), np.array([[3, 4], [0, 6]])
    mine = odds(n, bad, TILTS, 0.0, FIXED)
    other = odds(n[:, ::-1], bad[:, ::-1], -TILTS, 0.0, FIXED)
    assert np.allclose(mine.log_e, other.log_e)


def test_more_bad_answers_of_the_candidate_are_more_evidence():
    n = np.array([[20, 80]] * 9)
    bad = np.stack([np.arange(9), 8 - np.arange(9)], axis=1)
    log_e = odds(n, bad, TILTS, 0.0, FIXED).log_e
    assert (np.diff(log_e, axis=0) > 0).all()


def test_slower_answers_of_the_candidate_are_more_evidence():
    found = [
        ranks(Pair(drawn(1, 6, 20, factor), drawn(2, 6, 60)), TILTS, FIXED).log_e.sum() for factor in (0.7, 1, 1.3, 2)
    ]
    assert found == sorted(found)


def test_bets_on_tails_have_a_mean_of_one_over_all_labels():
    before = counted([range(20, 220)]), counted([range(20, 820)])
    block = [100.0, 850.0, 1000.0, 1000.0, 2000.0, 30.0, 40.0, 50.0]
    es = []
    for mine in itertools.combinations(range(8), 3):
        other = [value for place, value in enumerate(block) if place not in mine]
        candidate = np.concatenate([before[0], counted([[block[place] for place in mine]])])
        es.append(np.exp(tails(Pair(candidate, np.concatenate([before[1], counted([other])])), TILTS, FIXED).log_e[1]))
    assert np.std(es, axis=0).min() > 0.1
    assert np.allclose(np.mean(es, axis=0), 1)


def test_the_slower_the_candidates_slow_answers_the_more_evidence_and_no_other_answer_counts():
    stable = counted([[*range(20, 1000), 2000.0, 4000.0]])

    def found(*slow, body=100.0):
        return tails(Pair(counted([[body] * 95 + [*slow]]), stable), TILTS, FIXED).log_e[0]

    rising = [found(*[ms] * 5) for ms in (100.0, 985.0, 1500.0, 3000.0, 5000.0)]
    assert (np.diff(rising, axis=0) > 0).all()
    assert (rising[0] < 0).all()
    assert np.allclose(found(3000.0, 5000.0), found(3000.0, 5000.0, body=400.0))


def test_time_outs_are_the_slowest_answers():
    candidate, stable = counted([[50.0] * 95 + [math.inf] * 5]), counted([range(20, 1000)])
    assert (tails(Pair(candidate, stable), TILTS, FIXED).log_e > 5).any()


def test_a_thin_block_takes_its_tail_from_earlier_ones():
    stable = counted([[*range(20, 1000)]] + [[100.0] * 20] * 3)
    candidate = counted([[100.0] * 100] + [[300.0] * 2] * 3)
    found = tails(Pair(candidate, stable), TILTS, FIXED)
    assert np.allclose(found.log_e[1:], 0)  # the slowest of their minute, and none of the tail
    assert np.allclose(found.variance[1:], 0)


def test_one_in_a_hundred_that_hangs_is_found_sooner_than_by_counting_above_the_quantile():
    rng = np.random.default_rng(4)
    usual = [rng.lognormal(4.4, 0.5, 2000) for _ in range(30)]
    stuck = [np.where(rng.random(200) < 0.011, 25.0, 1.0) * rng.lognormal(4.4, 0.5, 200) for _ in range(30)]
    pair = Pair(counted(stuck), counted(usual))
    above = odds(*exceedances(pair, 0.99), np.array([0.4, 1.0, 2.25]), 0.0, FIXED)
    assert tails(pair, np.array([0.3, 0.7]), FIXED).log_e.sum(axis=0).max() > 1.5 * above.log_e.sum(axis=0).max()


@pytest.mark.parametrize("shape", [(60, 6, 1), (60, 6, 3), (90, 10, 2)])
def test_bets_on_sparse_tails_promise_no_more_than_they_hold(shape):
    size, drawn, slow = shape
    earlier = counted([range(20, 20 + 900)])
    block = [30.0] * (size - slow) + [3000.0 + 1000 * k for k in range(slow)]
    none = np.zeros((1, FINE_BINS), np.int64)
    mean = 0.0
    for mine in range(2**slow):
        chosen = [bool(mine >> k & 1) for k in range(slow)]
        taken = sum(chosen)
        chance = math.comb(size - slow, drawn - taken) / math.comb(size, drawn)
        part = [30.0] * (drawn - taken) + [block[size - slow + k] for k in range(slow) if chosen[k]]
        rest = [30.0] * (size - slow - drawn + taken) + [block[size - slow + k] for k in range(slow) if not chosen[k]]
        pair = Pair(np.concatenate([none, counted([part])]), np.concatenate([earlier, counted([rest])]))
        mean += chance * np.exp(tails(pair, np.array([0.3, 0.7]), FIXED).log_e[1])
    assert np.allclose(mean, 1, atol=2e-4)


def test_hangs_at_one_value_are_evidence_however_many():
    stable = counted([[50.0] * 500])
    found = [
        tails(Pair(counted([[50.0] * (500 - k) + [5000.0] * k]), stable), TILTS, FIXED).log_e[0, 0]
        for k in (5, 10, 20, 40, 80)
    ]
    assert found == sorted(found)
    assert found[-1] > 3


def test_where_the_slow_answers_stand_out_is_told_beside_the_part_of_the_traffic():
    stable = counted([range(20, 920)])
    place, slow, mine, usual = outliers(Pair(counted([[50.0] * 90 + [5000.0] * 10]), stable))
    assert (slow, mine, usual) == (10, 10, pytest.approx(1))
    assert 900 < end_ms(place) < 5000
    assert outliers(Pair(counted([[50.0] * 100]), counted([range(60, 960)]))) is None
    _, slow, mine, _ = outliers(Pair(counted([[50.0] * 90 + [math.inf] * 10]), stable))
    assert (slow, mine) == (10, 10)


def test_slow_answers_stand_out_although_those_in_between_do_not():
    stable = counted([[50.0] * 850 + [300.0] * 50])
    _, slow, mine, usual = outliers(Pair(counted([[50.0] * 97 + [5000.0] * 3]), stable))
    assert (slow, mine, usual) == (3, 3, pytest.approx(0.3))


@pytest.mark.parametrize("arms", [([], [1.0, 2.0]), ([1.0, 2.0], []), ([], [])])
def test_a_block_without_both_arms_brings_no_evidence(arms):
    candidate, stable = counted([arms[0]]), counted([arms[1]])
    assert np.allclose(ranks(Pair(candidate, stable), TILTS, FIXED).log_e, 0)
    assert np.allclose(tails(Pair(candidate, stable), TILTS, FIXED).log_e, 0)
    n, bad = exceedances(Pair(candidate, stable), 0.95)
    assert np.allclose(odds(n, bad, TILTS, 0.0, FIXED).log_e, 0)


def test_no_blocks_are_no_evidence():
    none = np.zeros((0, FINE_BINS), np.int64)
    assert ranks(Pair(none, none), TILTS, FIXED).log_e.shape == (0, 3)
    assert tails(Pair(none, none), TILTS, FIXED).log_e.shape == (0, 3)
    assert odds(*exceedances(Pair(none, none), 0.95), TILTS, 0.0, FIXED).log_e.shape == (0, 3)
    assert tail_slope(np.zeros(FINE_BINS, np.int64), 0.95) == 1.5


def test_heterogeneity_is_measured_around_the_fitted_effect():
    rng = np.random.default_rng(5)
    n = np.tile([200, 800], (30, 1))
    same = np.stack([rng.binomial(200, np.full(30, 0.2)), rng.binomial(800, np.full(30, 0.05))], axis=1)
    assert odds(n, same, TILTS, 0.0, (0.1, 0.8)).h2 < 0.1
    swing = np.where(np.arange(30) % 6 < 3, 0.4, 0.03)
    wild = np.stack([rng.binomial(200, swing), rng.binomial(800, np.full(30, 0.05))], axis=1)
    assert odds(n, wild, TILTS, 0.0, (0.1, 0.8)).h2 > 0.3


def test_slopes_of_a_log_normal_service_are_near_theory():
    stable = drawn(3, 1, 20_000, sigma=0.6)
    assert tail_slope(np.cumsum(stable[0]), 0.95) == pytest.approx(3.6, rel=0.15)
    assert tail_slope(np.cumsum(stable[0]), 0.5) == pytest.approx(2.66, rel=0.15)
    contrast = ranks(Pair(drawn(4, 1, 2000, sigma=0.6), stable), TILTS, (1.0, 1.0))
    assert contrast.h2**0.5 == pytest.approx(2.8, rel=0.15)


def test_a_spike_has_a_bounded_slope():
    assert tail_slope(np.cumsum(counted([[5.0] * 51])[0]), 0.5) <= 12


@given(st.integers(1, 8), st.integers(1, 8), st.data())
def test_the_variance_of_bad_answers_is_that_of_every_labelling(n, others, data):
    bad = data.draw(st.integers(1, n + others))
    k = np.arange(max(0, bad - others), min(n, bad) + 1)
    chance = np.array([math.comb(n, j) * math.comb(others, bad - j) for j in k.tolist()]) / math.comb(n + others, bad)
    mine = np.array([[[int(j), bad - int(j)]] for j in k])
    found = [odds(np.array([[n, others]]), each, TILTS, 0.0, FIXED).variance[0] for each in mine]
    assert found == pytest.approx([chance @ k**2 - (chance @ k) ** 2] * k.size, abs=1e-12)


def test_a_common_odds_ratio_is_that_of_mantel_and_haenszel():
    tables = [(3, 17, 5, 75), (9, 21, 4, 96)]  # bad and good of the candidate, of the stable
    up, down = (sum(t[a] * t[b] / sum(t) for t in tables) for a, b in ((0, 3), (2, 1)))
    c, s, bad, k = (
        np.array(column, np.float64)
        for column in zip(*((a + b, x + y, a + x, a) for a, b, x, y in tables), strict=True)
    )
    assert _common_odds((c, s, bad), k) == pytest.approx(up / down)
    assert _common_odds((c, s, bad), bad) == pytest.approx(math.exp(6))
    assert _common_odds((c, s, bad), 0 * bad) == pytest.approx(math.exp(-6))


def test_many_statistics_at_once_are_each_as_alone():
    rng = np.random.default_rng(8)
    n = np.stack([rng.integers(1, 20, (3, 9)), rng.integers(1, 80, (3, 9))], axis=2)
    bad = rng.binomial(n, 0.3)
    bounds = (np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7]))
    whole = odds(n, bad, TILTS, 0.2, bounds)
    for row in range(3):
        alone = odds(n[row], bad[row], TILTS, 0.2, (bounds[0][row], bounds[1][row]))
        assert np.allclose(whole.log_e[row], alone.log_e)
        assert np.allclose(whole.variance[row], alone.variance)
        assert whole.h2[row] == pytest.approx(alone.h2)


def test_a_factor_of_latency_tilts_a_power_tail_by_half_its_exponent():
    rng = np.random.default_rng(6)

    def powers(n, factor=1.0):
        return counted([factor * 100 * rng.random(n) ** -0.25 for _ in range(40)])  # P(slower than x) = (x / 100)^-4

    pair, tilts = Pair(powers(2000, math.exp(0.1)), powers(8000)), np.linspace(0.02, 0.6, 30)
    best = tilts[int(np.argmax(tails(pair, tilts, FIXED).log_e.sum(axis=0)))]
    assert best == pytest.approx(0.1 * 4 / 2, rel=0.25)
    assert tails(pair, tilts, FIXED).h2.min() == pytest.approx((0.1 * 4 / 2) ** 2, rel=0.4)
