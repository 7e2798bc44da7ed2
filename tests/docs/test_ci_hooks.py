"""The gate, the hooks and `poe check` run the same checks, each written down once (pyproject.toml)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
POE = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["poe"]["tasks"]
HOOKS = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
GATE = (REPOSITORY / ".ci" / "run").read_text()


def linters_of_the_gate() -> set[str]:
    loop = re.search(r"^for linter in (.+); do$", GATE, flags=re.MULTILINE)
    assert loop
    return set(loop[1].split())


def test_the_gate_lints_with_tasks_that_exist() -> None:
    assert {POE[name].split()[0] for name in linters_of_the_gate()} == {
        "ruff",
        "basedpyright",
        "lint-imports",
        "codespell",
        "zizmor",
    }


def test_poe_check_is_what_the_gate_runs() -> None:
    assert set(POE["check"]) == linters_of_the_gate() | {"test", "coverage"}


def test_hooks_are_the_linters_of_the_gate_and_fetch_nothing() -> None:
    assert [repository["repo"] for repository in HOOKS] == ["local"]
    hooks = HOOKS[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["entry"] for hook in hooks} == {f"poe {name}" for name in linters_of_the_gate()}


def test_the_workflow_runs_the_gate_itself() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
