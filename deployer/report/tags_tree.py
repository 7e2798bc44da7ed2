"""A rollout as a tree when only the endpoint's tags tell of it: its journal is on another machine."""

from __future__ import annotations

from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from deployer.manifest.quantities import format_duration
from deployer.report.harmless import plain
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.model import Phase
from deployer.rollout.tags import Marks

ELSEWHERE = "its journal is on another machine: deployer status MANIFEST shows the steps, but not the numbers"


def tags_tree(marks: Marks, endpoint: Endpoint, now: datetime) -> RenderableType:
    """Draw the rollout that the tags tell of, with both versions as the endpoint has them."""
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(plain(endpoint.name), "bold")
    title.append(f"  {plain(marks.stable or 'nothing')} → {plain(marks.candidate)}  ")
    title.append(tagged_phase(marks), "bold cyan" if marks.is_active else "bold")
    if marks.started_at is not None:
        title.append(f"  started {age(marks.started_at, now)} ago", "dim")
    title.append(f"  {plain(marks.rollout_id)}", "dim")
    root = Tree(title, guide_style="dim")
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True, overflow="ellipsis")
    for role, name in (("candidate", marks.candidate), ("stable", marks.stable)):
        if name is not None:
            table.add_row(role, Text(plain(name), "bold"), *_version(endpoint, name))
    branch = root.add(Text(f"step {marks.position + 1}"))
    branch.add(table)
    root.add(Text(ELSEWHERE, style="dim"))
    return root


def _version(endpoint: Endpoint, name: str) -> tuple[str, str]:
    found = endpoint.deployments.get(name)
    copied = endpoint.mirror.get(name)
    share = f"mirror {copied}%" if copied else f"{endpoint.traffic.get(name, 0)}%"
    if found is None:
        return share, "not there"
    return share, f"{found.instances_ready}/{found.instances_wanted} ready"


def tagged_phase(marks: Marks) -> str:
    """Name the phase; the tags do not say whether a weight is being written or judged."""
    if marks.phase is Phase.SHIFTING:
        return "shifting or judging"
    return marks.phase.value.replace("_", " ")


def age(since: datetime, now: datetime) -> str:
    """Say how long ago, in its two largest units: ``3d4h``, ``12m5s``."""
    seconds = max(round((now - since).total_seconds()), 0)
    coarse = 3600 if seconds >= 86400 else 60 if seconds >= 3600 else 1
    return format_duration(seconds - seconds % coarse)
