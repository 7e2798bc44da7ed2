"""Who is told of a command on an endpoint that was reached by its name: whoever the latest manifest names."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
from doubles.webhook import Receiver, receiving
from unit.report.told import T0, plan

from deployer.errors import ExitCode
from deployer.notify import aside, late
from deployer.ports.store import Entry
from deployer.report.listeners import Quiet
from deployer.rollout.ending import Ended
from deployer.rollout.events import Started, to_record
from deployer.stores.file import FileJournal
from deployer.wiring.notify import told
from deployer.wiring.sites import home, reach

EXAMPLES = Path(__file__).parents[3] / "manifests" / "local"
NOTIFY = """
env: [HOOK, SECRET]
notify:
  - {webhook: "${HOOK}", format: generic, secret: "${SECRET}"}
"""
DONE = Ended(ExitCode.OK, "rolled back: blue has 100%, verified in 0.1s")


class Heard(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def manifest(folder: Path) -> Path:
    shutil.copytree(EXAMPLES, folder / "local", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "local" / "quickstart.yaml"
    path.write_text(path.read_text() + NOTIFY)
    return path


def started(path: Path) -> None:
    journal = FileJournal(home() / "journal" / "local" / "digits")
    journal.append("20260101T000000-abcd", Entry(T0, "ann", to_record(Started(plan(), str(path)))))


def test_a_rollback_by_name_tells_who_the_latest_manifest_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(manifest(tmp_path))
    with receiving(Receiver()) as receiver:
        monkeypatch.setenv("HOOK", receiver.url)
        monkeypatch.setenv("SECRET", "planted" + "-secret-0123456789")
        heard = Heard()
        with told(heard, reach("digits", where={"platform": "local"}), {}) as (listener, _):
            listener.on_done(DONE)
    assert [body["type"] for body in receiver.bodies] == ["rollout.rolled_back"]
    assert heard.notes == []


def test_a_manifest_that_cannot_be_read_any_more_is_a_note(tmp_path: Path) -> None:
    started(tmp_path / "gone.yaml")
    heard = Heard()
    with told(heard, reach("digits", where={"platform": "local"}), {}) as (listener, _):
        listener.on_done(DONE)
    (note,) = heard.notes
    assert note.startswith("nobody else is told: ")


def test_a_damaged_journal_is_a_note_and_stops_nothing(tmp_path: Path) -> None:
    started(tmp_path / "gone.yaml")
    (home() / "journal" / "local" / "digits" / "20260101T000000-abcd.jsonl").write_text("{}\n")
    heard = Heard()
    with told(heard, reach("digits", where={"platform": "local"}), {}) as (listener, _):
        listener.on_done(DONE)
    (note,) = heard.notes
    assert note.startswith("nobody else is told: ")
    assert "does not match its hash" in note


def test_a_collector_without_the_extra_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deployer.notify.otel", None)
    heard = Heard()
    reached = reach("digits", where={"platform": "local"})
    with told(heard, reached, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}):
        pass
    (note,) = heard.notes
    assert note.endswith("run `python -m pip install -e '.[otel]'`.")


def test_no_call_of_the_platform_waits_for_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    may_import = threading.Event()
    seen: list[str] = []

    class Slow(ModuleType):
        @property
        def observing(self) -> object:
            may_import.wait(60.0)
            return lambda *_: Seen()

    class Seen(Quiet):
        def was_called(self, name: str, at_ns: int, seconds: float, failed: str) -> None:
            seen.append(name)

    monkeypatch.setitem(sys.modules, "deployer.notify.otel", Slow("otel"))
    heard, reached = Heard(), reach("digits", where={"platform": "local"})
    with told(heard, reached, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) as (_, watched):
        watched.site.platform.observe()
        assert seen == []
        may_import.set()
    assert seen == ["observe"]
    assert heard.notes == []


def test_an_import_that_fails_in_any_way_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        @property
        def observing(self) -> object:
            raise ValueError

    monkeypatch.setitem(sys.modules, "deployer.notify.otel", Broken("otel"))
    heard, reached = Heard(), reach("digits", where={"platform": "local"})
    with told(heard, reached, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) as (_, watched):
        watched.site.platform.observe()
    assert heard.notes == ["nothing is exported to OpenTelemetry: ValueError while it was imported"]


def test_an_observer_that_is_never_made_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "WAIT_S", 0.05)
    never, notes = threading.Event(), list[str]()

    def make() -> None:
        never.wait(60.0)

    with late.Late(make, notes.append) as listener:
        for _ in range(aside.WAITING + 2):
            listener.called("observe", lambda: None)
    never.set()
    assert notes == [
        "OpenTelemetry: too much waits to be traced: some of it is left out",
        "OpenTelemetry: the last spans or metrics could not be exported in time, left",
    ]


def test_a_machine_without_a_thread_left_calls_the_platform_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", refuse)
    notes: list[str] = []
    with late.Late(lambda: None, notes.append) as listener:
        assert [listener.called("observe", lambda: 7) for _ in range(2)] == [7, 7]
    assert notes == ["OpenTelemetry: something of this rollout could not be traced (RuntimeError)"]


@pytest.mark.parametrize("env", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "TRUE"}])
def test_nothing_is_traced_unless_it_is_asked_for(env: dict[str, str]) -> None:
    reached = reach("digits", where={"platform": "local"})
    with told(Quiet(), reached, env) as (_, same):
        assert same is reached
