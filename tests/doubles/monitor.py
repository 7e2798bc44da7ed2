"""Azure Monitor as a service on this machine: log queries, and metrics, over HTTPS, by a clock that tests move.

It runs the very KQL that it is sent, on DuckDB, over rows that become visible only once their ingestion time has come.
The Azure SDK talks to it unpatched. What it answers follows:

- queries: learn.microsoft.com/azure/azure-monitor/logs/api/response-format and .../api/errors; azure-monitor-query 2.0.0
  (what it sends, and that a partial answer is a 200 with ``error``: measured).
- metrics: learn.microsoft.com/rest/api/monitor/metrics/list, 2023-10-01.
- rows of the inference server: azure/recordings of azureml-inference-server-http 1.5.1, and the source of 1.4.1.
"""

from __future__ import annotations

import json
import math
import re
import threading
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import duckdb
import duckdb_kql
from doubles.azure.scoring import Row
from doubles.monitor_tables import ML_WORKSPACE, app_row, create, insert, show, traffic_row
from duckdb_kql.translate.functions import SCALAR_FUNCTIONS, FunctionSpec

from deployer.local.traffic_table import LIVE
from deployer.ports.clock import Clock

WORKSPACE_ID = "11111111-2222-3333-4444-555555555555"
ROWS_MAX = 500_000

# The engine under the double does not know ingestion_time(); the tables here have it as a column.
SCALAR_FUNCTIONS["ingestion_time"] = FunctionSpec("ingestion_time", "template", '"_IngestedAt"', (0,))

_KUSTO = {"TIMESTAMP": "datetime", "VARCHAR": "string", "INTEGER": "int", "BIGINT": "long", "HUGEINT": "long"}
_KUSTO |= {"DOUBLE": "real", "BOOLEAN": "bool", "JSON": "dynamic", "INTERVAL": "timespan"}


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back over the wire."""

    status: int
    body: Any = None
    """An object is sent as JSON, bytes as they are."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """The connection is closed instead."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came in."""

    kind: str
    """query or metrics."""
    path: str
    headers: Mapping[str, str]
    body: Any


def error(status: int, code: str, message: str, **headers: str) -> Response:
    """An error as Log Analytics and ARM write it."""
    return Response(status, {"error": {"code": code, "message": message}}, headers)


THROTTLED = error(429, "ThrottledError", "Too many requests.", **{"Retry-After": "5"})
FORBIDDEN = error(403, "InsufficientAccessError", "The provided credentials have insufficient access.")
GATEWAY_TIMEOUT = error(504, "GatewayTimeout", "The query did not finish in time.")
CUT = Response(0, cut=True)


