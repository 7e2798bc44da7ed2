"""A load test as a page: verdict first, then the figures with their intervals, then whether to believe them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from deployer.loadtest.kinds import WORDS, Kind
from deployer.loadtest.verdict import ERROR_RATE, percent
from deployer.report.html.charts import Mark, Series, line_chart
from deployer.report.html.page import render
from deployer.report.loadtest.text import (
    change_rows,
    changes,
    generator_words,
    headline,
    limit,
    load_words,
    metric_words,
    ms,
    shown,
    stage_cells,
)

KINDS = {"passed": "good", "missed": "bad", "inconclusive": "wait"}
CHANGES = {"better": "good", "faster": "good", "worse": "bad", "slower": "bad"}


def page_of(record: Mapping[str, Any]) -> str:
    """Make the page of ``report.loadtest.record``'s record."""
    points: Sequence[Mapping[str, Any]] = record["over_time"]
    moved = change_rows(record)
    trust = _trust(record)
    return render(
        "loadtest.html.j2",
        f"Load test of {record['test']['endpoint']}",
        record=record,
        sent=load_words(record),
        headline=headline(record),
        kind=KINDS[record["result"]],
        tiles=_tiles(record) if record["trusted"] else [],
        targets=[_target_row(target) for target in record["targets"]],
        target_kinds=[KINDS[target["result"]] for target in record["targets"]],
        percentiles=_percentiles(record) if record["trusted"] else [],
        compared=next(iter(changes(record)), ""),
        changes=moved,
        change_kinds=[CHANGES.get(word, "") for *_, word in moved],
        latency=_latency_chart(record, points) if points else "",
        rate=_rate_chart(record, points) if points else "",
        stages=stage_cells(record),
        answers=_answers(record) if record["trusted"] else [],
        trust=[(what, found) for what, found, _ in trust],
        trust_kinds=[kind for _, _, kind in trust],
    )


def _tiles(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    requests, share = record["requests"], record[ERROR_RATE]
    tiles = [("Sent", f"{requests['per_second']:.3g}/s", f"{requests['sent']:,} requests measured")]
    limits = {target["metric"]: limit(target) for target in record["targets"]}
    for name in ("p50", "p95", "p99"):
        value = record["latency_ms"][name]
        known = ms(value["estimate"]) if value["lower"] is not None else "unknown"
        tiles.append((name, known, f"target {limits[name]}" if name in limits else "no target"))
    upper = "" if share["upper"] is None else f"at most {percent(share['upper'])} shown"
    errors = "unknown" if share["estimate"] is None else percent(share["estimate"])
    return [*tiles, ("Errors", errors, upper)]


def _target_row(target: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metric = target["metric"]
    return metric_words(metric), limit(target), shown(metric, target), target["result"]


def _percentiles(record: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    limits = {target["metric"]: limit(target) for target in record["targets"]}
    rows: list[tuple[str, str, str, str, str]] = []
    for name, value in record["latency_ms"].items():
        if value["lower"] is not None:
            upper = "not bounded" if value["upper"] is None else ms(value["upper"])
            rows.append((name, ms(value["estimate"]), ms(value["lower"]), upper, limits.get(name, "")))
    if record["longest_ms"] is not None:
        rows.append(("longest", ms(record["longest_ms"]), "", "", ""))
    return rows


def _answers(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    requests = record["requests"]
    rows = [(WORDS[Kind(kind)][0], f"{n:,}", WORDS[Kind(kind)][1]) for kind, n in requests["by_kind"].items()]
    return rows + [(f"status {status}", f"{n:,}", "") for status, n in requests["by_status"].items()]


def _latency_chart(record: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> Markup:
    series = [
        Series(name, [(row["at_s"], _or_gap(row[name])) for row in points], role=role)
        for name, role in (("p50", "stable"), ("p95", "candidate"), ("p99", "neutral"))
    ]
    limits = [
        Mark("y", target["limit"], f"{target['metric']} target {limit(target)}", "limit")
        for target in record["targets"]
        if target["metric"] != ERROR_RATE
    ]
    return line_chart(
        "Latency over time, from the intended arrival",
        "p50, p95 and p99 of the requests of each stretch of time; targets are lines across.",
        series,
        [*limits, *_warm_up(record)],
        x_label="seconds from the start",
        y_label="ms",
        log_y=_is_wide(points),
    )


def _is_wide(points: Sequence[Mapping[str, Any]]) -> bool:
    values = [row[name] for row in points for name in ("p50", "p99") if row[name]]
    return bool(values) and min(values) > 0 and max(values) / min(values) > 30


def _rate_chart(record: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> Markup:
    series = [
        Series("sent", [(row["at_s"], row["sent_per_second"]) for row in points], role="stable", step=True),
        Series("failed", [(row["at_s"], row["failed_per_second"]) for row in points], role="candidate", step=True),
    ]
    return line_chart(
        "Requests over time",
        "Requests that came each second, and those of them that failed.",
        series,
        _warm_up(record),
        x_label="seconds from the start",
        y_label="requests a second",
    )


def _warm_up(record: Mapping[str, Any]) -> list[Mark]:
    warm_up_s = record["load"]["warm_up_s"]
    return [Mark("x", warm_up_s, "warm-up ends")] if warm_up_s else []


def _trust(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    generator, requests = record["generator"], record["requests"]
    confidence = (
        "90 % (95 % on either side), from the spread between batches of time: requests that wait together are not "
        "taken for independent"
    )
    return [
        ("Load generator", generator["problem"] or "did what it was asked", "good" if record["trusted"] else "bad"),
        ("How it did", generator_words(record), "wait" if record["coarse"] else ""),
        ("Ran to its end", record["partial"] or "yes", "wait" if record["partial"] else "good"),
        ("Warm-up, kept apart", f"{requests['warm_up']:,} requests", ""),
        ("Latency counts from", "the intended arrival of each request: a stall delays all that came during it", ""),
        ("Requests that failed", "count as slower than any target", ""),
        ("Intervals", confidence, ""),
        ("Figures", "all measured, none predicted", ""),
        *(("Before it began", warning, "wait") for warning in record["warnings"]),
    ]


def _or_gap(value: float | None) -> float:
    return math.nan if value is None else value
