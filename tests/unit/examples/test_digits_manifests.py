from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployer.manifest.schema import Manifest, PlatformType

ROOT = Path(__file__).parents[3] / "manifests" / "local"
EXAMPLES = ["quickstart", "slow", "broken", "crash", "bluegreen"]


def document(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_local_manifest_that_needs_nothing_else(name: str) -> None:
    manifest = Manifest.model_validate(document(f"{name}.yaml"))
    assert manifest.platform.type is PlatformType.LOCAL
    assert manifest.baseline == "deployment-v1.yml"
    assert manifest.load is not None
    assert manifest.warmup is not None
    assert manifest.smoke
    assert (ROOT / f"{name}.yaml").read_text().startswith("# yaml-language-server: $schema=../rollout.schema.json\n")


def test_there_is_no_example_that_is_not_tested() -> None:
    assert sorted(path.stem for path in ROOT.glob("*.yaml")) == sorted([*EXAMPLES, "profile"])  # it is no rollout


def test_quickstart_cannot_take_two_minutes_by_its_own_limits() -> None:
    strategy = Manifest.model_validate(document("quickstart.yaml")).strategy
    assert strategy.canary is not None
    assert len(strategy.canary.steps) * strategy.canary.each.max + strategy.canary.bake < 120


@pytest.mark.parametrize("fault", ["slow", "broken", "crash"])
def test_a_bad_release_differs_from_v2_by_one_variable(fault: str) -> None:
    good, bad = document("deployment-v2.yml"), document(f"deployment-{fault}.yml")
    added = bad["environment_variables"].items() - good["environment_variables"].items()
    assert len(added) == 1
    for release in (good, bad):
        del release["environment_variables"], release["description"]
    assert good == bad


def test_the_bad_examples_differ_from_quickstart_by_their_release_and_the_error_rate() -> None:
    good = document("quickstart.yaml")
    for fault in ("slow", "broken", "crash"):
        bad = document(f"{fault}.yaml")
        assert {key for key in good if good[key] != bad[key]} <= {"name", "deployment", "slo", "tags"}
        assert bad["slo"]["latency"] == good["slo"]["latency"]
