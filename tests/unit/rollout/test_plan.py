from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from playbook import LOCAL, deployment, endpoint, wanted

from deployer.errors import PlanError
from deployer.rollout.describe import describe
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.model import Plan, StepKind
from deployer.rollout.plan import Version, Wanted, compile_plan, is_live

EMPTY = endpoint({}, deployments={})


def compiled(want: Wanted | None = None, at: Endpoint | None = None, **over: Any) -> Plan:
    return compile_plan(
        want or wanted(), endpoint() if at is None else at, over.pop("caps", LOCAL), rollout_id="r", **over
    )


def test_the_candidate_takes_the_free_colour() -> None:
    assert (compiled().stable, compiled().candidate) == ("blue", "green")
    assert compiled(at=endpoint({"green": 100}, deployment("green", "old"))).candidate == "blue"
    assert compiled(at=endpoint({"v1": 100}, deployment("v1", None))).candidate == "blue"


def test_the_candidate_takes_the_name_it_was_given() -> None:
    assert compiled(wanted(name="v2")).candidate == "v2"


def test_steps_are_compiled_with_their_defaults_and_end_in_bake_and_retire() -> None:
    strategy = {
        "canary": {"steps": [{"mirror": "10%", "for": "1m"}, 5, {"pause": {}}, {"smoke": {}}, 100], "bake": "1m"}
    }
    plan = compiled(wanted(strategy, smoke=[{"request": "a.json"}], warmup={"request": "a.json"}))
    kinds = [step.kind.value for step in plan.steps]
    assert kinds == ["prepare", "deploy", "smoke", "warm_up", "mirror", "weight", "pause", "smoke", "bake", "retire"]
    assert (plan.steps[5].min_s, plan.steps[5].max_s) == (300, 1800)
    assert len(describe(plan)) == len(plan.steps)


def test_a_timed_pause_and_a_first_deployment_are_described() -> None:
    strategy = {"canary": {"steps": [5, {"pause": {"for": "1m"}}], "bake": "1m"}}
    words = [text for _, text in describe(compiled(wanted(strategy), EMPTY))]
    assert "stand still for 1m" in words
    assert words[-1] == "nothing to retire"
    nothing_yet = [text for _, text in describe(compile_plan(wanted(baseline=True), None, LOCAL, rollout_id="r"))]
    assert nothing_yet[0] == "create endpoint digits, deploy the baseline as blue and give it 100%"


@pytest.mark.parametrize(
    ("retire", "least", "said"),
    [
        ("scale_down", 0, "scale down blue"),
        ("scale_down", 1, "scale down blue to 1 instance, the fewest there can be"),
        ("scale_down", 2, "scale down blue to 2 instances, the fewest there can be"),
        ("keep", 1, "keep blue"),
    ],
)
def test_a_plan_says_what_is_left_of_a_stable_that_is_scaled_down(retire: str, least: int, said: str) -> None:
    capabilities = replace(LOCAL, least_instances=least)
    strategy = {"canary": {"steps": [5], "bake": "1m"}, "retire": retire}
    assert describe(compiled(wanted(strategy), caps=capabilities))[-1][1] == said


def test_a_plan_says_how_many_instances_a_rollback_meets_first() -> None:
    strategy = {"canary": {"steps": [5], "bake": "1m"}, "retire": "scale_down"}
    large = endpoint({"blue": 100}, deployment("blue", "old", instances_ready=8, instances_wanted=8))
    start = compiled(wanted(strategy), large, caps=replace(LOCAL, least_instances=1))
    said = "scale down blue to 1 instance, the fewest there can be: a rollback sends all traffic there first, and then"
    assert describe(start)[-1][1] == f"{said} starts the other ones of 8"


def test_blue_green_with_and_without_mirror() -> None:
    plain = compiled(wanted({"blue_green": {"bake": "1m"}}))
    assert [s.kind for s in plain.steps][2:] == [StepKind.BAKE, StepKind.RETIRE]
    mirrored = compiled(wanted({"blue_green": {"mirror": "0.4%", "bake": "1m"}}))
    assert mirrored.steps[2].mirror_pct == 1


