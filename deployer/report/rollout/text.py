"""One rollout as Markdown, and as the story that ``explain`` tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from deployer.manifest.quantities import format_duration
from deployer.report.markdown import bounded, code, escaped

ICONS = {"promoted": "✅", "rolled_back": "❌", "stuck": "🚨"}
MARKS = {
    "same": "matches",
    "whole": "whole",
    "other": "DIFFERS",
    "other_rule": "OTHER RULE",
    "changed": "CHANGED",
    "missing": "MISSING",
    "unreadable": "UNREADABLE",
    "not_kept": "not kept",
}


def markdown_of(record: Mapping[str, Any]) -> str:
    """The evidence in short, for a step summary or a comment."""
    rollout = record["rollout"]
    icon = ICONS.get(rollout["phase"], "⏳")
    lines = [f"### {icon} {escaped(record['headline'])}", "", escaped(record["reason"]), ""]
    lines += ["| step | took | gate |", "|---|--:|---|"]
    for step in record["steps"]:
        took = "not reached" if step["seconds"] is None else format_duration(round(step["seconds"], 1))
        decided = [look for look in record["looks"] if look["decided"] and look["step"] == step["plain"]]
        numbers = f"{decided[-1]['verdict']['result']}: {decided[-1]['numbers']}" if decided else ""
        lines.append(f"| {escaped(step['name'])} | {took} | {escaped(numbers)} |")
    decided = [look for look in record["looks"] if look["decided"]]
    if decided:
        last = decided[-1]
        lines += ["", f"Would have changed the last verdict: {escaped(last['would_change'])}."]
    who = ", ".join(escaped(actor["name"]) for actor in record["actors"])
    report, explain = (code(f"deployer {verb} {rollout['rollout_id']}") for verb in ("report", "explain"))
    more = (
        f"{report} makes the whole page, {explain} recomputes every verdict; on another machine, of the journal's path."
    )
    lines += ["", f"By {who}. {more}"]
    return bounded("\n".join(lines) + "\n")


def explained(record: Mapping[str, Any]) -> str:
    """Tell why it ended as it did, and whether every verdict recomputes."""
    lines = [record["headline"], *_story(record)]
    for look in _told(record["looks"]):
        lines += _look(look)
    lines += _proof(record)
    return "\n".join(lines)


def _story(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"  because    {record['reason']}"
    reached = [step for step in record["steps"] if step["seconds"] is not None]
    took = ", ".join(f"{step['name']} {format_duration(round(step['seconds'], 1))}" for step in reached)
    yield f"  steps      {took}"
    yield f"  who        {', '.join(actor['name'] for actor in record['actors'])}"


def _told(looks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Looks that decided, and those whose evidence is not as it should be."""
    return [look for look in looks if look["decided"] or look["match"] not in ("same", "not kept")]


def _look(look: Mapping[str, Any]) -> Iterator[str]:
    mark = MARKS[look["match"].replace(" ", "_")]
    at = f"{datetime.fromisoformat(look['verdict']['at']):%Y-%m-%d %H:%M:%S} UTC"
    yield f"  {mark:<10} look {look['number']} at {look['step']}, {at}: {look['verdict']['result']}"
    yield f"             {look['numbers']}"
    if look["match_text"]:
        yield f"             {look['match_text']}"
    if look["decided"]:
        yield f"             would have changed it: {look['would_change']}"


def _proof(record: Mapping[str, Any]) -> Iterator[str]:
    proof = record["proof"]
    found = ", ".join(f"{proof[key]} {mark}" for key, mark in MARKS.items() if proof[key])
    yield "  journal    every line matches its hash"
    if record["exit_code"] is None:
        yield "  no end     the rollout is under way, or the journal's last lines are gone"
    yield f"  evidence   {found or 'the gate did not look'}, of {len(record['looks'])} looks"
    versions = record["deployer"]
    if versions["began"] not in (None, versions["read"]):
        yield f"  versions   begun by deployer {versions['began']}, recomputed by {versions['read']}"
