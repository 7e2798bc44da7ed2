"""A load test's result as JSON-able data: what is kept, compared with the next run, and shown in every format.

Its shape is published (``report.loadtest.document``). ``SCHEMA`` counts up when a field changes its meaning or goes;
new fields may come.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from deployer.errors import ExitCode
from deployer.loadtest.compare import Comparison, compare
from deployer.loadtest.estimates import Estimate, Latencies, failed_share, rate
from deployer.loadtest.figures import NO_ANSWER, OVER_CAP, SOME_FAILURE, Figures, Window
from deployer.loadtest.kinds import FAILED, RATE_LIMITED, kinds_of
from deployer.loadtest.merge import thinned
from deployer.loadtest.shapes import stages
from deployer.loadtest.verdict import ERROR_RATE, Result, Verdict, measured, stages_of, statuses

SCHEMA = 1
LEVELS = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
RATE = "good_per_second"
MOST_POINTS = 600
"""Of the figures over time: longer runs are told in longer steps."""
STATUS_NAMES = {NO_ANSWER: "no answer", OVER_CAP: "not sent", RATE_LIMITED: "429 rate limit", SOME_FAILURE: "failed"}
_SAME = ("arrivals", "shape", "rps", "concurrency", "in_flight", "timeout_s")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished load test."""

    id: str
    endpoint: str
    platform: str
    deployment: str | None
    """That alone was asked; None: as users' traffic is split."""
    engine: str
    payload: str
    """Name of the file."""
    payload_sha256: str
    figures: Figures
    verdict: Verdict
    interrupted: bool
    traffic: Mapping[str, int] = field(default_factory=dict[str, int])
    """As it was split when the test began."""
    actor: str = ""
    warnings: Sequence[str] = ()
    """What was said before it began."""
    place: str = ""
    """Subscription, resource group and workspace: another one may have an endpoint of this name."""
    replay_sha256: str | None = None
    """Of the recorded arrivals; None: none were replayed."""

    @property
    def exit_code(self) -> ExitCode:
        """0: targets met, 10: missed, 11: not shown, 12: interrupted."""
        if self.interrupted:
            return ExitCode.ABORTED
        codes = {Result.PASSED: ExitCode.OK, Result.MISSED: ExitCode.GATE_FAILED}
        return codes.get(self.verdict.result, ExitCode.INCONCLUSIVE)

    @property
    def test(self) -> dict[str, Any]:
        """What two runs have in common when they can be compared."""
        load = asdict(self.figures.load)
        asked = {key: load[key] for key in _SAME}
        if load["shape"] not in ("constant", "soak"):
            asked["seconds"] = load["seconds"]
        if self.replay_sha256 is not None:
            asked |= {"seconds": load["seconds"], "replay_sha256": self.replay_sha256}
        if self.place:
            asked["place"] = self.place
        where: dict[str, Any] = {"endpoint": self.endpoint, "platform": self.platform, "deployment": self.deployment}
        where["coarse"] = self.figures.coarse is not None
        return {**where, "payload_sha256": self.payload_sha256, **asked}


