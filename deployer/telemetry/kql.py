"""The gate's question in KQL, and how its answer is read: pure text, the same on Azure and on the local platform.

The question is an exact histogram: answers counted by block of event time, deployment, codes and whole millisecond.
It stays in the subset that Log Analytics and duckdb-kql both run, in the documented case of every column. Nothing
but validated tokens ever becomes part of a query: a name that came from a live endpoint is hostile until proven else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass, Cell, classify

STRETCH = timedelta(minutes=5)
"""About as much is asked at once: up to 1,600 requests/s it stays below the 500,000 rows of an answer."""

_NAME = re.compile(r"[a-zA-Z](?:-?[a-zA-Z0-9]){0,63}")
_RESOURCE_ID = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9._()-]{0,259}){2,40}")
_SHORTEST_BLOCK_MS, _LONGEST_BLOCK_MS = 1_000, 600_000
LONGEST_REQUEST = timedelta(hours=1)
"""No request lasts longer: endpoints cut it off after at most 300 s (learn.microsoft.com, how-to-manage-quotas)."""
_MODEL_SAYS_MORE = frozenset({408, 429, 499, 504})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER_MS = 253_402_300_800_000
"""The year 10000: no datetime goes so far."""


class Table(StrEnum):
    """Where answers are counted."""

    LIVE = "AmlOnlineEndpointTrafficLog"
    SHADOW = "AmlOnlineEndpointShadowLog"
    """Answers to mirrored requests. Ours, local only: whether and where Azure logs them is not documented."""


# TimeGenerated is when the request came in; the port asks for when the answer ended. Blocks are whole numbers counted
# from 1970: bin() of a datetime counts from the year 1 on Azure, and puts answers on the edge of a block of 1.1 s into
# the block before in duckdb-kql 1.1.2, which divides floating point (12,000 of 20,000 edges measured).
_HISTOGRAM = """\
{table}
| where TimeGenerated >= datetime({earliest}) and TimeGenerated < datetime({until})
| where EndpointName == '{endpoint}' and coalesce(XMSClientRequestId, '') !in ({probes})
| extend Ended = TimeGenerated + coalesce(TotalDurationMs, int(0)) * 1ms
| where Ended >= datetime({since}) and Ended < datetime({until})
| extend BlockMs = bin(datetime_diff('millisecond', Ended, datetime(1970-01-01)), {block_ms})
| summarize n = count() by BlockMs, DeploymentName, ResponseCode, ModelStatusCode, TotalDurationMs
"""
PROBES = ("deployer-smoke", "deployer-warm-up")
"""What our own requests to the candidate alone call themselves: nobody's traffic, so not counted."""
PROBES_KQL = ", ".join(f"'{probe}'" for probe in PROBES)
WITNESS = "deployer-witness-"
"""What a witness's request to one deployment alone calls itself, before that deployment's name. Not counted either."""
ANSWER_COLUMNS = ("BlockMs", "DeploymentName", "ResponseCode", "ModelStatusCode", "TotalDurationMs", "n")
"""What a histogram answers, a row a bar: ms since 1970, name or empty, code, code or null, ms or null, count."""


def histogram(table: Table, endpoint: str, since: datetime, until: datetime, *, block_s: float) -> str:
    """Write the query that counts all answers of ``endpoint`` that ended in [since, until).

    Blocks are counted from 1970, so ``since`` and ``until`` may cut the first and the last: they hold what is inside.

    Args:
        table: which answers.
        endpoint: name of the endpoint: a letter, then letters, digits and single hyphens, at most 64 characters.
        since: start, aware.
        until: end, aware, not before ``since``.
        block_s: 1 to 600, a whole number of milliseconds.

    Raises:
        TelemetryError: an argument is none of the above. Nothing of it got into a query.

    Source: column names and TimeGenerated ("when the request was received"): learn.microsoft.com/azure/azure-monitor/
    reference/tables/amlonlineendpointtrafficlog (read 2026-11-22); bin() of datetimes: learn.microsoft.com/kusto/query/
    bin-function.
    """
    check_order(since, until)
    return _HISTOGRAM.format(
        table=Table(table).value,
        endpoint=endpoint_name(endpoint),
        probes=PROBES_KQL,
        earliest=literal(since - LONGEST_REQUEST),
        since=literal(since),
        until=literal(until),
        block_ms=block_ms(block_s),
    )


def endpoint_name(name: str) -> str:
    """``name``, now that it is certain to be one.

    Raises:
        TelemetryError: it is not the name of an endpoint.
    """
    if not _NAME.fullmatch(name):
        raise TelemetryError(
            f"{name!r} is not the name of an endpoint, so no query is made of it",
            hint="Use letters, digits and single hyphens, beginning with a letter, at most 64 characters.",
        )
    return name


def resource_id(arm_id: str) -> str:
    """``arm_id``, now that it is certain to be an ARM resource id and can sit between quotes.

    Raises:
        TelemetryError: it is none.
    """
    if not _RESOURCE_ID.fullmatch(arm_id):
        raise TelemetryError(
            f"{arm_id!r} is not the id of an Azure resource, so no query is made of it"[:300],
            hint="Copy the resource id from the portal: /subscriptions/.../providers/...",
        )
    return arm_id


