"""``status``: one look, or the whole way to the end, on a terminal, in a log and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from doubles.telemetry import ManualClock
from told import BAKING, JUDGING, PAUSED, PHASES, PROMOTED, RETIRING, T0, deployment, drawn, endpoint, tell

from deployer.errors import ExitCode
from deployer.ports.views import Status
from deployer.report.output import Output
from deployer.report.status import _Life, render, show_status, status_record
from deployer.report.tags_tree import age
from deployer.rollout.endpoint import DeploymentState
from deployer.rollout.model import Phase
from deployer.rollout.pace import Usual
from deployer.rollout.tags import LEASE, Marks, Revision

RUNNER = "vm-1.example.4026531836/4711/1700000000000"


def status(phase: Phase, *, runner: str | None = RUNNER, journal: bool = True, **over: object) -> Status:
    told = tell(*PHASES[phase])
    state = told[-1][0]
    marks = Marks("20260101T000000-abcd", phase, state.position, "green", "new", "blue", "spec")
    found = endpoint(dict(state.traffic), **over)  # type: ignore[arg-type]
    good = Revision(2, "blue", "old", T0)
    return Status(found, marks, runner, good, Revision(1, "green", "older", T0), tuple(told) if journal else ())


def idle() -> Status:
    return Status(endpoint({"blue": 100}, deployment("blue")), None, None, None, None, ())


class Terminal(StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def looks(*found: Status) -> Iterator[Status]:
    yield from found
    raise AssertionError("looked after the end")


def show(found: Iterator[Status], *, watch: bool, as_json: bool = False, clock: ManualClock | None = None) -> ExitCode:
    return show_status(lambda: next(found), clock or ManualClock(T0), Output(as_json=as_json), watch=watch)


def test_one_look_shows_the_tree_and_the_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(looks(status(Phase.JUDGING)), watch=False) is ExitCode.OK
    out = capsys.readouterr().out
    assert "● 20%" in out
    assert "digits  http://127.0.0.1:1/score\n  traffic    blue 80%, green 20%\n" in out
    assert "  green      ready, 1/1 instances\n" in out
    assert "  last good  blue (revision 2, since 2026-01-01 00:00)\n" in out
    assert "  before it  green (revision 1, " in out
    assert "  run by     process 4711 on vm-1.example\n" in out


@pytest.mark.parametrize(("owner", "said"), [("vm/1/2", "process 1 on vm"), ("odd", "odd"), ("a/b/c", "a/b/c")])
def test_who_runs_it_is_told_in_words(owner: str, said: str) -> None:
    assert f"run by     {said}" in drawn(render(status(Phase.JUDGING, runner=owner), ManualClock(T0)))


def test_an_endpoint_without_a_rollout_is_shown_alone() -> None:
    text = drawn(render(idle(), ManualClock(T0)))
    assert text.split("\n")[0] == "digits  http://127.0.0.1:1/score"
    assert "last good" not in text


def test_a_rollout_whose_journal_is_elsewhere_is_told_from_the_tags() -> None:
    text = drawn(render(status(Phase.BAKING, journal=False), ManualClock(T0)))
    assert text.startswith("digits  blue → green  baking  started 0ms ago  20260101T000000-abcd\n├── step 9\n")
    assert "candidate  green  100%  1/1 ready" in text
    assert "its journal is on another machine" in text


def test_a_rollout_that_nobody_runs_says_what_to_do() -> None:
    text = drawn(render(status(Phase.JUDGING, runner=None), ManualClock(T0)))
    assert "nobody runs this rollout now: deployer rollout MANIFEST goes on, deployer recover or abort ends it" in text
    assert "nobody runs" not in drawn(render(status(Phase.PROMOTED, runner=None), ManualClock(T0)))


def test_a_finished_rollout_keeps_its_time_and_a_running_one_counts() -> None:
    later = ManualClock(T0)
    later.advance(7200)
    assert "promoted  38s" in drawn(render(status(Phase.PROMOTED), later))
    assert "judging  2h of at most 1h" in drawn(render(status(Phase.JUDGING), later))


def test_mirroring_and_trouble_are_shown() -> None:
    odd = status(Phase.JUDGING, mirror={"green": 10})
    failed = deployment("green", DeploymentState.FAILED, "[bold]init\x1b[2J raised")
    text = drawn(render(odd, ManualClock(T0)))
    assert "  mirror     green 10%" in text
    broken = Status(endpoint(None, failed), None, None, None, None, ())
    assert "failed, 0/1 instances  [bold]init\N{REPLACEMENT CHARACTER}[2J raised" in drawn(
        render(broken, ManualClock(T0))
    )


def test_watching_a_log_prints_each_event_once_and_then_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock(T0)
    found = looks(
        status(Phase.JUDGING), status(Phase.JUDGING), status(Phase.BAKING), status(Phase.PROMOTED, runner=None)
    )
    assert show(found, watch=True, clock=clock) is ExitCode.OK
    out = capsys.readouterr().out
    assert len(tell(*JUDGING)) < len(tell(*BAKING)) < len(tell(*RETIRING)) < len(tell(*PROMOTED))
    assert out.count("start     rollout") == out.count("shift     green 100%, verified") == 1
    assert out.count("retire    blue deleted") == 1
    assert out.index("retire    blue deleted") < out.index("digits  blue → green  promoted")
    assert clock.now() > T0


def test_watching_as_json_is_one_document_of_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    show(looks(status(Phase.JUDGING), status(Phase.PROMOTED, runner=None)), watch=True, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["phase"], found["active"], found["traffic"]) == ("promoted", False, {"green": 100})


def test_watching_on_a_terminal_redraws_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    show(looks(status(Phase.JUDGING), status(Phase.BAKING), status(Phase.PROMOTED, runner=None)), watch=True)
    got = terminal.getvalue()
    assert "blue deleted" in got
    assert got.count("\x1b[?25l") == got.count("\x1b[?25h") == 1


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "found",
    [idle(), status(Phase.PROMOTED), status(Phase.PAUSED, runner=None), status(Phase.JUDGING, runner=None)],
    ids=["no rollout", "ended", "paused", "nobody runs it"],
)
def test_watching_what_nobody_runs_ends_at_once(found: Status, *, as_json: bool) -> None:
    assert show(looks(found), watch=True, as_json=as_json) is ExitCode.OK
    assert len(tell(*PAUSED)) > 1


@pytest.mark.parametrize("phase", list(Phase))
def test_status_is_strict_json_in_every_phase(phase: Phase) -> None:
    found = json.loads(json.dumps(status_record(status(phase)), allow_nan=False))
    assert found["phase"] == found["rollout"]["phase"] == phase.value
    assert found["deployments"]["green"]["instances_ready"] == 1
    assert (found["good"], found["previous"], found["runner"]) == ("blue", "green", RUNNER)


def test_status_of_an_idle_endpoint_has_no_rollout() -> None:
    found = status_record(idle())
    assert (found["active"], found["phase"], found["rollout"], found["good"]) == (False, None, None, None)


def later(seconds: float) -> ManualClock:
    return ManualClock(T0 + timedelta(seconds=seconds))


def test_each_deployment_says_how_old_it_is() -> None:
    found = status(Phase.JUDGING)
    old = replace(found.endpoint.deployments["blue"], created_at=T0 - timedelta(days=3, hours=4, minutes=5))
    aged = replace(found, endpoint=replace(found.endpoint, deployments={"blue": old}))
    assert "  blue       ready, 1/1 instances, 3d4h old\n" in drawn(render(aged, ManualClock(T0)))


def test_what_is_waited_for_and_how_long_it_usually_takes_are_said() -> None:
    found = status(Phase.DEPLOYING)
    text = drawn(render(found, later(10), Usual(deploy_s=600.0)))
    assert "usually 10m" in text


def test_a_runner_without_a_sign_of_life_is_told_of() -> None:
    assert "no sign of life" not in drawn(render(status(Phase.JUDGING), ManualClock(T0), silent_s=59))
    text = drawn(render(status(Phase.JUDGING), ManualClock(T0), silent_s=90))
    assert "run by     process 4711 on vm-1.example, no sign of life for 1m30s" in text


def test_life_is_seen_by_what_changes_in_the_lease() -> None:
    clock = ManualClock(T0)
    found = status(Phase.JUDGING)
    beats = [replace(found, endpoint=replace(found.endpoint, tags={LEASE: f"vm/1/2|1|{beat}"})) for beat in (1, 1, 2)]
    life, seen = _Life(clock), []
    for each in beats:
        clock.advance(30)
        seen.append(life.silent_s(each))
    assert seen == [0, 30, 0]


def test_the_manifest_shows_the_steps_of_a_rollout_whose_journal_is_elsewhere() -> None:
    found = status(Phase.JUDGING)
    state = found.steps[-1][0]
    sketched = replace(found, steps=(), sketch=replace(state, phase=Phase.SHIFTING, verdict=None))
    text = drawn(render(sketched, ManualClock(T0)))
    assert "✔ smoke" in text
    assert "● 20%" in text
    assert "○ 100% and bake" in text
    assert "candidate  green  20%  1/1 ready" in text
    assert "requests" not in text
    assert "a journal on another machine" in text


def test_without_a_journal_a_log_gets_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    first, then = status(Phase.SHIFTING, journal=False), status(Phase.BAKING, journal=False)
    ended = status(Phase.PROMOTED, journal=False, runner=None)
    show(looks(first, first, then, then, ended), watch=True)
    lines = [line for line in capsys.readouterr().out.split("\n") if ", step " in line]
    assert [line[10:].split(",")[0] for line in lines] == ["shifting or judging", "baking", "promoted"]


@pytest.mark.parametrize(("seconds", "said"), [(5, "5s"), (125, "2m5s"), (3725, "1h2m"), (90061, "1d1h"), (-3, "0ms")])
def test_an_age_has_two_units(seconds: int, said: str) -> None:
    assert age(T0, T0 + timedelta(seconds=seconds)) == said
