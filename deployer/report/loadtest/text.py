"""A load test in words: for the terminal, for Markdown, and while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.loadtest.figures import Figures
from deployer.loadtest.statistics import ended, quantile
from deployer.loadtest.verdict import errors, statuses
from deployer.manifest.quantities import format_duration
from deployer.report.words import plain

HEADLINES = {"passed": "TARGETS MET", "missed": "TARGET MISSED", "inconclusive": "NOT SHOWN"}
RECENT_S = 5
"""Seconds that the running figures cover."""


def headline(record: Mapping[str, Any]) -> str:
    """The verdict in a few words."""
    test = record["test"]
    where = test["endpoint"] + (f"/{test['deployment']}" if test["deployment"] else "")
    return f"{HEADLINES[record['result']]}: {where} at {record['requests']['per_second']:g} requests/s"


def text_of(record: Mapping[str, Any]) -> str:
    """The whole result as plain text."""
    requests, generator = record["requests"], record["generator"]
    lines = [headline(record)]
    lines += [f"  {target['result']:<12} {target['text']}" for target in record["targets"]] or [f"  {record['text']}"]
    if record["partial"]:
        lines.append(f"  partial      {record['partial']}")
    if not record["trusted"]:
        lines.append(f"  thrown away  {generator['problem']}")
    counts = ", ".join(f"{kind}: {n:,}" for kind, n in requests["by_status"].items()) or "none"
    lines.append(f"  requests     {requests['ended']:,} measured ({counts}), {requests['warm_up']:,} to warm up")
    lines.append("  latency      " + ", ".join(_quantile(*item) for item in record["latency_ms"].items()))
    lines.append(
        f"  generator    sent {generator['lag_p99_ms']:.1f} ms late (p99), {generator['cpu_pct']:.0f} % of a core"
    )
    lines += [f"  previous     {line}" for line in changes(record)]
    if record["report"]:
        lines.append(f"  report       {record['report']}")
    return "\n".join(lines)


def changes(record: Mapping[str, Any]) -> list[str]:
    """This run beside the previous one, a line a figure that both have."""
    if not record["previous"]:
        return []
    return [
        f"{change['metric']} {_shown(change, 'before')} -> {_shown(change, 'now')}: {change['change']}"
        for change in record["previous"]["changes"]
    ]


def markdown_of(record: Mapping[str, Any]) -> str:
    """The result as Markdown, for a step summary or a comment."""
    lines = [
        f"### Load test: {_cell(headline(record))}",
        "",
        "| target | allowed | measured | result |",
        "|---|---|---|---|",
    ]
    for target in record["targets"]:
        is_share = target["metric"] == "error_rate"
        limit = f"{100 * target['limit']:.3g} %" if is_share else f"{target['limit']:g} ms"
        lines.append(f"| {target['metric']} | {limit} | {_cell(target['text'])} | {target['result']} |")
    if record["partial"] or not record["trusted"]:
        lines += ["", _cell(record["text"])]
    lines += ["", f"{record['requests']['ended']:,} requests, {_cell(str(record['requests']['by_status']))}"]
    lines += [f"- {_cell(line)}" for line in changes(record)]
    return "\n".join(lines) + "\n"


def progress_text(seen: Figures, elapsed_s: float) -> str:
    """One line while it runs."""
    recent = seen.windows[-RECENT_S:]
    total_s = seen.load.warm_up_s + seen.load.seconds
    phase = "warming up" if elapsed_s < seen.load.warm_up_s else "measuring"
    sent = sum(window.sent for window in recent) / max(len(recent), 1)
    shown = ", ".join(
        f"{name} {'-' if (value := quantile(recent, level).estimate) is None else f'{value:g} ms'}"
        for name, level in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    )
    bad, all_ended = sum(map(errors, seen.windows)), sum(map(ended, seen.windows))
    wrong = ", ".join(
        f"{n} x {status}" for status, n in sorted(statuses(seen.windows).items()) if not 200 <= status < 300
    )
    left = format_duration(max(total_s - elapsed_s, 0.0))
    return (
        f"{phase}: {sent:.1f} requests/s, {shown}, {bad:,} of {all_ended:,} failed"
        f"{f' ({wrong})' if wrong else ''}, lag {seen.health.lag_p99_ms:.0f} ms, {left} left"
    )


def _quantile(name: str, value: Mapping[str, float | None]) -> str:
    shown = "no answer" if value["estimate"] is None else f"{value['estimate']:g} ms"
    low, high = (("?" if value[end] is None else f"{value[end]:g}") for end in ("lower", "upper"))
    return f"{name} {shown} [{low}-{high}]"


def _shown(change: Mapping[str, Any], when: str) -> str:
    value = change[when]["estimate"]
    if value is None:
        return "no answer"
    return f"{100 * value:.3g} %" if change["metric"] == "error_rate" else f"{value:g} ms"


def _cell(text: str) -> str:
    """A text that a Markdown table shows as it is."""
    harmless = plain(text).replace("\\", "\\\\").replace("\n", " ")
    for mark in "|*_`[]<>#":
        harmless = harmless.replace(mark, f"\\{mark}")
    return harmless
