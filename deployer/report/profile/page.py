"""A profile as a page: the verdict, why not the others, cost, load against the SLO, and whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from deployer.manifest.quantities import format_duration
from deployer.report.html.charts import Mark, Series, bar_chart, line_chart
from deployer.report.html.page import render
from deployer.report.profile.text import chosen, headline, is_undecided, slo_words, unknown_words

Record = Mapping[str, Any]
_KINDS = {"complete": "good", "budget": "wait", "interrupted": "wait", "platform": "bad"}
_INFORMED = 4
"""Candidates in the chart of latency against load, the chosen first."""


def page_of(record: Record) -> str:
    """Make the page of ``report.profile.record``'s record."""
    best = chosen(record)
    kind = _KINDS[record["result"]]
    if record["result"] == "complete" and best is None:
        kind = "wait" if is_undecided(record) else "bad"
    return render(
        "profile.html.j2",
        f"Profile {record['name']}",
        record=record,
        best=best,
        kind=kind,
        headline=headline(record),
        slo=slo_words(record["slo"]),
        tiles=_tiles(record, best),
        why_not=[(each["name"], each["why"]) for each in record["candidates"] if each["why"]],
        charts=_charts(record, best),
        rows=[_row(each) for each in record["candidates"]],
        row_kinds=["good" if each is best else "" for each in record["candidates"]],
        patch=_recommended(record).get("patch", ""),
        autoscale=_autoscale(record),
        trials=[_trial_row(each) for each in record["trials"]],
        trust=_trust(record, best),
    )


def _tiles(record: Record, best: Record | None) -> list[tuple[str, str, str]]:
    spent = record["spent"]
    rest = [
        ("Spent", format_duration(spent["seconds"]), f"{format_duration(record['load_seconds'])} of it under load"),
        ("Money", f"${spent['usd']:.2f}", "for the instances meanwhile"),
    ]
    if best is None:
        return [("Wanted", f"{record['rate']:g} rps", "peak and headroom"), *rest]
    advised = record["recommended"]
    known = "measured" if best["measured"] else "predicted"
    return [
        ("Carries", f"{best['sustainable_rps']:g} rps", f"{best['lower']:g} to {best['upper']:g}, {known}"),
        ("Wanted", f"{record['rate']:g} rps", f"peak {record['peak_rps']:g} and {100 * record['headroom']:.0f} % room"),
        ("An hour", f"${best['usd_per_hour']:g}", str(best["price_source"] or "")),
        ("A month", f"${advised['usd_per_month']:g}", "730 hours"),
        ("A million requests", f"${best['usd_per_million']:g}", f"at {best['sustainable_rps']:g} rps, {known}"),
        ("An instance", f"{advised['rps_per_instance']:g} rps", known),
        *rest,
    ]


def _charts(record: Record, best: Record | None) -> list[object]:
    drawn = [_violation(record, best), _latency(record), _cost(record), _scaling(record, best), _timeline(record, best)]
    return [each for each in drawn if each is not None]


def _violation(record: Record, best: Record | None) -> object | None:
    if best is None or best["capacity"] is None:
        return None
    curve = best["capacity"]["curve"]
    predicted = [point for point in curve if not point["measured"]]
    trials = _open_trials(record, best)
    worst = [(trial["rps"], max(trial["violation"].values())) for trial in trials if trial["violation"]]
    if not predicted and not worst:
        return None
    series = [Series("measured, one dot a trial", sorted(worst), role="candidate", dots=True)]
    if predicted:
        line = [(point["rps"], point["violation"]) for point in predicted]
        band = [(point["rps"], point["lower"], point["upper"]) for point in predicted]
        series.append(Series("predicted by the queue", line, band, role="predicted"))
    marks = [
        Mark("y", 1.0, "slo just met", "limit"),
        Mark("x", best["sustainable_rps"], "sustainable", "decision"),
        Mark("x", best["lower"], "lower"),
        Mark("x", best["capacity"]["ceiling_rps"], "ceiling"),
    ]
    return line_chart(
        f"Bad requests against load, over what the slo allows: {best['name']}",
        "Share of requests that fail or are late, divided by the share allowed; above 1 the slo is broken.",
        series,
        marks,
        x_label="requests a second",
        y_label="bad / allowed",
    )


def _latency(record: Record) -> object | None:
    shown: list[Series] = []
    names = dict.fromkeys(each["name"] for each in record["trials"] if each["kind"] == "open" and not each["problem"])
    roles = ("candidate", "stable", "neutral", "neutral")
    for name, role in zip(list(names)[:_INFORMED], roles, strict=False):
        points = [
            (trial["rps"], trial["latency_ms"]["p95"])
            for trial in record["trials"]
            if trial["name"] == name and trial["kind"] == "open" and trial["latency_ms"]["p95"] is not None
        ]
        shown.append(Series(name, sorted(points), role=role, dots=True))
    if not shown:
        return None
    limit = _limits(record).get("p95")
    marks = [] if limit is None else [Mark("y", 1000 * limit, f"p95 target {1000 * limit:g} ms", "limit")]
    return line_chart(
        "p95 against load, measured",
        "Each dot is one trial with Poisson arrivals.",
        shown,
        [*marks, Mark("x", record["rate"], "wanted", "decision")],
        x_label="requests a second",
        y_label="p95, ms",
    )


