"""The shape of a report as JSON, which the other formats are made from; published: ``manifests/report.schema.json``."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from deployer.report.published import json_schema, strict

MatchWord = Literal["same", "whole", "other", "other rule", "changed", "missing", "unreadable", "not kept"]


@strict
class Version(TypedDict):
    """One of the two deployments."""

    name: str
    digest: str | None


@strict
class Place(TypedDict):
    """Current step."""

    index: int
    of: int
    name: str


@strict
class Figures(TypedDict):
    """What one deployment answered since the candidate's first request."""

    requests: int
    errors: int
    error_rate: float | None
    throttled: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@strict
class Reason(TypedDict):
    """One metric's part in a verdict. Rates in [0, 1], latencies in ms, ratios as factors."""

    metric: str
    rule: str
    result: str
    estimate: float | None
    lower: float | None
    upper: float | None
    limit: float | None
    text: str
    needed: int | None
    e_value: float | None
    threshold: float | None


@strict
class Verdict(TypedDict):
    """One answer of the gate."""

    result: Literal["pass", "fail", "inconclusive", "blind"]
    text: str
    at: str
    until: str | None
    candidate: Figures
    stable: Figures | None
    reasons: list[Reason]


@strict
class State(TypedDict):
    """Where the rollout ended, or stands."""

    rollout_id: str
    endpoint: str
    candidate: str
    stable: str | None
    phase: str
    outcome: str | None
    reason: str
    traffic: dict[str, int] | None
    step: Place
    started_at: str
    looks: int
    verdict: Verdict | None
    warnings: list[str]
    removed: list[str]
    digest: str


@strict
class Step(TypedDict):
    """One step of the plan; ``seconds`` is null where it was not reached. ``plain`` is what its looks call it."""

    name: str
    plain: str
    weight_pct: int
    seconds: float | None


@strict
class Weight(TypedDict):
    """The candidate's weight from a moment on, as read back."""

    at: str
    weight_pct: int
    mirror_pct: int


@strict
class Told(TypedDict):
    """One entry of the journal. ``calls`` (of the platform, since the entry before) is null where not recorded."""

    at: str
    actor: str
    kind: str
    text: str
    decision: bool
    look: bool
    calls: dict[str, int] | None
    called_s: float


@strict
class Look(TypedDict):
    """One look of the gate, and whether its evidence gives its verdict again."""

    number: int
    step: str
    weight_pct: int
    decided: bool
    numbers: str
    why: str
    would_change: str
    evidence: str | None
    match: MatchWord
    match_text: str
    verdict: Verdict


@strict
class Targets(TypedDict):
    """The slo: latency in ms by quantile, error rate in [0, 1]."""

    latency_ms: dict[str, float]
    error_rate: float | None


@strict
class Interval(TypedDict):
    """An estimate with its 95 % interval; null where nothing is known."""

    estimate: float | None
    lower: float | None
    upper: float | None


@strict
class Stretch(TypedDict):
    """One deployment's answers in a stretch of time around ``at`` (seconds since 1970). Latencies in ms."""

    at: float
    requests: int
    errors: int
    error_rate: Interval
    p50: Interval
    p95: Interval
    p99: Interval


@strict
class BothSeries(TypedDict):
    """What both versions answered over time."""

    candidate: list[Stretch]
    stable: list[Stretch]


@strict
class Cost(TypedDict):
    """What the candidate cost beside the stable, by the list price and the time it was there: an estimate."""

    usd: float
    usd_per_hour: float
    instances: int
    hours: float
    source: str
    as_of: str


@strict
class Actor(TypedDict):
    """Who acted, and between when."""

    name: str
    first: str
    last: str
    entries: int
    did: list[str]


@strict
class Calls(TypedDict):
    """Calls of the platform, by name, and seconds spent waiting for them."""

    total: dict[str, int]
    seconds: float


@strict
class Proof(TypedDict):
    """How many looks came to what, when the report was made."""

    chain: str
    same: int
    whole: int
    other: int
    other_rule: int
    changed: int
    missing: int
    unreadable: int
    not_kept: int


@strict
class Deployers(TypedDict):
    """Versions of deployer; ``began`` is null where it was not recorded."""

    began: str | None
    read: str


@strict
class Report(TypedDict):
    """deployer: report of a rollout."""

    version: Literal[1]
    exit_code: int | None
    headline: str
    reason: str
    rollout: State
    platform: str
    place: str
    manifest: str | None
    started_at: str
    ended_at: str | None
    seconds: float
    candidate: Version
    stable: Version | None
    steps: list[Step]
    weights: list[Weight]
    events: list[Told]
    looks: list[Look]
    targets: Targets
    series: BothSeries
    actors: list[Actor]
    calls: Calls | None
    cost: Cost | None
    specification: dict[str, Any] | None
    deployer: Deployers
    journal: str
    proof: Proof


def report_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a report."""
    return json_schema(Report, "report")
