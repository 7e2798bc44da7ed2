"""The endpoint's own limits: requests a second and connections. They say nothing of the configuration behind them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from rig import Fifo, run

from deployer.loadtest.kinds import RATE_LIMITED
from deployer.manifest.configuration import Configuration
from deployer.manifest.schema import Slo
from deployer.profile.advice import Advice, Ask
from deployer.profile.capacity import CapacitySearch
from deployer.profile.cheapest import CheapestSearch
from deployer.profile.service import trace_of
from deployer.profile.trials import MOST_IN_FLIGHT, Capacity, Probe, Seen, Tally

WIDE = Slo.model_validate({"latency": {"p95": "9s"}})
SLO = Slo.model_validate({"latency": {"p95": "100ms"}, "error_rate": "1%"})


@dataclass
class Limited(Fifo):
    """An endpoint that admits so many requests a second; the others are turned away at its door, and seen by no model."""

    admitted: int = 100
    kinds: tuple[str, ...] = ("warm", "closed", "open")
    """Of probes that meet the limit."""

    def over(self, at: float, among: Counter[int], kind: str) -> bool:
        among[int(at)] += 1
        return kind in self.kinds and among[int(at)] > self.admitted


def fast(slots: int = 4, **more: object) -> Limited:
    return Limited(lambda chance: chance.uniform(0.009, 0.011), slots=slots, **more)  # type: ignore[arg-type]


def test_a_model_faster_than_the_endpoint_admits_carries_what_was_sent_below_its_limit() -> None:
    found, probes = run(CapacitySearch(SLO, seed=1), fast(slots=2))
    assert (found.infeasible, found.measured) == (False, True)
    assert 55 <= found.sustainable_rps <= 90
    assert found.lower <= found.sustainable_rps <= found.upper
    assert 70 <= found.endpoint_rps <= 110
    assert "the endpoint's rate limit turned requests away at about" in found.note
    assert found.error_rate_shown is not None
    assert found.error_rate_shown < 0.01
    climbed = [probe for probe in probes if probe.kind == "closed"]
    assert len(climbed) == 1, "the climb ends where the endpoint's limit is met"
    assert all(probe.rps < 90 for probe in probes if probe.kind == "open")


def test_a_ceiling_above_the_endpoints_limit_rules_nothing_out() -> None:
    search, server = CapacitySearch(SLO, seed=1), fast()
    run(search, server)
    assert search.most_rps == math.inf


def test_what_was_turned_away_is_left_out_of_what_is_believed() -> None:
    seen = fast(slots=1, admitted=50).answer(Probe("warm", 0.0, 1, 4.0, False, ""), 1)
    trace = trace_of(seen)
    assert trace.limited == np.count_nonzero(seen.status == RATE_LIMITED) > 0
    assert trace.arrival.size == len(seen.status) - trace.limited
    assert not trace.failed.any()
    assert trace.latency.min() > 0.009


@dataclass
class Sinking(Limited):
    """An endpoint that others use, too: it admits less with each probe."""

    def answer(self, probe: Probe, seed: int, stop=None) -> Seen:
        self.admitted = max(20, self.admitted - 20)
        return super().answer(probe, seed, stop)


def test_a_limit_that_sinks_is_told_once_and_kept_below() -> None:
    search = CapacitySearch(Slo.model_validate({"latency": {"p95": "90ms"}}), seed=1)
    server = Sinking(lambda chance: chance.uniform(0.009, 0.011), slots=1, admitted=160, kinds=("open",))
    found, probes = run(search, server)
    rates = [probe.rps for probe in probes if probe.kind == "open"]
    assert len(rates) > 2
    assert rates == sorted(rates, reverse=True)
    assert found.endpoint_rps <= 40
    assert found.note.count("turned requests away") == 1


class Stray(Fifo):
    """One request of each probe, and a moment of each warm one, meets the endpoint's limit, which is far away."""

    def over(self, at: float, among: Counter[int], kind: str) -> bool:
        among[0] += 1
        return among[0] == 1 or (kind == "warm" and 1 <= at < 1.03)


