"""Users always meet enough instances: of the candidate at each weight, of the stable until the bake is over."""

from __future__ import annotations

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
    keeps_one = replace(CAPABILITIES, least_instances=1)
    world = World(tmp_path, instances={"base": 8}, capabilities=keeps_one)
    world.strategy = {**world.strategy, "retire": "scale_down"}
    assert world.roll_out().exit_code is ExitCode.OK
    assert deployments(world)["blue"].instances_wanted == 1
    assert world.roll_back().exit_code is ExitCode.OK
    assert (world.live_digest(), deployments(world)["blue"].instances_wanted) == ("base", 8)


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
