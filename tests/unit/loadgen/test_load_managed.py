"""``deployer loadtest`` on managed and Kubernetes endpoints, over HTTPS, against the double of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.cli.azure_stage import Stage
from unit.cli.commands import call

pytestmark = pytest.mark.azure
SLO = {"latency": {"p50": "5s"}, "error_rate": "60%"}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with Stage(tmp_path) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path / "home"))
        yield made


def loadtest(stage: Stage, *arguments: str, name: str = "managed/canary.yaml") -> tuple[int, dict[str, Any]]:
    done = call("loadtest", stage.manifest(name, slo=SLO), *arguments, "--json")
    assert "Traceback" not in done.output
    return done.exit_code, json.loads(done.stdout)


def writes(stage: Stage) -> list[str]:
    return [f"{each.method} {each.path}" for each in stage.azure.calls if each.method in ("PUT", "PATCH", "DELETE")]


def test_an_endpoint_that_is_not_there_is_said_with_the_next_step(stage: Stage) -> None:
    code, said = loadtest(stage, "--rps", "1")
    assert (code, said["exit_code"], said["error"]["message"]) == (2, 2, "there is no endpoint digits")
    assert "deployer rollout" in said["error"]["hint"]


def test_another_deployment_than_the_endpoints_is_refused(stage: Stage) -> None:
    stage.serve("blue")
    code, said = loadtest(stage, "--deployment", "green", "--rps", "1")
    assert (code, said["error"]["message"]) == (2, "digits has no deployment green")
    assert said["error"]["hint"] == "Name one of: blue."
    assert stage.azure.traffic == []


def test_a_rate_is_asked_for(stage: Stage) -> None:
    code, said = loadtest(stage)
    assert (code, said["error"]["message"]) == (2, "how many requests a second?")


@pytest.mark.parametrize(
    "name", ["managed/canary.yaml", pytest.param("kubernetes/canary.yaml", marks=pytest.mark.slow)]
)
def test_one_deployment_is_loaded_over_https_and_nothing_is_changed(stage: Stage, name: str) -> None:
    stage.serve("blue", "green")
    before = len(writes(stage))
    arguments = ("--rps", "30", "--for", "5s", "--warm-up", "0s", "--deployment", "green", "--yes")
    for _ in range(5):  # a run on a machine that is too busy is thrown away, which is right
        code, record = loadtest(stage, *arguments, name=name)
        if record["trusted"]:
            break
    assert (code, record["result"], record["test"]["platform"]) == (0, "passed", name.split("/", maxsplit=1)[0])
    assert {row.deployment for row in stage.azure.traffic} == {"green"}
    assert all(row.pinned for row in stage.azure.traffic)
    assert record["requests"]["sent"] <= len(stage.azure.traffic) - 1
    assert writes(stage)[before:] == []
    assert stage.azure.endpoint("digits").keys[0] not in Path(record["report"]).read_text()


@pytest.mark.parametrize("workers", [None, "8"])
def test_limits_of_the_service_are_named_before(stage: Stage, workers: str | None) -> None:
    senders = ("--engine", "distributed", "--workers", workers) if workers else ("--processes", "2")
    done = call("loadtest", stage.manifest(), "--rps", "600", "--in-flight", "900", "--for", "10s", *senders, "--yes")
    assert done.exit_code == 2  # there is no endpoint: nothing was sent
    assert "600 requests/s are over the 500 that an endpoint admits by default: expect 429" in done.output
    assert f"up to {900 * int(workers or 2)} connections may be open, over the 500" in done.output
