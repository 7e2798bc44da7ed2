"""The README's generated parts equal the code, and its commands exist."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import typer.main
import yaml

from deployer.cli import app
from deployer.errors import ExitCode
from deployer.manifest.schema import Manifest
from deployer.rollout.machine import to_mermaid

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

MEANINGS = {
    ExitCode.OK: "the new version holds 100 % (or already did)",
    ExitCode.USAGE: "usage",
    ExitCode.MANIFEST: "manifest invalid",
    ExitCode.POLICY: "policy violation",
    ExitCode.REFUSED: "plan refused: capability, quota, rights, or the lease is held by another run",
    ExitCode.GATE_FAILED: "gate FAIL, rolled back",
    ExitCode.INCONCLUSIVE: "inconclusive or deadline, rolled back",
    ExitCode.ABORTED: "aborted by an operator or by SIGINT/SIGTERM, rolled back",
    ExitCode.PLATFORM: "platform failed, rolled back (or nothing was shifted)",
    ExitCode.PAUSED: "paused: traffic is split on purpose, `promote` or `abort`",
    ExitCode.STUCK: "STUCK: the rollback could not be verified; a human must act now",
    ExitCode.BUG: "bug; treat as 30",
}


def exit_codes() -> str:
    order = sorted(ExitCode, key=lambda code: (code is ExitCode.BUG, code))
    return "| code | meaning |\n|---|---|\n" + "".join(f"| {int(code)} | {MEANINGS[code]} |\n" for code in order)


GENERATED = {"exit codes": exit_codes(), "states": f"```mermaid\n{to_mermaid()}```\n"}


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_a_generated_part_equals_the_code(name: str) -> None:
    start, end = f"<!-- {name}: generated -->\n", "<!-- end -->"
    before, _, rest = README.read_text().partition(start)
    part, _, after = rest.partition(end)
    if os.environ.get("UPDATE_GOLDEN"):
        README.write_text(before + start + GENERATED[name] + end + after)
        return
    assert part == GENERATED[name]


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_every_command_that_the_readme_names_exists_and_every_command_is_named() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    text = README.read_text()
    named = set(re.findall(r"`(?:deployer )?([a-z]+)(?: [A-Z-][^`]*)?`", text)) | set(
        re.findall(r"deployer ([a-z]+)", text)
    )
    assert set(commands) <= named
    assert set(re.findall(r"`deployer ([a-z]+)", text)) <= set(commands)


def test_the_manifest_of_the_readme_is_valid() -> None:
    block = next(b for b in re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL) if "strategy:" in b)
    assert Manifest.model_validate(yaml.safe_load(block)).name == "digits"


def test_every_file_that_the_readme_names_exists() -> None:
    for name in re.findall(r"[`(]((?:manifests|\.github|\.ci|deployer|tests)/[\w./-]+)[`)]", README.read_text()):
        assert (ROOT / name).exists(), name


def test_the_two_commands_are_one_line_each() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    assert [block.strip() for block in blocks[:2]] == [
        "python -m pip install -e '.[local]' && deployer rollout manifests/local/quickstart.yaml",
        "python -m pip install -e '.[local,dev]' && pytest",
    ]
