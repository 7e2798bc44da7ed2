"""Output: words for people, one strict JSON document for machines, and nobody who stops reading stops a rollout."""

from __future__ import annotations

import json
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from told import PROMOTED, tell

from deployer.errors import ExitCode, PlanError
from deployer.report.listeners import Lines, LiveTree, Quiet
from deployer.report.output import Output, document

ERROR = PlanError("another rollout is running (vm/1/1)", hint="Wait for it.")


class Terminal(StringIO):
    """A stdout that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_result_is_words_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).result({"exit_code": 0}, "promoted: green has 100%", "bold green")
    assert capsys.readouterr() == ("promoted: green has 100%\n", "")


def test_a_result_is_one_json_document_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).result({"exit_code": 0, "text": "é \x1b"}, "promoted")
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"exit_code": 0, "text": "é \x1b"}, "")
    assert "\x1b" not in out


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_is_strict(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        document({"p95": number})


def test_json_holds_no_command_to_a_ci_system() -> None:
    record = {"text": "##vso[task.complete]x", "more": "::set-output x", "##[group]": 1}
    written = document(record)
    assert json.loads(written) == record
    assert "##" not in written
    assert not any(line.lstrip().startswith("::") for line in written.split("\n"))


def test_an_error_goes_to_stderr_with_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).error(ERROR)
    assert capsys.readouterr() == ("", "error: another rollout is running (vm/1/1)\n  next: Wait for it.\n")


def test_an_error_is_also_the_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).error(ERROR)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"message": ERROR.message, "hint": ERROR.hint}, "exit_code": 5}
    assert err.startswith("error: ")


def test_an_error_without_a_hint_has_no_next(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).error(PlanError("no", hint=""))
    assert capsys.readouterr().err == "error: no\n"


def test_a_bug_is_told_in_one_line_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).bug(KeyError("x"))
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == ExitCode.BUG
    assert err.startswith("bug: KeyError('x')\n  next: check where traffic stands")
    assert "Traceback" not in err


@pytest.mark.parametrize("as_json", [False, True])
def test_text_from_outside_is_harmless_in_errors(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    Output(as_json=as_json).error(PlanError("[bold]a[/] :smile: \x1b[2J\n::error::x", hint="\u202e##vso[x]y"))
    out, err = capsys.readouterr()
    assert "[bold]a[/] :smile:" in err
    assert not {"\x1b", "\u202e", "##vso["} & set(err.split()) | ({"\x1b"} & set(out + err))
    assert not any(line.startswith("::") for line in err.split("\n"))


# ---- how a running rollout is shown


def test_a_terminal_gets_the_tree_a_log_gets_lines_and_json_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert type(Output(as_json=False).listener()) is Lines
    assert type(Output(as_json=True).listener()) is Quiet
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert type(Output(as_json=False).listener()) is LiveTree
    assert type(Output(as_json=True).listener()) is Quiet


def test_a_terminal_that_cannot_be_redrawn_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert type(Output(as_json=False).listener()) is Lines


def test_colours_asked_for_in_a_log_do_not_make_it_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert type(Output(as_json=False).listener()) is Lines


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, no_color: str, *, coloured: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    Output(as_json=False).result({}, "promoted", "green")
    assert ("\x1b[32m" in terminal.getvalue()) is coloured
    assert "promoted" in terminal.getvalue()


def test_a_drawing_in_a_file_is_wide_and_has_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table.grid()
    table.add_row("x" * 119)
    Output(as_json=False).drawing(table)
    Output(as_json=False).drawing("y   ")
    assert capsys.readouterr().out == f"{'x' * 119}\ny\n"


def test_a_drawing_on_a_terminal_is_as_wide_as_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    Output(as_json=False).drawing("word " * 20)
    assert max(map(len, terminal.getvalue().splitlines())) <= 40


# ---- streams that break


class Broken:
    """A pipe whose reader has left, or a disk that is full, as stdout."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
        if target == "pipe":
            reader, writer = os.pipe()
            os.close(reader)
        else:
            writer = os.open("/dev/full", os.O_WRONLY)
        self.stream = os.fdopen(writer, "w", encoding="utf-8")
        monkeypatch.setattr(sys, "stdout", self.stream)


@pytest.mark.parametrize("target", ["pipe", "full"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_rollout_goes_on_when_nobody_can_be_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: str, *, as_json: bool
) -> None:
    broken = Broken(monkeypatch, target)
    out = Output(as_json=as_json)
    with out.listener() as listener:
        for state, event, at in tell(*PROMOTED):
            listener.on_event(state, event, at)
            listener.on_note("x" * 10_000)
    out.result({"exit_code": 0, "text": "x" * 100_000}, "promoted")
    broken.stream.close()  # what is left in its buffer must not fail either
    said = capsys.readouterr().err
    assert ("No space left" in said) is (target == "full")


def test_a_drawing_that_nobody_takes_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(monkeypatch, "pipe")
    Output(as_json=False).drawing("x" * 100_000)
    broken.stream.close()


def test_a_closed_stdout_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = StringIO()
    monkeypatch.setattr(sys, "stdout", gone)
    out = Output(as_json=False)
    gone.close()
    out.result({}, "promoted")


def test_a_process_without_stdout_and_stderr_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    out = Output(as_json=False)
    assert type(out.listener()) is Lines
    out.result({}, "promoted")
    out.error(ERROR)


def test_a_terminal_without_unicode_gets_question_marks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="latin-1") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        Output(as_json=False).result({}, "→ blue ✔")
    assert (tmp_path / "out").read_text() == "? blue ?\n"


def test_the_exit_code_of_an_error_is_the_one_of_its_class() -> None:
    record: dict[str, Any] = {}

    class Spy(Output):
        def result(self, record_: Any, text: str, style: str = "") -> None:
            record.update(record_)

    Spy(as_json=True).error(ERROR)
    assert record["exit_code"] == ExitCode.REFUSED
