"""A profile in words: before it starts, as its result, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployer.errors import ExitCode
from deployer.manifest.quantities import format_duration, format_share
from deployer.report.harmless import plain
from deployer.report.markdown import block
from deployer.report.markdown import escaped as cell

SHOWN = 12
"""Candidates that the terminal shows; the report has all."""


def headline(record: Mapping[str, Any]) -> str:
    """The verdict in one line: what carries how much, for how much."""
    best = chosen(record)
    if best is None:
        return (
            f"No candidate is known to carry {record['rate']:g} rps within {slo_words(record['slo'])}{_partial(record)}"
        )
    return (
        f"{best['name']}: carries {best['sustainable_rps']:g} rps [{best['lower']:g}-{best['upper']:g}] "
        f"within {slo_words(record['slo'])} at ${best['usd_per_hour']:g} an hour{_partial(record)}"
    )


def chosen(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The candidate that is recommended; None: none is."""
    best = record["recommended"]
    if best is None:
        return None
    return next(each for each in record["candidates"] if each["config"] == best["config"])


def _partial(record: Mapping[str, Any]) -> str:
    if record["result"] != "complete":
        return f" (partial: {record['result']})"
    return f" ({record['text']})" if is_undecided(record) else ""


def is_undecided(record: Mapping[str, Any]) -> bool:
    """Whether it is not known if any candidate carries the rate: it was cut short, or one could not be judged."""
    return record["result"] != "complete" or record["exit_code"] == ExitCode.INCONCLUSIVE


def slo_words(slo: Mapping[str, Any]) -> str:
    """``p95 <= 300ms, errors <= 1%``."""
    latency: Mapping[str, float] = slo.get("latency") or {}
    said = [f"{name} <= {format_duration(seconds)}" for name, seconds in latency.items()]
    if slo.get("error_rate") is not None:
        said.append(f"errors <= {format_share(slo['error_rate'])}")
    return ", ".join(said)


def text_of(record: Mapping[str, Any]) -> str:
    """The whole result as plain text."""
    lines = [headline(record), f"  {record['text']}"]
    lines += [f"  {line}" for line in candidate_lines(record["candidates"])]
    best = record["recommended"]
    if best is not None:
        patch = best["patch"].rstrip().split("\n") if best["patch"] else ["(the deployment has it already)"]
        lines += ["  deployment:", *(f"    {line}" for line in patch)]
        if best["minimum_in_production"] is not None:
            lines.append(
                f"  autoscale: at least {best['minimum_in_production']} instances in production; one more above "
                f"{best['scale_out_above_rps_per_instance']:g} rps an instance (80 % of {best['rps_per_instance']:g})"
            )
    lines += [f"  note: {note}" for note in record["notes"]]
    lines.append(
        f"  {format_duration(record['spent']['seconds'])} ({format_duration(record['load_seconds'])} of load), "
        f"${record['spent']['usd']:.2f} spent"
    )
    if record["left_over"]:
        lines.append(f"  STILL THERE: {record['left_over']}")
    if record["report"]:
        lines.append(f"  report: {record['report']}")
    return "\n".join(plain(line) for line in lines)


def candidate_lines(candidates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Candidates in columns, those of which something is known first."""
    known = sorted(candidates, key=lambda each: (each["sustainable_rps"] is None, each["usd_per_hour"]))
    if not known:
        return []
    width = max(len(each["name"]) for each in known[:SHOWN])
    lines = [
        f"{each['name']:<{width}}  ${each['usd_per_hour']:<8g} {rate_words(each)}{_because(each)}"
        for each in known[:SHOWN]
    ]
    left = len(known) - SHOWN
    return [*lines, f"and {left} more: see the report"] if left > 0 else lines


def unknown_words(candidate: Mapping[str, Any]) -> str:
    """Why there is no rate."""
    return "not tried" if candidate["capacity"] is None else "cut short"


def rate_words(candidate: Mapping[str, Any]) -> str:
    """``50 rps [48-52], measured``."""
    if candidate["sustainable_rps"] is None:
        return unknown_words(candidate)
    if candidate["infeasible"]:
        return "infeasible"
    kind = "measured" if candidate["measured"] else "predicted"
    interval = f"[{candidate['lower']:g}-{candidate['upper']:g}]"
    return f"{candidate['sustainable_rps']:g} rps {interval}, {kind}"


def _because(candidate: Mapping[str, Any]) -> str:
    return f": {candidate['why']}" if candidate["why"] else ""


def markdown_of(record: Mapping[str, Any]) -> str:
    """The result as Markdown, for a step summary or a comment."""
    lines = [
        f"### Profile {cell(record['name'])}: {cell(headline(record))}",
        "",
        cell(record["text"]),
        "",
        "| candidate | rps within the slo | 90 % interval | USD an hour | known how | why not |",
        "|---|---:|---|---:|---|---|",
    ]
    for each in record["candidates"]:
        rps = "" if each["sustainable_rps"] is None else f"{each['sustainable_rps']:g}"
        interval = "" if each["sustainable_rps"] is None else f"{each['lower']:g} - {each['upper']:g}"
        kind = (
            unknown_words(each) if each["sustainable_rps"] is None else "measured" if each["measured"] else "predicted"
        )
        why = "**recommended**" if each is chosen(record) else cell(each["why"])
        lines.append(f"| {cell(each['name'])} | {rps} | {interval} | {each['usd_per_hour']:g} | {kind} | {why} |")
    best = record["recommended"]
    if best is not None and best["patch"]:
        lines += ["", block(best["patch"].rstrip(), "yaml").rstrip()]
    if record["left_over"]:
        lines += ["", f"**Still there:** {cell(record['left_over'])}"]
    return "\n".join(lines) + "\n"
