"""Telemetry of a managed endpoint: its traffic log in Log Analytics, the only complete record of what users got.

``traffic_log`` makes it. The questions are text made of validated tokens, in the subset of KQL that Log Analytics and
duckdb-kql both run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deployer.cloud.clouds import Cloud
from deployer.gate.samples import Cell
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
    is_interim,
    literal,
    resource_id,
)
from deployer.telemetry.log_analytics import LogAnalytics
from deployer.telemetry.packed import JOIN, PACK, at_ms, in_order, lag_s, unpack, unreadable, whole
from deployer.telemetry.watermark import Pulse, Tally

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

# Constructs, all "Applies to: Azure Monitor" at learn.microsoft.com/kusto/query (read 2026-11-25): where, extend,
# distinct, summarize; =~ (ignores case: Azure may lower a name), startswith_cs and !startswith_cs, in, !in, isnull(),
# iff(), datetime_diff() (the first less the second), bin() of a number, count(), countif(), max(), percentile() (an
# estimate: enough for a lateness), make_list(), ingestion_time() (null unless used straight on a table, as here).
# A string is never null (scalar-data-types/null-values); a number may be.
_OURS = """\
AmlOnlineEndpointTrafficLog
| where TimeGenerated >= datetime({earliest}) and TimeGenerated < datetime({until})
| where EndpointName =~ '{endpoint}'{ours}
"""
# Log Analytics delivers at least once: a row that comes twice is the same to the tick and in every column. The request
# id alone would not do, for a client may send one of its own, and the same each time.
_BARS = (
    _OURS
    + """\
| extend Ended = TimeGenerated + iff(isnull(TotalDurationMs), int(0), TotalDurationMs) * 1ms
| where Ended >= datetime({since}) and Ended < datetime({until})
| where XMSClientRequestId !in ({probes}) and XMSClientRequestId !startswith_cs '{witness}'
| distinct TimeGenerated, Ended, XRequestId, DeploymentName, ResponseCode, ModelStatusCode, TotalDurationMs
| extend BlockMs = bin(datetime_diff('millisecond', Ended, datetime(1970-01-01)), {block_ms}), Ms = TotalDurationMs
| summarize Answers = count() by BlockMs, DeploymentName, ResponseCode, ModelStatusCode, Ms
"""
    + PACK
    + """\
| summarize Bars = make_list(Bar) by BlockMs, DeploymentName, ResponseCode, ModelStatusCode
"""
    + JOIN
)
_BARS_COLUMNS = ("BlockMs", "DeploymentName", "ResponseCode", "ModelStatusCode", "Bars")
# By when requests came in, not by when their answers ended: less to compute, and never too early nor too hopeful.
_PULSE = (
    _OURS
    + """\
| extend CameMs = datetime_diff('millisecond', TimeGenerated, datetime(1970-01-01))
| extend LagMs = datetime_diff('millisecond', ingestion_time(), TimeGenerated), MinuteMs = bin(CameMs, 60000)
| extend Probe = XMSClientRequestId in ({probes}) or XMSClientRequestId startswith_cs '{witness}'
| summarize Rows = count(), Probes = countif(Probe), LastMs = max(CameMs), LagMs = percentile(LagMs, 95)
    by MinuteMs, DeploymentName
