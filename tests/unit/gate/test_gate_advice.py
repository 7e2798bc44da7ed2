import pytest
from unit.gate.worlds import SLO, gate, look, moment, pair

from deployer.gate.advice import Seen, enough_weight
from deployer.gate.verdict import Reason, Result


def unproven(needed, rule="slo", result=Result.INCONCLUSIVE):
    return Reason("p95", rule, result, None, None, None, None, "", needed)


def advised(*reasons, weight=10, before=0, step=100, least=1, **at):
    return enough_weight(moment(60, weight=weight, **at), Seen(before, step), reasons, least)


@pytest.mark.parametrize(
    ("needed", "weight"), [(100, 20), (200, 20), (201, 25), (250, 25), (251, 50), (500, 50), (501, None)]
)
def test_the_smallest_weight_that_brings_what_is_missing_is_named(needed, weight):
    assert advised(unproven(needed)) == weight


def test_requests_of_earlier_steps_count():
    assert advised(unproven(600), before=400) == 20


def test_beside_fewer_requests_of_the_stable_more_of_the_candidate_are_needed():
    assert advised(unproven(500, "slo")) == 50
    assert advised(unproven(500, "compare")) is None
    assert advised(unproven(277, "compare")) == 50  # 277 * 90 / 50 = 499
    assert advised(unproven(279, "compare")) is None


def test_every_open_proof_must_be_reached():
    assert advised(unproven(150), unproven(240)) == 25
    assert advised(unproven(150), unproven(None)) is None
    assert advised(unproven(150), unproven(None, result=Result.PASS)) == 20


def test_the_steps_own_least_must_be_reached_too():
    assert advised(least=240) == 25
    assert advised(least=240, before=1000) == 25


def test_where_no_weight_can_be_raised_none_is_named():
    assert advised(unproven(150), weight=50) is None
    assert advised(unproven(150), weight=0) is None
    assert advised(unproven(150), stable=None) is None
    assert advised(unproven(150), mirrored=True) is None
    assert advised(unproven(150), step=0) is None


def test_an_undecided_step_says_which_weight_would_have_been_enough():
    verdict = look(pair(12), 12, gate=gate(min_requests=20))
    assert (verdict.result, verdict.enough_weight_pct) == (Result.INCONCLUSIVE, 50)
    assert verdict.text.endswith("; at weight 50 the 12s of this step would probably have been enough")
    few = look(pair(20, weight=5), 20, weight=5, gate=gate(min_requests=60))
    assert few.text.startswith("37 of the 60 requests")
    assert few.enough_weight_pct == 20


def test_that_weight_is_usually_enough_indeed():
    enough = []
    for seed in range(12):
        raised = look(pair(20, weight=5, seed=seed), 20, weight=5, gate=gate(min_requests=20)).enough_weight_pct
        rich = raised and look(pair(20, weight=raised, seed=seed + 50), 20, weight=raised, gate=gate(min_requests=20))
        enough.append(rich.result is Result.PASS if rich else None)
    assert enough.count(True) > 2 * enough.count(False)
    assert enough.count(True) >= 6


def test_more_traffic_is_no_cure_for_what_is_wrong():
    decided = look(pair(30), 30)
    assert (decided.result, decided.enough_weight_pct) == (Result.PASS, None)
    incident = look(pair(40, error=0.3, ms=400.0, stable={"error": 0.3, "ms": 400.0}), 40, slo=SLO)
    assert (incident.result, incident.enough_weight_pct) == (Result.INCONCLUSIVE, None)
