"""A profile as plain data: what ``report.json`` holds, and the short answer that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deployer.manifest.configuration import Configuration
from deployer.manifest.profile import ProfileSpec
from deployer.ports.profiling import Profiled, TrialRecord
from deployer.profile.advice import Answer
from deployer.profile.autoscale import AutoscaleRule, rule_for, written
from deployer.profile.patch import patch_text
from deployer.profile.pricing import PriceTag
from deployer.profile.trials import Capacity, Point

SCHEMA = 1
"""Counts up when a field changes its meaning or goes; new fields may come."""
MONTH_H = 730.0
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Outcome:
    """A profile that has ended, with what is needed to tell of it."""

    id: str
    started_at: datetime
    spec: ProfileSpec
    done: Profiled
    prices: Mapping[Configuration, PriceTag]
    """Of one instance."""


def record_of(outcome: Outcome) -> dict[str, Any]:
    """Write everything; every figure says whether it was measured or predicted."""
    spec, done = outcome.spec, outcome.done
    profile, advice = spec.profile, done.advice
    best = next((each for each in advice.answers if each.configuration == advice.recommended), None)
    return {
        "schema": SCHEMA,
        "id": outcome.id,
        "name": profile.name,
        "platform": profile.platform.type.value,
        "endpoint": spec.endpoint.name,
        "started_at": outcome.started_at.isoformat(timespec="seconds"),
        "result": done.ending.value,
        "text": done.text,
        "exit_code": int(done.exit_code),
        "left_over": done.left_over,
        "slo": profile.slo.model_dump(mode="json", exclude_none=True),
        "peak_rps": profile.peak_rps,
        "headroom": profile.headroom,
        "rate": spec.rate,
        "recommended": None if best is None else _best(outcome, best),
        "candidates": [candidate_record(each, outcome.prices.get(each.configuration)) for each in advice.answers],
        "trials": [_trial(each, number) for number, each in enumerate(done.trials, 1)],
        "notes": list(advice.notes),
        "load_seconds": round(done.load_seconds, 1),
        "spent": {"seconds": round(done.spent_s, 1), "usd": round(done.spent_usd, 4)},
        "budget": {"seconds": profile.budget.time, "usd": profile.budget.usd},
        "report": None,
    }


def answer_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The one JSON document of ``deployer profile --json`` (INTERFACE, section 4)."""
    best = record["recommended"]
    kept = ("config", "sustainable_rps", "lower", "upper", "infeasible", "measured", "usd_per_hour")
    return {
        "recommended": None if best is None else best["config"],
        "candidates": [{key: each[key] for key in kept} for each in record["candidates"]],
        "load_seconds": record["load_seconds"],
        "report": record["report"],
    }


def candidate_record(answer: Answer, price: PriceTag | None) -> dict[str, Any]:
    """Write what is known of a configuration; what is not known is null."""
    found = answer.capacity
    rate = found if found is not None and (found.infeasible or found.sustainable_rps > 0) else None  # else: cut short
    return {
        "name": str(answer.configuration),
        "config": answer.configuration.record(),
        "sustainable_rps": None if rate is None else _round(rate.sustainable_rps),
        "lower": None if rate is None else _round(rate.lower),
        "upper": None if rate is None else _round(rate.upper),
        "infeasible": found is not None and found.infeasible,
        "measured": found is not None and found.measured,
        "usd_per_hour": _round(answer.usd_per_hour),
        "usd_per_instance_hour": None if price is None else price.usd_per_hour,
        "price_source": None if price is None else str(price),
        "usd_per_million": None if found is None else _per_million(answer.usd_per_hour, found.sustainable_rps),
        "why": answer.why,
        "measured_at": answer.measured_at,
        "capacity": None if found is None else _capacity(found),
    }


def rule_of(outcome: Outcome) -> AutoscaleRule | None:
    """The autoscale rule of what is recommended; None: nothing is."""
    advice = outcome.done.advice
    best = next((each for each in advice.answers if each.configuration == advice.recommended), None)
    if best is None or best.capacity is None or best.capacity.sustainable_rps <= 0:
        return None
    configuration = best.configuration
    return rule_for(
        rate=outcome.spec.rate,
        rps_per_instance=best.capacity.sustainable_rps / configuration.instance_count,
        instances=configuration.instance_count,
        mean_latency_s=_mean_latency_s(outcome.done.trials, configuration),
        concurrency=configuration.max_concurrent_requests_per_instance,
    )


def _best(outcome: Outcome, answer: Answer) -> dict[str, Any]:
    configuration, rule = answer.configuration, rule_of(outcome)
    platform = outcome.spec.profile.platform.type
    capacity = answer.capacity
    per_instance = capacity.sustainable_rps / configuration.instance_count if capacity else 0.0
    return {
        "config": configuration.record(),
        "name": str(configuration),
        "rps_per_instance": _round(per_instance),
        "usd_per_month": _round(answer.usd_per_hour * MONTH_H),
        "patch": patch_text(configuration, outcome.spec.deployment.document),
        "autoscale": None if rule is None else written(rule, platform),
        "scale_out_above_rps_per_instance": None if rule is None else _round(rule.out_rps),
        "minimum_in_production": None if rule is None else rule.minimum,
    }


def _capacity(found: Capacity) -> dict[str, Any]:
    return {
        "ceiling_rps": _round(found.ceiling_rps),
        "binding": found.binding,
        "note": found.note,
        "load_seconds": round(found.load_seconds, 1),
        "error_rate_shown": found.error_rate_shown,
        "curve": [_point(each) for each in found.curve],
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "rps": _round(point.rps),
        "violation": _round(point.violation),
        "lower": _round(point.lower),
        "upper": _round(point.upper),
        "measured": point.measured,
    }


def _trial(each: TrialRecord, number: int) -> dict[str, Any]:
    return {
        "number": number,
        "config": each.configuration.record(),
        "name": str(each.configuration),
        "kind": each.probe.kind,
        "why": each.probe.why,
        "rps": _round(each.probe.rps),
        "concurrency": each.probe.concurrency,
        "at_s": round(each.began_s, 1),
        "seconds": round(each.seconds, 1),
        "sent": each.sent,
        "failed": each.failed,
        "latency_ms": {"p50": each.p50_ms, "p95": each.p95_ms, "p99": each.p99_ms},
        "statuses": {str(status): n for status, n in sorted(each.statuses.items())},
        "lag_p99_ms": round(each.lag_p99_ms, 2),
        "cpu_pct": round(each.cpu_pct, 1),
        "problem": each.problem,
        "stopped": each.stopped,
        "violation": {name: _round(share) for name, share in each.violation.items()},
        "timeline": [dict(zip(("at_s", "sent", "failed", "p95_ms"), row, strict=True)) for row in each.timeline],
    }


def _mean_latency_s(trials: Sequence[TrialRecord], configuration: Configuration) -> float:
    """Median latency of the last open trial of the configuration, whatever its number of instances."""
    shape = {**configuration.record(), "instance_count": 0}
    for each in reversed(trials):
        if each.probe.kind == "open" and {**each.configuration.record(), "instance_count": 0} == shape and each.p50_ms:
            return each.p50_ms / 1000
    return 0.05


def _per_million(usd_per_hour: float, rps: float) -> float | None:
    return None if rps <= 0 else _round(usd_per_hour * MILLION / (rps * 3600))


def _round(value: float) -> float:
    """Four significant digits: more was not measured."""
    return float(f"{value:.4g}")
