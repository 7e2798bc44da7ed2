"""``deployer plan``: what would happen, as agreed, and nothing that happens."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import LOCAL, QUICKSTART, call
from golden.compare import check

MANIFESTS = sorted(path.stem for path in LOCAL.glob("*.yaml") if path.stem != "profile")


def rounded(value: Any) -> Any:
    """Without the digits that another processor computes otherwise."""
    if isinstance(value, float):
        return round(value, 1)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_plan_of_every_example_is_as_agreed(name: str) -> None:
    done = call("plan", str(LOCAL / f"{name}.yaml"))
    assert (done.exit_code, done.stderr) == (0, "")
    check(f"plan/{name}.txt", done.stdout)


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_plan_of_every_example_as_json_is_as_agreed(name: str) -> None:
    done = call("plan", str(LOCAL / f"{name}.yaml"), "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    check(f"plan/{name}.json", json.dumps(rounded(json.loads(done.stdout)), indent=2) + "\n")


def test_planning_starts_nothing_and_writes_nothing() -> None:
    home = Path(os.environ["DEPLOYER_HOME"])
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    for options in ((), ("--json",)):
        assert call("plan", QUICKSTART, *options).exit_code == 0
    assert not home.exists()
    assert {child.pid for child in psutil.Process().children(recursive=True)} == children


@pytest.mark.parametrize("command", ["status", "pause", "resume", "promote", "abort", "rollback"])
def test_asking_about_what_does_not_exist_starts_nothing_either(command: str) -> None:
    home = Path(os.environ["DEPLOYER_HOME"])
    done = call(command, "digits")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is no endpoint digits" in done.stderr
    assert not home.exists()
