import json
from datetime import date

import pytest

from deployer.errors import ConflictError, PlatformError, TelemetryError
from deployer.local.protocol import (
    REQUEST_MAX,
    decode_answer,
    decode_request,
    encode_error,
    encode_request,
    encode_result,
)


def test_a_request_arrives_as_it_was_sent():
    line = encode_request("set_traffic", {"traffic": {"blue": 100}})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line) == ("set_traffic", {"traffic": {"blue": 100}})


def test_a_result_arrives_as_it_was_sent():
    assert decode_answer(encode_result({"rows": [[1, None, "\N{SNOWMAN}\n"]]})) == {
        "rows": [[1, None, "\N{SNOWMAN}\n"]]
    }


@pytest.mark.parametrize("kind", [ConflictError, TelemetryError, PlatformError])
def test_an_error_arrives_as_the_class_it_was_raised_as(kind: type[PlatformError]):
    with pytest.raises(kind, match="what") as caught:
        decode_answer(encode_error(kind("what", hint="Do this.")))
    assert type(caught.value) is kind
    assert caught.value.hint == "Do this."


def test_an_unknown_class_of_error_is_a_platform_error():
    line = json.dumps({"v": 2, "error": {"type": "ExitCode", "message": "m", "hint": "h"}}).encode()
    with pytest.raises(PlatformError, match="m"):
        decode_answer(line)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"error": {}}', b'{"error": 1}', b"\xff"])
def test_an_answer_that_is_none_is_refused(line: bytes):
    with pytest.raises(PlatformError, match="cannot be read"):
        decode_answer(line)


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"v": 2}', b"\xff", b'{"v": 2, "op": 1, "args": {}}'])
def test_a_request_that_is_none_is_refused(line: bytes):
    with pytest.raises(PlatformError, match="request"):
        decode_request(line)


def test_a_daemon_of_another_version_says_how_to_replace_it():
    with pytest.raises(PlatformError, match="version") as caught:
        decode_request(b'{"v": 0, "op": "observe", "args": {}}')
    assert "local down" in caught.value.hint


@pytest.mark.parametrize("value", [float("nan"), date(2026, 1, 1), {1, 2}])
def test_what_json_cannot_hold_is_refused_before_it_is_sent(value: object):
    with pytest.raises(PlatformError, match="cannot be sent"):
        encode_request("ensure_endpoint", {"document": {"x": value}})


def test_a_request_that_is_too_long_is_refused_before_it_is_sent():
    with pytest.raises(PlatformError, match="over the limit"):
        encode_request("ensure_endpoint", {"document": "x" * REQUEST_MAX})
