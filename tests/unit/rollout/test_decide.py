"""Each test is a sentence of what a rollout does, as a script of observations, actions and events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from playbook import LOCAL, T0, Playbook, deployment, endpoint, plan, verdict, wanted

from deployer.gate.verdict import Result
from deployer.manifest.schema import OnFail, OnInconclusive, Retire
from deployer.rollout.actions import (
    Clean,
    Delete,
    Deploy,
    Judge,
    Record,
    Recreate,
    ReleaseScaling,
    Restore,
    RetireStable,
    SetWeight,
    Smoke,
    StartStable,
    Stop,
    Wait,
    WarmUp,
)
from deployer.rollout.endpoint import Deployment, DeploymentState
from deployer.rollout.events import (
    Adopted,
    Advanced,
    Cleaned,
    Deployed,
    DriftNoticed,
    GaveUp,
    GotStuck,
    Judged,
    Paused,
    Prepared,
    Requested,
    RequestIgnored,
    Resumed,
    Retired,
    Reverted,
    RevertFailed,
    ScalingReleased,
    Shifted,
    Smoked,
    UnreadyNoticed,
    Warmed,
)
from deployer.rollout.machine import begin
from deployer.rollout.model import Outcome, Phase, RequestKind, Rollout, Step, StepKind
from deployer.rollout.plan import compile_plan

BOTH = endpoint({"blue": 100}, deployment("blue", "old"), deployment("green", "new"))
FULL = {"canary": {"steps": [20, 50], "each": {"min": "5s", "max": "60s"}, "bake": "10s"}}


def both(traffic: dict[str, int] | None = None, **over: object):
    return replace(BOTH, traffic=traffic or {"blue": 100}, **over)


def deployed(book: Playbook) -> Playbook:
    return book.records(Prepared).sees(both()).records(Deployed)


def judging(weight: int = 20, **over: object) -> Playbook:
    book = deployed(Playbook(plan(FULL, **over)))
    book.expect(SetWeight(20, 0)).then(Shifted(20, 0))
    while book.state.weight_pct < weight:
        passed(book).records(Advanced)
        book.expect(SetWeight).then(Shifted(book.state.step.weight_pct, 0))
    return book


def looked(book: Playbook, result: Result, after: float = 6.0, text: str = "because") -> Playbook:
    return book.after(after).expect(Judge).then(Judged(verdict(result, text, book.now), "e"))


def passed(book: Playbook) -> Playbook:
    return looked(book, Result.PASS, 11.0)


def reverting(reason: str = "bad", **over: object) -> Playbook:
    return judging(**over).then(GaveUp(Outcome.GATE_FAILED, reason))


# ---- the way forward


def test_a_good_candidate_is_promoted_step_by_step() -> None:
    book = Playbook(plan(FULL)).records(Prepared)
    book.expect(Deploy("green")).then(Requested("green", "asked"))
    book.sees(endpoint(None, deployment("blue", "old"), deployment("green", "new", DeploymentState.CREATING)))
    book.expect(Wait).sees(both()).records(Deployed)
    book.expect(SetWeight(20, 0)).then(Shifted(20, 0))
    passed(book).records(Advanced).expect(SetWeight(50, 0)).then(Shifted(50, 0))
    passed(book).records(Advanced).expect(SetWeight(100, 0)).then(Shifted(100, 0))
    assert book.state.phase is Phase.BAKING
    passed(book).records(Advanced).expect(RetireStable("blue")).then(Retired("blue deleted"))
    assert (book.state.phase, book.state.outcome) == (Phase.PROMOTED, Outcome.PROMOTED)
    book.expect(Stop)


def test_smoke_and_warm_up_come_before_any_users_traffic() -> None:
    steps = (Step(StepKind.PREPARE), Step(StepKind.DEPLOY), Step(StepKind.SMOKE), Step(StepKind.WARM_UP))
    book = deployed(Playbook(plan(steps=(*steps, *plan().steps[2:]))))
    book.expect(Smoke()).then(Smoked(passed=True, text="1 answered")).expect(WarmUp("green"))
    book.then(Warmed("green", passed=True, text="50 requests")).expect(SetWeight(20, 0))


@pytest.mark.parametrize("event", [Smoked(passed=False, text="500"), Warmed("green", passed=False, text="500")])
def test_a_failed_smoke_or_warm_up_never_gets_users_traffic(event: Smoked | Warmed) -> None:
    kind = StepKind.SMOKE if isinstance(event, Smoked) else StepKind.WARM_UP
    steps = (Step(StepKind.PREPARE), Step(StepKind.DEPLOY), Step(kind), *plan().steps[2:])
    book = deployed(Playbook(plan(steps=steps))).then(event)
    assert book.state.outcome is Outcome.GATE_FAILED
    book.restores().expect(Clean(("green",)))
    assert not book.state.shifts


def test_a_step_is_not_judged_passed_before_its_min() -> None:
    book = looked(judging(), Result.PASS, 4.0)
    book.expect(Wait)
    looked(book, Result.PASS, 1.0).records(Advanced)


def test_the_gate_looks_at_once_a_look_is_due_and_waits_otherwise() -> None:
    book = judging().after(0.5)
    book.expect(Wait(T0.replace(second=1), "next look of the gate"))
    book.after(0.5).expect(Judge)


@pytest.mark.parametrize("result", [Result.INCONCLUSIVE, Result.BLIND])
def test_anything_but_a_pass_never_advances_and_ends_at_max(result: Result) -> None:
    book = looked(judging(), result, 30.0)
    book.expect(Wait)
    looked(book, result, 30.0, "unproven").records(GaveUp)
    assert book.state.outcome is Outcome.INCONCLUSIVE
    assert "no verdict within 60s at 20%: unproven" in book.state.reason


def test_a_pass_of_an_earlier_step_does_not_advance_the_next() -> None:
    book = judging(50)
    book.after(10).expect(Judge)
    assert book.state.verdict is None


def test_on_inconclusive_pause_keeps_traffic_and_waits_for_a_person() -> None:
    book = looked(judging(on_inconclusive=OnInconclusive.PAUSE), Result.INCONCLUSIVE, 61.0).records(Paused)
    assert book.state.traffic == {"green": 20, "blue": 80}
    book.expect(Stop)


def test_a_fail_sends_all_traffic_back_at_any_moment() -> None:
    book = looked(judging(), Result.FAIL, 1.0, "errors").records(GaveUp)
    assert (book.state.phase, book.state.outcome, book.state.reason) == (Phase.REVERTING, Outcome.GATE_FAILED, "errors")
    book.expect(Restore).sees(both()).restores().expect(Clean(("green",))).then(Cleaned("green removed"))
    assert book.state.phase is Phase.ROLLED_BACK


def test_on_fail_freeze_keeps_the_split_for_a_person() -> None:
    book = looked(judging(on_fail=OnFail.FREEZE), Result.FAIL, 1.0).records(Paused)
    assert "frozen" in book.state.reason
    assert book.state.weight_pct == 20


def test_a_fail_in_the_bake_brings_the_stable_back() -> None:
    book = judging(100)
    looked(book, Result.FAIL, 1.0).records(GaveUp).expect(Restore)


def test_a_bake_without_fresh_evidence_is_not_passed() -> None:
    book = looked(judging(100), Result.BLIND, 11.0)
    book.expect(Wait)
    looked(book, Result.BLIND, 10.0).records(GaveUp)
    assert book.state.outcome is Outcome.INCONCLUSIVE


def test_a_skipped_gate_waits_for_the_min_of_each_step_and_asks_nobody() -> None:
    book = judging(skip_gate="hotfix").after(1)
    book.expect(Wait).after(5).records(Advanced)
    assert book.state.step.weight_pct == 50


def test_a_mirror_step_is_written_and_judged_without_live_weight() -> None:
    strategy = {"blue_green": {"mirror": "10%", "mirror_for": "5s", "bake": "10s"}}
    book = deployed(Playbook(plan(strategy)))
    book.expect(SetWeight(0, 10)).then(Shifted(0, 10))
    assert (book.state.mirror_pct, book.state.is_exposed, book.state.moment(book.now).mirrored) == (10, False, True)
    passed(book).records(Advanced).expect(SetWeight(100, 0))


def test_a_timed_pause_is_judged_and_only_time_ends_it() -> None:
    strategy = {
        "canary": {"steps": [20, {"pause": {"for": "30s"}}], "each": {"min": "5s", "max": "60s"}, "bake": "10s"}
    }
    book = deployed(Playbook(plan(strategy))).expect(SetWeight).then(Shifted(20, 0))
    passed(book).records(Advanced)
    assert book.state.phase is Phase.HOLDING
    looked(book, Result.PASS, 10.0).expect(Wait).after(21).records(Advanced).expect(SetWeight(100, 0))


def test_a_fail_during_a_timed_pause_rolls_back() -> None:
    strategy = {
        "canary": {"steps": [20, {"pause": {"for": "30s"}}], "each": {"min": "5s", "max": "60s"}, "bake": "10s"}
    }
    book = deployed(Playbook(plan(strategy))).expect(SetWeight).then(Shifted(20, 0))
    passed(book).records(Advanced)
    looked(book, Result.FAIL, 2.0).records(GaveUp)


def test_a_timed_pause_before_any_exposure_has_nothing_to_judge() -> None:
    strategy = {"canary": {"steps": [{"pause": {"for": "30s"}}, 20], "bake": "10s"}}
    book = deployed(Playbook(plan(strategy)))
    book.after(5).expect(Wait).after(30).records(Advanced)


def test_an_endless_pause_stops_the_process_and_promote_goes_on() -> None:
    strategy = {"canary": {"steps": [20, {"pause": {}}, 50], "each": {"min": "5s", "max": "60s"}, "bake": "10s"}}
    book = deployed(Playbook(plan(strategy))).expect(SetWeight).then(Shifted(20, 0))
    passed(book).records(Advanced)
    assert book.state.phase is Phase.PAUSED
    book.expect(Stop).asked(RequestKind.PROMOTE).records(Resumed).expect(SetWeight(50, 0))


# ---- preparing and deploying


def test_the_baseline_is_deployed_warmed_and_given_all_traffic_first() -> None:
    empty = endpoint({}, deployments={})
    book = Playbook(compile_plan(wanted(FULL, baseline=True), empty, LOCAL, rollout_id="r"), empty)
    book.expect(Deploy("blue")).then(Requested("blue", "asked"))
    book.sees(endpoint({}, deployment("blue", "base"))).expect(WarmUp("blue"))
    book.then(Warmed("blue", passed=True, text="ok")).expect(StartStable).then(Prepared())
    assert book.state.phase is Phase.DEPLOYING


def test_a_baseline_that_already_has_traffic_is_not_touched() -> None:
    empty = endpoint({}, deployments={})
    book = Playbook(compile_plan(wanted(FULL, baseline=True), empty, LOCAL, rollout_id="r"), empty)
    book.sees(endpoint({"blue": 100}, deployment("blue", "base"))).records(Prepared)


def test_a_baseline_that_fails_its_warm_up_leaves_nothing_behind() -> None:
    empty = endpoint({}, deployments={})
    book = Playbook(compile_plan(wanted(FULL, baseline=True), empty, LOCAL, rollout_id="r"), empty)
    book.expect(Deploy("blue")).then(Requested("blue", "asked"))
    book.sees(endpoint({}, deployment("blue", "base"))).then(Warmed("blue", passed=False, text="500"))
    book.records(Reverted).expect(Clean(("blue",)))


def test_a_failed_left_over_of_the_same_version_is_made_anew_once() -> None:
    failed = endpoint(None, deployment("blue", "old"), deployment("green", "new", DeploymentState.FAILED))
    book = Playbook(plan(FULL)).records(Prepared).sees(failed)
    book.expect(Deploy("green")).then(Requested("green", "asked"))
    book.records(GaveUp)
    assert book.state.outcome is Outcome.PLATFORM


def test_a_deployment_that_does_not_show_is_asked_for_now_and_then_and_given_up_in_its_time() -> None:
    book = Playbook(plan(FULL)).records(Prepared)
    for _ in range(4):
        book.expect(Deploy("green")).then(Requested("green", "asked"))
        book.expect(Wait).after(7).expect(Wait).after(0.5)
    book.records(GaveUp)
    assert book.state.outcome is Outcome.PLATFORM
    assert book.state.reason == "deployment green does not show, asked for 4 times in 30s"


def test_a_stable_that_does_not_show_on_the_way_back_is_asked_for_again_after_a_while() -> None:
    book = reverting().sees(endpoint({"green": 20, "blue": 80}, deployment("green", "new")))
    for _ in range(2):
        book.expect(Recreate("blue")).then(Requested("blue", "again")).expect(Wait).after(7.5)
    book.expect(Recreate("blue")).after(50).records(GotStuck)
    assert "blue is gone" in book.state.reason


def test_a_left_over_with_the_candidates_name_makes_room() -> None:
    old = endpoint(None, deployment("blue", "old"), deployment("green", "older"))
    book = Playbook(plan(FULL, at=old)).records(Prepared).sees(old)
    book.expect(Delete("green")).then(Requested(None, "deleting"))
    leaving = endpoint(None, deployment("blue", "old"), deployment("green", "older", DeploymentState.DELETING))
    book.sees(leaving).expect(Wait).sees(endpoint()).expect(Deploy("green"))


def test_a_name_taken_by_somebody_else_meanwhile_ends_the_rollout() -> None:
    taken = endpoint(None, deployment("blue", "old"), deployment("green", None))
    book = Playbook(plan(FULL)).records(Prepared).sees(taken).records(GaveUp)
    book.restores().records(Cleaned)
    assert book.state.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("message", ["", "pulling"])
def test_a_deployment_that_never_becomes_ready_has_a_deadline(message: str) -> None:
    slow = deployment("green", "new", DeploymentState.CREATING, message=message)
    book = Playbook(plan(FULL)).records(Prepared).sees(endpoint(None, deployment("blue", "old"), slow))
    book.expect(Wait).after(31).records(GaveUp)
    assert "not ready after 30s" in book.state.reason


def test_weight_is_written_only_to_a_ready_candidate() -> None:
    book = deployed(Playbook(plan(FULL)))
    degraded = deployment("green", "new", DeploymentState.DEGRADED)
    book.sees(endpoint(None, deployment("blue", "old"), degraded)).expect(Wait)


# ---- what interrupts


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("failed", deployment("green", "new", DeploymentState.FAILED, message="exit 3")),
        ("deleted", deployment("green", "new", DeploymentState.DELETING)),
        ("replaced", deployment("green", "other")),
    ],
)
def test_a_broken_candidate_loses_its_traffic_at_once(name: str, seen: object) -> None:
    split = {"green": 20, "blue": 80}
    book = judging().sees(endpoint(split, deployment("blue", "old"), seen)).records(GaveUp)
    assert book.state.outcome is Outcome.PLATFORM
    assert name in book.state.reason


def test_a_candidate_that_vanished_ends_the_rollout() -> None:
    book = judging().sees(endpoint({"green": 20, "blue": 80}, deployment("blue", "old"))).records(GaveUp)
    assert "deleted by somebody else" in book.state.reason


def test_a_signal_brings_traffic_back() -> None:
    book = judging()
    book.signal = "SIGTERM"
    book.records(GaveUp).expect(Restore)
    assert (book.state.outcome, book.state.reason) == (Outcome.ABORTED, "stopped by SIGTERM")


def test_a_signal_on_the_way_back_changes_nothing() -> None:
    book = reverting()
    book.signal = "SIGTERM"
    book.expect(Restore)


@pytest.mark.parametrize("phase", ["deploying", "judging", "paused", "retiring"])
def test_an_abort_works_from_every_state_that_is_not_final(phase: str) -> None:
    books = {
        "deploying": lambda: Playbook(plan(FULL)).records(Prepared),
        "judging": judging,
        "paused": lambda: judging().then(Paused("wait")),
        "retiring": lambda: passed(judging(100)).records(Advanced),
    }
    book = books[phase]()
    assert book.state.phase.value == phase
    book.asked(RequestKind.ABORT, "wrong model").records(GaveUp)
    assert (book.state.outcome, book.state.reason) == (Outcome.ABORTED, "abort by ann: wrong model")


def test_an_abort_after_the_stable_was_retired_is_refused_with_the_next_step() -> None:
    book = passed(judging(100)).records(Advanced)
    gone = endpoint({"green": 100}, deployment("green", "new"))
    book.sees(gone).asked(RequestKind.ABORT).records(RequestIgnored)
    assert book.state.phase is Phase.RETIRING


def test_promote_moves_on_exactly_one_step_and_is_recorded() -> None:
    book = looked(judging(), Result.INCONCLUSIVE).asked(RequestKind.PROMOTE, "seen it").records(Advanced)
    assert book.state.step.weight_pct == 50
    book.expect(SetWeight(50, 0))


def test_promote_after_an_inconclusive_pause_moves_on_one_step() -> None:
    book = looked(judging(on_inconclusive=OnInconclusive.PAUSE), Result.INCONCLUSIVE, 61.0).records(Paused)
    book.asked(RequestKind.PROMOTE).records(Advanced).expect(SetWeight(50, 0))


def test_promote_full_skips_to_100_and_still_bakes() -> None:
    book = judging().asked(RequestKind.PROMOTE_FULL).records(Advanced).expect(SetWeight(100, 0)).then(Shifted(100, 0))
    assert book.state.phase is Phase.BAKING


@pytest.mark.parametrize("kind", [RequestKind.PROMOTE, RequestKind.PROMOTE_FULL])
def test_promote_before_anything_is_judged_is_ignored(kind: RequestKind) -> None:
    book = Playbook(plan(FULL)).records(Prepared).asked(kind).records(RequestIgnored)
    assert book.state.phase is Phase.DEPLOYING


def test_promote_full_of_a_rollout_paused_before_its_candidate_is_deployed_is_ignored() -> None:
    book = Playbook(plan(FULL)).records(Prepared).then(Paused("wait")).asked(RequestKind.PROMOTE_FULL)
    book.records(RequestIgnored)


def test_pause_and_resume_go_on_with_the_same_step_and_the_time_does_not_count() -> None:
    book = judging().after(3).asked(RequestKind.PAUSE).records(Paused)
    before = book.state.deadline
    book.after(600).asked(RequestKind.RESUME).records(Resumed)
    assert (book.state.phase, book.state.step.weight_pct) == (Phase.JUDGING, 20)
    assert (book.state.deadline - before).total_seconds() == 600
    assert book.state.entered_at == book.now


def test_a_pause_while_deploying_waits_and_goes_on() -> None:
    book = Playbook(plan(FULL)).records(Prepared).asked(RequestKind.PAUSE).records(Paused)
    book.expect(Stop).asked(RequestKind.RESUME).records(Resumed).expect(Deploy("green"))


def test_promote_full_never_leaves_out_smoke_and_warm_up() -> None:
    steps = (Step(StepKind.PREPARE), Step(StepKind.DEPLOY), Step(StepKind.SMOKE), *plan().steps[2:])
    book = deployed(Playbook(plan(steps=steps))).then(Paused("wait")).asked(RequestKind.PROMOTE_FULL)
    book.records(RequestIgnored)
    assert book.state.phase is Phase.PAUSED


def test_pause_and_resume_where_they_do_not_apply_are_ignored() -> None:
    book = judging().asked(RequestKind.RESUME).records(RequestIgnored)
    book.then(Paused("wait")).asked(RequestKind.PAUSE).records(RequestIgnored)
    assert book.state.phase is Phase.PAUSED


def test_the_deadline_leaves_time_to_roll_back() -> None:
    book = judging().after(10800 - 20 - 1).expect(Judge)
    book.after(1).records(GaveUp)
    assert book.state.outcome is Outcome.INCONCLUSIVE
    assert "deadline" in book.state.reason


def test_a_paused_rollout_outlives_the_deadline() -> None:
    judging().then(Paused("wait")).after(20000).expect(Stop)


def test_an_endpoint_deleted_by_somebody_is_never_made_again() -> None:
    book = judging().sees(None).records(GaveUp).records(GotStuck)
    assert book.state.phase is Phase.STUCK


def test_an_endpoint_made_again_under_the_same_name_is_not_ours() -> None:
    book = judging().sees(endpoint({"green": 100}, deployment("green", None), uid="uid-2")).records(GaveUp)
    book.records(GotStuck)


def test_somebody_elses_edit_is_confirmed_before_it_counts() -> None:
    edited = both({"green": 90, "blue": 10})
    book = judging().sees(edited).records(DriftNoticed).expect(Wait).after(0.2).records(GaveUp)
    assert "from blue 80%, green 20% to blue 10%, green 90%" in book.state.reason
    book.expect(Restore)


def test_a_stale_read_is_no_edit() -> None:
    book = judging().sees(both()).records(DriftNoticed).sees(both({"green": 20, "blue": 80})).records(DriftNoticed)
    assert book.state.drift is None
    book.after(2).expect(Judge)


def test_a_mirror_set_by_somebody_is_named() -> None:
    edited = both({"green": 20, "blue": 80}, mirror={"green": 5})
    book = judging().sees(edited).records(DriftNoticed).after(1).records(GaveUp)
    assert "and mirror green 5%" in book.state.reason


def test_a_human_who_sent_everything_back_is_respected() -> None:
    book = judging().sees(both()).records(DriftNoticed).after(1).records(GaveUp)
    book.restores()
    assert book.state.phase is Phase.CLEANING


def test_traffic_written_just_before_a_crash_is_ours() -> None:
    book = deployed(Playbook(plan(FULL)))
    book.sees(both({"green": 20, "blue": 80})).expect(SetWeight(20, 0))


# ---- retiring


def test_retire_keep_leaves_the_stable_at_zero() -> None:
    book = passed(judging(100, retire=Retire.KEEP)).records(Advanced).records(Retired)
    assert book.state.phase is Phase.PROMOTED


def test_a_stable_that_has_traffic_again_is_not_deleted_and_the_edit_ends_the_rollout() -> None:
    book = passed(judging(100)).records(Advanced)
    book.sees(both({"green": 50, "blue": 50})).records(DriftNoticed).after(1).records(GaveUp)
    assert book.state.outcome is Outcome.ABORTED
    book.expect(Restore)


def test_an_endpoint_lost_while_retiring_is_no_promotion() -> None:
    passed(judging(100)).records(Advanced).sees(None).records(GaveUp).records(GotStuck)


def test_a_stable_that_deployer_did_not_make_is_not_deleted() -> None:
    book = passed(judging(100)).records(Advanced)
    foreign = endpoint({"green": 100}, deployment("blue", None), deployment("green", "new"))
    book.sees(foreign).records(Retired)
    assert "not made by deployer" in book.state.warnings[0]


def test_a_stable_already_gone_is_nothing_to_retire() -> None:
    book = passed(judging(100)).records(Advanced)
    book.sees(endpoint({"green": 100}, deployment("green", "new"))).records(Retired)
    assert book.state.outcome is Outcome.PROMOTED


def test_a_failing_clean_up_after_the_last_pass_never_sends_traffic_back() -> None:
    book = passed(judging(100)).records(Advanced).expect(RetireStable("blue"))
    book.then(Retired("could not retire blue: busy", ("blue",)))
    assert (book.state.phase, book.state.weight_pct) == (Phase.PROMOTED, 100)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("failed: exit 3", deployment("green", "new", DeploymentState.FAILED, message="exit 3")),
        ("deleted", deployment("green", "new", DeploymentState.DELETING)),
        ("deleted", deployment("pink", "other")),
        ("replaced", deployment("green", "other")),
    ],
)
@pytest.mark.parametrize("retire", list(Retire))
def test_a_candidate_that_broke_after_its_last_pass_gives_its_traffic_back(
    name: str, seen: Deployment, retire: Retire
) -> None:
    book = passed(judging(100, retire=retire)).records(Advanced)
    book.sees(endpoint({"green": 100}, deployment("blue", "old"), seen)).records(GaveUp).expect(Restore)
    assert book.state.outcome is Outcome.PLATFORM
    assert name in book.state.reason


HALF = deployment("green", "new", DeploymentState.DEGRADED, instances_wanted=2)


def retiring_with(candidate: Deployment, **over: object) -> Playbook:
    book = passed(judging(100, **over)).records(Advanced)
    return book.sees(endpoint({"green": 100}, deployment("blue", "old"), candidate))


@pytest.mark.parametrize(
    "dead",
    [
        deployment("green", "new", DeploymentState.CREATING, message="crash loop"),
        deployment("green", "new", instances_ready=0, instances_wanted=0, message="crash loop"),
    ],
    ids=["not ready", "scaled to 0"],
)
def test_a_candidate_that_answers_nobody_is_waited_for_before_the_stable_takes_its_traffic(dead: Deployment) -> None:
    book = retiring_with(dead).records(UnreadyNoticed).expect(Wait).after(19).expect(Wait).after(1).records(GaveUp)
    book.expect(Restore)
    assert (book.state.outcome, "(crash loop)" in book.state.reason) == (Outcome.PLATFORM, True)


def test_only_a_silence_without_a_break_sends_a_candidate_back() -> None:
    book = retiring_with(HALF).records(UnreadyNoticed).after(25).expect(Wait)
    silent = both({"green": 100}, deployments={**BOTH.deployments, "green": replace(HALF, instances_ready=0)})
    partly = replace(silent, deployments={**BOTH.deployments, "green": HALF})
    book.sees(silent).records(UnreadyNoticed).after(4).expect(Wait).sees(partly).records(UnreadyNoticed)
    book.after(0.5).sees(silent).records(UnreadyNoticed).after(19).expect(Wait).after(1).records(GaveUp)


def test_a_candidate_that_blinks_to_the_end_is_not_waited_for_longer_than_a_deployment() -> None:
    book = retiring_with(HALF).records(UnreadyNoticed).after(20)
    book.sees(endpoint({"green": 100}, deployment("blue", "old"), replace(HALF, instances_ready=0)))
    book.records(UnreadyNoticed).after(10).sees(endpoint({"green": 100}, deployment("blue", "old"), HALF))
    book.records(UnreadyNoticed).records(Retired)
    assert book.state.left == ("blue",)


def test_a_signal_ends_the_wait_for_instances_with_the_stable_whole() -> None:
    book = retiring_with(HALF).records(UnreadyNoticed).expect(Wait)
    book.signal = "SIGTERM"
    book.records(Retired)
    assert (book.state.phase, book.state.left) == (Phase.PROMOTED, ("blue",))


def test_a_signal_while_the_candidate_answers_nobody_brings_traffic_back_at_once() -> None:
    book = retiring_with(replace(HALF, instances_ready=0))
    book.signal = "SIGINT"
    book.records(GaveUp).expect(Restore)
    assert (book.state.outcome, "stopped by SIGINT" in book.state.reason) == (Outcome.ABORTED, True)


def test_a_candidate_that_failed_and_still_answers_keeps_its_traffic_and_the_stable_stays() -> None:
    book = retiring_with(deployment("green", "new", DeploymentState.FAILED, instances_ready=1, message="no quota"))
    book.records(UnreadyNoticed).expect(Wait).after(30).records(Retired)
    assert book.state.warnings[0].startswith("green failed, with 1 of 1 instances ready (no quota): blue is kept whole")
    judging().sees(both({"green": 20, "blue": 80}, deployments=book.endpoint.deployments)).records(GaveUp)


def test_a_candidate_that_is_whole_again_in_time_is_promoted() -> None:
    book = retiring_with(deployment("green", "new", DeploymentState.CREATING)).records(UnreadyNoticed).after(10)
    book.sees(both({"green": 100})).records(UnreadyNoticed).expect(RetireStable("blue"))
    assert book.state.unready_at is None


def test_a_candidate_that_answers_with_some_instances_keeps_its_traffic_and_the_stable_stays() -> None:
    book = retiring_with(HALF)
    book.state = replace(book.state, held=True)
    book.records(UnreadyNoticed).expect(Wait).after(30).expect(ReleaseScaling("blue")).then(ScalingReleased("released"))
    book.records(Retired)
    assert book.state.phase is Phase.PROMOTED
    assert book.state.warnings[0].startswith("green has 1 of 2 instances ready: blue is kept whole, at 0%")
    assert book.state.left == ("blue",)


def test_a_stable_of_which_only_the_manifest_says_how_to_retire_it_stays_for_a_rollback() -> None:
    book = passed(judging(100, retire=None)).records(Advanced).records(Retired)
    assert (book.state.phase, book.state.left) == (Phase.PROMOTED, ())
    assert "the manifest, which is not at hand: it is left at 0%" in book.state.warnings[0]


@pytest.mark.parametrize(
    ("retire", "digest", "left", "said"),
    [
        (Retire.KEEP, "old", (), "blue is kept at 0%, as planned"),
        (Retire.KEEP, None, (), "blue is kept at 0%, as planned"),
        (None, "old", (), "how blue was to be retired is in the manifest"),
        (None, None, ("blue",), "blue was not made by deployer"),
        (Retire.DELETE, None, ("blue",), "blue was not made by deployer"),
    ],
)
def test_beside_a_candidate_with_some_instances_only_a_stable_that_was_to_go_is_left_over(
    retire: Retire | None, digest: str | None, left: tuple[str, ...], said: str
) -> None:
    book = retiring_with(HALF, retire=retire).sees(endpoint({"green": 100}, deployment("blue", digest), HALF))
    book.records(UnreadyNoticed).after(30).records(Retired)
    assert book.state.warnings[0].startswith(f"green has 1 of 2 instances ready: {said}")
    assert "--yes" not in book.state.warnings[0]
    assert book.state.left == left


def test_while_retiring_only_an_operator_is_listened_to() -> None:
    book = passed(judging(100)).records(Advanced)
    book.signal = "SIGTERM"
    book.after(99999).expect(RetireStable("blue"))
    book.asked(RequestKind.PAUSE).records(RequestIgnored)


# ---- the way back


def test_a_split_that_may_still_change_is_not_taken_for_the_way_back() -> None:
    settling = replace(both(), settling=True)
    book = reverting().sees(settling).expect(Restore).then(RevertFailed("busy"))
    book.expect(Wait).after(0.2).expect(Restore).sees(both()).records(Reverted)


def test_one_look_that_shows_the_way_back_done_is_not_believed() -> None:
    """It may be from before the last write: the write itself looks twice, and writes nothing when it is so."""
    book = (
        reverting().sees(both()).expect(Restore).sees(endpoint({"green": 50, "blue": 50}, *both().deployments.values()))
    )
    book.expect(Restore)


def test_a_way_back_that_is_done_and_cannot_be_written_is_believed_at_the_second_look() -> None:
    reverting().sees(both()).expect(Restore).then(RevertFailed("no ready instance")).after(1).records(Reverted)


def test_a_split_that_may_change_to_the_end_is_stuck() -> None:
    book = reverting().sees(replace(both(), settling=True)).after(500).records(GotStuck)
    assert "blue 100%, and may still change" in book.state.reason


def test_the_way_back_is_tried_again_with_growing_waits_until_the_reserve_is_spent() -> None:
    book = reverting().expect(Restore).then(RevertFailed("busy"))
    book.expect(Wait).after(0.2).expect(Restore).then(RevertFailed("busy")).after(0.3).expect(Wait)
    book.after(25).records(GotStuck)
    assert (book.state.phase, book.state.revert_attempts) == (Phase.STUCK, 2)
    book.expect(Stop)


def test_a_stable_that_is_gone_is_made_again_from_its_record() -> None:
    book = reverting().sees(endpoint({"green": 20, "blue": 80}, deployment("green", "new")))
    book.expect(Recreate("blue")).then(Requested("blue", "again"))
    assert book.state.phase is Phase.REVERTING


def test_a_stable_that_is_being_deleted_is_made_again_on_the_way_back() -> None:
    going = deployment("blue", "old", DeploymentState.DELETING)
    reverting().sees(endpoint({"green": 20, "blue": 80}, going, deployment("green", "new"))).expect(Recreate("blue"))


def test_traffic_is_never_sent_to_an_unhealthy_stable() -> None:
    ill = deployment("blue", "old", DeploymentState.FAILED, message="crash loop")
    book = reverting().sees(endpoint({"green": 20, "blue": 80}, ill, deployment("green", "new"))).expect(Wait)
    book.after(21).records(GotStuck)
    assert "traffic is blue 80%, green 20%, not blue 100%" in book.state.reason


@pytest.mark.parametrize(
    ("stable", "why"),
    [
        (
            [deployment("blue", "old", DeploymentState.FAILED, message="node lost")],
            "blue has no ready instance: node lost",
        ),
        ([deployment("blue", "old", DeploymentState.CREATING)], "blue has no ready instance: creating"),
        ([], "blue is gone"),
    ],
)
def test_who_is_stuck_says_why_the_stable_was_not_taken(stable: list[Deployment], why: str) -> None:
    book = reverting().then(RevertFailed("no record of it"))
    book.sees(endpoint({"green": 20, "blue": 80}, *stable, deployment("green", "new"))).after(21).records(GotStuck)
    assert book.state.reason.endswith(f"not blue 100%; {why}; rollback attempt 1: no record of it")


def test_a_degraded_stable_is_better_than_a_bad_candidate() -> None:
    half = deployment("blue", "old", DeploymentState.DEGRADED)
    reverting().sees(endpoint({"green": 20, "blue": 80}, half, deployment("green", "new"))).expect(Restore)


def test_a_first_deployment_without_a_stable_goes_back_to_no_traffic() -> None:
    empty = endpoint({}, deployments={})
    book = Playbook(compile_plan(wanted(FULL), empty, LOCAL, rollout_id="r"), empty).records(Prepared)
    alone = endpoint({}, deployment("blue", "new"))
    book.sees(alone).records(Deployed).expect(SetWeight(20, 0)).then(Shifted(20, 0))
    assert book.state.traffic == {"blue": 100}
    book.then(GaveUp(Outcome.GATE_FAILED, "bad")).expect(Restore).sees(alone).restores().expect(Clean(("blue",)))


def test_a_first_deployment_has_nothing_to_retire() -> None:
    empty = endpoint({}, deployments={})
    fresh = compile_plan(wanted({"blue_green": {"bake": "10s"}}), empty, LOCAL, rollout_id="r")
    book = Playbook(fresh, empty).records(Prepared).sees(endpoint({}, deployment("blue", "new"))).records(Deployed)
    book.expect(SetWeight).then(Shifted(100, 0))
    passed(book).records(Advanced)
    book.sees(endpoint({"blue": 100}, deployment("blue", "new", DeploymentState.CREATING))).records(Retired)
    assert book.state.warnings == ("blue has 0 of 1 instances ready: nothing to retire",)


def test_a_candidate_that_has_traffic_again_is_not_removed() -> None:
    book = reverting().sees(both()).restores().sees(both({"green": 100}))
    book.records(Cleaned)
    assert "has traffic again" in book.state.warnings[0]


@pytest.mark.parametrize(
    ("is_its_own", "over"),
    [
        (True, {"created_at": T0}),
        (False, {"created_at": T0 - timedelta(seconds=1)}),
        (False, {"created_at": None}),
        (False, {"created_at": T0, "digest": "another"}),
        (False, {"created_at": T0, "digest": None}),
    ],
)
def test_without_its_journal_only_a_baseline_that_it_made_beyond_doubt_is_removed(
    is_its_own: bool, over: dict[str, Any]
) -> None:
    baseline = replace(deployment("blue", "old"), **over)
    unbegun = plan(FULL, rollout_id=f"{T0:%Y%m%dT%H%M%S}-04ba+101500")
    state = begin(Adopted(unbegun, Phase.CLEANING, 0, 0, 0, "found", prepared=False), T0)
    book = Playbook(state).sees(endpoint({}, baseline)).expect(Clean(("blue",)) if is_its_own else Record)
    is_told = not is_its_own and baseline.digest is not None
    assert any("deployer gc digits lists it" in warning for warning in book.state.warnings) is is_told


def test_an_endpoint_that_vanishes_while_cleaning_ends_the_rollout() -> None:
    book = reverting().sees(both()).restores().sees(None).records(Cleaned)
    assert book.state.phase is Phase.ROLLED_BACK


def test_the_candidates_weight_never_rises_after_the_way_back_began() -> None:
    book = reverting()
    for seen in (both({"green": 20, "blue": 80}), both({"green": 99, "blue": 1}), both(), endpoint()):
        action = book.sees(seen).next()
        assert not isinstance(action, SetWeight)


def test_a_restored_state_with_an_unknown_look_still_decides() -> None:
    state: Rollout = judging().state
    fresh = replace(state, verdict=None)
    book = Playbook(fresh, both({"green": 20, "blue": 80})).after(5)
    book.expect(Judge)