def test_a_request_that_was_turned_away_by_chance_is_no_limit() -> None:
    server = Stray(lambda chance: chance.uniform(0.009, 0.011), slots=2)
    found, _ = run(CapacitySearch(SLO, seed=1), server)
    plain, _ = run(CapacitySearch(SLO, seed=1), Fifo(lambda chance: chance.uniform(0.009, 0.011), slots=2))
    assert (found.measured, found.endpoint_rps) == (True, math.inf)
    assert found.sustainable_rps == pytest.approx(plain.sustainable_rps, rel=0.03)


def test_open_probes_go_down_until_the_endpoint_admits_them_all() -> None:
    server = fast(slots=1, admitted=60, kinds=("open",))
    found, probes = run(CapacitySearch(Slo.model_validate({"latency": {"p95": "90ms"}}), seed=1), server)
    rates = [probe.rps for probe in probes if probe.kind == "open"]
    assert rates[0] > 60 > rates[-1]
    assert (found.infeasible, found.measured) == (False, True)
    assert found.sustainable_rps == pytest.approx(rates[-1])


def test_an_endpoint_that_turns_everything_away_ends_the_search_without_a_verdict_on_the_model() -> None:
    search = CapacitySearch(SLO, seed=1)
    probe = search.next()
    assert isinstance(probe, Probe)
    arrival = np.linspace(0, probe.seconds, 100, endpoint=False)
    search.tell(Seen(probe, arrival, np.full(100, 1.0), np.full(100, RATE_LIMITED, np.int16), probe.seconds))
    found = search.next()
    assert isinstance(found, Capacity)
    assert (found.infeasible, found.sustainable_rps) == (False, 0.0)
    assert "turned every request away" in found.note


@pytest.mark.parametrize("admission_limit", [None, 4 * MOST_IN_FLIGHT])
def test_no_trial_opens_more_connections_than_an_endpoint_admits(admission_limit: int | None) -> None:
    search, server = CapacitySearch(WIDE, admission_limit=admission_limit), Fifo(lambda _: 1.0, slots=2000)
    while isinstance(probe := search.next(), Probe) and probe.concurrency < MOST_IN_FLIGHT:
        search.tell(server.answer(probe, 1))
    assert isinstance(probe, Probe)
    assert probe.concurrency == MOST_IN_FLIGHT < 500
    search.tell(server.answer(probe, 1))
    steady = search.next()
    assert isinstance(steady, Probe)
    assert steady.kind == "warm", "the climb has ended"
    assert "not more than 450 requests are in flight: the ceiling is above 4" in search.answer_so_far().note
    assert search.most_rps == math.inf


@dataclass
class Believes:
    """One probe, then a capacity."""

    capacity: Capacity
    told: list[Seen] = field(default_factory=list[Seen])
    limits_ms: tuple[float, ...] = (100.0,)
    most_rps: float = math.inf

    def next(self) -> Probe | Capacity:
        return self.capacity if self.told else Probe("closed", 0.0, 4, 4.0, False, "ceiling")

    def tell(self, seen: Seen) -> None:
        self.told.append(seen)

    def is_hopeless(self, tally: Tally) -> bool:
        return False

    def answer_so_far(self) -> Capacity:
        return self.capacity


def capacity(rps: float, endpoint_rps: float, *, infeasible: bool = False) -> Capacity:
    return Capacity(rps, rps, 3 * rps, infeasible, True, 500.0, "", (), 8.0, "p95", endpoint_rps)


def seen_of(probe: Probe, *statuses: tuple[int, int], latency_ms: float = 3.0, share: float = 1.0) -> Seen:
    status = np.concatenate([np.full(n, code, dtype=np.int16) for code, n in statuses])
    arrival = np.linspace(0, share * probe.seconds, status.size, endpoint=False)
    return Seen(probe, arrival, np.full(status.size, latency_ms), status, share * probe.seconds)


def profile(rate: float, found: Capacity, *, confirm: Seen | None = None) -> tuple[Advice, list[Ask]]:
    """Two types of one or two instances each; open trials are answered with ``confirm``."""
    options = [Configuration(n, 1, 4, kind) for kind in ("a", "b") for n in (1, 2)]
    search = CheapestSearch(options, lambda _: 0.05, SLO, rate, measuring=lambda *_: Believes(found))
    asked: list[Ask] = []
    while isinstance(step := search.next(math.inf, math.inf), Ask):
        asked.append(step)
        assert len(asked) < 20
        good = seen_of(step.probe, (200, 100))
        search.tell(confirm if confirm is not None and step.probe.kind == "open" else good)
    return step, asked


