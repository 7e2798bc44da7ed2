"""Draws .github/rollout.svg: a rollout that really ran, half-way and at its end, as the terminal shows it.

Usage: python tests/tools/picture.py [JOURNAL]

JOURNAL is the journal of a finished run (``$DEPLOYER_HOME/journal/local/ENDPOINT/ID.jsonl``); it is kept, cut to what
is drawn, as tests/golden/quickstart.jsonl. Without it the picture is drawn anew from what is kept. The picture refers
to nothing outside itself: no fonts, no links.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from deployer.gate.verdict import Result
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.rollout.ending import ended
from deployer.rollout.events import Advanced, Event, Judged, from_record
from deployer.rollout.machine import begin, evolve
from deployer.rollout.model import Rollout

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "golden" / "quickstart.jsonl"
PICTURE = ROOT / ".github" / "rollout.svg"
COMMAND = "deployer rollout manifests/local/quickstart.yaml"
WIDTH = 100
THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
    [
        (110, 118, 129),
        (255, 161, 152),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (255, 255, 255),
    ],
)
SVG = """\
<svg role="img" aria-label="{title}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>{title}</title>
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 16px }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""

Told = tuple[Rollout, Event, datetime]


def replayed(lines: Iterable[str]) -> Iterator[Told]:
    """State after each event of a journal."""
    state: Rollout | None = None
    for line in lines:
        entry = json.loads(line)
        at, event = datetime.fromisoformat(entry["at"]), from_record(entry["event"])
        state = begin(event, at) if state is None else evolve(state, event, at)
        yield state, event, at


def moment(told: list[Told]) -> int:
    """Index of the event that is drawn half-way: the last undecided look at 50 %."""
    return max(
        index
        for index, (state, event, _) in enumerate(told)
        if isinstance(event, Judged) and state.weight_pct == 50 and event.verdict.result is Result.INCONCLUSIVE
    )


def kept(lines: list[str]) -> list[str]:
    """Cut a journal to what is drawn: every event but the looks that no drawn line speaks of; nobody's name or path."""
    told = list(replayed(lines))
    looks = {moment(told)}
    for index, (_, event, _) in enumerate(told):
        if isinstance(event, Advanced):
            looks.add(max(at for at in range(index) if isinstance(told[at][1], Judged)))
    written: list[str] = []
    for index, line in enumerate(lines):
        if isinstance(told[index][1], Judged) and index not in looks:
            continue
        entry: dict[str, Any] = json.loads(line)
        if entry["event"].get("manifest"):
            entry["event"]["manifest"] = Path(entry["event"]["manifest"]).name
        written.append(json.dumps({"at": entry["at"], "event": entry["event"]}, separators=(",", ":")))
    return written


def draw(lines: list[str]) -> str:
    """Draw both frames as one SVG."""
    told = list(replayed(lines))
    half_way, last = moment(told), len(told) - 1
    console = Console(
        record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor", no_color=False
    )
    console.print(Text.assemble(("$ ", "bold green"), (COMMAND, "bold")))
    console.print(_frame(told[: half_way + 1]))
    between = told[last][2] - told[half_way][2]
    console.print(Text(f"\n… the same tree {between / timedelta(seconds=1):.0f} seconds later:\n", style="dim italic"))
    console.print(_frame(told))
    console.print(Text(ended(told[last][0]).text, style="bold green"))
    svg = console.export_svg(
        title="deployer", theme=THEME, code_format=SVG.replace("{title}", _caption()), unique_id="r"
    )
    return "\n".join(line.strip() for line in svg.split("\n") if line.strip()) + "\n"


def _caption() -> str:
    return "A rollout in the terminal: steps, weights, both versions' numbers and the verdict, half-way and at the end"


def _frame(told: list[Told]) -> Any:
    story = Story()
    for state, event, at in told:
        story.add(state, event, at)
    state, _, at = told[-1]
    return tree(state, story, None, at)


def main() -> None:
    """Draw the picture."""
    if len(sys.argv) > 1:
        lines = kept(Path(sys.argv[1]).read_text().splitlines())
        FIXTURE.write_text("".join(f"{line}\n" for line in lines))
    PICTURE.write_text(draw(FIXTURE.read_text().splitlines()))


if __name__ == "__main__":
    main()
