"""A new version that dies after its last pass: the old one is still there, and takes its traffic back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_recoveries import phase, with_stable
from world import Behaviour, Killed, World

from deployer.engine.leftovers import idle_deployments
from deployer.errors import ExitCode
from deployer.rollout.model import Phase
from deployer.rollout.tags import GOOD, revision_of

DEATHS: dict[str, Callable[[World, str], None]] = {
    "failed": lambda world, name: world.platform.fail(name, "crash loop"),
    "scaled to 0": lambda world, name: world.platform.edit_scale(name, 0),
    "removed": lambda world, name: world.platform.remove(name),
}


def retiring(world: World, act: Callable[[], None]) -> None:
    """Do ``act`` once, as soon as the tags say that the stable is about to go."""
    acted: list[bool] = []

    def strike(call: str) -> None:
        world.check_alive()
        if call == "set_tags" and phase(world) is Phase.RETIRING and not acted:
            acted.append(True)
            act()

    world.platform.after = strike


def serve(world: World, instances: int) -> None:
    """So many instances of the candidate answer from now on."""
    world.platform.serve("blue", instances)


def lose_journals(world: World) -> None:
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()


def digests(world: World) -> set[str | None]:
    view = world.platform.peek()
    return {each.digest for each in view.deployments.values()} if view else set()


@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
@pytest.mark.parametrize("death", DEATHS)
def test_recover_does_not_retire_the_stable_of_a_dead_candidate(death: str, journal: str) -> None:
    world = with_stable(Behaviour())
    retiring(world, world.kill)
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.after = lambda _: None
    DEATHS[death](world, "blue")
    if journal == "elsewhere":
        lose_journals(world)
    done = world.recover().ended
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base"), done.text
    assert digests(world) == {"base"}


@pytest.mark.parametrize("retire", ["delete", "scale_down", "keep"])
@pytest.mark.parametrize("death", DEATHS)
def test_a_candidate_that_dies_while_the_stable_is_about_to_go_is_not_promoted(death: str, retire: str) -> None:
    world = with_stable(Behaviour())
    world.strategy = {**world.strategy, "retire": retire}
    retiring(world, lambda: DEATHS[death](world, "blue"))
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base"), done.text


@pytest.mark.parametrize(("retire", "is_left"), [("delete", True), ("scale_down", True), ("keep", False)])
def test_beside_a_candidate_with_half_its_instances_the_stable_stays_and_gc_takes_only_what_was_to_go(
    retire: str, is_left: bool
) -> None:
    world = with_stable(Behaviour(), instances={"base": 1, "new": 2})
    world.strategy = {**world.strategy, "retire": retire}
    retiring(world, lambda: serve(world, 1))
    done = world.roll_out()
    assert (done.exit_code, digests(world), world.live_digest()) == (ExitCode.OK, {"base", "new"}, "new"), done.text
    assert done.state is not None
    assert done.state.warnings[0].startswith("blue has 1 of 2 instances ready")
    world.platform.make_ready("blue")
    view = world.platform.peek()
    assert view is not None
    assert [each.name for each in idle_deployments(view)] == (["green"] if is_left else [])


def test_a_moment_without_an_answer_after_a_long_wait_sends_no_good_version_back() -> None:
    world = with_stable(Behaviour(), instances={"base": 1, "new": 2})

    def blink() -> None:
        serve(world, 1)
        second = (world.clock.now() - world.started).total_seconds()
        world.at[second + 25] = lambda _: serve(world, 0)
        world.at[second + 25.8] = lambda _: serve(world, 1)

    retiring(world, blink)
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.OK, "new"), done.text


@pytest.mark.parametrize("was", [0, 1])
def test_a_run_that_resumes_counts_a_silence_anew(was: int) -> None:
    world = with_stable(Behaviour(), instances={"base": 1, "new": 2})

    def die() -> None:
        serve(world, was)
        world.at[(world.clock.now() - world.started).total_seconds() + 5] = World.kill

    retiring(world, die)
    with pytest.raises(Killed):
        world.roll_out()
    world.clock.advance(3600)
    serve(world, 0)
    world.at[(world.clock.now() - world.started).total_seconds() + 10] = lambda w: w.platform.make_ready("blue")
    assert world.roll_out().exit_code is ExitCode.OK
    assert digests(world) == {"new"}


@pytest.mark.parametrize("edit", [{"green": 100}, {"blue": 50, "green": 50}], ids=["back", "split"])
@pytest.mark.parametrize("command", ["rollout", "recover"])
@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
def test_a_way_back_by_hand_is_no_promotion(journal: str, command: str, edit: dict[str, int]) -> None:
    world = with_stable(Behaviour())
    retiring(world, world.kill)
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.after = lambda _: None
    world.platform.edit_traffic(edit)
    if journal == "elsewhere":
        lose_journals(world)
    done = world.roll_out() if command == "rollout" else world.recover().ended
    assert (done.exit_code, world.live_digest()) == (ExitCode.ABORTED, "base"), done.text
    assert "somebody else changed traffic from blue 100% to" in done.text
    view = world.platform.peek()
    good = revision_of(view.tags[GOOD]) if view else None
    assert good is not None
    assert good.digest == "base"


@pytest.mark.parametrize("with_manifest", [False, True])
def test_another_split_for_a_moment_after_the_last_pass_is_no_edit(with_manifest: bool) -> None:
    world = with_stable(Behaviour())
    retiring(world, world.kill)
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.after = lambda _: None
    lose_journals(world)
    world.platform.edit_traffic({"blue": 50, "green": 50})
    second = (world.clock.now() - world.started).total_seconds()
    world.at[second + 0.1] = lambda w: w.platform.edit_traffic({"blue": 100})
    done = world.recover(with_manifest=with_manifest).ended
    assert (done.exit_code, world.live_digest()) == (ExitCode.OK, "new"), done.text


def test_a_candidate_whose_scaling_failed_after_its_last_pass_is_not_sent_back() -> None:
    world = with_stable(Behaviour(), instances={"base": 1, "new": 2})
    retiring(world, lambda: world.platform.fail("blue", "scaling failed: quota", serving=2))
    done = world.roll_out()
    assert (done.exit_code, world.live_digest(), digests(world)) == (ExitCode.OK, "new", {"base", "new"}), done.text


@pytest.mark.parametrize(("answer", "code", "live"), [(1, ExitCode.OK, "new"), (0, ExitCode.ABORTED, "base")])
def test_a_signal_while_instances_are_waited_for_is_heeded_at_once(answer: int, code: ExitCode, live: str) -> None:
    world = with_stable(Behaviour(), instances={"base": 1, "new": 2})
    struck: list[float] = []

    def strike() -> None:
        serve(world, answer)
        struck.append((world.clock.now() - world.started).total_seconds())
        world.at[struck[0] + 3] = lambda w: setattr(w, "signal", "SIGTERM")

    retiring(world, strike)
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (code, live), done.text
    assert "base" in digests(world)
    assert (world.clock.now() - world.started).total_seconds() < struck[0] + 5


def test_the_only_version_is_not_removed_for_want_of_instances(tmp_path: Path) -> None:
    world = World(tmp_path, baseline=False)
    retiring(world, lambda: serve(world, 0))
    done = world.roll_out()
    assert (done.exit_code, world.traffic()) == (ExitCode.OK, {"blue": 100}), done.text


def test_a_candidate_that_is_back_in_time_is_promoted() -> None:
    world = with_stable(Behaviour())

    def blink() -> None:
        world.platform.edit_scale("blue", 0)
        world.at[(world.clock.now() - world.started).total_seconds() + 5] = lambda w: w.platform.edit_scale("blue", 1)

    retiring(world, blink)
    assert world.roll_out().exit_code is ExitCode.OK
    assert digests(world) == {"new"}


def test_where_neither_version_answers_a_human_is_called_and_nothing_is_removed() -> None:
    world = with_stable(Behaviour())

    def both_die() -> None:
        world.platform.fail("blue", "crash loop")
        world.platform.fail("green", "node lost")

    retiring(world, both_die)
    assert world.roll_out().exit_code is ExitCode.STUCK
    assert digests(world) == {"base", "new"}