class Monitor:
    """Logs and metrics of one endpoint.

    Args:
        clock: virtual now.
        endpoint: its name.
        delay_s: rows are visible so long after their answer ended, unless told otherwise.
        metrics_delay_s: a minute shows what ended so long ago.
    """

    def __init__(
        self, clock: Clock, *, endpoint: str = "digits", delay_s: float = 5.0, metrics_delay_s: float = 0.0
    ) -> None:
        self.clock, self.endpoint, self.delay_s, self.metrics_delay_s = clock, endpoint, delay_s, metrics_delay_s
        self.endpoint_id = f"{ML_WORKSPACE}/onlineEndpoints/{endpoint}"
        self.script: dict[str, deque[Response]] = {"query": deque(), "metrics": deque()}
        """Answers that are given first, by kind."""
        self.always: dict[str, Response] = {}
        """Answers that are given to everything, by kind."""
        self.partial = False
        """Every query is answered with what there is, and ``error``."""
        self.ahead_s = 0.0
        """Azure's clock is ahead by so much."""
        self.asked: list[Asked] = []
        self.sent = 0
        """Bytes of all bodies sent."""
        self.metric_edits: list[Any] = []
        """Functions that change the answer to a metrics request before it is sent."""
        self._counted: Counter[tuple[datetime, str, int]] = Counter()
        self._latency: dict[tuple[datetime, str], list[float]] = {}
        self._heard: list[Row] = []
        self._rows: dict[str, list[tuple[Mapping[str, Any], datetime]]] = {}
        self._lock = threading.RLock()
        self.db = duckdb.connect(config={"threads": 2})
        self.db.execute("SET TimeZone='UTC'")
        create(self.db)

    # Rows and counts

    def insert(self, table: str, rows: Iterable[tuple[Mapping[str, Any], datetime]]) -> None:
        """Add rows, each with the moment from which it is visible."""
        with self._lock:
            self._rows.setdefault(table, []).extend(rows)  # stored when somebody asks: one by one costs 5 ms a row

    def traffic(
        self,
        ended: datetime,
        deployment: str | None,
        *,
        code: int = 200,
        model_code: int | None = None,
        ms: int | None = 10,
        n: int = 1,
        delay_s: float | None = None,
        copies: int = 1,
        asked_as: str = "",
        request_id: str | None = None,
        **columns: Any,
    ) -> None:
        """``n`` rows of AmlOnlineEndpointTrafficLog; each is delivered ``copies`` times."""
        seen = ended + timedelta(seconds=self.delay_s if delay_s is None else delay_s)
        row = (
            traffic_row(self.endpoint, ended, deployment, code, model_code, ms)
            | {"XMSClientRequestId": asked_as}
            | columns
        )
        own = [{**row, "XRequestId": str(uuid.uuid4()) if request_id is None else request_id} for _ in range(n)]
        self.insert(LIVE, [(one, seen) for one in own for _ in range(copies)])

    def app_request(
        self,
        ended: datetime,
        service: str,
        *,
        container: str = "",
        code: int = 200,
        ms: int = 10,
        n: int = 1,
        version: str = "1.5.1",
        items: int = 1,
        delay_s: float | None = None,
        copies: int = 1,
        asked_as: str = "",
        properties: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> None:
        """``n`` rows of AppRequests as the inference server of ``version`` writes them."""
        seen = ended + timedelta(seconds=self.delay_s if delay_s is None else delay_s)
        rows = []
        for _ in range(n):
            said = {
                "Container Id": container or f"pod-{service}-1",
                "Client Request Id": asked_as,
                **(properties or {}),
            }
            row = app_row(ended, service, code, ms, version=version, **said)
            rows += [({**row, "ItemCount": items, **columns}, seen)] * copies
        self.insert("AppRequests", rows)

    def count(self, ended: datetime, deployment: str, *, code: int = 200, n: int = 1, ms: float = 10) -> None:
        """Count ``n`` requests in the metrics."""
        minute = ended.replace(second=0, microsecond=0)
        with self._lock:
            self._counted[minute, deployment, code] += n
            self._latency.setdefault((minute, deployment), []).append(ms)

    def hear(self, row: Row) -> None:
        """Log and count a request that ``doubles.arm`` served: a listener of its ``azure.listeners``."""
        if row.endpoint == self.endpoint:
            with self._lock:
                self._heard.append(row)

    def _note(self) -> None:
        """Store what came and what was heard. Where mirrored requests are logged is not known: here like live ones."""
        heard, self._heard = self._heard, []
        late = timedelta(seconds=self.delay_s)
        logged = [(row.document(), row.ended + late) for row in heard if not row.kubernetes]
        in_container = [
            (
                app_row(
                    row.ended,
                    row.deployment,
                    row.model_code,
                    row.total_ms,
                    **{"Client Request Id": row.client_request_id},
                ),
                row.ended + late,
            )
            for row in heard
            if row.deployment and row.model_code is not None
        ]
        for table, rows in ((LIVE, logged), ("AppRequests", in_container)):
            self._rows.setdefault(table, []).extend(rows)
        for table, rows in self._rows.items():
            if rows:
                insert(self.db, table, rows)
        self._rows = {}
        for row in heard:
            if row.deployment and row.code:
                self.count(row.ended, row.deployment, code=row.code, ms=row.total_ms)

    # Requests

    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response | None:
        """Answer a request; None: it is not for this service."""
        parts = urlsplit(url)
        path = unquote(parts.path)
        lower = {key.lower(): value for key, value in headers.items()}
        query = re.fullmatch(r"/v1/(?:workspaces/([^/]+)|(.+))/query", path)
        metrics = re.fullmatch(r"(?i)(/subscriptions/.+)/providers/microsoft\.insights/metrics", path)
        if method == "POST" and query:
            asked = Asked("query", path, lower, json.loads(body))
            return self._answer(asked, lambda: self._query(query[1], query[2], asked))
        if method == "GET" and metrics:
            asked = Asked("metrics", path, lower, {key: value[0] for key, value in parse_qs(parts.query).items()})
            return self._answer(asked, lambda: self._metrics(metrics[1], asked.body))
        return None

    def _answer(self, asked: Asked, give: Any) -> Response:
        with self._lock:
            self.asked.append(asked)
            self._note()
            if asked.kind in self.always:
                return self.always[asked.kind]
            if self.script[asked.kind]:
                return self.script[asked.kind].popleft()
            if not asked.headers.get("authorization", "").startswith("Bearer "):
                return error(401, "AuthorizationRequiredError", "Valid authentication was not provided.")
            return give()

    def now(self) -> datetime:
        """What Azure's clock says."""
        return self.clock.now() + timedelta(seconds=self.ahead_s)

    def _query(self, workspace: str | None, resource: str | None, asked: Asked) -> Response:
        if workspace is not None and workspace != WORKSPACE_ID:
            return error(404, "WorkspaceNotFoundError", "The workspace could not be found.")
        wait = re.search(r"wait=(\d+)", asked.headers.get("prefer", ""))
        if wait and int(wait[1]) > 600:
            return error(400, "BadArgumentError", "The wait is too long.")
        try:
            self._show(asked.body.get("timespan"), resource)
            duckdb_kql.execute(self.db, asked.body["query"], allow_write=False)
            columns = [(str(name), str(kind)) for name, kind, *_ in self.db.description or []]
            rows = self.db.fetchmany(ROWS_MAX + 1)
        except (duckdb_kql.KqlError, duckdb.Error) as exc:
            inner = {"code": "SEM0100", "message": str(exc).splitlines()[0]}
            semantic = {"code": "SemanticError", "message": "A semantic error occurred.", "innererror": inner}
            wrong = {"code": "BadArgumentError", "message": "The request had some invalid properties"}
            return Response(400, {"error": wrong | {"innererror": semantic}})
        answer: dict[str, Any] = {
            "tables": [
                {
                    "name": "PrimaryResult",
                    "columns": [{"name": name, "type": _KUSTO[kind]} for name, kind in columns],
                    "rows": [[_sent(value) for value in row] for row in rows[:ROWS_MAX]],
                }
            ]
        }
        if self.partial or len(rows) > ROWS_MAX:
            what = {"code": "E_QUERY_RESULT_SET_TOO_LARGE", "message": "The results of this query exceed the limit."}
            answer["error"] = {"code": "PartialError", "message": "There were some errors.", "innererror": what}
        return Response(200, answer)

    def _show(self, timespan: str | None, resource: str | None) -> None:
        """Make the tables as whoever asks sees them now: ingested, of the resource asked, within ``timespan``."""
        seen = [f"\"_IngestedAt\" <= TIMESTAMP '{_plain(self.now())}'"]
        if timespan:
            start, _, end = timespan.partition("/")
            since, until = datetime.fromisoformat(start), datetime.fromisoformat(end)
            seen += [f"TimeGenerated >= TIMESTAMP '{_plain(since)}'", f"TimeGenerated < TIMESTAMP '{_plain(until)}'"]
        if resource is not None:
            seen.append(f"starts_with(lower(_ResourceId) || '/', lower('/{resource.strip('/')}/'))")
        show(self.db, " AND ".join(seen), classic=resource is not None)

    def _metrics(self, resource: str, query: Mapping[str, str]) -> Response:
        if resource.lower() != self.endpoint_id.lower():
            return error(404, "ResourceNotFound", "The resource was not found.")
        if query.get("interval") != "PT1M" or query.get("aggregation") != "Average":
            return error(400, "BadRequest", "This metric has a grain of PT1M and the aggregation Average.")
        since, until = (datetime.fromisoformat(text) for text in query["timespan"].split("/"))
        dimensions = re.findall(r"(\w+) eq '\*'", query.get("$filter", ""))
        series: dict[tuple[str, ...], dict[datetime, list[float]]] = {}
        limit = self.now() - timedelta(seconds=self.metrics_delay_s)
        if query["metricnames"] == "RequestsPerMinute":
            for (minute, deployment, code), n in sorted(self._counted.items()):
                named = {"deployment": deployment, "statusCode": str(code)}
                if since <= minute < until and minute < limit:
                    key = tuple(named[dimension] for dimension in dimensions)
                    series.setdefault(key, {}).setdefault(minute, []).append(float(n))
        else:
            for (minute, deployment), values in sorted(self._latency.items()):
                if since <= minute < until and minute < limit:
                    series.setdefault((deployment,), {})[minute] = [sum(values) / len(values)]
        shown = [
            {
                "metadatavalues": [
                    {"name": {"value": dimension.lower(), "localizedValue": dimension.lower()}, "value": value}
                    for dimension, value in zip(dimensions, key, strict=True)
                ],
                "data": [
                    {"timeStamp": _plain(minute).replace(" ", "T") + "Z", "average": sum(values)}
                    for minute, values in points.items()
                ],
            }
            for key, points in list(series.items())[: int(query.get("top", "10"))]
        ]
        name = {"value": query["metricnames"], "localizedValue": query["metricnames"]}
        value = {"id": resource, "type": "Microsoft.Insights/metrics", "name": name, "unit": "Count"}
        answer = {"timespan": query["timespan"], "interval": "PT1M", "namespace": query["metricnamespace"]}
        answer["value"] = [value | {"errorCode": "Success", "timeseries": shown}]
        for edit in self.metric_edits:
            edit(answer)
        return Response(200, answer)

    def close(self) -> None:
        """Give the database back."""
        self.db.close()


def _sent(value: Any) -> Any:
    if isinstance(value, datetime):
        return _plain(value).replace(" ", "T") + "Z"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN"  # as the service writes a real that is none
    return value if isinstance(value, bool | int | float | None) else str(value)


def _plain(at: datetime) -> str:
    at = at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)
    return at.isoformat(sep=" ", timespec="microseconds")
