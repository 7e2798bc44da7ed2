from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from loadtests.payloads import Drawer, drawn_bodies, read_bodies, request_schema

SCHEMAS: dict[str, Any] = {
    "digits": {
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "items": {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number", "maximum": 1}},
            }
        },
        "additionalProperties": False,
    },
    "numbers": {
        "type": "array",
        "prefixItems": [
            {"type": "integer", "minimum": 3, "maximum": 4},
            {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
            {"type": "integer", "multipleOf": 7},
            {"type": "number", "minimum": -2.5, "maximum": -2.25},
            {"type": "number", "exclusiveMaximum": 0},
            {"type": ["boolean", "null"]},
        ],
        "minItems": 6,
    },
    "words": {
        "type": "object",
        "required": ["name", "kind", "at", "free"],
        "properties": {
            "name": {"type": "string", "minLength": 3, "maxLength": 5},
            "kind": {"enum": ["a", "b"]},
            "at": {"type": "string", "format": "date-time"},
            "fixed": {"const": 4},
        },
    },
    "choices": {
        "$defs": {"x": {"required": ["x"], "properties": {"x": {"type": "integer"}}}},
        "type": "object",
        "allOf": [{"$ref": "#/$defs/x"}, {"required": ["y"], "properties": {"y": {"type": "string"}}}],
        "anyOf": [{"required": ["z"], "properties": {"z": {"type": "boolean"}}}, {}],
    },
    "tree": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}},
            }
        },
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_drawn_is_what_the_schema_admits(name: str) -> None:
    validator = Draft202012Validator(SCHEMAS[name])
    bodies = [json.loads(body) for body in drawn_bodies(SCHEMAS[name], name, 1)]
    for body in bodies:
        validator.validate(body)
    assert len({json.dumps(body) for body in bodies}) > 1


def test_a_seed_repeats_what_is_drawn() -> None:
    assert drawn_bodies(SCHEMAS["digits"], "a", 1) == drawn_bodies(SCHEMAS["digits"], "a", 1)
    assert drawn_bodies(SCHEMAS["digits"], "a", 1) != drawn_bodies(SCHEMAS["digits"], "a", 2)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string", "pattern": "^a$"}, "no value is drawn for pattern"),
        ({"type": "string", "format": "idn-hostname"}, "no value is drawn for idn-hostname"),
        ({"type": "file"}, "no value is drawn for file"),
        ({"$ref": "other.json"}, "only references within the file"),
        ({"$ref": "#/$defs/none"}, "the schema has no"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no whole number"),
        ({"$ref": "#"}, "no finite value"),
        ({"required": ["a"], "properties": {"a": {"$ref": "#"}}}, "no finite value"),
        (False, "no finite value"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("$", "\\$")):
        Drawer(schema, Random(1)).draw(schema)


OPENAPI = {
    "openapi": "3.0.1",
    "paths": {
        "/": {"get": {}},
        "/score": {
            "post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}}}
        },
    },
    "components": {
        "schemas": {
            "In": {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "maximum": 3, "exclusiveMaximum": True}
        }
    },
}
SWAGGER = {
    "swagger": "2.0",
    "paths": {"/score": {"post": {"parameters": [{"in": "body", "schema": {"$ref": "#/definitions/In"}}]}}},
    "definitions": {"In": {"type": "object", "properties": {"Inputs": {}}, "example": {"Inputs": [1, 2]}}},
}


def test_the_schema_of_a_request_is_found_in_an_openapi_document(tmp_path: Path) -> None:
    for name, document, body in (("a", OPENAPI, b"2"), ("b", SWAGGER, b'{"Inputs": [1, 2]}')):
        file = tmp_path / f"{name}.schema.json"
        file.write_text(json.dumps(document))
        assert set(read_bodies(file)) == {body}
    with pytest.raises(ValueError, match="no POST with a schema"):
        request_schema({"openapi": "3.0.0", "paths": {}})


@pytest.mark.parametrize(("name", "content"), [("a.json", ""), ("a.jsonl", "\n \n"), ("a.json", "  \n")])
def test_an_empty_payload_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match="holds no request"):
        read_bodies(tmp_path / name)
