"""A load test's record in words: for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from deployer.loadtest.compare import Change
from deployer.loadtest.kinds import WORDS, Kind
from deployer.loadtest.verdict import ERROR_RATE, percent
from deployer.loadtest.verdict import ms as latency
from deployer.manifest.quantities import format_duration
from deployer.report.markdown import escaped as cell
from deployer.rollout.endpoint import in_words

HEADLINES = {"passed": "TARGETS MET", "missed": "TARGET MISSED", "inconclusive": "NOT SHOWN"}
CHANGES = {"better": "faster", "worse": "slower"}


def headline(record: Mapping[str, Any]) -> str:
    """The verdict in a few words."""
    test = record["test"]
    where = test["endpoint"] + (f"/{test['deployment']}" if test["deployment"] else "")
    if not record["trusted"]:
        return f"THROWN AWAY: {where}, the load generator could not keep up"
    early = ", ended early" if record["partial"] else ""
    return f"{HEADLINES[record['result']]}: {where} at {record['requests']['per_second']:.3g} requests/s{early}"


def load_words(record: Mapping[str, Any]) -> str:
    """What was sent."""
    load = record["load"]
    if load["arrivals"] == "replay":
        what = f"recorded arrivals of {load['replay']}"
    elif load["arrivals"] == "closed":
        what = f"{load['concurrency']} requests always in flight"
    else:
        rate = "" if load["shape"].startswith("stages") else f"{load['rps']:g} requests/s, "
        what = f"{rate}{load['shape']}, {load['arrivals']} arrivals"
    lasting = "" if load["seconds"] is None else f" for {format_duration(load['seconds'])}"
    warm_up = f" after {format_duration(load['warm_up_s'])} of warm-up" if load["warm_up_s"] else ""
    return f"{what}{lasting}{warm_up}"


def text_of(record: Mapping[str, Any]) -> str:
    """The whole result as plain text."""
    lines = [headline(record)]
    lines += [f"  {target['result']:<12}  {target['text']}" for target in record["targets"]]
    if not record["targets"]:
        lines.append(f"  {'inconclusive':<12}  {record['text']}")
    if record["partial"]:
        lines.append(f"  {'partial':<12}  {record['partial']}; what was seen until then is kept")
    if record["trusted"]:
        lines += [f"  {label:<12}  {text}" for label, text in _figures(record)]
    lines += [
        f"  {'stage':<12}  {rate}: p50 {p50}, p95 {p95}, errors {errors}"
        for rate, p50, p95, errors in stage_cells(record)
    ]
    lines.append(f"  {'generator':<12}  {generator_words(record)}")
    lines += [f"  {'before':<12}  {line}" for line in changes(record)]
    if record["report"]:
        lines.append(f"  {'report':<12}  {record['report']}")
    return "\n".join(lines)


def generator_words(record: Mapping[str, Any]) -> str:
    """How the load generator did; of an engine that does not tell, what is not exact."""
    if record["coarse"]:
        return f"not exact: {record['coarse']}"
    generator = record["generator"]
    return f"sent {generator['lag_p99_ms']:.1f} ms late (p99), {generator['cpu_pct']:.0f}% of a core"


def _figures(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    requests = record["requests"]
    waiting = requests.get("waiting", 0)  # not recorded at first
    counts = f"{requests['ended']:,} measured, {requests['failed']:,} failed"
    counts += f", {waiting:,} still waited" if waiting else ""
    counts += f"; {requests['warm_up']:,} to warm up"
    found = [("requests", counts)]
    shown = [quantile_words(name, value) for name, value in record["latency_ms"].items() if value["lower"] is not None]
    found.append(("latency", ", ".join(shown) or "no request was answered well"))
    for kind, n in requests["by_kind"].items():
        if kind != Kind.OK:
            words, advice = WORDS[Kind(kind)]
            found.append(("failures", f"{n:,} {words}. {advice}"))
    return found


def stage_cells(record: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Each stage of a load whose rate changes: rate and time, p50, p95, errors."""
    return [
        (
            f"{stage['rps']:g}/s ({stage['from_s']:g}-{stage['to_s']:g}s)",
            shown("p50", stage["latency_ms"]["p50"]),
            shown("p95", stage["latency_ms"]["p95"]),
            shown(ERROR_RATE, stage[ERROR_RATE]),
        )
        for stage in record["stages"]
    ]


