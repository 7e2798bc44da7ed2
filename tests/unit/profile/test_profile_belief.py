"""What the probes so far say together: pauses make it less sure, and a model that is not trusted is asked only nearby."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from rig import Fifo

from deployer.profile.belief import _CHANCE_PAUSED, Belief, _stall_spread, conclude
from deployer.profile.predict import Limit
from deployer.profile.queueing import Queue, Stalls
from deployer.profile.service import Trace, trace_of
from deployer.profile.targets import Target
from deployer.profile.trials import Probe

TARGETS = (Target("p95", 0.5, 0.05),)


def traces(server: Fifo, *rates: float) -> list[Trace]:
    probes = [
        Probe("warm", 0.0, 1, 4.0, False, ""),
        Probe("closed", 0.0, 2, 12.0, False, ""),
        *(Probe("open", rate, 0, 30.0, False, "") for rate in rates),
    ]
    return [trace_of(server.answer(probe, seed)) for seed, probe in enumerate(probes)]


def belief(seen: list[Trace], *, trusted: bool = True) -> Belief:
    return conclude(seen, TARGETS, None, 1, trusted=trusted, fine=False)


def test_pauses_lower_the_capacity() -> None:
    calm = belief(traces(Fifo(lambda _: 0.02), 35.0))
    paused = belief(traces(Fifo(lambda _: 0.02, pause=(5.0, 0.4)), 35.0))
    assert calm.queue.stalls is None
    assert calm.pauses == 0.0
    assert paused.queue.stalls is not None
    assert paused.queue.stalls.interval_s == pytest.approx(5.0, rel=0.02)
    assert paused.rps < 0.95 * calm.rps
    assert paused.sd == pytest.approx(math.hypot(paused.warp.sd, paused.spread, paused.pauses, _CHANCE_PAUSED))


def test_few_pauses_are_less_sure_than_many_and_pauses_at_random_than_pauses_by_the_clock() -> None:
    queue, limit = Queue(1, np.array([0.02]), 0.0, None), Limit(35.0, 0, 3.0, 0.0, 1.0)

    def spread(count: int, *, is_periodic: bool) -> float:
        stalls = Stalls(5.0, is_periodic, np.full(count, 0.4))
        return _stall_spread(replace(queue, stalls=stalls), limit, TARGETS, 1)

    few, many = spread(4, is_periodic=True), spread(16, is_periodic=True)
    assert few == pytest.approx(2 * many)
    assert spread(4, is_periodic=False) > 10 * few > 0
    assert _stall_spread(queue, limit, TARGETS, 1) == 0.0


def test_a_model_that_is_not_trusted_is_asked_near_the_estimate_alone() -> None:
    seen = traces(Fifo(lambda _: 0.02), 15.0, 46.0)
    assert not belief(seen).warp.misfit
    assert belief(seen, trusted=False).warp.misfit
    assert not belief(seen[:3], trusted=False).warp.misfit  # 15 rps are far from it
