"""The example manifests, as a newcomer runs them: each ends with the exit code that it says, and so does Envoy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stage import Stage

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
EXAMPLES = ROOT / "manifests" / "local"


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


def blocks(heading: str) -> list[str]:
    """The shell commands of a section of the README."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert section, heading
    return re.findall(r"^```bash\n(.*?)```", section[1], re.MULTILINE | re.DOTALL)


def obey(stage: Stage, block: str) -> subprocess.CompletedProcess[str]:
    """Type a block of the README as it stands, in a checkout; what it installs is installed."""
    typed = f'python() {{ if [ "$1 $2" != \'-m pip\' ]; then command python "$@"; fi; }}\n{block}'
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_readmes_first_command_promotes_and_again_there_is_nothing_to_do(examples: Stage) -> None:
    bluegreen = examples.start("rollout", EXAMPLES / "bluegreen.yaml")  # on an endpoint of its own: meanwhile
    said = obey(examples, blocks("Two commands")[0])
    assert said.returncode == 0, said.stdout + said.stderr
    promoted = live(examples)
    assert f"promoted: {promoted} has 100%" in said.stdout
    again = examples.json("rollout", EXAMPLES / "quickstart.yaml")
    assert (again["exit_code"], again["rollout"]) == (0, None)
    assert live(examples) == promoted
    assert bluegreen.wait() == 0, bluegreen.text
    assert re.search(r"mirror .*50%", bluegreen.text)
    assert live(examples, "digits-bluegreen") in bluegreen.text


@pytest.mark.parametrize(
    "heading", ["Your first endpoint", "Why was I rolled back\\?", "Tune the gate", "Roll back at night"]
)
def test_the_commands_of_the_readmes_tasks_do_as_it_says(examples: Stage, heading: str, tmp_path: Path) -> None:
    for block in blocks(heading):
        said = obey(examples, block.replace("report.html", str(tmp_path / "report.html")))
        assert said.returncode == 0, said.stdout + said.stderr
        assert "Traceback" not in said.stderr
    assert heading != "Why was I rolled back\\?" or (tmp_path / "report.html").stat().st_size


@pytest.mark.slow
def test_the_readmes_commands_that_size_an_endpoint_do_as_it_says(examples: Stage) -> None:
    for block in blocks("Size the endpoint"):
        said = obey(examples, block)
        assert said.returncode in (0, 10, 11), said.stdout + said.stderr  # a busy machine may carry less


def test_every_shell_block_of_the_readme_is_run() -> None:
    run = ["Two commands", "Your first endpoint", "Why was I rolled back\\?", "Tune the gate", "Roll back at night"]
    known = [block for heading in [*run, "Size the endpoint", "On Azure"] for block in blocks(heading)]
    assert re.findall(r"^```bash\n(.*?)```", README.read_text(), re.MULTILINE | re.DOTALL) == sorted(
        known, key=README.read_text().index
    )


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
