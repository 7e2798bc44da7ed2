"""Effects: every action becomes a port call and one event; what a platform does wrong becomes an event too."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.memory import MemoryPlatform
from doubles.telemetry import ManualClock, MemoryTelemetry

from deployer.engine.effects import ATTEMPTS, LOG_LINES, Deployable, Effects
from deployer.engine.probe import Probed
from deployer.errors import (
    ConflictError,
    DeniedError,
    NotReadyError,
    PlatformError,
    QuotaExceededError,
    TelemetryError,
    TransientError,
)
from deployer.gate.samples import Samples
from deployer.gate.verdict import Arm, Moment, Result, Shift, Verdict
from deployer.manifest.schema import OnFail, OnInconclusive, Retire
from deployer.ports.platform import Deployment, DeploymentSpec
from deployer.rollout.actions import (
    Action,
    Clean,
    Delete,
    Deploy,
    Judge,
    MatchScaling,
    Record,
    Recreate,
    ReleaseScaling,
    Restore,
    RetireStable,
    Scale,
    SetWeight,
    Smoke,
    StartStable,
    Stop,
    Wait,
    WarmUp,
)
from deployer.rollout.events import (
    Cleaned,
    Event,
    GaveUp,
    Judged,
    Prepared,
    Requested,
    Retired,
    Reverted,
    RevertFailed,
    Scaled,
    ScalingMatched,
    ScalingReleased,
    Shifted,
    Smoked,
    Started,
    Warmed,
)
from deployer.rollout.machine import begin
from deployer.rollout.model import Outcome, Phase, Plan, Rollout, Step, StepKind
from deployer.rollout.tags import LEASE

BUSY = TransientError("busy", hint="Wait.")
DENIED = DeniedError("no right to write", hint="Ask for it.")
T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOBODY = Arm(0, 0, 0, None, None, None)


def plan(**over: Any) -> Plan:
    steps = (
        Step(StepKind.PREPARE),
        Step(StepKind.DEPLOY),
        Step(StepKind.WEIGHT, weight_pct=20, max_s=60),
        Step(StepKind.BAKE, weight_pct=100, max_s=60),
        Step(StepKind.RETIRE),
    )
    made = Plan(
        rollout_id="r1",
        endpoint="digits",
        endpoint_uid="uid-1",
        candidate="green",
        candidate_digest="new",
        stable="blue",
        stable_digest="old",
        baseline=False,
        replaces=False,
        digest="spec",
        steps=steps,
        on_fail=OnFail.ROLLBACK,
        on_inconclusive=OnInconclusive.ROLLBACK,
        retire=Retire.DELETE,
        deadline_s=600.0,
        reserve_s=20.0,
        deploy_s=60.0,
        look_s=1.0,
        confirm_s=3.0,
    )
    return replace(made, **over)


def state(phase: Phase = Phase.JUDGING, **over: Any) -> Rollout:
    begun = replace(begin(Started(plan(**over)), T0), phase=phase, prepared=True)
    return replace(begun, shifts=(Shift(T0, 20),), weight_pct=20)


class Asker:
    """A probe that answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Probed) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    def smoke(self, name: str) -> Probed:
        self.asked.append(("smoke", name))
        return self.answer

    def warm_up(self, name: str, *, instances: int, workers: int) -> Probed:
        self.asked.append(("warm-up", name, instances, workers))
        return self.answer


