"""What an operator asks of a rollout that somebody else runs: taken, never taken, or its runner dies over it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from doubles.memory import CAPABILITIES
from owners import ELSEWHERE, dead, living
from stateful.world import Killed, World

from deployer.engine.adoption import adopt
from deployer.engine.lease import Holder
from deployer.engine.operations import acknowledge_s, roll_out, settle_s
from deployer.errors import ExitCode, PlanError, TransientError, UsageError
from deployer.ports.platform import DeploymentSpec
from deployer.report.listeners import Quiet
from deployer.rollout.model import Phase, RequestKind
from deployer.rollout.tags import ANSWER, GOOD, LEASE, PHASE, REQUEST, answer_to, marks_of, request_of

ACKNOWLEDGE_S, SETTLE_S = acknowledge_s(CAPABILITIES), settle_s(CAPABILITIES)
STALE_AFTER_S = CAPABILITIES.stale_after_s

KINDS = [kind for kind in RequestKind if kind is not RequestKind.ABORT]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A rollout at 20 %, whose process was killed."""
    made = World(tmp_path)
    made.at[9.0] = World.kill
    with pytest.raises(Killed):
        made.roll_out()
    made.platform.edit_tags({LEASE: None})
    assert made.traffic() == {"green": 20, "blue": 80}
    return made


def tags(world: World) -> dict[str, str]:
    view = world.platform.peek()
    assert view is not None
    return dict(view.tags)


def run_by(world: World, owner: str) -> None:
    world.platform.edit_tags({LEASE: f"{owner}|3|0"})


def later(world: World, seconds: float, act: Callable[[World], None]) -> None:
    """What the other process does in so many seconds."""
    world.at[(world.clock.now() - world.started).total_seconds() + seconds] = act


def take(world: World) -> None:
    """The runner acknowledges what was asked."""
    request = request_of(tags(world))
    assert request is not None
    world.platform.edit_tags({REQUEST: None, ANSWER: answer_to(request, "taken: paused")})


def bring_back(world: World) -> None:
    world.platform.edit_traffic({"blue": 100})
    world.platform.edit_tags({PHASE: "rolled_back:4", LEASE: None})


def waited_s(world: World, ask: Callable[[], object]) -> float:
    before = world.clock.now()
    ask()
    return (world.clock.now() - before).total_seconds()


