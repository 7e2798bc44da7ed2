"""``status``: the endpoint and its rollout, once or until it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from deployer.errors import ExitCode
from deployer.ports.clock import Clock
from deployer.ports.views import Status
from deployer.report.output import Output
from deployer.report.records import state_record
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.report.words import plain
from deployer.rollout.endpoint import in_words


def show_status(look: Callable[[], Status], clock: Clock, out: Output, *, watch: bool) -> ExitCode:
    """Print the status; with ``watch`` again and again until no rollout is under way."""
    status = look()
    if not watch or out.as_json:
        if out.as_json:
            out.result(status_record(status), "")
        else:
            out.console.print(render(status, clock))
        return ExitCode.OK
    with Live(render(status, clock), console=out.console, refresh_per_second=4) as live:
        while status.marks is not None and status.marks.is_active and status.runner is not None:
            clock.sleep(0.5)
            status = look()
            live.update(render(status, clock))
    return ExitCode.OK


def render(status: Status, clock: Clock) -> RenderableType:
    """Draw one look."""
    endpoint = status.endpoint
    parts: list[RenderableType] = []
    if status.steps:
        story = Story()
        for state, event, at in status.steps:
            story.add(state, event, at)
        last, _, at = status.steps[-1]
        parts.append(tree(last, story, endpoint, at if last.is_final else clock.now()))
    elif status.marks is not None:
        parts.append(Text(f"rollout {status.marks.rollout_id}: {status.marks.phase.value} (journal elsewhere)"))
    parts.append(Text.assemble((endpoint.name, "bold"), f"  {endpoint.scoring_url}"))
    parts.append(Text(plain(f"  traffic   {in_words(endpoint.traffic)}")))
    if endpoint.mirror:
        parts.append(Text(plain(f"  mirror    {in_words(endpoint.mirror)}")))
    for deployment in endpoint.deployments.values():
        ready = f"{deployment.instances_ready}/{deployment.instances_wanted} instances"
        line = f"  {deployment.name:<9} {deployment.state.value}, {ready} {deployment.message}".rstrip()
        parts.append(Text(plain(line)))
    if status.good is not None:
        parts.append(Text(plain(f"  last good {status.good.name} (revision {status.good.number})")))
    if status.marks is not None and status.marks.is_active and status.runner is None:
        parts.append(Text("  nobody runs this rollout now: run deployer rollout MANIFEST, or abort", style="yellow"))
    return Group(*parts)


def status_record(status: Status) -> dict[str, Any]:
    """Write one look as JSON-able data."""
    endpoint, marks = status.endpoint, status.marks
    return {
        "exit_code": 0,
        "endpoint": endpoint.name,
        "scoring_url": endpoint.scoring_url,
        "traffic": dict(endpoint.traffic),
        "mirror": dict(endpoint.mirror),
        "deployments": {
            name: {
                "state": found.state.value,
                "instances_ready": found.instances_ready,
                "instances_wanted": found.instances_wanted,
                "message": found.message,
                "digest": found.digest,
            }
            for name, found in endpoint.deployments.items()
        },
        "active": marks is not None and marks.is_active,
        "phase": marks.phase.value if marks else None,
        "runner": status.runner,
        "good": status.good.name if status.good else None,
        "previous": status.previous.name if status.previous else None,
        "rollout": state_record(status.steps[-1][0]) if status.steps else None,
    }
