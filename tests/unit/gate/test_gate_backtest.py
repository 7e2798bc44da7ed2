import numpy as np
import pytest
from unit.gate.worlds import gate, slo

from deployer.gate.backtest import LAG_BINS, Arrivals, LagMeter, Outcome, Replay, backtest
from deployer.gate.ledger import utc
from deployer.gate.simulate import EPOCH_S, Scenario, World, picture, scenarios, simulate, stream
from deployer.gate.verdict import Result, Shift

SLO = slo(latency={"p95": "10ms"}, error_rate="5%")
AUTO = gate(settle="auto")
SHIFTS = (Shift(utc(EPOCH_S), 20),)


def world(**keys):
    return World(**{"slo": SLO, "gate": AUTO, "rps": 40.0, "weight_pct": 20, "duration_s": 45.0, **keys})


def replay(**keys):
    return Replay(**{"slo": SLO, "gate": AUTO, "cell_s": 1.0, "shifts": SHIFTS, **keys})


def lags(*values, arm=None):
    seen = np.zeros((2, LAG_BINS), np.int64)
    for value in values:
        seen[slice(None) if arm is None else arm, value] += 30
    return seen


def played(scenario, seed=1, **keys):
    made = world(**keys.pop("world", {}))
    return backtest(stream(made, scenario, np.random.default_rng(seed)), replay(gate=made.gate, **keys))


def test_a_good_recording_passes_and_a_bad_one_fails():
    assert played(Scenario("good", bad=False)).result is Result.PASS
    failed = played(Scenario("bad", bad=True, error_rate=0.5))
    assert failed.result is Result.FAIL
    assert failed.verdict.at <= utc(EPOCH_S + 8)


def test_the_document_is_the_one_of_the_interface():
    document = played(Scenario("bad", bad=True, error_rate=0.5)).document()
    assert set(document) == {"verdict", "decided_at", "candidate_requests", "stable_requests", "reasons"}
    assert document["verdict"] == "fail"
    assert document["decided_at"].endswith("Z")
    assert document["candidate_requests"] > 0
    assert document["stable_requests"] > 0
    for reason in document["reasons"]:
        assert list(reason) == ["metric", "rule", "estimate", "lower", "upper", "limit"]
        assert reason["rule"] in ("slo", "compare")


def test_an_undecided_recording_has_no_moment_of_decision():
    document = played(Scenario("good", bad=False), world={"duration_s": 5.0}).document()
    assert (document["verdict"], document["decided_at"]) == ("inconclusive", None)
    assert document["candidate_requests"] > 0


def undecided(**keys):
    made = world(lag_s=(4.0, 24.0), **keys.pop("world", {}))
    batches = list(stream(made, Scenario("good", bad=False), np.random.default_rng(1)))
    quiet = [_nothing(batches[-1].now_s + second) for second in range(1, 70)]
    return backtest([*batches, *quiet], replay(gate=made.gate, **keys))


def _nothing(now_s):
    none = np.zeros(0, np.int64)
    return Arrivals(now_s, np.zeros(0), none, none, none, none, np.zeros((2, LAG_BINS), np.int64))


def test_an_undecided_recording_says_what_was_unproven_at_its_end_and_how_much_more_it_takes():
    found = undecided(world={"duration_s": 12.0}, least_s=3600.0)
    assert found.verdict.at <= utc(EPOCH_S + 13)
    assert found.verdict.text.startswith(f"the recording ends undecided after {found.verdict.candidate.requests} requ")
    assert "; not proven by then: " in found.verdict.text
    assert "more would probably do" in found.verdict.text
    assert "stopped" not in found.verdict.text
    asked = [reason.needed for reason in found.verdict.reasons if reason.result is not Result.PASS]
    more = max(asked) - found.verdict.candidate.requests
    assert f"about {more} more would probably do" in found.verdict.text


def test_what_else_held_an_undecided_recording_comes_after_what_is_unproven():
    found = undecided(slo=slo(latency={"p95": "3ms"}, error_rate="5%"))
    assert found.result is Result.INCONCLUSIVE
    text = found.verdict.text
    assert 0 < text.index("not proven by then: ") < text.index("besides: ")
    assert "would probably do" not in text


def test_a_recording_that_is_held_with_every_proof_there_says_so():
    found = undecided(world={"gate": gate(settle="auto", min_requests=5000)}, least_s=3600.0)
    assert "every proof is there, but: " in found.verdict.text
    assert "of the 5000 requests" in found.verdict.text


def test_a_recording_at_which_the_gate_was_blind_says_why():
    found = played(Scenario("good", bad=False), world={"lag_s": (900.0, 901.0), "every_s": 10.0})
    assert found.result is found.verdict.result is Result.INCONCLUSIVE
    assert "were it known at once, it would pass; at " in found.verdict.text
    assert " looks the gate was blind: " in found.verdict.text


def test_a_recording_that_ends_with_a_silent_candidate_leaves_the_gate_blind_and_no_proof():
    made = world(duration_s=240.0)
    batches = list(stream(made, Scenario("good", bad=False), np.random.default_rng(1)))

    def silent(batch):
        kept = (batch.arms == 1) | (batch.starts < EPOCH_S + 2)
        parts = (getattr(batch, name)[kept] for name in ("starts", "arms", "classes", "duration_ms", "n"))
        return Arrivals(batch.now_s, *parts, batch.lags)

    found = backtest(map(silent, batches), replay())
    assert found.result is Result.INCONCLUSIVE
    assert "; with all of it at hand the gate is blind: " in found.verdict.text
    assert "proof" not in found.verdict.text
    assert found.verdict.text.count("blind: ") == 1


