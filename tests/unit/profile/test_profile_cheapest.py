"""Which configuration is tried next, which is never tried, and which is recommended: against servers whose truth is known."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from deployer.manifest.configuration import Configuration
from deployer.manifest.schema import Slo
from deployer.profile.advice import Advice, Ask
from deployer.profile.cheapest import CheapestSearch, scaled
from deployer.profile.trials import Capacity, Probe, Seen, Tally

SLO = Slo.model_validate({"latency": {"p95": "100ms"}, "error_rate": "1%"})


def serve(probe: Probe, servers: int, service_s: Callable[[], float], chance: np.random.Generator) -> Seen:
    """A first-come-first-served queue with ``servers`` places, asked as ``probe`` says."""
    free = [0.0] * servers
    arrival: list[float] = []
    latency: list[float] = []
    if probe.kind == "open":
        count = chance.poisson(probe.rps * probe.seconds)
        for at in np.sort(chance.random(count)) * probe.seconds:
            begin = max(at, heapq.heappop(free))
            end = begin + service_s()
            heapq.heappush(free, end)
            arrival.append(float(at))
            latency.append(1000 * (end - at))
    else:
        users = [0.0] * max(probe.concurrency, 1)
        while (at := heapq.heappop(users)) < probe.seconds:
            begin = max(at, heapq.heappop(free))
            end = begin + service_s()
            heapq.heappush(free, end)
            heapq.heappush(users, end)
            arrival.append(at)
            latency.append(1000 * (end - at))
    status = np.full(len(arrival), 200, dtype=np.int16)
    return Seen(probe, np.array(arrival), np.array(latency), status, probe.seconds)


@dataclass
class World:
    """Every worker of every instance answers in ``service_s``; more instances may carry less than in proportion."""

    service_s: float = 0.02
    losses: dict[int, float] = field(default_factory=dict[int, float])
    slower: dict[str | None, float] = field(default_factory=dict[str | None, float])
    asked: list[Ask] = field(default_factory=list[Ask])
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))

    def answer(self, ask: Ask) -> Seen:
        self.asked.append(ask)
        c = ask.configuration
        mean = self.service_s * self.losses.get(c.instance_count, 1.0) * self.slower.get(c.instance_type, 1.0)
        return serve(ask.probe, c.instance_count * c.workers, lambda: mean * self.chance.uniform(0.9, 1.1), self.chance)

    def run(self, search: CheapestSearch) -> Advice:
        while isinstance(step := search.next(math.inf, math.inf), Ask):
            search.tell(self.answer(step))
            assert len(self.asked) < 200
        return step

    @property
    def shapes(self) -> list[Configuration]:
        return list(dict.fromkeys(replace(ask.configuration, instance_count=0) for ask in self.asked))


@dataclass
class Quick:
    """A search of two probes that believes 0.8 of the ceiling it sees, or nothing when answers are late anyway."""

    limits_ms: tuple[float, ...] = (100.0,)
    seen: list[Seen] = field(default_factory=list[Seen])
    share: float = 1.0
    """Of the ceiling, which is the most that it may carry."""

    @property
    def most_rps(self) -> float:
        return self.share * self.answer_so_far().ceiling_rps if self.seen else math.inf

    def next(self) -> Probe | Capacity:
        probes = [Probe("closed", 0.0, 16, 4.0, False, "ceiling"), Probe("warm", 0.0, 1, 2.0, False, "alone")]
        return probes[len(self.seen)] if len(self.seen) < len(probes) else self.answer_so_far()

    def tell(self, seen: Seen) -> None:
        if seen.healthy:
            self.seen.append(seen)

    def is_hopeless(self, tally: Tally) -> bool:
        return tally.errors > 50

    def answer_so_far(self) -> Capacity:
        ceiling = len(self.seen[0].status) / self.seen[0].seconds if self.seen else 0.0
        infeasible = len(self.seen) > 1 and float(np.median(self.seen[1].latency_ms)) > 100
        rps = 0.0 if infeasible else 0.8 * ceiling
        return Capacity(rps, 0.95 * rps, 1.05 * rps, infeasible, len(self.seen) > 1, ceiling, "", (), 6.0, "p95")


def options(counts: list[int], workers: list[int], types: tuple[str | None, ...] = (None,)) -> list[Configuration]:
    return [Configuration(n, w, 4, kind) for kind in types for n in counts for w in workers]


def by_worker(configuration: Configuration) -> float:
    return 0.05 * configuration.workers


def search(
    configurations: list[Configuration], rate: float, price: Callable[[Configuration], float] = by_worker
) -> CheapestSearch:
    return CheapestSearch(configurations, price, SLO, rate, has_admission_limit=False, measuring=lambda *_: Quick())


@pytest.fixture
def world() -> World:
    return World()


def test_the_cheapest_that_carries_the_rate_is_recommended_and_dearer_ones_are_not_tried(world: World) -> None:
    advice = world.run(search(options([1, 2, 3], [1, 2]), 30.0))
    assert advice.is_final
    assert advice.recommended == Configuration(1, 1, 4)
    assert world.shapes == [Configuration(0, 1, 4)]
    untried = next(each for each in advice.answers if each.configuration == Configuration(1, 2, 4))
    assert untried.capacity is None
    assert untried.why.startswith("not cheaper")


def test_more_instances_are_predicted_in_proportion_and_confirmed_at_their_full_number(world: World) -> None:
    advice = world.run(search(options([1, 2, 3, 4], [1]), 100.0))
    assert advice.recommended == Configuration(3, 1, 4)
    assert world.asked[-1].configuration.instance_count == 3
    assert world.asked[-1].probe.rps == 100.0
    answers = {each.configuration.instance_count: each for each in advice.answers}
    three, four = answers[3].capacity, answers[4].capacity
    assert three is not None
    assert four is not None
    assert (three.measured, four.measured) == (True, False)
    assert 100 <= three.sustainable_rps <= 150
    assert answers[2].why.startswith("carries")
    assert (answers[3].measured_at, answers[3].why) == (3, "")


def test_instances_that_carry_less_than_in_proportion_are_found_out(world: World) -> None:
    world.losses = {3: 2.2}
    advice = world.run(search(options([1, 3, 4], [1]), 100.0))
    assert advice.recommended == Configuration(4, 1, 4)
    assert any("did not carry" in note for note in advice.notes)


def test_a_rate_that_nothing_carries_has_no_recommendation(world: World) -> None:
    advice = world.run(search(options([1, 2], [1, 2]), 500.0))
    assert (advice.recommended, advice.is_final) == (None, True)
    assert all(each.why for each in advice.answers)
    assert all("carries" in each.why for each in advice.answers)


def test_no_rate_at_all_is_said_to_be_infeasible(world: World) -> None:
    world.service_s = 0.3
    advice = world.run(search(options([1], [1]), 1.0))
    assert advice.recommended is None
    capacity = advice.answers[0].capacity
    assert capacity is not None
    assert capacity.infeasible
    assert advice.answers[0].why == "no rate keeps the slo"


def test_each_instance_type_comes_first_then_all_shapes_of_the_two_best(world: World) -> None:
    world.slower = {"slow": 3.0}
    prices = {"cheap": 0.1, "dear": 0.11, "slow": 0.09}
    found = world.run(
        search(
            options([1, 2, 3], [1, 2], ("cheap", "dear", "slow")), 30.0, lambda each: prices[str(each.instance_type)]
        )
    )
    first_types = list(dict.fromkeys(shape.instance_type for shape in world.shapes))
    assert first_types[:2] == ["slow", "cheap"]
    assert found.recommended is not None
    assert found.recommended.instance_type in ("slow", "cheap")
    assert all(each.why for each in found.answers if each.configuration != found.recommended)


def test_a_configuration_that_cannot_be_measured_is_left_and_the_others_go_on(world: World) -> None:
    chosen = search(options([1], [1, 2]), 30.0)
    step = chosen.next(math.inf, math.inf)
    assert isinstance(step, Ask)
    chosen.exclude(step.configuration, "does not start: out of memory")
    advice = world.run(chosen)
    assert advice.recommended == Configuration(1, 2, 4)
    assert "out of memory" in next(each.why for each in advice.answers if each.configuration == step.configuration)


def test_a_number_of_instances_that_is_not_to_be_had_leaves_the_others(world: World) -> None:
    chosen = search(options([1, 3, 4], [1]), 100.0)
    while isinstance(step := chosen.next(math.inf, math.inf), Ask) and step.configuration.instance_count == 1:
        chosen.tell(world.answer(step))
    assert isinstance(step, Ask)
    chosen.exclude(step.configuration, "no quota")
    assert world.run(chosen).recommended == Configuration(4, 1, 4)


def test_without_time_or_money_the_advice_is_not_final(world: World) -> None:
    chosen = search(options([1], [1]), 30.0)
    for left_s, left_usd in ((1.0, math.inf), (math.inf, 0.0)):
        step = chosen.next(left_s, left_usd)
        assert isinstance(step, Advice)
        assert not step.is_final
        assert step.recommended is None
    assert isinstance(chosen.next(math.inf, math.inf), Ask)
    assert not chosen.advice().is_final


def test_a_trial_that_was_not_healthy_is_sent_again(world: World) -> None:
    chosen = search(options([1, 2], [1]), 60.0)
    while isinstance(step := chosen.next(math.inf, math.inf), Ask) and step.configuration.instance_count == 1:
        chosen.tell(world.answer(step))
    assert isinstance(step, Ask)
    chosen.tell(replace(world.answer(step), healthy=False))
    assert chosen.next(math.inf, math.inf) == step


def test_what_is_hopeless_is_what_the_slo_says(world: World) -> None:
    chosen = search(options([1], [1]), 30.0)
    assert tuple(chosen.limits_ms) == (100.0,)
    assert chosen.is_hopeless(Tally(10.0, 100, 51, {100.0: 100}))
    assert not chosen.is_hopeless(Tally(10.0, 100, 0, {100.0: 0}))
    chosen.tell(
        serve(Probe("warm", 0, 1, 1, False, ""), 1, lambda: 0.01, world.chance)
    )  # nothing was asked: nothing is heard


@pytest.mark.parametrize(("share", "probes"), [(1.0, 2), (0.8, 1)])
def test_a_shape_is_left_as_soon_as_the_most_that_it_may_carry_is_too_little(
    world: World, share: float, probes: int
) -> None:
    made = iter([Quick(share=share), Quick()])
    chosen = CheapestSearch(options([1], [1, 2]), by_worker, SLO, 45.0, measuring=lambda *_: next(made))
    advice = world.run(chosen)
    assert advice.recommended == Configuration(1, 2, 4)
    assert sum(ask.configuration.workers == 1 for ask in world.asked) == probes
    assert "carries" in advice.answers[0].why


def test_prediction_in_proportion_says_that_it_is_none_measured() -> None:
    one = Capacity(50.0, 45.0, 55.0, False, True, 60.0, "", (), 100.0)
    assert scaled(one, 1) is one
    assert (scaled(one, 3).sustainable_rps, scaled(one, 3).measured) == (150.0, False)


@pytest.mark.slow
def test_with_the_real_search_of_a_capacity_the_same_is_recommended(world: World) -> None:
    chosen = CheapestSearch(options([1, 2, 3], [1, 2]), by_worker, SLO, 60.0, has_admission_limit=False)
    assert world.run(chosen).recommended == Configuration(2, 1, 4)


def test_requests_over_twice_the_concurrent_ones_are_not_asked_for_at_once() -> None:
    limits: list[int | None] = []

    def measuring(_slo: Slo, limit: int | None, _seed: int) -> Quick:
        limits.append(limit)
        return Quick()

    CheapestSearch([Configuration(2, 1, 4)], by_worker, SLO, 1.0, measuring=measuring)
    assert limits == [16]
    assert isinstance(CheapestSearch([Configuration(2, 1, 4)], by_worker, SLO, 1.0).next(math.inf, math.inf), Ask)
