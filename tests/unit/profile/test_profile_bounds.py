"""Exact bounds of a share, and targets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from deployer.manifest.schema import Slo
from deployer.profile.bounds import lower_share, upper_share
from deployer.profile.targets import shares, targets_of


@pytest.mark.parametrize(("k", "n"), [(0, 3000), (1, 10), (3, 2000), (40, 700), (9, 10)])
def test_bounds_are_those_of_clopper_and_pearson(k: int, n: int) -> None:
    assert upper_share(k, n) == pytest.approx(beta.ppf(0.95, k + 1, n - k), rel=1e-3)
    assert lower_share(k, n) == pytest.approx(beta.ppf(0.05, k, n - k + 1) if k else 0.0, rel=2e-3, abs=1e-6)


def test_3000_clean_requests_show_an_error_rate_of_at_most_a_thousandth() -> None:
    assert upper_share(0, 3000) <= 0.001 < upper_share(0, 2900)


def test_nothing_is_known_of_nothing() -> None:
    assert upper_share(0, 0) == 1.0
    assert lower_share(0, 0) == 0.0


def test_a_failed_request_counts_against_every_target() -> None:
    slo = Slo.model_validate({"latency": {"p50": "100ms", "p99": "1s"}, "error_rate": "1%"})
    targets = targets_of(slo)
    assert [(target.name, target.limit_s) for target in targets] == [("p50", 0.1), ("p99", 1.0), ("error_rate", np.inf)]
    latency, failed = np.array([0.01, 0.2, 0.01, 0.01]), np.array([True, False, False, False])
    assert shares(latency, failed, targets) == pytest.approx([1.0, 25.0, 25.0])


def test_an_slo_of_errors_alone_has_no_latency_target() -> None:
    assert [target.name for target in targets_of(Slo.model_validate({"error_rate": "1%"}))] == ["error_rate"]
