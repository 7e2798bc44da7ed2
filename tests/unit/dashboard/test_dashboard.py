"""The dashboard over HTTP: who may read, what is shown, that nothing is written and nobody waits."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from golden.report.kept import FAILED as FAILED_RUN
from golden.report.kept import PROMOTED as PROMOTED_RUN
from typer.testing import CliRunner
from unit.dashboard.served import KEY, Reader, journals, serving, write
from unit.report.told import FAIL, JUDGING, PAUSED, STUCK, T0, endpoint, plan, tell

from deployer.cli import app
from deployer.dashboard import watching as watching_module
from deployer.dashboard.app import STREAMS
from deployer.dashboard.guard import Guard
from deployer.dashboard.pages import Pages
from deployer.dashboard.serving import Address, listen
from deployer.dashboard.watching import Watching
from deployer.errors import TransientError, UsageError
from deployer.ports.views import Status
from deployer.rollout.events import Judged
from deployer.rollout.model import Phase
from deployer.rollout.tags import Marks, Revision
from deployer.wiring.dashboard import Archive, Known, Lens
from deployer.wiring.sites import home

HOSTILE = "<img src=x onerror=alert(1)></title></main></body></head>\u202e\x1b[31m{{ 7*7 }} ::set-output name=a::b"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Lets in; two real rollouts, a rollback by hand, a damaged journal, a load test that is none, a profile."""
    root = tmp_path_factory.mktemp("dashboard")
    folder = journals(root)
    (folder / "20260101T000000-bad0.jsonl").write_text('{"at":"2026"}\n{}\n')
    write(root / "journal" / "managed" / "ml-prod" / "prices", tell(*PAUSED, plan=plan(endpoint="prices")))
    hostile = plan(endpoint="nasty", candidate=HOSTILE, rollout_id="20260101T000000-ffff")
    write(root / "journal" / "local" / "nasty", tell(*PAUSED, plan=hostile))
    write(root / "journal" / "local" / "unasked", tell(*PAUSED, plan=plan(endpoint="unasked")))
    tests = root / "loadtests" / "local" / "digits"
    tests.mkdir(parents=True)
    (tests / "20260101T000000-odd0.json").write_text('{"test": 5}')
    (root / "reports").mkdir()
    (root / "reports" / "profile-20260101.html").write_text(
        '<html><head></head><body><main id="main">a profile</main></body></html>'
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("DEPLOYER_HOME", str(root))
        with serving() as made:
            made.enter()
            yield made


class Elements(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


ALL = [
    "/",
    f"/endpoint/{KEY}",
    "/endpoint/managed/ml-prod/prices",
    "/endpoint/local/nasty",
    f"/rollout/{KEY}/{PROMOTED_RUN}",
    f"/rollout/{KEY}/{FAILED_RUN}",
    f"/rollout/{KEY}/20260101T000000-bad0",
    "/rollout/local/nasty/20260101T000000-ffff",
    f"/loadtest/{KEY}/20260101T000000-odd0",
    "/profile/profile-20260101.html",
]


@pytest.mark.parametrize("path", ALL)
def test_every_page_is_answered_under_a_policy_that_runs_its_own_script_alone(reader: Reader, path: str) -> None:
    status, headers, html = reader.ask(path)
    assert status == 200
    found = Elements(html).tags
    policy = headers["content-security-policy"]
    (script,) = [attributes for tag, attributes in found if tag == "script"]
    assert f"script-src 'nonce-{script['nonce']}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, attributes in found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "action", "srcset"):
            assert not (attributes.get(name) or "").startswith(("http", "//", "javascript:", "data:")), tag
        assert tag not in ("img", "form", "iframe", "object", "link")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert reader.address.token not in html
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_every_answer_has_another_nonce(reader: Reader) -> None:
    one, other = (reader.ask("/")[1]["content-security-policy"] for _ in range(2))
    assert one != other


def test_without_javascript_a_page_asks_again(reader: Reader) -> None:
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in reader.page("/")


@pytest.mark.parametrize("path", ["/", f"/endpoint/{KEY}", "/events", "/nothing"])
@pytest.mark.parametrize("cookie", ["", "deployer-1=x", "other"])
def test_nobody_reads_without_the_token(reader: Reader, path: str, cookie: str) -> None:
    stranger = Reader(reader.address, cookie=cookie)
    assert stranger.ask(path)[0] == 403
    assert stranger.ask(f"{path}?token=wrong")[0] == 403
    assert stranger.ask(f"{path}?token=")[0] == 403


def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_other_sites_do_not_get(reader: Reader) -> None:
    newcomer = Reader(reader.address)
    status, headers, body = newcomer.ask(f"/endpoint/{KEY}?token={reader.address.token}&a=b")
    assert status == 200
    attributes = {each.strip().lower() for each in headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert reader.address.token not in headers["set-cookie"] + body
    assert f'url=/endpoint/{KEY}?a=b"' in body
    newcomer.cookie = headers["set-cookie"].split(";")[0]
    assert newcomer.ask("/")[0] == 200


def test_the_exchange_never_leads_to_another_host(reader: Reader) -> None:
    _, _, body = Reader(reader.address).ask(f"//evil.example/x?token={reader.address.token}")
    assert 'url=/evil.example/x"' in body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/events", f"/rollout/{KEY}/{FAILED_RUN}", "/nothing"])
def test_nothing_but_reading_exists(reader: Reader, method: str, path: str) -> None:
    for asking in (reader, Reader(reader.address)):
        status, headers, _ = asking.ask(path, method, body=b"{}")
        assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_head_is_answered_without_a_body(reader: Reader) -> None:
    status, _, body = reader.ask("/", "HEAD")
    assert (status, body) == (200, "")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("[::1]:{port}", 200),
        ("127.0.0.1", 200),
        ("localhost:9000", 200),  # forwarded by ssh from another port
        ("evil.example:{port}", 421),
        ("127.0.0.1.evil.example:{port}", 421),
        ("10.0.0.1:{port}", 421),
        ("localhost.:{port}", 421),
        ("", 421),
    ],
)
def test_a_name_that_was_made_to_resolve_here_is_not_ours(reader: Reader, host: str, status: int) -> None:
    given = {"Host": host.format(port=reader.address.port)}
    assert reader.ask("/", headers=given)[0] == status


def test_an_exposed_dashboard_answers_to_addresses_and_its_own_name() -> None:
    guard = Guard(lambda *_: None, token="t", port=80, names=["desk.example"], exposed=True)  # type: ignore[arg-type]
    assert [guard._is_ours(each) for each in ("10.0.0.1:80", "Desk.Example:80", "evil.example:80")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/endpoint/local/other",
        "/endpoint/local/../../etc",
        "/rollout/local/digits/..%2f..%2f..%2fetc%2fpasswd",
        f"/rollout/local/other/{FAILED_RUN}",
        "/profile/..%2freports%2fprofile-20260101.html",
        "/profile/open.html",
        "/loadtest/local/digits/none",
        "/endpoint/%00",
        "/rollout/x",
    ],
)
def test_what_is_not_known_is_not_there(reader: Reader, path: str) -> None:
    assert reader.ask(path)[0] == 404


