"""The SLO as a list of "at most this share of requests may be bad", which is all a capacity search needs of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployer.manifest.schema import Slo

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Target:
    """At most ``allowed`` of all requests fail or are answered later than ``limit_s``."""

    name: str
    limit_s: float
    """Infinite for ``error_rate``: only failures count."""
    allowed: float


def targets_of(slo: Slo) -> tuple[Target, ...]:
    """One target for each line of the SLO; a failed request is late under every one of them."""
    found = [
        Target(name, limit_s, 1 - _QUANTILES[name])
        for name, limit_s in (slo.latency.targets() if slo.latency else ())
        if limit_s is not None
    ]
    if slo.error_rate is not None:
        found.append(Target("error_rate", float("inf"), slo.error_rate))
    return tuple(found)


def are_kept(latency_s: NDArray[np.float64], failed: NDArray[np.bool_], targets: tuple[Target, ...]) -> bool:
    """Whether requests, of which there are some, kept every target among themselves."""
    return latency_s.size > 0 and bool(np.all(shares(latency_s, failed, targets) <= 1))


def shares(
    latency_s: NDArray[np.float64], failed: NDArray[np.bool_], targets: tuple[Target, ...]
) -> NDArray[np.float64]:
    """Share of bad requests over the share allowed, for each target (1: just met); the last axis is the requests."""
    rows = [np.mean(failed | (latency_s > target.limit_s), axis=-1) / target.allowed for target in targets]
    return np.stack(rows, axis=-1)
