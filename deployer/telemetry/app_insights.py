"""Telemetry of deployments whose container reports to Application Insights: what the model's server saw itself.

The stock inference server writes rows whose own columns lie: 1.5.x gives every request the duration 0, the code "0" and
success; 1.4.1 and before give code 0 and success, and the right duration. Both put the truth into custom dimensions,
so only those are read (azureml-inference-server issue 111; the source of 1.4.1 and 1.5.1, measured 2026-11-22).

What the container never sees is not here: requests that the front end refused or cut off. An independent count shows
them; without one, and without probes that show which containers are ours, this is blind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from deployer.cloud.clouds import Cloud
from deployer.gate.samples import AnswerClass, Cell
from deployer.ports.clock import Clock
from deployer.ports.telemetry import Telemetry
from deployer.telemetry.ingested import Bars, Count, IngestedTelemetry
from deployer.telemetry.kql import (
    LONGEST_REQUEST,
    PROBES_KQL,
    WITNESS,
    answer_class,
    block_ms,
    check_order,
    endpoint_name,
    literal,
    resource_id,
)
from deployer.telemetry.log_analytics import LogAnalytics
from deployer.telemetry.packed import JOIN, PACK, at_ms, in_order, lag_s, unpack, unreadable, whole
from deployer.telemetry.watermark import Pulse, Tally, named

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential


class Writer(StrEnum):
    """Which inference server wrote a row, by what is wrong with it."""

    ZEROES = "1.5"
    """Duration 0.000 and code "0"."""
    NO_CODE = "1.4.1 or before"
    """Code "0"."""
    RIGHT = "another"
    """A code of its own, equal to the custom dimension's."""
    CONTRADICTORY = "contradictory"
    """A code of its own that the custom dimension denies."""


@dataclass(frozen=True, slots=True)
class _Schema:
    """The same rows have two shapes: as the component shows them, and as its workspace does."""

    table: str
    time: str
    properties: str
    code: str
    duration: str
    items: str
    name: str


# Source: learn.microsoft.com/azure/azure-monitor/reference/tables/apprequests; learn.microsoft.com/azure/azure-monitor/
# app/data-model-complete (the classic names, in queries of a component). Read 2026-11-25.
_COMPONENT = _Schema("requests", "timestamp", "customDimensions", "resultCode", "duration", "itemCount", "name")
_WORKSPACE = _Schema("AppRequests", "TimeGenerated", "Properties", "ResultCode", "DurationMs", "ItemCount", "Name")

# Constructs as in traffic_log.py, and: tostring(), toint(), totimespan() and todatetime() of a dynamic property (null
# of what is none), a timespan divided by one (a real), case(), isnull(), isnotempty(), sum(). An answer ended at the
# start that the server noted plus its duration: the row's own time is the start in 1.4.1, and after the end in 1.5.
_ANSWERS = """\
{table}
| where {time} >= datetime({earliest}) and {time} < datetime({latest})
| where {name} == '/score'{ours}
| extend Service = tostring({properties}['Service Name']), Container = tostring({properties}['Container Id']),
    Asked = tostring({properties}['Client Request Id']), RequestId = tostring({properties}['Request Id']),
    Took = totimespan(tostring({properties}['duration'])), Said = tostring({properties}['resultCode']),
    Began = todatetime(tostring({properties}['start_time'])), Own = tostring({code}), At = {time}, Items = {items},
    Arrived = ingestion_time()
| where isnotempty(Said)
| extend Ended = Began + Took
| where (Ended >= datetime({since}) and Ended < datetime({until}))
    or (isnull(Ended) and At >= datetime({since}) and At < datetime({until}))
"""
_BARS = (
    _ANSWERS
    + """\
| where Asked !in ({probes}) and Asked !startswith_cs '{witness}'
| extend Ms = iff(isnull(Ended), int(-1), toint(Took / 1ms)), Code = toint(Said), Ends = coalesce(Ended, At)
| extend Writer = case(Own == '0' and {duration} == 0.0, '1.5', Own == '0', '1.4.1 or before', Own == Said, 'another',
    'contradictory')
| distinct At, Ends, RequestId, Service, Container, Code, Ms, Items, Writer
| extend BlockMs = bin(datetime_diff('millisecond', Ends, datetime(1970-01-01)), {block_ms})
| summarize Answers = count(), Items = sum(Items) by BlockMs, Service, Container, Code, Writer, Ms
"""
    + PACK
    + """\
| summarize Bars = make_list(Bar), Items = sum(Items) by BlockMs, Service, Container, Code, Writer
"""
    + JOIN
)
_BARS_COLUMNS = ("BlockMs", "Service", "Container", "Code", "Writer", "Items", "Bars")
_PULSE = (
    _ANSWERS
    + """\
| extend EndedMs = datetime_diff('millisecond', coalesce(Ended, At), datetime(1970-01-01))
| extend LagMs = datetime_diff('millisecond', Arrived, coalesce(Ended, At)), MinuteMs = bin(EndedMs, 60000),
    Witness = case(Asked startswith_cs '{witness}', Asked, '')
| summarize Rows = count(), Probes = countif(Asked in ({probes}) or Asked startswith_cs '{witness}'),
    LastMs = max(EndedMs), LagMs = percentile(LagMs, 95) by MinuteMs, Service, Container, Witness
"""
)
_PULSE_COLUMNS = ("MinuteMs", "Service", "Container", "Witness", "Rows", "Probes", "LastMs", "LagMs")


