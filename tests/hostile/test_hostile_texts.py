"""Hostile texts in every field, through every way out: shown harmlessly everywhere."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from golden.report.kept import FAILED, case
from hostile import corpus
from rich.console import Console

from deployer.errors import DeployerError, ExitCode
from deployer.manifest.problems import Problem
from deployer.ports.inspection import Check, CheckState
from deployer.ports.views import Past
from deployer.report.ci import AzurePipelines, GitHub, outputs_of
from deployer.report.doctor import checks_drawing, checks_record, checks_text
from deployer.report.listeners import Lines
from deployer.report.output import Output, document
from deployer.report.problems import render
from deployer.report.records import history_record, history_text, plan_record, plan_text, state_record
from deployer.report.rollout.junit import junit_of
from deployer.report.rollout.page import page_of
from deployer.report.rollout.record import record_of
from deployer.report.rollout.text import explained, markdown_of
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.rollout.events import (
    Cleaned,
    Event,
    GaveUp,
    GotStuck,
    Paused,
    Requested,
    RequestIgnored,
    Retired,
    Reverted,
    RevertFailed,
    Smoked,
    UnreadyNoticed,
    Warmed,
)
from deployer.rollout.model import Outcome, Phase

HOSTILE = pytest.mark.parametrize("text", corpus.TEXTS.values(), ids=corpus.TEXTS)


@cache
def told() -> Any:
    return case(FAILED, recompute=False)


@cache
def record() -> dict[str, Any]:
    return record_of(told())


def hostile_state(text: str) -> Any:
    """The last state of a rollout whose names and reasons are all ``text``."""
    final = told().final
    plan = replace(final.plan, rollout_id=text, endpoint=text, candidate=text, stable=text + "'")
    return replace(final, plan=plan, reason=text, warnings=(text,), removed=text, phase=Phase.ROLLED_BACK)


def events(text: str) -> list[Event]:
    logs = f"{text} removed; it last said:\n{text}\nError: {text}"
    return [
        Requested(text, text),
        Smoked(passed=False, text=text),
        Warmed(text, passed=False, text=text),
        Paused(text),
        RequestIgnored(text),
        GaveUp(Outcome.GATE_FAILED, text),
        RevertFailed(text),
        Reverted(text),
        Cleaned(text),
        Cleaned(logs),
        Retired(text),
        UnreadyNoticed(text),
        GotStuck(text),
    ]


def printed(show: Callable[[Output], object], *, as_json: bool = False) -> str:
    """What a command writes to standard output and standard error together."""
    stream = io.StringIO()
    with redirect_stdout(stream), redirect_stderr(stream):
        show(Output(as_json=as_json))
    return stream.getvalue()


def drawn(renderable: Any) -> str:
    canvas = Console(file=io.StringIO(), width=100, emoji=False, highlight=False, color_system=None)
    with canvas.capture() as capture:
        canvas.print(renderable)
    return capture.get()


def lines(text: str) -> str:
    stream = io.StringIO()
    listener = Lines(Console(file=stream, highlight=False, emoji=False, markup=False, color_system=None))
    for event in events(text):
        listener.on_event(hostile_state(text), event, told().told[-1].at)
    listener.on_note(text)
    return stream.getvalue()


def tree_of(text: str) -> str:
    story = Story()
    state = hostile_state(text)
    for event in events(text):
        story.add(state, event, told().told[-1].at)
    return drawn(tree(state, story, None, told().told[-1].at, text, text))


def summary(text: str) -> str:
    return "\n".join(checks_text(checks(text)).split("\n"))


def checks(text: str) -> list[Check]:
    return [Check("identity", state, text, text) for state in CheckState]


def past(text: str) -> list[Past]:
    return [Past(text, told().told[0].at, text, text, "gate_failed", 3.0)]


def planted(text: str) -> dict[str, Any]:
    return corpus.planted(record(), text)


def problems(text: str) -> list[Problem]:
    return [Problem(text, 1, 1, text, text)]


TEXT_OUTPUTS: dict[str, Callable[[str], str]] = {
    "a result": lambda text: printed(lambda out: out.result({}, text)),
    "an error": lambda text: printed(lambda out: out.error(DeployerError(text, hint=text))),
    "a bug": lambda text: printed(lambda out: out.bug(ValueError(text))),
    "explain": lambda text: printed(lambda out: out.result({}, explained(planted(text)))),
    "history": lambda text: printed(lambda out: out.result({}, history_text(past(text)))),
    "plan": lambda text: printed(lambda out: out.result({}, plan_text(hostile_state(text).plan))),
    "doctor": summary,
    "doctor, drawn": lambda text: drawn(checks_drawing(checks(text))),
    "lines": lines,
    "validate": lambda text: render(problems(text), "text"),
}


@HOSTILE
@pytest.mark.parametrize("name", TEXT_OUTPUTS)
def test_no_text_steers_a_terminal_or_a_runner(name: str, text: str) -> None:
    corpus.steers_nothing(TEXT_OUTPUTS[name](text))


@HOSTILE
def test_no_text_steers_a_terminal_that_shows_the_tree(text: str) -> None:
    corpus.steers_no_terminal(tree_of(text))


JSON_OUTPUTS: dict[str, Callable[[str], str]] = {
    "a report": lambda text: document(planted(text)),
    "an error": lambda text: printed(lambda out: out.result({"error": text}, ""), as_json=True),
    "a state": lambda text: document(state_record(hostile_state(text))),
    "a plan": lambda text: document(plan_record(hostile_state(text).plan, 1.0)),
    "history": lambda text: document(history_record(past(text))),
    "doctor": lambda text: document(checks_record(checks(text), ExitCode.REFUSED)),
    "validate": lambda text: render(problems(text), "json"),
    "sarif": lambda text: render(problems(text), "sarif"),
}


@HOSTILE
@pytest.mark.parametrize("name", JSON_OUTPUTS)
def test_json_stays_one_strict_document(name: str, text: str) -> None:
    corpus.is_strict_json(JSON_OUTPUTS[name](text))


@HOSTILE
def test_json_loses_nothing(text: str) -> None:
    assert json.loads(document({"text": text}))["text"] == text


@HOSTILE
def test_a_page_shows_hostile_text_as_text(text: str) -> None:
    page = page_of(planted(text))
    corpus.is_inert_html(page)
    assert corpus.elements(page) <= corpus.elements(page_of(planted("harmless")))


@HOSTILE
def test_markdown_shows_hostile_text_as_text(text: str) -> None:
    corpus.is_inert_markdown(markdown_of(planted(text)))


@HOSTILE
def test_junit_stays_wellformed(text: str) -> None:
    corpus.is_wellformed_xml(junit_of(planted(text)))


@HOSTILE
@pytest.mark.parametrize("runner", ["github", "azure"])
def test_an_annotation_is_one_command_and_no_more(runner: str, text: str) -> None:
    ci = GitHub({}) if runner == "github" else AzurePipelines({})
    said = ci.complain("error", text)
    assert len([line for line in said.split("\n") if line]) == 1
    head = "::error" if runner == "github" else "##vso[task.logissue"
    assert said.startswith(head)
    corpus.steers_nothing(said.removeprefix(head).split("]" if runner == "azure" else "::", 1)[1])


@HOSTILE
def test_validate_annotates_with_one_command_and_no_more(text: str) -> None:
    said = render(problems(text), "github")
    assert said.count("\n") == 1
    assert said.startswith("::error file=")


@HOSTILE
def test_an_output_of_a_job_holds_only_what_it_names(text: str, tmp_path: Any) -> None:
    path = tmp_path / "output"
    values = outputs_of({"exit_code": 10, "text": text, "rollout": state_record(hostile_state(text))})
    GitHub({"GITHUB_OUTPUT": str(path)}).outputs(values)
    written = path.read_text() if path.exists() else ""
    names: list[str] = []
    rest = written.split("\n")
    while rest and rest[0]:
        line = rest.pop(0)
        name, _, end = line.partition("<<") if "<<" in line.split("=")[0] else line.partition("=")
        names.append(name)
        if "<<" in line.split("=")[0]:
            rest = rest[rest.index(end) + 1 :]
    assert set(names) <= values.keys()


def planted_once(text: str) -> dict[str, Any]:
    """A report with a text where logs, messages of a platform and answers of a model may stand."""
    found = record()
    look = {**found["looks"][-1], "numbers": text, "verdict": {**found["looks"][-1]["verdict"], "text": text}}
    event = {**found["events"][-1], "text": text, "actor": text}
    told = {"events": [*found["events"], event], "looks": [*found["looks"], look]}
    return {**found, **told, "reason": text, "headline": text, "specification": {"candidate": text, "stable": "x"}}


LONG_OUTPUTS: dict[str, tuple[Callable[[str], str], corpus.Check]] = {
    "page": (lambda text: page_of(planted_once(text)), corpus.is_small_and_inert_html),
    "json": (lambda text: document(planted_once(text)), corpus.is_strict_json),
    "markdown": (lambda text: markdown_of(planted_once(text)), corpus.fits_a_summary),
    "junit": (lambda text: junit_of(planted_once(text)), corpus.is_wellformed_xml),
    "history": (lambda text: history_text(past(text)), corpus.steers_nothing),
}


@pytest.mark.parametrize("text", corpus.MEGABYTES)
@pytest.mark.parametrize("name", LONG_OUTPUTS)
def test_a_text_of_a_megabyte_is_shown_and_breaks_nothing(name: str, text: str) -> None:
    write, check = LONG_OUTPUTS[name]
    check(write(text))