@pytest.mark.parametrize("owner", ["here", "elsewhere"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_the_runner_takes_is_done(world: World, kind: RequestKind, owner: str) -> None:
    run_by(world, living() if owner == "here" else ELSEWHERE)
    later(world, 3.0, take)
    done = world.ask(kind)
    assert (done.exit_code, done.text) == (
        ExitCode.OK,
        f"{kind.value.replace('_', ' ')}: taken by the running rollout",
    )
    assert world.traffic() == {"green": 20, "blue": 80}


def test_a_request_says_by_whom_and_what(world: World) -> None:
    run_by(world, living())
    seen: list[str] = []
    later(world, 1.0, lambda w: seen.append(tags(w)[REQUEST]))
    later(world, 2.0, take)
    world.ask(RequestKind.PAUSE)
    assert [re.sub("#[0-9a-f]{6}", "#n", each) for each in seen] == ["pause#n|bob@there|"]


def test_an_abort_is_done_when_traffic_is_verified_back(world: World) -> None:
    run_by(world, living())
    later(world, 1.0, take)
    later(world, 10.0, bring_back)
    done = world.ask(RequestKind.ABORT)
    assert (done.exit_code, done.text) == (ExitCode.OK, "aborted: traffic is verified back")
    assert world.traffic() == {"blue": 100}


@pytest.mark.parametrize("phase", ["stuck", "promoted"])
def test_an_abort_that_ends_otherwise_pages_somebody(world: World, phase: str) -> None:
    run_by(world, living())
    later(world, 1.0, take)
    later(world, 2.0, lambda w: w.platform.edit_tags({PHASE: f"{phase}:4"}))
    done = world.ask(RequestKind.ABORT)
    assert done.exit_code is ExitCode.STUCK
    assert phase in done.text


def test_an_abort_that_is_taken_and_never_done_says_what_to_do(world: World) -> None:
    run_by(world, living())
    later(world, 1.0, take)
    done = world.ask(RequestKind.ABORT)
    assert done.exit_code is ExitCode.STUCK
    assert "run deployer rollback digits" in done.text
    assert (world.clock.now() - world.started).total_seconds() > SETTLE_S


@pytest.mark.parametrize("kind", list(RequestKind))
def test_a_living_runner_that_never_answers_is_not_overruled(world: World, kind: RequestKind) -> None:
    run_by(world, living())

    def ask() -> None:
        with pytest.raises(PlanError, match="another rollout of this endpoint is running"):
            world.ask(kind)

    assert ACKNOWLEDGE_S <= waited_s(world, ask) < ACKNOWLEDGE_S + 5
    assert REQUEST not in tags(world)
    assert world.traffic() == {"green": 20, "blue": 80}


def test_a_runner_elsewhere_that_beats_and_never_answers_is_not_overruled(world: World) -> None:
    beats = iter(range(1, 10**6))

    def beat(w: World) -> None:
        w.platform.edit_tags({LEASE: f"{ELSEWHERE}|3|{next(beats)}"})
        later(w, 5.0, beat)

    beat(world)
    with pytest.raises(PlanError, match=ELSEWHERE):
        world.ask(RequestKind.ABORT)
    assert REQUEST not in tags(world)


def test_a_runner_elsewhere_that_is_silent_is_replaced(world: World) -> None:
    run_by(world, ELSEWHERE)
    assert waited_s(world, lambda: world.ask(RequestKind.ABORT)) >= STALE_AFTER_S
    assert world.traffic() == {"blue": 100}
    assert Holder.parse(tags(world)[LEASE]) is None


def test_a_dead_runner_is_not_asked_and_an_abort_is_done_here(world: World) -> None:
    run_by(world, dead())
    took_s = waited_s(world, lambda: world.ask(RequestKind.ABORT, with_manifest=False))
    assert took_s < ACKNOWLEDGE_S
    assert world.traffic() == {"blue": 100}


def test_a_dead_runner_is_replaced_when_the_manifest_is_known(world: World) -> None:
    run_by(world, dead())
    assert world.ask(RequestKind.PROMOTE).exit_code is ExitCode.OK
    assert world.live_digest() == "new"


@pytest.mark.parametrize("kind", [RequestKind.PROMOTE, RequestKind.PROMOTE_FULL, RequestKind.RESUME])
def test_what_leads_forward_is_only_noted_without_the_manifest(world: World, kind: RequestKind) -> None:
    run_by(world, dead())
    done = world.ask(kind, with_manifest=False)
    assert done.exit_code is ExitCode.PAUSED
    assert "run deployer rollout MANIFEST" in done.text
    assert tags(world)[REQUEST].startswith(f"{kind.value}#")
    assert world.traffic() == {"green": 20, "blue": 80}


def test_another_manifest_than_the_rollouts_does_not_lead_forward(world: World) -> None:
    run_by(world, dead())
    world.digest = "something else"
    assert world.ask(RequestKind.PROMOTE).exit_code is ExitCode.PAUSED


def test_a_request_taken_in_the_last_moment_counts_as_taken(world: World) -> None:
    run_by(world, living())
    writes: list[str] = []

    def strike(name: str) -> None:
        writes.extend([name] if name == "set_tags" else [])
        if writes == ["set_tags"] * 2:  # the first one left the request, this one withdraws it
            world.platform.before = lambda _: None
            take(world)

    world.platform.before = strike
    assert world.ask(RequestKind.PAUSE).exit_code is ExitCode.OK


def test_a_request_lost_to_somebody_elses_write_is_left_again(world: World) -> None:
    run_by(world, living())
    for second in (1.0, 3.0, 5.0):
        later(world, second, lambda w: w.platform.edit_tags({REQUEST: None, "owner": "ops"}))
    later(world, 8.0, take)
    done = world.ask(RequestKind.PAUSE)
    assert (done.exit_code, done.text) == (ExitCode.OK, "pause: taken by the running rollout")


def away(world: World, since: float, seconds: float) -> None:
    """The platform does not answer for a while."""

    def refuse(_: str) -> None:
        raise TransientError("no answer", hint="Wait.")

    later(world, since, lambda w: setattr(w.platform, "before", refuse))
    later(world, since + seconds, lambda w: setattr(w.platform, "before", lambda _: None))


def test_a_platform_that_is_away_for_a_moment_does_not_end_the_waiting(world: World) -> None:
    run_by(world, living())
    away(world, 1.0, 3.0)
    later(world, 5.0, take)
    away(world, 8.0, 3.0)
    later(world, 12.0, bring_back)
    assert world.ask(RequestKind.ABORT).exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}


def test_a_request_that_is_gone_without_an_answer_was_not_taken(world: World) -> None:
    run_by(world, living())

    def lose(w: World) -> None:
        w.platform.edit_tags({REQUEST: None, ANSWER: "#another taken: paused"})
        later(w, 0.2, lose)

    later(world, 1.0, lose)
    with pytest.raises(PlanError, match="another rollout of this endpoint is running"):
        world.ask(RequestKind.PAUSE)


def test_anothers_request_is_not_overwritten_while_it_waits(world: World) -> None:
    run_by(world, living())
    later(world, 1.0, lambda w: w.platform.edit_tags({REQUEST: "abort#other|eve|"}))
    seen: list[str] = []
    later(world, 4.0, lambda w: seen.append(tags(w)[REQUEST]))
    later(world, 5.0, lambda w: w.platform.edit_tags({REQUEST: None, ANSWER: "#other taken: reverting"}))
    later(world, 8.0, take)
    assert world.ask(RequestKind.PAUSE).exit_code is ExitCode.OK
    assert seen == ["abort#other|eve|"]


@pytest.mark.parametrize("kind", [RequestKind.PAUSE, RequestKind.ABORT])
def test_an_endpoint_deleted_meanwhile_is_no_success(world: World, kind: RequestKind) -> None:
    run_by(world, living())
    later(world, 2.0, lambda w: w.platform.vanish())
    try:
        done = world.ask(kind)
    except UsageError as exc:
        assert "no endpoint digits" in exc.message  # noqa: PT017 - either way of saying it is right
    else:
        assert done.exit_code is not ExitCode.OK


def test_an_abort_whose_runner_dies_over_it_is_done_here(world: World) -> None:
    run_by(world, living())
    gone = dead()

    def take_and_die(w: World) -> None:
        take(w)
        run_by(w, gone)

    later(world, 1.0, take_and_die)
    done = world.ask(RequestKind.ABORT)
    assert (done.exit_code, world.traffic()) == (ExitCode.OK, {"blue": 100})


def test_an_endpoint_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no endpoint digits"):
        World(tmp_path).ask(RequestKind.ABORT)


def test_an_endpoint_without_a_rollout_has_nothing_to_do(tmp_path: Path) -> None:
    fresh = World(tmp_path)
    fresh.platform.ensure_endpoint({})
    done = fresh.ask(RequestKind.PROMOTE_FULL)
    assert (done.exit_code, done.text) == (ExitCode.OK, "nothing to promote full: no rollout is under way")


def test_a_rollout_without_journal_and_manifest_can_only_go_back(world: World) -> None:
    view = world.platform.peek()
    assert view is not None
    marks = marks_of(view.tags)
    assert marks is not None
    found = adopt(marks, view, world.platform, None, world.clock.now())
    assert (found.phase, found.weight_pct) == (marks.phase, 20)
    assert found.phase is Phase.SHIFTING
    assert found.plan.restore == {"blue": 100}
    assert found.plan.rollout_id.startswith(f"{marks.rollout_id}+")


@pytest.mark.parametrize(("instances", "known"), [(1, 8), (3, 3)])
@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_rollout_without_journal_takes_the_size_of_a_stable_that_was_scaled_down_from_the_tags(
    tmp_path: Path, instances: int, known: int, *, with_manifest: bool
) -> None:
    world = World(tmp_path, capabilities=replace(CAPABILITIES, least_instances=1))
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.edit_tags({GOOD: "1|blue|base|1767225600|8"})
    world.platform.edit_scale("blue", instances)
    view = world.platform.peek()
    assert view is not None
    marks = marks_of(view.tags)
    assert marks is not None
    found = adopt(marks, view, world.platform, world.job().wanted if with_manifest else None, world.clock.now())
    assert (found.plan.stable_instances, found.plan.least_instances) == (known, 1)


def test_what_the_platform_says_beside_its_answers_reaches_who_listens(tmp_path: Path) -> None:
    world = World(tmp_path)
    site = world.site()
    create = world.platform.create_deployment

    def telling(spec: DeploymentSpec) -> None:
        site.notes(f"uploading {spec.name}")
        create(spec)

    world.platform.create_deployment = telling  # type: ignore[method-assign]
    site.notes("nobody listens yet")
    heard = Heard()
    roll_out(site, world.job(), heard, rollout_id="r1")
    assert [text for text in heard.notes if text.startswith(("uploading", "nobody"))] == [
        "uploading blue",
        "uploading green",
    ]


class Heard(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)