def test_the_version_that_has_all_traffic_is_live() -> None:
    live = endpoint({"green": 100}, deployment("green", "new"), deployment("blue", "old"))
    assert is_live(wanted(), live) == "green"
    assert is_live(wanted(), endpoint()) is None
    assert is_live(wanted(), None) is None
    assert (
        is_live(wanted(), endpoint({"green": 50, "blue": 50}, deployment("green", "new"), deployment("blue", "old")))
        is None
    )


def test_a_baseline_is_planned_only_where_nothing_has_traffic() -> None:
    assert compiled(wanted(baseline=True), EMPTY).baseline
    assert compiled(wanted(baseline=True), EMPTY).stable_digest == "base"
    assert not compiled(wanted(baseline=True)).baseline
    first = compiled(wanted(), EMPTY)
    assert (first.stable, first.stable_digest, first.restore, first.traffic(20)) == (None, None, {}, {"blue": 100})
    assert first.traffic(0) == {}


def test_a_left_over_of_ours_makes_room_and_the_same_version_is_adopted() -> None:
    ours = endpoint(None, deployment("blue", "old"), deployment("green", "older"))
    assert compiled(at=ours).replaces
    assert "makes room" in describe(compiled(at=ours))[1][1]
    same = endpoint(None, deployment("blue", "old"), deployment("green", "new"))
    assert not compiled(at=same).replaces


@pytest.mark.parametrize(
    ("want", "at", "over", "message", "hint"),
    [
        (wanted(name="blue"), None, {}, "never changed in place", "Leave `name` out"),
        (wanted(), endpoint({"blue": 50, "green": 50}), {}, "split", "rollback"),
        (wanted(), endpoint(None, mirror={"blue": 5}), {}, "already mirrors", "Stop mirroring"),
        (
            wanted(),
            endpoint(None, deployment("blue", "o"), deployment("green", None)),
            {},
            "not made by deployer",
            "another `name`",
        ),
        (
            wanted({"blue_green": {"mirror": "10%", "bake": "1m"}}),
            None,
            {"caps": replace(LOCAL, mirror=False)},
            "cannot mirror",
            "Remove",
        ),
        (
            wanted({"blue_green": {"mirror": "50%", "bake": "1m"}}),
            None,
            {"caps": replace(LOCAL, mirror_max_pct=20)},
            "over the 20%",
            "less",
        ),
        (wanted(), None, {"caps": replace(LOCAL, max_deployments=1)}, "more than the 1", "Delete"),
        (wanted(gate={"min_requests": 10_000}), None, {"rps": 1.0}, "can never be decided", "Raise the weight"),
        (
            wanted({"canary": {"steps": [5], "bake": "1m"}, "deadline": "6m5s"}),
            None,
            {},
            "shorter than the steps need",
            "Raise strategy",
        ),
    ],
)
def test_what_could_not_work_is_refused_before_anything_is_touched(
    want: Wanted, at: Endpoint | None, over: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(PlanError, match=message) as refused:
        compiled(want, at, **over)
    assert hint in refused.value.hint


def test_a_rate_that_suffices_or_a_skipped_gate_is_not_refused() -> None:
    assert compiled(rps=40.0)
    assert compiled(wanted(gate={"min_requests": 10_000}), rps=1.0, skip_gate="hotfix").skip_gate == "hotfix"


def test_a_pause_in_a_plan_needs_no_requests() -> None:
    strategy = {"canary": {"steps": [5, {"pause": {}}], "bake": "1m"}}
    assert compiled(wanted(strategy), rps=40.0)


def test_the_stable_may_be_foreign() -> None:
    foreign = endpoint({"v1": 100}, deployment("v1", None))
    assert compiled(at=foreign).stable_digest is None
    assert compiled(replace(wanted(), candidate=Version("v2", "new")), foreign).candidate == "v2"
