"""A rollout as a tree: steps, weights, both deployments' numbers, the verdict and why, time left."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from deployer.gate.verdict import Arm, Result, Verdict
from deployer.manifest.quantities import format_duration
from deployer.report.harmless import plain
from deployer.report.story import Story
from deployer.report.verdicts import NO_REQUESTS, brief, errors_words, p95_words, requests_words, why
from deployer.report.words import phase_words, step_name
from deployer.rollout.endpoint import Endpoint, in_words
from deployer.rollout.model import FINAL, WAY_BACK, Phase, Rollout, Step

GOOD, BAD, ODD, BUSY, DIM = "green", "bold red", "yellow", "bold cyan", "dim"
_RESULT_STYLE = {Result.PASS: GOOD, Result.FAIL: BAD, Result.INCONCLUSIVE: ODD, Result.BLIND: "magenta"}
REASON_LINES, REASON_LENGTH = 6, 600
"""Lines and characters of one reason that are drawn; the command's last line and the journal have all of it."""
NAME_LENGTH = 32
"""Characters of a name that are drawn: as many as Azure ML allows in an endpoint's."""
BACK_LINES = 5
"""Latest lines of the way back that are drawn."""


def tree(
    state: Rollout,
    story: Story,
    endpoint: Endpoint | None,
    now: datetime,
    note: str = "",
    waiting: str = "",
    expected: str = "",
) -> RenderableType:
    """Draw ``state``.

    Args:
        state: where the rollout stands.
        story: what happened at each step.
        endpoint: the latest reading, whose traffic is shown as it really is; None: as last verified.
        now: aware UTC.
        note: shown below.
        waiting: what is waited for, shown at the current step.
        expected: how long the current step usually takes, shown beside it.
    """
    root = Tree(_title(state, now), guide_style=DIM)
    for position, step in enumerate(state.plan.steps):
        branch = root.add(_step_line(state, story, position, step, now, expected))
        if position == state.position and state.phase is not Phase.PROMOTED:
            for part in _detail(state, story, endpoint, waiting):
                branch.add(part)
    if state.phase is Phase.PAUSED:
        root.add(_pause(state, now))
    if state.phase in WAY_BACK:
        back = root.add(_back_line(state, story, now))
        for line in story.back[-BACK_LINES:]:
            back.add(_one_line(line, DIM))
        if story.last_words:
            lines = (plain(line) for line in story.last_words)
            back.add(Text("\n".join(lines), style=DIM, no_wrap=True, overflow="ellipsis"))
        if waiting:
            back.add(_one_line(waiting, DIM))
    elif state.warnings:
        root.add(_some_lines(f"warning: {state.warnings[-1]}", ODD))
    return Group(root, Text(plain(note), style=DIM)) if note else root


def _title(state: Rollout, now: datetime) -> Text:
    plan, took = state.plan, format_duration(max((now - state.started_at).total_seconds(), 0.0))
    limit = "" if state.phase in FINAL else f" of at most {format_duration(plan.deadline_s + state.paused_s)}"
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(_name(plan.endpoint), "bold").append(f"  {_name(plan.stable or 'nothing')} → {_name(plan.candidate)}")
    title.append(f"  {phase_words(state)}", _phase_style(state)).append(f"  {took}{limit}", DIM)
    return title.append(f"  {_name(plan.rollout_id)}", DIM)


def _phase_style(state: Rollout) -> str:
    if state.phase is Phase.PROMOTED:
        return f"bold {GOOD}"
    if state.phase in WAY_BACK:
        return BAD
    return f"bold {ODD}" if state.phase is Phase.PAUSED else BUSY


def _step_line(state: Rollout, story: Story, position: int, step: Step, now: datetime, expected: str) -> Text:
    mark, style = _mark(state, position)
    line = Text.assemble((f"{mark} ", style), no_wrap=True, overflow="ellipsis")
    seconds = story.seconds(position, now)
    name = _name(step_name(state.plan, step))
    if style == DIM or seconds is None:
        return line.append(name, "" if style == DIM else "bold")
    line.append(f"{name:<15}", "bold").append(f"{format_duration(seconds):>6}", DIM)
    ended = position != state.position or state.phase in WAY_BACK or state.phase is Phase.PROMOTED
    told = story.lines.get(position, "") if ended else _clock(state, now) or expected
    return line.append(f"  {plain(told)}", style if style == BAD else DIM) if told else line


def _mark(state: Rollout, position: int) -> tuple[str, str]:
    if position < state.position or state.phase is Phase.PROMOTED:
        return "✔", GOOD
    if position > state.position:
        return "○", DIM
    if state.phase in WAY_BACK:
        return "✖", BAD
    return ("‖", ODD) if state.phase is Phase.PAUSED else ("●", BUSY)


def _clock(state: Rollout, now: datetime) -> str:
    """Say how long the step may still take."""
    step, elapsed_s = state.step, (now - state.entered_at).total_seconds()
    if step.max_s is None or state.phase not in (Phase.JUDGING, Phase.BAKING, Phase.HOLDING):
        return ""
    left, least_s = format_duration(max(step.max_s - elapsed_s, 0.0)), step.min_s - elapsed_s
    if state.phase is Phase.HOLDING:
        return f"goes on in {left}"
    return f"decides within {left}" + (f", not before {format_duration(least_s)}" if least_s > 0 else "")


