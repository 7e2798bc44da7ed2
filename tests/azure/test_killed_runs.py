"""kill -9 before and after every write: a new process on an empty machine goes on from the endpoint alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from azure_histories import converge, killed
from azure_oracle import check_history, check_told
from azure_rollouts import fresh, undisturbed


def check(home: Path, number: int, *, bad: bool, after: bool, journal: bool) -> None:
    world = fresh(home / str(number), bad=bad)
    assert killed(world, number, after=after)
    check_history(world, bad=bad)
    check_told(world)
    if not journal:
        shutil.rmtree(world.home / "journal", ignore_errors=True)
    world.clock.advance(300.0)
    converge(world, bad=bad)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_a_write_the_next_run_converges_from_the_endpoint_alone(tmp_path: Path, *, after: bool) -> None:
    writes = [call for call in undisturbed() if call.is_write]
    for call in writes[after::2]:
        check(tmp_path, call.number, bad=False, after=after, journal=False)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("journal", [False, True], ids=["no journal", "journal"])
def test_killed_at_any_call_the_next_run_converges(tmp_path: Path, *, bad: bool, after: bool, journal: bool) -> None:
    for call in undisturbed(bad=bad):
        check(tmp_path, call.number, bad=bad, after=after, journal=journal)


def test_killed_again_and_again_it_still_converges(tmp_path: Path) -> None:
    world = fresh(tmp_path)
    for number in (12, 34, 40, 22, 51):
        killed(world, number, after=number % 2 == 0, rollout_id=f"r{number}")
        check_history(world)
        world.clock.advance(300.0)
    converge(world)
