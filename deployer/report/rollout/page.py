"""One rollout as a page: the verdict and its reason first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import unified_diff
from typing import Any

import yaml

from deployer.manifest.quantities import format_duration
from deployer.report.html.charts import Mark, Series, line_chart
from deployer.report.html.page import render

KINDS = {"promoted": "good", "rolled_back": "bad", "stuck": "bad"}
VERDICTS = {"pass": "good", "fail": "bad", "inconclusive": "wait", "blind": "wait"}
LOOKS = 200
"""Looks that are shown; the JSON has all."""
DIFF_LINES = 2000
"""Lines of each version's YAML that are compared: comparing takes their product."""


def page_of(record: Mapping[str, Any]) -> str:
    """Make the page of ``report.rollout.record``'s record."""
    rollout = record["rollout"]
    replaced = f" replaces {rollout['stable']}" if rollout["stable"] else " is the first version"
    shown = _shown(record["looks"])
    return render(
        "rollout.html.j2",
        f"{rollout['endpoint']}: {rollout['candidate']}{replaced}",
        record=record,
        started=_moment(record["started_at"]),
        kind=KINDS.get(rollout["phase"], "wait"),
        tiles=_tiles(record),
        weight=_weight_chart(record),
        charts=[_metric_chart(record, metric) for metric in ("p50", "p95", "p99", "error_rate")],
        steps=_steps(record),
        step_kinds=[_step_kind(step, record) for step in record["steps"]],
        looks=[_look_row(look) for look in shown],
        look_kinds=[VERDICTS[look["verdict"]["result"]] for look in shown],
        decisions=[{**look, "clock": _moment(look["verdict"]["at"])} for look in record["looks"] if look["decided"]],
        verdict_kinds=VERDICTS,
        events=[(_clock(event["at"]), event["kind"], event["text"], event["actor"]) for event in _told(record)],
        actors=[_actor(actor) for actor in record["actors"]],
        calls=_calls(record),
        cost=_cost(record),
        difference=difference(record["specification"]),
        reasons=_reasons,
        proof=_proof(record),
    )