def _cost(record: Record) -> object | None:
    known = [each for each in record["candidates"] if each["usd_per_million"] is not None]
    if not known:
        return None
    ranked = sorted(known, key=lambda each: each["usd_per_million"])[:12]
    bars = [(each["name"], each["usd_per_million"], "stable" if each["measured"] else "predicted") for each in ranked]
    return bar_chart(
        "Cost of a million requests, fully used", "Lower is cheaper; predicted ones are pale.", bars, x_label="USD"
    )


def _scaling(record: Record, best: Record | None) -> object | None:
    if best is None:
        return None
    shape = _shape(best)
    known = [each for each in record["candidates"] if _shape(each) == shape and each["sustainable_rps"] is not None]
    if len(known) < 2:
        return None

    def line(*, measured: bool) -> list[tuple[float, float]]:
        return [
            (each["config"]["instance_count"], each["sustainable_rps"])
            for each in known
            if bool(each["measured"]) is measured
        ]

    band = [(each["config"]["instance_count"], each["lower"], each["upper"]) for each in known]
    return line_chart(
        "Scaling",
        "Requests a second within the slo by number of instances.",
        [
            Series("measured", line(measured=True), role="candidate", dots=True),
            Series("predicted in proportion", line(measured=False), band, role="predicted"),
        ],
        [Mark("y", record["rate"], "wanted", "limit")],
        x_label="instances",
        y_label="rps",
    )


def _timeline(record: Record, best: Record | None) -> object | None:
    trials = _open_trials(record, best) if best is not None else []
    trials = [each for each in trials if each["timeline"]]
    if not trials:
        return None
    last = trials[-1]
    series = [Series("p95 of the second", [(row["at_s"], _or_gap(row["p95_ms"])) for row in last["timeline"]])]
    marks = [Mark("y", 1000 * limit_s, f"{name} target", "limit") for name, limit_s in _limits(record).items()]
    return line_chart(
        f"The last confirmation, second by second: {last['why']} on {last['name']} (measured)",
        "p95 of the requests that were to arrive in each second.",
        series,
        marks,
        x_label="seconds from the start",
        y_label="ms",
    )


def _open_trials(record: Record, best: Record) -> list[Record]:
    return [
        each
        for each in record["trials"]
        if each["config"] == best["config"] and each["kind"] == "open" and not each["problem"]
    ]


def _recommended(record: Record) -> dict[str, Any]:
    return record["recommended"] or {}


def _limits(record: Record) -> dict[str, float]:
    """Latency limits in seconds by name."""
    return record["slo"].get("latency") or {}


def _shape(candidate: Record) -> dict[str, Any]:
    return {**candidate["config"], "instance_count": 0}


def _row(each: Record) -> tuple[str, ...]:
    if each["sustainable_rps"] is None:
        return (each["name"], f"${each['usd_per_hour']:g}", "", "", "", "", unknown_words(each), each["why"])
    kind = "measured" if each["measured"] else "predicted"
    if not each["measured"] and each["measured_at"] is not None:
        kind += f" from {each['measured_at']}"
    million = "" if each["usd_per_million"] is None else f"${each['usd_per_million']:g}"
    return (
        each["name"],
        f"${each['usd_per_hour']:g}",
        "infeasible" if each["infeasible"] else f"{each['sustainable_rps']:g}",
        f"{each['lower']:g} - {each['upper']:g}",
        f"{each['capacity']['ceiling_rps']:g}",
        million,
        kind,
        each["why"] or "recommended",
    )


def _autoscale(record: Record) -> str:
    rule = _recommended(record).get("autoscale")
    return "" if rule is None else yaml.safe_dump(rule, sort_keys=False)


def _trial_row(each: Record) -> tuple[str, ...]:
    latency = each["latency_ms"]
    shown = ["" if latency[name] is None else f"{latency[name]:.4g}" for name in ("p50", "p95", "p99")]
    return (
        str(each["number"]),
        each["name"],
        each["why"],
        f"{each['seconds']:g} s",
        f"{each['sent']:,}",
        f"{each['failed']:,}",
        *shown,
        f"NOT USED: {each['problem']}" if each["problem"] else each["stopped"] or "",
    )


def _trust(record: Record, best: Record | None) -> list[tuple[str, str, str]]:
    trials: Sequence[Record] = record["trials"]
    unused = [each for each in trials if each["problem"]]
    lag = max((each["lag_p99_ms"] for each in trials), default=0.0)
    cpu = max((each["cpu_pct"] for each in trials), default=0.0)
    said = f"{len(unused)} of {len(trials)} trials were not used" if unused else "kept up in every trial"
    rows = [
        ("Load generator", said, "wait" if unused else "good"),
        ("Sent late by (p99), at worst", f"{lag:.1f} ms", ""),
        ("Processor of the generator, at most", f"{cpu:.0f} % of a core", ""),
        ("Ran to its end", "yes" if record["result"] == "complete" else record["text"], _KINDS[record["result"]]),
        ("Latency counts from", "the intended arrival of each request, so that no stall is hidden", ""),
        ("Intervals", "90 % of the true capacity; the promised rate is on the lower side", ""),
    ]
    if best is not None and best["capacity"] is not None:
        found = best["capacity"]
        known = "confirmed under load" if best["measured"] else "predicted, not confirmed"
        rows.append(("The recommended rate", known, "good" if best["measured"] else "wait"))
        if found["error_rate_shown"] is not None:
            rows.append(("Errors at that rate", f"at most {100 * found['error_rate_shown']:.2g} % shown (95 %)", ""))
        if found["note"]:
            rows.append(("Of the search", found["note"], "wait"))
    rows += [("Note", note, "wait") for note in record["notes"]]
    if record["left_over"]:
        rows.append(("Still there", record["left_over"], "bad"))
    return rows


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value
