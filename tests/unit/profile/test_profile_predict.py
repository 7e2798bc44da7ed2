"""The rate at which a queue just keeps the SLO, against theory; and the warp that the probes ask for."""

from __future__ import annotations

import numpy as np
import pytest

from deployer.profile.fit import TRUST, Reply, warp_of
from deployer.profile.predict import Draw, _crossing, find_limit, violations
from deployer.profile.queueing import Queue
from deployer.profile.targets import Target

EXPONENTIAL = -0.04 * np.log1p(-(np.arange(20_000) + 0.5) / 20_000)


def test_the_limit_of_m_m_4_is_that_of_theory() -> None:
    """69.57 rps: P(sojourn > 149.1 ms) = 5 % by Erlang C and the exponential wait behind it."""
    found = find_limit(Queue(4, EXPONENTIAL, 0.0009, None), (Target("p95", 0.15, 0.05),), 1)
    assert found.rps == pytest.approx(69.57, rel=0.012)
    assert 3 < found.slope < 5
    assert 1.2 < found.stiffness < 3


@pytest.mark.slow
def test_the_limit_under_the_admission_rule_is_that_of_erlang() -> None:
    """37.97 rps: 1 in 1000 is refused by 4 servers and 4 places."""
    targets = (Target("p95", 0.5, 0.05), Target("error_rate", np.inf, 0.001))
    found = find_limit(Queue(4, EXPONENTIAL, 0.0009, 8), targets, 1)
    assert found.rps == pytest.approx(37.97, rel=0.02)
    assert found.binding == 1


def test_failures_at_any_load_count() -> None:
    queue = Queue(1, np.array([0.01]), 0.0, None, errors=0.02)
    assert violations(queue, 10.0, (Target("p95", 1.0, 0.05),), Draw.of(queue, 64, 1000, 1))[0] == pytest.approx(
        0.4, rel=0.05
    )
    assert find_limit(queue, (Target("error_rate", np.inf, 0.01),), 1).rps == 0.0


def test_a_start_far_from_the_crossing_does_not_step_for_ever() -> None:
    queue = Queue(1, np.array([0.01]), 0.0, None)
    found = _crossing(queue, 15.0, (Target("p95", 0.06, 0.05),), Draw.of(queue, 64, 600, 1), 0.0)
    assert 15.0 < found.rps < 40.0


def reply(seen: int) -> Reply:
    """100 bad requests are expected of the model, give or take 10, and a tenth more for each percent of warp."""
    mean = 100 * np.exp(10 * np.array([-0.25, -0.12, -0.06, -0.03, 0.0, 0.03, 0.06, 0.12, 0.25]))
    return Reply(seen, mean, np.maximum(0.1 * mean, np.sqrt(mean)))


def test_without_probes_the_model_stands() -> None:
    assert warp_of([]).mean == pytest.approx(0.0, abs=1e-9)


def test_a_model_that_nothing_contradicts_is_as_sure_as_its_prior() -> None:
    assert warp_of([]).sd == pytest.approx(TRUST, rel=0.1)


def test_much_surprise_short_of_a_misfit_moves_the_estimate_and_widens_its_error() -> None:
    calm, doubted = warp_of([reply(110)]), warp_of([reply(143)])
    assert not doubted.misfit
    assert doubted.mean > 0.012
    assert doubted.sd > 1.5 * calm.sd


def test_small_surprises_hardly_move_a_trusted_model() -> None:
    warp = warp_of([reply(110)])
    assert not warp.misfit
    assert 0 < warp.mean < 0.006


def test_a_probe_that_cannot_be_reconciled_is_believed() -> None:
    warp = warp_of([reply(300)])
    assert warp.misfit
    assert warp.mean == pytest.approx(0.11, abs=0.01)


def test_probes_that_contradict_each_other_widen_the_error() -> None:
    agreeing, contradicting = warp_of([reply(100), reply(100)]), warp_of([reply(64), reply(150)])
    assert not contradicting.misfit
    assert contradicting.sd > 2 * agreeing.sd


def test_a_few_refusals_more_than_expected_come_in_a_burst_and_are_no_reason_to_doubt() -> None:
    """5 where 1 is expected: once in 25 times if they come in bursts, once in 270 if they came one by one."""
    mean = np.exp(6 * np.array([-0.25, -0.12, -0.06, -0.03, 0.0, 0.03, 0.06, 0.12, 0.25]))
    warp = warp_of([Reply(5, mean, np.sqrt(2 * mean))])
    assert not warp.misfit
    assert abs(warp.mean) < 0.003
