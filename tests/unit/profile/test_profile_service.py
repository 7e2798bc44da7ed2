"""What answers say of the server: service times, pauses, the admission limit, slots."""

from __future__ import annotations

import numpy as np
import pytest
from rig import Fifo

from deployer.profile.identify import believe, delay_of, fullest, has_moved, pool, slots_seen, usual_s
from deployer.profile.service import Trace, are_shed, find_pauses, limit_of, sizes_of, slow_s, stalls_of, trace_of
from deployer.profile.trials import Probe, Seen


def exponential(mean_s: float):
    return lambda chance: chance.exponential(mean_s)


def constant(mean_s: float):
    return lambda chance: mean_s


def seen(
    server: Fifo, kind: str, *, rps: float = 0.0, concurrency: int = 1, seconds: float = 20.0, seed: int = 1
) -> Trace:
    return trace_of(server.answer(Probe(kind, rps, concurrency, seconds, False, ""), seed))


@pytest.mark.parametrize("slots", [1, 3])
def test_service_times_are_found_behind_the_queue(slots: int) -> None:
    drawn: list[float] = []

    def size(chance: np.random.Generator) -> float:
        drawn.append(chance.exponential(0.04))
        return drawn[-1]

    trace = seen(Fifo(size, slots=slots), "open", rps=0.8 * slots / 0.04)
    sizes, waited = sizes_of(trace, slots, 0.0005)
    assert sizes == pytest.approx(np.array(drawn), abs=1e-6)
    assert 0.3 < waited.mean() < 0.95


def test_refused_and_failed_requests_have_no_service_time() -> None:
    trace = seen(Fifo(constant(0.02), limit=2, error_share=0.1), "open", rps=60.0)
    assert sizes_of(trace, 1, 0.0005)[0].size == np.count_nonzero(~trace.failed)
    assert trace.refused.sum() > 10
    assert trace.failed.sum() > trace.refused.sum()


def test_the_admission_limit_is_what_was_inside_when_one_was_refused() -> None:
    assert limit_of([seen(Fifo(exponential(0.02), slots=2, limit=5), "open", rps=110.0)]) == 5
    assert limit_of([seen(Fifo(constant(0.02)), "open", rps=10.0)]) is None


def test_regular_pauses_are_found_with_period_and_length() -> None:
    server = Fifo(constant(0.008), pause=(5.0, 0.4))
    stalls = stalls_of([seen(server, "open", rps=70.0, seconds=40.0)])
    assert stalls is not None
    assert stalls.is_periodic
    assert stalls.interval_s == pytest.approx(5.0, rel=0.02)
    assert np.median(stalls.lengths_s) == pytest.approx(0.4, rel=0.05)


def test_fewer_than_three_pauses_are_no_process() -> None:
    assert stalls_of([seen(Fifo(constant(0.008), pause=(15.0, 0.4)), "open", rps=70.0)]) is None


def test_irregular_pauses_are_counted_over_all_load() -> None:
    traces = [seen(Fifo(constant(0.008), pause=(every, 0.4)), "open", rps=70.0) for every in (6.0, 9.5)]
    stalls = stalls_of(traces)
    assert stalls is not None
    assert not stalls.is_periodic
    assert stalls.interval_s == pytest.approx(40.0 / sum(trace.pauses[0].size for trace in traces))


def test_pauses_that_began_idle_do_not_tell_their_length_if_others_do() -> None:
    trace = seen(Fifo(constant(0.008), pause=(3.0, 0.4)), "open", rps=60.0, seconds=60.0)
    stalls = stalls_of([trace])
    assert stalls is not None
    assert stalls.lengths_s.size == np.count_nonzero(trace.whole) < trace.whole.size
    assert stalls_of([trace_of(_first(trace, 3))]) is not None


def _first(trace: Trace, pauses: int) -> Seen:
    until = trace.arrival < trace.pauses[0][pauses - 1] + 2
    status = np.full(until.sum(), 200, np.int16)
    return Seen(trace.probe, trace.arrival[until], 1000 * trace.latency[until], status, 10.0)


