"""What a model server must be, read from a native Azure ML deployment document.

Only what the local platform acts on is read; everything else in the document (instance type, environment image, scale
settings) belongs to Azure. Defaults are Azure's.

Source: learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-managed-online (defaults of
``request_settings`` and of the probes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from deployer.errors import PlatformError, QuotaExceededError

INSTANCES_MAX = 50
"""Most instances of one deployment (Azure's own limit: learn.microsoft.com, how-to-manage-quotas)."""

_WORKERS_MAX = 64
_TIMEOUT_MS_MAX = 180_000


@dataclass(frozen=True, slots=True)
class Settings:
    """How a deployment is served."""

    code: str
    """Directory with the scoring script, as written."""
    scoring_script: str
    model: str | None
    """File or directory, as written; None: the deployment has no model."""
    instances: int
    workers: int
    """Requests that one instance answers at the same time."""
    concurrency: int
    """Requests that one instance is sent at the same time."""
    timeout_ms: int
    ready_within_s: float
    """How long an instance may take to answer its first probe."""
    environment: Mapping[str, str]


def read_settings(document: Mapping[str, Any]) -> Settings:
    """Settings of a deployment document as parsed from YAML.

    Raises:
        PlatformError: it cannot be served locally, or a value is not what Azure ML documents.
        QuotaExceededError: it asks for more instances than there can be.
    """
    name = str(document.get("name", "deployment"))
    code = _mapping(document, "code_configuration", name)
    request = _mapping(document, "request_settings", name)
    probe = _mapping(document, "readiness_probe", name)
    environment = {
        key: _text(value, key, name) for key, value in _mapping(document, "environment_variables", name).items()
    }
    return Settings(
        code=_local_path(code.get("code"), "code_configuration.code", name),
        scoring_script=_local_path(code.get("scoring_script"), "code_configuration.scoring_script", name),
        model=_model(document.get("model"), name),
        instances=check_instances(_integer(document, "instance_count", 1, 0, 10_000, name), name),
        workers=_workers(environment, name),
        concurrency=_integer(request, "max_concurrent_requests_per_instance", 1, 1, 10_000, name),
        timeout_ms=_integer(request, "request_timeout_ms", 5000, 1, _TIMEOUT_MS_MAX, name),
        ready_within_s=float(
            _integer(probe, "initial_delay", 10, 0, 3600, name)
            + _integer(probe, "failure_threshold", 30, 1, 1000, name) * _integer(probe, "period", 10, 1, 3600, name)
        ),
        environment=environment,
    )


def nothing_known(instances: int) -> Settings:
    """Settings of a deployment whose document is lost: enough to name it, not to run it."""
    return read_settings(
        {"instance_count": instances, "code_configuration": {"code": "lost", "scoring_script": "lost"}}
    )


def check_instances(instances: int, name: str) -> int:
    """Return ``instances`` if there can be so many.

    Raises:
        QuotaExceededError: there cannot.
    """
    if not 0 <= instances <= INSTANCES_MAX:
        raise QuotaExceededError(
            f"deployment {name}: {instances} instances are outside 0-{INSTANCES_MAX}",
            hint=f"Set instance_count to at most {INSTANCES_MAX}.",
        )
    return instances


def _mapping(document: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PlatformError(f"deployment {name}: {key} is not a mapping", hint=f"Write {key} as Azure ML documents it.")
    return cast("dict[str, Any]", value)


def _integer(document: Mapping[str, Any], key: str, default: int, least: int, most: int, name: str) -> int:
    value = document.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise PlatformError(
            f"deployment {name}: {key} is {value!r}", hint=f"Set {key} to a whole number from {least} to {most}."
        )
    return value


def _local_path(value: object, key: str, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise PlatformError(
            f"deployment {name} has no {key}",
            hint="The local platform runs score.py: set code_configuration.code and .scoring_script.",
        )
    if "\0" in value or value.startswith("azureml:") or "://" in value:
        raise PlatformError(
            f"deployment {name}: {key} is {value!r}, which is not a local path",
            hint="Use a path: assets that are registered in Azure cannot be had on the local platform.",
        )
    return value


def _model(value: object, name: str) -> str | None:
    if value is None:
        return None
    path = cast("dict[str, object]", value).get("path") if isinstance(value, dict) else value
    return _local_path(path, "model", name)


def _workers(environment: Mapping[str, str], name: str) -> int:
    given = environment.get("WORKER_COUNT", "1")
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= _WORKERS_MAX:
        raise PlatformError(
            f"deployment {name}: environment variable WORKER_COUNT is {given!r}",
            hint=f"Set WORKER_COUNT to a whole number from 1 to {_WORKERS_MAX}.",
        )
    return int(given)


def _text(value: object, key: str, name: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)) and "\0" not in str(value) and key and "=" not in key and "\0" not in key:
        return str(value)
    raise PlatformError(
        f"deployment {name}: environment variable {key!r} cannot hold {value!r}", hint="Write its value as quoted text."
    )
