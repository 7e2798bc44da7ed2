"""Pages beside the pictures of them that are kept: what was agreed on is what is drawn. ``UPDATE_GOLDEN=1`` renews them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import pictures, screens
from playwright.sync_api import Page, expect
from unit.dashboard.served import KEY, Reader, journals, serving

Made = Callable[[Path], str]
KEPT = 400_000
"""Bytes of all pictures together."""
REPORTS = {
    "report-light": (screens.failed, 1200, "light", "screen"),
    "report-dark": (screens.promoted, 1200, "dark", "screen"),
    "report-phone": (screens.failed, 390, "dark", "screen"),
    "report-print": (screens.promoted, 800, "dark", "print"),
    "load-test": (screens.load_test, 1200, "light", "screen"),
    "profile": (screens.profile, 1200, "light", "screen"),
}
PAGES = {"dashboard-overview": ("/", 390, "light"), "dashboard-endpoint": (f"/endpoint/{KEY}", 1200, "dark")}


def opened(browser: Any, width: int, scheme: str) -> Page:
    how = {"viewport": {"width": width, "height": 900}, "device_scale_factor": pictures.SCALE}
    return browser.new_context(**how, color_scheme=scheme).new_page()


def shown(browser: Any, folder: Path, html: str, width: int, scheme: str, media: str) -> Page:
    page = opened(browser, width, scheme)
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    page.emulate_media(media=media)
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_looks_as_it_was_agreed_on(name: str, browser: Any, tmp_path: Path) -> None:
    made, *how = REPORTS[name]
    page = shown(browser, tmp_path, made(tmp_path), *how)
    pictures.check(name, page)
    page.context.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    root = tmp_path_factory.mktemp("pictured")
    journals(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("DEPLOYER_HOME", str(root))
        with serving() as reader:
            yield reader


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_dashboard_looks_as_it_was_agreed_on(name: str, browser: Any, served: Reader) -> None:
    path, width, scheme = PAGES[name]
    page = opened(browser, width, scheme)
    page.goto(served.address.url)
    page.wait_for_selector("h1")
    page.goto(f"http://127.0.0.1:{served.address.port}{path}")
    expect(page.locator("#live")).to_have_text("live")
    pictures.check(name, page)
    page.context.close()


FONTS = [
    pytest.param("Liberation Sans", id="narrower"),
    pytest.param("Liberation Serif", id="serif", marks=pytest.mark.slow),
]
SLOW = pytest.mark.slow
BREAKS = [
    pytest.param("figure svg { visibility: hidden }", "differs by", id="charts are gone"),
    pytest.param(".charts figure:first-child { display: none }", "parts were", id="a chart is missing", marks=SLOW),
    pytest.param("svg .series { stroke: none !important }", "the colour", id="lines are gone"),
    pytest.param("svg .band { display: none }", "differs by", id="intervals are gone", marks=SLOW),
    pytest.param(".tiles { display: block !important }", "pixels high", id="tiles fell apart", marks=SLOW),
    pytest.param(".charts { display: block !important }", "pixels high", id="columns fell apart", marks=SLOW),
    pytest.param(
        ".verdict { background: none !important }", "another ground", id="the verdict has no colour", marks=SLOW
    ),
    pytest.param(
        ":root { color-scheme: dark; --paper: #10151c; --ink: #fff }", "differs by", id="the other scheme", marks=SLOW
    ),
]


def restyled(browser: Any, folder: Path, css: str) -> list[str]:
    """What differs from the picture when the page has another style."""
    made, *how = REPORTS["report-light"]
    html = re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", made(folder))  # it would refuse the style
    page = shown(browser, folder, html.replace("</style>", f"{css}</style>", 1), *how)
    kept = pictures.read((pictures.FOLDER / "report-light.png").read_bytes())
    found = pictures.difference(kept, pictures.taken(page, kept))
    page.context.close()
    return found


@pytest.mark.parametrize("font", FONTS)
def test_another_font_is_no_difference(font: str, browser: Any, tmp_path: Path) -> None:
    assert restyled(browser, tmp_path, f"body, svg, svg text {{ font-family: '{font}' !important }}") == []


@pytest.mark.parametrize(("css", "said"), BREAKS)
def test_what_is_broken_is_a_difference(css: str, said: str, browser: Any, tmp_path: Path) -> None:
    assert said in "; ".join(restyled(browser, tmp_path, css))


def test_pictures_are_small_and_are_read_as_they_were_written() -> None:
    kept = list(pictures.FOLDER.glob("*.png"))
    assert {path.stem for path in kept} == REPORTS.keys() | PAGES.keys()
    assert sum(path.stat().st_size for path in kept) < KEPT
    one = kept[0].read_bytes()
    assert pictures.written(pictures.read(one)) == one
