"""A load test's result as JSON-able data: what is kept, compared with the next run, and shown in every format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deployer.errors import ExitCode
from deployer.loadtest.compare import Comparison, compare
from deployer.loadtest.figures import NO_ANSWER, OVER_CAP, Figures
from deployer.loadtest.statistics import Interval, ended, inflation, quantile, share_interval
from deployer.loadtest.verdict import LEVELS, Result, Verdict, errors, measured, statuses

VERSION = 1
KINDS = {NO_ANSWER: "no answer", OVER_CAP: "no free slot", 429: "429 no room", 408: "408 too slow"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished load test."""

    id: str
    endpoint: str
    deployment: str | None
    engine: str
    payload: str
    figures: Figures
    verdict: Verdict
    interrupted: bool

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
        load = self.figures.load
        kept = {"arrivals", "shape", "rps", "concurrency", "seconds", "warm_up_s", "in_flight", "timeout_s", "replay"}
        asked = {key: value for key, value in asdict(load).items() if key in kept}
        return {"endpoint": self.endpoint, "deployment": self.deployment, "payload": self.payload, **asked}


def record_of(outcome: Outcome, previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write a result; ``previous`` is the record that it is compared with."""
    figures, verdict = outcome.figures, outcome.verdict
    windows = measured(figures)
    total = sum(map(ended, windows))
    found = {name: quantile(windows, level) for name, level in LEVELS.items()}
    bad = sum(map(errors, windows))
    share = share_interval(bad, total, inflation(windows, errors))
    record: dict[str, Any] = {
        "version": VERSION,
        "id": outcome.id,
        "test": outcome.test,
        "engine": outcome.engine,
        "started_at": figures.started_at.isoformat(),
        "result": verdict.result.value,
        "text": verdict.text,
        "exit_code": int(outcome.exit_code),
        "partial": figures.partial,
        "trusted": figures.health.problem is None,
        "generator": asdict(figures.health),
        "requests": {
            "sent": sum(window.sent for window in windows),
            "ended": total,
            "failed": bad,
            "warm_up": sum(window.sent for window in figures.windows if window.is_warm_up),
            "per_second": round(sum(window.sent for window in windows) / max(len(windows), 1), 3),
            "by_status": {KINDS.get(status, str(status)): n for status, n in sorted(statuses(windows).items())},
        },
        "latency_ms": {name: interval_record(value) for name, value in found.items()},
        "error_rate": interval_record(share),
        "targets": [
            {
                "metric": finding.metric,
                "result": finding.result.value,
                "limit": finding.limit,
                **interval_record(finding.value),
                "text": finding.text,
            }
            for finding in verdict.findings
        ],
        "seconds": [_second(window_number, figures) for window_number in range(len(figures.windows))],
        "previous": None,
        "report": None,
    }
    if previous is not None:
        record["previous"] = {
            "id": previous.get("id"),
            "changes": [change_record(each) for each in _changes(record, previous)],
        }
    return record


def interval_record(value: Interval) -> dict[str, float | None]:
    """Write an estimate; None: beyond everything that was measured."""
    return {"estimate": value.estimate, "lower": value.lower, "upper": value.upper}


def change_record(change: Comparison) -> dict[str, Any]:
    """Write one comparison."""
    return {
        "metric": change.metric,
        "before": interval_record(change.before),
        "now": interval_record(change.now),
        "change": change.change.value,
    }


def _second(number: int, figures: Figures) -> dict[str, Any]:
    window = figures.windows[number]
    one = (window,)
    return {
        "at_s": window.start_s,
        "warm_up": window.is_warm_up,
        "sent": window.sent,
        "failed": errors(window),
        **{name: quantile(one, level).estimate for name, level in LEVELS.items()},
    }


def _changes(record: Mapping[str, Any], previous: Mapping[str, Any]) -> list[Comparison]:
    rows = [(name, previous["latency_ms"].get(name), record["latency_ms"][name]) for name in LEVELS]
    rows.append(("error_rate", previous.get("error_rate"), record["error_rate"]))
    return [compare(name, Interval(**before), Interval(**now)) for name, before, now in rows if before]
