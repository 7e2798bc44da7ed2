"""The gate's script, with stubs in place of the tools that it starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
README_COMMAND = "python -m pip install -e '.[local,dev]' && pytest"

# Stands for every tool: notes how it was called, and makes a "virtual environment" of copies of itself.
STUB = """#!/usr/bin/env bash
set -eu
name=$(basename "$0")
echo "$name $*" >>"$CALLS"
case "$name $*" in
  *" -m venv "*)
    mkdir -p "$3/bin"
    for tool in python pytest poe; do cp "$0" "$3/bin/$tool"; done ;;
  "pytest ")
    echo "browser ${DEPLOYER_BROWSER:-none} required ${DEPLOYER_REQUIRE_BROWSER:-no}"
    if [ -n "${LEAK:-}" ]; then sleep 20 >/dev/null 2>&1 & echo "leaked $!"; fi
    echo "===== 3 passed in 0.10s =====" ;;
esac
[ "$name $*" != "${BREAKS:-}" ]
"""

TOOLS = re.findall(
    r"\w+",
    "awk bash basename cat cp cut dirname env grep kill mkdir mktemp printf rm sed sh sleep sort tail tee timeout tr",
)


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root = root / "checkout"
        self.calls = root / "calls"
        self.python = root / "python3.11"
        self.python.write_text(STUB)
        self.python.chmod(0o755)
        self.temporary = root / "tmp"
        self.temporary.mkdir()
        self.root.mkdir()
        shutil.copytree(REPOSITORY / ".ci", self.root / ".ci")
        self.tools = root / "tools"  # the whole PATH: no browser, and nothing is installed on this machine
        self.tools.mkdir()
        for name in TOOLS:
            (self.tools / name).symlink_to(str(shutil.which(name)))
        self.put("chromium", "")
        self.put("id", "echo 1000")
        self.readme(f"# x\nUse `a && pytest`.\n```sh\n{README_COMMAND}\n```\n")

    def put(self, name: str, script: str) -> None:
        (self.tools / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.tools / name).chmod(0o755)

    def readme(self, text: str) -> None:
        (self.root / "README.md").write_text(text)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        variables = {
            "CALLS": str(self.calls),
            "PYTHON": str(self.python),
            "TMPDIR": str(self.temporary),
            "PATH": str(self.tools),
        }
        own = {name: value for name, value in os.environ.items() if not name.startswith("DEPLOYER_")}
        return subprocess.run(
            ["bash", self.root / ".ci" / "run"],
            env={**own, **variables, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_gate_installs_the_lock_by_hash_then_runs_the_command_of_the_readme(checkout: Checkout) -> None:
    answer = checkout.run()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    calls = checkout.calls.read_text().splitlines()
    assert calls[1:4] == [
        "python -m pip install --require-hashes -r .ci/constraints.txt",
        "python -m pip install -e .[local,dev]",
        "pytest ",
    ]


def test_the_gate_ends_with_the_summary_of_pytest(checkout: Checkout) -> None:
    assert checkout.run().stdout.splitlines()[-1] == "===== 3 passed in 0.10s ====="


def test_the_gate_leaves_no_temporary_file(checkout: Checkout) -> None:
    checkout.run()
    assert list(checkout.temporary.iterdir()) == []


@pytest.mark.parametrize("text", ["no command here\n", "Not in a code block: a && pytest\n"])
def test_a_readme_without_the_test_command_fails_the_gate(checkout: Checkout, text: str) -> None:
    checkout.readme(text)
    answer = checkout.run()
    assert answer.returncode == 1
    assert "README.md: no code block has a line with '&& pytest'" in answer.stderr
    assert checkout.calls.read_text() == ""


@pytest.mark.parametrize(
    "breaks", ["pytest ", "poe --quiet lint", "poe --quiet workflows", "python -m pip install -e .[local,dev]"]
)
def test_a_failing_stage_fails_the_gate_after_all_other_stages_have_run(checkout: Checkout, breaks: str) -> None:
    answer = checkout.run(BREAKS=breaks)
    assert answer.returncode == 1
    assert checkout.calls.read_text().splitlines()[-1] == "poe --quiet workflows"


def test_nothing_runs_on_top_of_a_lock_that_does_not_install(checkout: Checkout) -> None:
    answer = checkout.run(BREAKS="python -m pip install --require-hashes -r .ci/constraints.txt")
    assert answer.returncode == 1
    assert len(checkout.calls.read_text().splitlines()) == 2


def test_an_uncovered_pure_package_fails_the_gate(checkout: Checkout) -> None:
    answer = checkout.run(BREAKS="python -m coverage report --show-missing --skip-covered --fail-under=100")
    assert answer.returncode == 1
    assert "FAILED: coverage" in answer.stdout


def test_a_process_that_the_tests_leave_behind_is_ended_and_fails_the_gate(checkout: Checkout) -> None:
    answer = checkout.run(LEAK="1")
    leaked = int(answer.stdout.split("leaked ")[1].split()[0])
    assert answer.returncode == 1
    assert f"left running: {leaked} sleep 20" in answer.stdout
    assert "FAILED: leftovers" in answer.stdout
    assert not is_running(leaked)


def test_the_browser_that_is_there_must_be_used(checkout: Checkout) -> None:
    assert f"browser {checkout.tools}/chromium required 1" in checkout.run().stdout


@pytest.mark.parametrize(("user", "has_apt"), [("1000", True), ("0", False)])
def test_without_a_browser_pages_are_skipped_with_a_reason(checkout: Checkout, user: str, has_apt: bool) -> None:
    (checkout.tools / "chromium").unlink()
    checkout.put("id", f"echo {user}")
    if has_apt:
        checkout.put("apt-get", "exit 7")
    answer = checkout.run()
    assert answer.returncode == 0, answer.stdout
    assert "no browser, and none can be installed here" in answer.stdout
    assert "browser none required no" in answer.stdout


def test_root_installs_a_browser_that_is_missing(checkout: Checkout) -> None:
    (checkout.tools / "chromium").unlink()
    checkout.put("id", "echo 0")
    made, known = checkout.tools / "chromium", checkout.root.parent / "known"
    checkout.put("apt-get", f'if [ "$*" = "-qq update" ]; then : >{known}; else [ -e {known} ] && cp "$0" {made}; fi')
    assert f"browser {made} required 1" in checkout.run().stdout


def test_a_browser_that_cannot_be_installed_is_no_failure(checkout: Checkout) -> None:
    (checkout.tools / "chromium").unlink()
    checkout.put("id", "echo 0")
    checkout.put("apt-get", "echo E: no route; exit 100")
    answer = checkout.run()
    assert answer.returncode == 0
    assert "E: no route" in answer.stdout
    assert "browser none required no" in answer.stdout
