"""Load tests by Azure Load Testing: its real SDK against a double of the service."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.developer.loadtesting import models

from deployer.cloud import load_testing
from deployer.cloud.load_testing import LoadTesting
from deployer.errors import DeniedError, PlatformError, TransientError, UsageError
from deployer.loadgen import azure
from deployer.loadgen.azure import COARSE, AzureLoadTesting, AzureTest
from deployer.loadtest.estimates import rate
from deployer.loadtest.figures import SOME_FAILURE, Load
from deployer.ports.loadgen import LoadTester
from deployer.ports.platform import ScoringTarget
from tests.doubles.arm_script import Answer, Asked, Tokens
from tests.doubles.load_testing import LoadTestingDouble, LoadTestingTransport

KEY = "canary-secret-" + "7f3a"
URL = "https://digits.westeurope.inference.ml.azure.com/score"
TARGET = ScoringTarget(URL, {"Authorization": f"Bearer {KEY}", "azureml-model-deployment": "green"})
LOAD = Load("poisson", "constant", 50, 60, warm_up_s=5, seed=1)


@pytest.fixture
def service() -> LoadTestingDouble:
    return LoadTestingDouble()


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    (tmp_path / "digit.json").write_text('{"data": [1]}')
    return tmp_path / "digit.json"


def engine(service: LoadTestingDouble, **options: Any) -> AzureLoadTesting:
    host = "x.westeurope.cnt-prod.loadtesting.azure.com"
    client = LoadTesting(host, Tokens(), transport=LoadTestingTransport(service), retries=0)
    return AzureLoadTesting(client, service.clock, **options)


def the_test(service: LoadTestingDouble) -> Mapping[str, Any]:
    (test,) = service.tests.values()
    return test


def the_run(service: LoadTestingDouble) -> str:
    (run,) = service.runs
    return run


def test_it_is_a_load_tester(service: LoadTestingDouble) -> None:
    tester: LoadTester = engine(service)
    assert tester


def test_the_same_locustfile_runs_as_a_locust_test_with_the_load_in_variables(
    service: LoadTestingDouble, payload: Path
) -> None:
    with engine(service).start(TARGET, LOAD, payload) as running:
        figures = running.figures()
    test = the_test(service)
    assert test["kind"] == "Locust"
    variables = test["environmentVariables"]
    assert variables["LOCUST_HOST"] == URL
    assert variables["DEPLOYER_LOAD_RPS"] == "50"
    assert variables["DEPLOYER_LOAD_DEPLOYMENT"] == "green"
    assert variables["DEPLOYER_LOAD_PAYLOAD"] == "digit.json"
    files = {name: kind for (_, name), (kind, _) in service.files.items()}
    locustfiles = {path.name for path in (Path(__file__).parents[3] / "loadtests").glob("*.py")}
    assert files.keys() == {*locustfiles, "digit.json"}
    assert [name for name, kind in files.items() if kind == "TEST_SCRIPT"] == ["scoring.py"]
    assert service.files[test["testId"], "digit.json"][1] == payload.read_bytes()
    assert figures.partial is None
    assert service.state(the_run(service)) == "DONE"


def test_recorded_arrivals_go_along_in_a_form_that_the_script_reads(
    service: LoadTestingDouble, payload: Path, tmp_path: Path
) -> None:
    (tmp_path / "trace.csv").write_text("status,timestamp\n200,2026-11-25T10:00:01Z\n200,2026-11-25T10:00:00Z\n")
    load = Load("replay", "constant", 0, 2, replay=str(tmp_path / "trace.csv"))
    with engine(service).start(TARGET, load, payload):
        pass
    test = the_test(service)
    name = test["environmentVariables"]["DEPLOYER_LOAD_REPLAY"]
    assert service.files[test["testId"], name] == ("ADDITIONAL_ARTIFACTS", b"0.0\n1.0")


def test_the_key_is_a_secret_of_the_run_and_nowhere_else(service: LoadTestingDouble, payload: Path) -> None:
    with engine(service).start(TARGET, LOAD, payload) as running:
        running.figures()
    holding = [asked for asked in service.asked if KEY in f"{asked.path} {asked.query} {asked.headers} {asked.body!r}"]
    assert [(asked.method, asked.path) for asked in holding] == [("PATCH", f"/test-runs/{the_run(service)}")]
    assert holding[0].body["secrets"] == {"DEPLOYER_LOAD_KEY": {"type": "SECRET_VALUE", "value": KEY}}
    assert KEY not in json.dumps(the_test(service))


def test_a_key_vault_secret_is_named_and_the_key_is_not_sent_at_all(service: LoadTestingDouble, payload: Path) -> None:
    identifier = "https://v.vault.azure.net/secrets/score-key"
    with engine(service, key_vault_secret=identifier).start(TARGET, LOAD, payload) as running:
        running.figures()
    secret = service.runs[the_run(service)]["secrets"]["DEPLOYER_LOAD_KEY"]
    assert secret == {"type": "AKV_SECRET_URI", "value": identifier}
    assert the_test(service)["keyvaultReferenceIdentityType"] == "SystemAssigned"
    assert not any(KEY in repr(asked) for asked in service.asked)


def test_percentiles_are_kept_as_steps_that_flatter_nothing_and_said_to_be_coarse(
    service: LoadTestingDouble, payload: Path
) -> None:
    with engine(service).start(TARGET, LOAD, payload) as running:
        figures = running.figures()
    assert figures.coarse == COARSE
    (window,) = figures.windows
    assert window.sent == 1000
    assert window.statuses == {200: 990, SOME_FAILURE: 10}
    assert window.latencies_ms == {20.0: 500, 30.0: 250, 50.0: 150, 80.0: 50, 200.0: 40, 900.0: 10}
    assert sum(window.good_latencies_ms.values()) == 990
    assert window.good_latencies_ms[900.0] == 10


def test_runs_of_one_endpoint_share_a_test(service: LoadTestingDouble, payload: Path) -> None:
    for _ in range(2):
        with engine(service).start(TARGET, LOAD, payload) as running:
            running.figures()
    assert (len(service.tests), len(service.runs)) == (1, 2)


def test_a_context_that_is_left_ends_the_run(service: LoadTestingDouble, payload: Path) -> None:
    with pytest.raises(ZeroDivisionError), engine(service).start(TARGET, LOAD, payload):
        raise ZeroDivisionError
    assert service.state(the_run(service)) == "CANCELLED"


def test_a_run_that_is_stopped_keeps_what_the_service_has(service: LoadTestingDouble, payload: Path) -> None:
    with engine(service).start(TARGET, LOAD, payload) as running:
        running.wait(service.provisions_s + 30)
        assert running.progress().partial == "running"
        running.stop("interrupted by SIGINT")
        figures = running.figures()
    assert figures.partial == "interrupted by SIGINT"
    assert figures.windows[0].sent == 1000
    assert service.state(the_run(service)) == "CANCELLED"


def starts(asked: Asked) -> bool:
    return asked.method == "PATCH" and asked.path.startswith("/test-runs/")


def test_a_start_that_is_refused_is_what_is_said(service: LoadTestingDouble, payload: Path) -> None:
    body = {"error": {"code": "MaxConcurrentTestRunsExceeded", "message": "three runs are under way"}}
    service.fault = lambda asked: Answer(400, body) if starts(asked) else None
    with pytest.raises(PlatformError, match="three runs are under way"), engine(service).start(TARGET, LOAD, payload):
        pytest.fail("it started")
    assert starts(service.asked[-1]), "there is nothing to stop"


def test_a_run_whose_start_was_not_answered_is_stopped(
    service: LoadTestingDouble, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_testing, "CALL_TIMEOUT_S", 0.2)

    def lost(asked: Asked) -> Answer | Exception | None:
        if starts(asked):
            service._run(asked, asked.path.removeprefix("/test-runs/"))
            return _GoneError()
        return None

    service.fault = lost
    with pytest.raises(TransientError), engine(service).start(TARGET, LOAD, payload):
        pytest.fail("it started")
    assert service.state(the_run(service)) == "CANCELLING"


@pytest.mark.parametrize(("after_s", "ends"), [(10.0, None), (60.0, None), (30.0, "FAILED")])
def test_the_rate_of_a_partial_run_is_by_the_time_that_passed(
    service: LoadTestingDouble, payload: Path, after_s: float, ends: str | None
) -> None:
    service.runs_s, service.ends = (after_s, ends) if ends else (900.0, "DONE")
    with engine(service).start(TARGET, replace(LOAD, seconds=600.0), payload) as running:
        if ends is None:
            running.wait(service.provisions_s + after_s)
            assert after_s <= running.progress().windows[0].seconds <= after_s + 5.0
            running.stop("interrupted by SIGINT")
        figures = running.figures()
    assert figures.partial is not None
    assert after_s <= figures.windows[0].seconds <= after_s + 10.0, "a look before and one after"
    assert rate(figures.windows).high == math.inf


def test_a_run_that_was_never_seen_sending_took_no_longer_than_it_was_known(
    service: LoadTestingDouble, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure, "POLL_S", 200.0)
    service.ends = "FAILED"
    with engine(service).start(TARGET, replace(LOAD, seconds=600.0), payload) as running:
        assert running.figures().windows[0].seconds == 200.0


def test_a_run_that_fails_is_partial_and_says_why(service: LoadTestingDouble, payload: Path) -> None:
    service.ends = "FAILED"
    with engine(service).start(TARGET, LOAD, payload) as running:
        assert running.figures().partial == "the run is FAILED: an engine was lost"


def test_a_run_without_figures_is_an_error(service: LoadTestingDouble, payload: Path) -> None:
    service.statistics, service.ends = {}, "FAILED"
    with (
        pytest.raises(PlatformError, match=r"has no figures \(the run is FAILED"),
        engine(service).start(TARGET, LOAD, payload) as running,
    ):
        running.figures()


@pytest.mark.parametrize(
    ("slow", "said"), [("provisions_s", "did not begin to send in time"), ("runs_s", "did not end in time")]
)
def test_a_run_that_takes_too_long_is_ended(service: LoadTestingDouble, payload: Path, slow: str, said: str) -> None:
    setattr(service, slow, 1e6)
    with engine(service).start(TARGET, LOAD, payload) as running:
        while not running.wait(600):
            pass
        assert said in (running.figures().partial or "")
    assert service.state(the_run(service)) == "CANCELLED"


def test_a_long_load_is_given_its_time(
    service: LoadTestingDouble, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure, "POLL_S", 300.0)
    service.runs_s = 7200
    with engine(service).start(TARGET, replace(LOAD, seconds=7200), payload) as running:
        assert running.figures().partial is None


def test_a_run_that_does_not_stop_is_said_to_be_sending_still(service: LoadTestingDouble, payload: Path) -> None:
    service.stuck, service.runs_s = True, 1e6
    with (
        pytest.raises(PlatformError, match="told to stop and is EXECUTING still"),
        engine(service).start(TARGET, LOAD, payload) as running,
    ):
        running.wait(service.provisions_s + 20)


def test_the_service_may_be_away_for_a_while(service: LoadTestingDouble, payload: Path) -> None:
    def away(asked: Asked) -> Answer | Exception | None:
        polls = sum(each.method == "GET" and each.path.startswith("/test-runs/") for each in service.asked)
        return _GoneError() if 3 < polls < 6 else None

    with engine(service).start(TARGET, LOAD, payload) as running:
        service.fault = away
        assert running.figures().partial is None


class _GoneError(ServiceRequestError):
    def __init__(self) -> None:
        super().__init__("connection refused")


def test_a_script_that_is_refused_is_said_and_nothing_runs(service: LoadTestingDouble, payload: Path) -> None:
    service.rejects = "scoring.py"
    with pytest.raises(PlatformError, match="it is no Locust script"), engine(service).start(TARGET, LOAD, payload):
        pytest.fail("it started")
    assert not service.runs


def test_a_refusal_is_sorted_like_every_other_of_azure(service: LoadTestingDouble, payload: Path) -> None:
    body = {"error": {"code": "Forbidden", "message": "no right to write tests"}}
    service.fault = lambda _asked: Answer(403, body)
    with pytest.raises(DeniedError, match="no right to write tests"), engine(service).start(TARGET, LOAD, payload):
        pytest.fail("it started")


def test_a_service_that_is_away_at_the_start_is_said(
    service: LoadTestingDouble, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_testing, "CALL_TIMEOUT_S", 0.2)
    service.fault = lambda _asked: _GoneError()
    with pytest.raises(TransientError), engine(service).start(TARGET, LOAD, payload):
        pytest.fail("it started")


@pytest.mark.parametrize(
    ("target", "load"),
    [
        (ScoringTarget("http://127.0.0.1:1/score", {}), LOAD),
        (ScoringTarget(URL, {"X-Other": "a"}), LOAD),
        (TARGET, Load("poisson", "constant", 50, 60, processes=2)),
        (TARGET, Load("poisson", "constant", 50, float("inf"))),
    ],
)
def test_what_it_cannot_send_is_refused_before_anything_is_made(
    service: LoadTestingDouble, payload: Path, target: ScoringTarget, load: Load
) -> None:
    with pytest.raises(UsageError), engine(service).start(target, load, payload):
        pytest.fail("it started")
    assert not service.asked


def test_a_new_token_cannot_be_given(service: LoadTestingDouble) -> None:
    with pytest.raises(PlatformError, match="cannot be given a new token"):
        AzureTest(engine(service).service, service.clock, LOAD, "run").renew(TARGET)


def test_an_sdk_without_locust_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(models, "TestKind")
    with pytest.raises(UsageError, match="JMeter tests only"):
        LoadTesting("x", Tokens())
