"""The local platform's endpoints in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployer.report.words import first_line
from deployer.rollout.endpoint import in_words


def local_text(endpoints: Sequence[Mapping[str, Any]]) -> str:
    """Say what runs, an endpoint a line and its deployments below."""
    if not endpoints:
        return "no local endpoints yet: deployer rollout manifests/local/quickstart.yaml makes one"
    width = max(len(found["endpoint"]) for found in endpoints)
    lines: list[str] = []
    for found in endpoints:
        lines.append(f"{found['endpoint']:<{width}}  {_said(found)}")
        lines += _parts(found.get("deployments", {}))
    return "\n".join(lines)


def _said(found: Mapping[str, Any]) -> str:
    if not found.get("running"):
        return f"down (deployer local up {found['endpoint']} starts it as it was)"
    if problem := found.get("problem"):
        return f"running, but: {first_line(problem)}"
    return f"{found.get('scoring_url', '')}  {in_words(found.get('traffic', {}))}"


def _parts(deployments: Mapping[str, Mapping[str, Any]]) -> list[str]:
    states = {name: str(shape.get("state", "")) for name, shape in deployments.items()}
    name_width, state_width = max(map(len, states), default=0), max(map(len, states.values()), default=0)
    lines: list[str] = []
    for name, shape in deployments.items():
        ready = f"{shape.get('instances_ready', 0)}/{shape.get('instances_wanted', 0)}"
        line = f"  {name:<{name_width}}  {states[name]:<{state_width}}  {ready}  {first_line(shape.get('message', ''))}"
        lines.append(line.rstrip())
    return lines
