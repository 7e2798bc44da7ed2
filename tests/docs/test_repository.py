"""What may be in the repository at all: files, words in them, and what workflows are allowed to do.

Planted examples are put together from pieces, so that this file itself is clean.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
TOP_LEVEL = {"pyproject.toml", "deployer", "loadtests", "manifests", "tests", "README.md", "LICENSE"}

REGISTRIES = re.compile(
    r"py[p]i\.(?:org|io)|python[h]osted\.org|registry\.n[p]mjs|deb\.deb[i]an\.org|archive\.u[b]untu|crates\.i[o]/"
)
HOME_PATHS = re.compile(r"(?<![\w.$~}>%*-])/(?:root|home|work|Users)/[\w.]")
SECRETS = re.compile(
    r"""-----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY          # PEM
    | \bgh[pousr]_[A-Za-z0-9]{30} | \bgithub_pat_   # GitHub
    | \bAKIA[0-9A-Z]{16}\b                          # AWS
    | \bxox[abprs]-[0-9A-Za-z-]{10}                 # Slack
    | \b[\w.~-]{3}8Q~[\w.~-]{31}                    # Entra client secret
    | \beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10}     # signed JWT
    | AccountKey=[A-Za-z0-9+/]{40} | [?&]sig=[A-Za-z0-9%+/]{30}   # Azure Storage
    | InstrumentationKey=(?!0{8}-)[0-9a-f]{8}-      # Application Insights, zeros are an example
    """,
    re.VERBOSE,
)
PINNED = re.compile(r"[.$]/[\w./-]+|[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def files() -> list[Path]:
    """What is committed, or would be by `git add .`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    return [Path(name) for name in names if name and (REPOSITORY / name).is_file()]


def lines_with(pattern: re.Pattern[str]) -> Iterator[str]:
    for path in files():
        try:
            text = (REPOSITORY / path).read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                yield f"{path}:{number}: {line.strip()[:120]}"


def steps_of(workflow: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    """Steps, and jobs that call another workflow."""
    for job in workflow.get("jobs", {}).values():
        yield from ([job] if "uses" in job else job["steps"])


def offences(workflow: dict[Any, Any]) -> Iterator[str]:
    if workflow.get("permissions") != {}:
        yield "top level: `permissions: {}` is missing; each job asks for what it needs"
    for step in steps_of(workflow):
        if "uses" in step and not PINNED.fullmatch(step["uses"]):
            yield f"{step['uses']}: not pinned by the 40 digits of a commit"
        for script in (step.get("run", ""), step.get("with", {}).get("script", "")):
            if "${{" in script:
                yield f"`{script.strip()}`: an expression inside a script is code injection; pass it through `env`"


def test_nothing_strays_at_the_top_level() -> None:
    top = {path.parts[0] for path in files()}
    assert {name for name in top - TOP_LEVEL if not name.startswith(".")} == set()


def test_no_file_names_a_package_registry() -> None:
    assert list(lines_with(REGISTRIES)) == []


def test_no_file_names_a_path_in_somebodys_home() -> None:
    assert list(lines_with(HOME_PATHS)) == []


def test_no_file_holds_a_secret() -> None:
    assert list(lines_with(SECRETS)) == []


@pytest.mark.parametrize(
    ("pattern", "planted"),
    [
        (REGISTRIES, "index-url = https://py" + "pi.org/simple"),
        (REGISTRIES, "https://files.python" + "hosted.org/x"),
        (HOME_PATHS, "see /ho" + "me/ann/deployer"),
        (HOME_PATHS, 'open("/ro' + 'ot/.netrc")'),
        (HOME_PATHS, "file:///Us" + "ers/ann"),
        (SECRETS, "-----BEGIN RSA PRIVATE" + " KEY-----"),
        (SECRETS, "gh" + "p_" + "a1B2" * 9),
        (SECRETS, "AK" + "IA" + "ABCD" * 4),
        (SECRETS, "abc8" + "Q~" + "a1B2" * 8),
        (SECRETS, "ey" + "J" + "a1B2" * 4 + ".ey" + "J" + "a1B2" * 4 + "." + "a1B2" * 4),
        (SECRETS, "Account" + "Key=" + "a1B2" * 20 + "=="),
        (SECRETS, "https://x/y?sv=1&si" + "g=" + "a1B2" * 10),
        (SECRETS, "Instrumentation" + "Key=12345678-1234-1234-1234-123456789012"),
    ],
)
def test_the_search_finds_what_is_planted(pattern: re.Pattern[str], planted: str) -> None:
    assert pattern.search(planted)


@pytest.mark.parametrize(
    ("pattern", "innocent"),
    [
        (HOME_PATHS, "https://example.com/home/page"),
        (HOME_PATHS, "${HOME}/work/model"),
        (SECRETS, "InstrumentationKey=00000000-0000-0000-0000-000000000000"),
        (SECRETS, "sha256:0a30ef8f5322a4173720ae6712dc9a5e58f5a19868f3f167b4b5778db066c2b5"),
    ],
)
def test_the_search_lets_innocent_text_pass(pattern: re.Pattern[str], innocent: str) -> None:
    assert not pattern.search(innocent)


@pytest.mark.parametrize(
    "path", [path for path in files() if path.match(".github/workflows/*.y*ml")], ids=lambda path: path.stem
)
def test_a_workflow_has_no_more_rights_than_it_needs(path: Path) -> None:
    assert list(offences(yaml.safe_load((REPOSITORY / path).read_text()))) == []


GOOD = """
permissions: {}
jobs:
  a: {steps: [{uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1}, {run: "echo $X", env: {X: "${{ x }}"}}]}
  b: {uses: ./.github/workflows/rollout.yml}
"""


def test_a_careful_workflow_is_without_offence() -> None:
    assert list(offences(yaml.safe_load(GOOD))) == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("permissions: {}", ""),
        ("permissions: {}", "permissions: write-all"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1", "@v7"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1", "@3d3c42e"),
        ("./.github/workflows/rollout.yml", "someone/theirs/.github/workflows/x.yml@main"),
        ("echo $X", "echo ${{ inputs.x }}"),
    ],
)
def test_a_careless_workflow_is_an_offence(good: str, bad: str) -> None:
    assert len(list(offences(yaml.safe_load(GOOD.replace(good, bad))))) == 1
