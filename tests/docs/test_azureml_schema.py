"""What ``validate`` knows of Azure ML's YAML is what the installed SDK accepts. The SDK runs in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.manifest.native import check_deployment, check_endpoint
from deployer.manifest.schema import PlatformType

TOOL = Path(__file__).parents[1] / "tools" / "azureml_schema.py"

ENDPOINT: dict[str, Any] = {"name": "digits", "auth_mode": "key"}
DEPLOYMENT: dict[str, Any] = {"name": "green", "endpoint_name": "digits", "instance_type": "Standard_DS3_v2"}
VALUES: tuple[Any, ...] = (
    *("x", "azureml:a:1", "azureml://registries/r/models/m/versions/1", "key", "AMLToken", "aad_token", "Enabled"),
    *({}, {"x": 1}, {"type": "default"}, {"type": "TargetUtilization"}, {"type": "system_assigned"}, {"period": 1}),
    *({"path": "m"}, {"image": "i"}, {"name": "n", "image": "i", "version": 2}, {"code": "c", "scoring_script": "s"}),
    *(
        {"requests": {"cpu": "1", "nvidia.com/gpu": "1"}},
        {"request_timeout_ms": 1},
        {"collections": {"a": {"enabled": "true"}}},
    ),
    *({"collections": {"a": {"enabled": True}}}, {"sampling_rate": 0.5}, [], ["a"], None, True, 2),
)
KEYS = {
    "managed endpoint": ("auth_mode", "identity", "public_network_access", "tags", "compute", "nonsense", "kind"),
    "kubernetes endpoint": ("auth_mode", "identity", "compute", "public_network_access"),
    "managed deployment": (
        *("model", "environment", "code_configuration", "scale_settings", "liveness_probe", "request_settings"),
        *(
            "data_collector",
            "instance_count",
            "resources",
            "app_insights_enabled",
            "properties",
            "type",
            "creation_context",
        ),
    ),
    "kubernetes deployment": (
        "scale_settings",
        "resources",
        "readiness_probe",
        "creation_context",
        "egress_public_network_access",
    ),
}
CORPUS = [
    (kind, {**(ENDPOINT if kind.endswith("endpoint") else DEPLOYMENT), key: value})
    for kind, keys in KEYS.items()
    for key in keys
    for value in VALUES
]
PROBE = """
import json, logging, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
logging.disable()
import azureml_schema
from marshmallow import ValidationError
from marshmallow.decorators import post_load
classes = dict(zip(("managed endpoint", "kubernetes endpoint", "managed deployment", "kubernetes deployment"), azureml_schema.ROOTS))
answers = []
for kind, document in json.load(sys.stdin):
    schema = classes[kind](context={"base_path": Path()})
    try:
        schema.load(document)
        answers.append(None)
    except ValidationError as exc:
        answers.append(str(exc))
    except Exception as exc:  # the SDK tripped: neither taken nor refused
        answers.append("TRIPPED")
json.dump(answers, sys.stdout)
"""


def sdk(*arguments: str, stdin: str = "", cwd: Path | None = None) -> str:
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=quiet,
        cwd=cwd,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_committed_schema_is_the_installed_sdk_s() -> None:
    sdk(str(TOOL), "--check")


def ours(kind: str, document: dict[str, Any]) -> list[str]:
    platform = PlatformType.MANAGED if kind.startswith("managed") else PlatformType.KUBERNETES
    check = check_endpoint if kind.endswith("endpoint") else check_deployment
    return [finding.message for finding in check(document, platform)]


STRICTER = (
    "is not a whole number",  # the SDK reads 2 in "2", True and 2.5
    "is not true or false",  # and true in "yes", 1 and "on"
    "is not a number",
    "does not fit platform",
    "is for Kubernetes only",  # said by the SDK too, one step later
    "code_configuration.",
)
"""Where we refuse what the SDK's YAML schema takes, on purpose."""


def test_we_refuse_what_the_sdk_refuses_and_little_else(tmp_path: Path) -> None:
    (tmp_path / "m").touch()  # the SDK reads a local model as soon as it meets its path
    answers = json.loads(sdk("-c", PROBE, str(TOOL.parent), stdin=json.dumps(CORPUS), cwd=tmp_path))
    assert answers.count("TRIPPED") < len(CORPUS) / 20
    assert answers.count(None) > len(CORPUS) / 10
    laxer: list[Any] = []
    stricter: list[Any] = []
    for (kind, document), answer in zip(CORPUS, answers, strict=True):
        said = ours(kind, document)
        if answer == "TRIPPED":
            continue
        if answer is not None and not said:
            laxer.append((kind, document, answer))
        elif answer is None and said and not any(words in message for message in said for words in STRICTER):
            stricter.append((kind, document, said))
    assert laxer == []
    assert stricter == []


@pytest.mark.parametrize("module", ["deployer.manifest.load", "deployer.report.problems", "deployer.stores.files"])
def test_validating_imports_neither_azure_nor_a_schema_library(module: str) -> None:
    heavy = ("azure", "jsonschema", "marshmallow", "numpy", "scipy", "locust", "requests", "rich")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert sdk("-c", code).strip() == "[]"
