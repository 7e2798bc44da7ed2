"""Hostile texts before, beside and after a rollout: previews, left-overs, status, the live terminal, messages, the dashboard."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles.telemetry import ManualClock
from hostile import corpus
from markdown_it import MarkdownIt
from rich.console import Console
from unit.dashboard.served import write
from unit.report.told import PHASES, ROLLED_BACK, STUCK, T0, deployment, endpoint, plan, tell

from deployer.dashboard.frame import framed
from deployer.dashboard.pages import Pages
from deployer.dashboard.watching import Watching
from deployer.errors import ExitCode
from deployer.manifest.notify import WebhookFormat
from deployer.notify.formats import body_of
from deployer.notify.message import Message, by_hand, message_of, trouble
from deployer.ports.inspection import Check, CheckState, Cost, Forecast, Leftover, LeftoverKind, Price, Removed
from deployer.ports.preview import Preview
from deployer.ports.views import Status
from deployer.report.ci import AzurePipelines, GitHub
from deployer.report.groups import Groups
from deployer.report.leftovers import leftovers_record, leftovers_text
from deployer.report.listeners import LiveTree
from deployer.report.local import local_text
from deployer.report.output import Output, document
from deployer.report.plan import preview_markdown, preview_record, preview_text
from deployer.report.status import render, show_status, status_record
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.model import Phase
from deployer.rollout.tags import Marks, Revision
from deployer.wiring.dashboard import Archive, Known, Lens

HOSTILE = pytest.mark.parametrize("text", corpus.TEXTS.values(), ids=corpus.TEXTS)
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What our own drawing of a live terminal is made of."""


def printed(show: Callable[[Output], object], *, as_json: bool = False) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        show(Output(as_json=as_json))
    return stream.getvalue()


def hostile_plan(text: str) -> Any:
    return plan(endpoint=text, candidate=text + "c", stable=text + "s", rollout_id=text)


def hostile_endpoint(text: str) -> Endpoint:
    pair = (deployment(text + "c", message=text), deployment(text + "s", message=text))
    found = endpoint({text + "c": 20, text + "s": 80}, *pair, mirror={text: 10})
    return replace(found, name=text, scoring_url=text, tags={text: text})


def looks(text: str) -> list[Status]:
    """A rollout under way and a stuck one, with and without its journal, and a sketch from a manifest."""
    marks = Marks(text, Phase.JUDGING, 5, text + "c", "new", text + "s", "spec")
    seen, revision = hostile_endpoint(text), Revision(2, text, text, T0)
    running = tuple(tell(*PHASES[Phase.JUDGING], plan=hostile_plan(text)))
    stuck = tuple(tell(*STUCK, plan=hostile_plan(text)))
    ended = replace(marks, phase=Phase.STUCK)
    return [
        Status(seen, marks, text, revision, revision, running),
        Status(seen, marks, text, revision, revision, ()),
        Status(seen, marks, None, revision, None, (), sketch=running[-1][0]),
        Status(seen, ended, None, revision, revision, stuck),
    ]


def statuses(text: str) -> str:
    clock = ManualClock(T0)
    return "".join(printed(lambda out, each=each: out.drawing(render(each, clock, None, 99.0))) for each in looks(text))


def followed(text: str) -> str:
    """``status --watch`` into a pipe."""
    found = iter([*looks(text)[:2], looks(text)[3]])
    return printed(lambda out: show_status(lambda: next(found), ManualClock(T0), out, watch=True))


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def live(text: str) -> str:
    """A rollout on a terminal, without our own colours and movements."""
    screen = Terminal()
    console = Console(file=screen, width=100, emoji=False, highlight=False, markup=False, force_terminal=True)
    with LiveTree(console) as tree:
        for state, event, at in tell(*ROLLED_BACK, plan=hostile_plan(text)):
            tree.on_event(replace(state, reason=text), event, at)
        tree.on_note(text)
    return STYLE.sub("", screen.getvalue()).replace("\r", "")


