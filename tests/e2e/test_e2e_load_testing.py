"""``deployer loadtest --engine azure-load-testing``: the whole command, led to doubles by environment variables alone.

The endpoint and Azure Load Testing are one double each, on one port over HTTPS; the SDKs are unpatched.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.arm_script import Answer
from doubles.azure.identity import DOMAIN
from doubles.load_testing import LoadTestingDouble
from unit.cli.azure_stage import Stage

from deployer.clocks import SystemClock
from deployer.loadgen.azure import KEY_VARIABLE
from tests.e2e.stage import Running, until

pytestmark = [pytest.mark.azure, pytest.mark.e2e]
HOST = f"load.{DOMAIN}"
"""The SDK takes no port with it: it is led here by a proxy, as storage is."""
SLO = {"latency": {"p50": "5s"}, "error_rate": "60%"}


class Theatre:
    """One endpoint, one Load Testing resource, and commands that find both by their environment."""

    def __init__(self, stage: Stage, service: LoadTestingDouble) -> None:
        self.stage = stage
        self.service = service
        self.running: list[Running] = []
        stage.azure.mount(service.handle)
        stage.serve("blue", "green")
        self.manifest = stage.manifest("managed/canary.yaml", slo=SLO)

    def start(self, *more: str, engine: str = "azure-load-testing") -> Running:
        load = ("--rps", "20", "--for", "3s", "--warm-up", "0s", "--yes")
        engines = ("--engine", engine, "--load-testing", HOST)
        self.running.append(Running(("loadtest", self.manifest, *engines, *load, *more), self.stage.folder))
        return self.running[-1]

    @property
    def key(self) -> str:
        return self.stage.azure.endpoint("digits").keys[0]

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in (self.stage.folder / "home").rglob("loadtests/**/*.json")]

    def states(self) -> list[str]:
        return [self.service.state(name) for name in self.service.runs]


@pytest.fixture
def theatre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Theatre]:
    with Stage(tmp_path) as stage:
        for name, value in (stage.environment | {"DEPLOYER_HOME": str(tmp_path / "home")}).items():
            monkeypatch.setenv(name, value)
        made = Theatre(stage, LoadTestingDouble(clock=SystemClock(), provisions_s=1.0, runs_s=3.0, stops_s=1.0))
        try:
            yield made
        finally:
            for running in made.running:
                running.kill()


def test_a_run_of_the_service_is_judged_and_its_limits_are_said_before_and_after(theatre: Theatre) -> None:
    running = theatre.start("--deployment", "green")
    assert running.wait() == 0, running.text
    said = running.text
    assert said.index("note: percentiles by Azure Load Testing (Locust there is a preview): no histogram") == 0
    assert f"Azure Load Testing: run {next(iter(theatre.service.runs))} is ACCEPTED" in said
    assert "TARGETS MET: digits/green" in said
    assert "generator     not exact: percentiles by Azure Load Testing" in said
    assert theatre.states() == ["DONE"]
    (test,) = theatre.service.tests.values()
    assert test["environmentVariables"]["DEPLOYER_LOAD_DEPLOYMENT"] == "green"
    (record,) = theatre.records()
    assert (record["engine"], record["partial"], record["requests"]["sent"]) == ("azure-load-testing", None, 1000)
    assert len(theatre.stage.azure.traffic) == 1  # from here the first request alone
    holding = [
        asked for asked in theatre.service.asked if theatre.key in f"{asked.headers} {asked.query} {asked.body!r}"
    ]
    assert [(asked.method, list(asked.body["secrets"])) for asked in holding] == [("PATCH", [KEY_VARIABLE])]
    assert theatre.key not in said + Path(record["report"]).read_text() + json.dumps(record)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_ended_at_the_service_and_its_figures_are_kept(theatre: Theatre, number: int) -> None:
    theatre.service.runs_s = 600.0
    running = theatre.start()
    running.wait_for(r"measuring, .*sent")
    running.send(number)
    assert running.wait() == 12, running.text
    assert f"{signal.Signals(number).name}: ending the load; the same again leaves at once" in running.text
    assert theatre.states() == ["CANCELLED"]
    (record,) = theatre.records()
    assert (record["partial"], record["result"]) == (f"interrupted by {signal.Signals(number).name}", "inconclusive")
    assert record["requests"]["sent"] == 1000


@pytest.mark.slow
def test_an_interruption_before_the_first_request_leaves_no_run_and_is_kept_as_such(
    theatre: Theatre,
) -> None:
    theatre.service.provisions_s = 600.0
    running = theatre.start()
    running.wait_for("is ACCEPTED")
    running.send(signal.SIGTERM)
    assert running.wait() == 12, running.text
    assert "no request of the measured time was answered (it ended early: interrupted by SIGTERM)" in running.text
    assert theatre.states() == ["CANCELLED"]
    assert (theatre.records()[0]["exit_code"], theatre.records()[0]["interrupted"]) == (12, True)


@pytest.mark.slow
def test_a_run_that_fails_keeps_what_it_saw(theatre: Theatre) -> None:
    theatre.service.ends = "FAILED"
    running = theatre.start()
    assert running.wait() == 11, running.text
    assert "the run is FAILED: an engine was lost; what was seen until then is kept" in running.text
    assert theatre.records()[0]["partial"] == "the run is FAILED: an engine was lost"


@pytest.mark.slow
def test_a_service_that_is_down_or_refuses_is_said_and_nothing_runs(theatre: Theatre) -> None:
    body = {"error": {"code": "Forbidden", "message": "User is not authorized to perform write on test"}}
    theatre.service.fault = lambda _asked: Answer(403, body)
    refused = theatre.start()
    assert refused.wait() == 13, refused.text
    assert "User is not authorized to perform write on test" in refused.text
    assert "next: " in refused.text
    theatre.service.fault = lambda _asked: ConnectionError()
    down = theatre.start()
    assert down.wait() == 13, down.text
    assert "load test deployer-" in down.text
    assert not theatre.service.runs
    assert theatre.records() == []


@pytest.mark.slow
def test_a_service_that_goes_away_and_comes_back_is_waited_for(theatre: Theatre) -> None:
    theatre.service.runs_s = 600.0
    running = theatre.start("--timeout", "1s")
    until(lambda: any(asked.method == "GET" and "/test-runs/" in asked.path for asked in theatre.service.asked))
    theatre.service.fault = lambda asked: ConnectionError() if asked.method == "GET" else None
    running.wait_for(r"Azure Load Testing: run .* is|measuring")
    theatre.service.runs_s = 1.0
    theatre.service.fault = lambda _asked: None
    assert running.wait() == 0, running.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--processes", "2"), "sends from one engine"),
        (("--load-testing", "https://x/y"), "--load-testing https://x/y is no host"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_made(
    theatre: Theatre, more: tuple[str, ...], words: str
) -> None:
    running = theatre.start(*more)
    assert running.wait() == 2, running.text
    assert words in running.text
    assert not theatre.service.tests
