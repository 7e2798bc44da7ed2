"""Exact bounds, against scipy as an oracle."""

from __future__ import annotations

import pytest
from scipy import stats

from deployer.loadtest.chance import beta_below, is_above, is_at_most, lower_share, student, upper_share


@pytest.mark.parametrize("a", [0.5, 1.0, 3.7, 250.0, 40_000.0])
@pytest.mark.parametrize("b", [0.5, 1.0, 12.2, 9_000.0])
@pytest.mark.parametrize("x", [0.0, 1e-6, 0.02, 0.5, 0.97, 1.0])
def test_the_beta_distribution_is_scipys(a: float, b: float, x: float) -> None:
    assert beta_below(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("risk", [0.05, 0.01])
@pytest.mark.parametrize(("bad", "n"), [(0, 3000), (1, 20), (7.5, 61.3), (40, 40), (999, 100_000), (0, 0)])
def test_bounds_of_a_share_are_those_of_clopper_and_pearson(bad: float, n: float, risk: float) -> None:
    upper = 1.0 if bad == n else float(stats.beta.ppf(1 - risk, bad + 1, n - bad))
    lower = 0.0 if bad == 0 else float(stats.beta.ppf(risk, bad, n - bad + 1))
    assert (lower_share(bad, n, risk), upper_share(bad, n, risk)) == pytest.approx((lower, upper), rel=1e-8)


def test_a_bound_is_at_95_percent_unless_told_otherwise() -> None:
    assert upper_share(0, 3000) <= 0.001 < upper_share(0, 2900)
    assert lower_share(9, 10) == pytest.approx(lower_share(9, 10, 0.05))


@pytest.mark.parametrize("share", [0.001, 0.05, 0.4])
@pytest.mark.parametrize(("bad", "n"), [(0, 2994), (0, 2995), (3, 40), (0, 40), (40, 40), (7.5, 61.3)])
def test_a_share_is_shown_when_its_bound_says_so(bad: float, n: float, share: float) -> None:
    assert is_at_most(bad, n, share) == (upper_share(bad, n) <= share)
    assert is_above(bad, n, share) == (lower_share(bad, n) > share)


@pytest.mark.parametrize("freedom", [1, 2, 9, 60, 3000])
def test_students_quantile_is_scipys(freedom: int) -> None:
    assert student(freedom) == pytest.approx(float(stats.t.ppf(0.95, freedom)), rel=1e-8)
