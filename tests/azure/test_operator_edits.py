"""Somebody works in the portal while a rollout runs on Azure: at any moment, and in every way that hurts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from azure_histories import converge
from azure_oracle import check_all, check_end, check_told, check_wire
from azure_rollouts import AzureWorld, fresh, undisturbed

from deployer.errors import ExitCode


def _split(world: AzureWorld, traffic: dict[str, int]) -> None:
    if set(traffic) <= set(world.deployments):
        world.endpoint["properties"]["traffic"] = traffic


def _delete_candidate(world: AzureWorld) -> None:
    if world.traffic().get("green"):
        world.endpoint["properties"]["traffic"] = {"blue": 100}
    if "blue" in world.deployments:
        world.deployments.pop("green", None)


def _scale(world: AzureWorld, name: str, instances: int) -> None:
    if name in world.deployments:
        world.deployments[name]["sku"]["capacity"] = instances


def _retag(world: AzureWorld, tags: dict[str, str]) -> None:
    if world.endpoint["properties"]["provisioningState"] == "Succeeded":  # Azure refuses it while something changes
        world.endpoint["tags"].update(tags)
        world.retagged = True


EDITS: dict[str, Callable[[AzureWorld], None]] = {
    "more to the candidate": lambda world: _split(world, {"green": 90, "blue": 10}),
    "all to the stable": lambda world: _split(world, {"blue": 100}),
    "swapped": lambda world: _split(world, {"green": 100}),
    "candidate deleted": _delete_candidate,
    "candidate grown": lambda world: _scale(world, "green", 5),
    "a tag": lambda world: _retag(world, {"cost-center": "42"}),
    "a mirror": lambda world: world.endpoint["properties"].update(mirrorTraffic={}),
}


def edited(home: Path, name: str, number: int, *, bad: bool = False) -> AzureWorld:
    world = fresh(home / f"{name}-{number}", bad=bad)
    world.operator[number] = EDITS[name]
    ended = world.run()
    check_wire(world)
    check_told(world)
    check_end(world, ended)
    if name in ("candidate grown", "a tag", "a mirror"):
        check_all(world, ended, bad=bad)
        assert ended.exit_code is (ExitCode.GATE_FAILED if bad else ExitCode.OK), ended
    if world.retagged and not is_between_read_and_write(number):
        assert world.endpoint["tags"]["cost-center"] == "42", "a person's tag was written over"
    if ended.exit_code is not ExitCode.STUCK:
        converge(world, bad=bad and name != "swapped")
    return world


def moments() -> range:
    """Until the last look before the old version is retired: what comes after it is nobody's to notice."""
    retiring = next(call for call in undisturbed() if "retiring" in str(call.body))
    return range(retiring.number - 3)


def is_between_read_and_write(number: int) -> bool:
    """Without ETags, what changes between a read and the write made from it is lost, whoever writes."""
    following = undisturbed()[number + 1 : number + 3]
    return any(call.is_write and call.path.endswith("/digits") for call in following)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_in_the_portal_is_met_with_sense(name: str, tmp_path: Path) -> None:
    for number in moments()[7::40]:
        edited(tmp_path, name, number)


@pytest.mark.slow
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_after_any_call_is_met_with_sense(name: str, tmp_path: Path) -> None:
    for number in moments():
        edited(tmp_path, name, number)
