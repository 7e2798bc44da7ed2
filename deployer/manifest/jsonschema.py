"""JSON Schemas of manifest and profile, for editors: what may be written, short forms included, and the defaults.

It accepts all that the models accept. What it cannot say, the loader still checks: limits of durations, shares and
growths (they are text here), that 5.0 is not written for 5, and every rule that needs several keys.
"""

from __future__ import annotations

from typing import Any

from deployer.manifest.base import Model
from deployer.manifest.profile import Profile
from deployer.manifest.quantities import format_duration, format_share
from deployer.manifest.schema import Manifest


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a manifest; defaults are written as users write them."""
    return _schema(Manifest, "deployer: rollout manifest")


def profile_json_schema() -> dict[str, Any]:
    """The same of a profile."""
    return _schema(Profile, "deployer: profile")


def _schema(model: type[Model], title: str) -> dict[str, Any]:
    schema = model.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        for each in part.get("properties", {}).values():
            _write_default(each)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def _write_default(schema: dict[str, Any]) -> None:
    default = schema.get("default")
    patterns = [form.get("pattern", "") for form in (schema, *schema.get("anyOf", ()))]
    if any(form.get("const") == "auto" for form in schema.get("anyOf", ())):
        schema["default"] = "auto"
    elif default is None:
        schema.pop("default", None)
    elif isinstance(default, float) and any(pattern.endswith("ms)?$") for pattern in patterns):
        schema["default"] = format_duration(default)
    elif isinstance(default, float) and any(pattern.endswith("%$") for pattern in patterns):
        schema["default"] = format_share(default)
    elif isinstance(default, float):
        schema["default"] = f"{default:g}x"
