from __future__ import annotations

from datetime import timedelta

import pytest
from playbook import T0, deployment, endpoint, plan, verdict

from deployer.errors import IllegalTransitionError
from deployer.gate.verdict import Result
from deployer.rollout.endpoint import DeploymentState
from deployer.rollout.events import (
    Adopted,
    Advanced,
    Deployed,
    DriftNoticed,
    GaveUp,
    GotStuck,
    Judged,
    Paused,
    Prepared,
    RequestIgnored,
    Resumed,
    Shifted,
    Started,
    UnreadyNoticed,
    from_record,
    to_record,
)
from deployer.rollout.machine import TRANSITIONS, begin, evolve, fold, phase_of, to_mermaid
from deployer.rollout.model import FINAL, Observed, Outcome, Phase, Rollout, Step, StepKind


def walk(*events: object) -> Rollout:
    state = begin(Started(plan()), T0)
    for event in events:
        state = evolve(state, event, T0)  # type: ignore[arg-type]
    return state


JUDGED = Judged(verdict(Result.PASS), "e")
EVENTS = [
    Started(plan()),
    Prepared(),
    Deployed(),
    Shifted(20, 0),
    JUDGED,
    Advanced("pass"),
    Paused("x"),
    Resumed("x"),
    GaveUp(Outcome.ABORTED, "x"),
    GotStuck("x"),
    DriftNoticed({"blue": 100}),
    RequestIgnored("x"),
]


def test_an_event_that_does_not_fit_the_phase_is_a_bug_and_changes_nothing() -> None:
    state = walk(Prepared())
    with pytest.raises(IllegalTransitionError, match="shifted does not fit deploying"):
        evolve(state, Shifted(20, 0), T0)
    assert state.phase is Phase.DEPLOYING


def test_an_event_that_leads_where_the_table_does_not_name_is_a_bug() -> None:
    state = walk(Prepared(), Deployed(), Shifted(20, 0))
    with pytest.raises(IllegalTransitionError, match="advanced leading to retiring"):
        evolve(state, Advanced("x", to=len(state.plan.steps) - 1), T0)


def test_a_second_start_is_a_bug_in_every_phase() -> None:
    state = begin(Adopted(plan(), Phase.PAUSED, 2, 20, 0, "found"), T0)
    for event in (Started(plan()), Adopted(plan(), Phase.PAUSED, 2, 20, 0, "again")):
        with pytest.raises(IllegalTransitionError):
            evolve(state, event, T0)


@pytest.mark.parametrize("phase", sorted(FINAL))
@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.type)
def test_nothing_happens_to_a_final_rollout(phase: Phase, event: object) -> None:
    state = begin(Adopted(plan(), phase, 2, 0, 0, "found"), T0)
    with pytest.raises(IllegalTransitionError):
        evolve(state, event, T0)  # type: ignore[arg-type]


def test_a_journal_begins_with_a_start() -> None:
    with pytest.raises(IllegalTransitionError, match="cannot begin with prepared"):
        begin(Prepared(), T0)
    assert fold([]) is None


def test_the_state_is_the_fold_of_the_journal_and_survives_json() -> None:
    events = [
        Started(plan()),
        Prepared(),
        Deployed(),
        Shifted(20, 0),
        JUDGED,
        Advanced("pass"),
        GaveUp(Outcome.ABORTED, "x"),
    ]
    at = [T0 + timedelta(seconds=index) for index in range(len(events))]
    whole = fold(zip(events, at, strict=True))
    read_back = fold(zip((from_record(to_record(event)) for event in events), at, strict=True))
    assert whole == read_back
    assert whole is not None
    assert whole.phase is Phase.REVERTING


def test_a_silence_is_not_counted_from_before_a_run_that_resumes() -> None:
    first = Adopted(plan(), Phase.RETIRING, 5, 100, 0, "found")
    silent = fold([(first, T0), (UnreadyNoticed("0 of 1", is_silent=True), T0 + timedelta(seconds=1))])
    assert silent is not None
    assert (silent.unready_at, silent.silent_at) == (T0 + timedelta(seconds=1), None)
    assert from_record({"type": "unready_noticed", "text": "0 of 1"}) == UnreadyNoticed("0 of 1")  # as once written