class Stage:
    """An endpoint with a live blue, and the effects on it."""

    def __init__(self, **over: Any) -> None:
        self.clock = ManualClock(T0)
        self.platform = MemoryPlatform("digits", self.clock)
        self.telemetry = MemoryTelemetry(self.clock)
        self.probe = Asker(Probed(passed=True, text="fine"))
        self.seen: list[tuple[Samples, Moment]] = []
        self.platform.ensure_endpoint({})
        self.platform.create_deployment(DeploymentSpec("blue", {}, Path(), "old"))
        self.platform.set_traffic({"blue": 100}, {})
        self.deployable = Deployable(
            versions={"green": DeploymentSpec("green", {"instance_count": 3}, Path(), "new")},
            workers={"green": 4},
            judge=self._judge,
            block_s=1.0,
            record=lambda samples, moment, verdict: f"{len(samples.cells)} cells, {verdict.result.value}",
        )
        given = {"probe": self.probe, "deployable": self.deployable} | over
        self.effects = Effects(self.platform, self.telemetry, self.clock, **given)

    def _judge(self, samples: Samples, moment: Moment) -> Verdict:
        self.seen.append((samples, moment))
        return Verdict(Result.PASS, "fine", (), NOBODY, NOBODY, moment.now, None, moment.looks + 1)

    def perform(self, action: Action, at: Rollout | None = None) -> Event:
        """Perform it, again after each look that would be taken in between, as the runner does."""
        for _ in range(2 * ATTEMPTS):
            event = self.effects.perform(action, at or state())
            if event is not None:
                return event
        raise AssertionError("it never ends")

    def fails(self, call: str, error: Exception, *, times: int = 10**6) -> None:
        """Let the next ``times`` calls fail before their effect."""
        left = iter(range(times))

        def strike(name: str) -> None:
            if name == call and next(left, None) is not None:
                raise error

        self.platform.before = strike

    @property
    def traffic(self) -> dict[str, int]:
        view = self.platform.peek()
        assert view is not None
        return dict(view.traffic)

    def found(self, name: str) -> Deployment:
        view = self.platform.peek()
        assert view is not None
        return view.deployments[name]

    @property
    def names(self) -> set[str]:
        view = self.platform.peek()
        assert view is not None
        return set(view.deployments)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def with_green(stage: Stage) -> Stage:
    stage.platform.create_deployment(stage.deployable.versions["green"])
    return stage


# ---- forward


def test_what_was_decided_is_only_written_down(stage: Stage) -> None:
    before = list(stage.platform.calls)
    assert stage.perform(Record(Prepared())) == Prepared()
    assert stage.platform.calls == before


def test_a_deployment_is_requested_at_weight_0(stage: Stage) -> None:
    assert stage.perform(Deploy("green")) == Requested("green", "deployment green requested")
    assert (stage.names, stage.traffic) == ({"blue", "green"}, {"blue": 100})


def test_a_weight_is_written_and_said_once_it_reads_back(stage: Stage) -> None:
    with_green(stage)
    assert stage.perform(SetWeight(20, 0)) == Shifted(20, 0)
    assert stage.traffic == {"blue": 80, "green": 20}


def test_a_mirror_leaves_users_where_they_are(stage: Stage) -> None:
    with_green(stage)
    assert stage.perform(SetWeight(0, 10)) == Shifted(0, 10)
    view = stage.platform.peek()
    assert view is not None
    assert (view.traffic, view.mirror) == ({"blue": 100}, {"green": 10})


def test_a_fresh_baseline_gets_all_traffic() -> None:
    stage = Stage()
    stage.platform.set_traffic({}, {})
    assert stage.perform(StartStable()) == Prepared()
    assert stage.traffic == {"blue": 100}


def test_a_left_over_is_deleted_and_silently_so_when_it_is_gone(stage: Stage) -> None:
    with_green(stage)
    for _ in (1, 2):
        assert stage.perform(Delete("green")) == Requested(None, "deleting a left-over green")
        assert stage.names == {"blue"}


@pytest.mark.parametrize("passed", [True, False])
def test_a_smoke_test_goes_to_the_candidate_alone(stage: Stage, *, passed: bool) -> None:
    stage.probe.answer = Probed(passed=passed, text="3 answered")
    assert stage.perform(Smoke()) == Smoked(passed, "3 answered")
    assert stage.probe.asked == [("smoke", "green")]


