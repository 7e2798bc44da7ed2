"""Azure ML's own YAML checked against Azure ML's own schema, without its SDK: what ``az ml`` would refuse, at once.

``azureml_schema.json`` is generated from the SDK (tests/tools/azureml_schema.py). On top of it stand the rules that the
SDK and the service apply elsewhere, and the two of ours: the rollout owns the traffic and may choose the name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from deployer.manifest.document import at
from deployer.manifest.problems import Finding, KeyPath, did_you_mean, dotted, shown
from deployer.manifest.schema import NAME_PATTERN, PlatformType
from deployer.manifest.wording import BOOLEAN, LIST, MAPPING, NUMBERS, TEXT, wrong_kind

Schema = Mapping[str, Any]

_KINDS = {
    "string": TEXT,
    "integer": NUMBERS[0],
    "number": NUMBERS[1],
    "boolean": BOOLEAN,
    "object": MAPPING,
    "array": LIST,
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}
_TIMEOUT = ("request_settings", "request_timeout_ms")
_MANAGED_MS = 180_000
"""Longest time-out of a request on managed endpoints (learn.microsoft.com, how-to-manage-quotas)."""

_ASSETS: tuple[KeyPath, ...] = (("environment",), ("model",), ("code_configuration", "code"))
_REGISTRY = "azureml://registries/"
"""What azure-ai-ml 1.35.2 refuses on Kubernetes (_schema/_utils/utils.py, exit_if_registry_assets)."""

_DAY_S = 86_400
_BOUNDS: dict[KeyPath, tuple[int, int]] = {
    ("instance_count",): (1, 1000),
    _TIMEOUT: (1, 300_000),  # Kubernetes (learn.microsoft.com, how-to-manage-quotas)
    ("request_settings", "max_concurrent_requests_per_instance"): (1, 10_000),
    **{
        (probe, key): (least, _DAY_S)
        for probe in ("liveness_probe", "readiness_probe")
        for key, least in (
            ("initial_delay", 0),
            ("period", 1),
            ("timeout", 1),
            ("success_threshold", 1),
            ("failure_threshold", 1),
        )
    },
}
"""Least and most of what the plan computes with. Where Azure says no upper limit, one that only a slip exceeds."""


@cache
def _definitions() -> dict[str, Schema]:
    text = Path(__file__).with_name("azureml_schema.json").read_text(encoding="utf-8")
    return json.loads(text)["$defs"]


def check_endpoint(content: dict[str, Any], platform: PlatformType | None) -> list[Finding]:
    """What is wrong with an endpoint document, for ``platform`` (None: not known)."""
    kubernetes = platform is PlatformType.KUBERNETES or (platform is not PlatformType.MANAGED and "compute" in content)
    schema = _definitions()["KubernetesOnlineEndpoint" if kubernetes else "ManagedOnlineEndpoint"]
    owned = [key for key in ("traffic", "mirror_traffic") if key in content]
    return [
        *_object(schema, content, (), required=("name",)),
        *_name(content.get("name"), lower=False),
        *(Finding((key,), f"{key} is not yours to set: the rollout owns it", "remove it", key=True) for key in owned),
    ]


def check_deployment(content: dict[str, Any], platform: PlatformType | None) -> list[Finding]:
    """What is wrong with a deployment document, for ``platform``. ``name`` and ``endpoint_name`` may be left out."""
    kubernetes = platform is PlatformType.KUBERNETES or (
        platform is not PlatformType.MANAGED and content.get("type") == "kubernetes"
    )
    schema = _definitions()["KubernetesOnlineDeployment" if kubernetes else "ManagedOnlineDeployment"]
    required = ("instance_type",) if platform is PlatformType.MANAGED else ()
    return [
        *_object(schema, content, (), required=required),
        *_name(content.get("name"), lower=True),
        *_platform_rules(content, platform),
        *_bounds(content, platform),
        *_variables(content.get("environment_variables")),
        *_code(content.get("code_configuration")),
    ]


def _check(schema: Schema, value: Any, path: KeyPath) -> list[Finding]:
    schema = _resolved(schema)
    if "anyOf" in schema:
        return _union([_resolved(each) for each in schema["anyOf"]], value, path)
    if value is None and "readOnly" in schema:  # the SDK drops what else such a key holds, and trips over null
        return [Finding(path, f"{dotted(path)}: there is no value", "remove the key")]
    kinds = _kinds(schema)
    if not kinds:
        return []
    if not any(_is(value, each) for each in kinds):
        return [_wrong_kind(value, kinds, path)]
    if isinstance(value, dict):
        return _object(schema, cast("dict[str, Any]", value), path, required=schema.get("required", ()))
    if isinstance(value, list):
        items = enumerate(cast("list[Any]", value))
        return [finding for n, item in items for finding in _check(schema["items"], item, (*path, n))]
    return _word(schema, value, path)


def _resolved(schema: Schema) -> Schema:
    return _definitions()[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _kinds(schema: Schema) -> list[str]:
    kinds: str | list[str] = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _union(members: list[Schema], value: Any, path: KeyPath) -> list[Finding]:
    """Findings of the member that ``value`` is nearest to; for a value of another kind than all, what would fit."""
    kinds = [kind for member in members for kind in _kinds(member)]
    tried = [_check(member, value, path) for member in members if any(_is(value, kind) for kind in _kinds(member))]
    return min(tried, key=len) if tried else [_wrong_kind(value, kinds, path)]


def _wrong_kind(value: Any, kinds: list[str], path: KeyPath) -> Finding:
    message, hint = wrong_kind(value, *dict.fromkeys(_KINDS[kind] for kind in kinds))
    return Finding(path, f"{dotted(path)}: {message}", hint)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _word(schema: Schema, value: Any, path: KeyPath) -> list[Finding]:
    options: list[str] = schema.get("enum", ())
    if options and _cased(value, schema["x-casing"]) not in options:
        message = f"{dotted(path)}: {shown(value)} is not one of {', '.join(options)}"
        return [Finding(path, message, did_you_mean(value, options))]
    pattern: str | None = schema.get("pattern")
    if pattern is not None and not re.match(pattern, value):
        message = f"{dotted(path)}: {shown(value)} is no reference such as azureml:name:1"
        return [
            Finding(path, message, f"a local one is written {{path: {shown(value)}}}" if path[-1] == "model" else "")
        ]
    return []


def _cased(value: str, casing: str) -> str:
    """``value`` as the SDK compares it; ``snake`` turns ``AMLToken`` into ``aml_token`` (its ``camel_to_snake``)."""
    if casing == "snake":
        value = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", value))
    return value.lower()


def _object(schema: Schema, content: dict[str, Any], path: KeyPath, *, required: tuple[str, ...]) -> list[Finding]:
    properties: Schema = schema.get("properties", {})
    others: Schema | bool = schema["additionalProperties"]
    findings: list[Finding] = []
    for key, value in content.items():
        known = properties.get(key, others)
        if known is False:
            hint = did_you_mean(key, properties)
            findings.append(Finding((*path, key), f"unknown key {dotted((*path, key))}", hint, key=True))
        else:
            findings += _check(known, value, (*path, key))
    missing = [key for key in required if key not in content]
    return findings + [Finding((*path, key), f"{dotted((*path, key))} is missing", "add it") for key in missing]


def _name(name: Any, *, lower: bool) -> Iterator[Finding]:
    if not isinstance(name, str):
        return
    if not 3 <= len(name) <= 32 or not re.fullmatch(NAME_PATTERN, name):
        hint = "use 3 to 32 letters, digits and single hyphens between them, a letter first"
        yield Finding(("name",), f"name: {shown(name)} is not a name that Azure ML takes", hint)
    elif lower and name != name.lower():
        yield Finding(("name",), f"name: {shown(name)} has capitals", "write it in lower case, as Azure ML does")


def _platform_rules(content: dict[str, Any], platform: PlatformType | None) -> Iterator[Finding]:
    kind = content.get("type")
    if (
        isinstance(kind, str)
        and platform in (PlatformType.MANAGED, PlatformType.KUBERNETES)
        and kind.lower() != platform
    ):
        hint = "remove it, or change the manifest's platform"
        yield Finding(("type",), f"type: {shown(kind)} does not fit platform {platform}", hint)
    scale = at(content, ("scale_settings", "type"))
    if platform is PlatformType.MANAGED and isinstance(scale, str) and scale.lower() != "default":
        hint = "write type: default; scale a managed deployment with Azure Monitor autoscale"
        path = ("scale_settings", "type")
        yield Finding(path, f"scale_settings.type: {shown(scale)} is for Kubernetes only", hint)
    for path in _ASSETS if platform is PlatformType.KUBERNETES else ():
        asset = at(content, path)
        if isinstance(asset, str) and asset.startswith(_REGISTRY):
            hint = "register it in the workspace, or write it out here"
            yield Finding(path, f"{dotted(path)}: a cluster takes no asset of a registry", hint)


def _bounds(content: dict[str, Any], platform: PlatformType | None) -> Iterator[Finding]:
    for path, (least, most) in _BOUNDS.items():
        value = at(content, path)
        if not _is(value, "integer"):
            continue
        if value < least:
            yield Finding(path, f"{dotted(path)}: {value} is below {least}")
        elif value > most:
            yield Finding(path, f"{dotted(path)}: {value} is over {most}")
    timeout = at(content, _TIMEOUT)
    if platform is PlatformType.MANAGED and _is(timeout, "integer") and _MANAGED_MS < timeout <= _BOUNDS[_TIMEOUT][1]:
        yield Finding(_TIMEOUT, f"{dotted(_TIMEOUT)}: {timeout} is over {_MANAGED_MS}, the most on managed endpoints")


def _variables(variables: Any) -> Iterator[Finding]:
    """Values that reach the process as text without doubt: text and whole numbers."""
    if not isinstance(variables, dict):
        return
    for key, value in cast("dict[str, Any]", variables).items():
        if not isinstance(value, str) and not _is(value, "integer"):
            path = ("environment_variables", key)
            message, hint = wrong_kind(value, TEXT)
            yield Finding(path, f"{dotted(path)}: {message}", hint)


def _code(code: Any) -> Iterator[Finding]:
    if not isinstance(code, dict):
        return
    for one, other in (("code", "scoring_script"), ("scoring_script", "code")):
        if one in code and other not in code:
            yield Finding(("code_configuration", other), f"code_configuration.{other} is missing", f"{one} needs it")
