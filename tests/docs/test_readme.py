"""The README's generated parts equal the code, and its commands exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
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


AZ = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
calls = open(os.environ["CALLS"]).read().count('["ad", "app", "create"')
print({{"account show": "11111111-1111-1111-1111-111111111111", "ad app": f"app-{{calls}}", "ad sp": f"sp-{{calls}}"}}.get(
    " ".join(sys.argv[1:3]), ""
))
"""


def test_the_commands_that_make_identities_trust_each_environment_of_the_readme(tmp_path: Path) -> None:
    """``az`` itself stays outside: what it would be told is looked at."""
    (block,) = re.findall(r"^```sh\n(.*?)```", README.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "az").write_text(AZ)
    (tmp_path / "az").chmod(0o755)
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=tmp_path, env=env, check=True, capture_output=True)
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]

    role = json.loads((tmp_path / "role.json").read_text())
    assert role["AssignableScopes"] == ["/subscriptions/11111111-1111-1111-1111-111111111111"]
    assigned = [_options(call) for call in calls if call[:3] == ["role", "assignment", "create"]]
    assert [(each["role"], each["assignee-object-id"]) for each in assigned] == [
        (role["Name"], "sp-1"),
        ("Reader", "sp-2"),
    ]
    made = [_options(call) for call in calls if call[:3] == ["ad", "app", "federated-credential"]]
    trusted = [(each["id"], json.loads(each["parameters"])) for each in made]
    assert all(re.fullmatch(r"[\w-]{3,120}", credential["name"]) for _, credential in trusted)
    subjects = {credential["subject"].removeprefix("repo:OWNER/REPO:environment:"): app for app, credential in trusted}
    assert subjects == {"production": "app-1", "recovery": "app-1", "production-plan": "app-2"}
    workflow = next(b for b in re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL) if "plan.yml@" in b)
    for each in (workflow, (ROOT / "manifests/github/deploy.yml").read_text()):
        named = set(re.findall(r"environment: ([\w-]+)", each))
        assert named == set(subjects), "each environment has its own credential"
        assert all("environment" in job["with"] for job in yaml.safe_load(each)["jobs"].values())


def _options(call: list[str]) -> dict[str, str]:
    return {name.removeprefix("--"): value for name, value in pairwise(call) if name.startswith("--")}


def test_the_two_commands_are_one_line_each() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    assert [block.strip() for block in blocks[:2]] == [
        "python -m pip install -e '.[local]' && deployer rollout manifests/local/quickstart.yaml",
        "python -m pip install -e '.[local,dev]' && pytest",
    ]
