"""Checks in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deployer.errors import ExitCode
from deployer.ports.inspection import Check, CheckState
from deployer.report.harmless import plain

STYLES = {CheckState.OK: "green", CheckState.WARN: "yellow", CheckState.FAIL: "bold red", CheckState.UNKNOWN: "magenta"}


def checks_record(checks: Sequence[Check], code: ExitCode) -> dict[str, Any]:
    """Write checks as JSON-able data."""
    return {"exit_code": int(code), "checks": check_list(checks)}


def check_list(checks: Sequence[Check]) -> list[dict[str, str]]:
    """Write each check."""
    return [{"name": one.name, "state": one.state.value, "text": one.text, "fix": one.fix} for one in checks]


def checks_text(checks: Sequence[Check]) -> str:
    """Say each check in a line, and what to do below it."""
    return "\n".join(_lines(checks))


def _lines(checks: Sequence[Check]) -> list[str]:
    width = max((len(check.name) for check in checks), default=0)
    lines: list[str] = []
    for check in checks:
        text = plain(check.text).replace("\n", " ")
        lines.append(f"{check.state.value:<7}  {check.name:<{width}}  {text}")
        if check.fix:
            lines.append(f"{'':<7}  {'':<{width}}  next: {plain(check.fix)}")
    return lines


def summary(checks: Sequence[Check]) -> str:
    """Count them."""
    counts = {state: sum(check.state is state for check in checks) for state in CheckState}
    said = [f"{counts[state]} {state.value}" for state in CheckState if counts[state]]
    return ", ".join(said) or "nothing was checked"


def checks_drawing(checks: Sequence[Check]) -> RenderableType:
    """Draw the same in columns, coloured, with the count below."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        said = Text(plain(check.text).replace("\n", " "))
        if check.fix:
            said.append(f"\nnext: {plain(check.fix)}", "dim")
        grid.add_row(Text(check.state.value, STYLES[check.state]), Text(check.name), said)
    return Group(grid, Text(summary(checks), "bold"))
