"""Left-overs in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployer.ports.inspection import Leftover, Removed
from deployer.report.harmless import plain


def leftovers_record(found: Sequence[Leftover], removed: Sequence[Removed] | None, code: int) -> dict[str, Any]:
    """Write what was found, and what became of it when it was to be removed."""
    problems = {(one.leftover.kind, one.leftover.name): one.problem for one in removed or ()}
    return {
        "exit_code": code,
        "usd_per_day": total_usd(found),
        "leftovers": [
            {
                "kind": one.kind.value,
                "name": one.name,
                "why": one.why,
                "instances": one.instances,
                "usd_per_day": one.usd_per_day,
                "removed": removed is not None and problems.get((one.kind, one.name), "") is None,
                "problem": problems.get((one.kind, one.name)),
            }
            for one in found
        ],
    }


def total_usd(found: Sequence[Leftover]) -> float | None:
    """Add up what is known; None: nothing is."""
    known = [one.usd_per_day for one in found if one.usd_per_day is not None]
    return sum(known) if known else None


def leftovers_text(endpoint: str, found: Sequence[Leftover], removed: Sequence[Removed] | None) -> str:
    """Say what is left over, a line each, or what became of it."""
    if not found:
        return f"nothing of deployer's is left over on {endpoint}"
    problems = {(one.leftover.kind, one.leftover.name): one.problem for one in removed or ()}
    kinds, names = (max(len(text) for text in texts) for texts in zip(*((f.kind, f.name) for f in found), strict=True))
    lines: list[str] = []
    for one in found:
        money = "" if one.usd_per_day is None else f"; ${one.usd_per_day:,.2f} a day"
        line = f"{one.kind:<{kinds}}  {one.name:<{names}}  {plain(one.why)}{money}"
        if removed is not None:
            problem = problems.get((one.kind, one.name), "not tried")
            line += "; removed" if problem is None else f"; STILL THERE: {plain(problem)}"
        lines.append(line)
    total = total_usd(found)
    if total is not None:
        lines.append(f"${total:,.2f} a day in all")
    if removed is None:
        lines.append(f"Nothing was removed. To remove all of it: deployer gc {endpoint} --yes")
    return "\n".join(lines)