@pytest.mark.parametrize("passed", [True, False])
def test_every_ready_instance_is_warmed_up_with_as_many_requests_as_it_takes_at_once(
    stage: Stage, *, passed: bool
) -> None:
    with_green(stage)
    stage.probe.answer = Probed(passed=passed, text="40 requests")
    assert stage.perform(WarmUp("green")) == Warmed("green", passed, "40 requests")
    assert stage.probe.asked == [("warm-up", "green", 3, 4)]


def test_a_warm_up_of_what_is_not_there_asks_one_instance_with_one_worker(stage: Stage) -> None:
    stage.perform(WarmUp("red"))
    stage.platform.vanish()
    stage.perform(WarmUp("red"))
    assert stage.probe.asked == [("warm-up", "red", 1, 1)] * 2


@pytest.mark.parametrize("action", [Smoke(), WarmUp("green")])
def test_a_probe_ended_by_a_signal_proves_nothing(stage: Stage, action: Action) -> None:
    stage.probe.answer = Probed(passed=True, text="12 requests", stopped=True)
    assert stage.perform(action, state(Phase.SMOKING)) == GaveUp(Outcome.ABORTED, "stopped by a signal while smoking")


# ---- instances


def test_a_candidate_is_scaled_and_it_is_said_why(stage: Stage) -> None:
    with_green(stage)
    event = stage.perform(Scale("green", 4, "50% of what blue answers with 8"))
    assert event == Scaled("green", 4, "green gets 4 instances: 50% of what blue answers with 8")
    assert stage.found("green").instances_wanted == 4


def test_a_stable_that_cannot_be_started_on_the_way_back_is_told_and_left_to_the_next_decision(stage: Stage) -> None:
    stage.fails("scale_deployment", DENIED)
    event = stage.perform(Scale("blue", 4, "it is scaled to 0"), state(Phase.REVERTING))
    assert event == RevertFailed("no right to write (Ask for it.)")


def test_a_stable_that_cannot_grow_when_traffic_is_back_is_told_and_waited_for_no_more(stage: Stage) -> None:
    stage.fails("scale_deployment", DENIED)
    event = stage.perform(Scale("blue", 4, "it is scaled to 1"), state(Phase.CLEANING))
    why = "blue may be too small for all traffic: no right to write (Ask for it.)"
    assert event == Scaled("blue", 4, why, failed=True)


def test_the_rules_of_the_stable_are_taken_over_and_given_back(stage: Stage) -> None:
    with_green(stage)
    stage.platform.autoscaled["blue"] = "cpu over 70%"
    for _ in (1, 2):
        event = stage.perform(MatchScaling("green", "blue"))
        assert event == ScalingMatched("green scales like blue, which keeps its 1 instances")
    assert stage.platform.autoscaled["green"] == "cpu over 70%"
    for _ in (1, 2):
        assert stage.perform(ReleaseScaling("blue")) == ScalingReleased("not held at its instances any more: blue")
    assert stage.platform.held == {}


@pytest.mark.parametrize("error", [BUSY, DENIED])
def test_rules_that_cannot_be_had_end_no_rollout(stage: Stage, error: PlatformError) -> None:
    why = f"{error.message} ({error.hint})"
    stage.fails("match_scaling", error)
    event = stage.perform(MatchScaling("green", "blue"), state(Phase.SHIFTING))
    assert event == ScalingMatched(f"green may not scale like blue: {why}", failed=True)
    stage.fails("release_scaling", error)
    event = stage.perform(ReleaseScaling("blue"), state(Phase.RETIRING))
    assert event == ScalingReleased(f"blue may still be held at its instances: {why}", failed=True)


# ---- the gate


def test_a_look_judges_everything_since_the_first_exposure(stage: Stage) -> None:
    stage.clock.advance(30)
    stage.telemetry.answer(T0 + timedelta(seconds=3), "green", n=7)
    event = stage.perform(Judge())
    assert isinstance(event, Judged)
    (samples, moment), verdict = stage.seen[0], event.verdict
    assert sum(cell.n for cell in samples.cells) == 7
    assert (moment.now, moment.candidate, moment.weight_pct) == (stage.clock.now(), "green", 20)
    assert verdict.result is Result.PASS


