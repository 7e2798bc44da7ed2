"""A configuration written into a deployment's YAML: only the values change, every comment and every blank stays.

The file is patched as text, at the places that the YAML parser names, and parsed again: what does not then say exactly
what it should is refused. (A round trip through a YAML library keeps comments too, and still changes quotes, line
breaks and indentation that people chose.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import yaml

from deployer.errors import ManifestError
from deployer.manifest.configuration import CONCURRENCY, WORKERS, Configuration

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def changes(configuration: Configuration, document: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """List the fields of ``document`` that ``configuration`` sets and that have another value there (or none)."""
    applied = configuration.applied(document)
    wanted: dict[tuple[str, ...], Any] = {("instance_type",): applied.get("instance_type")}
    wanted |= {
        ("instance_count",): applied["instance_count"],
        ("environment_variables", WORKERS): applied["environment_variables"][WORKERS],
        ("request_settings", CONCURRENCY): applied["request_settings"][CONCURRENCY],
    }
    if configuration.resources is not None:
        wanted[("resources",)] = applied["resources"]
    return {path: value for path, value in wanted.items() if value is not None and _at(document, path) != value}


def patch_text(configuration: Configuration, document: Mapping[str, Any]) -> str:
    """Write the fields that change as YAML of their own; empty when none does."""
    nested: dict[str, Any] = {}
    for path, value in changes(configuration, document).items():
        place = nested
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    return yaml.safe_dump(nested, sort_keys=False) if nested else ""


def patched(text: str, configuration: Configuration) -> str:
    """Give the deployment file ``text`` with ``configuration``; unchanged when it has it.

    Args:
        text: a YAML mapping that has passed the checks of a manifest.
        configuration: what it shall say.

    Raises:
        ManifestError: the file is written in a way in which it cannot be changed safely, such as with aliases.
    """
    try:
        before: dict[str, Any] = yaml.safe_load(text)
        for path, value in changes(configuration, before).items():
            node = cast("yaml.MappingNode", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
            text = _set(text, node, path, value)
        is_as_wanted = yaml.safe_load(text) == configuration.applied(before)
    except yaml.YAMLError:  # a way to write it that is not known here
        is_as_wanted = False
    if not is_as_wanted:
        raise ManifestError(
            "the deployment file cannot be changed without a risk", hint="Write the recommended values by hand."
        )
    return text


def _set(text: str, node: yaml.MappingNode, path: tuple[str, ...], value: Any) -> str:
    key, *below = path
    found = next((item for name, item in node.value if name.value == key), None)
    if found is None:
        return _insert(text, node, path, value)
    if not below:
        return _replace(text, key, found, value)
    if not isinstance(found, yaml.MappingNode):
        return _replace(text, key, found, {path[-1]: value})
    return _set(text, found, path[1:], value)


def _replace(text: str, key: str, node: yaml.Node, value: Any) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}:
        raise ManifestError(f"{key} is a block of text in the file", hint="Write the recommended value by hand.")
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:  # a block ends where the next key begins
        end = start + len(text[start:end].rstrip())
        end = _without_comments(text, start, end)
    written = _scalar(value, node.style if isinstance(node, yaml.ScalarNode) else None)
    separator = "" if start and text[start - 1].isspace() else " "
    return text[:start] + separator + written + text[end:]


def _without_comments(text: str, start: int, end: int) -> int:
    """The end of a block without the comment lines below it, which belong to what follows."""
    lines = text[start:end].split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return start + len("\n".join(lines))


def _insert(text: str, mapping: yaml.MappingNode, path: tuple[str, ...], value: Any) -> str:
    """Add a key behind the last one of ``mapping``, before its comma or comment; what is nested stands in one line."""
    for key in reversed(path[1:]):
        value = {key: value}
    entry = f"{path[0]}: {_scalar(value, None)}"
    if mapping.flow_style:
        if not mapping.value:
            end = text.index("{", mapping.start_mark.index) + 1
            return text[:end] + entry + text[end:].lstrip(" ")
        end = mapping.value[-1][1].end_mark.index
        return f"{text[:end]}, {entry}{text[end:]}"
    last = mapping.value[-1][1]
    end = _end_of_line(text, last)
    indent = " " * mapping.value[0][0].start_mark.column  # the mapping itself may begin with an anchor, a line above
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{text[:end]}{newline}{indent}{entry}{text[end:]}"


def _end_of_line(text: str, node: yaml.Node) -> int:
    """The end of the last line of ``node``, comment included."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last: Any = node.value[-1]
        node = cast("yaml.Node", last[1] if isinstance(last, tuple) else last)
    at = cast("int", node.end_mark.index)
    if isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}:
        return len(text[:at].rstrip("\r\n"))
    found = text.find("\n", at)
    end = len(text) if found < 0 else found
    return end - 1 if text[end - 1 : end] == "\r" else end


def _scalar(value: Any, style: str | None) -> str:
    """Write ``value`` in one line; text in the quotes that stood there, or without where that reads back as text."""
    if not isinstance(value, str):
        return _flow(value)
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    if style != '"' and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return "{" + ", ".join(f"{_scalar(key, None)}: {_scalar(each, None)}" for key, each in items) + "}"
    return json.dumps(value)


def _at(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = document
    for key in path:
        found = cast("dict[str, Any]", found).get(key) if isinstance(found, dict) else None
    return found
