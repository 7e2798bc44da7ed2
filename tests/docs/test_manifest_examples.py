"""Every manifest of the repository is valid, to the loader and to an editor that follows its first line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

from deployer.manifest.load import load_manifest
from deployer.manifest.profile_load import load_profile
from deployer.stores.files import DiskFiles

MANIFESTS = Path(__file__).parents[2] / "manifests"
EXAMPLES = sorted(
    path for path in MANIFESTS.rglob("*.yaml") if "$schema" in path.read_text(encoding="utf-8").split("\n")[0]
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(MANIFESTS)))
def test_the_manifest_is_valid(path: Path) -> None:
    named = path.read_text(encoding="utf-8").split("\n")[0].partition("$schema=")[2].strip()
    schema = json.loads((path.parent / named).read_text(encoding="utf-8"))
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(content)
    env = dict.fromkeys(content.get("env", []), "00000000-0000-0000-0000-000000000000")
    known = {**os.environ, **env}
    if named.endswith("profile.schema.json"):
        assert load_profile(path, files=DiskFiles(), env=known).profile.name == content["name"]
    else:
        assert load_manifest(path, files=DiskFiles(), env=known).manifest.name == content["name"]


def test_there_are_examples() -> None:
    assert EXAMPLES