def test_the_overview_tells_of_every_endpoint_with_its_last_outcome(reader: Reader) -> None:
    html = reader.page("/")
    assert f'href="/endpoint/{KEY}"' in html
    assert 'href="/endpoint/managed/ml-prod/prices"' in html
    assert "gate failed, 2026-11-25" in html
    assert "rollout under way" in html
    assert "from journals only" in html
    assert 'href="/profile/profile-20260101.html"' in html


def test_a_damaged_journal_is_said_and_the_others_are_shown(reader: Reader) -> None:
    html = reader.page(f"/endpoint/{KEY}")
    assert "1 of 3 journals cannot be read" in html
    assert f'href="/rollout/{KEY}/{FAILED_RUN}"' in html
    assert "does not match its hash" in reader.page(f"/rollout/{KEY}/20260101T000000-bad0")


def test_a_page_that_cannot_be_made_says_so_and_the_others_are_shown(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("with a planted value")

    monkeypatch.setattr(Pages, "endpoint", broken)
    html = reader.page("/endpoint/local/unasked")  # nobody did before: a page is good for half a second
    assert "This page cannot be made (RuntimeError)" in html
    assert "planted" not in html
    assert "digits" in reader.page("/")


def test_readers_of_one_rollout_at_once_read_its_evidence_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    case = Archive.case
    monkeypatch.setattr(Archive, "case", lambda self, of, name: (read.append(name), case(self, of, name))[1])
    pages = Pages(Archive(reader.root), watching(), list)
    threads = [
        threading.Thread(target=pages.rollout, args=(Known("local", "", "digits"), FAILED_RUN)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [FAILED_RUN]


def test_an_endpoint_shows_tree_events_and_history(reader: Reader) -> None:
    html = reader.page(f"/endpoint/{KEY}")
    assert "given up" in html
    assert "Weight of the candidate" in html
    assert "traffic verified" in html
    assert "Load tests" in html


def test_a_rollout_is_the_report_that_the_command_writes(reader: Reader) -> None:
    html = reader.page(f"/rollout/{KEY}/{FAILED_RUN}")
    assert "What decided" in html
    assert f"deployer explain {FAILED_RUN}" in html
    assert '<a href="/endpoint/local/digits">digits</a>' in html


def test_a_stream_tells_a_page_s_state_at_once_and_again_when_it_changed(reader: Reader) -> None:
    path = "/endpoint/managed/ml-prod/prices"
    with reader.stream(path) as states:
        first = next(states)
        assert f'data-state="{first}"' in reader.page(path)
        told = tell(*JUDGING, Judged(FAIL, "e"), plan=plan(endpoint="prices", rollout_id="20260102T000000-aaaa"))
        write(reader.root / "journal" / "managed" / "ml-prod" / "prices", told)
        assert next(states) != first


def test_many_pages_are_kept_up_to_date_and_one_too_many_is_told_to_wait(reader: Reader) -> None:
    opened: list[socket.socket] = []
    try:
        for _ in range(STREAMS):
            made = socket.create_connection(("127.0.0.1", reader.address.port), timeout=20)
            made.sendall(
                f"GET /events?page=/nothing HTTP/1.1\r\nHost: {reader.host}\r\nCookie: {reader.cookie}\r\n\r\n".encode()
            )
            opened.append(made)
        for made in opened:
            assert made.recv(12) == b"HTTP/1.1 200"
        assert reader.ask("/events?page=/")[0] == 503
        assert reader.ask("/")[0] == 200
    finally:
        for made in opened:
            made.close()


def test_nothing_on_disk_is_changed_by_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journals(tmp_path)
    monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with serving() as made:
        made.enter()
        for path in ("/", f"/endpoint/{KEY}", f"/rollout/{KEY}/{FAILED_RUN}"):
            made.page(path)
        with made.stream("/") as states:
            next(states)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_taken_port_says_what_to_do() -> None:
    with listen("127.0.0.1", 0, exposed=False) as taken, pytest.raises(UsageError) as caught:
        listen("127.0.0.1", taken.getsockname()[1], exposed=False)
    assert caught.value.message.endswith("is taken")
    assert "--port" in caught.value.hint


@pytest.mark.parametrize(("host", "said"), [("192.0.2.1", "other machines"), ("desk", "is no IP address")])
def test_another_address_must_be_insisted_on(host: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        listen(host, 0, exposed=False)


def test_the_printed_address_is_one_to_open() -> None:
    assert Address("0.0.0.0", 1, "t").url == "http://127.0.0.1:1/?token=t"  # noqa: S104
    assert Address("::1", 1, "t").url == "http://[::1]:1/?token=t"


def status(**over: Any) -> Status:
    return Status(endpoint({"blue": 80, "green": 20}), None, None, None, None, ())


def watching(*lenses: Lens) -> Watching:
    made = Watching(lambda: datetime(2026, 1, 1, tzinfo=UTC))
    made.add(lenses)
    made.settle(20)
    return made


DIGITS, OTHER = Known("managed", "ws", "digits"), Known("managed", "ws", "other")


def test_an_endpoint_that_hangs_holds_up_nobody_and_is_said_to() -> None:
    released = threading.Event()
    made = Watching(lambda: T0)
    made.add([Lens(DIGITS, lambda: (released.wait(), status())[1], 1.0), Lens(OTHER, status, 1.0)])
    made.settle(0.3)
    hung, fine = made.seen(DIGITS), made.seen(OTHER)
    assert fine is not None
    assert fine.status is not None
    assert hung is not None
    assert hung.began is not None
    assert hung.words(hung.began + 7.4) == "does not answer for 7 s"
    assert hung.words(hung.began + watching_module.SLOW_S - 1) == ""
    released.set()
    made.end()


def test_a_look_shows_traffic_deployments_and_who_runs_what(tmp_path: Path) -> None:
    marks = Marks("20260101T000000-abcd", Phase.JUDGING, 5, "green", "new", "blue", "spec")
    good = Revision(2, "blue", "old", T0)
    traffic = {"blue": 80, "green": 20}
    running = Status(endpoint(traffic), marks, "vm-1/4711/1", good, None, ())
    left = Status(endpoint(traffic, mirror={"green": 10}), marks, None, None, None, ())
    for found, said in ((running, "run by process 4711 on vm-1"), (left, "Nobody runs this rollout now")):
        made = watching(Lens(DIGITS, lambda found=found: found, 60.0))
        pages = Pages(Archive(tmp_path), made, list)
        html = pages.endpoint(DIGITS)
        assert said in html
        assert "Traffic: blue 80 %, green 20 %" in html
        assert '<rect class="bar candidate" x="80" y="0" width="20" height="4"/>' in html
        assert "green 20 %" in pages.overview()
        made.end()
    assert "mirror 10 %" in html


def test_a_page_is_made_while_its_endpoint_hangs(tmp_path: Path) -> None:
    released = threading.Event()
    made = Watching(lambda: T0)
    made.add([Lens(DIGITS, lambda: (released.wait(), None)[1], 1.0)])
    assert "looking" in Pages(Archive(tmp_path), made, list).endpoint(DIGITS)
    released.set()
    made.end()


def test_a_stuck_rollout_is_stuck_in_the_history_not_only_failed(tmp_path: Path) -> None:
    write(tmp_path / "journal" / "local" / "digits", tell(*STUCK))
    row = Archive(tmp_path).rows(Known("local", "", "digits"))[0]
    assert row.past is not None
    assert row.past.outcome == "stuck"


def test_an_endpoint_that_fails_keeps_what_was_seen_and_says_why() -> None:
    answers = iter([status()])

    def look() -> Status:
        for each in answers:
            return each
        raise TransientError("the platform is away", hint="Wait.")

    lens = Lens(DIGITS, look, 0.01)
    made = watching(lens)
    while not (seen := made.seen(DIGITS)) or not seen.problem:
        made.settle(0.01)
    assert seen.status is not None
    assert seen.words(0.0) == "the platform is away"
    made.end()


def test_a_bug_in_a_look_is_shown_without_its_text() -> None:
    def look() -> Status:
        raise RuntimeError("with a planted value")

    made = watching(Lens(DIGITS, look, 60.0))
    seen = made.seen(DIGITS)
    assert seen is not None
    assert seen.problem == "cannot be read: RuntimeError"
    made.end()


def test_nobody_is_looked_at_while_nobody_reads() -> None:
    looks: list[int] = []

    def look() -> Status:
        looks.append(1)
        return status()

    made = Watching(lambda: T0, idle_s=0.0)
    made.add([Lens(DIGITS, look, 0.001)])
    made.settle(20)
    threading.Event().wait(0.1)
    assert len(looks) == 1
    made.end()


def test_a_vanished_endpoint_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Path(__file__).parents[3] / "manifests" / "local" / "quickstart.yaml"
    journals(home())
    with serving([str(manifest)]) as made:
        made.enter()
        assert "down: its processes do not run" in made.page("/endpoint/local/digits")


def test_the_command_prints_one_document_serves_and_ends_by_sigint_with_a_stream_open(tmp_path: Path) -> None:
    journals(tmp_path)
    command = [sys.executable, "-m", "deployer", "dashboard", "--port", "0", "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEPLOYER_HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        printed = ""
        while not printed.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            printed += line
        record = json.loads(printed)
        made = Address("127.0.0.1", record["port"], record["url"].partition("token=")[2])
        assert made.url == record["url"]
        reader = Reader(made)
        reader.enter()
        with reader.stream("/") as states:
            assert next(states)
            process.send_signal(signal.SIGINT)
            process.wait(30)
        assert (process.returncode, process.stdout.read(), process.stderr.read()) == (0, "", "")
    finally:
        process.kill()
        with process:
            pass


def test_without_the_extra_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "deployer.dashboard.serving")
    done = CliRunner().invoke(app, ["dashboard", "--port", "0"])
    assert done.exit_code == 2
    assert "the dashboard needs uvicorn" in done.stderr
    assert "pip install -e '.[dashboard]'" in done.stderr
