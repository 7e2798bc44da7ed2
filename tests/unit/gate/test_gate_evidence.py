import numpy as np
import pytest
from unit.gate.worlds import ERROR, OK, T0, after, gate, moment, slo

from deployer.gate.blocks import fresh_blocks, score_blocks
from deployer.gate.evidence import (
    Evidence,
    against,
    breaker,
    is_proven_worse,
    latency_chance,
    nearest,
    observed_only,
    total,
)
from deployer.gate.ledger import Ledger
from deployer.gate.passing import exposure, latency_bound, proofs
from deployer.gate.samples import Cell, Samples
from deployer.gate.verdict import Shift

START = T0.timestamp()
GATE = gate(warm_up="0s")
LIMITS = slo(error_rate="30%")


def blocks(n, bad, ms, *, seconds=30, weight=20, limits=(200.0,), stable=True):
    """Every second holds ``n`` answers, ``bad`` errors at latency ``ms``; each a pair (candidate, stable)."""
    cells = [
        cell
        for second in range(seconds)
        for arm, name in enumerate(("candidate", "stable"))
        for cell in (
            Cell(after(second), name, OK, ms[arm], n[arm] - bad[arm]),
            Cell(after(second), name, ERROR, 3, bad[arm]),
        )
        if cell.n
    ]
    ledger = Ledger.of(Samples(tuple(cells), 1.0, None), "candidate", "stable", limits)
    at = moment(seconds, weight=weight, shifts=(Shift(T0, weight),))
    return score_blocks(ledger, GATE, at, START + seconds), breaker(fresh_blocks(ledger, GATE, at), stable=stable)


def log_e(found, metric, rule="compare"):
    (item,) = [item for item in found if (item.metric, item.rule) == (metric, rule)]
    return item.log_e


def errors(n, bad, **how):
    return against(*blocks(n, bad, (50, 50), **how), LIMITS, GATE, stable=True)


def test_errors_within_the_tolerated_odds_are_no_evidence_however_many():
    assert log_e(errors((10_000, 40_000), (960, 3200)), "error_rate") < 0  # odds 1.22
    assert log_e(errors((10_000, 40_000), (1600, 3200)), "error_rate") > 5  # odds 2.2


def test_one_block_of_errors_may_bring_all_that_a_fail_needs_and_one_of_latency_less():
    made = blocks((100, 400), (60, 2), (500, 50), seconds=3)
    found = against(*made, LIMITS, GATE, stable=True)
    assert made[0].n.shape[0] == 1
    needed = np.log(1 / GATE.false_rollback)
    assert needed - 1 < log_e(found, "error_rate") < needed
    assert log_e(found, "shift") < 0.75 * needed
    assert total([item for item in found if item.metric != "breaker"], GATE) < needed


def test_one_block_of_a_tail_brings_half_of_what_a_fail_by_latencies_needs():
    made = blocks((20, 2000), (0, 0), (500, 50), seconds=3)
    found = against(*made, LIMITS, GATE, stable=True)
    needed = np.log(1 / latency_chance(GATE))
    assert log_e(found, "p99") < 0.5 * needed < log_e(found, "p99") + 0.7
    assert log_e(found, "p99") < log_e(found, "p95") < 0.75 * needed


def found_with(**log_es):
    """Evidence of an even mean of two metrics: the comparisons of latencies and of errors."""
    return [Evidence(metric, "compare", 0.5, log_e) for metric, log_e in log_es.items()]


def test_latencies_fail_a_candidate_at_a_fifth_of_what_everything_else_needs():
    enough, little = np.log(2 * 100 / 5) + 0.01, np.log(2 * 100 / 5) - 0.1
    assert is_proven_worse(found_with(shift=enough, error_rate=0.0), GATE)
    assert not is_proven_worse(found_with(shift=little, error_rate=0.0), GATE)
    assert not is_proven_worse(found_with(shift=0.0, error_rate=enough), GATE)
    assert is_proven_worse(found_with(shift=0.0, error_rate=np.log(2 * 100)), GATE)
    assert not is_proven_worse(found_with(shift=enough, error_rate=0.0), gate(observe_only=("compare",)))
    absolute = [Evidence("p95", "slo", 0.5, enough), Evidence("error_rate", "compare", 0.5, 0.0)]
    assert not is_proven_worse(absolute, GATE)


