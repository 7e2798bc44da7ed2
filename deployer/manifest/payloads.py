"""Request files and JSON schemas that a manifest names: small, valid, and complete in themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn, cast

from deployer.manifest.problems import Problem, shown

MAX_PAYLOAD_BYTES = 1024 * 1024


def check_json(data: bytes, file: str) -> tuple[Any, Problem | None]:
    """The JSON value in ``data``, or what is wrong with it (not UTF-8, not JSON, NaN or Infinity, too deep)."""
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse), None
    except json.JSONDecodeError as exc:
        return None, Problem(file, exc.lineno, exc.colno, f"this is not JSON: {exc.msg}")
    except UnicodeDecodeError:
        return None, Problem(file, 1, 1, "the file is not UTF-8", "save it as UTF-8")
    except (ValueError, RecursionError) as exc:
        return None, Problem(file, 1, 1, f"this is not JSON that every reader takes: {exc}")


def check_lines(data: bytes, file: str) -> Problem | None:
    """The first thing that is wrong with JSON lines (``.jsonl``): one JSON value a line, at least one."""
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    for number, line in lines:
        _, problem = check_json(line, file)
        if problem is not None:
            return replace(problem, line=number)
    return None if lines else Problem(file, 1, 1, "the file is empty", "write one JSON value a line")


def check_schema(data: bytes, file: str) -> tuple[dict[str, Any], Problem | None]:
    """The JSON schema in ``data``, or what is wrong with it. One that refers to another file or host is refused."""
    schema, problem = check_json(data, file)
    if problem is not None:
        return {}, problem
    if not isinstance(schema, dict):
        return {}, Problem(file, 1, 1, f"{shown(schema)} is not a JSON schema", "write an object, as {}")
    remote = next(_remote(schema), None)
    if remote is not None:
        return {}, Problem(
            file, 1, 1, f"$ref {shown(remote)} leads out of the file", "copy it in, and refer to #/$defs"
        )
    return _well_formed(cast("dict[str, Any]", schema), file)


def _well_formed(schema: dict[str, Any], file: str) -> tuple[dict[str, Any], Problem | None]:
    # costs 0.1 s, which only manifests with schemas pay
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - see above
    from jsonschema.validators import validator_for  # noqa: PLC0415 - see above

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as exc:
        where = "/".join(map(str, exc.absolute_path))
        return {}, Problem(file, 1, 1, f"this is not a JSON schema: {exc.message[:200]} (at #/{where})")
    return schema, None


def _remote(schema: Any) -> Iterator[str]:
    """Every reference in ``schema`` that does not stay inside it."""
    if isinstance(schema, dict):
        for key, value in cast("dict[str, Any]", schema).items():
            if key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str) and not value.startswith("#"):
                yield value
            yield from _remote(value)
    elif isinstance(schema, list):
        for each in cast("list[Any]", schema):
            yield from _remote(each)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")
