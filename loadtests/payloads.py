"""Bodies of scoring requests: samples as they are, or values drawn from a schema.

``.json`` is one body, ``.jsonl`` one a line. ``.schema.json`` is a JSON Schema, or an OpenAPI document whose first
request body with a schema is taken; bodies are drawn from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

DRAWN = 200
"""Bodies that are drawn from a schema, before the load starts: drawing them while sending would cost CPU then."""
DEEPEST = 12
"""References within references: beyond it a schema that needs itself has no finite value."""
UNKNOWN = frozenset(
    {"pattern", "not", "if", "patternProperties", "dependentSchemas", "contains", "unevaluatedProperties"}
)
"""Keywords that are not obeyed: what uses them is refused, not half obeyed."""
FORMATS = {
    "date-time": "2024-05-17T12:30:00Z",
    "date": "2024-05-17",
    "time": "12:30:00Z",
    "uuid": "3f2b8f9e-6c1d-4a77-9d0c-2f6f0a3d5b11",
    "email": "user@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def read_bodies(path: Path, *, seed: int | None = None) -> list[bytes]:
    """Read what to send.

    Raises:
        ValueError: there is nothing to send, or no value can be drawn.
        OSError: there is no such file.
    """
    content = path.read_bytes()
    if path.name.endswith(".schema.json"):
        return drawn_bodies(json.loads(content), path.name, seed)
    bodies = [line for line in content.splitlines() if line.strip()] if path.suffix == ".jsonl" else [content]
    if not any(body.strip() for body in bodies):
        raise ValueError(f"{path} holds no request: write one body a line")
    return bodies


def drawn_bodies(document: Any, name: str, seed: int | None) -> list[bytes]:
    """Draw ``DRAWN`` bodies from a JSON Schema or an OpenAPI document.

    Raises:
        ValueError: it has no schema, or one that cannot be obeyed.
    """
    schema = request_schema(document) if "openapi" in document or "swagger" in document else document
    random = Random() if seed is None else Random(f"{seed}/{name}")  # noqa: S311 - no secrets
    return [json.dumps(Drawer(document, random).draw(schema)).encode() for _ in range(DRAWN)]


def request_schema(document: Mapping[str, Any]) -> Any:
    """Find the first request body's schema of an OpenAPI 3 or Swagger 2 document.

    Raises:
        ValueError: there is none.
    """
    for path in document.get("paths", {}).values():
        post = path.get("post", {})
        for kind in post.get("requestBody", {}).get("content", {}).values():
            if "schema" in kind:
                return kind["schema"]
        for parameter in post.get("parameters", ()):
            if parameter.get("in") == "body" and "schema" in parameter:
                return parameter["schema"]
    raise ValueError("the OpenAPI document has no POST with a schema of its body")


class Drawer:
    """Draws values that a schema admits."""

    def __init__(self, document: Any, random: Random) -> None:
        self._document = document
        self._random = random

    def draw(self, schema: Any, depth: int = 0) -> Any:
        """Return one value.

        Raises:
            ValueError: the schema says something that is not obeyed here, or needs itself without end.
        """
        if schema is True or schema == {}:
            return None
        schema = self._whole(schema, depth)
        if unknown := UNKNOWN & schema.keys():
            raise ValueError(f"no value is drawn for {', '.join(sorted(unknown))}: give samples instead of a schema")
        if "const" in schema:
            return schema["const"]
        for key in ("enum", "examples"):
            if schema.get(key):
                return self._random.choice(schema[key])
        if "example" in schema:
            return schema["example"]
        kinds = schema.get("type") or ("object" if "properties" in schema else "array" if "items" in schema else "null")
        kind = self._random.choice(kinds) if isinstance(kinds, list) else kinds
        return getattr(self, f"_{kind}", self._no_such)(schema, depth + 1)

    def _whole(self, schema: Any, depth: int) -> dict[str, Any]:
        """Follow references, choose among alternatives, merge what must hold at once."""
        if depth > DEEPEST or not isinstance(schema, dict):
            raise ValueError("the schema admits no finite value")
        merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        parts = [self._target(schema["$ref"])] if "$ref" in schema else []
        parts += schema.get("allOf", [])
        parts += [self._random.choice(schema[key]) for key in ("anyOf", "oneOf") if schema.get(key)]
        for part in parts:
            for key, value in self._whole(part, depth + 1).items():
                old = merged.get(key)
                if key == "properties" and old:
                    merged[key] = {**old, **value}
                elif key == "required" and old:
                    merged[key] = [*old, *value]
                else:
                    merged[key] = value
        return merged

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise ValueError(f"the schema refers to {reference}: only references within the file are followed")
        found = self._document
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            raise ValueError(f"the schema has no {reference}")
        return found

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        properties = schema.get("properties", {})
        value = {
            name: self.draw(part, depth)
            for name, part in properties.items()
            if name in required or (depth < DEEPEST / 2 and self._random.random() < 0.5)
        }
        value |= {name: self.draw(schema.get("additionalProperties", True), depth) for name in required - value.keys()}
        return value

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = schema.get("minItems", 0 if depth > DEEPEST / 2 else 1)
        most = schema.get("maxItems", max(least, 1))
        first: Sequence[Any] = schema.get("prefixItems", ())
        length = max(self._random.randint(least, max(most, least)), len(first))
        items = schema.get("items", True)
        return [self.draw(first[at] if at < len(first) else items, depth) for at in range(length)]

    def _bounds(self, schema: Mapping[str, Any], step: float) -> tuple[float, float]:
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        for key, sign in (("exclusiveMinimum", 1), ("exclusiveMaximum", -1)):
            bound = schema.get(key)  # a number, or (OpenAPI 3.0) whether minimum or maximum is exclusive
            if bound is True:
                low, high = (low + step, high) if sign > 0 else (low, high - step)
            elif isinstance(bound, int | float) and bound is not False:
                low, high = (max(low, bound + step), high) if sign > 0 else (low, min(high, bound - step))
        low = low if math.isfinite(low) else min(high, 100) - 100 if math.isfinite(high) else 0
        return low, high if math.isfinite(high) else low + 100

    def _integer(self, schema: Mapping[str, Any], _depth: int) -> int:
        step = schema.get("multipleOf", 1)
        low, high = self._bounds(schema, 1)
        first, last = math.ceil(low / step), math.floor(high / step)
        if first > last or step != int(step):
            raise ValueError("the schema admits no whole number")
        return int(self._random.randint(first, last) * step)

    def _number(self, schema: Mapping[str, Any], depth: int) -> float:
        if "multipleOf" in schema:
            return self._integer(schema, depth)
        low, high = self._bounds(schema, 1e-6)
        return round(self._random.uniform(low, high), 6)

    def _string(self, schema: Mapping[str, Any], _depth: int) -> str:
        if "format" in schema:
            return FORMATS.get(schema["format"]) or self._no_such(schema, 0)
        least = schema.get("minLength", 1)
        length = self._random.randint(least, max(schema.get("maxLength", max(least, 12)), least))
        return "".join(self._random.choices(LETTERS, k=length))

    def _boolean(self, _schema: Mapping[str, Any], _depth: int) -> bool:
        return self._random.random() < 0.5

    def _null(self, _schema: Mapping[str, Any], _depth: int) -> None:
        return None

    def _no_such(self, schema: Mapping[str, Any], _depth: int) -> Any:
        what = schema.get("format") or schema.get("type")
        raise ValueError(f"no value is drawn for {what}: give samples instead of a schema")
