"""``deployer recover`` of everything at once: folders, a line each, and the worst exit code."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from deployer.cli import app
from deployer.cli import recover as recover_module
from deployer.cli.ending import BADNESS
from deployer.engine import recover as engine_recover
from deployer.engine.lease import StoppedError
from deployer.engine.recover import Found, Recovered
from deployer.engine.site import Site
from deployer.errors import DeployerError, ExitCode, PlatformError
from deployer.rollout.ending import Ended
from deployer.wiring.manifests import spread


def manifest(folder: Path, name: str, endpoint: str | None = None) -> Path:
    """A rollout manifest of an endpoint that is not there yet."""
    for path in ("sub/code", "sub/model"):
        (folder / path).mkdir(parents=True, exist_ok=True)
    (folder / "sub" / "code" / "score.py").write_text("")
    deployment = {
        "model": {"path": "model"},
        "code_configuration": {"code": "code", "scoring_script": "score.py"},
        "environment": "azureml:x:1",
    }
    content = {
        "version": 1,
        "name": name,
        "platform": "local",
        "endpoint": {"name": endpoint or name, "auth_mode": "key"},
        "deployment": deployment,
        "slo": {"latency": {"p95": "1s"}},
        "strategy": {"canary": {"steps": [50]}},
    }
    path = folder / "sub" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["recover", *map(str, words)])


def test_a_folder_stands_for_every_rollout_manifest_in_it(tmp_path: Path) -> None:
    one, two = manifest(tmp_path, "one"), manifest(tmp_path, "two")
    manifest(tmp_path, "zero", "one")  # of an endpoint that is there already
    (tmp_path / "sub" / "deployment.yml").write_text("name: blue\n")
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    said = "nothing to recover: no rollout is unfinished (endpoint {} does not exist yet)"
    assert done.stdout.splitlines() == [f"{one}: {said.format('one')}", f"{two}: {said.format('two')}"]


def test_one_that_cannot_be_recovered_does_not_keep_the_others(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.yaml", manifest(tmp_path, "good")
    bad.write_text("strategy: [\n")
    done = run("--json", bad, good)
    assert done.exit_code == 3, done.output
    record = json.loads(done.stdout)
    assert record["exit_code"] == 3
    assert [each["target"] for each in record["endpoints"]] == [str(bad), str(good)]
    assert record["endpoints"][0]["error"]["message"]
    assert record["endpoints"][1]["found"] == "nothing"


def test_a_folder_without_a_manifest_is_a_mistake(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 2
    assert "holds no rollout manifest" in done.stderr


def outcomes(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> None:
    def put_right(_out: object, target: str, _where: object, _seen: object) -> Recovered:
        answer = given[target]
        if isinstance(answer, Exception):
            raise answer
        return Recovered(Found.ABANDONED, Ended(answer, f"text of {target}"))

    monkeypatch.setattr(recover_module, "_put_right", put_right)


@pytest.mark.parametrize(
    ("answers", "worst"),
    [
        ([ExitCode.OK, ExitCode.PAUSED], 20),
        ([ExitCode.ABORTED, ExitCode.PAUSED, ExitCode.OK], 12),
        ([ExitCode.STUCK, ExitCode.ABORTED], 30),
        ([ExitCode.ABORTED, PlatformError("no answer", hint="Wait.")], 13),
        ([ExitCode.ABORTED, ValueError("a bug")], 1),
    ],
)
def test_the_exit_code_is_the_worst(monkeypatch: pytest.MonkeyPatch, answers: list[Any], worst: int) -> None:
    names = [f"e{place}" for place in range(len(answers))]
    outcomes(monkeypatch, dict(zip(names, answers, strict=True)))
    done = run(*names)
    assert done.exit_code == worst, done.output
    assert len(done.stdout.splitlines()) == len(names)


@pytest.fixture
def handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("ends_by", ["returning", "raising"])
def test_after_a_signal_no_other_one_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends_by: str) -> None:
    one, two = manifest(tmp_path, "one"), manifest(tmp_path, "two")
    begun: list[str] = []

    def put_right(site: Site, *_: object) -> Recovered:
        begun.append(site.endpoint)
        os.kill(os.getpid(), signal.SIGTERM)
        if ends_by == "raising":
            raise StoppedError("stopped while a lease was watched", hint="Run it again.")
        return Recovered(Found.ABANDONED, Ended(ExitCode.ABORTED, "brought back"))

    monkeypatch.setattr(engine_recover, "recover", put_right)
    done = run(one, two)
    assert begun == ["one"]
    assert done.exit_code == 12, done.output
    assert done.stdout.splitlines()[1] == f"{two}: not tried: SIGTERM came. Run deployer recover again."


def test_endpoints_of_one_name_in_two_subscriptions_are_two(tmp_path: Path) -> None:
    paths = []
    for name in ("dev", "prod"):
        path = manifest(tmp_path / name, "digits")
        content = yaml.safe_load(path.read_text())
        place = {"type": "managed", "subscription_id": name, "resource_group": "rg", "workspace": "ws"}
        path.write_text(yaml.safe_dump(content | {"platform": place}, sort_keys=False))
        paths.append(str(path))
    assert spread([str(tmp_path), paths[0]]) == paths


def test_a_job_is_told_the_worst_of_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcomes(monkeypatch, {"one": ExitCode.ABORTED, "two": DeployerError("odd", hint="Look."), "three": ExitCode.OK})
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    done = run("one", "two", "three")
    assert done.stderr.count("::error ") == 2
    last = (tmp_path / "output").read_text().rpartition("exit_code<<")[2].splitlines()
    assert last[1] == "1"


def test_every_exit_code_has_its_place() -> None:
    assert sorted(BADNESS) == sorted(ExitCode)
