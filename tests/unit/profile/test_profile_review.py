"""Probes without a good answer, winners that were never shown, and what is promised after a confirmation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from rig import Fifo

from deployer.manifest.configuration import Configuration
from deployer.manifest.schema import Slo
from deployer.profile.advice import Advice, Ask
from deployer.profile.autoscale import rule_for
from deployer.profile.capacity import CapacitySearch
from deployer.profile.cheapest import CheapestSearch
from deployer.profile.identify import believe, delay_of, pool
from deployer.profile.service import trace_of
from deployer.profile.trials import Capacity, Probe, Seen, Tally
from deployer.rollout.plan import Measured, _full_instances

SLO = Slo.model_validate({"latency": {"p95": "100ms"}, "error_rate": "1%"})


def broken(probe: Probe, status: int, n: int = 100) -> Seen:
    arrival = np.linspace(0, probe.seconds, n, endpoint=False)
    return Seen(probe, arrival, np.full(n, 3.0), np.full(n, status, dtype=np.int16), probe.seconds)


@pytest.mark.parametrize("status", [503, 0, -1, 429])
def test_an_open_probe_without_a_good_answer_leaves_the_belief_of_the_closed_ones(status: int) -> None:
    server = Fifo(lambda chance: chance.uniform(0.018, 0.022))
    alone = trace_of(server.answer(Probe("warm", 0.0, 1, 4.0, False, ""), 1))
    full = trace_of(server.answer(Probe("closed", 0.0, 2, 4.0, False, ""), 1))
    bad = trace_of(broken(Probe("open", 40.0, 0, 10.0, True, ""), status))
    traces = [alone, full, bad]
    assert delay_of(traces, 1) == 0.0
    assert pool(traces, 1, 0.0).tolist() == pool([alone, full], 1, 0.0).tolist()
    assert believe(traces, None).slots == believe([alone, full], None).slots


def test_closed_probes_without_a_good_answer_leave_the_one_that_had_some() -> None:
    alone = trace_of(Fifo(lambda _: 0.02).answer(Probe("warm", 0.0, 1, 4.0, False, ""), 1))
    full = trace_of(broken(Probe("closed", 0.0, 2, 4.0, False, ""), 503))
    assert believe([alone, full], None).sizes_s.mean() == pytest.approx(0.0205, rel=0.05)


@pytest.mark.parametrize("status", [503, 0])
def test_a_server_that_fails_as_soon_as_arrivals_are_open_ends_the_search_without_a_promise(status: int) -> None:
    search, server = CapacitySearch(SLO, seed=1), Fifo(lambda chance: chance.uniform(0.018, 0.022))
    for _ in range(60):
        if not isinstance(probe := search.next(), Probe):
            break
        search.tell(broken(probe, status) if probe.kind == "open" else server.answer(probe, 1))
    found = search.answer_so_far()
    assert isinstance(search.next(), Capacity)
    assert found.infeasible or not found.measured


@dataclass
class Believes:
    """Two probes, then a capacity of 40 rps an instance; ``measured`` or not."""

    measured: bool = True
    told: list[Seen] = field(default_factory=list[Seen])
    limits_ms: tuple[float, ...] = (100.0,)
    most_rps: float = math.inf

    def next(self) -> Probe | Capacity:
        return Probe("closed", 0.0, 4, 4.0, False, "ceiling") if len(self.told) < 2 else self.answer_so_far()

    def tell(self, seen: Seen) -> None:
        self.told.append(seen)

    def is_hopeless(self, tally: Tally) -> bool:
        return False

    def answer_so_far(self) -> Capacity:
        return Capacity(40.0, 38.0, 42.0, False, self.measured, 50.0, "", (), 8.0, "p95")


def carry_out(search: CheapestSearch, holds: bool = True) -> tuple[Advice, list[Ask]]:
    asked: list[Ask] = []
    while isinstance(step := search.next(math.inf, math.inf), Ask):
        asked.append(step)
        assert len(asked) < 40
        fails = step.probe.kind == "open" and not holds
        search.tell(broken(step.probe, 503 if fails else 200))
    return step, asked


def cheapest(counts: list[int], rate: float, *, measured: bool = True) -> CheapestSearch:
    options = [Configuration(n, 1, 4) for n in counts]
    return CheapestSearch(
        options, lambda _: 0.05, SLO, rate, has_admission_limit=False, measuring=lambda *_: Believes(measured)
    )


def answer_for(advice: Advice, count: int) -> Capacity:
    found = next(each.capacity for each in advice.answers if each.configuration.instance_count == count)
    assert found is not None
    return found


def test_a_confirmed_number_of_instances_promises_the_rate_that_was_shown() -> None:
    advice, asked = carry_out(cheapest([1, 3], 100.0))
    assert advice.recommended == Configuration(3, 1, 4)
    assert asked[-1].probe.rps == 100.0
    three = answer_for(advice, 3)
    assert (three.sustainable_rps, three.lower, three.measured) == (100.0, 100.0, True)
    assert "120 rps are predicted and were not measured" in three.note


@pytest.mark.parametrize("rate", [100.0, 0.7, 33.3, 57.12, 1234.5])
@pytest.mark.parametrize("instances", [3, 7, 11])
def test_the_rate_that_was_shown_takes_as_many_instances_as_showed_it(rate: float, instances: int) -> None:
    each = rate / instances
    rule = rule_for(rate=rate, rps_per_instance=each, instances=instances, mean_latency_s=0.02, concurrency=4)
    assert rule.minimum == instances
    assert _full_instances(Measured(float(f"{each:.10g}"), rate), None) == instances


def test_the_fewest_instances_are_confirmed_too_when_their_search_ended_unconfirmed() -> None:
    advice, asked = carry_out(cheapest([1, 2], 30.0, measured=False))
    assert advice.recommended == Configuration(1, 1, 4)
    assert (asked[-1].probe.kind, asked[-1].probe.rps) == ("open", 30.0)
    assert (answer_for(advice, 1).measured, answer_for(advice, 1).sustainable_rps) == (True, 30.0)


def test_the_fewest_instances_that_were_confirmed_by_their_search_are_not_asked_again() -> None:
    _, asked = carry_out(cheapest([1, 2], 30.0))
    assert [ask.probe.kind for ask in asked] == ["closed", "closed"]


def test_what_fails_its_confirmation_is_not_recommended_and_the_search_ends() -> None:
    advice, asked = carry_out(cheapest([1, 2], 30.0, measured=False), holds=False)
    assert (advice.recommended, advice.is_final) == (None, True)
    assert [ask.configuration.instance_count for ask in asked if ask.probe.kind == "open"] == [1, 2]
    assert all(each.why == "was not confirmed to carry 30 rps" for each in advice.answers)
    assert len(advice.notes) == 2