def test_a_look_is_kept_as_evidence_under_its_hash(stage: Stage) -> None:
    event = stage.perform(Judge())
    assert isinstance(event, Judged)
    assert stage.effects.evidence is not None
    digest, content = stage.effects.evidence
    assert (digest, content) == (event.evidence, b"0 cells, pass")
    assert len(digest) == 64


def test_mirrored_answers_are_read_when_the_plan_mirrors() -> None:
    stage = Stage()
    stage.telemetry.answer(T0, "green", n=5, mirrored=True)
    stage.clock.advance(5)
    for steps, seen in ((plan().steps, 0), ((Step(StepKind.MIRROR, mirror_pct=10), *plan().steps), 5)):
        stage.perform(Judge(), state(steps=steps))
        assert sum(cell.n for cell in stage.seen[-1][0].cells) == seen


def test_telemetry_that_cannot_be_read_is_told_to_the_gate_and_fails_nothing(stage: Stage) -> None:
    stage.telemetry.error = TelemetryError("the workspace is gone", hint="Look.")
    assert isinstance(stage.perform(Judge()), Judged)
    samples = stage.seen[0][0]
    assert (samples.cells, samples.complete_until) == ((), None)
    assert samples.problem == "the workspace is gone (Look.)"


# ---- what fails on the way forward

FORWARD: list[tuple[Action, str]] = [
    (Deploy("green"), "create_deployment"),
    (SetWeight(20, 0), "set_traffic"),
    (StartStable(), "set_traffic"),
    (Delete("green"), "delete_deployment"),
    (Scale("green", 4, "more"), "scale_deployment"),
    (WarmUp("green"), "observe"),
]
IDS = [type(action).__name__ for action, _ in FORWARD]


@pytest.mark.parametrize(("action", "call"), FORWARD, ids=IDS)
def test_a_passing_fault_is_tried_again(action: Action, call: str) -> None:
    stage = with_green(Stage())
    stage.fails(call, BUSY, times=ATTEMPTS - 1)
    before = stage.clock.now()
    event = stage.perform(action)
    assert not isinstance(event, GaveUp)
    assert 0 < (stage.clock.now() - before).total_seconds() < 15


@pytest.mark.parametrize(("action", "call"), FORWARD, ids=IDS)
def test_a_fault_that_does_not_pass_is_the_beginning_of_the_way_back(action: Action, call: str) -> None:
    stage = with_green(Stage())
    stage.fails(call, BUSY)
    event = stage.perform(action, state(Phase.SHIFTING))
    while_ = "could not deploy green" if isinstance(action, Deploy) else "while shifting"
    assert event == GaveUp(Outcome.PLATFORM, f"{while_}: busy (Wait.)")


@pytest.mark.parametrize("error", [BUSY, ConflictError("another operation is in flight", hint="Observe.")])
@pytest.mark.parametrize("action", [SetWeight(20, 0), StartStable()], ids=lambda action: type(action).__name__)
def test_traffic_is_never_written_again_before_another_look(action: Action, error: PlatformError) -> None:
    stage = with_green(Stage())
    stage.fails("set_traffic", error, times=1)
    calls = stage.platform.calls.count("set_traffic")
    assert stage.effects.perform(action, state()) is None
    assert stage.platform.calls.count("set_traffic") == calls + 1


@pytest.mark.parametrize("error", [DENIED, QuotaExceededError("x", hint="y")])
@pytest.mark.parametrize(("action", "call"), FORWARD, ids=IDS)
def test_any_other_fault_is_not_tried_again(action: Action, call: str, error: PlatformError) -> None:
    stage = with_green(Stage())
    stage.fails(call, error, times=1)
    calls = stage.platform.calls.count(call)
    assert isinstance(stage.perform(action), GaveUp)
    assert stage.platform.calls.count(call) == calls + 1


