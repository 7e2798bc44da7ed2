"""Text from outside inside Markdown stays text."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from deployer.report.harmless import plain
from deployer.report.markdown import block, bounded, code, escaped, row

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "https://evil.example www.evil.example",
    "@octocat please look",
    "fixes #1 and GH-2",
    "| a | b |\n|---|",
    "`code` ``more``",
    "```\n# out of the block\n```",
    "# heading\n> quote\n- list\n1. list",
    "**bold** _it_ ~~gone~~",
    "<!-- marker -->",
    "::error::x\n##vso[task.complete]",
    "\u202egnp.exe\x1b[2J",
    "a\\",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_one_line_without_a_bare_mark(text: str) -> None:
    made = escaped(text)
    assert "\n" not in made
    assert not re.search(r"[<>\x00-\x1f\u202e]", made)
    assert not re.search(r"(?<!\\)[`*_\[\]|~]", made.replace("\\\\", ""))
    rendered = html.unescape(re.sub(r"\\([^\w\s])", r"\1", made))
    assert not re.search(r"@\w|#\w|GH-|https?:|www\.", rendered)


MARKS = st.text(st.sampled_from("ab1 \n\\`*_[](){}!|~$#-+=.>&;:'\"^<@\t"), max_size=20)
SHOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@given(MARKS)
def test_escaped_text_is_rendered_as_it_was_written_wherever_it_stands(text: str) -> None:
    wanted = re.sub(r"\s+", " ", plain(text)).strip()
    for written in (
        escaped(text),
        f"- {escaped(text)}",
        f"| h |\n|---|\n| {escaped(text)} |",
        escaped(text) + "\n===",
    ):
        shown = SHOWN.render(written)
        assert not re.search(r"<(?!/?(p|ul|li|table|thead|tbody|tr|th|td|h1)>)", shown), (written, shown)
        said = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", shown)).replace("\u200b", ""))
        assert wanted in said, (written, shown)


@pytest.mark.parametrize("text", HOSTILE)
def test_code_cannot_be_left_from_inside(text: str) -> None:
    span = code(text)
    fence = re.match(r"`+", span)
    assert fence is not None
    assert fence[0] not in span[len(fence[0]) : -len(fence[0])]
    assert "\n" not in span
    made = block(text).split("\n")
    closing = made[-2]
    assert all(not line.lstrip().startswith(closing) for line in made[1:-2])


def test_a_row_of_escaped_cells_has_as_many_cells_as_it_was_given() -> None:
    made = row(*(escaped(text) for text in HOSTILE))
    assert len(re.findall(r"(?<!\\)\|", made.replace("\\\\", ""))) == len(HOSTILE) + 1


def test_plain_words_stay_readable() -> None:
    assert escaped("green 20%, verified") == "green 20%, verified"


def test_what_is_too_long_is_cut_at_a_line_and_says_so() -> None:
    made = bounded("é" * 30 + "\n" + "x" * 400, 300)
    assert made == "é" * 30 + "\n\nThe rest is left out here: it is too long.\n"
    assert bounded("short", 300) == "short"