def preview(text: str) -> Preview:
    checks = tuple(Check(text, state, text, text) for state in CheckState)
    cost = Cost(Price(1.0, text, text), 1, 1.0, 1.0, 2.0)
    forecast = Forecast(1.0, 2.0, 1, 2, 1, 2, (), cost)
    return Preview(hostile_plan(text), 5.0, (), checks, forecast, ExitCode.REFUSED, text, 9.0, (text,))


def leftovers(text: str) -> tuple[list[Leftover], list[Removed]]:
    found = [Leftover(kind, text, text, 1, 1.0) for kind in LeftoverKind]
    return found, [Removed(one, text) for one in found]


def local(text: str) -> str:
    parts = {text: {"state": text, "message": text}}
    shapes = [
        {"endpoint": text, "running": True, "scoring_url": text, "traffic": {text: 100}, "deployments": parts},
        {"endpoint": text, "running": True, "problem": text},
        {"endpoint": text, "running": False},
    ]
    return printed(lambda out: out.result({}, local_text(shapes)))


TEXTS: dict[str, Callable[[str], str]] = {
    "plan": lambda text: printed(lambda out: out.result({}, preview_text(preview(text)))),
    "gc": lambda text: printed(lambda out: out.result({}, leftovers_text(text, *leftovers(text)))),
    "local status": local,
    "status": statuses,
    "status --watch in a log": followed,
}


@HOSTILE
@pytest.mark.parametrize("way", TEXTS)
def test_no_text_steers_a_terminal_or_a_runner(way: str, text: str) -> None:
    corpus.steers_nothing(TEXTS[way](text))


@HOSTILE
def test_no_text_steers_a_live_terminal(text: str) -> None:
    corpus.steers_no_terminal(live(text))


@pytest.mark.parametrize("show", [*TEXTS.values(), live], ids=[*TEXTS, "a live terminal"])
def test_what_is_planted_does_come_out(show: Callable[[str], str]) -> None:
    assert "plantedword" in show("plantedword")


DOCUMENTS: dict[str, Callable[[str], str]] = {
    "plan": lambda text: document(preview_record(preview(text))),
    "gc": lambda text: document(leftovers_record(*leftovers(text), 5)),
    "status": lambda text: document(status_record(looks(text)[0])),
    "dashboard": lambda text: printed(lambda out: out.result({"url": text, "host": text}, ""), as_json=True),
}


@HOSTILE
@pytest.mark.parametrize("way", DOCUMENTS)
def test_json_stays_one_strict_document(way: str, text: str) -> None:
    corpus.is_strict_json(DOCUMENTS[way](text))


@HOSTILE
def test_a_plan_as_a_comment_shows_hostile_text_as_text(text: str) -> None:
    """GitHub shows it below a pull request: nobody is notified, nothing is linked, nothing is left of its table."""
    said = preview_markdown(preview(text), text)
    corpus.fits_a_summary(said)
    shown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(said)
    ours = {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "pre", "details", "summary"}
    assert {tag for tag, _ in corpus.elements(shown)} <= ours
    assert not corpus.LINKED.search(re.sub(r"<code.*?</code>", "", shown, flags=re.DOTALL))
    assert shown.count("<tr>") == preview_markdown(preview("harmless"), "harmless").count("\n| ") - 2  # without rules


@HOSTILE
@pytest.mark.parametrize("runner", [GitHub({}), AzurePipelines({})], ids=["github", "azure"])
def test_a_group_of_the_log_is_one_command_a_step(runner: Any, text: str) -> None:
    lines: list[str] = []
    with Groups(runner, lines.append) as groups:
        for state, event, at in tell(*ROLLED_BACK, plan=hostile_plan(text)):
            groups.on_event(state, event, at)
    heads = ("::group::", "::endgroup::", "##[group]", "##[endgroup]")
    for line in "".join(lines).splitlines():
        assert line.startswith(heads), line
        corpus.steers_nothing(line.split("::", 2)[-1] if line.startswith("::") else line.split("]", 1)[1])


