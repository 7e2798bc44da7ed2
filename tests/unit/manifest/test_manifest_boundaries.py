"""Where paths may lead, what the environment may put in, and what makes a rollout another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from manifest_documents import DEPLOYMENT, ENDPOINT, FULL, changed, load, problems, project

# --- where paths may lead


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A manifest in a directory of a repository, whose native files point to a sibling directory."""
    path = project(tmp_path / "repo" / "manifests")
    for name in ("src", "model"):
        (path.parent / name).rename(tmp_path / "repo" / name)
    code = {"code": "../src", "scoring_script": "score.py"}
    (path.parent / "deployment.yml").write_text(
        json.dumps(changed(DEPLOYMENT, code_configuration=code, model={"path": "../model"}))
    )
    return path


def test_native_paths_may_lead_anywhere_in_the_repository(nested: Path) -> None:
    (nested.parent.parent / ".git").mkdir()
    spec = load(nested)
    assert spec.root == nested.parent.parent.resolve()
    assert spec.deployment.code_dir is not None
    assert spec.deployment.code_dir.resolve() == nested.parent.parent.resolve() / "src"


def test_without_a_repository_native_paths_stay_beside_the_manifest(nested: Path) -> None:
    said = problems(nested)
    assert len(said) == 2
    assert all("leads out of manifests/" in each for each in said)


def test_native_paths_do_not_leave_the_repository(nested: Path) -> None:
    (nested.parent / ".git").mkdir()
    assert all("leads out of manifests/" in each for each in problems(nested))


def test_the_manifest_s_own_paths_stay_beside_it_even_in_a_repository(nested: Path) -> None:
    (nested.parent.parent / ".git").mkdir()
    (nested.parent / "ok.json").rename(nested.parent.parent / "ok.json")
    nested.write_text(nested.read_text().replace('"ok.json"', '"../ok.json"'))
    assert all("'../ok.json' leads out of manifests/" in each for each in problems(nested))


def test_a_linked_manifest_is_the_file_it_links_to(tmp_path: Path) -> None:
    path = project(tmp_path / "v2")
    link = tmp_path / "current.yaml"
    link.symlink_to(path)
    spec = load(link)
    assert spec.path == link
    assert spec.root == path.parent.resolve()


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    path = project(tmp_path / "home")
    (tmp_path / "secret.json").write_text("{}")
    (path.parent / "ok.json").unlink()
    (path.parent / "ok.json").symlink_to(tmp_path / "secret.json")
    (path.parent / "src" / "data").symlink_to(tmp_path)
    said = problems(path)
    assert sum("leads out of home/" in each for each in said) == len(said) == 2


# --- environment variables


def test_listed_variables_are_put_in_as_text(tmp_path: Path) -> None:
    manifest = changed(FULL, baseline=..., env=["SHA", "DIR"], tags={"commit": "${SHA}"}, endpoint="${DIR}point.yml")
    manifest["deployment"] = changed(DEPLOYMENT, environment_variables={"SHA": "${SHA}", "PRICE": "$$5"})
    spec = load(project(tmp_path, rollout__yaml=json.dumps(manifest)), SHA="1234567", DIR="end")
    assert spec.manifest.tags == {"commit": "1234567"}
    assert spec.deployment.environment_variables == {"SHA": "1234567", "PRICE": "$5"}
    for value in (spec.manifest.tags["commit"], *spec.deployment.document["environment_variables"].values()):
        assert type(value) is str
    assert type(spec.manifest.deployment["environment_variables"]["SHA"]) is str  # type: ignore[index]


def test_native_files_are_taken_literally(tmp_path: Path) -> None:
    deployment = json.dumps(changed(DEPLOYMENT, environment_variables={"A": "${HOME} $$ ${{x}}"}))
    spec = load(project(tmp_path, deployment__yml=deployment), HOME="/root")
    assert spec.deployment.environment_variables == {"A": "${HOME} $$ ${{x}}"}


def test_problems_never_show_the_value_of_a_variable(tmp_path: Path) -> None:
    secret = "hunter2 hunter2"
    manifest = changed(
        FULL,
        baseline=...,
        env=["S"],
        name="${S}",
        slo__latency__p95="${S}",
        slo__error_rate="${S}",
        strategy__on_fail="${S}",
        platform__type="${S}",
        gate__compare__latency="${S}",
        load__rps="${S}",
        load__request="${S}",
        smoke=[{"request": "x${S}"}],
        endpoint={"name": "${S}", "auth_mode": "${S}"},
        deployment={
            "name": "${S}",
            "model": "${S}",
            "instance_count": "${S}",
            "endpoint_name": "x${S}",
            "type": "${S}",
        },
    )
    said = problems(project(tmp_path, rollout__yaml=json.dumps(manifest)), S=secret)
    assert len(said) > 12
    assert [each for each in said if "hunter2" in each] == []
    assert any("an environment variable is always text: write the value here" in each for each in said)


# --- digests


def digests(path: Path) -> tuple[str, str]:
    spec = load(path)
    return spec.digest, spec.deployment.digest


@pytest.mark.parametrize(
    ("name", "text", "candidate"),
    [
        ("src/score.py", "changed", True),
        ("src/new.py", "", True),
        ("model/weights.json", "changed", True),
        ("deployment.yml", json.dumps(changed(DEPLOYMENT, instance_count=2)), True),
        ("deployment.yml", json.dumps(changed(DEPLOYMENT, name="green")), False),
        ("endpoint.yml", json.dumps({**ENDPOINT, "description": "d"}), False),
        ("ok.json", "[]", False),
        ("ok.schema.json", "{}", False),
        ("rollout.yaml", json.dumps(changed(FULL, env=..., baseline=..., tags={})), False),
        (
            "rollout.yaml",
            json.dumps(changed(FULL, env=..., baseline={"name": "old"}, deployment="deployment.yml")),
            False,
        ),
    ],
)
def test_what_changes_the_rollout_changes_its_digest(tmp_path: Path, name: str, text: str, candidate: bool) -> None:
    path = project(tmp_path)
    before = digests(path)
    (tmp_path / name).write_text(text)
    if "old" in text:
        (tmp_path / name).write_text(text.replace('{"name": "old"}', json.dumps(changed(DEPLOYMENT, name="old"))))
    after = digests(path)
    assert after[0] != before[0]
    assert (after[1] != before[1]) is candidate


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deployment.yml", "# a comment\n" + json.dumps(dict(reversed(DEPLOYMENT.items())), indent=2)),
        ("deployment.yml", json.dumps({"$schema": "x", "endpoint_name": "digits", **DEPLOYMENT})),
        ("src/__pycache__/score.pyc", "x"),
        ("README.md", "x"),
    ],
)
def test_what_runs_the_same_has_the_same_digest(tmp_path: Path, name: str, text: str) -> None:
    path = project(tmp_path)
    before = digests(path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert digests(path) == before


def test_the_same_project_elsewhere_has_the_same_digest(tmp_path: Path) -> None:
    assert digests(project(tmp_path / "a")) == digests(project(tmp_path / "b"))
