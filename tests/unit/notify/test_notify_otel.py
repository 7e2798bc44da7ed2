"""OpenTelemetry of a rollout: one trace however many runs it takes, its metrics, and that nobody ever waits for it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from doubles.collector import Collector, attributes, collecting
from stateful.world import Killed, World

from deployer.engine.operations import roll_out
from deployer.notify import otel
from deployer.notify.late import Late, Watched
from deployer.notify.otel import AZURE, OTLP, observing
from deployer.notify.traces import ids_of
from deployer.report.listeners import Quiet

KEY = "planted" + "-instrumentation-key"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting(Collector()) as made:
        yield made


def observed(
    world: World, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, notes: list[str], **options: Any
) -> None:
    """Roll out with what the environment asks for."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    site = world.site()
    listener = Late(lambda: observing(site, "local", notes.append, env), notes.append)
    watched = replace(site, platform=Watched.of(site.platform, listener))
    with listener:
        roll_out(watched, world.job(), listener, rollout_id="r1", **options)


def otlp(collector: Collector) -> dict[str, str]:
    return {OTLP: f"http://127.0.0.1:{collector.port}"}


def by_name(collector: Collector) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for span in collector.spans:
        found.setdefault(span.name, []).append(span)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """What one whole rollout tells."""
    notes: list[str] = []
    with collecting(Collector()) as collector, pytest.MonkeyPatch.context() as monkeypatch:
        observed(World(tmp_path_factory.mktemp("told")), otlp(collector), monkeypatch, notes)
        assert notes == []
        yield collector


def test_a_rollout_is_one_trace_with_its_steps_phases_looks_and_calls(told: Collector) -> None:
    collector = told
    spans, (trace_id, root_id) = by_name(collector), ids_of("r1")
    assert {span.trace_id for span in collector.spans} == {trace_id.to_bytes(16)}
    (root,) = spans["rollout digits"]
    (run,) = spans["run"]
    assert root.span_id == root_id.to_bytes(8) == run.parent_span_id
    assert root.parent_span_id == b""
    facts = attributes(root.attributes)
    assert (facts["deployer.rollout.id"], facts["deployer.outcome"]) == ("r1", "promoted")
    steps = [span for span in collector.spans if span.name.startswith("step ")]
    assert {span.parent_span_id for span in steps} == {run.span_id}
    assert "step 20%" in spans
    judging = spans["judging"]
    assert {span.parent_span_id for span in judging} <= {span.span_id for span in steps}
    looks = spans["judge"]
    assert {attributes(look.attributes)["deployer.verdict"] for look in looks} >= {"pass"}
    assert all(look.events[0].name == "judged" for look in looks)
    writes = spans["platform set_traffic"]
    weights = {span.span_id for span in spans["set_weight"]}
    assert [span.parent_span_id in weights for span in writes].count(True) >= 2
    assert "platform observe" not in spans
    assert root.start_time_unix_nano <= run.start_time_unix_nano <= run.end_time_unix_nano <= root.end_time_unix_nano
    assert collector.resources[0]["service.name"] == "deployer"


def test_the_metrics_tell_weight_verdicts_latency_evidence_and_durations(told: Collector) -> None:
    last = {metric.name: metric for metric in told.metrics}
    assert set(last) >= {
        "deployer.weight",
        "deployer.verdicts",
        "deployer.p95",
        "deployer.error_rate",
        "deployer.requests",
        "deployer.phase.duration",
        "deployer.platform.call.duration",
    }
    (weight,) = last["deployer.weight"].gauge.data_points
    assert weight.as_int == 100
    roles = {attributes(point.attributes)["deployer.role"] for point in last["deployer.p95"].gauge.data_points}
    assert roles == {"candidate", "stable"}
    calls = {
        attributes(point.attributes)["deployer.call"]
        for point in last["deployer.platform.call.duration"].histogram.data_points
    }
    assert {"observe", "set_traffic", "create_deployment"} <= calls


