"""The report of a rollout in a real browser: laid out, legible, reachable by keyboard, and inert whatever its texts are."""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from browser import facts
from golden.report.kept import FAILED, PROMOTED, case
from hostile import corpus
from playwright.sync_api import Page

from deployer.report.rollout.page import page_of
from deployer.report.rollout.record import record_of

Shown = tuple[Page, list[str]]
WIDTHS = [(1200, "dark"), (390, "light"), (768, "light"), (390, "dark")]


@cache
def record(name: str) -> dict[str, Any]:
    return record_of(case(name, recompute=False))


def opened(page: Page, folder: Path, html: str) -> None:
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    page.goto(path.as_uri())


@pytest.mark.parametrize("page", WIDTHS, indirect=True)
@pytest.mark.parametrize("name", [FAILED, pytest.param(PROMOTED, marks=pytest.mark.slow)])
def test_a_page_fits_its_window_and_is_legible_in_light_and_dark(shown: Shown, tmp_path: Path, name: str) -> None:
    page, seen = shown
    opened(page, tmp_path, page_of(record(name)))
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate(facts.OVERFLOW) <= 0
    assert page.evaluate(facts.CONTRAST) == []
    assert page.evaluate(facts.OUTSIDE) == []
    assert page.evaluate(facts.UNNAMED) == 0
    assert seen == []


def test_the_verdict_is_on_the_first_screen_of_a_phone(browser: Any, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 700})
    page = context.new_page()
    opened(page, tmp_path, page_of(record(FAILED)))
    box = page.locator(".verdict").bounding_box()
    assert box["y"] + box["height"] < 700
    context.close()


def test_the_keyboard_reaches_the_content_and_opens_the_numbers(shown: Shown, tmp_path: Path) -> None:
    page, _ = shown
    opened(page, tmp_path, page_of(record(FAILED)))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    assert page.locator("figure details").first.evaluate("each => each.open")


def test_a_screen_reader_is_told_headings_charts_and_tables(shown: Shown, tmp_path: Path) -> None:
    page, _ = shown
    opened(page, tmp_path, page_of(record(FAILED)))
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("img", name="Latency, p95").count() == 1
    assert page.get_by_role("table").count() >= 3
    assert page.get_by_role("main").count() == 1


def test_print_is_dark_on_white_and_cuts_no_chart_in_two(browser: Any, tmp_path: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    opened(page, tmp_path, page_of(record(PROMOTED)))
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    assert page.evaluate(facts.CONTRAST) == []
    looks = page.locator("details", has_text="would have changed it").last.locator("td").first
    assert looks.evaluate("each => each.checkVisibility()")  # what is folded away on a screen is printed
    assert len(page.pdf()) > 10_000
    context.close()


def inert(shown: Shown, folder: Path, found: dict[str, Any]) -> None:
    page, seen = shown
    opened(page, folder, page_of(found))
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate(facts.OVERFLOW) <= 0
    only = "document.scripts.length + document.images.length + document.links.length"
    assert page.evaluate(only) == 1  # the skip link
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).display") == "block"
    assert seen == []


@pytest.mark.parametrize("page", [(390, "light"), (1200, "dark")], indirect=True)
def test_hostile_texts_run_nothing_ask_nobody_and_stay_inside(shown: Shown, tmp_path: Path) -> None:
    inert(shown, tmp_path, corpus.planted(record(FAILED), "\n".join(corpus.TEXTS.values())))


@pytest.mark.slow
@pytest.mark.parametrize("page", [(390, "light")], indirect=True)
@pytest.mark.parametrize("text", corpus.TEXTS.values(), ids=corpus.TEXTS)
def test_each_hostile_text_alone_does_not_either(shown: Shown, tmp_path: Path, text: str) -> None:
    inert(shown, tmp_path, corpus.planted(record(FAILED), text))


@pytest.mark.parametrize("page", [(390, "light")], indirect=True)
def test_a_megabyte_without_a_blank_stays_inside(shown: Shown, tmp_path: Path) -> None:
    page, seen = shown
    text = corpus.LONG["long"]
    opened(page, tmp_path, page_of({**record(FAILED), "reason": text, "headline": text, "journal": text}))
    assert page.evaluate(facts.OVERFLOW) <= 0
    assert seen == []


def test_the_policy_of_the_page_itself_stops_what_would_get_through(shown: Shown, tmp_path: Path) -> None:
    page, seen = shown
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        attack = f"<img src='{address}/x'><script>document.title='run'</script><style>h1{{display:none}}</style></main>"
        opened(page, tmp_path, page_of(record(FAILED)).replace("</main>", attack))
        with pytest.raises(BlockingIOError):
            server.accept()
    assert page.title() != "run"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).display") == "block"
    assert any("Content Security Policy" in each for each in seen)
