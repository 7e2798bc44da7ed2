"""The local platform's endpoints in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployer.rollout.endpoint import in_words


def local_text(endpoints: Sequence[Mapping[str, Any]]) -> str:
    """Say what runs, an endpoint a line and its deployments below."""
    if not endpoints:
        return "no local endpoints yet: deployer rollout manifests/local/quickstart.yaml makes one"
    lines: list[str] = []
    for found in endpoints:
        if not found.get("running"):
            lines.append(f"{found['endpoint']}  down (deployer local up {found['endpoint']} starts it as it was)")
            continue
        if problem := found.get("problem"):
            lines.append(f"{found['endpoint']}  running, but: {problem}")
            continue
        lines.append(f"{found['endpoint']}  {found.get('scoring_url', '')}  {in_words(found.get('traffic', {}))}")
        lines += [f"  {part}" for part in _parts(found)]
    return "\n".join(lines)


def _parts(found: Mapping[str, Any]) -> list[str]:
    deployments: Mapping[str, Mapping[str, Any]] = found.get("deployments", {})
    return [
        f"{name:<12} {shape.get('state', '')} {shape.get('instances_ready', 0)}/{shape.get('instances_wanted', 0)}"
        for name, shape in deployments.items()
    ]
