"""``status``: the endpoint and its rollout, once or until it ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from deployer.errors import ExitCode
from deployer.ports.clock import Clock
from deployer.ports.views import Status
from deployer.report.listeners import Lines
from deployer.report.output import Output
from deployer.report.records import state_record
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.report.words import plain
from deployer.rollout.endpoint import in_words

LOOK_S = 0.5
"""How often ``--watch`` looks."""


def show_status(look: Callable[[], Status], clock: Clock, out: Output, *, watch: bool) -> ExitCode:
    """Print the status; with ``watch`` keep looking until nobody runs a rollout, and print the last one.

    On a terminal the tree is redrawn in place, elsewhere each new event is a line; JSON is one document at the end.
    """
    status = look()
    if watch and _is_running(status):
        if out.as_json:
            status = _follow(look, clock, status, lambda _: None)
        elif not out.is_live:
            status = _follow(look, clock, status, _Follower(out).show)
        else:
            with Live(render(status, clock), console=out.console, refresh_per_second=4) as live:
                _follow(look, clock, status, lambda new: live.update(render(new, clock)))
            return ExitCode.OK
    if out.as_json:
        out.result(status_record(status), "")
    else:
        out.drawing(render(status, clock))
    return ExitCode.OK


def _is_running(status: Status) -> bool:
    return status.marks is not None and status.marks.is_active and status.runner is not None


def _follow(look: Callable[[], Status], clock: Clock, status: Status, show: Callable[[Status], None]) -> Status:
    """Look again and again while somebody runs the rollout; return the last look."""
    while _is_running(status):
        show(status)
        clock.sleep(LOOK_S)
        status = look()
    show(status)
    return status


class _Follower:
    """Prints each event of a journal once, as it comes."""

    def __init__(self, out: Output) -> None:
        self._lines = Lines(out.console)
        self._seen = 0

    def show(self, status: Status) -> None:
        for state, event, at in status.steps[self._seen :]:
            self._lines.on_event(state, event, at)
        self._seen = len(status.steps)


def render(status: Status, clock: Clock) -> RenderableType:
    """Draw one look."""
    endpoint, marks = status.endpoint, status.marks
    parts: list[RenderableType] = []
    if status.steps:
        story = Story()
        for state, event, at in status.steps:
            story.add(state, event, at)
        last, _, at = status.steps[-1]
        parts.append(tree(last, story, endpoint, at if last.is_final else clock.now()))
    elif marks is not None:
        where = "its journal is on another machine"
        parts.append(Text(plain(f"rollout {marks.rollout_id}: {marks.phase.value.replace('_', ' ')} ({where})")))
    parts.append(Text.assemble((plain(endpoint.name), "bold"), f"  {plain(endpoint.scoring_url)}"))
    parts += [Text(plain(f"  {name:<11}{said}")) for name, said in _facts(status)]
    if marks is not None and marks.is_active and status.runner is None:
        hint = "  nobody runs this rollout now: run deployer rollout MANIFEST to go on, or deployer abort"
        parts.append(Text(hint, style="yellow"))
    return Group(*parts)


def _facts(status: Status) -> list[tuple[str, str]]:
    endpoint = status.endpoint
    facts = [("traffic", in_words(endpoint.traffic))]
    if endpoint.mirror:
        facts.append(("mirror", in_words(endpoint.mirror)))
    for found in endpoint.deployments.values():
        ready = f"{found.state.value}, {found.instances_ready}/{found.instances_wanted} instances"
        facts.append((found.name, f"{ready}  {found.message}".rstrip()))
    for name, revision in (("last good", status.good), ("before it", status.previous)):
        if revision is not None:
            facts.append((name, f"{revision.name} (revision {revision.number}, since {revision.at:%Y-%m-%d %H:%M})"))
    if status.runner is not None and status.marks is not None and status.marks.is_active:
        facts.append(("run by", _who(status.runner)))
    return facts


def _who(owner: str) -> str:
    """Say which process ``owner`` of the lease is: ``host.namespace/pid/started`` in people's words."""
    found = re.fullmatch(r"(.+?)(?:\.\d+)?/(\d+)/\d+", owner)
    return f"process {found[2]} on {found[1]}" if found else owner


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
