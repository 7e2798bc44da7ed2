"""The example manifests, as a newcomer runs them: each ends with the exit code that it says, and so does Envoy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import Stage

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "manifests" / "local"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One home for all examples: each of them starts from what the one before left, or from nothing."""
    stage = Stage(tmp_path_factory.mktemp("examples"), tmp_path_factory.mktemp("home"), "digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEPLOYER_HOME", str(stage.home))
        try:
            yield stage
        finally:
            stage.end()


@pytest.fixture(autouse=True)
def _home(examples: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYER_HOME", str(examples.home))


def live(stage: Stage, endpoint: str = "digits") -> str:
    """The one deployment that has all traffic."""
    ((name, weight),) = stage.json("status", endpoint)["traffic"].items()
    assert weight == 100
    return name


def test_good_versions_are_promoted_and_again_there_is_nothing_to_do(examples: Stage) -> None:
    bluegreen = examples.start("rollout", EXAMPLES / "bluegreen.yaml")  # on an endpoint of its own: meanwhile
    said = examples.run("rollout", EXAMPLES / "quickstart.yaml")
    assert said.code == 0, said.text
    promoted = live(examples)
    assert f"promoted: {promoted} has 100%" in said.out
    again = examples.json("rollout", EXAMPLES / "quickstart.yaml")
    assert (again["exit_code"], again["rollout"]) == (0, None)
    assert live(examples) == promoted
    assert bluegreen.wait() == 0, bluegreen.text
    assert re.search(r"mirror .*50%", bluegreen.text)
    assert live(examples, "digits-bluegreen") in bluegreen.lines[-1]


@pytest.mark.parametrize(
    ("manifest", "code", "why"),
    [
        ("slow.yaml", 10, "latency"),
        ("broken.yaml", 10, "error"),
        ("crash.yaml", 13, "weights-v3.json"),
    ],
)
def test_a_bad_version_is_stopped(examples: Stage, manifest: str, code: int, why: str) -> None:
    before = examples.json("local", "status")["endpoints"]
    ended = examples.json("rollout", EXAMPLES / manifest)
    assert ended["exit_code"] == code, ended
    assert why in ended["rollout"]["reason"]
    stable = ended["rollout"]["stable"]
    assert live(examples) == stable
    assert not before or list(before[0]["traffic"]) == [stable]
    assert list(examples.json("status", "digits")["deployments"]) == [stable]