def test_a_rate_below_the_endpoints_limit_is_recommended_and_the_limit_is_said() -> None:
    advice, _ = profile(300.0, capacity(400.0, 500.0))
    assert advice.recommended == Configuration(1, 1, 4, "a")
    assert advice.undecided == ""
    (note,) = advice.notes
    assert note == (
        "the endpoint's rate limit turned requests away at about 500 rps: what a candidate carries beyond is not known"
    )


def test_a_rate_above_the_endpoints_limit_is_undecided_after_the_first_candidate() -> None:
    advice, asked = profile(600.0, capacity(400.0, 500.0))
    assert (advice.recommended, advice.is_final, len(asked)) == (None, True, 1)
    assert advice.undecided == (
        "not known: the endpoint's rate limit (about 500 rps) ended the search for what carries 600 rps; "
        "ask for a higher one"
    )
    assert [each.why for each in advice.answers] == ["carries at least 400 of 600 rps", *[advice.undecided] * 3]


def test_a_candidate_that_may_carry_more_than_the_endpoint_let_be_shown_is_undecided_too() -> None:
    options = [Configuration(1, 1, 4)]
    search = CheapestSearch(options, lambda _: 0.05, SLO, 450.0, measuring=lambda *_: Believes(capacity(400.0, 500.0)))
    step = search.next(math.inf, math.inf)
    assert isinstance(step, Ask)
    search.tell(seen_of(step.probe, (200, 100)))
    advice = search.next(math.inf, math.inf)
    assert isinstance(advice, Advice)
    assert advice.recommended is None
    assert "ended the search for what carries 450 rps" in advice.undecided
    assert [each.why for each in advice.answers] == ["carries at least 400 of 450 rps"]


def test_a_candidate_that_carries_less_than_the_endpoint_admits_is_known_not_to_carry_more() -> None:
    advice, _ = profile(350.0, capacity(100.0, 500.0))
    assert (advice.recommended, advice.undecided) == (None, "")
    assert advice.answers[0].why == "carries 100 of 350 rps"


def test_no_rate_at_all_is_a_verdict_though_the_endpoints_limit_was_met() -> None:
    advice, _ = profile(300.0, capacity(0.0, 500.0, infeasible=True))
    assert (advice.recommended, advice.undecided) == (None, "")


CONFIRM = Probe("open", 600.0, 0, 45.0, True, "confirm")


def test_a_confirmation_that_the_endpoint_turned_away_fails_no_candidate_and_ends_the_search() -> None:
    turned_away = seen_of(CONFIRM, (200, 22_500), (RATE_LIMITED, 4_500))
    advice, asked = profile(600.0, capacity(400.0, math.inf), confirm=turned_away)
    assert [ask.probe.kind for ask in asked] == ["closed", "closed", "open"]
    assert (advice.recommended, advice.is_final) == (None, True)
    assert "the endpoint's rate limit (about 500 rps)" in advice.undecided
    assert not any("did not carry" in note for note in advice.notes)
    assert [each.why for each in advice.answers][1] == advice.undecided


@pytest.mark.parametrize(("status", "latency_ms"), [(503, 3.0), (200, 300.0)])
def test_a_candidate_that_fails_by_itself_is_not_excused_by_the_endpoints_limit(status: int, latency_ms: float) -> None:
    bad = seen_of(CONFIRM, (status, 20_000), (RATE_LIMITED, 100), latency_ms=latency_ms)
    advice, _ = profile(600.0, capacity(400.0, math.inf), confirm=bad)
    assert any("did not carry" in note for note in advice.notes)
    assert advice.undecided == ""


def test_a_few_that_were_turned_away_are_within_the_slo() -> None:
    advice, _ = profile(600.0, capacity(400.0, math.inf), confirm=seen_of(CONFIRM, (200, 27_000), (RATE_LIMITED, 10)))
    assert advice.recommended == Configuration(2, 1, 4, "a")
