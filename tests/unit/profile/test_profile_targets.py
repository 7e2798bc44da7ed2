"""What counts as bad, by target."""

from __future__ import annotations

import numpy as np
import pytest

from deployer.manifest.schema import Slo
from deployer.profile.targets import shares, targets_of


def test_a_failed_request_counts_against_every_target() -> None:
    slo = Slo.model_validate({"latency": {"p50": "100ms", "p99": "1s"}, "error_rate": "1%"})
    targets = targets_of(slo)
    assert [(target.name, target.limit_s) for target in targets] == [("p50", 0.1), ("p99", 1.0), ("error_rate", np.inf)]
    latency, failed = np.array([0.01, 0.2, 0.01, 0.01]), np.array([True, False, False, False])
    assert shares(latency, failed, targets) == pytest.approx([1.0, 25.0, 25.0])


def test_an_slo_of_errors_alone_has_no_latency_target() -> None:
    assert [target.name for target in targets_of(Slo.model_validate({"error_rate": "1%"}))] == ["error_rate"]
