"""``${NAME}`` and ``${NAME:-default}`` in a manifest's values: only names that it lists under ``env``, never a shell.

What is put in is text, whatever it looks like (a commit such as ``1234567`` must not turn into a number one day), and
messages quote what was written, never the value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from deployer.manifest.problems import Expanded, FieldError, Finding, KeyPath, did_you_mean, dotted, shown
from deployer.manifest.scalars import CONTROL

_REFERENCE = re.compile(r"\$(?:\$|\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^${}]*))?\})?)")


def expand(content: dict[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], list[Finding]]:
    """Replace references in all values except the list ``env`` itself; ``$$`` becomes ``$``.

    Returns:
        A copy of ``content``, and what could not be replaced (those values are left as they are).
    """
    listed = content.get("env")
    names = frozenset(str(name) for name in cast("list[Any]", listed)) if isinstance(listed, list) else frozenset[str]()
    findings: list[Finding] = []

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(each, (*path, key)) for key, each in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [walk(each, (*path, index)) for index, each in enumerate(cast("list[Any]", value))]
        if not isinstance(value, str) or "$" not in value:
            return value
        try:
            return _expand_text(value, names, env)
        except FieldError as exc:
            findings.append(Finding(path, f"{dotted(path)}: {exc}", exc.hint))
            return value

    return {key: value if key == "env" else walk(value, (key,)) for key, value in content.items()}, findings


def _expand_text(text: str, names: frozenset[str], env: Mapping[str, str]) -> str:
    expanded = "".join(_pieces(text, names, env))
    return Expanded(expanded, text) if expanded != text else text


def _pieces(text: str, names: frozenset[str], env: Mapping[str, str]) -> Iterator[str]:
    end = 0
    for match in _REFERENCE.finditer(text):
        yield text[end : match.start()]
        end = match.end()
        yield "$" if match[0] == "$$" else _value(match, names, env)
    yield text[end:]


def _value(match: re.Match[str], names: frozenset[str], env: Mapping[str, str]) -> str:
    name, default = match["name"], match["default"]
    if name is None:
        hint = "write ${NAME} or ${NAME:-default}; a dollar sign itself is written $$"
        raise FieldError(f"{shown(match.string[match.start() :])} is no reference", hint=hint)
    if name not in names:
        near = did_you_mean(name, names)
        hint = near if near.startswith("did") else f"add {name} to the list env"
        raise FieldError(f"${{{name}}} is not listed under env", hint=hint)
    value = env.get(name) or default
    if value is None and name not in env:
        raise FieldError(f"the environment variable {name} is not set", hint=f"set it, or write ${{{name}:-default}}")
    if value and (control := CONTROL.search(value)):
        character = f"U+{ord(control[0]):04X}"
        raise FieldError(f"the environment variable {name} holds the control character {character}", hint="set it anew")
    return value or ""
