from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from deployer.engine.http import Limits, ScoringClient
from deployer.engine.smoke import SmokeReport, WarmUpReport, run_smoke, warm_up
from deployer.manifest.schema import Smoke
from deployer.ports.platform import ScoringTarget
from tests.unit.engine.scripted import Asked, Script, reply, saying, serving

CLIENT = ScoringClient(Limits(connect_s=1, read_s=1, total_s=1))
KEY = "canary-secret-7f3a"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["predictions"],
    "properties": {"predictions": {"type": "array", "items": {"type": "integer"}}},
}


def target(url: str) -> ScoringTarget:
    return ScoringTarget(url, {"Authorization": f"Bearer {KEY}"})


def smoke(
    script: Script, *, schema: dict[str, Any] | None = None, within: str = "1s", status: int = 200
) -> SmokeReport:
    expect = {"status": status, "within": within} | ({} if schema is None else {"json_schema": "ok.schema.json"})
    with serving(script) as server:
        report = run_smoke(
            CLIENT,
            target(server.url),
            "green",
            smokes=[Smoke.model_validate({"request": "ok.json", "expect": expect})],
            payloads={"ok.json": b'{"data": [[1]]}'},
            schemas={"ok.schema.json": schema or {}},
            should_stop=lambda: False,
        )
    assert all(asked.headers["azureml-model-deployment"] == "green" for asked in server.asked)
    assert len(server.asked) == 1
    return report


def good(body: object = None) -> Script:
    return saying(reply(200, {"predictions": [3]} if body is None else body, by="green"))


def test_the_expected_answer_of_the_candidate_passes() -> None:
    report = smoke(good(), schema=SCHEMA)
    assert report.passed
    assert report.failure is None
    (line,) = report.lines
    assert line.request == "ok.json"
    assert line.elapsed_s is not None


@pytest.mark.parametrize(
    ("by", "said"),
    [("blue", "expected an answer by green, answered by blue with status 200"), (None, "does not say who gave it")],
)
def test_a_good_answer_by_anyone_else_is_a_failure(by: str | None, said: str) -> None:
    report = smoke(saying(reply(200, {"predictions": [3]}, by=by)))
    assert not report.passed
    assert said in (report.failure or "")


def test_a_wrong_status_says_what_was_expected_and_what_came() -> None:
    report = smoke(saying(reply(424, b"division by zero", by="green")))
    assert report.failure == "ok.json: expected status 200, got status 424: division by zero"


def test_an_expected_error_passes() -> None:
    assert smoke(saying(reply(400, {"message": "bad"}, by="green")), status=400).passed


def test_a_body_against_the_schema_names_the_place() -> None:
    report = smoke(good({"predictions": [1, "two"]}), schema=SCHEMA)
    assert "expected JSON as ok.schema.json says; $.predictions[1] is wrong ('two' is not of type 'integer')" in (
        report.failure or ""
    )


@pytest.mark.parametrize("body", [b"<html>", b'{"predictions": [NaN]}', b"[" * 100_000, b"\xff\xfe", b""])
def test_what_is_not_json_fails_the_schema_and_nothing_else(body: bytes) -> None:
    assert "the body is not JSON" in (smoke(good(body), schema=SCHEMA).failure or "")
    assert smoke(good(body)).passed


def test_a_schema_is_checked_without_ever_asking_another_host() -> None:
    with serving(saying(reply(200, {"type": "object"}))) as elsewhere:
        report = smoke(good(), schema={"$ref": elsewhere.url})
    assert not elsewhere.asked
    assert f"the schema refers to {elsewhere.url}, which is not in its file" in (report.failure or "")


def test_a_schema_may_refer_to_itself() -> None:
    inside = {"$defs": {"ok": SCHEMA}, "$ref": "#/$defs/ok"}
    assert smoke(good(), schema=inside).passed
    assert not smoke(good([]), schema=inside).passed


def test_a_broken_schema_is_named_as_such() -> None:
    assert "the schema itself is wrong" in (smoke(good(), schema={"type": "thing"}).failure or "")


def test_a_body_too_long_to_be_read_whole_cannot_match_a_schema() -> None:
    client = ScoringClient(Limits(body_bytes=10))
    with serving(good()) as server:
        report = run_smoke(
            client,
            target(server.url),
            "green",
            smokes=[Smoke.model_validate({"request": "a", "expect": {"json_schema": "s"}})],
            payloads={"a": b""},
            schemas={"s": SCHEMA},
            should_stop=lambda: False,
        )
    assert "too long to be checked" in (report.failure or "")


def test_an_answer_that_comes_too_late_is_a_failure() -> None:
    def late(sock: socket.socket, _asked: Asked) -> None:
        time.sleep(0.3)
        sock.sendall(reply(200, {"predictions": [3]}, by="green"))

    report = smoke(late, within="100ms")
    assert "expected status 200 within 100ms, got no answer" in (report.failure or "")
    assert report.lines[0].elapsed_s is None


def test_a_report_holds_neither_control_characters_nor_the_key_nor_a_whole_body() -> None:
    evil = f"\x1b[2J\u202e::set-output\r\n{KEY} Bearer {KEY} ".encode() + b"x" * 1000
    failure = smoke(saying(reply(500, evil, by="green\x1b[0m"))).failure or ""
    assert KEY not in failure
    assert failure.isprintable()
    assert len(failure) < 400
    assert "***" in failure