@pytest.mark.parametrize("action", [SetWeight(20, 0), StartStable(), Restore()], ids=lambda a: type(a).__name__)
def test_traffic_is_written_only_while_the_tags_are_as_they_must_be(action: Action) -> None:
    stage = with_green(Stage(guarding=lambda: nullcontext({LEASE: "here/1/1|4|2"})))
    stage.platform.set_traffic({}, {})
    stage.platform.edit_tags({LEASE: "elsewhere/1/1|5|0"})
    stage.effects.perform(action, state())
    assert stage.traffic == {}
    stage.platform.edit_tags({LEASE: "here/1/1|4|2"})
    stage.effects.perform(action, state())
    assert stage.traffic != {}


def test_a_version_that_is_not_ready_gets_no_weight(stage: Stage) -> None:
    stage.platform.ready_after_s = 1e6
    with_green(stage)
    event = stage.perform(SetWeight(20, 0))
    assert isinstance(event, GaveUp)
    assert "no ready instance" in event.reason
    assert stage.traffic == {"blue": 100}


@pytest.mark.parametrize(
    ("action", "over"), [(Deploy("green"), "deployable"), (Judge(), "deployable"), (Smoke(), "probe")]
)
def test_without_a_manifest_nothing_goes_forward_and_it_says_so(action: Action, over: str) -> None:
    event = Stage(**{over: None}).perform(action)
    assert isinstance(event, GaveUp)
    assert "needs the manifest" in event.reason
    assert "deployer rollout MANIFEST" in event.reason


@pytest.mark.parametrize("action", [Wait(T0, "x"), Stop()])
def test_what_is_no_effect_is_a_bug_that_says_so(stage: Stage, action: Action) -> None:
    event = stage.perform(action)
    assert isinstance(event, GaveUp)
    assert "is not an effect" in event.reason


def test_an_error_that_is_nobodys_is_not_swallowed(stage: Stage) -> None:
    stage.fails("set_traffic", KeyError("a bug"))
    with pytest.raises(KeyError):
        stage.perform(SetWeight(0, 0))


# ---- the way back


def test_restoring_is_one_write_that_is_read_back(stage: Stage) -> None:
    with_green(stage)
    stage.perform(SetWeight(20, 0))
    before = stage.platform.calls.count("set_traffic")
    assert stage.perform(Restore()) == Reverted("traffic verified: blue 100%")
    assert stage.traffic == {"blue": 100}
    assert stage.platform.calls.count("set_traffic") == before + 1


@pytest.mark.parametrize("error", [BUSY, DENIED, NotReadyError("blue is not ready", hint="Wait.")])
def test_a_failing_way_back_is_told_and_left_to_the_next_decision(stage: Stage, error: PlatformError) -> None:
    stage.fails("set_traffic", error)
    event = stage.perform(Restore(), state(Phase.REVERTING))
    assert event == RevertFailed(f"{error.message} ({error.hint})")
    assert stage.platform.calls.count("set_traffic") == 2  # the first one made the stage


def test_a_lost_stable_is_made_again_from_its_record(stage: Stage) -> None:
    stage.platform.remove("blue")
    event = stage.perform(Recreate("blue"), state(Phase.REVERTING))
    assert event == Requested("blue", "the stable blue is gone; making it again from its record (reverting)")
    assert stage.names == {"blue"}


def test_a_lost_stable_that_deployer_never_made_is_a_matter_for_a_human(stage: Stage) -> None:
    event = stage.perform(Recreate("blue"), state(Phase.REVERTING, stable_digest=None))
    assert isinstance(event, RevertFailed)
    assert "was not made by deployer" in event.error
    assert "Deploy it again by hand" in event.error


def test_a_stable_without_a_record_is_told(stage: Stage) -> None:
    stage.platform.remove("blue")
    event = stage.perform(Recreate("blue"), state(Phase.REVERTING, stable_digest="unknown"))
    assert isinstance(event, RevertFailed)
    assert "nothing is recorded" in event.error


