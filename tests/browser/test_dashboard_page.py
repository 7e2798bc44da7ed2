"""The dashboard in a real browser: let in once, kept up to date, legible, and inert whatever its texts are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import facts
from golden.report.kept import FAILED
from playwright.sync_api import Page, expect
from unit.dashboard.served import KEY, Reader, journals, serving, write
from unit.report.told import FAIL, JUDGING, PROMOTED, plan, tell

from deployer.rollout.events import GaveUp, Judged, Reverted
from deployer.rollout.model import Outcome

HOSTILE = "<img src=x onerror='window.owned=1'></title></main></head></body><script>window.owned=1</script>"
PATHS = [
    pytest.param("/", marks=pytest.mark.slow),
    f"/endpoint/{KEY}",
    pytest.param(f"/rollout/{KEY}/{FAILED}", marks=pytest.mark.slow),
    "/endpoint/local/nasty",
]
SLOW = pytest.mark.slow
LOOKS = [pytest.param((1200, "light"), marks=SLOW), (390, "dark")]
RUNNING = plan(endpoint="prices", rollout_id="20260102T000000-aaaa")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    root = tmp_path_factory.mktemp("browsed")
    journals(root)
    write(root / "journal" / "local" / "nasty", tell(*PROMOTED, plan=plan(endpoint="nasty", candidate=HOSTILE)))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("DEPLOYER_HOME", str(root))
        with serving() as reader:
            yield reader


def enter(page: Page, reader: Reader, path: str = "/") -> list[str]:
    """Open ``path`` by the printed address; give what the browser asks of other hosts, or complains of."""
    seen: list[str] = []
    ours = f"http://127.0.0.1:{reader.address.port}/"
    page.on("request", lambda each: None if each.url.startswith(ours) else seen.append(each.url))
    page.on("console", lambda each: seen.append(each.text))
    page.on("pageerror", lambda each: seen.append(str(each)))
    page.on("dialog", lambda each: (seen.append("dialog"), each.dismiss()))
    page.goto(reader.address.url)
    page.wait_for_selector("h1")
    page.goto(ours.removesuffix("/") + path)
    return seen


@pytest.mark.parametrize("page", LOOKS, indirect=True)
@pytest.mark.parametrize("path", PATHS)
def test_a_page_fits_its_window_is_legible_and_asks_nobody_else(page: Page, served: Reader, path: str) -> None:
    seen = enter(page, served, path)
    expect(page.locator("#live")).to_have_text("live")
    for details in page.locator("details").all():
        details.evaluate("each => each.open = true")
    assert page.evaluate(facts.OVERFLOW) <= 0
    assert page.evaluate(facts.CONTRAST) == []
    assert page.evaluate(facts.UNNAMED) == 0
    assert page.evaluate("window.owned") is None
    assert seen == []


def test_the_token_leaves_the_address_bar_and_no_script_reads_the_cookie(page: Page, served: Reader) -> None:
    seen = enter(page, served)
    assert served.address.token not in page.url + page.content()
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("document.referrer") == ""
    assert seen == []


@pytest.mark.slow
def test_another_site_cannot_read_or_frame_it(browser: Any, served: Reader) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(served.address.url)
    page.wait_for_selector("h1")
    ours = f"http://127.0.0.1:{served.address.port}/"
    page.goto("data:text/html,<h1>another site</h1>")
    read = page.evaluate(f"fetch('{ours}').then(() => 'read', () => 'refused')")
    page.evaluate(f"document.body.innerHTML = '<iframe src=\"{ours}\"></iframe>'")
    page.wait_for_timeout(500)
    assert read == "refused"
    assert all("Endpoints" not in frame.content() for frame in page.frames)
    context.close()


def test_what_happens_shows_without_a_reload_and_what_was_opened_stays_open(page: Page, served: Reader) -> None:
    folder = served.root / "journal" / "managed" / "ml-prod" / "prices"
    told = tell(*JUDGING, plan=RUNNING)
    write(folder, told)
    seen = enter(page, served, "/endpoint/managed/ml-prod/prices")
    page.evaluate("window.stayed = true")
    numbers = page.locator("summary", has_text="Numbers")
    numbers.click()
    expect(page.locator(".tree .now")).to_contain_text("20%")
    (folder / f"{RUNNING.rollout_id}.jsonl").unlink()
    write(
        folder,
        tell(*JUDGING, Judged(FAIL, "e"), GaveUp(Outcome.GATE_FAILED, FAIL.text), Reverted("back"), plan=RUNNING),
    )
    expect(page.locator(".tree .given-up").first).to_contain_text("20%", timeout=15_000)
    assert page.evaluate("window.stayed") is True
    assert page.locator("details", has=numbers).evaluate("each => each.open") is True
    assert seen == []


@pytest.mark.slow
def test_a_page_says_when_the_dashboard_has_ended(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journals(tmp_path)
    monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path))
    with serving() as reader:
        enter(page, reader)
        expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("#live")).to_contain_text("not live", timeout=15_000)


@pytest.mark.slow
def test_pages_work_without_javascript(browser: Any, served: Reader) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served.address.url)
    page.wait_for_selector("h1")
    page.click(f"a[href='/endpoint/{KEY}']")
    expect(page.locator(".tree .given-up").first).to_be_visible()
    page.click(f"a[href='/rollout/{KEY}/{FAILED}'] >> nth=0")
    expect(page.locator("h1")).to_be_visible()
    context.close()


@pytest.mark.slow
def test_the_keyboard_walks_from_the_overview_to_a_rollout(page: Page, served: Reader) -> None:
    enter(page, served)
    page.locator(f"a[href='/endpoint/{KEY}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/endpoint/{KEY}")
    page.locator(f"a[href='/rollout/{KEY}/{FAILED}']").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/rollout/{KEY}/{FAILED}")
