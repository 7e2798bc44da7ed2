"""A rollout as a tree: steps, weights, both deployments' numbers, the verdict and why, time left."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from deployer.gate.verdict import Arm, Result
from deployer.manifest.quantities import format_duration
from deployer.report.story import Story
from deployer.report.words import plain
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.model import FINAL, WAY_BACK, Outcome, Phase, Rollout, Step, StepKind

GOOD, BAD, BUSY, DIM = "green", "bold red", "bold cyan", "dim"
_RESULT_STYLE = {Result.PASS: GOOD, Result.FAIL: BAD, Result.INCONCLUSIVE: "yellow", Result.BLIND: "magenta"}


def tree(state: Rollout, story: Story, endpoint: Endpoint | None, now: datetime, note: str = "") -> RenderableType:
    """Draw ``state``; ``endpoint`` is the latest reading, whose traffic is shown as it really is."""
    root = Tree(_title(state, now), guide_style=DIM)
    steps = list(enumerate(state.plan.steps))
    for position, step in steps:
        branch = root.add(_step_line(state, story, position, step, now))
        if position == state.position and state.phase not in FINAL:
            for line in _detail(state, endpoint, now):
                branch.add(line)
    if state.phase in WAY_BACK or state.phase is Phase.PAUSED:
        style = BAD if state.phase in WAY_BACK else "yellow"
        root.add(Text(plain(f"{state.phase.value.replace('_', ' ')}: {state.reason}"), style=style))
    for warning in state.warnings:
        root.add(Text(plain(f"warning: {warning}"), style="yellow"))
    return Group(root, Text(plain(note), style=DIM)) if note else root


def _title(state: Rollout, now: datetime) -> Text:
    plan = state.plan
    title = Text.assemble((plan.endpoint, "bold"), ("  ", ""), (f"rollout {plan.rollout_id}", DIM), ("  ", ""))
    took = format_duration(max((now - state.started_at).total_seconds(), 0.0))
    title.append(f"{state.phase.value.replace('_', ' ')}", style=_phase_style(state))
    title.append(f"  {took}", style=DIM)
    return title


def _phase_style(state: Rollout) -> str:
    if state.phase is Phase.PROMOTED:
        return f"bold {GOOD}"
    if state.phase in WAY_BACK:
        return BAD
    return "bold yellow" if state.phase is Phase.PAUSED else BUSY


def _step_line(state: Rollout, story: Story, position: int, step: Step, now: datetime) -> Text:
    mark, style = _mark(state, position)
    line = Text.assemble((f"{mark} ", style), (f"{_name(state, step):<16}", "" if style == DIM else "bold"))
    seconds = story.seconds(position, now)
    if seconds is not None and style != DIM:
        line.append(f"{format_duration(seconds):>6}  ", style=DIM)
    text = story.lines.get(position, "")
    if text and (position < state.position or state.phase in FINAL):
        line.append(_short(text), style=DIM)
    return line


def _mark(state: Rollout, position: int) -> tuple[str, str]:
    ended_badly = state.phase in WAY_BACK
    if position < state.position or state.phase is Phase.PROMOTED:
        return "✔", GOOD
    if position == state.position:
        return ("✖", BAD) if ended_badly else ("●", BUSY)
    return "○", DIM


def _name(state: Rollout, step: Step) -> str:
    if step.kind is StepKind.BAKE:
        return "100% and bake"
    if step.kind is StepKind.RETIRE:
        return f"retire {state.plan.stable}" if state.plan.stable else "retire nothing"
    return str(step)


def _short(text: str, width: int = 100) -> str:
    first = plain(text).splitlines()[0] if text else ""
    return first if len(first) <= width else first[: width - 1] + "…"


def _detail(state: Rollout, endpoint: Endpoint | None, now: datetime) -> Iterable[RenderableType]:
    if state.is_exposed or state.mirror_pct:
        yield _arms(state, endpoint)
    if state.phase in (Phase.JUDGING, Phase.BAKING):
        yield _clock(state, now)
    if state.verdict is not None and state.phase not in WAY_BACK:
        verdict = state.verdict
        style = _RESULT_STYLE[verdict.result]
        yield Text.assemble((verdict.result.value, style), (f"  {plain(verdict.text)}", DIM))
    if state.phase in (Phase.PREPARING, Phase.DEPLOYING) and endpoint is not None:
        for deployment in endpoint.deployments.values():
            if deployment.name in (state.plan.candidate, state.plan.stable):
                yield Text(plain(f"{deployment.name}: {deployment.state.value} {deployment.message}"), style=DIM)


def _arms(state: Rollout, endpoint: Endpoint | None) -> Table:
    table = Table.grid(padding=(0, 2))
    for column in ("left", "left", "right", "right", "right", "right"):
        table.add_column(justify="left" if column == "left" else "right")
    traffic = dict(endpoint.traffic) if endpoint else state.traffic
    verdict = state.verdict
    rows = [("candidate", state.plan.candidate, verdict.candidate if verdict else None)]
    if state.plan.stable:
        rows.append(("stable", state.plan.stable, verdict.stable if verdict else None))
    for role, name, arm in rows:
        table.add_row(role, f"[bold]{escape(name)}[/]", f"{traffic.get(name, 0)}%", *_numbers(arm))
    return table


def _numbers(arm: Arm | None) -> tuple[str, str, str]:
    if arm is None or not arm.requests:
        return "no requests yet", "", ""
    p95 = "" if arm.p95_ms is None else f"p95 {arm.p95_ms:.0f} ms"
    rate = arm.error_rate or 0.0
    return f"{arm.requests:,} requests", p95, f"[{BAD if rate else GOOD}]{rate:.1%} errors[/]"


def _clock(state: Rollout, now: datetime) -> Text:
    step, elapsed_s = state.step, (now - state.entered_at).total_seconds()
    left_s = max((step.max_s or 0.0) - elapsed_s, 0.0)
    least_s = max(step.min_s - elapsed_s, 0.0)
    parts = [f"decides within {format_duration(left_s)}"]
    if least_s:
        parts.append(f"not before {format_duration(least_s)}")
    return Text(", ".join(parts), style=DIM)


def final_style(state: Rollout) -> str:
    """Colour of a rollout's last line."""
    return GOOD if state.outcome is Outcome.PROMOTED else "yellow" if state.phase is Phase.PAUSED else BAD