def test_an_empty_recording_is_inconclusive():
    assert backtest(iter(()), replay()).document() == {
        "verdict": "inconclusive",
        "decided_at": None,
        "candidate_requests": 0,
        "stable_requests": 0,
        "reasons": [],
    }


def test_a_pass_is_not_given_before_its_time():
    early = played(Scenario("good", bad=False), least_s=30.0)
    assert early.verdict.at >= utc(EPOCH_S + 30)
    assert played(Scenario("good", bad=False), least_s=3600.0).result is Result.INCONCLUSIVE


def test_a_pass_waits_until_late_rows_would_have_been_seen():
    made, found = world(lag_s=(4.0, 24.0), duration_s=60.0), replay()
    early = []
    for batch in stream(made, Scenario("good", bad=False), np.random.default_rng(1)):
        verdict = found.look(batch)
        early.append(verdict.result is Result.PASS and found.passed is None)
    assert any(early)
    assert found.passed is not None


def test_a_late_fault_overturns_a_pass():
    rng = np.random.default_rng(3)
    good = list(stream(world(), Scenario("good", bad=False), rng))[:40]
    bad = stream(world(), Scenario("bad", bad=True, error_rate=1.0), rng)
    later = [
        Arrivals(b.now_s + 40, b.starts + 40, b.arms, b.classes, b.duration_ms, b.n, b.lags) for b in list(bad)[:10]
    ]
    found = replay()
    assert backtest([*good, *later], found).result is Result.FAIL
    assert found.passed is not None


def test_only_what_was_ingested_counts():
    late = world(lag_s=(20.0, 20.0))
    failed = backtest(stream(late, Scenario("bad", bad=True, error_rate=1.0), np.random.default_rng(1)), replay())
    assert failed.result is Result.FAIL
    assert failed.verdict.at >= utc(EPOCH_S + 20)


def test_decisions_at_a_moment_ignore_what_comes_later():
    batches = list(stream(world(), Scenario("bad", bad=True, error_rate=0.2), np.random.default_rng(2)))
    whole = backtest(batches, replay())
    cut = [batch for batch in batches if batch.now_s <= whole.verdict.at.timestamp()]
    assert backtest(cut, replay()).verdict == whole.verdict


def test_without_a_stable_the_slo_decides():
    found = played(Scenario("bad", bad=True, error_rate=0.5), stable=False)
    assert found.result is Result.FAIL
    assert found.document()["stable_requests"] == 0


def test_unknown_weights_make_no_arm_silent():
    shifts = (Shift(utc(EPOCH_S), 90),)
    assert played(Scenario("good", bad=False), shifts=shifts, weights_known=False).result is Result.PASS


def test_before_the_first_exposure_there_is_nothing_to_judge():
    batch = next(stream(world(), Scenario("good", bad=False), np.random.default_rng(1)))
    assert replay(shifts=(Shift(utc(EPOCH_S + 900), 20),)).look(batch).result is Result.INCONCLUSIVE


@pytest.mark.parametrize(
    ("seen", "quick_s", "careful_s"),
    [
        (np.zeros((2, LAG_BINS), np.int64), 0, 0),
        (lags(30, 60, 90), 31, 91),
        (lags(30, 60, 90, arm=0) + lags(31, 61, 92, arm=1), 32, 93),
        (lags(30, 60, 90, arm=0) + lags(90, 180, 240, arm=1), 241, 241),
    ],
)
def test_lag_is_learnt_from_what_has_arrived(seen, quick_s, careful_s):
    meter = LagMeter(seen)
    assert (meter.settle_s(careful=False), meter.settle_s(careful=True)) == (quick_s, careful_s)


def test_too_few_rows_of_an_arm_are_taken_at_their_latest():
    seen = lags(30, 60, 90)
    seen[0] //= 10
    assert LagMeter(seen).settle_s(careful=False) == 91


def test_a_given_settle_is_used_as_it_is():
    given = replay(gate=gate(settle="30s"))
    batch = next(stream(world(), Scenario("good", bad=False), np.random.default_rng(1)))
    given.look(batch)
    assert given.explained(batch.now_s).until == utc(batch.now_s - 30)


def test_simulated_candidates_are_judged_by_the_manifests_own_margins():
    names = [scenario.name for scenario in scenarios(world(slo=slo(latency={"p95": "200ms"}, error_rate="5%")))]
    assert names == [
        "identical", "2.5% slower", "incident on both", "25% slower", "50% slower", "10% errors", "25% errors", "100% errors",
    ]  # fmt: skip
    fast = world(slo=slo(latency={"p50": "10.666667ms"}))
    assert [scenario.name for scenario in scenarios(fast)][3:5] == ["50% slower", "100% slower"], "4 ms of 8 are safe"


def test_a_simulation_says_how_often_the_gate_errs_and_draws_it():
    found = simulate(world(gate=gate(min_requests=40), duration_s=12.0), np.random.default_rng(4), 1)
    assert found["false_rollback"] == 0
    assert found["missed_regression"] == 0
    rows = {row["name"]: row for row in found["scenarios"]}
    assert rows["100% errors"]["fail"] == 1
    assert rows["100% errors"]["median_s"] <= 3
    assert rows["incident on both"]["fail"] == 0
    drawn = picture(found)
    assert "100% errors        ##############################" in drawn
    assert "never" in drawn


def test_a_simulation_repeats_with_its_seed():
    made = world(duration_s=3.0)
    assert simulate(made, np.random.default_rng(5), 1) == simulate(made, np.random.default_rng(5), 1)


def test_a_world_without_targets_has_usual_ones():
    assert world(slo=slo(error_rate="5%")).base_ms == 100
    assert world(slo=slo(latency={"p50": "80ms"})).base_errors == 0.001


def test_an_outcome_of_nothing_has_no_verdict():
    assert Outcome(Result.INCONCLUSIVE, None).document()["reasons"] == []
