"""The search, on servers of exactly known behaviour: what it asks, what it answers, when it gives up."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pytest
from rig import Fifo, run

from deployer.manifest.schema import Slo
from deployer.profile.capacity import CONFIRM_S, MOST_LOAD_S, CapacitySearch
from deployer.profile.trials import Capacity, Probe, Seen, Tally

MD1_RPS = 74.1
"""Of a 10 ms server whose p95 is to be within 60 ms (long simulation, tests/bench/profile/truths.json)."""


def slo(p95: str | None = "60ms", error_rate: str | None = None, **more: str) -> Slo:
    latency = {"latency": {"p95": p95, **more}} if p95 else {}
    return Slo.model_validate(latency | ({"error_rate": error_rate} if error_rate else {}))


def constant(mean_s: float):
    return lambda chance: mean_s


def exponential(mean_s: float):
    return lambda chance: chance.exponential(mean_s)


@pytest.fixture(scope="module")
def steady() -> tuple[Capacity, list[Probe]]:
    return run(CapacitySearch(slo(), seed=5), Fifo(constant(0.01)))


@pytest.fixture(scope="module")
def errors_alone() -> tuple[Capacity, list[Probe]]:
    return run(CapacitySearch(slo(None, "5%"), seed=3), Fifo(constant(0.04)))


def test_the_answer_is_close_below_the_truth(steady: tuple[Capacity, list[Probe]]) -> None:
    capacity, _ = steady
    assert 0.95 <= capacity.sustainable_rps / MD1_RPS <= 1.02
    assert capacity.lower <= MD1_RPS * 1.003
    assert capacity.upper >= MD1_RPS * 0.997
    assert capacity.measured
    assert not capacity.infeasible
    assert capacity.binding == "p95"
    assert capacity.ceiling_rps == pytest.approx(100, rel=0.02)


def test_it_ends_with_a_confirmation_at_what_it_promises(steady: tuple[Capacity, list[Probe]]) -> None:
    capacity, probes = steady
    assert [probe.kind for probe in probes[:2]] == ["warm", "warm"]
    assert probes[-1].kind == "open"
    assert probes[-1].seconds == CONFIRM_S
    assert probes[-1].rps == pytest.approx(capacity.sustainable_rps, rel=0.025)
    assert capacity.load_seconds == pytest.approx(sum(probe.seconds for probe in probes))


def test_the_curve_says_what_was_measured_and_what_is_predicted(steady: tuple[Capacity, list[Probe]]) -> None:
    capacity, probes = steady
    assert sum(point.measured for point in capacity.curve) == sum(probe.kind == "open" for probe in probes)
    assert [point.rps for point in capacity.curve] == sorted(point.rps for point in capacity.curve)
    assert all(point.lower <= point.violation <= point.upper for point in capacity.curve)
    predicted = [point for point in capacity.curve if not point.measured]
    assert predicted[0].violation < 0.2
    assert predicted[-1].violation > 1.5


def test_the_error_rate_actually_shown_is_said(steady: tuple[Capacity, list[Probe]]) -> None:
    capacity, probes = steady
    clean = sum(probe.rps * probe.seconds for probe in probes if abs(probe.rps / capacity.sustainable_rps - 1) < 0.025)
    assert capacity.error_rate_shown == pytest.approx(3 / clean, rel=0.1)


def test_the_same_seed_asks_the_same(errors_alone: tuple[Capacity, list[Probe]]) -> None:
    assert run(CapacitySearch(slo(None, "5%"), seed=3), Fifo(constant(0.04))) == errors_alone


@pytest.mark.slow
def test_a_slower_server_never_gets_a_higher_answer(steady: tuple[Capacity, list[Probe]]) -> None:
    slower, _ = run(CapacitySearch(slo(), seed=5), Fifo(constant(0.0103)))
    assert slower.sustainable_rps < steady[0].sustainable_rps * 0.985


def test_next_is_the_same_until_told() -> None:
    search = CapacitySearch(slo())
    assert search.next() == search.next()


def test_without_time_left_the_answer_so_far_is_given() -> None:
    search = CapacitySearch(slo())
    early = search.next(left_s=1.0)
    assert isinstance(early, Capacity)
    assert not early.measured
    assert "only the ceiling is known" in early.note
    assert isinstance(search.next(), Probe)


def test_a_budget_that_ends_before_the_confirmation_leaves_a_prediction() -> None:
    search, server = CapacitySearch(slo()), Fifo(constant(0.01))
    most: list[float] = []
    while isinstance(probe := search.next(left_s=35.0), Probe):
        search.tell(server.answer(probe, 1))
        most.append(search.most_rps)
    assert not probe.measured
    assert most[0] == math.inf  # nothing is known before the climb
    assert most[-2] == probe.ceiling_rps
    assert MD1_RPS < most[-1] < 1.1 * MD1_RPS  # after an open probe
    assert probe.sustainable_rps == pytest.approx(MD1_RPS, rel=0.05)


def test_a_rate_that_was_counted_by_an_unhealthy_generator_is_asked_again() -> None:
    search, server = CapacitySearch(slo()), Fifo(constant(0.01))
    probe = search.next()
    assert isinstance(probe, Probe)
    search.tell(replace(server.answer(probe, 1), healthy=False))
    assert search.next() == probe
    for _ in range(2):
        search.tell(replace(server.answer(probe, 1), healthy=False))
    assert isinstance(answer := search.next(), Capacity)
    assert "generator could not keep up" in answer.note


def test_a_ceiling_beyond_the_generator_is_said_and_what_it_can_send_is_asked() -> None:
    search, server, probes = CapacitySearch(slo("400ms")), Fifo(constant(0.05), slots=4), list[Probe]()
    while isinstance(probe := search.next(), Probe):
        probes.append(probe)
        search.tell(replace(server.answer(probe, len(probes)), healthy=probe.concurrency < 4))
    assert [each.concurrency for each in probes if each.kind == "closed"] == [2, 4, 4]
    assert re.fullmatch(
        r"the load generator cannot keep 4 requests in flight: the ceiling is above [34]\d\..* rps", probe.note
    )
    assert 30 < probe.sustainable_rps < 80
    assert search.most_rps == math.inf


def test_a_long_closed_trial_that_the_generator_cannot_keep_up_is_done_without() -> None:
    search, server, probes = CapacitySearch(slo("300ms")), Fifo(lambda chance: chance.exponential(0.04)), list[Probe]()
    while isinstance(probe := search.next(), Probe):
        probes.append(probe)
        search.tell(replace(server.answer(probe, len(probes)), healthy=probe.kind == "open" or probe.seconds < 15))
    assert [each.why for each in probes].count("more service times") == 2
    assert 0 < probe.sustainable_rps < 20


def test_a_probe_without_any_request_teaches_nothing() -> None:
    search = CapacitySearch(slo())
    probe = search.next()
    assert isinstance(probe, Probe)
    search.tell(Seen(probe, np.empty(0), np.empty(0), np.empty(0, np.int16), 0.0))
    assert search.next() == probe


@pytest.mark.parametrize(("late", "errors", "is_over"), [(5, 0, False), (60, 0, True), (0, 0, False), (0, 20, True)])
def test_a_hopeless_probe_is_told_by_what_is_late_or_failed(late: int, errors: int, is_over: bool) -> None:
    search = CapacitySearch(slo(error_rate="0.1%"))
    assert search.limits_ms == (60.0,)
    assert search.is_hopeless(Tally(3.0, 100, errors, {60.0: late})) is is_over


def test_few_requests_are_never_hopeless() -> None:
    assert not CapacitySearch(slo()).is_hopeless(Tally(1.0, 20, 20, {60.0: 20}))


def test_a_hopeless_probe_is_cut() -> None:
    server = Fifo(constant(0.01), factor=lambda served: 1.5 if 1950 < served < 5000 else 1.0)
    run(CapacitySearch(slo(), seed=2), server)
    assert server.cut_s is not None
    assert server.cut_s < 30


def test_infeasible_is_said_out_loud() -> None:
    capacity, probes = run(CapacitySearch(slo("5ms")), Fifo(constant(0.01)))
    assert capacity.infeasible
    assert capacity.sustainable_rps == capacity.upper == 0
    assert "no rate keeps the slo" in capacity.note
    assert len(probes) < 8


def test_errors_that_no_load_explains_make_it_infeasible() -> None:
    capacity, _ = run(CapacitySearch(slo("60ms", "0.1%")), Fifo(constant(0.01), error_share=0.02))
    assert capacity.infeasible
    assert "error_rate" in capacity.note


@pytest.fixture(scope="module")
def admitting() -> Capacity:
    return run(CapacitySearch(slo("150ms", "0.1%"), seed=1), Fifo(exponential(0.04), 4, limit=8))[0]


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_sheds_load_with_another_status_carries_what_one_with_429_does(
    status: int, admitting: Capacity
) -> None:
    server = Fifo(exponential(0.04), 4, limit=8, away=status)
    assert run(CapacitySearch(slo("150ms", "0.1%"), seed=1), server)[0] == admitting
    assert admitting.sustainable_rps > 30


@pytest.mark.parametrize("error_rate", [None, "0.1%"])
@pytest.mark.parametrize(("first", "until_s", "probes"), [(2, 2.5, 1), (3, 2.5, 1), (6, 9.0, 4)])
def test_an_outage_of_seconds_is_no_property_of_the_server(
    first: int, until_s: float, probes: int, error_rate: str | None, steady: tuple[Capacity, list[Probe]]
) -> None:
    """While it warms up, climbs, and confirms: there for so many probes, which are cut as hopeless."""

    def down(probe: int, at: float) -> bool:
        return first <= probe < first + probes and 1.0 < at < until_s

    capacity, asked = run(CapacitySearch(slo("60ms", error_rate), seed=5), Fifo(constant(0.01), down=down))
    assert 0.95 <= capacity.sustainable_rps / MD1_RPS <= 1.02
    assert "requests failed while next to nothing was answered: sent again" in capacity.note
    assert asked[first - 1] == asked[first - 2 + probes] == asked[first]


@pytest.mark.parametrize("outages", [((1.0, 3.0),), ((1.0, 2.0), (6.0, 7.0))])
def test_outages_among_stray_failures_are_told_from_them(outages: tuple[tuple[float, float], ...]) -> None:
    def down(probe: int, at: float) -> bool:
        return probe == 6 and any(begin < at < end for begin, end in outages)

    server = Fifo(constant(0.01), error_share=0.002, down=down)
    capacity, _ = run(CapacitySearch(slo("60ms", "1%"), seed=5), server)
    assert 0.95 <= capacity.sustainable_rps / MD1_RPS <= 1.02
    assert "sent again" in capacity.note


def test_a_few_failures_that_a_closed_loop_repeats_at_once_are_no_share_of_requests() -> None:
    server = Fifo(constant(0.01), down=lambda probe, at: probe == 4 and 1.0 < at < 1.005)
    capacity, _ = run(CapacitySearch(slo("60ms", "0.1%"), seed=5), server)
    assert 0.95 <= capacity.sustainable_rps / MD1_RPS <= 1.02


def test_failures_of_some_that_wait_are_neither_refusals_nor_there_at_any_load() -> None:
    @dataclass
    class Failing(Fifo):
        def answer(self, probe: Probe, seed: int, stop: Callable[[Tally], bool] | None = None) -> Seen:
            seen = super().answer(probe, seed, stop)
            waited = seen.latency_ms > 12
            unlucky = np.random.default_rng(self.probes).random(waited.size) < 0.02
            return replace(seen, status=np.where(waited & unlucky, 500, seen.status))

    capacity, _ = run(CapacitySearch(slo("60ms", "5%"), seed=5), Failing(constant(0.01)))
    assert 0.93 <= capacity.sustainable_rps / MD1_RPS <= 1.02
    strict, _ = run(CapacitySearch(slo("60ms", "1%"), seed=5), Failing(constant(0.01)))
    assert not strict.infeasible
    assert 20 < strict.sustainable_rps < 55


def test_where_only_next_to_no_load_was_seen_to_keep_the_slo_that_is_answered() -> None:
    """A slow model fails for 1.6 s while it is confirmed: fewer answers are missing than an outage is known by."""
    server = Fifo(constant(0.3), 2, down=lambda probe, at: probe == 6 and 5 < at < 6.6)
    capacity, _ = run(CapacitySearch(slo("1500ms", "0.5%"), seed=3), server)
    assert not capacity.infeasible
    assert "no rate beyond is sure to keep the slo" in capacity.note
    assert 0 < capacity.sustainable_rps < 6.6


def test_an_outage_that_lasts_is_not_waited_for_without_end() -> None:
    server = Fifo(constant(0.01), down=lambda probe, at: probe > 4)
    capacity, _ = run(CapacitySearch(slo("60ms", "0.1%"), seed=5), server)
    assert capacity.load_seconds < MOST_LOAD_S
    assert capacity.sustainable_rps == 0


@pytest.mark.parametrize("seed", [1001, 1005])
def test_a_model_that_was_dropped_promises_no_more_than_a_step_above_what_held(seed: int) -> None:
    """Four times slower in 4 s of every 45: its service times alone say 26 to 35 rps, and 17 is true."""
    server = Fifo(constant(0.01), phase=lambda at: 4.0 if 20 < at % 45 < 24 else 1.0)
    capacity, _ = run(CapacitySearch(slo(), seed=seed), server)
    assert "the model was dropped" in capacity.note
    assert not capacity.measured
    assert capacity.lower <= capacity.sustainable_rps < 17.5


@pytest.mark.parametrize("share", [0.02, 0.6])
def test_503_that_no_load_explains_are_errors(share: float) -> None:
    server = Fifo(constant(0.01), error_share=share, broken=503)
    capacity, _ = run(CapacitySearch(slo("60ms", "0.1%")), server)
    assert capacity.infeasible
    assert "whatever the load" in capacity.note


def test_a_server_that_only_fails_is_given_up_at_once() -> None:
    capacity, probes = run(CapacitySearch(slo()), Fifo(constant(0.01), error_share=1.0))
    assert capacity.infeasible
    assert len(probes) == 1
    assert "not one request" in capacity.note


@pytest.mark.slow
def test_slow_requests_close_to_the_bound_are_called_nearly_flat() -> None:
    server = Fifo(lambda chance: 0.4 if chance.random() < 0.045 else 0.04, slots=4)
    capacity, _ = run(CapacitySearch(slo("300ms"), seed=3), server)
    assert "nearly flat" in capacity.note


def test_where_next_to_no_load_is_at_the_slo_the_least_rate_is_answered() -> None:
    turn = count()
    server = Fifo(lambda chance: 0.4 if next(turn) % 18 == 0 else 0.04, slots=8)
    capacity, _ = run(CapacitySearch(slo("300ms"), seed=3), server)
    assert not capacity.infeasible
    assert "nearly flat" in capacity.note
    assert 0 < capacity.sustainable_rps < 5


def test_an_slo_of_errors_alone_is_limited_by_the_ceiling(errors_alone: tuple[Capacity, list[Probe]]) -> None:
    assert 0.94 * 25 < errors_alone[0].sustainable_rps < 25


@pytest.mark.slow
def test_a_cold_plateau_does_not_count() -> None:
    server = Fifo(constant(0.01), factor=lambda served: 2.8 if served < 900 else 1.0)
    capacity, _ = run(CapacitySearch(slo(), seed=5), server)
    assert 0.95 <= capacity.sustainable_rps / MD1_RPS <= 1.02


def test_a_server_that_warms_up_while_the_ceiling_is_sought_is_measured_anew() -> None:
    server = Fifo(constant(0.01), factor=lambda served: 2.8 if served < 450 else 1.0)
    capacity, probes = run(CapacitySearch(slo(), seed=5), server)
    assert sum(probe.kind == "warm" for probe in probes) >= 5
    assert 0.95 <= capacity.sustainable_rps / MD1_RPS <= 1.02


@pytest.mark.slow
def test_warming_up_takes_as_long_as_the_service_time_falls() -> None:
    server = Fifo(constant(0.01), factor=lambda served: 1 + 3 * math.exp(-served / 500))
    capacity, probes = run(CapacitySearch(slo(), seed=5), server)
    assert sum(probe.kind == "warm" for probe in probes) > 3
    assert 0.95 <= capacity.sustainable_rps / MD1_RPS <= 1.02


def test_a_server_that_never_settles_is_not_waited_for_without_end() -> None:
    server = Fifo(constant(0.01), factor=lambda served: 1.1 ** (served % 997 // 90))
    _, probes = run(CapacitySearch(slo("400ms"), seed=5), server)
    assert sum(probe.kind == "warm" for probe in probes) <= 39


@pytest.mark.slow
def test_the_admission_limit_lowers_the_answer() -> None:
    server = Fifo(lambda chance: chance.exponential(0.02), slots=2, limit=4)
    capacity, probes = run(CapacitySearch(slo("400ms", "1%"), admission_limit=4, seed=5), server)
    assert capacity.binding == "error_rate"
    weight = [1.0]
    best = 0.0
    for rps in np.arange(10.0, 80.0, 0.25):  # Erlang's loss formula of 2 servers and 2 places
        weight = [1.0]
        for inside in range(1, 5):
            weight.append(weight[-1] * rps * 0.02 / min(inside, 2))
        best = rps if weight[-1] / sum(weight) <= 0.01 else best
    assert 0.93 <= capacity.sustainable_rps / best <= 1.02
    assert max(probe.concurrency for probe in probes) <= 4
    assert capacity.load_seconds <= MOST_LOAD_S


def test_a_limit_that_the_server_does_not_keep_promises_no_more_than_was_ever_answered() -> None:
    server = Fifo(lambda chance: chance.uniform(0.08, 0.12), slots=4)
    capacity, _ = run(CapacitySearch(slo("4s", "1%"), admission_limit=32, seed=1), server)
    assert capacity.lower <= capacity.sustainable_rps <= capacity.ceiling_rps
    numbers = (capacity.sustainable_rps, capacity.lower, capacity.upper, capacity.ceiling_rps, capacity.endpoint_rps)
    assert {type(number) for number in numbers} == {float}, "others cannot be written as YAML"


def test_a_limit_of_one_needs_no_climb() -> None:
    server = Fifo(constant(0.01), limit=1)
    capacity, probes = run(CapacitySearch(slo("400ms", "5%"), admission_limit=1, seed=5), server)
    assert not any(probe.kind == "closed" and probe.concurrency > 1 for probe in probes)
    assert capacity.sustainable_rps < 6


def test_a_server_that_does_worse_than_its_service_times_say_is_believed_rather_than_the_model() -> None:
    """A fifth of the time its answers are late: no pause, no service time of its own."""
    capacity, probes = run(CapacitySearch(slo("100ms"), seed=5), Jammed(constant(0.01)))
    assert "the model was dropped" in capacity.note
    assert capacity.sustainable_rps < 70
    assert len(probes) < 20


class Jammed(Fifo):
    """Answers of open probes are late for a fifth of the time."""

    def answer(self, probe: Probe, seed: int, stop=None) -> Seen:
        seen = super().answer(probe, seed, None)
        if probe.kind != "open":
            return seen
        late = (seen.arrival_s % 10 < 2) & (probe.rps > 40)
        return replace(seen, latency_ms=seen.latency_ms + np.where(late, 130.0, 0.0))
