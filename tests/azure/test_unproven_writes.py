"""A write of traffic that was sent and not proven may still happen: nothing that was read before it did counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_oracle import check_all
from azure_rollouts import AzureWorld, fresh, undisturbed
from https_rollouts import HttpsWorld, https_world

from deployer.engine.rollback import roll_back
from deployer.errors import ExitCode, PlatformError
from deployer.report.listeners import Quiet

HALF = {"blue": 50, "green": 50}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HttpsWorld]:
    with https_world(tmp_path, settings={"traffic_s": 60.0}) as made:
        made.double.add("digits", "green", instances=3, tags={"deployer.digest": "new"})
        made.revive()
        yield made


def lose_sight(world: HttpsWorld) -> None:
    """Send half to green, and be refused every look at what comes of it."""
    world.double.fault("GET .*/digits$", 400, nth=2, times=None)
    with pytest.raises(PlatformError):
        world.platform.set_traffic(HALF, {})
    world.double.heal()


@pytest.mark.parametrize("fault", ["400", "412", "409 registration"])
def test_a_rollout_that_loses_sight_of_its_write_brings_traffic_back_for_good(fault: str, tmp_path: Path) -> None:
    for call in undisturbed():
        if call.method == "PUT" and call.path.endswith("/digits"):
            world: AzureWorld = fresh(tmp_path / str(call.number))
            ended = world.run(faults={call.number + turn: fault for turn in range(1, 4)})
            world.clock.advance(300.0)
            check_all(world, ended)
            assert ended.exit_code is not ExitCode.OK or world.traffic() == {"green": 100}


@pytest.mark.azure
def test_the_old_split_that_shows_while_a_write_is_under_way_is_called_settling(world: HttpsWorld) -> None:
    lose_sight(world)
    seen = world.platform.observe()
    assert (seen.traffic, seen.settling) == ({"blue": 100}, True)


@pytest.mark.azure
def test_the_way_back_is_written_although_the_old_split_shows(world: HttpsWorld) -> None:
    lose_sight(world)
    world.platform.set_traffic({"blue": 100}, {})
    world.clock.advance(300.0)
    assert world.traffic() == {"blue": 100}
    assert not world.platform.observe().settling


@pytest.mark.azure
def test_a_rollback_from_elsewhere_waits_for_what_is_under_way(world: HttpsWorld) -> None:
    lose_sight(world)
    world.revive()
    assert roll_back(world.site(), Quiet(), to="blue", reason="by hand").exit_code is ExitCode.OK
    world.clock.advance(300.0)
    assert world.traffic() == {"blue": 100}


@pytest.mark.azure
def test_what_is_proven_is_not_settling(world: HttpsWorld) -> None:
    world.platform.set_traffic(HALF, {})
    assert not world.platform.observe().settling