def messages(text: str) -> list[Message]:
    told = tell(*STUCK, plan=hostile_plan(text))
    about = {"platform": text, "actor": text}
    where = {"endpoint": text, **about}
    made = [message_of(replace(state, reason=text), event, at, **about) for state, event, at in told]
    failed = trouble(text, T0, code=ExitCode.STUCK, state=told[-1][0], **where)
    return [*(each for each in made if each is not None), failed, by_hand(text, T0, **where)]


def strings(record: Any, holder: Any = None, key: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every text of a JSON document with its key and what holds it."""
    if isinstance(record, str):
        yield key, record, holder
    elif isinstance(record, dict):
        for name, value in record.items():
            yield from strings(value, record, name)
    elif isinstance(record, list):
        for value in record:
            yield from strings(value, holder, key)


@pytest.mark.parametrize("text", [*corpus.TEXTS.values(), corpus.LONG["long html"]], ids=[*corpus.TEXTS, "long html"])
@pytest.mark.parametrize("form", list(WebhookFormat))
def test_a_message_to_people_holds_no_markup_no_mention_and_no_command(form: WebhookFormat, text: str) -> None:
    for message in messages(text):
        assert re.fullmatch(r"[\w.-]{1,200}", message.id, re.ASCII), "it is a header, too"
        body = body_of(message, form).decode()
        corpus.is_strict_json(body)
        assert len(body) < 28_000
        for key, value, holder in strings(json.loads(body)):
            corpus.steers_nothing(value)
            if form is WebhookFormat.SLACK and key == "text":
                assert holder.get("type") == "plain_text" or not re.search(r"[<>]|&(?!(amp|lt|gt);)", value)
            if form is WebhookFormat.TEAMS and key == "text":
                assert holder["type"] == "TextRun"
                assert not re.search(r"\{\{|\$\{", value)


def test_a_message_tells_what_is_planted() -> None:
    for form in WebhookFormat:
        assert all(b"plantedword" in body_of(each, form) for each in messages("plantedword"))


KNOWN = Known("local", "", "digits")


def dashboard(text: str, folder: Path) -> list[str]:
    """Its pages, with hostile names, messages and tags on the endpoint, in the journal and in its history."""
    odd = plan(candidate=text + "c", stable=text + "s")
    write(folder / "journal" / "local" / "digits", tell(*STUCK, plan=odd))
    watching = Watching(lambda: T0)
    watching.add([Lens(KNOWN, lambda: looks(text)[0], 60.0)])
    watching.settle(20)
    pages = Pages(Archive(folder), watching, list)
    made = [pages.overview(), pages.endpoint(KNOWN), pages.rollout(KNOWN, odd.rollout_id), pages.failed(text)]
    watching.end()
    return [page for page in made if page is not None]


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return dashboard("harmless", tmp_path_factory.mktemp("harmless"))


@HOSTILE
def test_a_page_of_the_dashboard_shows_hostile_text_as_text(text: str, harmless: list[str], tmp_path: Path) -> None:
    for page, like in zip(dashboard(text, tmp_path), harmless, strict=True):
        assert len(page) < corpus.MEGABYTE // 4
        corpus.steers_nothing(page)
        assert corpus.elements(page) <= corpus.elements(like)
        links = set(re.findall(r'href="([^"]*)"', page))
        assert all(
            link == "#main" or re.fullmatch(r"/(endpoint|rollout)/local/digits(/[\w-]+)?", link) for link in links
        )
        whole = framed(page, "nonce", (("Endpoints", "/"),))
        assert whole.count("<script") == 1
        assert whole.index("<nav") < whole.index("<h1")


def test_the_dashboard_shows_what_is_planted(tmp_path: Path) -> None:
    overview, shown, report, failed = dashboard("plantedword", tmp_path)
    assert "plantedwords" in overview
    assert all("plantedword" in page for page in (shown, report, failed))
