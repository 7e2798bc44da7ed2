"""``profile.lock.json``: what was measured and how, by digest; and how a manifest departs from it.

The lock stands beside the profile and is meant to be committed. It holds no names of endpoints or subscriptions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from deployer.manifest.azureml import DeploymentSource
from deployer.manifest.configuration import configuration_of
from deployer.manifest.document import at
from deployer.manifest.quantities import format_duration, format_share
from deployer.manifest.schema import PlatformType, Slo
from deployer.manifest.sources import digest_of

NAME = "profile.lock.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Lock:
    """A recommendation, and what it was measured with."""

    profile: str
    made_at: str
    """UTC, ISO 8601."""
    platform: str
    model: str
    """Hex SHA-256 of the model: of its files when they are local, else of its name and version."""
    environment: str
    """Hex SHA-256 of what the document says of its environment."""
    code: str
    """Hex SHA-256 of the scoring code; empty: there is none."""
    configuration: Mapping[str, Any]
    """In the words of a profile."""
    slo: Mapping[str, Any]
    peak_rps: float
    headroom: float
    sustainable_rps: float
    """Of the whole configuration."""
    lower: float
    upper: float
    rps_per_instance: float
    usd_per_hour: float | None
    result: str
    """Digest of the full result, which ``report.json`` holds."""


def to_json(lock: Lock) -> str:
    """Write it, with a digest of all that it says."""
    record = {"version": VERSION, **asdict(lock)}
    return json.dumps({**record, "digest": digest_of(record)}, indent=2) + "\n"


def from_json(text: str) -> Lock | None:
    """Read it; None when it is of another version, damaged, or was changed by hand."""
    try:
        record: dict[str, Any] = json.loads(text)
        digest, version = record.pop("digest"), record["version"]
        if version != VERSION or digest_of(record) != digest:
            return None
        del record["version"]
        return Lock(**record)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def identity_of(source: DeploymentSource) -> dict[str, str]:
    """Digests of model, environment and code of a deployment."""
    parts = {"model": ("model",), "environment": ("environment",), "code": ("code_configuration",)}
    return {name: _part(source, path) for name, path in parts.items()}


def _part(source: DeploymentSource, path: tuple[str, ...]) -> str:
    written = at(dict(source.document), path)
    if written is None:
        return ""
    contents = {key: value for key, value in source.contents.items() if key.partition(".")[0] == path[0]}
    return digest_of({"written": _without_paths(written) if contents else written, "contents": contents})


def _without_paths(written: Any) -> Any:
    """What is said besides where the files are: a moved directory is the same model."""
    if not isinstance(written, dict):
        return None
    return {
        key: value
        for key, value in cast("dict[str, Any]", written).items()
        if key not in {"path", "code", "conda_file"}
    }


def slo_record(slo: Slo) -> dict[str, Any]:
    """Write an SLO in plain numbers: seconds and a share."""
    return slo.model_dump(mode="json", exclude_none=True)


def departures(lock: Lock, source: DeploymentSource, platform: PlatformType, slo: Slo) -> Iterator[str]:
    """Say in what a deployment is not what was measured, a line each. Another platform was not measured at all."""
    if lock.platform != platform.value:
        return
    for name, digest in identity_of(source).items():
        if digest != getattr(lock, name):
            yield f"the {name} is not the one that was measured"
    own = configuration_of(source.document, platform)
    measured = lock.configuration
    for key, value in own.record().items():
        if key != "instance_count" and key in measured and measured[key] != value:
            yield f"{key} is {_said(value)}, measured was {_said(measured[key])}"
    if own.instance_count < measured.get("instance_count", 0):
        yield f"instance_count is {own.instance_count}, recommended were {measured['instance_count']}"
    if slo_record(slo) != dict(lock.slo):
        yield f"the slo is not the one it was measured for ({_slo_words(lock.slo)})"


def _said(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _slo_words(record: Mapping[str, Any]) -> str:
    latency: Mapping[str, float] = record.get("latency") or {}
    said = [f"{name} {format_duration(seconds)}" for name, seconds in latency.items()]
    said += [f"error_rate {format_share(record['error_rate'])}"] if record.get("error_rate") is not None else []
    return ", ".join(said)
