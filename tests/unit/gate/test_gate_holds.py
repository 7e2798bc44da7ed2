import numpy as np
import pytest
from unit.gate.worlds import OK, SLO, T0, after, gate, look, moment, pair

from deployer.gate.blocks import score_blocks
from deployer.gate.evidence import Evidence
from deployer.gate.holds import found_holds
from deployer.gate.ledger import Ledger
from deployer.gate.samples import Cell, Samples
from deployer.gate.verdict import Shift

GATE = gate(warm_up="0s", min_requests=1)


def held(found, *, slow):
    """Texts of what is held for ``found``, if the stable has ``slow`` of 100 answers over the p95 target."""
    parts = {"candidate": 50, "stable": slow}
    cells = [
        Cell(after(second), name, OK, ms, n)
        for second in range(9)
        for name, late in parts.items()
        for ms, n in ((50, 100 - late), (300, late))
        if n
    ]
    ledger = Ledger.of(Samples(tuple(cells), 1.0, None), "candidate", "stable", (100.0, 200.0))
    at = moment(9)
    blocks = score_blocks(ledger, GATE, at, T0.timestamp() + 9)
    return [reason.text for reason in found_holds(ledger, blocks, found, SLO, GATE, at, after(9))]


def p95(log_e, alone):
    return [Evidence("p95", "slo", 0.05, log_e, alone)]


def test_a_breach_that_the_stable_shares_is_an_incident():
    (text,) = held(p95(-1.0, 9.0), slow=20)
    assert "environment incident" in text


def test_a_breach_that_the_stable_does_not_share_is_not_shown_yet():
    (text,) = held(p95(-1.0, 9.0), slow=4)
    assert "not shown yet" in text


def test_a_breach_for_which_the_candidate_is_blamed_holds_nothing():
    assert held(p95(8.5, 9.0), slow=4) == []


def test_no_breach_holds_nothing():
    assert held(p95(-1.0, 1.0), slow=20) == []
    assert held([Evidence("shift", "compare", 0.15, -1.0)], slow=4) == []


@pytest.mark.parametrize(("weight", "due"), [(80, True), (20, False)])
def test_how_many_were_due_follows_from_the_weight(weight, due):
    cells = [cell for cell in pair(30, weight=weight) if cell.start < after(20)]
    later = [Cell(after(21 + k), "stable", OK, 5, 1) for k in range(5)]
    assert (look([*cells, *later], 27, weight=weight).text.startswith("no answers of candidate")) is due


def split(share, *, n=60, seconds=120, now=None, shifts=None, mirrored=False):
    """Texts of what is held when ``share(second)`` of ``n`` answers a second are the candidate's."""
    cells = []
    for second in range(seconds):
        mine = round(n * share(second))
        parts = (("candidate", mine), ("stable", n - mine))
        cells += [Cell(after(second), name, OK, 5, each) for name, each in parts if each]
    ledger = Ledger.of(Samples(tuple(cells), 1.0, None), "candidate", "stable", (100.0, 200.0))
    until = seconds if now is None else now
    at = moment(until, shifts=shifts, mirrored=mirrored)
    blocks = score_blocks(ledger, GATE, at, T0.timestamp() + until)
    return [
        reason.text
        for reason in found_holds(ledger, blocks, [], SLO, GATE, at, after(until))
        if reason.metric == "split"
    ]


def anew(seed, n=60):
    """Every request split anew: binomial shares."""
    return (np.random.default_rng(seed).binomial(n, 0.2, 1000) / n).__getitem__


def sessions(second):
    """Sessions of four seconds, a fifth of them the candidate's."""
    return np.random.default_rng([5, second // 4]).binomial(6, 0.2) / 6


def test_a_share_that_jumps_more_than_a_split_by_request_is_held():
    (text,) = split(sessions)
    assert "sticky clients?" in text


def test_a_split_by_request_is_not_held():
    assert [text for seed in range(100) for text in split(anew(seed))] == []


def test_neither_a_drift_of_the_weight_nor_a_stall_of_one_block_is_held():
    random = anew(3)
    assert split(lambda second: random(second) + second / 600) == []
    assert split(lambda second: 0.9 if second in (60, 61, 62) else random(second)) == []


def test_a_split_is_not_judged_across_weights_or_by_few_blocks_or_for_copies():
    assert split(sessions, now=75) == []
    assert split(sessions, mirrored=True) == []
    steps = (Shift(T0, 20), Shift(after(45), 50), Shift(after(90), 100))
    assert split(sessions, shifts=steps) == []  # 14 + 14 jumps; at 100 there is nothing to be split
