"""What tests/conftest.py promises to every test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import _scope

REPOSITORY = Path(__file__).parents[2]
homes: set[str] = set()

OUTER = """
import os
import pytest
from hypothesis import settings

@pytest.fixture(autouse=True)
def facts():
    print(sorted(name for name in os.environ if name.startswith(("AZURE_CLIENT", "GITHUB_"))))
    print(settings.get_current_profile_name())

def test_of_seconds(): pass

@pytest.mark.slow
def test_of_minutes(): pass
"""


@pytest.mark.parametrize("time", [1, 2])
def test_every_test_has_a_home_of_its_own(time: int) -> None:
    home = os.environ["DEPLOYER_HOME"]
    assert home not in homes
    assert not Path(home).exists()
    homes.add(home)


def test_paths_of_sockets_in_the_home_fit() -> None:
    # 108 bytes: sun_path in unix(7)
    assert len(os.environ["DEPLOYER_HOME"]) < 70


def outer(where: Path, *arguments: str, **environment: str) -> str:
    """What a pytest of its own prints for OUTER."""
    (where / "test_outer.py").write_text(OUTER)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", REPOSITORY / "pyproject.toml", "-rA"]
    answer = subprocess.run(
        [*command, *arguments, where / "test_outer.py"],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    planted = {"AZURE_CLIENT_SECRET": "planted", "GITHUB_STEP_SUMMARY": "planted"}
    return outer(tmp_path_factory.mktemp("plain"), CI="", HYPOTHESIS_PROFILE="", **planted)


@pytest.fixture(scope="module")
def with_slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    return outer(tmp_path_factory.mktemp("slow"), "--slow", CI="true", HYPOTHESIS_PROFILE="")


@pytest.fixture(scope="module")
def only_slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    return outer(tmp_path_factory.mktemp("only"), "-m", "slow", CI="true", HYPOTHESIS_PROFILE="nightly")


def test_slow_tests_are_left_out_unless_asked_for(plain: str) -> None:
    assert "1 passed, 1 deselected" in plain


def test_slow_tests_run_when_asked_for(with_slow: str) -> None:
    assert "2 passed" in with_slow


def test_slow_tests_run_when_selected_by_their_mark(only_slow: str) -> None:
    assert "1 passed, 1 deselected" in only_slow
    assert "test_of_minutes" in only_slow


def test_no_test_sees_the_credentials_of_whoever_runs_it(plain: str) -> None:
    assert "[]" in plain.splitlines()


def test_the_place_decides_how_many_examples_are_tried(plain: str, with_slow: str, only_slow: str) -> None:
    assert "dev" in plain.splitlines()
    assert "ci" in with_slow.splitlines()
    assert "nightly" in only_slow.splitlines()


def test_of_two_processes_one_has_all_that_loads_the_machine() -> None:
    machine = {"e2e/test_e2e_faults.py", "unit/local/test_local_envoy.py", "contract/test_platforms.py"}
    others = {"e2e/test_e2e_azure.py", "unit/local/test_local_config.py", "docs/test_readme.py"}
    assert len({_scope(REPOSITORY / "tests" / name) for name in machine}) == 1
    assert len({_scope(REPOSITORY / "tests" / name) for name in machine | others}) == 4
