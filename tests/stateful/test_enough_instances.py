"""Users always meet enough instances: of the candidate at each weight, of the stable until the bake is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from doubles.memory import CAPABILITIES
from world import Behaviour, Killed, World

from deployer.errors import ExitCode, QuotaExceededError, TransientError
from deployer.ports.platform import Deployment
from deployer.rollout.model import RequestKind


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A stable of 8 instances; the new version asks for 1. Every write of traffic is checked against what it meets."""
    made = World(tmp_path, instances={"base": 8})
    made.platform.autoscaled["blue"] = "cpu over 70%"
    most = {"stable": 0}

    def check(call: str) -> None:
        if call != "set_traffic" or "blue" not in deployments(made):
            return
        most["stable"] = max(most["stable"], deployments(made)["blue"].instances_wanted)
        for name, share in made.traffic().items():
            found = deployments(made)[name]
            assert found.instances_ready * 100 >= most["stable"] * share, f"{name} has {share}% on {found}"
        assert deployments(made)["blue"].instances_wanted >= 8

    made.platform.after = check
    return made


def deployments(world: World) -> dict[str, Deployment]:
    view = world.platform.peek()
    return dict(view.deployments) if view else {}


def test_the_candidate_grows_with_its_share(world: World) -> None:
    assert world.roll_out().exit_code is ExitCode.OK
    assert deployments(world)["green"].instances_wanted == 8
    assert world.weights("new") == [0, 20, 50, 100]


def test_a_stable_that_an_autoscaler_raised_is_followed(world: World) -> None:
    world.at[9.0] = lambda w: w.platform.edit_scale("blue", 12)
    assert world.roll_out().exit_code is ExitCode.OK
    assert deployments(world)["green"].instances_wanted == 12


def test_a_candidate_that_asks_for_more_keeps_it(world: World) -> None:
    world.instances["new"] = 20
    assert world.roll_out().exit_code is ExitCode.OK
    assert deployments(world)["green"].instances_wanted == 20
    assert "scale_deployment" not in world.platform.calls


def test_no_capacity_for_the_next_weight_brings_traffic_back(world: World) -> None:
    check = world.platform.before
    world.platform.before = lambda call: refuse(call) if call == "scale_deployment" else check(call)
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base")
    assert "no cores left (Ask for quota.)" in done.text
    assert set(deployments(world)) == {"blue"}


def refuse(_: str) -> None:
    raise QuotaExceededError("no cores left", hint="Ask for quota.")


@pytest.mark.parametrize("error", [0.0, 0.5])
@pytest.mark.parametrize("retire", ["delete", "keep", "scale_down"])
def test_the_stable_is_held_while_the_rollout_lasts_and_released_after_it(
    world: World, retire: str, error: float
) -> None:
    world.strategy = {**world.strategy, "retire": retire}
    world.candidate = Behaviour(error_share=error)
    held: list[int] = []
    check = world.platform.after

    def look(call: str) -> None:
        check(call)
        if call == "set_traffic" and "green" in world.traffic():
            held.append(world.platform.held.get("blue", 0))

    world.platform.after = look
    world.roll_out()
    assert set(held) == {8}
    assert world.platform.held == {}
    if not error:
        assert world.platform.autoscaled["green"] == "cpu over 70%"


