"""The shape of a load test's record, as JSON; published: ``manifests/loadtest-report.schema.json``."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from deployer.report.published import json_schema, strict

ResultWord = Literal["passed", "missed", "inconclusive"]


@strict
class Interval(TypedDict):
    """An estimate and its 90 % interval. Null: beyond all that was measured; all three null: unknown."""

    estimate: float | None
    lower: float | None
    upper: float | None


@strict
class Share(TypedDict):
    """Share of ``requests`` that failed, in [0, 1], with its 90 % interval."""

    estimate: float | None
    lower: float | None
    upper: float | None
    requests: int


@strict
class Test(TypedDict):
    """What two runs have in common when they can be compared; ``seconds`` where the rate changes."""

    endpoint: str
    platform: str
    deployment: str | None
    coarse: bool
    payload_sha256: str
    arrivals: str
    shape: str
    rps: float
    concurrency: int
    in_flight: int
    timeout_s: float


@strict
class ShapedTest(Test, total=False):
    """The same, of a load whose rate changes, of recorded arrivals, and of an endpoint in a workspace."""

    seconds: float
    replay_sha256: str
    place: str


@strict
class Load(TypedDict):
    """What was asked for."""

    arrivals: str
    shape: str
    rps: float
    seconds: float | None
    concurrency: int
    warm_up_s: float
    in_flight: int
    timeout_s: float
    processes: int
    seed: int | None
    replay: str | None


@strict
class Generator(TypedDict):
    """How the load generator did; ``problem``: why its figures are thrown away."""

    lag_p99_ms: float | None
    cpu_pct: float | None
    problem: str | None


@strict
class Requests(TypedDict):
    """Requests of the measured time, but for ``warm_up``."""

    sent: int
    ended: int
    waiting: int
    failed: int
    warm_up: int
    per_second: float
    by_kind: dict[str, int]
    by_status: dict[str, int]


@strict
class Certainty(TypedDict):
    """How sure the intervals are, and how much less requests said of failures than independent ones would."""

    confidence: float
    batch_s: float
    error_inflation: float


@strict
class Target(TypedDict):
    """One target of the slo. Latencies in ms, the error rate in [0, 1]; ``requests_needed`` would have decided it."""

    metric: str
    result: ResultWord
    limit: float
    estimate: float | None
    lower: float | None
    upper: float | None
    text: str
    requests_needed: int | None


@strict
class Stage(TypedDict):
    """One stage of a load whose rate changes. Latencies in ms."""

    rps: float
    from_s: float
    to_s: float
    latency_ms: dict[str, Interval]
    error_rate: Interval


@strict
class Second(TypedDict):
    """A stretch of time, a second as a rule. Latencies in ms; null: no answer."""

    at_s: float
    warm_up: bool
    sent_per_second: float
    failed_per_second: float
    p50: float | None
    p95: float | None
    p99: float | None


@strict
class Change(TypedDict):
    """One figure beside the run before; ``difference`` is now less before."""

    metric: str
    before: Interval
    now: Interval
    difference: Interval
    change: Literal["better", "worse", "no difference shown", "unknown"]


@strict
class Previous(TypedDict):
    """The run before of the same test."""

    id: str | None
    started_at: str | None
    traffic: dict[str, int]
    changes: list[Change]


@strict
class LoadTest(TypedDict):
    """deployer: result of a load test. Every figure was measured."""

    schema: Literal[1]
    id: str
    result: ResultWord
    text: str
    exit_code: Literal[0, 10, 11, 12]
    started_at: str
    seconds_measured: float
    actor: str
    test: ShapedTest
    load: Load
    payload: str
    engine: Literal["local", "distributed", "azure-load-testing"]
    traffic: dict[str, int]
    partial: str | None
    interrupted: bool
    trusted: bool
    coarse: str | None
    generator: Generator
    requests: Requests
    good_per_second: Interval
    latency_ms: dict[str, Interval]
    longest_ms: float | None
    error_rate: Share
    intervals: Certainty
    targets: list[Target]
    stages: list[Stage]
    over_time: list[Second]
    warnings: list[str]
    previous: Previous | None
    report: str | None


def loadtest_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a load test's record."""
    return json_schema(LoadTest, "load test")
