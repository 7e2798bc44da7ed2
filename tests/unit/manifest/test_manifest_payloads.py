"""Request files and JSON schemas are complete, valid and small before anything is deployed."""

from __future__ import annotations

import pytest

from deployer.manifest.payloads import check_json, check_lines, check_schema


def test_json_is_read() -> None:
    assert check_json('{"a": ["é"]}'.encode(), "f") == ({"a": ["é"]}, None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "f:1:1: this is not JSON: Expecting value"),
        (b'{"a": 1,\n}', "f:2:1: this is not JSON: Expecting property name enclosed in double quotes"),
        (b"\xff", "f:1:1: the file is not UTF-8 (save it as UTF-8)"),
        (b"[NaN]", "f:1:1: this is not JSON that every reader takes: NaN is not a number of JSON"),
        (b"[-Infinity]", "f:1:1: this is not JSON that every reader takes: -Infinity is not a number of JSON"),
        (b"[" * 100_000, "f:1:1: this is not JSON that every reader takes: maximum recursion depth"),
        (b"9" * 5000, "f:1:1: this is not JSON that every reader takes: Exceeds the limit"),
    ],
)
def test_what_is_no_json(data: bytes, problem: str) -> None:
    value, found = check_json(data, "f")
    assert value is None
    assert str(found).startswith(problem)


def test_lines_are_checked_one_by_one() -> None:
    assert check_lines(b'{"a": 1}\n\n{"a": 2}\r\n', "f") is None
    assert str(check_lines(b'{"a": 1}\n{"a": 2\n', "f")) == "f:2:8: this is not JSON: Expecting ',' delimiter"
    assert str(check_lines(b"\n \n", "f")) == "f:1:1: the file is empty (write one JSON value a line)"


def test_a_schema_is_read() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {"type": ["string", "null"]}},
    }
    data = (
        b'{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": ["string", "null"]}}}'
    )
    assert check_schema(data, "f") == (schema, None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", "f:1:2: this is not JSON"),
        (b"[]", "f:1:1: a list is not a JSON schema (write an object, as {})"),
        (b"true", "f:1:1: true is not a JSON schema (write an object, as {})"),
        (
            b'{"type": "objct1"}',
            "f:1:1: this is not a JSON schema: 'objct1' is not valid under any of the given schemas (at #/type)",
        ),
        (
            b'{"properties": {"a": {"pattern": "("}}}',
            "f:1:1: this is not a JSON schema: '(' is not a 'regex' (at #/properties/a/pattern)",
        ),
        (b'{"$ref": "http://169.254.169.254/"}', "f:1:1: $ref 'http://169.254.169.254/' leads out of the file"),
        (b'{"allOf": [{"$ref": "other.json"}]}', "f:1:1: $ref 'other.json' leads out of the file"),
        (b'{"$dynamicRef": "file:///etc/passwd"}', "f:1:1: $ref 'file:///etc/passwd' leads out of the file"),
    ],
)
def test_what_is_no_usable_schema(data: bytes, problem: str) -> None:
    schema, found = check_schema(data, "f")
    assert schema == {}
    assert str(found).startswith(problem)