def test_slow_requests_are_no_pauses() -> None:
    slow = Fifo(lambda chance: 0.1 if chance.random() < 0.04 else 0.01, slots=2)
    alone = seen(slow, "warm")
    assert slow_s(alone) > 0.4
    loaded = slow.answer(Probe("open", 100.0, 0, 60.0, False, ""), 3)
    assert trace_of(loaded, slow_s(alone)).pauses[0].size == 0


def test_a_short_trace_shows_no_pauses() -> None:
    assert find_pauses(np.arange(10.0), np.arange(10.0) + 5, 0.0)[0].size == 0


def test_a_trace_without_a_success_has_no_rate_and_no_latency() -> None:
    trace = seen(Fifo(constant(0.01), error_share=1.0), "warm", seconds=0.5)
    assert trace.rps == 0.0
    assert usual_s(trace) == (np.inf, np.inf)


def test_slots_are_ceiling_times_unloaded_latency() -> None:
    server = Fifo(exponential(0.03), slots=3)
    closed = [seen(server, "warm")] + [seen(server, "closed", concurrency=k) for k in (2, 4, 8)]
    ratio, error = slots_seen(closed)
    assert abs(ratio - 3) < 2.5 * error
    assert fullest(closed).probe.concurrency in (4, 8)
    assert believe(closed, None).slots == 3


def test_open_probes_decide_between_numbers_of_slots() -> None:
    server = Fifo(exponential(0.03), slots=3)
    traces = [seen(server, "warm", seconds=4.0), seen(server, "closed", concurrency=8, seconds=4.0)]
    traces += [seen(server, "open", rps=80.0, seconds=30.0, seed=seed) for seed in (1, 2)]
    assert believe(traces, None).slots == 3


def test_the_delay_is_told_from_the_service_time() -> None:
    server = Fifo(constant(0.01), delay_s=0.002)
    traces = [seen(server, "warm"), seen(server, "closed", concurrency=2), seen(server, "open", rps=70.0)]
    assert delay_of(traces, 1) == pytest.approx(0.002, abs=2e-4)
    assert pool(traces, 1, 0.002).mean() == pytest.approx(0.01, rel=0.01)


def test_without_anybody_waiting_the_delay_is_not_known() -> None:
    assert delay_of([seen(Fifo(constant(0.01)), "warm")], 1) == 0.0


def test_closed_service_times_are_left_out_when_open_ones_differ() -> None:
    fast, slow = Fifo(constant(0.01)), Fifo(constant(0.012))
    traces = [seen(fast, "warm"), seen(fast, "closed", concurrency=2), seen(slow, "open", rps=50.0)]
    assert pool(traces, 1, 0.0005).mean() == pytest.approx(0.012, rel=0.01)
    assert pool(traces[:1], 1, 0.0005).mean() == pytest.approx(0.01, rel=0.01)


def test_a_server_that_gets_faster_within_a_probe_has_moved() -> None:
    warming = Fifo(constant(0.01), factor=lambda served: 2.0 if served < 300 else 1.0)
    assert has_moved(seen(warming, "open", rps=40.0), 1, 0.0005)
    assert not has_moved(seen(Fifo(exponential(0.01)), "open", rps=40.0), 1, 0.0005)
    assert not has_moved(seen(warming, "open", rps=1.0), 1, 0.0005)


def test_one_answer_has_no_standard_error() -> None:
    trace = seen(Fifo(constant(0.01)), "warm", seconds=0.005)
    assert usual_s(trace) == (pytest.approx(0.0105), np.inf)


def test_failures_without_anybody_inside_are_not_those_of_a_full_house() -> None:
    traces = [seen(Fifo(constant(0.02), error_share=0.5), "open", rps=2.0), seen(Fifo(constant(0.02)), "open", rps=2.0)]
    assert not are_shed(traces)
    assert not are_shed(traces[1:])
    full = seen(Fifo(constant(0.02), limit=3, away=503), "closed", concurrency=6)
    assert are_shed([full])
    assert not are_shed([seen(Fifo(constant(0.02), error_share=0.02), "closed", concurrency=6)])