def _detail(state: Rollout, story: Story, endpoint: Endpoint | None, waiting: str) -> Iterable[RenderableType]:
    """What is drawn below the current step: the evidence, and on the way back the evidence it was given up for."""
    verdict = state.verdict
    back = state.phase in WAY_BACK
    if verdict is not None or state.is_exposed or state.mirror_pct:
        numbers = verdict or story.verdict
        yield _arms(state, None if back else endpoint, numbers, known=not story.is_elsewhere)
    if back:
        gated = verdict is not None and verdict.text in state.reason
        style = _RESULT_STYLE[verdict.result] if verdict is not None and gated else BAD
        yield _some_lines(brief(state.reason, verdict), style)
        return
    if verdict is not None:
        said = Text.assemble((verdict.result.value, _RESULT_STYLE[verdict.result]), "  ")
        yield said.append(_some_lines(why(verdict), DIM))
    if state.drift is not None:
        yield _one_line(f"traffic is {in_words(state.drift)}: watching whether somebody changed it", ODD)
    if state.phase in (Phase.PREPARING, Phase.DEPLOYING) and endpoint is not None:
        for name in (state.plan.stable, state.plan.candidate):
            if name is not None and (found := endpoint.deployments.get(name)) is not None:
                yield _one_line(f"{name}: {found.state.value} {found.message}".rstrip(), DIM)
    elif waiting:
        yield _one_line(waiting, DIM)


def _arms(state: Rollout, endpoint: Endpoint | None, verdict: Verdict | None, *, known: bool) -> Table:
    """Both deployments, their shares and numbers; after giving up, the shares they were judged with.

    Where the numbers are in a journal elsewhere (not ``known``), their instances are shown.
    """
    plan, gave_up = state.plan, state.phase in WAY_BACK
    weight_pct, mirror_pct = (
        (state.step.weight_pct, state.step.mirror_pct) if gave_up else (state.weight_pct, state.mirror_pct)
    )
    traffic = endpoint.traffic if endpoint else plan.traffic(weight_pct)
    mirror = endpoint.mirror if endpoint else plan.mirror(mirror_pct)
    failed = {r.metric for r in verdict.reasons if r.result is Result.FAIL} if verdict is not None else set[str]()
    rows = [("candidate", plan.candidate, verdict.candidate if verdict else None, failed)]
    if plan.stable:
        rows.append(("stable", plan.stable, verdict.stable if verdict else None, set[str]()))
    asked = plan.traffic(state.step.weight_pct) if state.phase is Phase.SHIFTING else {}
    cells: list[tuple[str, Text, str, tuple[Text, ...]]] = []
    for role, name, arm, blamed in rows:
        share = f"mirror {mirror[name]}%" if mirror.get(name) else f"{traffic.get(name, 0)}%"
        if asked and asked.get(name, 0) != traffic.get(name, 0):
            share += f" → {asked.get(name, 0)}%"
        numbers = _numbers(arm, blamed) if known else _ready(endpoint, name)
        cells.append((role, Text(_name(name), "bold"), share, numbers))
    table = Table.grid(padding=(0, 2))
    for column in range(3):  # what a narrow terminal keeps whole
        widest = max(len(row[column]) for row in cells)
        justify = "right" if column == 2 else "left"
        table.add_column(justify=justify, no_wrap=True, overflow="ellipsis", min_width=widest)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True, overflow="ellipsis")
    for role, name, share, numbers in cells:
        table.add_row(role, name, share, *numbers)
    return table


def _ready(endpoint: Endpoint | None, name: str) -> tuple[Text, ...]:
    found = endpoint.deployments.get(name) if endpoint else None
    return (Text(f"{found.instances_ready}/{found.instances_wanted} ready" if found else "not there", DIM),)


def _numbers(arm: Arm | None, blamed: set[str]) -> tuple[Text, ...]:
    if arm is None or not arm.requests:
        return (Text(NO_REQUESTS, DIM),)
    slow = bool(blamed - {"error_rate", "breaker"})
    style = BAD if blamed & {"error_rate", "breaker"} else ODD if arm.errors or arm.throttled else GOOD
    return Text(requests_words(arm)), Text(p95_words(arm), BAD if slow else ""), Text(errors_words(arm), style)


def _pause(state: Rollout, now: datetime) -> Text:
    since = format_duration(max((now - state.entered_at).total_seconds(), 0.0))
    why_paused = f": {brief(state.reason, state.verdict)}" if state.reason else ""
    text = f"paused for {since} with {in_words(state.traffic)}{why_paused}"
    return _some_lines(text, ODD).append(
        f"\nnext: deployer promote {_name(state.plan.endpoint)}, or deployer abort", DIM
    )


def _back_line(state: Rollout, story: Story, now: datetime) -> Text:
    marks = {Phase.STUCK: ("✖", BAD), Phase.ROLLED_BACK: ("✔", GOOD)}
    mark, style = marks.get(state.phase, ("●", BUSY))
    line = Text.assemble((f"{mark} ", style), (f"{'way back':<15}", "bold"), no_wrap=True, overflow="ellipsis")
    seconds = story.back_seconds(now)
    return line if seconds is None else line.append(f"{format_duration(seconds):>6}", DIM)


def _name(text: str) -> str:
    text = plain(text).replace("\n", " ")
    return text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 1]}…"


def _one_line(text: str, style: str) -> Text:
    return Text(plain(text).replace("\n", " "), style=style, no_wrap=True, overflow="ellipsis")


def _some_lines(text: str, style: str) -> Text:
    """Wrap ``text``, and cut what is too long."""
    whole = "\n".join(line for line in plain(text).split("\n") if line.strip())
    shown = "\n".join(whole.split("\n")[:REASON_LINES])[:REASON_LENGTH]
    return Text(shown + ("…" if shown != whole else ""), style=style)
