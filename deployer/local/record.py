"""What an endpoint should be: the one file that outlives every process, replaced as a whole at each change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deployer.errors import PlatformError
from deployer.local.layout import Layout, write_atomic

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployment that should run."""

    digest: str
    instances: int
    created_at: str


@dataclass(frozen=True, slots=True)
class Record:
    """Everything needed to make the endpoint again. ``key`` is a secret: the file is 0600 and never logged."""

    uid: str
    port: int
    key: str
    document: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    traffic: Mapping[str, int] = field(default_factory=dict[str, int])
    mirror: Mapping[str, int] = field(default_factory=dict[str, int])
    deployments: Mapping[str, Deployed] = field(default_factory=dict[str, Deployed])
    serial: int = 0
    """Counts the writes to Envoy, so that each can be told from the one before."""


def save_record(layout: Layout, record: Record) -> None:
    """Write it durably.

    Raises:
        TransientError: the disk is full. The record is as it was.
    """
    write_atomic(layout, layout.record, json.dumps({"version": _VERSION, **asdict(record)}, indent=1))


def load_record(layout: Layout) -> Record | None:
    """Read it; None when the endpoint was never created.

    Raises:
        PlatformError: the file is damaged or of another version.
    """
    try:
        raw: dict[str, Any] = json.loads(layout.record.read_text(encoding="utf-8"))
        version = raw.pop("version")
        deployments = {name: Deployed(**entry) for name, entry in raw.pop("deployments").items()}
        record = Record(deployments=deployments, **raw)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise PlatformError(
            f"the record {layout.record} cannot be read: {exc}",
            hint=f"Restore the file, or remove {layout.root} to start anew.",
        ) from exc
    if version != _VERSION:
        raise PlatformError(
            f"the record {layout.record} is of version {version}, not {_VERSION}",
            hint="Use the release of deployer that wrote it, or `deployer local down` with it and start anew.",
        )
    return record
