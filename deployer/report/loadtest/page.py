"""A load test as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.report.html.charts import Mark, Series, line_chart
from deployer.report.html.page import render
from deployer.report.loadtest.text import changes, headline

KINDS = {"passed": "good", "missed": "bad", "inconclusive": "wait"}


def page_of(record: Mapping[str, Any]) -> str:
    """Make the page of ``report.loadtest.record``'s record."""
    seconds = record["seconds"]
    return render(
        "loadtest.html.j2",
        f"Load test of {record['test']['endpoint']}",
        record=record,
        headline=headline(record),
        kind=KINDS[record["result"]],
        tiles=_tiles(record),
        targets=[_target_row(target) for target in record["targets"]],
        target_kinds=[KINDS[target["result"]] for target in record["targets"]],
        changes=changes(record),
        latency=_latency_chart(record, seconds),
        rate=_rate_chart(record, seconds),
        trust=_trust(record),
    )


def _tiles(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    requests = record["requests"]
    tiles = [("Sent", f"{requests['per_second']:g}/s", f"{requests['sent']:,} requests measured")]
    for name, value in record["latency_ms"].items():
        limit = next((target["limit"] for target in record["targets"] if target["metric"] == name), None)
        tiles.append((name, _ms(value["estimate"]), "no target" if limit is None else f"target {limit:g} ms"))
    share = record["error_rate"]
    shown = "unknown" if share["estimate"] is None else f"{100 * share['estimate']:.3g} %"
    upper = "" if share["upper"] is None else f"at most {100 * share['upper']:.2g} % shown"
    return [*tiles, ("Errors", shown, upper)]


def _target_row(target: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if target["metric"] == "error_rate":
        shown = [f"{100 * (target[key] or 0.0):.3g} %" for key in ("estimate", "lower", "upper")]
        limit = f"{100 * target['limit']:.3g} %"
    else:
        shown = [_ms(target[key]) for key in ("estimate", "lower", "upper")]
        limit = f"{target['limit']:g} ms"
    return target["metric"], limit, f"{shown[0]} [{shown[1]} - {shown[2]}]", target["result"]


def _latency_chart(record: Mapping[str, Any], seconds: list[dict[str, Any]]) -> object:
    series = [
        Series(name, [(row["at_s"], _or_gap(row[name])) for row in seconds], role=role)
        for name, role in (("p50", "stable"), ("p95", "candidate"), ("p99", "neutral"))
    ]
    limits = [
        Mark("y", target["limit"], f"{target['metric']} target {target['limit']:g} ms", "limit")
        for target in record["targets"]
        if target["metric"] != "error_rate"
    ]
    return line_chart(
        "Latency by second of intended arrival",
        "p50, p95 and p99 of the requests of each second, with the targets as lines across.",
        series,
        [*limits, *_warm_up(record)],
        x_label="seconds from the start",
        y_label="ms",
    )


def _rate_chart(record: Mapping[str, Any], seconds: list[dict[str, Any]]) -> object:
    series = [
        Series("sent", [(row["at_s"], row["sent"]) for row in seconds], role="stable", step=True),
        Series("failed", [(row["at_s"], row["failed"]) for row in seconds], role="candidate", step=True),
    ]
    return line_chart(
        "Requests by second of intended arrival",
        "Requests that were sent, and those of them that failed.",
        series,
        _warm_up(record),
        x_label="seconds from the start",
        y_label="requests",
    )


def _warm_up(record: Mapping[str, Any]) -> list[Mark]:
    warm_up_s = record["test"]["warm_up_s"]
    return [Mark("x", warm_up_s, "warm-up ends")] if warm_up_s else []


def _trust(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    generator, requests = record["generator"], record["requests"]
    return [
        ("Load generator", generator["problem"] or "did what it was asked", "good" if record["trusted"] else "bad"),
        ("Sent late by (p99)", f"{generator['lag_p99_ms']:.1f} ms", ""),
        ("Processor of the busiest process", f"{generator['cpu_pct']:.0f} % of a core", ""),
        ("Ran to its end", record["partial"] or "yes", "bad" if record["partial"] else "good"),
        ("Warm-up, kept apart", f"{requests['warm_up']:,} requests", ""),
        ("Latency counts from", "the intended arrival of each request, so that no stall is hidden", ""),
        ("Intervals", "95 %, by the spread between batches of seconds", ""),
        ("Figures", "all measured, none predicted", ""),
    ]


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value


def _ms(value: float | None) -> str:
    return "no answer" if value is None else f"{value:g} ms"