def test_a_run_that_goes_on_after_a_crash_is_in_the_same_trace(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        observed(world, otlp(collector), monkeypatch, [])
    assert "rollout digits" not in by_name(collector)
    world.revive()
    observed(world, otlp(collector), monkeypatch, [], take_over=True)
    spans = by_name(collector)
    (root,) = spans["rollout digits"]
    assert len(spans["run"]) == 2
    assert {run.parent_span_id for run in spans["run"]} == {root.span_id}
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    killed = min(spans["run"], key=lambda span: span.start_time_unix_nano)
    assert killed.status.code == 2


@pytest.mark.parametrize("kind", ["hangs", "refuses", "is gone"])
def test_a_collector_that_does_not_take_it_costs_seconds_and_a_note(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(otel, "FLUSH_S", 0.4)
    collector.hangs, collector.status = kind == "hangs", 400
    env = {OTLP: "http://127.0.0.1:1"} if kind == "is gone" else otlp(collector)
    world, notes, began = World(tmp_path), list[str](), monotonic()
    observed(world, env, monkeypatch, notes)
    assert monotonic() - began < 60
    assert world.traffic() == {"green": 100}
    assert notes
    assert all(note.startswith("OpenTelemetry: ") and "127.0.0.1" not in note for note in notes)


def test_application_insights_gets_the_same_by_connection_string(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ikey = "00000000-0000-0000-0000-0000000000aa"
    env = {AZURE: f"InstrumentationKey={ikey};IngestionEndpoint=http://127.0.0.1:{collector.port}/"}
    notes: list[str] = []
    observed(World(tmp_path), env, monkeypatch, notes)
    assert notes == []
    kinds = {each["data"]["baseType"] for each in collector.envelopes}
    assert {"RequestData", "RemoteDependencyData", "MetricData"} & kinds >= {"RemoteDependencyData", "MetricData"}
    trace_id, _ = ids_of("r1")
    operations = {
        each["tags"].get("ai.operation.id") for each in collector.envelopes if "ai.operation.id" in each["tags"]
    }
    assert operations == {f"{trace_id:032x}"}
    assert {each["iKey"] for each in collector.envelopes} == {ikey}


def test_a_connection_string_that_cannot_be_read_is_a_note_without_it(tmp_path: Path) -> None:
    notes: list[str] = []
    assert observing(World(tmp_path).site(), "local", notes.append, {AZURE: f"Nonsense={KEY}"}) is None
    (note,) = notes
    assert note.startswith("nothing is exported to OpenTelemetry: ")
    assert KEY not in note


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_BSP_MAX_QUEUE_SIZE", "256"), ("OTEL_METRICS_EXEMPLAR_FILTER", "always")]
)
def test_a_setting_that_the_sdk_refuses_is_a_note_and_leaves_the_loggers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    loggers = [logging.getLogger(each) for each in otel._LOGGERS]
    before = [(list(each.handlers), each.propagate) for each in loggers]
    notes: list[str] = []
    env = {OTLP: "http://127.0.0.1:1"}
    assert observing(World(tmp_path).site(), "local", notes.append, env) is None
    (note,) = notes
    assert note.startswith("nothing is exported to OpenTelemetry: ValueError")
    assert [(list(each.handlers), each.propagate) for each in loggers] == before


def test_nothing_of_it_is_imported_when_nobody_asks() -> None:
    code = (
        "import sys, deployer.cli, deployer.wiring.notify, deployer.notify.notifier\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'opentelemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"


def test_a_note_is_said_once_however_often_an_exporter_complains() -> None:
    said: list[str] = []
    heard = otel._Heard(said.append)
    for _ in range(3):
        heard.emit(logging.LogRecord("opentelemetry.x", logging.ERROR, "f", 1, "to %s", (KEY,), None))
    assert said == ["OpenTelemetry: spans or metrics of this rollout could not be exported (opentelemetry.x)"]
    assert Quiet().on_note("") is None