def check_order(since: datetime, until: datetime) -> None:
    """Refuse a stretch of time that is none.

    Raises:
        TelemetryError: no time zone, or the end before the start.
    """
    if _utc(since) > _utc(until):
        raise TelemetryError(
            f"{since.isoformat()} is after {until.isoformat()}, so there is nothing between them",
            hint="Ask for a stretch of time that ends after it begins.",
        )


def block_ms(block_s: float) -> int:
    """Length of a block in whole milliseconds.

    Raises:
        TelemetryError: shorter than 1 s, longer than 10 min, or no whole number of milliseconds.
    """
    length_ms = block_s * 1000
    if not _SHORTEST_BLOCK_MS <= length_ms <= _LONGEST_BLOCK_MS or abs(length_ms - round(length_ms)) > 1e-6:
        raise TelemetryError(
            f"a block of {block_s} s cannot be counted", hint="Choose whole milliseconds between 1 s and 10 min."
        )
    return round(length_ms)


def stretches(
    since: datetime, until: datetime, *, block_s: float, about: timedelta = STRETCH
) -> list[tuple[datetime, datetime]]:
    """Cut [since, until) into parts of about ``about`` that begin with a block; at least one, which may be empty.

    The cuts depend on ``block_s`` alone: whatever the time asked for, whole parts are the same ones again.

    Raises:
        TelemetryError: as ``histogram``.
    """
    length = timedelta(milliseconds=block_ms(block_s) * max(1, round(about / timedelta(seconds=block_s))))
    cuts = [_utc(since)]
    while (cut := _EPOCH + ((cuts[-1] - _EPOCH) // length + 1) * length) < _utc(until):
        cuts.append(cut)
    return list(pairwise([*cuts, _utc(until)]))


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise TelemetryError(
            f"{at.isoformat()} has no time zone, so it names no moment", hint="Pass an aware datetime, such as UTC."
        )
    return at.astimezone(UTC)


def literal(at: datetime) -> str:
    """``at`` as it stands in ``datetime(...)``: UTC, to the microsecond.

    Raises:
        TelemetryError: no time zone.
    """
    return _utc(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def answer_class(response_code: int, model_code: int | None) -> AnswerClass:
    """Class of an answer by what the endpoint returned, and by the model's own code where that says more.

    The endpoint wraps whatever a model returns but success in 424. A time-out or "too many requests" inside is what it
    says; any other code of the model, 4xx too, stays the model's error: a candidate that refuses what users send is
    broken, and requests that are really bad meet the stable alike.
    """
    wrapped = response_code == 424 and model_code in _MODEL_SAYS_MORE
    return classify(model_code if wrapped and model_code is not None else response_code)


def is_interim(response_code: int) -> bool:
    """Whether a code (1xx, such as 100 Continue) says only that a request goes on: how it ended is not known.

    Source: the traffic log holds such rows, for Microsoft's own query for failed requests leaves out 100 beside 200:
    github.com/MicrosoftDocs/azure-reference-other, queries/amlonlineendpointtrafficlog (read 2026-11-26). Whether
    another row tells how the request ended is not documented.
    """
    return 100 <= response_code < 200


@dataclass(frozen=True, slots=True)
class Counted:
    """A histogram as read."""

    cells: tuple[Cell, ...]
    unattributed: int
    """Answers that no deployment gave (401, 404): nobody's, so in no cell."""
    untimed: int
    """Answers without a duration; they are in ``cells`` as 0 ms."""


def read_histogram(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Counted:
    """Read what a ``histogram`` answered.

    Args:
        columns: names of the columns, exactly ``ANSWER_COLUMNS`` in any order.
        rows: one sequence a bar, values in the order of ``columns``.

    Raises:
        TelemetryError: other columns, or a value of another type. Nothing is guessed.
    """
    if sorted(columns) != sorted(ANSWER_COLUMNS):
        raise TelemetryError(
            f"the histogram came with the columns {list(columns)} instead of {list(ANSWER_COLUMNS)}",
            hint="Check that the telemetry source runs the query it was given.",
        )
    order = [list(columns).index(name) for name in ANSWER_COLUMNS]
    starts: dict[int, datetime] = {}
    cells: list[Cell] = []
    unattributed = untimed = 0
    for row in rows:
        start_ms, deployment, code, model_code, duration_ms, n = _bar(row, order)
        if not deployment:
            unattributed += n
            continue
        if duration_ms is None:
            untimed += n
        start = starts.get(start_ms) or starts.setdefault(start_ms, _EPOCH + timedelta(milliseconds=start_ms))
        cells.append(Cell(start, deployment, answer_class(code, model_code), max(0, duration_ms or 0), n))
    return Counted(tuple(cells), unattributed, untimed)


def _bar(row: Sequence[object], order: Sequence[int]) -> tuple[int, str, int, int | None, int | None, int]:
    values = [row[at] for at in order] if len(row) == len(order) else ()
    match values:
        case (int(start), str() | None as name, int(code), int() | None as model, int() | None as ms, int(n)) if (
            n > 0 and 0 <= start < _FOREVER_MS
        ):
            return start, name or "", code, model, ms, n
        case _:
            raise TelemetryError(
                f"the histogram holds a row that cannot be read: {list(row)!r}"[:300],
                hint="Check that the columns of the traffic log have their documented types.",
            )
