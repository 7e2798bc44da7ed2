"""A model's refusals in the words of the manifest: which key, which value, why, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from deployer.manifest.base import Model
from deployer.manifest.document import at
from deployer.manifest.problems import MAX_PROBLEMS, Finding, KeyPath, did_you_mean, dotted, shown
from deployer.manifest.quantities import format_duration, format_share
from deployer.manifest.schema import ENV_PATTERN, NAME_PATTERN
from deployer.manifest.wording import LIST, MAPPING, NUMBERS, TEXT, wrong_kind

AnyModel = TypeVar("AnyModel", bound=Model)

_KINDS = {
    "string_type": TEXT,
    "int_type": NUMBERS[0],
    "float_type": NUMBERS[1],
    "dict_type": MAPPING,
    "model_type": MAPPING,
    "tuple_type": LIST,
}
_LIMITS = {
    "greater_than": ("gt", "must be over"),
    "greater_than_equal": ("ge", "is below"),
    "less_than": ("lt", "must be under"),
    "less_than_equal": ("le", "is over"),
}
_SIZES = {
    "string_too_short": "{value} is shorter than {min_length} characters",
    "string_too_long": "{value} is longer than {max_length} characters",
}
_PATTERNS = {
    NAME_PATTERN: "use letters, digits and single hyphens between them, a letter first",
    ENV_PATTERN: "use capital letters, digits and underscores, no digit first",
}


def check(model: type[AnyModel], content: dict[str, Any]) -> tuple[AnyModel | None, list[Finding]]:
    """Validate ``content``: the model, or None and what is wrong (at most ``MAX_PROBLEMS``)."""
    try:
        return model.model_validate(content), []
    except ValidationError as exc:
        errors = exc.errors(include_url=False)[:MAX_PROBLEMS]
        return None, list(_findings(model, content, errors))


def _findings(model: type[Model], content: Any, errors: list[ErrorDetails]) -> Iterator[Finding]:
    kinds: dict[KeyPath, list[str]] = {}
    for error in errors:
        path = _path(content, error["loc"])
        if error["type"] not in _KINDS:
            yield _finding(model, content, path, error)
            continue
        if path not in kinds:  # the first member of a union that did not fit; the others follow
            kinds[path] = [
                _KINDS[e["type"]] for e in errors if e["type"] in _KINDS and _path(content, e["loc"]) == path
            ]
            message, hint = wrong_kind(at(content, path), *dict.fromkeys(kinds[path]))
            yield Finding(path, f"{dotted(path)}: {message}", hint)


def _finding(model: type[Model], content: Any, path: KeyPath, error: ErrorDetails) -> Finding:
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "missing":
        key = str(error["loc"][-1])
        return Finding((*path, key), f"{dotted((*path, key))} is missing", _purpose(model, path, key))
    if kind == "extra_forbidden":
        hint = did_you_mean(str(path[-1]), _keys(model, path[:-1]))
        return Finding(path, f"unknown key {dotted(path)}", hint, key=True)
    if kind == "value_error":
        cause = context["error"]
        message = f"{dotted(path)}: {cause}" if path else str(cause)
        return Finding((*path, *getattr(cause, "at", ())), message, getattr(cause, "hint", ""))
    value = at(content, path)
    message, hint = _refusal(kind, value, context, error["msg"])
    return Finding(path, f"{dotted(path)}: {message}", hint)


def _refusal(kind: str, value: Any, context: dict[str, Any], otherwise: str) -> tuple[str, str]:
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"{shown(value)} {words} {_like(value, context[name])}", ""
    if kind in _SIZES:
        return _SIZES[kind].format(value=shown(value), **context), ""
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} is not a name", _PATTERNS[context["pattern"]]
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", context["expected"])
        return f"{shown(value)} is not one of {', '.join(options)}", did_you_mean(str(value), options)
    return f"{shown(value)}: {otherwise}", ""


def _like(value: Any, limit: float) -> str:
    """``limit`` in the form that the user chose for ``value``."""
    if not isinstance(value, str):
        return f"{limit:g}"
    return format_share(limit) if value.endswith("%") else format_duration(limit)


def _path(content: Any, location: tuple[int | str, ...]) -> KeyPath:
    """``location`` without what stands for a member of a union: only keys and indices that ``content`` has."""
    path: list[str | int] = []
    for step in location:
        if _has(content, step):
            content = content[step]
            path.append(step)
    return tuple(path)


def _has(content: Any, step: int | str) -> bool:
    return step in content if isinstance(content, dict) else isinstance(content, list) and isinstance(step, int)


def _models(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _models_at(model: type[Model], path: KeyPath) -> list[type[Model]]:
    """Models that may stand at ``path``: one, or the members of a union."""
    models = [model]
    for key in path:
        if isinstance(key, str):
            fields = [
                field for each in models for name, field in each.model_fields.items() if key in (name, field.alias)
            ]
            models = [found for field in fields for found in _models(field.annotation)]
    return models


def _keys(model: type[Model], path: KeyPath) -> list[str]:
    return [field.alias or name for each in _models_at(model, path) for name, field in each.model_fields.items()]


def _purpose(model: type[Model], path: KeyPath, key: str) -> str:
    fields = [each.model_fields.get(key) for each in _models_at(model, path)]
    return next((field.description for field in fields if field is not None and field.description), "")