def test_every_request_is_sent_and_the_first_failure_is_the_headline() -> None:
    answers = iter([reply(200, 1, by="green"), reply(500, "first", by="green"), reply(500, "second", by="green")])
    with serving(lambda sock, _asked: sock.sendall(next(answers))) as server:
        report = run_smoke(
            CLIENT,
            target(server.url),
            "green",
            smokes=[Smoke.model_validate({"request": name}) for name in "abc"],
            payloads=dict.fromkeys("abc", b"{}"),
            schemas={},
            should_stop=lambda: False,
        )
    assert [line.failure is None for line in report.lines] == [True, False, False]
    assert report.failure == 'b: expected status 200, got status 500: "first"'


def test_a_signal_ends_it_between_requests_and_proves_nothing() -> None:
    stops = iter([False, True])
    with serving(good()) as server:
        report = run_smoke(
            CLIENT,
            target(server.url),
            "green",
            smokes=[Smoke.model_validate({"request": name}) for name in "ab"],
            payloads=dict.fromkeys("ab", b"{}"),
            schemas={},
            should_stop=lambda: next(stops),
        )
    assert (len(server.asked), report.stopped, report.passed, report.failure) == (1, True, False, None)


def warm(
    script: Script, *, requests: int = 20, instances: int = 1, workers: int = 1, stop_after: int = 10**6
) -> WarmUpReport:
    with serving(script) as server:
        return warm_up(
            CLIENT,
            target(server.url),
            "green",
            b"{}",
            requests=requests,
            instances=instances,
            workers=workers,
            should_stop=lambda: len(server.asked) >= stop_after,
        )


class Counting:
    """Answers the n-th request (from 0) as ``answer(n)`` says, and knows how many were in flight at once."""

    def __init__(self, answer: Any, *, takes_s: float = 0.0) -> None:
        self._answer, self._takes_s, self._lock = answer, takes_s, threading.Lock()
        self.seen = self.in_flight = self.most = 0

    def __call__(self, sock: socket.socket, asked: Asked) -> None:
        assert asked.headers["azureml-model-deployment"] == "green"
        with self._lock:
            number, self.seen, self.in_flight = self.seen, self.seen + 1, self.in_flight + 1
            self.most = max(self.most, self.in_flight)
        time.sleep(self._takes_s)
        with self._lock:
            self.in_flight -= 1
        sock.sendall(self._answer(number))


OK, BAD, BUSY = reply(200, 1, by="green"), reply(500, "no", by="green"), reply(429, "busy", by="green")


def test_each_instance_gets_its_requests_and_all_workers_are_busy_at_once() -> None:
    script = Counting(lambda _: OK, takes_s=0.02)
    report = warm(script, requests=10, instances=2, workers=2)
    assert report.passed
    assert (report.wanted, report.sent, report.failed, script.seen) == (20, 20, 0, 20)
    assert script.most == 4
    assert report.first_s is not None
    assert report.last_s is not None


def test_a_cold_start_that_fails_first_and_recovers_is_warm() -> None:
    report = warm(Counting(lambda n: BAD if n < 10 else OK))
    assert report.passed
    assert report.failed == 10


def test_errors_in_the_last_quarter_mean_it_is_not_warm() -> None:
    report = warm(Counting(lambda n: BAD if n == 17 else OK))
    assert not report.passed
    assert report.failure == '1 of the last 5 warm-up requests still failed; the last: status 500: "no"'


def test_when_nothing_succeeds_the_rest_is_left_out() -> None:
    report = warm(Counting(lambda _: BAD), requests=500)
    assert report.sent == 20
    assert not report.passed
    assert not report.stopped
    assert report.failure == 'not one of 20 warm-up requests was answered well; the last: status 500: "no"'


def test_capacity_is_not_the_models_fault_unless_it_is_all_there_is() -> None:
    report = warm(Counting(lambda n: BUSY if n % 2 else OK))
    assert report.passed
    assert (report.failed, report.throttled) == (0, 10)
    assert "no capacity" in (warm(Counting(lambda _: BUSY)).failure or "")


def test_answers_of_another_deployment_warm_nothing() -> None:
    report = warm(saying(reply(200, 1, by="blue")))
    assert report.failed == 20
    assert "answered by blue, not by green" in (report.failure or "")


def test_a_redirect_warms_nothing() -> None:
    assert "status 302" in (warm(saying(reply(302, "", by="green"))).failure or "")


def test_no_answer_at_all_is_a_failure() -> None:
    assert "closed without an answer" in (warm(saying(b""), requests=2).failure or "")


def test_a_signal_ends_the_warm_up_between_requests() -> None:
    report = warm(Counting(lambda _: OK), requests=1000, stop_after=5)
    assert report.stopped
    assert not report.passed
    assert 5 <= report.sent < 10


def test_a_signal_before_the_first_request_sends_nothing() -> None:
    report = warm(Counting(lambda _: OK), stop_after=0)
    assert (report.sent, report.stopped, report.failure, report.first_s) == (0, True, None, None)
