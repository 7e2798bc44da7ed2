"""Listeners: plain lines for logs, the live tree for terminals, silence for machines."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console
from told import (
    FAIL,
    JUDGING,
    MIRRORED,
    PASS,
    PHASES,
    PROMOTED,
    STYLE,
    T0,
    UNPROVEN,
    endpoint,
    reason,
    tell,
    verdict,
)

from deployer.gate.verdict import Result, Verdict
from deployer.report.listeners import Lines, LiveTree, Quiet
from deployer.rollout.actions import Judge, SetWeight, Wait
from deployer.rollout.events import Advanced, Event, Judged, Shifted
from deployer.rollout.machine import evolve
from deployer.rollout.model import Phase, Rollout
from deployer.rollout.pace import Usual


class Log:
    """A listener of lines and what it printed, the time cut off."""

    def __init__(self) -> None:
        self.file = StringIO()
        self.lines = Lines(Console(file=self.file, emoji=False))

    def hear(self, *events: Event, since: datetime = T0) -> Rollout:
        told = tell(*events, since=since)
        for state, event, at in told:
            self.lines.on_event(state, event, at)
        return told[-1][0]

    def judge(self, state: Rollout, found: Verdict, second: float) -> Rollout:
        at = T0 + timedelta(seconds=second)
        after = evolve(state, Judged(found, "e"), at)
        self.lines.on_event(after, Judged(found, "e"), at)
        return after

    def take(self) -> list[str]:
        """Lines since the last call, without their time."""
        said = self.file.getvalue().split("\n")[:-1]
        self.file.seek(0)
        self.file.truncate()
        return [line[10:] for line in said]


@pytest.fixture
def log() -> Log:
    return Log()


def looking(log: Log) -> Rollout:
    state = log.hear(*MIRRORED, Shifted(20, 0))
    log.take()
    return state


def test_every_line_begins_with_the_time_and_the_kind(log: Log) -> None:
    log.hear(*PROMOTED)
    for line in log.file.getvalue().splitlines():
        assert line[:8] == " " * 8 or datetime.strptime(line[:8], "%H:%M:%S")  # noqa: DTZ007 - a time of day
        assert line[18:20] == "  " or line[10:19].strip()


def test_a_whole_rollout_is_a_short_log(log: Log) -> None:
    log.hear(*PROMOTED)
    lines = log.take()
    assert len(lines) < 25
    assert max(map(len, lines)) <= 120
    assert lines[-1].split() == ["retire", "blue", "deleted"]


def test_an_unchanged_verdict_is_said_again_after_ten_seconds_and_not_before(log: Log) -> None:
    state = looking(log)
    for second in range(100, 131):
        state = log.judge(state, UNPROVEN, second)
    said = [line for line in log.take() if "inconclusive" in line]
    assert len(said) == 4  # at 100, 110, 120 and 130


def test_the_reason_is_not_said_again_while_it_is_the_same(log: Log) -> None:
    state = looking(log)
    for second in (100, 110, 120):
        state = log.judge(state, UNPROVEN, second)
    assert sum("58 of the 100" in line for line in log.take()) == 1


def test_a_new_reason_is_said_with_the_next_line(log: Log) -> None:
    other = verdict(Result.INCONCLUSIVE, reason("p95", Result.INCONCLUSIVE, "p95 not yet proven", needed=10))
    state = log.judge(looking(log), UNPROVEN, 100)
    log.judge(state, other, 110)
    assert any("p95 not yet proven" in line for line in log.take())


def test_a_changed_verdict_is_said_at_once(log: Log) -> None:
    state = log.judge(looking(log), UNPROVEN, 100)
    log.take()
    log.judge(state, FAIL, 101)
    assert "fail: 66 requests" in log.take()[0]


def test_the_first_verdict_of_a_step_is_said_with_its_reason(log: Log) -> None:
    state = log.judge(looking(log), UNPROVEN, 100)
    after = evolve(state, Advanced("promote by ann"), T0 + timedelta(seconds=101))
    log.lines.on_event(after, Advanced("promote by ann"), T0 + timedelta(seconds=101))
    log.take()
    log.judge(after, UNPROVEN, 102)
    assert "58 of the 100" in log.take()[1]


def test_what_the_gate_said_is_not_repeated(log: Log) -> None:
    log.hear(*JUDGING, Judged(PASS, "e"), Advanced(PASS.text))
    assert log.take()[-1] == "advance   20% passed, next: pause 10m"


def test_what_is_waited_for_is_said_once(log: Log) -> None:
    state = log.hear(*PHASES[Phase.DEPLOYING])
    log.take()
    for why in ("green-0: starting", "green-0: starting", "next look of the gate", "green-0: loading"):
        log.lines.on_look(state, endpoint(), Wait(T0, why), T0)
    log.lines.on_look(state, endpoint(), Judge(), T0)
    assert log.take() == ["wait      green-0: starting", "wait      green-0: loading"]


def test_a_long_wait_says_how_long_it_lasts_and_how_long_it_usually_takes(log: Log) -> None:
    state = log.hear(*PHASES[Phase.DEPLOYING])
    log.take()
    log.lines.on_usual(Usual(deploy_s=580.0, shift_s=70.0))
    for second in range(0, 200, 5):
        now = state.entered_at + timedelta(seconds=second)
        log.lines.on_look(state, endpoint(), Wait(now, "green: the image is being built"), now)
    assert log.take() == [
        "wait      green: the image is being built (usually 9m40s)",
        "wait      green: the image is being built (1m, usually 9m40s)",
        "wait      green: the image is being built (2m, usually 9m40s)",
        "wait      green: the image is being built (3m, usually 9m40s)",
    ]


def test_a_wait_of_unknown_length_says_how_long_it_lasts(log: Log) -> None:
    state = log.hear(*PHASES[Phase.DEPLOYING])
    log.take()
    for second in (0, 90):
        now = state.entered_at + timedelta(seconds=second)
        log.lines.on_look(state, endpoint(), Wait(now, "green-0: starting"), now)
    assert log.take() == ["wait      green-0: starting", "wait      green-0: starting (1m30s)"]


@pytest.mark.parametrize(
    ("shift_s", "said"), [(70.0, ["writing traffic and reading it back (usually 1m10s)"]), (0.1, [])]
)
def test_a_write_of_traffic_that_takes_long_is_said(log: Log, shift_s: float, said: list[str]) -> None:
    state = log.hear(*PHASES[Phase.SHIFTING])
    log.take()
    log.lines.on_usual(Usual(shift_s=shift_s))
    log.lines.on_look(state, endpoint(), SetWeight(20, 0), T0)
    assert log.take() == [f"wait      {line}" for line in said]


def test_the_same_note_is_said_once(log: Log) -> None:
    for text in ("watching", "watching", "load is late", "watching"):
        log.lines.on_note(text)
    assert log.take() == ["note      watching", "note      load is late", "note      watching"]


def test_many_lines_stay_together_and_no_text_is_markup(log: Log) -> None:
    log.lines.on_note("[bold]one[/]\n  :smile:\n\x1b[31mthree")
    assert log.take() == [
        "note      [bold]one[/]",
        "            :smile:",
        "          \N{REPLACEMENT CHARACTER}[31mthree",
    ]


def test_no_log_line_is_a_command_to_a_ci_system(log: Log) -> None:
    log.lines.on_note("x\n::set-output name=a::b\n##vso[task.complete]y")
    assert not any(line.lstrip().startswith("::") or "##vso[" in line for line in log.take())


def test_a_very_long_line_is_not_wrapped(log: Log) -> None:
    log.lines.on_note("word " * 400)
    assert len(log.take()) == 1


def test_a_quiet_listener_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Quiet() as quiet:
        for state, event, at in tell(*PROMOTED):
            quiet.on_event(state, event, at)
            quiet.on_look(state, endpoint(), Judge(), at)
        quiet.on_note("x")
    assert capsys.readouterr() == ("", "")


# ---- the live tree


def screen(*, colour: bool = False) -> Console:
    system = "standard" if colour else None
    return Console(file=StringIO(), width=110, height=50, force_terminal=True, color_system=system, no_color=not colour)


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_live_tree_leaves_the_last_tree_on_the_screen() -> None:
    console = screen()
    with LiveTree(console) as live:
        for state, event, at in tell(*PROMOTED):
            live.on_event(state, event, at)
            live.on_look(state, endpoint({"green": 100}), Judge(), at)
    last = STYLE.sub("", shown(console)).rsplit("promoted", 1)[1]
    assert "✔ retire blue" in last
    assert "blue deleted" in last


def test_the_cursor_comes_back_even_when_the_rollout_breaks() -> None:
    console = screen()

    def broken() -> None:
        with LiveTree(console) as live:
            state, event, at = tell()[0]
            live.on_event(state, event, at)
            raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        broken()
    assert shown(console).count("\x1b[?25l") == shown(console).count("\x1b[?25h") == 1


def test_notes_are_shown_before_there_is_a_tree_and_below_it() -> None:
    console = screen()
    with LiveTree(console) as live:
        live.on_note("watching whether vm/1/1 still runs")
        assert "watching whether" in shown(console)
        state, event, at = tell(*JUDGING)[-1]
        live.on_event(state, event, at)
    assert shown(console).rindex("watching whether") > shown(console).rindex("retire blue")


def test_only_the_latest_notes_stay() -> None:
    console = screen()
    with LiveTree(console) as live:
        for number in range(9):
            live.on_note(f"note {number}")
        live.on_note("note 8")
    last = shown(console).rsplit("note 6", 1)[1]
    assert "note 8" in last
    assert "note 5" not in last


def test_what_is_waited_for_is_in_the_tree_until_something_happens() -> None:
    console = screen()
    state, event, at = tell(*JUDGING)[-1]
    with LiveTree(console) as live:
        live.on_event(state, event, at)
        live.on_look(state, endpoint(), Wait(at, "traffic differs: is it an edit?"), at)
        live.on_look(state, endpoint(), Wait(at, "next look of the gate"), at)
    assert "traffic differs" not in shown(console).rsplit("judging", 1)[1]


def test_the_tree_says_how_long_a_deployment_usually_takes() -> None:
    console = screen()
    state, event, at = tell(*PHASES[Phase.DEPLOYING])[-1]
    with LiveTree(console) as live:
        live.on_usual(Usual(deploy_s=580.0))
        live.on_event(state, event, at)
        live.on_look(state, endpoint(), Wait(at, "green: pulling the image"), at)
    assert "usually 9m40s" in shown(console)


def test_a_listener_that_has_nothing_to_say_draws_nothing() -> None:
    console = screen()
    with LiveTree(console):
        pass
    assert shown(console) == ""


def test_no_color_is_honoured_and_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def colours(console: Console) -> bool:
        with LiveTree(console) as live:
            told = tell(*JUDGING)
            live.on_event(*told[-1])
        return any(code in shown(console) for code in ("\x1b[1;36m", "\x1b[33m", "\x1b[32m"))

    assert colours(screen(colour=True))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert not colours(Console(file=StringIO(), width=110, force_terminal=True))
    monkeypatch.delenv("NO_COLOR")
    assert colours(Console(file=StringIO(), width=110, force_terminal=True))
    plain = StringIO()
    with LiveTree(Console(file=plain, width=110)) as live:
        live.on_event(*tell(*JUDGING)[-1])
    assert "\x1b" not in plain.getvalue()


def test_a_tree_taller_than_the_screen_is_whole_at_the_end() -> None:
    console = Console(file=StringIO(), width=110, height=5, force_terminal=True, color_system=None)
    with LiveTree(console) as live:
        live.on_event(*tell(*JUDGING)[-1])
    assert "retire blue" in shown(console)


def test_the_last_judged_numbers_are_those_of_the_latest_look() -> None:
    console = screen()
    told = tell(*JUDGING)
    state, event, at = told[-1]
    later = replace(UNPROVEN, candidate=replace(UNPROVEN.candidate, requests=4321))
    with LiveTree(console) as live:
        live.on_event(state, event, at)
        live.on_event(evolve(state, Judged(later, "e"), at), Judged(later, "e"), at)
    assert "4,321 requests" in shown(console).rsplit("judging", 1)[1]