def record_of(outcome: Outcome, previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write a result; ``previous`` is the record that it is compared with.

    Of a run whose generator cannot be trusted there are no figures of the endpoint, only how much was sent.
    """
    figures, verdict = outcome.figures, outcome.verdict
    trusted = figures.health.problem is None
    windows = measured(figures) if trusted else ()
    numbers = stages_of(figures.load, windows)
    latencies = Latencies(windows, numbers)
    share, ended, clustered = failed_share(windows, numbers)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "id": outcome.id,
        "result": verdict.result.value,
        "text": verdict.text,
        "exit_code": int(outcome.exit_code),
        "started_at": figures.started_at.isoformat(),
        "seconds_measured": round(sum(window.seconds for window in windows), 3),
        "actor": outcome.actor,
        "test": outcome.test,
        "load": _finite(asdict(figures.load)),
        "payload": outcome.payload,
        "engine": outcome.engine,
        "traffic": dict(outcome.traffic),
        "partial": figures.partial,
        "interrupted": outcome.interrupted,
        "trusted": trusted,
        "coarse": figures.coarse,
        "generator": _finite(asdict(figures.health)),
        "requests": _requests(figures, measured(figures)),
        RATE: estimate_record(rate(windows, numbers)),
        "latency_ms": {
            name: estimate_record(_bounded(latencies.quantile(level), latencies)) for name, level in LEVELS.items()
        },
        "longest_ms": _number(latencies.longest_ms),
        ERROR_RATE: {**estimate_record(share), "requests": ended},
        "intervals": {"confidence": 0.9, "batch_s": clustered.batch_s, "error_inflation": clustered.inflation},
        "targets": [
            {
                "metric": finding.metric,
                "result": finding.result.value,
                "limit": finding.limit,
                **estimate_record(_bounded(finding.value, latencies)),
                "text": finding.text,
                "requests_needed": finding.needed,
            }
            for finding in verdict.findings
        ],
        "stages": _stages(figures, windows),
        "over_time": [_point(window) for window in thinned(figures.windows if trusted else (), MOST_POINTS)],
        "warnings": list(outcome.warnings),
        "previous": None,
        "report": None,
    }
    if previous is not None and trusted:
        record["previous"] = {
            "id": previous.get("id"),
            "started_at": previous.get("started_at"),
            "traffic": previous.get("traffic", {}),
            "changes": [_change_record(each) for each in _changes(record, previous)],
        }
    return record


def _requests(figures: Figures, windows: Sequence[Window]) -> dict[str, Any]:
    found = statuses(windows)
    kinds = kinds_of(found)
    seconds = sum(window.seconds for window in windows)
    sent = sum(window.sent for window in windows)
    return {
        "sent": sent,
        "ended": kinds.total(),
        "waiting": sum(window.waiting for window in windows),
        "failed": sum(kinds[kind] for kind in FAILED),
        "warm_up": sum(window.sent for window in figures.windows if window.is_warm_up),
        "per_second": round(sent / seconds, 3) if seconds else 0.0,
        "by_kind": {kind.value: n for kind, n in sorted(kinds.items()) if n},
        "by_status": {STATUS_NAMES.get(status, str(status)): n for status, n in sorted(found.items())},
    }


def _stages(figures: Figures, windows: Sequence[Window]) -> list[dict[str, Any]]:
    """Each stage of a load whose rate changes, by itself: where does it break?"""
    load, found = figures.load, list[dict[str, Any]]()
    if load.arrivals in ("closed", "replay") or load.shape in ("constant", "soak"):
        return found
    start_s, over_s = load.warm_up_s, load.warm_up_s + load.seconds
    for stage in stages(load.shape, load.rps):
        end_s = min(start_s + stage.seconds, over_s)
        part = [each for each in windows if each.start_s >= start_s - 0.01 and each.start_s + 1 <= end_s + 0.01]
        if part:
            latencies = Latencies(part)
            values = {
                name: estimate_record(_bounded(latencies.quantile(LEVELS[name]), latencies))
                for name in ("p50", "p95", "p99")
            }
            share = estimate_record(failed_share(part)[0])
            seconds = {"from_s": round(start_s, 3), "to_s": round(end_s, 3)}
            found.append({"rps": stage.rps, **seconds, "latency_ms": values, ERROR_RATE: share})
        start_s = end_s
    return found


def _bounded(value: Estimate, latencies: Latencies) -> Estimate:
    """Say of a quantile that is a failed request for certain what can be written: it is beyond the last good answer."""
    if not math.isinf(value.low):
        return value
    return replace(value, low=0.0 if math.isnan(latencies.longest_ms) else latencies.longest_ms)


def estimate_record(value: Estimate) -> dict[str, float | None]:
    """Write an estimate; null: beyond everything measured (or, all three, unknown)."""
    return {"estimate": _number(value.value), "lower": _number(value.low), "upper": _number(value.high)}


def estimate_of(record: Mapping[str, Any]) -> Estimate:
    """Read what ``estimate_record`` wrote."""
    value, low, high = (record.get(name) for name in ("estimate", "lower", "upper"))
    missing = math.nan if low is None else math.inf
    return Estimate(*(missing if each is None else float(each) for each in (value, low, high)))


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _number(value) if isinstance(value, float) else value for key, value in record.items()}


def _change_record(change: Comparison) -> dict[str, Any]:
    return {
        "metric": change.metric,
        "before": estimate_record(change.before),
        "now": estimate_record(change.now),
        "difference": estimate_record(change.difference),
        "change": change.change.value,
    }


def _point(window: Window) -> dict[str, Any]:
    latencies, kinds = Latencies((window,)), kinds_of(window.statuses)
    seconds = max(window.seconds, 0.001)
    return {
        "at_s": round(window.start_s, 3),
        "warm_up": window.is_warm_up,
        "sent_per_second": round(window.sent / seconds, 3),
        "failed_per_second": round(sum(kinds[kind] for kind in FAILED) / seconds, 3),
        **{name: _number(latencies.at(LEVELS[name])) for name in ("p50", "p95", "p99")},
    }


def _changes(record: Mapping[str, Any], previous: Mapping[str, Any]) -> list[Comparison]:
    """What both runs have; a record of another make has fewer."""
    before: Mapping[str, Any] = previous.get("latency_ms") or {}
    found = [
        compare(name, estimate_of(before[name]), estimate_of(record["latency_ms"][name]))
        for name in LEVELS
        if name in before
    ]
    for name, more_is_better in ((ERROR_RATE, False), (RATE, True)):
        if previous.get(name):
            then, now = estimate_of(previous[name]), estimate_of(record[name])
            found.append(compare(name, then, now, more_is_better=more_is_better))
    return [each for each in found if each.before.is_known and each.now.is_known]
