"""Azure Monitor metrics of an endpoint: requests by minute, deployment and status code, and nothing finer.

Good for two things. As an independent count they show what rows are missing. As the only source of the gate they are
an alarm: they can fail a candidate that breaks outright, and they never pass one, because averages of a minute are no
distribution. They are read through ARM, with the rights that reading the endpoint needs anyway.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Protocol

from deployer.errors import PlatformError, TelemetryError
from deployer.gate.samples import AnswerClass, Cell, Samples, classify
from deployer.ports.clock import Clock
from deployer.telemetry.ingested import understood
from deployer.telemetry.kql import block_ms, check_order, is_interim, resource_id
from deployer.telemetry.packed import EPOCH
from deployer.telemetry.watermark import MINUTE, Counts

API_VERSION = "2023-10-01"
DELAY_S = 120.0
"""A minute is counted so long after its end. Documented: available in less than a minute (and this is not a promise).

Source: learn.microsoft.com/azure/machine-learning/how-to-monitor-online-endpoints (read 2026-11-25).
"""
KEPT = timedelta(minutes=15)
"""Minutes older than this change no more, so they are not asked again."""
MOST_SERIES = 1000
"""Asked for as ``top``: with a filter the service gives the first 10 series and does not say that there are more."""
LONGEST = timedelta(days=1)
"""Asked at once: a point a minute, a series a deployment and code."""
_FAILED = frozenset({AnswerClass.ERROR, AnswerClass.TIMEOUT})


class Reads(Protocol):
    """Where ARM is read (``deployer.cloud.arm.Arm`` is one)."""

    def get(self, path: str, api_version: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """Read a resource; None when it does not exist."""
        ...


@dataclass(frozen=True, slots=True)
class _Point:
    minute: datetime
    deployment: str
    code: int
    value: float


def metrics(arm: Reads, *, resource_id: str, clock: Clock, delay_s: float = DELAY_S) -> AzureMetrics:
    """Read the metrics of one endpoint. Touches nothing yet.

    Args:
        arm: where ARM is read; the identity needs the role Monitoring Reader (or Reader) on the endpoint.
        resource_id: ARM id of the endpoint.
        clock: ours.
        delay_s: so long after its end a minute is counted.

    Raises:
        TelemetryError: the id is none.
    """
    return AzureMetrics(arm, resource_id, clock, delay_s=delay_s)


class AzureMetrics:
    """Metrics of one endpoint: an independent count (``ingested.Count``), and an alarm (``ports.telemetry.Telemetry``).

    Source: RequestsPerMinute (average, by deployment and statusCode), RequestLatency (average ms, by deployment):
    learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/microsoft-machinelearningservices-workspaces-
    onlineendpoints-metrics; the request and its answer: learn.microsoft.com/rest/api/monitor/metrics/list (2023-10-01).
    """

    def __init__(self, arm: Reads, endpoint_id: str, clock: Clock, *, delay_s: float = DELAY_S) -> None:
        self._arm, self._clock, self._delay = arm, clock, timedelta(seconds=delay_s)
        self._path = f"{resource_id(endpoint_id)}/providers/Microsoft.Insights/metrics"
        self._kept: dict[tuple[str, datetime, str, int], float] = {}
        self._kept_until: dict[str, tuple[datetime, datetime]] = {}

    def count(self, since: datetime, until: datetime) -> Counts:
        """Count requests by minute, from the minute of ``since`` on.

        Raises:
            TelemetryError: Azure does not answer, or not understandably.
        """
        requests: Counter[tuple[datetime, str]] = Counter()
        failed: Counter[tuple[datetime, str]] = Counter()
        for point in self._read("RequestsPerMinute", ("deployment", "statusCode"), since, until):
            if not point.deployment or not point.value or point.code < 200:
                continue  # rejected before any deployment, the client hung up, or 1xx: in no row that is compared
            requests[point.minute, point.deployment] += point.value  # pyright: ignore[reportArgumentType]
            if classify(point.code) in _FAILED:
                failed[point.minute, point.deployment] += point.value  # pyright: ignore[reportArgumentType]
        return Counts(requests, failed, min(until, self._clock.now() - self._delay))

    def fetch(self, since: datetime, until: datetime, *, block_s: float, mirrored: bool = False) -> Samples:
        """Read the minutes that began in [since, until) as an alarm: counts by code, complete up to nobody knows when.

        A cell holds the answers of one minute and code; its duration is the mean of the minute.

        Raises:
            TelemetryError: Azure does not answer, or not understandably.
        """
        check_order(since, until)
        length = timedelta(milliseconds=block_ms(block_s))
        mean: dict[tuple[datetime, str], float] = {
            (point.minute, point.deployment): point.value
            for point in self._read("RequestLatency", ("deployment",), since, until)
        }
        cells: list[Cell] = []
        for point in self._read("RequestsPerMinute", ("deployment", "statusCode"), since, until):
            n = round(point.value)
            if not since <= point.minute < until or not point.deployment or n < 1 or is_interim(point.code):
                continue
            start = EPOCH + (point.minute - EPOCH) // length * length
            ms = round(mean.get((point.minute, point.deployment), 0.0))
            cells.append(Cell(start, point.deployment, classify(point.code), ms, n))
        return Samples(tuple(cells), block_s, None)

    def _read(self, metric: str, dimensions: tuple[str, ...], since: datetime, until: datetime) -> list[_Point]:
        """Points of [minute of since, until), of which old ones are asked for once."""
        first = since.astimezone(UTC).replace(second=0, microsecond=0)
        until = max(until.astimezone(UTC), first + MINUTE)
        known = self._kept_until.get(metric)
        start = known[1] if known is not None and known[0] <= first < known[1] else first
        fresh: dict[tuple[str, datetime, str, int], float] = defaultdict(float)
        begin = start
        while begin < until:
            end = min(until, begin + LONGEST)
            for point in self._ask(metric, dimensions, begin, end):
                if start <= point.minute:
                    fresh[metric, point.minute, point.deployment, point.code] += point.value
            begin = end
        old = {key: value for key, value in self._kept.items() if key[0] == metric and first <= key[1] < start}
        settled = min(until, self._clock.now() - KEPT).replace(second=0, microsecond=0)
        if settled > start:
            self._kept = {key: value for key, value in self._kept.items() if key[0] != metric} | old
            self._kept |= {key: value for key, value in fresh.items() if key[1] < settled}
            self._kept_until[metric] = (first, settled)
        return [_Point(minute, name, code, value) for (_, minute, name, code), value in (old | fresh).items()]

    def _ask(self, metric: str, dimensions: tuple[str, ...], since: datetime, until: datetime) -> Iterable[_Point]:
        query = {
            "metricnames": metric,
            "metricnamespace": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
            "timespan": f"{since:%Y-%m-%dT%H:%M:%SZ}/{until + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}",
            "interval": "PT1M",
            "aggregation": "Average",
            "top": str(MOST_SERIES),
            "$filter": " and ".join(f"{dimension} eq '*'" for dimension in dimensions),
        }
        try:
            answer = self._arm.get(self._path, API_VERSION, query)
        except PlatformError as exc:
            raise TelemetryError(f"metrics cannot be read: {exc.message}", hint=exc.hint) from exc
        if answer is None:
            raise TelemetryError(
                "metrics cannot be read: there is no such endpoint", hint="Check the name of the endpoint."
            )
        return understood(lambda: list(_points(answer, metric)))


def _points(answer: Mapping[str, Any], metric: str) -> Iterable[_Point]:
    for value in answer["value"]:
        if value["name"]["value"].casefold() != metric.casefold():
            continue
        if (code := value.get("errorCode") or "Success") != "Success":
            raise ValueError(f"{metric}: {code}")
        if len(value["timeseries"]) >= MOST_SERIES:
            raise ValueError(f"more than {MOST_SERIES} series, so some are missing")
        for series in value["timeseries"]:
            named = {one["name"]["value"].casefold(): str(one["value"]) for one in series["metadatavalues"]}
            code_text = named.get("statuscode", "0")
            for data in series["data"]:
                if (number := data.get("average")) is None:
                    continue  # nothing was measured in this minute
                if not isinstance(number, int | float) or not isfinite(number) or number < 0:
                    raise ValueError(f"{metric} of {number!r}")
                yield _Point(
                    _minute(data["timeStamp"]),
                    named["deployment"],
                    int(code_text) if code_text.isdigit() else 0,
                    float(number),
                )


def _minute(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at.astimezone(UTC).replace(second=0, microsecond=0)
