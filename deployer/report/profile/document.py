"""The shape of a profile's record, as JSON; published: ``manifests/profile-report.schema.json``."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from deployer.report.published import json_schema, strict


@strict
class Point(TypedDict):
    """Bad requests over what the slo allows, at a rate; ``measured`` by a trial, else predicted by the queue."""

    rps: float
    violation: float
    lower: float
    upper: float
    measured: bool


@strict
class Capacity(TypedDict):
    """What is known of a configuration beside its rate; ``error_rate_shown`` is an upper bound (95 %)."""

    ceiling_rps: float
    binding: str
    note: str
    load_seconds: float
    error_rate_shown: float | None
    curve: list[Point]


@strict
class Candidate(TypedDict):
    """One configuration; rates are null where nothing is known.

    ``measured``: confirmed under load at that very configuration, else predicted. ``lower`` and ``upper`` hold the true
    rate in 90 % of profiles. Prices are list prices.
    """

    name: str
    config: dict[str, Any]
    sustainable_rps: float | None
    lower: float | None
    upper: float | None
    infeasible: bool
    measured: bool
    usd_per_hour: float
    usd_per_instance_hour: float | None
    price_source: str | None
    usd_per_million: float | None
    why: str
    measured_at: int | None
    capacity: Capacity | None


@strict
class Recommended(TypedDict):
    """The cheapest that carries the rate: what to write, and when to scale."""

    config: dict[str, Any]
    name: str
    rps_per_instance: float
    usd_per_month: float
    patch: str
    autoscale: dict[str, Any] | None
    scale_out_above_rps_per_instance: float | None
    minimum_in_production: int | None


@strict
class Latency(TypedDict):
    """Quantiles of the answers, in ms; null: no answer."""

    p50: float | None
    p95: float | None
    p99: float | None


@strict
class Second(TypedDict):
    """One second of a trial."""

    at_s: float
    sent: int
    failed: int
    p95_ms: float | None


@strict
class Trial(TypedDict):
    """One stretch of load, measured. ``problem``: why it was not used; ``violation``: bad over allowed, by target."""

    number: int
    config: dict[str, Any]
    name: str
    kind: Literal["warm", "closed", "open"]
    why: str
    rps: float
    concurrency: int
    at_s: float
    seconds: float
    sent: int
    failed: int
    latency_ms: Latency
    statuses: dict[str, int]
    lag_p99_ms: float
    cpu_pct: float
    problem: str | None
    stopped: str | None
    violation: dict[str, float]
    timeline: list[Second]


@strict
class Spent(TypedDict):
    """Time and money."""

    seconds: float
    usd: float


@strict
class Budget(TypedDict):
    """What might be spent; ``usd`` is null without a limit."""

    seconds: float
    usd: float | None


@strict
class Profile(TypedDict):
    """deployer: result of a profile. ``slo``: latency in seconds by quantile, error rate in [0, 1]."""

    schema: Literal[1]
    id: str
    name: str
    platform: str
    endpoint: str
    started_at: str
    result: Literal["complete", "budget", "interrupted", "platform"]
    text: str
    exit_code: Literal[0, 10, 11, 12, 13]
    left_over: str | None
    slo: dict[str, Any]
    peak_rps: float
    headroom: float
    rate: float
    recommended: Recommended | None
    candidates: list[Candidate]
    trials: list[Trial]
    notes: list[str]
    load_seconds: float
    spent: Spent
    budget: Budget
    report: str | None


def profile_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a profile's record."""
    return json_schema(Profile, "profile")