def test_suspicion_is_told_by_what_is_nearest_to_a_fail():
    log_e, fails_at = nearest(found_with(shift=np.log(38.0), error_rate=0.0), GATE)
    assert (round(float(np.exp(log_e)), 3), fails_at) == (19.0, pytest.approx(20))
    log_e, fails_at = nearest(found_with(shift=0.0, error_rate=np.log(99.0)), GATE)
    assert (round(float(np.exp(log_e)), 3), fails_at) == (50.0, pytest.approx(100))


@pytest.mark.parametrize(("chance", "set_at"), [("1%", 0.05), ("0.1%", 0.005), ("20%", 0.5), ("50%", 0.5)])
def test_the_slack_of_latencies_ends_at_even_odds(chance, set_at):
    assert latency_chance(gate(false_rollback=chance)) == pytest.approx(set_at)


def test_how_much_is_tolerated_is_the_manifests_choice():
    made = blocks((10_000, 40_000), (1600, 3200), (50, 50))
    loose = gate(warm_up="0s", compare={"error_rate": {"tolerate": "3x", "rule_out": "6x"}})
    assert log_e(against(*made, LIMITS, loose, stable=True), "error_rate") < 0


def test_errors_too_rare_to_matter_do_not_fail_a_candidate():
    assert log_e(errors((10_000, 40_000), (15, 4)), "error_rate") <= 0  # 0.15 %
    assert log_e(errors((10_000, 40_000), (30, 8)), "error_rate") > 10  # 0.3 %


def test_latency_within_a_factor_or_two_milliseconds_is_no_evidence_however_many():
    def shift(mine, other):
        made = blocks((2000, 8000), (0, 0), (mine, other))
        return log_e(against(*made, slo(error_rate="5%"), GATE, stable=True), "shift")

    assert shift(104, 100) < 0
    assert shift(112, 100) > 10
    assert shift(6, 4) < 0.1
    assert shift(9, 4) > 10


def test_an_absolute_breach_needs_the_stable_to_be_better():
    worse = errors((200, 800), (150, 8))
    shared = errors((200, 800), (150, 600))
    assert log_e(worse, "error_rate", "slo") > 10
    assert log_e(shared, "error_rate", "slo") < 0
    (item,) = [item for item in shared if (item.metric, item.rule) == ("error_rate", "slo")]
    assert item.log_e_alone > 10


def test_alone_the_absolute_breach_is_enough():
    alone = against(*blocks((200, 0), (150, 0), (50, 50), stable=False), LIMITS, GATE, stable=False)
    assert {item.rule for item in alone} == {"slo"}
    assert log_e(alone, "error_rate", "slo") < 1  # these blocks are paired by weight: nothing was seen alone
    alone = against(*blocks((200, 0), (150, 0), (50, 50), weight=100, stable=False), LIMITS, GATE, stable=False)
    assert log_e(alone, "error_rate", "slo") > 10


def test_the_breaker_is_a_catastrophe_and_no_mere_breach():
    assert log_e(errors((20, 80), (20, 0)), "breaker", "slo") > 10
    assert log_e(errors((20, 80), (3, 0)), "breaker", "slo") < 1
    assert log_e(errors((20, 80), (20, 80)), "breaker", "slo") < 1


def test_what_is_not_acted_on_does_not_count():
    found = errors((200, 800), (150, 8))
    assert total(found, GATE) > 10
    assert total(found, gate(observe_only=["error_rate"])) < 1
    assert total(found, gate(observe_only=["error_rate", "compare", "p50", "p95", "p99"])) == 0
    assert observed_only(gate(observe_only=["compare"]), "shift", "compare")
    assert observed_only(gate(observe_only=["error_rate"]), "breaker", "slo")
    assert not observed_only(gate(observe_only=["p95"]), "p50", "slo")