def _shown(looks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Looks that decided, and of the others evenly as many as fit."""
    every = max(1, -(-len(looks) // LOOKS))
    return [look for place, look in enumerate(looks) if look["decided"] or place % every == 0]


def _told(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [event for event in record["events"] if not event["look"]]


def _tiles(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    looks = record["looks"]
    last = looks[-1]["verdict"] if looks else None
    tiles = [
        ("Candidate", record["candidate"]["name"], record["candidate"]["digest"][:12]),
        ("Took", _long(record["seconds"]), f"{len(looks)} looks of the gate"),
    ]
    if last is not None:
        one, other = last["candidate"], last["stable"]
        for name in ("p50_ms", "p95_ms", "p99_ms"):
            beside = f"stable {_ms(other[name])}" if other else ""
            tiles.append((f"{name[:3]} of the candidate", _ms(one[name]), beside))
        errors = _percent(one["error_rate"])
        tiles.append(("Its errors", errors, f"stable {_percent(other['error_rate'])}" if other else ""))
        tiles.append(("Its requests", f"{one['requests']:,}", f"stable {other['requests']:,}" if other else ""))
    return tiles


def _weight_chart(record: Mapping[str, Any]) -> object:
    weights = [(_seconds(row["at"]), float(row["weight_pct"])) for row in record["weights"]]
    start, end = _seconds(record["started_at"]), _seconds(record["events"][-1]["at"])
    points = [(start, 0.0), *weights, (end, weights[-1][1])] if weights else []
    most = max((weight for _, weight in weights), default=0.0)
    return line_chart(
        "Weight of the candidate",
        f"The candidate's share of users' traffic over time, up to {most:g} %, with each change and each decision.",
        [Series(record["candidate"]["name"], points, role="candidate", step=True)],
        _events(record),
        x_label="time (UTC)",
        y_label="% of traffic",
        x_format="time",
        y_top=110.0,
    )


def _metric_chart(record: Mapping[str, Any], metric: str) -> object:
    scale = 100.0 if metric == "error_rate" else 1.0
    unit = "%" if metric == "error_rate" else "ms"
    limit = record["targets"]["error_rate"] if metric == "error_rate" else record["targets"]["latency_ms"].get(metric)
    marks = [Mark("y", limit * scale, f"target {limit * scale:g} {unit}", "limit")] if limit is not None else []
    name = "Errors" if metric == "error_rate" else f"Latency, {metric}"
    names: dict[str, str] = {role: record[role]["name"] for role in ("stable", "candidate") if record[role]}
    series = [
        _series(record["series"][role], metric, f"{named} ({role})", role, scale)
        for role, named in names.items()
        if record["series"][role]
    ]
    seen = [y for each in series for _, y in each.points if math.isfinite(y)]
    least = 2.0 * limit * scale if limit is not None else 1.0
    return line_chart(
        name,
        f"{name} of both versions over time with 95 % intervals, the target, and the moment of decision.",
        series,
        [*marks, *(mark for mark in _events(record) if mark.kind == "decision")],
        x_label="time (UTC)",
        y_label=unit,
        x_format="time",
        y_top=max(1.3 * max(seen, default=0.0), least) if metric == "error_rate" else None,
    )


def _series(rows: Sequence[Mapping[str, Any]], metric: str, label: str, role: str, scale: float) -> Series:
    points = [(row["at"], _scaled(row[metric]["estimate"], scale)) for row in rows]
    bounds = [(row["at"], _scaled(row[metric]["lower"], scale), _scaled(row[metric]["upper"], scale)) for row in rows]
    return Series(label, points, bounds, role)


def _events(record: Mapping[str, Any]) -> list[Mark]:
    marks = [
        Mark(
            "x", _seconds(row["at"]), f"mirror {row['mirror_pct']} %" if row["mirror_pct"] else f"{row['weight_pct']} %"
        )
        for row in record["weights"]
    ]
    decisions = [look for look in record["looks"] if look["decided"]]
    marks += [
        Mark("x", _seconds(look["verdict"]["at"]), look["verdict"]["result"].upper(), "decision") for look in decisions
    ]
    return marks


def _steps(record: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = []
    for step in record["steps"]:
        looks = [look for look in record["looks"] if look["step"] == step["plain"]]
        decided = next((look["verdict"]["result"] for look in looks if look["decided"]), "")
        rows.append((step["name"], _long(step["seconds"]), str(len(looks) or ""), decided))
    return rows


def _step_kind(step: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    if step["seconds"] is None:
        return ""
    decided = [look for look in record["looks"] if look["decided"] and look["step"] == step["plain"]]
    return VERDICTS[decided[-1]["verdict"]["result"]] if decided else ""


def _actor(actor: Mapping[str, Any]) -> tuple[str, str, str, str]:
    did = ", ".join(word.replace("_", " ") for word in actor["did"])
    return actor["name"], _moment(actor["first"]), _moment(actor["last"]), did


def _calls(record: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    if record["calls"] is None:
        return None
    rows = [(name.replace("_", " "), f"{count:,}") for name, count in record["calls"]["total"].items()]
    return [*rows, ("waited for all of them", _long(record["calls"]["seconds"]))]


def _cost(record: Mapping[str, Any]) -> str:
    cost = record["cost"]
    if cost is None:
        return ""
    price = f"{cost['usd_per_hour']:g} USD an hour each ({cost['source']}, {cost['as_of']})"
    instances = f"{cost['instances']} instance{'' if cost['instances'] == 1 else 's'}"
    took = _long(cost["hours"] * 3600)
    return f"About {cost['usd']:.2f} USD: {instances} of the candidate beside the stable for {took}, at {price}."


def _proof(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    words = {
        "same": "give the same verdict when recomputed",
        "whole": "have their evidence whole (explain recomputes them too)",
        "other": "give ANOTHER verdict",
        "other_rule": "were judged by another rule of the gate (the deployer that wrote them confirms them)",
        "changed": "have evidence that was CHANGED",
        "missing": "have evidence that is MISSING",
        "unreadable": "have evidence of another version of deployer",
        "not_kept": "decided nothing, and left no evidence",
    }
    return [(str(record["proof"][key]), said) for key, said in words.items() if record["proof"][key]]


def _look_row(look: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = look["verdict"]
    return (
        str(look["number"]),
        _clock(verdict["at"]),
        look["step"],
        verdict["result"] + (" (decided)" if look["decided"] else ""),
        look["numbers"],
        look["why"],
        look["would_change"],
    )


def _reasons(verdict: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            reason["metric"],
            reason["rule"],
            reason["result"],
            reason["text"],
            "" if reason["e_value"] is None else f"{reason['e_value']:.3g}",
            "" if reason["threshold"] is None else f"{reason['threshold']:.3g}",
            "" if reason["needed"] is None else f"{reason['needed']:,}",
        )
        for reason in verdict["reasons"]
    ]


def difference(specification: Mapping[str, Any] | None) -> list[tuple[str, str]] | None:
    """Lines of the difference between the two versions' YAML as (class, line); None: not recorded."""
    if not specification or not specification.get("stable"):
        return None
    before, after = (
        yaml.safe_dump(specification[role], sort_keys=True, allow_unicode=True, width=1000).splitlines()[:DIFF_LINES]
        for role in ("stable", "candidate")
    )
    lines = list(unified_diff(before, after, "stable", "candidate", lineterm="", n=3))
    classes = {"+": "more", "-": "less"}
    return [(classes.get(line[:1], ""), line) for line in lines]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def _clock(text: str) -> str:
    return f"{datetime.fromisoformat(text):%H:%M:%S}"


def _scaled(value: float | None, scale: float) -> float:
    return float("nan") if value is None else value * scale


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f} ms"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.3g} %"


def _long(seconds: float | None) -> str:
    return "not reached" if seconds is None else format_duration(round(seconds, 1 if seconds < 10 else 0))
