"""One rollout as Markdown, as plain text, and as the story that ``explain`` tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.manifest.quantities import format_duration
from deployer.report.words import plain

ICONS = {"promoted": "✅", "rolled_back": "❌", "stuck": "🚨"}


def markdown_of(record: Mapping[str, Any]) -> str:
    """The evidence in short, for a step summary or a comment."""
    rollout = record["rollout"]
    icon = ICONS.get(rollout["phase"], "⏳")
    lines = [f"### {icon} {escaped(record['headline'])}", "", escaped(record["reason"]), ""]
    lines += ["| step | took |", "|---|---|"]
    for step in record["steps"]:
        took = "not reached" if step["seconds"] is None else format_duration(round(step["seconds"], 1))
        lines.append(f"| {escaped(step['name'])} | {took} |")
    for look in record["looks"]:
        if look["decided"]:
            lines += ["", f"**{escaped(look['step'])}: {look['verdict']['result']}** {escaped(look['numbers'])}"]
            lines.append(f"Would have changed it: {escaped(look['would_change'])}.")
    lines += [
        "",
        f"`deployer report {escaped(rollout['rollout_id'])}` makes the whole page; `deployer explain` recomputes it.",
    ]
    return "\n".join(lines) + "\n"


def explained(record: Mapping[str, Any]) -> str:
    """Tell why it ended as it did, and whether every verdict recomputes."""
    lines = [record["headline"], f"  because    {record['reason']}"]
    for look in record["looks"]:
        if look["match"] != "not kept" or look["decided"]:
            mark = {"same": "matches", "other": "DIFFERS", "changed": "CHANGED", "missing": "MISSING"}.get(
                look["match"]
            )
            lines.append(
                f"  {mark or look['match']:<10} {look['step']} at {look['verdict']['at']}: {look['verdict']['result']}"
            )
            lines.append(f"             {look['numbers']}")
            lines.append(f"             would have changed it: {look['would_change']}")
            if look["match_text"]:
                lines.append(f"             {look['match_text']}")
    proof = record["proof"]
    lines.append(
        f"  journal    {proof['chain']}; {proof['same']} of {len(record['looks'])} looks recomputed to the same verdict, "
        f"{proof['other']} to another, {proof['changed']} changed, {proof['missing']} missing; "
        f"{proof['not kept']} decided nothing and left no evidence"
    )
    return "\n".join(lines)


def escaped(text: str) -> str:
    """A text from outside as Markdown shows it literally, on one line."""
    harmless = plain(text).replace("\\", "\\\\").replace("\n", " ")
    for mark in "|*_`[]<>#~!@":
        harmless = harmless.replace(mark, f"\\{mark}")
    return harmless
