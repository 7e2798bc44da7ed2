from __future__ import annotations

import gc
import socket
import time
from pathlib import Path
from threading import Event

import pytest

from deployer.engine.http import Limits, ScoringClient
from deployer.errors import DeniedError, PlatformError, TransientError
from deployer.ports.platform import ScoringTarget
from tests.unit.engine.scripted import Asked, reply, saying, self_signed, serving

KEY = "canary-secret-7f3a"
QUICK = ScoringClient(Limits(connect_s=0.5, read_s=0.3, total_s=0.6, body_bytes=1000))


def target(url: str) -> ScoringTarget:
    return ScoringTarget(url, {"Authorization": f"Bearer {KEY}"})


def test_one_request_asks_one_deployment_and_reports_the_answer_raw() -> None:
    answer = reply(200, {"predictions": [3]}, by="green", headers={"X-Twice": "a", "x-twice": "b"})
    with serving(saying(answer)) as server:
        said = QUICK.score(target(server.url + "?v=1"), b'{"data": []}', deployment="green", request_id="id-1")
    (asked,) = server.asked
    assert asked.line == "POST /score?v=1 HTTP/1.1"
    assert asked.body == b'{"data": []}'
    assert asked.headers["azureml-model-deployment"] == "green"
    assert asked.headers["x-ms-client-request-id"] == "id-1"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["accept-encoding"] == "identity"
    assert (said.status, said.body, said.served_by, said.truncated) == (200, b'{"predictions": [3]}', "green", False)
    assert said.headers["x-twice"] == "a, b"
    assert 0 < said.elapsed_s < 0.6


def test_without_a_deployment_no_header_is_sent_and_a_nameless_answer_stays_nameless() -> None:
    with serving(saying(reply(200, []))) as server:
        assert QUICK.score(target(server.url), b"{}").served_by is None
    assert "azureml-model-deployment" not in server.asked[0].headers
    assert "x-ms-client-request-id" not in server.asked[0].headers


@pytest.mark.parametrize("status", [400, 424, 429, 500, 503])
def test_an_error_is_an_answer_and_is_never_repeated(status: int) -> None:
    with serving(saying(reply(status, "no", headers={"Retry-After": "0"}))) as server:
        assert QUICK.score(target(server.url), b"{}").status == status
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_answer_and_the_key_goes_nowhere_else(status: int) -> None:
    with (
        serving(saying(reply(200, "trap"))) as other,
        serving(saying(reply(status, "", headers={"Location": other.url}))) as server,
    ):
        assert QUICK.score(target(server.url), b"{}").status == status
    assert (len(server.asked), len(other.asked)) == (1, 0)


def test_a_proxy_from_the_environment_never_sees_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(saying(reply(200, "trap"))) as proxy, serving(saying(reply(200, "real"))) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert QUICK.score(target(server.url), b"{}").body == b'"real"'
    assert not proxy.asked


def test_a_body_over_the_limit_is_cut_and_flagged_without_reading_the_rest() -> None:
    def endless(sock: socket.socket, _asked: Asked) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sock.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")

    with serving(endless) as server:
        said = QUICK.score(target(server.url), b"{}")
    assert said.truncated
    assert said.body == b"x" * 1000


def test_a_body_of_exactly_the_limit_is_whole() -> None:
    with serving(saying(reply(200, b"x" * 1000))) as server:
        said = QUICK.score(target(server.url), b"{}")
    assert (len(said.body), said.truncated) == (1000, False)


@pytest.mark.parametrize("part", ["status line", "headers", "body", "chunks"])
def test_a_server_that_drips_is_left_at_the_deadline_however_often_it_sends(part: str) -> None:
    start = {
        "status line": b"H",
        "headers": b"HTTP/1.1 200 OK\r\nX-Slow: ",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n",
    }[part]

    def drip(sock: socket.socket, _asked: Asked) -> None:
        sock.sendall(start)
        for _ in range(100):
            time.sleep(0.05)
            sock.sendall(b"x")

    with serving(drip) as server:
        started = time.perf_counter()
        with pytest.raises(TransientError, match=r"/score: no complete answer after 0\.\d"):
            QUICK.score(target(server.url), b"{}")
        assert 0.5 < time.perf_counter() - started < 1.5


