"""The lock (.ci/constraints.txt) against what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
LOCK = (REPOSITORY / ".ci" / "constraints.txt").read_text()
PINS = dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.+!-]+)", LOCK, flags=re.MULTILINE))


def required() -> list[Requirement]:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    project = settings["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["local"], *extras["dev"], *settings["build-system"]["requires"]]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("requirement", required(), ids=str)
def test_the_lock_pins_a_version_that_pyproject_allows(requirement: Requirement) -> None:
    pinned = PINS.get(canonicalize_name(requirement.name))
    assert pinned, f"{requirement} is not locked: run .ci/lock"
    assert requirement.specifier.contains(pinned, prereleases=True), (
        f"{requirement} is locked at {pinned}: run .ci/lock"
    )


def test_every_pin_has_the_hashes_of_its_files() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert [
        block for block in blocks if not re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", block)
    ] == []


def test_the_lock_names_no_place_to_download_from() -> None:
    assert re.findall(r"^.*(?://|--index|--find-links| @ ).*$", LOCK, flags=re.MULTILINE) == []