def test_a_rollout_that_another_machine_aborts_releases_the_stable(world: World) -> None:
    world.at[12.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    assert world.platform.held["blue"] == 8
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    assert world.ask(RequestKind.ABORT, with_manifest=False).exit_code is ExitCode.OK
    assert (world.traffic(), world.platform.held) == ({"blue": 100}, {})


def test_a_stable_scaled_to_nothing_is_started_before_traffic_goes_back(world: World) -> None:
    def nothing(w: World) -> None:
        w.platform.edit_scale("blue", 0)
        w.platform.after = lambda _: None

    world.candidate = Behaviour(error_share=0.5)
    world.at[7.0] = nothing
    done = world.roll_out()
    assert done.exit_code is ExitCode.GATE_FAILED, done.text
    assert (world.traffic(), deployments(world)["blue"].instances_ready) == ({"blue": 100}, 8)
    assert "scale_deployment" in world.platform.calls


def test_a_rollback_onto_a_version_scaled_to_0_starts_as_many_as_it_had(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "scale_down"}
    world.roll_out()
    assert deployments(world)["blue"].instances_wanted == 0
    world.platform.edit_scale("green", 3)
    assert world.roll_back().exit_code is ExitCode.OK
    assert (world.live_digest(), deployments(world)["blue"].instances_ready) == ("base", 8)
    assert "blue is scaled to 0: starting 8 instances" in world.notes


def test_a_rollback_onto_a_version_that_could_not_be_scaled_to_0_gets_as_many_as_it_had(tmp_path: Path) -> None:
    world = scaling_down(tmp_path, 1)
    assert world.roll_out().exit_code is ExitCode.OK
    assert deployments(world)["blue"].instances_wanted == 1
    world.platform.edit_scale("green", 3)
    before = len(world.platform.calls)
    assert world.roll_back().exit_code is ExitCode.OK
    assert (world.live_digest(), deployments(world)["blue"].instances_wanted) == ("base", 8)
    calls = [call for call in world.platform.calls[before:] if call in ("set_traffic", "scale_deployment")]
    assert calls == ["set_traffic", "scale_deployment"]


def scaling_down(tmp_path: Path, least: int) -> World:
    """A stable of 8 instances, which is to keep ``least`` of them."""
    world = World(tmp_path, instances={"base": 8}, capabilities=replace(CAPABILITIES, least_instances=least))
    world.strategy = {**world.strategy, "retire": "scale_down"}
    world.platform.autoscaled["blue"] = "cpu over 70%"
    return world


def killed(world: World, call: str, at: Callable[[], bool], act: Callable[[], object]) -> None:
    """``act``, by a process that dies in ``call`` when ``at`` says so."""

    def strike(name: str) -> None:
        world.check_alive()
        if name == call and at():
            world.kill()

    world.platform.before = world.platform.after = strike
    with pytest.raises(Killed):
        act()
    world.platform.before = world.platform.after = lambda _: None


def retirement_killed(tmp_path: Path, least: int, journal: str) -> World:
    """The stable was scaled down by a process that died over it; the new version has 3 instances by now."""
    world = scaling_down(tmp_path, least)
    killed(world, "scale_deployment", lambda: deployments(world)["blue"].instances_wanted == least, world.roll_out)
    world.platform.edit_scale("green", 3)
    if journal == "elsewhere":
        for path in (world.home / "journal").glob("*.jsonl"):
            path.unlink()
    return world


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
@pytest.mark.parametrize("least", [0, 1])
def test_a_retirement_that_was_killed_remembers_how_large_the_old_version_was(
    tmp_path: Path, least: int, journal: str, *, with_manifest: bool
) -> None:
    world = retirement_killed(tmp_path, least, journal)
    assert world.recover(with_manifest=with_manifest).ended.exit_code is ExitCode.OK
    assert (world.live_digest(), deployments(world)["blue"].instances_wanted) == ("new", least)
    assert world.roll_back().exit_code is ExitCode.OK
    assert (world.live_digest(), deployments(world)["blue"].instances_wanted) == ("base", 8)


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
@pytest.mark.parametrize("least", [0, 1])
def test_a_stable_that_was_scaled_down_takes_the_traffic_of_a_dead_candidate_and_gets_its_instances_again(
    tmp_path: Path, least: int, journal: str, *, with_manifest: bool
) -> None:
    world = retirement_killed(tmp_path, least, journal)
    world.platform.edit_scale("green", 0)
    before = len(world.platform.calls)
    done = world.recover(with_manifest=with_manifest).ended
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base"), done.text
    assert {name: found.instances_wanted for name, found in deployments(world).items()} == {"blue": 8}
    calls = [call for call in world.platform.calls[before:] if call in ("set_traffic", "scale_deployment")]
    assert calls == ["set_traffic", "scale_deployment"][:: 1 if least else -1]  # who answers gets traffic first
    assert world.platform.held == {}


def test_a_stable_that_cannot_get_its_instances_again_has_all_traffic_and_it_is_said(tmp_path: Path) -> None:
    world = retirement_killed(tmp_path, 1, "at hand")
    world.platform.edit_scale("green", 0)
    world.platform.before = lambda call: refuse(call) if call == "scale_deployment" else None
    done = world.recover().ended
    assert (done.exit_code, world.traffic(), set(deployments(world))) == (ExitCode.PLATFORM, {"blue": 100}, {"blue"})
    assert done.state is not None
    assert done.state.warnings[-1] == "blue may be too small for all traffic: no cores left (Ask for quota.)"


@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
def test_a_rollback_by_hand_of_a_retirement_that_was_killed_gives_the_old_version_its_instances_again(
    tmp_path: Path, journal: str
) -> None:
    world = retirement_killed(tmp_path, 1, journal)
    assert world.roll_back().exit_code is ExitCode.OK
    assert (world.live_digest(), deployments(world)["blue"].instances_wanted) == ("base", 8)


@pytest.mark.parametrize("retirement", ["done", "killed"])
def test_a_rollback_that_was_killed_before_it_scaled_is_finished_by_the_next_one(
    tmp_path: Path, retirement: str
) -> None:
    world = retirement_killed(tmp_path, 1, "at hand") if retirement == "killed" else scaling_down(tmp_path, 1)
    if retirement == "done":
        world.roll_out()
        world.platform.edit_scale("green", 3)
    killed(world, "scale_deployment", lambda: world.traffic() == {"blue": 100}, world.roll_back)
    assert (world.traffic(), deployments(world)["blue"].instances_wanted) == ({"blue": 100}, 1)
    assert world.roll_back().exit_code is ExitCode.OK
    assert (world.traffic(), deployments(world)["blue"].instances_wanted) == ({"blue": 100}, 8)
    again = world.roll_back()
    assert (again.exit_code, again.text) == (ExitCode.OK, "nothing to do: blue has 100% already")


def test_a_rollback_writes_traffic_first_and_scales_after(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "keep"}
    world.roll_out()
    world.platform.after = lambda _: None
    world.platform.edit_scale("blue", 2)
    before = len(world.platform.calls)
    assert world.roll_back().exit_code is ExitCode.OK
    calls = [call for call in world.platform.calls[before:] if call in ("set_traffic", "scale_deployment")]
    assert calls == ["set_traffic", "scale_deployment"]
    assert deployments(world)["blue"].instances_wanted == 8


def test_a_rollback_that_cannot_scale_has_traffic_back_all_the_same(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "keep"}
    world.roll_out()
    world.platform.after = lambda _: None
    world.platform.edit_scale("blue", 2)
    world.platform.before = lambda call: refuse(call) if call == "scale_deployment" else None
    assert world.roll_back().exit_code is ExitCode.OK
    assert world.live_digest() == "base"
    assert any("may be too small" in note for note in world.notes)


@pytest.mark.parametrize("to", [None, "blue", "0"])
def test_a_rollback_that_meets_the_end_of_a_rollout_makes_the_retired_version_again(
    world: World, to: str | None
) -> None:
    world.strategy = {**world.strategy, "retire": "keep"}
    world.roll_out()

    def retire(call: str) -> None:
        if call == "set_traffic":
            world.platform.before = lambda _: None
            world.platform.remove("blue")

    world.platform.after = lambda _: None
    world.platform.before = retire
    assert world.roll_back(to).exit_code is ExitCode.OK
    assert (world.live_digest(), world.traffic()) == ("base", {"blue": 100})


def test_a_rollback_waits_for_a_platform_that_is_away_for_a_moment(world: World) -> None:
    world.roll_out()
    world.platform.after = lambda _: None
    started = (world.clock.now() - world.started).total_seconds()

    def away(_: str) -> None:
        raise TransientError("no answer", hint="Wait.")

    world.platform.ready_after_s = 60.0
    world.at[started + 10] = lambda w: setattr(w.platform, "before", away)
    world.at[started + 30] = lambda w: setattr(w.platform, "before", lambda _: None)
    assert world.roll_back().exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}