def test_a_silent_server_is_left_after_the_longest_silence() -> None:
    released = Event()
    with serving(lambda _sock, _asked: released.wait(5) and None) as server:
        with pytest.raises(TransientError, match=r"no complete answer after 0\.3"):
            QUICK.score(target(server.url), b"{}")
        released.set()


def test_a_server_that_does_not_read_is_left_too() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, pytest.raises(TransientError, match="no complete answer"):
        QUICK.score(target(f"http://127.0.0.1:{listener.getsockname()[1]}/"), b"x" * 50_000_000)


def test_the_caller_may_shorten_the_deadline() -> None:
    released = Event()
    with serving(lambda _sock, _asked: released.wait(5) and None) as server:
        with pytest.raises(TransientError, match=r"after 0\.1"):
            QUICK.score(target(server.url), b"{}", total_s=0.1)
        released.set()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", r"not HTTP \(BadStatusLine\)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "in the middle of the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf", "in the middle of the answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "not HTTP"),
    ],
)
def test_what_is_no_whole_answer_is_a_transient_error_and_never_repeated(said: bytes, why: str) -> None:
    with serving(saying(said)) as server, pytest.raises(TransientError, match=why):
        QUICK.score(target(server.url), b"{}")
    assert len(server.asked) == 1


def test_a_closed_port_says_where_and_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TransientError, match=rf"http://127\.0\.0\.1:{port}/score: not reached \(Connection refused\)"):
        QUICK.score(target(f"http://127.0.0.1:{port}/score"), b"{}")


def test_a_foreign_certificate_is_refused_before_the_key_is_sent(tmp_path: Path) -> None:
    tls, _ = self_signed(tmp_path)
    with serving(saying(reply(200, "trap")), tls=tls) as server, pytest.raises(DeniedError, match="not trusted"):
        QUICK.score(target(server.url.replace("http", "https")), b"{}")
    assert not server.asked


def test_a_trusted_certificate_is_accepted_for_its_own_host_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, trusted = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with serving(saying(reply(200, "real")), tls=tls) as server:
        url = server.url.replace("http", "https")
        assert QUICK.score(target(url), b"{}").body == b'"real"'
        with pytest.raises(DeniedError, match="Hostname mismatch"):
            QUICK.score(target(url.replace("127.0.0.1", "localhost")), b"{}")
    assert len(server.asked) == 1


def test_the_key_is_sent_in_clear_where_the_platform_allows_it() -> None:
    allowed = ScoringTarget("http://ml.invalid/score", {"Authorization": f"Bearer {KEY}"}, in_clear=True)
    with pytest.raises(TransientError, match="not reached"):
        QUICK.score(allowed, b"{}")


def test_the_key_is_never_sent_in_clear_to_another_machine() -> None:
    with pytest.raises(DeniedError, match=r"http://ml\.example is not encrypted"):
        QUICK.score(target("http://ml.example/score"), b"{}")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://user:word@127.0.0.1/",
        "http://[::1",
        "//x/y",
        "http://a:99999/",
    ],
)
def test_what_is_no_scoring_url_is_refused(url: str) -> None:
    with pytest.raises(PlatformError, match="not usable") as refused:
        QUICK.score(target(url), b"{}")
    assert "word" not in str(refused.value)


@pytest.mark.parametrize("name", ["green\r\nX-Evil: 1", "grün\n"])
def test_a_header_that_would_break_the_request_is_refused_without_quoting_the_key(name: str) -> None:
    with serving(saying(reply(200, ""))) as server:
        with pytest.raises(PlatformError, match="characters that HTTP does not allow"):
            QUICK.score(target(server.url), b"{}", deployment=name)
        broken = ScoringTarget(server.url, {"Authorization": f"Bearer {KEY}\n"})
        with pytest.raises(PlatformError) as refused:
            QUICK.score(broken, b"{}")
    assert KEY not in repr(refused.value) + repr(refused.value.__cause__)
    assert not server.asked


def test_no_connection_is_left_open() -> None:
    with serving(saying(reply(200, b"x" * 5000))) as server:
        QUICK.score(target(server.url), b"{}")
        gc.collect()  # an open socket would be a ResourceWarning, and warnings are errors