def app_insights(
    cloud: Cloud,
    credential: TokenCredential,
    *,
    resource_id: str,
    endpoint: str,
    clock: Clock,
    max_lag_s: float = 600.0,
    workspace_id: str | None = None,
    counter: Count | None = None,
) -> Telemetry:
    """Read what the containers of ``endpoint`` reported. Touches nothing yet.

    Args:
        cloud: where Log Analytics is.
        credential: who asks; needs the role Monitoring Reader on the component.
        resource_id: ARM id of the Application Insights component.
        endpoint: name of the endpoint.
        clock: ours.
        max_lag_s: as ``gate.telemetry.max_lag``: assumed of all rows where nothing better is known.
        workspace_id: GUID of the component's Log Analytics workspace, to ask it instead of the component.
        counter: independent count; without it only containers that our own probes reached are believed to be ours.

    Raises:
        TelemetryError: a name or id is none, or the cloud has no logs.
    """
    question = AppInsightsQuestion(endpoint, resource_id, across=workspace_id is not None)
    logs = LogAnalytics(cloud, credential, clock, workspace_id=workspace_id, resource_id=resource_id)
    return IngestedTelemetry(logs, question, clock, max_lag_s=max_lag_s, counter=counter)


class AppInsightsQuestion:
    """The questions (implements ``deployer.telemetry.ingested.Question``); remembers which containers are whose.

    No row names an endpoint. ``Service Name`` may hold the deployment's name, or the endpoint's in every row; then only
    the containers that our witness's probes reached tell who is who.

    Args:
        endpoint: its name.
        component_id: ARM id of the component.
        across: the component's workspace is asked, which may hold other components.

    Raises:
        TelemetryError: one of them is not what it says.
    """

    shared = True

    def __init__(self, endpoint: str, component_id: str, *, across: bool) -> None:
        self._endpoint = endpoint_name(endpoint)
        self._schema = _WORKSPACE if across else _COMPONENT
        self._ours = f" and _ResourceId =~ '{resource_id(component_id)}'" if across else ""
        self._containers: dict[str, str] = {}
        self._odd: set[str] = set()  # service names of our containers that are no deployment's

    @property
    def learned(self) -> int:
        """How many containers and odd names are known."""
        return len(self._containers) + len(self._odd)

    def earliest(self, since: datetime) -> datetime:
        """The row's own time may be the start of the request."""
        return since - LONGEST_REQUEST

    def latest(self, until: datetime) -> datetime:
        """Or a moment after its end."""
        return until + timedelta(minutes=1)

    def bars(self, since: datetime, until: datetime, *, block_s: float) -> str:
        """KQL: every answer that ended in [since, until), duplicates and our own probes left out."""
        return self._fill(_BARS, since, until, block_ms(block_s))

    def pulse(self, since: datetime, until: datetime) -> str:
        """KQL: what has arrived of [since, until), by minute, service, container and witness."""
        return self._fill(_PULSE, since, until, 60_000)

    def _fill(self, question: str, since: datetime, until: datetime, block: int) -> str:
        check_order(since, until)
        schema = self._schema
        return question.format(
            table=schema.table,
            time=schema.time,
            properties=schema.properties,
            code=schema.code,
            duration=schema.duration,
            items=schema.items,
            name=schema.name,
            ours=self._ours,
            probes=PROBES_KQL,
            witness=WITNESS,
            earliest=literal(self.earliest(since)),
            latest=literal(self.latest(until)),
            since=literal(since),
            until=literal(until),
            block_ms=block,
        )

    def read_pulse(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> tuple[list[Pulse], list[str]]:
        """Read what ``pulse`` answered, and learn whose containers the witness reached."""
        read: list[tuple[object, str, str, object, object, object, object]] = []
        contradictory: set[str] = set()
        for row in in_order(columns, rows, _PULSE_COLUMNS):
            match row:
                case (minute, str(service), str(container), str(witness), n, probes, last, lag):
                    if witness and container:
                        self._learn(container, witness[len(WITNESS) :], contradictory)
                    read.append((minute, service, container, n, probes, last, lag))
                case _:
                    raise unreadable(row)
        return self._pulses(read), _disagreeing(contradictory)

    def _learn(self, container: str, deployment: str, contradictory: set[str]) -> None:
        if self._containers.setdefault(container, deployment) != deployment:
            contradictory.add(container)

    def _pulses(self, read: Iterable[tuple[object, str, str, object, object, object, object]]) -> list[Pulse]:
        """Sum what containers and witnesses of one deployment and minute say."""
        rows: Counter[tuple[datetime, str]] = Counter()
        probes: Counter[tuple[datetime, str]] = Counter()
        last: dict[tuple[datetime, str], datetime] = {}
        lags: dict[tuple[datetime, str], list[float]] = {}
        for minute, service, container, n, probing, newest, lag in read:
            key = at_ms(minute), self._containers.get(container) or ("" if self._is_endpoints(service) else service)
            rows[key] += whole(n, 1)
            probes[key] += whole(probing)
            last[key] = max(last.get(key, at_ms(newest)), at_ms(newest))
            if (seconds := lag_s(lag)) is not None:
                lags.setdefault(key, []).append(seconds)
        return [Pulse(*key, rows[key], probes[key], last[key], max(lags[key]) if key in lags else None) for key in rows]

    def _is_endpoints(self, service: str) -> bool:
        return service.casefold() in ("", self._endpoint.casefold()) or service in self._odd

    def read_bars(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Bars:
        """Read what ``bars`` answered; of each row, say whose it is."""
        found: dict[bool, tuple[list[Cell], list[Tally]]] = {True: ([], []), False: ([], [])}
        contradictory: set[str] = set()
        writers: set[str] = set()
        untimed = broken = untold = 0
        for row in in_order(columns, rows, _BARS_COLUMNS):
            match row:
                case (start, str(service), str(container), int() | None as code, str(writer), items, text):
                    known = self._containers.get(container)
                    some, tally, lacking = unpack(at_ms(start), known or service, _class(code), text)
                case _:
                    raise unreadable(row)
            if known is not None:
                self._compare(service, known, container, contradictory)
            elif self._is_endpoints(service):
                untold += tally.rows
                continue
            wrong = tally.rows if code is None or Writer(writer) is Writer.CONTRADICTORY else 0
            untimed, broken = untimed + lacking, broken + wrong
            writers |= {writer} if lacking or wrong else set[str]()
            cells, tallies = found[known is not None]
            cells += some
            tallies.append(replace(tally, items=whole(items, tally.rows)))
        problems = _disagreeing(contradictory)
        by = f" (written by {_servers(writers)})"
        problems += [f"{untimed} answers have no start or no duration{by}"] if untimed else []
        problems += [f"{broken} answers have no code that can be believed{by}"] if broken else []
        (cells, tallies), (doubtful, more) = found[True], found[False]
        return Bars(tuple(cells), tuple(tallies), tuple(problems), (tuple(doubtful), tuple(more)), untold)

    def _compare(self, service: str, known: str, container: str, contradictory: set[str]) -> None:
        """Learn from the service name of a container of ours, or notice that it is another deployment's."""
        if service in set(self._containers.values()) - {known} and not self._is_endpoints(service):
            contradictory.add(container)
        elif service != known:
            self._odd.add(service)


def _disagreeing(containers: set[str]) -> list[str]:
    return [f"containers and service names disagree about {named(sorted(containers))}"] if containers else []


def _servers(writers: set[str]) -> str:
    """Name who wrote rows, as far as they show it."""
    known = [f"inference server {each}" for each in sorted(writers & {Writer.ZEROES, Writer.NO_CODE})]
    return ", ".join([*known, *["a server of neither version 1.4 nor 1.5"][: len(writers) > len(known)]])


def _class(code: int | None) -> AnswerClass:
    """Class of what the model's server returned: what is no success reaches the user as 424, whatever it was."""
    return answer_class(0 if code is None else code if code < 400 else 424, code)