def test_an_adopted_rollout_begins_where_the_tags_say() -> None:
    state = begin(Adopted(plan(), Phase.SHIFTING, 2, 20, 0, "found"), T0)
    assert (state.phase, state.weight_pct, state.prepared, len(state.shifts)) == (Phase.SHIFTING, 20, True, 1)
    paused = begin(Adopted(plan(), Phase.PAUSED, 2, 20, 0, "found"), T0)
    assert paused.paused_in is Phase.SHIFTING  # as every journal of an earlier deployer goes on
    assert begin(Adopted(plan(), Phase.PAUSED, 2, 20, 0, "found", judged=True), T0).paused_in is Phase.JUDGING
    assert begin(Adopted(plan(), Phase.PAUSED, 4, 100, 0, "found", judged=True), T0).paused_in is Phase.BAKING
    waiting = plan({"canary": {"steps": [20, {"pause": {}}], "bake": "10s"}})
    for judged in (False, True):
        assert begin(Adopted(waiting, Phase.PAUSED, 3, 20, 0, "found", judged=judged), T0).paused_in is None
    back = begin(Adopted(plan(), Phase.REVERTING, 2, 0, 0, "found"), T0)
    assert (back.outcome, back.shifts) == (Outcome.ABORTED, ())


def test_every_phase_has_a_row_and_only_final_ones_are_empty() -> None:
    assert set(TRANSITIONS) == set(Phase)
    assert {phase for phase, events in TRANSITIONS.items() if not events} == FINAL


def test_no_phase_that_is_not_final_lacks_a_way_back() -> None:
    for phase, events in TRANSITIONS.items():
        if phase not in FINAL | {Phase.REVERTING, Phase.CLEANING}:
            assert events["gave_up"] == {Phase.REVERTING}


def test_the_diagram_names_every_phase() -> None:
    drawn = to_mermaid()
    assert all(phase.value in drawn for phase in Phase)
    assert "forward --> reverting: gave_up, smoked, warmed" in drawn


@pytest.mark.parametrize("kind", list(StepKind))
def test_a_rollout_can_begin_any_kind_of_step(kind: StepKind) -> None:
    step = Step(kind, weight_pct=100 if kind is StepKind.BAKE else 0)
    bake = () if kind is StepKind.BAKE else (Step(StepKind.BAKE, weight_pct=100),)
    weight = (Step(StepKind.WEIGHT, weight_pct=5),) if kind is StepKind.WEIGHT else (step,)
    state = begin(Started(plan(steps=(*weight, *bake))), T0)
    assert phase_of(state, 0) in Phase


def test_traffic_that_sums_to_neither_0_nor_100_is_no_observation() -> None:
    with pytest.raises(ValueError, match="sums to neither"):
        Observed(endpoint({"blue": 90}))


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"steps": (Step(StepKind.WEIGHT, weight_pct=20),)}, "rise to 100"),
        ({"steps": (Step(StepKind.WEIGHT, weight_pct=50), Step(StepKind.WEIGHT, weight_pct=20))}, "rise to 100"),
        ({"steps": ()}, "rise to 100"),
        ({"candidate": "blue"}, "candidate and stable at once"),
        ({"deadline_s": 5.0}, "leaves no time"),
    ],
)
def test_a_plan_that_could_never_be_safe_cannot_be_made(over: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**over)


def test_a_step_says_its_name() -> None:
    names = [
        str(Step(kind, weight_pct=5, mirror_pct=10)) for kind in (StepKind.WEIGHT, StepKind.MIRROR, StepKind.WARM_UP)
    ]
    assert names == ["5%", "mirror 10%", "warm-up"]
    assert str(Step(StepKind.SMOKE)) == "smoke"


def test_only_weight_mirror_and_bake_are_gated() -> None:
    assert {kind for kind in StepKind if Step(kind).is_gated} == {StepKind.WEIGHT, StepKind.MIRROR, StepKind.BAKE}


def test_a_deployment_state_is_written_as_a_word() -> None:
    assert deployment("a", None, DeploymentState.CREATING).state == "creating"
