"""The old version is being deleted, which nothing stops, when traffic is to go back to it: it is made again after that."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_crashes import QUICK
from world import Killed, World

from deployer.errors import ExitCode, NotFoundError
from deployer.rollout.model import Phase, RequestKind
from deployer.rollout.tags import PREVIOUS


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A rollout that was killed while blue is deleted, which takes half a minute."""
    made = World(tmp_path, strategy=QUICK, rps=200)
    made.gate["min_requests"] = 10
    made.platform.leaving_s = 30.0

    def kill_soon(call: str) -> None:
        made.check_alive()
        if call == "delete_deployment":
            made.at[(made.clock.now() - made.started).total_seconds() + 5] = World.kill

    made.platform.before = kill_soon
    with pytest.raises(Killed):
        made.roll_out()
    made.platform.before = lambda _: None
    view = made.platform.peek()
    assert view is not None
    assert (view.deployments["blue"].state, view.tags["deployer.phase"][:8]) == ("deleting", Phase.RETIRING)
    return made


@pytest.mark.parametrize("to", [None, "blue"])
def test_a_rollback_waits_for_the_deletion_and_makes_the_version_again(world: World, to: str | None) -> None:
    done = world.roll_back(to)
    assert (done.exit_code, world.live_digest()) == (ExitCode.OK, "base"), done.text
    assert "blue is being deleted: making it again from its record" in world.notes


def test_a_rollback_to_a_revision_does_so_too(world: World) -> None:
    world.platform.edit_tags({PREVIOUS: "1|blue|base|1764000000|1"})
    assert world.roll_back("1").exit_code is ExitCode.OK
    assert world.live_digest() == "base"


def test_a_deletion_that_begins_while_the_version_is_waited_for_is_waited_for_as_well(tmp_path: Path) -> None:
    world = World(tmp_path, strategy={**QUICK, "retire": "scale_down"}, rps=200)
    world.gate["min_requests"] = 10
    world.roll_out()
    world.platform.ready_after_s = 20.0
    begun = (world.clock.now() - world.started).total_seconds()
    world.at[begun + 5] = lambda there: there.platform.begin_deletion("blue", 30.0)
    done = world.roll_back()
    assert (done.exit_code, world.live_digest()) == (ExitCode.OK, "base"), done.text


def test_a_version_that_nothing_is_recorded_of_is_not_promised(world: World) -> None:
    world.platform.forget_records()
    with pytest.raises(NotFoundError, match="nothing is recorded"):
        world.roll_back()
    assert world.live_digest() == "new"


def test_the_way_back_of_a_rollout_makes_it_again_too(world: World) -> None:
    """The new version died meanwhile: the run that takes over has only the old one to go back to."""
    world.platform.fail("green", "crash loop")
    done = world.recover().ended
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base"), done.text


def test_an_abort_that_comes_too_late_is_no_success(world: World) -> None:
    done = world.ask(RequestKind.ABORT)
    assert (done.exit_code, world.live_digest()) == (ExitCode.REFUSED, "new")
    assert done.text.endswith("to go back, run deployer rollback digits")