@pytest.mark.parametrize(
    ("weight", "following", "share"), [(5, 20, 0.2), (50, None, 1.0), (100, 100, 1.0), (50, 20, 0.5), (0, 0, 0.01)]
)
def test_a_proof_is_for_the_traffic_that_comes_next(weight, following, share):
    assert exposure(moment(1, weight=weight, following=following)) == pytest.approx(share)


def test_bounds_widen_for_little_traffic_and_for_tails():
    assert latency_bound(GATE, "shift", 1.0) == pytest.approx(1.25)
    assert latency_bound(GATE, "p95", 1.0) == pytest.approx(1.35)
    assert latency_bound(GATE, "p99", 1.0) == pytest.approx(2.0)
    assert latency_bound(GATE, "shift", 0.25) == pytest.approx(1.5)


def proven(n, bad, ms, target, **how):
    following = how.pop("following", 100)
    stable = how.pop("stable", "stable")
    made = blocks(n, bad, ms, limits=(200.0, 400.0), **how)[0]
    at = moment(30, weight=20, following=following, stable=stable)
    limits = slo(latency={"p95": "200ms", "p99": "400ms"}, error_rate="5%")
    return {(p.metric, p.rule): (p.ok and p.log_e > np.log(20)) for p in proofs(made, limits, GATE, at)}[target]


def test_proofs_have_their_bounds():
    assert proven((200, 800), (2, 8), (100, 100), ("error_rate", "slo"))
    assert not proven((200, 800), (10, 8), (100, 100), ("error_rate", "slo"))  # 5 %
    assert proven((200, 800), (10, 8), (100, 100), ("error_rate", "slo"), following=25)
    assert proven((200, 800), (0, 0), (110, 100), ("shift", "compare"))
    assert not proven((200, 800), (0, 0), (130, 100), ("shift", "compare"))
    assert proven((200, 800), (0, 0), (130, 100), ("shift", "compare"), following=25)
    assert proven((200, 800), (0, 0), (6, 4), ("shift", "compare"))
    assert not proven((200, 800), (0, 0), (12, 4), ("shift", "compare"))
    assert not proven((200, 800), (0, 0), (250, 100), ("p95", "slo"))


def test_without_a_target_errors_are_proven_against_the_stable():
    def compared(mine, other):
        made = blocks((200, 800), (mine, other), (50, 50))[0]
        at = moment(30, weight=20)
        (proof,) = [p for p in proofs(made, slo(latency={"p95": "200ms"}), GATE, at) if p.metric == "error_rate"]
        return proof.rule == "compare" and proof.log_e > np.log(20)

    assert compared(16, 64)  # 8 % both
    assert compared(0, 0)
    assert not compared(50, 64)  # odds 3.8


def test_alone_the_target_itself_is_the_bound():
    fast, slow = (Cell(T0, "candidate", OK, ms, 1) for ms in (100, 300))

    def tail(share, stable):
        cells = [
            Cell(after(second), name, cell.answer, cell.duration_ms, n)
            for second in range(30)
            for name, parts in (
                ("candidate", ((fast, 1000 - share), (slow, share))),
                ("stable", ((fast, 3990), (slow, 10))),
            )
            for cell, n in parts
        ]
        weight = 20 if stable else 100
        at = moment(30, weight=weight, shifts=(Shift(T0, weight),), stable=stable)
        ledger = Ledger.of(Samples(tuple(cells), 1.0, None), "candidate", stable, (200.0,))
        made = score_blocks(ledger, GATE, at, START + 30)
        (proof,) = [p for p in proofs(made, slo(latency={"p95": "200ms"}), GATE, at) if p.rule == "slo"]
        return proof

    assert tail(40, None).bound == pytest.approx(0.05)
    assert tail(40, "stable").bound == pytest.approx(0.075)
    assert tail(40, "stable").ok
    assert not tail(60, "stable").ok  # 6 % are slower: the bound of 7.5 % alone does not make it good
