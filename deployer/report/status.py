"""``status``: the endpoint and its rollout, once or until it ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from deployer.errors import ExitCode
from deployer.manifest.quantities import format_duration
from deployer.ports.clock import Clock
from deployer.ports.views import Status
from deployer.report.harmless import plain
from deployer.report.listeners import Lines, usually, waiting_for
from deployer.report.output import Output
from deployer.report.records import state_record
from deployer.report.story import Story
from deployer.report.tags_tree import age, tagged_phase, tags_tree
from deployer.report.tree import tree
from deployer.rollout.decide import decide
from deployer.rollout.endpoint import in_words
from deployer.rollout.model import Observed
from deployer.rollout.pace import Usual
from deployer.rollout.tags import LEASE, Marks

LOOK_S = 0.5
"""How often ``--watch`` looks."""
SILENT_S = 60.0
"""A runner that gave no sign of life for so long is told of: it gives one every few seconds on every platform."""


def show_status(
    look: Callable[[], Status], clock: Clock, out: Output, *, watch: bool, usual: Usual | None = None
) -> ExitCode:
    """Print the status; with ``watch`` keep looking until nobody runs a rollout, and print the last one.

    On a terminal the tree is redrawn in place, elsewhere each new event is a line; JSON is one document at the end.

    Args:
        look: reads the endpoint.
        clock: by which it looks again.
        out: of the command.
        watch: go on looking.
        usual: how long things took in the past.
    """
    status = look()
    usual = usual or Usual()
    if watch and _is_running(status):
        if out.as_json:
            status = _follow(look, clock, status, lambda _: None)
        elif not out.is_live:
            status = _follow(look, clock, status, _Follower(out, clock).show)
        else:
            life = _Life(clock)
            with Live(render(status, clock, usual), console=out.console, refresh_per_second=4) as live:
                _follow(look, clock, status, lambda new: live.update(render(new, clock, usual, life.silent_s(new))))
            return ExitCode.OK
    if out.as_json:
        out.result(status_record(status), "")
    else:
        out.drawing(render(status, clock, usual))
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


class _Life:
    """How long the runner has shown no sign of life, by what is seen not to change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lease: str | None = None
        self._since = clock.now()

    def silent_s(self, status: Status) -> float:
        lease = status.endpoint.tags.get(LEASE)
        if lease != self._lease:
            self._lease, self._since = lease, self._clock.now()
        return (self._clock.now() - self._since).total_seconds()


class _Follower:
    """Prints each event of a journal once, as it comes; without the journal, what changes on the endpoint."""

    def __init__(self, out: Output, clock: Clock) -> None:
        self._lines = Lines(out.console)
        self._console = out.console
        self._clock = clock
        self._seen = 0
        self._said = ""

    def show(self, status: Status) -> None:
        for state, event, at in status.steps[self._seen :]:
            self._lines.on_event(state, event, at)
        self._seen = len(status.steps)
        if not status.steps and status.marks is not None and (said := _phase_of(status.marks, status)) != self._said:
            self._said = said
            self._console.print(Text(plain(f"{self._clock.now():%H:%M:%S}  {said}")), soft_wrap=True)


def _phase_of(marks: Marks, status: Status) -> str:
    return f"{tagged_phase(marks)}, step {marks.position + 1}: {in_words(status.endpoint.traffic)}"


def render(status: Status, clock: Clock, usual: Usual | None = None, silent_s: float = 0.0) -> RenderableType:
    """Draw one look.

    Args:
        status: the look.
        clock: for what goes on.
        usual: how long things took in the past.
        silent_s: how long the runner has shown no sign of life.
    """
    endpoint, marks = status.endpoint, status.marks
    now = clock.now()
    parts: list[RenderableType] = []
    if status.steps:
        story = Story()
        for state, event, at in status.steps:
            story.add(state, event, at)
        last, _, at = status.steps[-1]
        waiting, expected = "", ""
        if not last.is_final and status.runner is not None:
            waiting = waiting_for(decide(last, Observed(endpoint, None, None), now))
            expected = usually(last, usual or Usual())
        parts.append(tree(last, story, endpoint, at if last.is_final else now, waiting=waiting, expected=expected))
    elif status.sketch is not None:
        where = "from the endpoint's tags and this manifest; numbers and verdicts are in a journal on another machine"
        parts.append(tree(status.sketch, Story(is_elsewhere=True), endpoint, now, where))
    elif marks is not None:
        parts.append(tags_tree(marks, endpoint, now))
    parts.append(Text.assemble((plain(endpoint.name), "bold"), f"  {plain(endpoint.scoring_url)}"))
    parts += [Text(plain(f"  {name:<11}{said}")) for name, said in _facts(status, now, silent_s)]
    if marks is not None and marks.is_active and status.runner is None:
        hint = "  nobody runs this rollout now: deployer rollout MANIFEST goes on, deployer recover or abort ends it"
        parts.append(Text(hint, style="yellow"))
    return Group(*parts)


def _facts(status: Status, now: datetime, silent_s: float) -> list[tuple[str, str]]:
    endpoint = status.endpoint
    facts = [("traffic", in_words(endpoint.traffic))]
    if endpoint.mirror:
        facts.append(("mirror", in_words(endpoint.mirror)))
    for found in endpoint.deployments.values():
        ready = f"{found.state.value}, {found.instances_ready}/{found.instances_wanted} instances"
        if found.created_at is not None:
            ready += f", {age(found.created_at, now)} old"
        facts.append((found.name, f"{ready}  {found.message}".rstrip()))
    for name, revision in (("last good", status.good), ("before it", status.previous)):
        if revision is not None:
            facts.append((name, f"{revision.name} (revision {revision.number}, since {revision.at:%Y-%m-%d %H:%M})"))
    if status.runner is not None and status.marks is not None and status.marks.is_active:
        silent = f", no sign of life for {format_duration(round(silent_s))}" if silent_s >= SILENT_S else ""
        facts.append(("run by", f"{who(status.runner)}{silent}"))
    return facts


def who(owner: str) -> str:
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
