"""The simulated queue, by theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deployer.profile.queueing import Queue, Stalls, respond, run, worked

CHANCE = 7


def poisson(rps: float, copies: int, count: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(CHANCE).exponential(1 / rps, (copies, count)), axis=1)


def test_one_server_waits_as_pollaczek_and_khinchine_say() -> None:
    arrivals = poisson(0.6, 400, 2000)
    gone, refused = run(arrivals, np.ones_like(arrivals), 1, None)
    waiting = (gone - arrivals - 1)[:, 300:].mean()
    assert waiting == pytest.approx(0.6 / (2 * (1 - 0.6)), rel=0.03)
    assert not refused.any()


def test_four_servers_make_the_share_wait_that_erlang_c_says() -> None:
    load, slots = 3.0, 4
    arrivals = poisson(load, 400, 1500)
    sizes = np.random.default_rng(CHANCE + 1).exponential(1.0, arrivals.shape)
    gone, _ = run(arrivals, sizes, slots, None)
    waited = ((gone - arrivals - sizes) > 1e-9)[:, 300:].mean()
    rho = load / slots
    busy = load**slots / math.factorial(slots) / (1 - rho)
    assert waited == pytest.approx(busy / (sum(load**k / math.factorial(k) for k in range(slots)) + busy), rel=0.04)


@pytest.mark.parametrize(("slots", "limit"), [(1, 1), (2, 4), (4, 8)])
def test_a_full_house_refuses_as_erlang_says(slots: int, limit: int) -> None:
    load = 0.8 * slots
    arrivals = poisson(load, 300, 1500)
    sizes = np.random.default_rng(CHANCE + 2).exponential(1.0, arrivals.shape)
    _, refused = run(arrivals, sizes, slots, limit)
    weight = [1.0]
    for inside in range(1, limit + 1):
        weight.append(weight[-1] * load / min(inside, slots))
    assert refused[:, 200:].mean() == pytest.approx(weight[-1] / sum(weight), rel=0.05)


def test_a_refused_request_is_answered_at_once() -> None:
    gone, refused = run(np.array([[0.0, 0.1, 0.2]]), np.ones((1, 3)), 1, 2)
    assert refused.tolist() == [[False, False, True]]
    assert gone.tolist() == [[1.0, 2.0, 0.2]]


def test_nobody_is_served_in_a_pause() -> None:
    queue = Queue(1, np.array([1.0]), 0.25, None)
    latency, _ = respond(queue, np.array([[0.5, 10.0]]), np.ones((1, 2)), (np.array([[1.0]]), np.array([[2.0]])))
    assert latency.tolist() == [[3.25, 1.25]]


def test_a_request_that_comes_in_a_pause_waits_for_its_end() -> None:
    queue = Queue(2, np.array([1.0]), 0.0, 4)
    latency, _ = respond(queue, np.array([[2.0]]), np.ones((1, 1)), (np.array([[1.0]]), np.array([[2.0]])))
    assert latency.tolist() == [[2.0]]


def test_the_clock_of_work_stands_still_in_pauses() -> None:
    at = np.array([0.5, 1.5, 3.5])
    assert worked(at, (np.array([1.0]), np.array([2.0]))).tolist() == [0.5, 1.0, 1.5]
    assert worked(at, (np.empty(0), np.empty(0))) is at


@pytest.mark.parametrize("is_periodic", [True, False])
def test_pauses_come_as_often_as_was_seen(is_periodic: bool) -> None:
    stalls = Stalls(10.0, is_periodic, np.array([1.0]))
    starts, lengths = stalls.draw(200, 200.0, np.random.default_rng(CHANCE))
    assert np.count_nonzero(starts < 200.0) / 200 == pytest.approx(20.0, rel=0.05)
    assert (lengths <= 1.0).all()
    assert (np.diff(starts, axis=1) >= lengths[:, :-1] / 0.95 - 1e-9).all()


def test_pauses_lower_the_ceiling() -> None:
    queue = Queue(2, np.array([0.1, 0.3]), 0.0, None)
    assert queue.ceiling_rps == pytest.approx(10.0)
    assert Queue(2, queue.sizes_s, 0.0, None, Stalls(10.0, True, np.array([1.0]))).ceiling_rps == pytest.approx(9.0)
