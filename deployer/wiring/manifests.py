"""Which manifests a folder holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from deployer.errors import ManifestError, UsageError
from deployer.wiring.checks import load
from deployer.wiring.sites import is_manifest

_ROLLOUT = re.compile(rb"^strategy[ \t]*:", re.MULTILINE)
"""A rollout manifest says how traffic moves; no endpoint, deployment or profile does."""


def spread(targets: Iterable[str]) -> list[str]:
    """Put the manifests of a folder in the place of its name; an endpoint that several of them name comes once.

    Raises:
        UsageError: a folder holds no rollout manifest.
    """
    found: list[str] = []
    for target in targets:
        found += _manifests(Path(target)) if Path(target).is_dir() else [target]
    first: dict[tuple[str, ...], str] = {}
    for target in found:
        first.setdefault(_endpoint(target), target)
    return list(first.values())


def _manifests(folder: Path) -> list[str]:
    paths = sorted(path for path in folder.rglob("*.y*ml") if path.suffix in (".yaml", ".yml") and path.is_file())
    found = [str(path) for path in paths if _ROLLOUT.search(path.read_bytes())]
    if not found:
        raise UsageError(f"{folder} holds no rollout manifest", hint="Name the manifests, or the endpoints.")
    return found


def _endpoint(target: str) -> tuple[str, ...]:
    """What tells two targets apart; a manifest that is wrong is itself, so that its errors are told."""
    if not is_manifest(target):
        return ("", target)
    try:
        spec = load(Path(target))
    except ManifestError:
        return ("file", target)
    place = spec.manifest.platform
    where = (place.cloud, place.subscription_id, place.resource_group, place.workspace)
    return (place.type.value, *(str(part or "") for part in where), spec.endpoint.name)
