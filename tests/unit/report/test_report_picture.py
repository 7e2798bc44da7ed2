"""The picture in the README is what the tree draws today of a rollout that really ran."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html import unescape

import pytest
from tools.picture import FIXTURE, PICTURE, draw, kept, moment, replayed

from deployer.rollout.events import Judged
from deployer.rollout.model import Phase

NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.fixture(scope="module")
def journal() -> list[str]:
    return FIXTURE.read_text().splitlines()


def said(svg: str) -> list[str]:
    """Text of a picture, in order."""
    return [unescape(text).replace("\xa0", " ").strip() for text in re.findall(r"<text[^>]*>(.*?)</text>", svg)]


def test_the_picture_says_what_the_tree_draws_today(journal: list[str]) -> None:
    assert said(PICTURE.read_text()) == said(draw(journal)), "draw it anew: python tests/tools/picture.py"


def test_the_picture_shows_a_rollout_half_way_and_promoted(journal: list[str]) -> None:
    told = list(replayed(journal))
    state, event, _ = told[moment(told)]
    assert (state.phase, state.weight_pct) == (Phase.JUDGING, 50)
    assert isinstance(event, Judged)
    assert told[-1][0].phase is Phase.PROMOTED
    text = " ".join(said(PICTURE.read_text()))
    for word in ("judging", "candidate", "stable", "inconclusive", "promoted: green has 100%"):
        assert word in text


def test_the_picture_is_small_and_refers_to_nothing_outside_itself() -> None:
    svg = PICTURE.read_text()
    assert len(svg) < 60_000
    assert svg.replace(NAMESPACE, "").count("://") == 0
    assert not re.search(r"@font-face|@import|<script|<image|<foreignObject|href=|\bon\w+=", svg)
    assert set(re.findall(r"url\((.)", svg)) == {"#"}
    assert set(re.findall(r"font-family: ([^;}]+)", svg)) <= {"monospace ", "monospace", "sans-serif"}


def test_the_picture_can_be_read_by_machines_and_by_ear() -> None:
    root = ET.fromstring(PICTURE.read_text())  # noqa: S314 - our own file
    assert root.tag == f"{{{NAMESPACE}}}svg"
    assert root.get("aria-label") == root.findtext(f"{{{NAMESPACE}}}title")


def test_what_is_kept_of_the_journal_names_nobody_and_no_place(journal: list[str]) -> None:
    assert kept(journal) == journal
    assert not re.search(r'"actor"|/home/|/root/|/tmp/|/work/', "\n".join(journal))
    assert sum(map(len, journal)) < 30_000
