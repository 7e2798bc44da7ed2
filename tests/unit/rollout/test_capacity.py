"""Each share of traffic goes to enough instances; the stable keeps its own until the bake is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook import LOCAL, Playbook, deployment, endpoint, plan, wanted

from deployer.errors import PlanError
from deployer.manifest.schema import Retire
from deployer.rollout.actions import (
    Clean,
    MatchScaling,
    ReleaseScaling,
    Restore,
    RetireStable,
    Scale,
    SetWeight,
    Wait,
    WarmUp,
)
from deployer.rollout.describe import describe
from deployer.rollout.endpoint import DeploymentState, Endpoint
from deployer.rollout.events import (
    Adopted,
    Advanced,
    Deployed,
    GaveUp,
    GotStuck,
    Prepared,
    Requested,
    Retired,
    RevertFailed,
    Scaled,
    ScalingMatched,
    ScalingReleased,
    Shifted,
    Warmed,
)
from deployer.rollout.machine import begin
from deployer.rollout.model import Outcome, Phase, Plan, StepKind
from deployer.rollout.plan import DEPLOY_PATIENCE, Measured, Version, compile_plan
from deployer.rollout.readiness import instances_for, is_scaled_down

AZURE = replace(LOCAL, platform="managed", autoscaling=True, typical_deploy_s=600.0, poll_s=5.0)
QUICK = {"blue_green": {"mirror": "20%", "mirror_for": "5s", "bake": "10s"}}
FULL = {"canary": {"steps": [20, 50], "each": {"min": "5s", "max": "60s"}, "bake": "10s"}}


def large(
    stable: int = 4, candidate: int = 1, traffic: dict[str, int] | None = None, ready: int | None = None
) -> Endpoint:
    state = DeploymentState.READY if ready is None else DeploymentState.DEGRADED
    return endpoint(
        traffic or {"blue": 100},
        deployment("blue", "old", instances_ready=stable, instances_wanted=stable),
        deployment(
            "green", "new", state, instances_ready=candidate if ready is None else ready, instances_wanted=candidate
        ),
    )


def made(strategy: dict[str, Any] = FULL, at: Endpoint | None = None, **over: Any) -> Plan:
    compiled = compile_plan(wanted(strategy), at or large(), LOCAL, rollout_id="r1")
    return replace(compiled, **over)


def ready(start: Plan, at: Endpoint | None = None) -> Playbook:
    """A rollout whose candidate is ready, at weight 0."""
    return Playbook(start, at or large()).records(Prepared).records(Deployed)


def scaled(instances: int) -> Scaled:
    return Scaled("green", instances, "more")


@given(st.integers(1, 50), st.integers(1, 100))
def test_no_instance_of_the_candidate_gets_more_than_one_of_the_stable_had(stable: int, share_pct: int) -> None:
    needed = instances_for(stable, share_pct)
    assert share_pct / 100 / needed <= 1 / stable + 1e-9
    assert needed == 1 or share_pct / 100 / (needed - 1) > 1 / stable - 1e-9


def test_the_candidate_is_scaled_before_each_weight_that_needs_it() -> None:
    book = ready(made()).expect(SetWeight(20, 0))  # one of one is enough for 20 % of four
    book.then(Shifted(20, 0), Advanced("pass"))
    book.expect(Scale("green", 2, "50% of what blue answers with 4")).then(scaled(2))
    book.sees(large(4, 2, {"green": 20, "blue": 80}, ready=1)).expect(Wait)
    book.sees(large(4, 2, {"green": 20, "blue": 80})).expect(SetWeight(50, 0)).then(Shifted(50, 0), Advanced("pass"))
    book.expect(Scale("green", 4, "100% of what blue answers with 4"))


def test_the_stable_counts_as_large_as_it_is_now_whoever_made_it_so() -> None:
    book = ready(made()).sees(large(11)).expect(Scale("green", 3, "20% of what blue answers with 11"))
    book.sees(large(2)).expect(SetWeight(20, 0))


def test_a_candidate_that_is_larger_than_needed_is_left_alone() -> None:
    ready(made(), large(4, 6)).expect(SetWeight(20, 0))


def test_mirrored_traffic_needs_instances_too() -> None:
    ready(made(QUICK), large(10)).expect(Scale("green", 2, "20% of what blue answers with 10"))


def test_a_first_deployment_has_nobody_to_be_as_large_as() -> None:
    empty = endpoint({}, deployments={})
    start = compile_plan(wanted(FULL), empty, AZURE, rollout_id="r")
    book = Playbook(start, empty).records(Prepared).sees(endpoint({}, deployment("blue", "new"))).records(Deployed)
    book.expect(SetWeight(20, 0))
    assert start.stable_instances == 1


def test_a_baseline_is_as_large_as_its_document_asks() -> None:
    want = replace(wanted(FULL), baseline=Version(None, "base", 6))
    assert compile_plan(want, endpoint({}, deployments={}), AZURE, rollout_id="r").stable_instances == 6


def test_a_request_to_scale_is_made_once_and_then_waited_for() -> None:
    """A reading that is older than the request says nothing."""
    book = ready(made(), large(10)).expect(Scale).then(scaled(2)).expect(Wait).after(29).expect(Wait)
    assert "is being scaled to 2 instances" in book.next().why  # type: ignore[union-attr]


def test_a_candidate_that_cannot_be_made_large_enough_gets_no_traffic() -> None:
    book = ready(made(), large(10)).expect(Scale).then(scaled(2)).after(30).records(GaveUp)
    assert book.state.outcome is Outcome.PLATFORM
    assert "green has 1 instances, not the 2 for 20% of what blue answers with 10, after 30s" in book.state.reason


def test_a_stable_that_grew_since_is_followed() -> None:
    book = ready(made(), large(10)).expect(Scale).then(scaled(2)).sees(large(20, 2))
    book.expect(Scale("green", 4, "20% of what blue answers with 20"))


def test_new_instances_are_warmed_up_before_users_meet_them() -> None:
    start = compile_plan(wanted(FULL, warmup={"request": "a.json"}), large(10), LOCAL, rollout_id="r1")
    book = ready(start, large(10)).expect(WarmUp("green")).then(Warmed("green", True, "4 requests"))
    book.expect(Scale).then(scaled(2)).sees(large(10, 2)).expect(WarmUp("green"))
    book.then(Warmed("green", True, "8 requests")).expect(SetWeight(20, 0))
    assert book.state.phase is Phase.SHIFTING


def test_new_instances_that_fail_their_warm_up_bring_traffic_back() -> None:
    start = compile_plan(wanted(FULL, warmup={"request": "a.json"}), large(10), LOCAL, rollout_id="r1")
    book = ready(start, large(10)).then(Warmed("green", True, "ok")).then(scaled(2), Warmed("green", False, "500"))
    assert (book.state.phase, book.state.outcome) == (Phase.REVERTING, Outcome.GATE_FAILED)


# ---- autoscale rules


def test_the_candidate_gets_the_stables_rules_once_before_its_first_traffic() -> None:
    book = ready(made(autoscaling=True)).expect(MatchScaling("green", "blue")).then(ScalingMatched("alike"))
    book.expect(SetWeight(20, 0)).then(Shifted(20, 0), Advanced("pass")).expect(Scale)


def test_rules_that_cannot_be_matched_are_a_warning_and_hold_nothing_up() -> None:
    book = ready(made(autoscaling=True)).then(ScalingMatched("no right to read rules", failed=True))
    book.expect(SetWeight(20, 0))
    assert book.state.warnings == ("no right to read rules",)


def test_the_stable_is_released_when_traffic_is_back_and_before_the_candidate_goes() -> None:
    book = ready(made(autoscaling=True)).then(ScalingMatched("alike"), Shifted(20, 0), GaveUp(Outcome.ABORTED, "x"))
    book.expect(Restore).sees(large()).restores().expect(ReleaseScaling("blue"))
    book.then(ScalingReleased("free")).expect(Clean(("green",)))


def test_a_stable_that_is_gone_or_was_never_held_is_not_released() -> None:
    back = [Shifted(20, 0), GaveUp(Outcome.ABORTED, "x")]
    ready(made(autoscaling=True)).then(*back).sees(large()).restores().expect(Clean(("green",)))
    book = ready(made(autoscaling=True)).then(ScalingMatched("alike"), *back).sees(large()).restores()
    book.sees(endpoint({}, deployment("green", "new"))).expect(Clean(("green",)))


def test_a_release_that_fails_is_a_warning_and_tried_no_more() -> None:
    book = ready(made(autoscaling=True)).then(ScalingMatched("alike"), Shifted(20, 0), GaveUp(Outcome.ABORTED, "x"))
    book.sees(large()).restores().then(ScalingReleased("busy", failed=True)).expect(Clean(("green",)))
    assert book.state.warnings == ("busy",)


@pytest.mark.parametrize("retire", list(Retire))
def test_stable_and_candidate_are_released_before_the_stable_retires(retire: Retire) -> None:
    book = retiring(retire)
    book.expect(ReleaseScaling("blue")).then(ScalingReleased("free"))
    if retire is Retire.KEEP:
        book.records(Retired)
    else:
        book.expect(RetireStable("blue"))


def test_a_stable_that_is_not_ours_is_released_too() -> None:
    foreign = endpoint({"green": 100}, deployment("blue", None), deployment("green", "new"))
    retiring(Retire.DELETE).sees(foreign).expect(ReleaseScaling("blue"))


def retiring(retire: Retire, **over: Any) -> Playbook:
    book = ready(replace(made(autoscaling=True, retire=retire), **over), large(1)).then(ScalingMatched("alike"))
    for weight in (20, 50, 100):
        book.then(Shifted(weight, 0), Advanced("pass"))
    assert book.state.phase is Phase.RETIRING
    return book


@pytest.mark.parametrize(("phase", "held"), [(Phase.DEPLOYING, False), (Phase.SHIFTING, True), (Phase.REVERTING, True)])
def test_who_finds_a_rollout_without_its_journal_takes_the_stable_for_held(phase: Phase, held: bool) -> None:
    start = made(autoscaling=True)
    state = begin(Adopted(start, phase, 2, 20, 0, "x"), Playbook(start).now)
    assert (state.held, state.matched) == (held, False)
    assert not begin(Adopted(made(), phase, 2, 20, 0, "x"), Playbook(start).now).held


# ---- the way back


def reverting(**over: Any) -> Playbook:
    return ready(made(**over)).then(Shifted(20, 0), GaveUp(Outcome.GATE_FAILED, "bad"))


def test_traffic_goes_back_first_to_a_stable_that_shrank() -> None:
    reverting().sees(large(1, 1, {"green": 20, "blue": 80})).expect(Restore)


def test_a_stable_that_was_scaled_to_nothing_is_started_as_large_as_it_was() -> None:
    book = reverting().sees(large(0, 1, {"green": 20, "blue": 80})).expect(Scale("blue", 4, "it is scaled to 0"))
    book.then(Scaled("blue", 4, "more")).expect(Wait)
    book.after(45).expect(Wait)  # the reserve is over: what has to start takes as long as a deployment
    book.after(10).records(GotStuck)


@pytest.mark.parametrize(
    ("instances", "had", "least", "is_so"),
    [(0, 1, 0, True), (1, 8, 0, False), (1, 8, 1, True), (1, 1, 1, False), (1, 0, 1, False), (2, 8, 1, False)],
)
def test_what_has_the_fewest_instances_there_can_be_and_had_more_was_scaled_down(
    instances: int, had: int, least: int, *, is_so: bool
) -> None:
    found = deployment("blue", "old", instances_ready=instances, instances_wanted=instances)
    assert is_scaled_down(found, had, least) is is_so


def left_with(stable: int, ready: int | None = None, **over: Any) -> Playbook:
    """A candidate of 3 instances died after its stable of 4 was scaled down to so many."""
    book = retiring(Retire.SCALE_DOWN, least_instances=1, stable_instances=4, **over)
    book.then(ScalingReleased("free"), GaveUp(Outcome.PLATFORM, "dead"))
    few = deployment("blue", "old", instances_ready=stable if ready is None else ready, instances_wanted=stable)
    dead = deployment("green", "new", instances_ready=0, instances_wanted=3)
    return book.sees(endpoint({"green": 100}, few, dead))


def brought_back(book: Playbook) -> Playbook:
    assert book.endpoint is not None
    return book.restores().sees(replace(book.endpoint, traffic={"blue": 100}))


def test_a_stable_that_was_scaled_down_gets_all_traffic_first_and_then_its_instances_again() -> None:
    book = brought_back(left_with(1)).expect(Scale("blue", 4, "it is scaled to 1"))
    assert book.then(Scaled("blue", 4, "more")).state.phase is Phase.CLEANING
    book.expect(ReleaseScaling("blue")).then(ScalingReleased("free")).expect(Clean(("green",)))


def test_a_stable_that_cannot_get_its_instances_again_is_a_warning_and_the_candidate_goes() -> None:
    book = brought_back(left_with(1)).then(Scaled("blue", 4, "blue may be too small", failed=True))
    book.expect(ReleaseScaling("blue")).then(ScalingReleased("free")).expect(Clean(("green",)))
    assert book.state.warnings == ("blue may be too small",)


def test_a_stable_whose_last_instance_does_not_answer_gets_the_other_ones_before_traffic() -> None:
    left_with(1, ready=0).expect(Scale("blue", 4, "it is scaled to 1")).then(Scaled("blue", 4, "more")).expect(Wait)


def test_rules_that_were_switched_off_for_the_scaling_down_work_again_though_it_did_not_come_to_that() -> None:
    brought_back(left_with(4)).expect(ReleaseScaling("blue"))
    brought_back(left_with(4, autoscaling=False)).expect(Clean(("green",)))


def test_a_stable_that_shrank_by_its_own_rules_is_left_to_them_when_its_candidate_never_had_all_traffic() -> None:
    brought_back(reverting(least_instances=1).sees(large(1))).expect(Clean(("green",)))


def test_a_start_that_fails_is_tried_again() -> None:
    book = reverting().sees(large(0, 1, {"green": 20, "blue": 80})).expect(Scale).then(RevertFailed("no capacity"))
    book.after(1).expect(Scale)


def test_a_stable_that_is_made_again_has_the_time_of_a_deployment() -> None:
    book = reverting().sees(endpoint({"green": 20, "blue": 80}, deployment("green", "new")))
    book.then(Requested("blue", "again")).sees(large(4, 1, {"green": 20, "blue": 80}))
    starting = deployment("blue", "old", DeploymentState.CREATING)
    book.sees(endpoint({"green": 20, "blue": 80}, deployment("green", "new"), starting)).after(45).expect(Wait)
    book.after(10).records(GotStuck)


# ---- what the plan says


def test_a_plan_says_how_many_instances_each_step_needs() -> None:
    lines = {step.kind: text for step, text in describe(made(QUICK, large(12), autoscaling=True))}
    assert ", with the autoscale rules of blue" in lines[StepKind.DEPLOY]
    assert "green, on at least 3 instances (now blue: 12); the gate" in lines[StepKind.MIRROR]
    assert "green 100%, on at least 12 instances (now blue: 12); bake" in lines[StepKind.BAKE]
    weights = [text for step, text in describe(made(FULL, large(4))) if step.kind is StepKind.WEIGHT]
    assert ["instances" in text for text in weights] == [False, True]


def test_a_plan_without_autoscaling_says_nothing_of_rules() -> None:
    assert not any("autoscale" in text or "instances" in text for _, text in describe(plan(FULL)))


def test_a_deployment_has_three_times_what_the_platform_usually_takes_beside_its_probes() -> None:
    patient = compile_plan(wanted(FULL, name="green"), endpoint(), AZURE, rollout_id="r1")
    assert patient.deploy_s == 30.0 + DEPLOY_PATIENCE * 600.0
    assert (patient.poll_s, patient.autoscaling, patient.stable_instances) == (5.0, True, 1)


@pytest.mark.parametrize(("baseline", "least_s"), [(False, 600.0), (True, 1200.0)])
def test_a_deadline_that_the_platform_alone_uses_up_is_refused(*, baseline: bool, least_s: float) -> None:
    """Beside 20 s of steps, 3 writes of 0.1 s and 20 s kept for the way back."""
    at = endpoint({}, deployments={}) if baseline else endpoint()
    for deadline_s, fits in ((least_s + 41, True), (least_s + 40, False)):
        want = wanted({**FULL, "deadline": f"{deadline_s:g}s"}, baseline=baseline)
        if fits:
            assert compile_plan(want, at, AZURE, rollout_id="r1").deadline_s == deadline_s
        else:
            with pytest.raises(PlanError, match="with what the platform usually takes"):
                compile_plan(want, at, AZURE, rollout_id="r1")


# ---- what a profile measured


def measuring(rps_per_instance: float) -> Plan:
    want = replace(wanted(FULL, name="green"), measured=Measured(rps_per_instance, 120.0))
    return compile_plan(want, large(4), LOCAL, rollout_id="r1", rps=100.0)


def test_a_profile_sizes_each_step_where_the_stable_alone_would_be_too_few() -> None:
    plan = measuring(10.0)
    assert plan.full_instances == 10
    weights = [text for step, text in describe(plan) if step.kind is StepKind.WEIGHT]
    assert "on at least 2 instances (by the measured rate of an instance)" in weights[0]
    assert "on at least 5 instances (by the measured rate of an instance)" in weights[1]


def test_a_profile_never_makes_a_step_smaller_than_the_stable_says() -> None:
    weights = [text for step, text in describe(measuring(100.0)) if step.kind is StepKind.WEIGHT]
    assert "on at least 2 instances (now blue: 4)" in weights[1]


def test_an_unknown_rate_is_taken_for_the_peak_that_was_measured_for() -> None:
    want = replace(wanted(FULL, name="green"), measured=Measured(10.0, 120.0))
    assert compile_plan(want, large(4), LOCAL, rollout_id="r1").full_instances == 12
    assert plan(FULL).full_instances == 0


def test_the_candidate_is_scaled_to_what_the_profile_says_before_it_gets_traffic() -> None:
    why = "20% of the traffic, by the measured rate of an instance"
    ready(measuring(10.0), large(4)).expect(Scale("green", 2, why))
    ready(measuring(30.0), large(4)).expect(SetWeight)
