import numpy as np
import pytest

from deployer.gate.estimates import latency_ratio, odds_ratio, quantile_ms, quantile_ratio, share_interval
from deployer.gate.histogram import FINE_BINS, fine_bins


def counted(values):
    fine = np.zeros(FINE_BINS, np.int64)
    np.add.at(fine, fine_bins(np.asarray(values, np.float64)), 1)
    return fine


def sample(seed, n, factor=1.0):
    return counted(factor * np.random.default_rng(seed).lognormal(4.4, 0.6, n))


def test_shares_come_with_wilsons_interval():
    assert share_interval(0, 0) == (None, None, None)
    assert share_interval(10, 100) == pytest.approx((0.1, 0.0552, 0.1744), abs=1e-4)
    assert share_interval(0, 20)[1] == 0
    assert share_interval(20, 20)[2] == 1


def test_wilsons_interval_covers():
    rng = np.random.default_rng(0)
    hits = [low <= 0.1 <= high for _, low, high in (share_interval(int(k), 80) for k in rng.binomial(80, 0.1, 4000))]
    assert 0.92 < np.mean(hits) < 0.98


def test_a_common_odds_ratio_is_found_over_blocks_of_different_rates():
    rng = np.random.default_rng(1)
    share = rng.uniform(0.02, 0.3, 400)
    worse = 2 * share / (1 + share)
    n = np.tile([60, 200], (400, 1))
    bad = np.stack([rng.binomial(60, worse), rng.binomial(200, share)], axis=1)
    ratio, low, high = odds_ratio(n, bad)
    assert low < 2 < high
    assert ratio == pytest.approx(2, rel=0.15)
    assert high / low < 1.3


def test_one_table_has_woolfs_interval():
    ratio, low, high = odds_ratio(np.array([[50, 200]]), np.array([[10, 20]]))
    assert ratio == pytest.approx(10 * 180 / (40 * 20))
    assert np.log(high / low) / 2 == pytest.approx(1.96 * np.sqrt(1 / 10 + 1 / 40 + 1 / 20 + 1 / 180), rel=1e-3)


def test_without_errors_on_a_side_an_odds_ratio_is_unknown():
    n = np.array([[10, 10]])
    assert odds_ratio(n, np.array([[0, 3]])) == (None, None, None)
    assert odds_ratio(n, np.array([[3, 0]])) == (None, None, None)


def test_quantiles_come_with_an_interval_of_ranks():
    middle, low, high = quantile_ms(sample(2, 5000), 0.95)
    truth = np.exp(4.4 + 0.6 * 1.645)
    assert low < truth < high
    assert middle == pytest.approx(truth, rel=0.06)
    assert quantile_ms(counted([]), 0.5) == (None, None, None)
    assert quantile_ms(counted([np.inf] * 3), 0.5) == (None, None, None)


def test_quantiles_compare_as_a_ratio():
    ratio, low, high = quantile_ratio(sample(3, 3000, 1.5), sample(4, 9000), 0.95)
    assert low < 1.5 < high
    assert ratio == pytest.approx(1.5, rel=0.15)
    assert quantile_ratio(counted([]), sample(4, 50), 0.5) == (None, None, None)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.2, 3.0])
def test_latencies_compare_as_a_factor(factor):
    candidate = np.stack([sample(seed, 200, factor) for seed in range(20)])
    stable = np.stack([sample(seed + 50, 800) for seed in range(20)])
    ratio, low, high = latency_ratio(candidate, stable)
    assert low < factor < high
    assert ratio == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize(("mine", "other"), [(60_000.0, 2.0), (307.0, 4.0), (2.0, 60_000.0)])
def test_a_factor_is_as_large_as_it_is(mine, other):
    ratio, low, high = latency_ratio(counted([mine] * 50)[None], counted([other] * 50)[None])
    assert ratio == pytest.approx(mine / other, rel=0.2)
    assert low <= ratio <= high
    assert latency_ratio(counted([])[None], counted([5.0])[None]) == (None, None, None)


def test_identical_spikes_have_a_factor_of_about_one():
    spike = counted([5.0] * 40)[None]
    ratio, low, high = latency_ratio(spike, spike)
    assert low <= ratio <= high
    assert ratio == pytest.approx(1, rel=0.03)
