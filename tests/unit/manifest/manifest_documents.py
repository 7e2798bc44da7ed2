"""Manifests and native documents that the tests of this directory start from."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from deployer.manifest.load import InvalidManifestError, RolloutSpec, load_manifest
from deployer.stores.files import DiskFiles

MANIFEST: dict[str, Any] = {
    "version": 1,
    "name": "digits",
    "platform": "local",
    "endpoint": "endpoint.yml",
    "deployment": "deployment.yml",
    "slo": {"latency": {"p95": "300ms"}, "error_rate": "1%"},
    "strategy": {"canary": {"steps": [5, 25, 50]}},
}

FULL: dict[str, Any] = {
    **MANIFEST,
    "platform": {
        "type": "managed",
        "subscription_id": "s",
        "resource_group": "g",
        "workspace": "w",
        "cloud": "AzureCloud",
    },
    "env": ["AZURE_SUBSCRIPTION_ID"],
    "baseline": "deployment-v1.yml",
    "slo": {"latency": {"p50": "80ms", "p95": "300ms", "p99": "900ms"}, "error_rate": "1%"},
    "strategy": {
        "canary": {
            "steps": [
                {"mirror": "10%", "for": "10m"},
                5,
                {"weight": 25, "min": "5m", "max": "30m"},
                {"pause": {"for": "10m"}},
                {"smoke": {}},
                {"pause": {}},
                100,
            ],
            "each": {"min": "5m", "max": "30m"},
            "bake": "30m",
        },
        "on_fail": "rollback",
        "on_inconclusive": "pause",
        "retire": "scale_down",
        "deadline": "3h",
    },
    "gate": {
        "compare": {"latency": {"tolerate": "+5%", "rule_out": "+25%"}, "error_rate": "3x"},
        "min_requests": 200,
        "block": "auto",
        "settle": "10s",
        "look": "10s",
        "warm_up": "60s",
        "false_rollback": "1%",
        "missed_regression": "5%",
        "telemetry": {"source": "traffic_log", "log_analytics_workspace_id": "w", "max_lag": "10m"},
        "observe_only": ["p50"],
    },
    "smoke": [{"request": "ok.json", "expect": {"status": 200, "json_schema": "ok.schema.json", "within": "2s"}}],
    "warmup": {"requests": 50, "request": "ok.json"},
    "load": {"rps": 40, "request": "ok.json"},
    "tags": {"owner": "team-a", "cost_center": "42"},
}

BLUE_GREEN: dict[str, Any] = {
    **MANIFEST,
    "strategy": {"blue_green": {"mirror": "10%", "mirror_for": "10m", "bake": "30m"}},
}

ENDPOINT: dict[str, Any] = {"name": "digits", "auth_mode": "key"}

DEPLOYMENT: dict[str, Any] = {
    "model": {"path": "model"},
    "code_configuration": {"code": "src", "scoring_script": "score.py"},
    "environment": "azureml:sklearn:1",
    "instance_type": "Standard_DS3_v2",
}


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy of ``document`` with ``changes``: keys with ``__`` between levels; ``...`` as value removes the key."""
    result = copy.deepcopy(document)
    for name, value in changes.items():
        *above, last = name.split("__")
        inner = result
        for key in above:
            inner = inner.setdefault(key, {})
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return result


def project(directory: Path, **files: str) -> Path:
    """A project on disk that is valid (JSON is YAML); ``files`` are changed or added, ``__`` standing for a dot."""
    content: dict[str, str] = {
        "rollout.yaml": json.dumps(changed(FULL, env=..., baseline=...)),
        "endpoint.yml": json.dumps(ENDPOINT),
        "deployment.yml": json.dumps(DEPLOYMENT),
        "src/score.py": "def init(): ...\n",
        "model/weights.json": "{}",
        "ok.json": '{"data": [1]}',
        "ok.schema.json": '{"type": "object"}',
        **{name.replace("__", "."): text for name, text in files.items()},
    }
    for name, text in content.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory / "rollout.yaml"


def load(path: Path, **env: str) -> RolloutSpec:
    """Load from the real disk."""
    return load_manifest(path, files=DiskFiles(), env=env)


def problems(path: Path, **env: str) -> list[str]:
    """What is wrong with a project, one line each, without its directory."""
    with pytest.raises(InvalidManifestError) as caught:
        load(path, **env)
    assert caught.value.message == "\n".join(map(str, caught.value.problems))
    assert caught.value.exit_code == 3
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]