def changes(record: Mapping[str, Any]) -> list[str]:
    """This run beside the previous one, a line a figure that both have."""
    previous, rows = record["previous"], change_rows(record)
    if not rows:
        return []
    when = f"{datetime.fromisoformat(previous['started_at']):%Y-%m-%d %H:%M} UTC" if previous["started_at"] else ""
    moved = [f"{metric} {before} -> {now}: {word}" for metric, before, now, word in rows]
    return [f"compared with {previous['id']} ({when}{_other_traffic(record)})", *moved]


def _other_traffic(record: Mapping[str, Any]) -> str:
    then, now = record["previous"]["traffic"], record["traffic"]
    if record["test"]["deployment"] or then == now:
        return ""
    return f"; then {in_words(then)}, now {in_words(now)}"


def change_rows(record: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Figures of which both runs know something: metric, before, now, and what is shown."""
    found: Sequence[Mapping[str, Any]] = record["previous"]["changes"] if record["previous"] else []
    return [_change_row(change) for change in found if change["change"] != Change.UNKNOWN]


def _change_row(change: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metric, word = str(change["metric"]), str(change["change"])
    if metric.startswith("p"):
        word = CHANGES.get(word, word)
    return metric_words(metric), shown(metric, change["before"]), shown(metric, change["now"]), word


def metric_words(metric: str) -> str:
    """A metric as people call it."""
    return {ERROR_RATE: "errors", "good_per_second": "good answers/s"}.get(metric, metric)


def markdown_of(record: Mapping[str, Any]) -> str:
    """The result as Markdown, for a step summary or a comment."""
    lines = [
        f"### Load test: {cell(headline(record))}",
        "",
        cell(load_words(record)) + ". All figures are measured.",
        "",
    ]
    if record["targets"]:
        lines += ["| target | allowed | measured [90 % interval] | result |", "|---|---|---|---|"]
    for target in record["targets"]:
        row = (target["metric"], limit(target), shown(target["metric"], target), target["result"])
        lines.append(f"| {' | '.join(cell(each) for each in row)} |")
    lines += ["", cell(record["text"])]
    if record["trusted"]:
        lines += ["", *(f"- {label}: {cell(text)}" for label, text in _figures(record))]
    lines += [f"- generator: {cell(generator_words(record))}", *(f"- {cell(line)}" for line in changes(record))]
    return "\n".join(lines) + "\n\n"


def quantile_words(name: str, value: Mapping[str, float | None]) -> str:
    """A percentile with its interval."""
    return f"{name} {shown(name, value)}"


def limit(target: Mapping[str, Any]) -> str:
    """What a target allows."""
    return f"{100 * target['limit']:.10g}%" if target["metric"] == ERROR_RATE else ms(target["limit"])


def shown(metric: str, value: Mapping[str, float | None]) -> str:
    """An estimate with its interval, in the metric's unit."""
    estimate, lower, upper = value["estimate"], value["lower"], value["upper"]
    if lower is None:
        return "unknown"
    if metric == ERROR_RATE:
        bounds = f"{percent(lower).removesuffix('%')}-{percent(1.0 if upper is None else upper)}"
        return f"{percent(estimate or 0.0)} [{bounds}]"
    if metric == "good_per_second":
        return f"{estimate:.4g} [{lower:.4g}-{upper:.4g}]"
    return f"{ms(estimate)} [{ms(lower).removesuffix(' ms')}-{'?' if upper is None else ms(upper)}]"


def ms(value: float | None) -> str:
    """A latency; None: longer than anything measured, as the failed requests are."""
    return "no good answer" if value is None else latency(value)
