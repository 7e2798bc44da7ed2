"""A real browser: Debian's chromium, driven by playwright. Nothing is downloaded, and nothing outside the page is asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The browser's program; None: there is none."""
    return os.environ.get("DEPLOYER_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        if os.environ.get("DEPLOYER_REQUIRE_BROWSER"):
            pytest.fail("no Chromium was found, and DEPLOYER_REQUIRE_BROWSER asks for one")
        pytest.skip(f"no Chromium was found (looked for {', '.join(NAMES)}): install one, or set DEPLOYER_BROWSER")
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=program, args=options)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of its own, as wide and as dark as the test's parameter says: ``(width, scheme)``."""
    width, scheme = getattr(request, "param", (1200, "light"))
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    yield opened
    context.close()


@pytest.fixture
def shown(page: Page) -> tuple[Page, list[str]]:
    """The same page, and everything that it asked of anybody, tried to run or complained of."""
    seen: list[str] = []
    page.on("request", lambda each: seen.append(f"request {each.url[:200]}") if each.url[:5] != "file:" else None)
    page.on("console", lambda each: seen.append(f"console {each.text[:200]}"))
    page.on("pageerror", lambda each: seen.append(f"error {each}"))
    page.on("dialog", lambda each: (seen.append("dialog"), each.dismiss()))
    page.on("popup", lambda _: seen.append("popup"))
    return page, seen