"""
)
_PULSE_COLUMNS = ("MinuteMs", "DeploymentName", "Rows", "Probes", "LastMs", "LagMs")


def traffic_log(
    cloud: Cloud,
    credential: TokenCredential,
    *,
    workspace_id: str | None,
    resource_id: str,
    endpoint: str,
    clock: Clock,
    max_lag_s: float = 600.0,
    counter: Count | None = None,
) -> Telemetry:
    """Read the traffic log of ``endpoint``. Touches nothing yet.

    Args:
        cloud: where Log Analytics is.
        credential: who asks; needs the role Log Analytics Reader, or Monitoring Reader on the endpoint.
        workspace_id: GUID of the Log Analytics workspace that the diagnostic setting sends to; None: the logs of the
            endpoint itself are asked, wherever they are.
        resource_id: ARM id of the endpoint; keeps endpoints of the same name in other workspaces apart.
        endpoint: its name.
        clock: ours.
        max_lag_s: as ``gate.telemetry.max_lag``: assumed of all rows where nothing better is known.
        counter: independent count (``deployer.telemetry.metrics.metrics``); without it nothing is complete.

    Raises:
        TelemetryError: a name or id is none, or the cloud has no logs.
    """
    question = TrafficLogQuestion(endpoint, resource_id, across=workspace_id is not None)
    logs = LogAnalytics(cloud, credential, clock, workspace_id=workspace_id, resource_id=resource_id)
    return IngestedTelemetry(logs, question, clock, max_lag_s=max_lag_s, counter=counter)


class TrafficLogQuestion:
    """The questions (implements ``deployer.telemetry.ingested.Question``).

    Args:
        endpoint: its name.
        endpoint_id: its ARM id.
        across: many workspaces may log to where this is asked.

    Raises:
        TelemetryError: one of them is not what it says.
    """

    shared = False
    learned = 0

    def __init__(self, endpoint: str, endpoint_id: str, *, across: bool) -> None:
        self._endpoint = endpoint_name(endpoint)
        workspace = resource_id(endpoint_id).partition("/onlineEndpoints/")[0]
        # Whether a row's resource is the endpoint or its workspace is not documented, nor how the id is written: either
        # is ours, as ARM writes it, in lower case (as seen) and in upper case (as in the log's envelope). Comparing so
        # costs a tenth of what ignoring the case does.
        ours = " or ".join(
            f"_ResourceId startswith_cs '{one}/' or _ResourceId == '{one}'"
            for one in dict.fromkeys((workspace, workspace.lower(), workspace.upper()))
        )
        self._ours = f" and ({ours})" if across else ""

    def earliest(self, since: datetime) -> datetime:
        """TimeGenerated is when the request came in."""
        return since - LONGEST_REQUEST

    def latest(self, until: datetime) -> datetime:
        """What ends before came in before."""
        return until

    def bars(self, since: datetime, until: datetime, *, block_s: float) -> str:
        """KQL: every answer to users that ended in [since, until), duplicates and our own probes left out."""
        return self._fill(_BARS, since, until, block_ms(block_s))

    def pulse(self, since: datetime, until: datetime) -> str:
        """KQL: what has arrived of [since, until), by minute and deployment."""
        return self._fill(_PULSE, since, until, 60_000, earliest=since)

    def _fill(
        self, question: str, since: datetime, until: datetime, block: int, *, earliest: datetime | None = None
    ) -> str:
        check_order(since, until)
        return question.format(
            endpoint=self._endpoint,
            ours=self._ours,
            probes=PROBES_KQL,
            witness=WITNESS,
            earliest=literal(self.earliest(since) if earliest is None else earliest),
            since=literal(since),
            until=literal(until),
            block_ms=block,
        )

    def read_bars(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Bars:
        """Read what ``bars`` answered; answers that no deployment gave (401, 404) are nobody's, and 1xx are none."""
        cells: list[Cell] = []
        tallies: list[Tally] = []
        untimed = interim = 0
        for row in in_order(columns, rows, _BARS_COLUMNS):
            match row:
                case (start, str() | None as name, int(code), int() | None as model, text):
                    if not name:
                        continue
                    some, tally, lacking = unpack(at_ms(start), name, answer_class(code, model), text)
                case _:
                    raise unreadable(row)
            if is_interim(code):
                interim += tally.rows
                continue
            cells += some
            tallies.append(tally)
            untimed += lacking
        problems = (f"{untimed} answers have no duration",) if untimed else ()
        return Bars(tuple(cells), tuple(tallies), problems, interim=interim)

    def read_pulse(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> tuple[list[Pulse], list[str]]:
        """Read what ``pulse`` answered."""
        pulses: list[Pulse] = []
        for row in in_order(columns, rows, _PULSE_COLUMNS):
            match row:
                case (minute, str() | None as name, n, probes, last, lag):
                    pulse = Pulse(at_ms(minute), name or "", whole(n, 1), whole(probes), at_ms(last), lag_s(lag))
                    pulses.append(pulse)
                case _:
                    raise unreadable(row)
        return pulses, []