# ---- cleaning up and retiring


def test_what_was_deployed_is_removed_and_its_last_words_are_kept(stage: Stage) -> None:
    with_green(stage)
    stage.platform.fail("green", "init raised")
    event = stage.perform(Clean(("green",)))
    assert event == Cleaned("green removed; it last said:\ngreen: init raised")
    assert stage.names == {"blue"}


def test_logs_that_cannot_be_had_do_not_stop_the_removal(stage: Stage) -> None:
    with_green(stage)
    stage.fails("logs", PlatformError("no logs", hint="Look."))
    assert stage.perform(Clean(("green",))) == Cleaned("green removed")
    assert LOG_LINES > 12


def test_a_removal_is_tried_again_after_a_passing_fault(stage: Stage) -> None:
    with_green(stage)
    stage.fails("delete_deployment", BUSY, times=2)
    event = stage.perform(Clean(("green",)))
    assert isinstance(event, Cleaned)
    assert (event.left, stage.names) == ((), {"blue"})


def test_what_cannot_be_removed_is_left_and_named(stage: Stage) -> None:
    with_green(stage)
    stage.fails("delete_deployment", DENIED)
    event = stage.perform(Clean(("green",)))
    assert event == Cleaned("could not remove green: no right to write (Ask for it.)", ("green",))


def test_only_what_is_still_there_is_called_left(stage: Stage) -> None:
    with_green(stage)
    event = stage.perform(Clean(("green", "blue")))  # blue has traffic: the platform refuses
    assert isinstance(event, Cleaned)
    assert stage.names == {"blue"}
    assert event.left == ("blue",)
    assert "green removed" in event.text


def test_the_old_stable_is_deleted(stage: Stage) -> None:
    with_green(stage)
    stage.platform.set_traffic({"green": 100}, {})
    assert stage.perform(RetireStable("blue")) == Retired("blue deleted")
    assert stage.names == {"green"}


@pytest.mark.parametrize(("least", "said"), [(0, "0 instances"), (1, "1 instance")])
def test_the_old_stable_is_scaled_down_when_the_plan_says_so(stage: Stage, least: int, said: str) -> None:
    stage.platform._capabilities = replace(stage.platform.capabilities, least_instances=least)
    with_green(stage)
    stage.platform.set_traffic({"green": 100}, {})
    event = stage.perform(RetireStable("blue"), state(Phase.RETIRING, retire=Retire.SCALE_DOWN))
    assert event == Retired(f"blue scaled down to {said}")
    view = stage.platform.peek()
    assert view is not None
    assert view.deployments["blue"].instances_wanted == least


@pytest.mark.parametrize(
    ("retire", "call"), [(Retire.DELETE, "delete_deployment"), (Retire.SCALE_DOWN, "scale_deployment")]
)
def test_a_retirement_that_fails_never_sends_traffic_back(stage: Stage, retire: Retire, call: str) -> None:
    with_green(stage)
    stage.platform.set_traffic({"green": 100}, {})
    stage.fails(call, BUSY)
    event = stage.perform(RetireStable("blue"), state(Phase.RETIRING, retire=retire))
    assert event == Retired("could not retire blue: busy (Wait.)", ("blue",))
    assert stage.traffic == {"green": 100}


EVERY: list[Action] = [
    Deploy("green"),
    Delete("red"),
    SetWeight(20, 0),
    StartStable(),
    Restore(),
    Clean(("red",)),
    Smoke(),
    WarmUp("green"),
]


@pytest.mark.parametrize("action", EVERY, ids=lambda action: type(action).__name__)
def test_an_action_done_twice_does_no_harm(action: Action) -> None:
    stage = with_green(Stage())
    first = stage.perform(action)
    traffic, names = stage.traffic, stage.names
    assert stage.perform(action) == first
    assert (stage.traffic, stage.names) == (traffic, names)
