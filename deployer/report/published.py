"""Records whose shape is published as JSON Schema: exact, and written in one way."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, TypeAdapter, with_config

strict = with_config(ConfigDict(extra="forbid"))
"""A record that holds its fields and no others."""


def json_schema(record: Any, title: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of ``record``, a ``TypedDict``."""
    schema = TypeAdapter(record).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"deployer: {title}"}
