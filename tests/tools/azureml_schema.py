"""Write ``deployer/manifest/azureml_schema.json``: Azure ML's own YAML schema as JSON Schema, taken from the installed SDK.

``deployer validate`` must know every key of an endpoint and a deployment file without importing the SDK (seconds).
Run ``python tests/tools/azureml_schema.py`` after an upgrade of azure-ai-ml and read the diff; ``--check`` only compares.
A field class that is not known here stops the run: it may mean something this translation would get wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from azure.ai.ml._schema._deployment.online.online_deployment import (
    KubernetesOnlineDeploymentSchema,
    ManagedOnlineDeploymentSchema,
)
from azure.ai.ml._schema._endpoint.online.online_endpoint import (
    KubernetesOnlineEndpointSchema,
    ManagedOnlineEndpointSchema,
)
from azure.ai.ml._schema.core import fields as ml
from marshmallow import Schema, fields

ROOTS = (
    ManagedOnlineEndpointSchema,
    KubernetesOnlineEndpointSchema,
    ManagedOnlineDeploymentSchema,
    KubernetesOnlineDeploymentSchema,
)
TARGET = Path(__file__).parents[2] / "deployer" / "manifest" / "azureml_schema.json"

Json = dict[str, Any]

READ_ONLY: Json = {"readOnly": True}


class Walk:
    """Collects the definition of every schema it meets."""

    def __init__(self) -> None:
        self.definitions: dict[str, Json] = {}

    def schema(self, schema: Schema) -> Json:
        """A reference to the definition of ``schema``, which is made once."""
        name = type(schema).__name__.removesuffix("Schema")
        if name not in self.definitions:
            self.definitions[name] = {}  # breaks cycles
            self.definitions[name] = self._definition(schema)
        return {"$ref": f"#/$defs/{name}"}

    def _definition(self, schema: Schema) -> Json:
        named = {field.data_key or name: field for name, field in schema.fields.items()}
        properties = {name: self.field(field) for name, field in named.items()}
        properties |= {alias: properties[name] for alias, name in aliases(schema).items()}
        required = sorted(name for name, field in named.items() if field.required)
        return {
            "type": "object",
            "properties": dict(sorted(properties.items())),
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }

    def field(self, field: fields.Field) -> Json:
        """JSON Schema of what ``field`` loads from YAML."""
        if field.dump_only:  # the SDK drops it unread
            return READ_ONLY
        match field:
            case ml.ExperimentalField():
                return self.field(field.experimental_field)
            case ml.UnionField():
                return any_of([self.field(one) for one in field.union_fields])
            case fields.Nested():
                return self.schema(field.schema)
            case fields.Dict():
                values = self.field(field.value_field) if field.value_field else {}
                return {"type": "object", "additionalProperties": values}
            case fields.List():
                return {"type": "array", "items": self.field(field.inner)}
            case _:
                return scalar(field)


def any_of(shapes: list[Json]) -> Json:
    """The union of ``shapes``; one that accepts anything swallows the others."""
    unique = [shape for n, shape in enumerate(shapes) if shape not in shapes[:n]]
    for anything in ({}, READ_ONLY):
        if anything in unique:
            return anything
    return unique[0] if len(unique) == 1 else {"anyOf": unique}


def scalar(field: fields.Field) -> Json:
    """JSON Schema of a field that holds one value."""
    match field:
        case ml.StringTransformedEnum():
            casing = {"abcd": "lower", "ab_cd": "snake"}[field.casing_transform("AbCd")]
            return {"type": "string", "enum": list(field.allowed_values), "x-casing": casing}
        case ml.RegistryStr():
            return {"type": "string", "pattern": "^azureml://registries/.+"}
        case ml.ArmStr():
            return {"type": "string", "pattern": field.pattern}
        case ml.VersionField():
            return {"type": ["string", "number"]}
        case ml.LocalPathField():
            return {"type": "string", "format": "path"}
        case fields.Url():
            return {"type": "string", "format": "uri"}
        case fields.Bool():
            return {"type": "boolean"}
        case fields.Int():
            return {"type": "integer"}
        case fields.Float():
            return {"type": "number"}
        case fields.Str():  # the pattern of names is left out: native.py is stricter
            return {"type": "string"}
        case fields.Raw():
            return {}
        case _:
            raise TypeError(f"{type(field).__name__} ({field.name}) is not known here: say what it accepts")


def aliases(schema: Schema) -> dict[str, str]:
    """Other spellings that the SDK renames before loading, found by asking its hook."""
    hook = getattr(schema, "conversion", None)
    if hook is None:
        return {}
    return {"nvidia.com/gpu": next(iter(hook({"nvidia.com/gpu": "1"})))}


def generate() -> str:
    """The whole file."""
    walk = Walk()
    for root in ROOTS:
        walk.schema(root(context={"base_path": Path()}))
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "YAML of online endpoints and deployments, as azure-ai-ml reads it (tests/tools/azureml_schema.py)",
        "$defs": dict(sorted(walk.definitions.items())),
    }
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    text = generate()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if TARGET.read_text(encoding="utf-8") == text else f"{TARGET.name} differs from the installed SDK")
    TARGET.write_text(text, encoding="utf-8")
