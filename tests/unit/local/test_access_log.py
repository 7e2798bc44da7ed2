"""The traffic log: what becomes of a line, how far it is complete, and how KQL reads it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doubles.access_log import T0, Place
from doubles.envoy_log import log_line

from deployer.errors import TelemetryError
from deployer.local import access_log, traffic_table
from deployer.local.access_log import LAG

AZURE = json.loads((Path(__file__).parents[2] / "doubles/amlonlineendpointtrafficlog.json").read_text())["columns"]
KUSTO_TYPES = {"TIMESTAMP": "datetime", "VARCHAR": "string", "INTEGER": "int", "DOUBLE": "real"}


def changed(**other: Any) -> str:
    """A line in which some values are not what Envoy writes."""
    return json.dumps(json.loads(log_line(T0)) | other) + "\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.log.close()


@pytest.mark.parametrize("table", [traffic_table.LIVE, traffic_table.SHADOW])
def test_the_tables_have_azures_columns_in_azures_case_with_azures_types(place: Place, table: str) -> None:
    place.log.poll()
    rows = place.log._store.reader().execute(f"DESCRIBE {table}").fetchall()
    assert {name: KUSTO_TYPES[kind] for name, kind, *_ in rows} == AZURE


def test_a_line_becomes_a_row_as_azure_would_write_it(place: Place) -> None:
    other = {"user_agent": "curl/8", "client_request_id": "c-1", "request_id": "r-1", "request_ms": 1, "response_ms": 9}
    place.write(log_line(T0, "blue", ms=12, **other))
    answer = place.log.query(traffic_table.LIVE)
    (row,) = answer["rows"]
    assert dict(zip(answer["columns"], row, strict=True)) == {
        "TimeGenerated": "2025-12-31T23:59:59.988000+00:00",  # when the request came in
        "EndpointName": "digits",
        "DeploymentName": "blue",
        "ResponseCode": 200,
        "ResponseCodeReason": "via_upstream",
        "ModelStatusCode": 200,
        "ModelStatusReason": "",
        "TotalDurationMs": 12,
        "RequestDurationMs": 1,
        "ResponseDurationMs": 9,
        "RequestThrottlingDelayMs": 0,
        "ResponseThrottlingDelayMs": 0,
        "RequestPayloadSize": 17,
        "ResponsePayloadSize": 23,
        "Method": "POST",
        "Path": "/score",
        "Protocol": "HTTP/1.1",
        "UserAgent": "curl/8",
        "XRequestId": "r-1",
        "XMSClientRequestId": "c-1",
        "AuthType": "Key",
        "IdentityData": "",
        "AzureMLWorkspaceId": "",
        "AzureMLWorkspaceName": "",
        "Location": "local",
        "OperationName": "",
        "SourceSystem": "deployer",
        "TenantId": "",
        "Type": "AmlOnlineEndpointTrafficLog",
        "_BilledSize": 0.0,
        "_IsBillable": "false",
        "_ResourceId": "",
        "_SubscriptionId": "",
    }


@pytest.mark.parametrize(
    ("line", "code", "model_code"),
    [
        ({"code": 424, "model_code": 500}, 424, 500),
        ({"code": 201, "details": "via_upstream"}, 201, 201),
        ({"code": 408, "details": "response_timeout"}, 408, None),
        ({"code": 0, "details": "downstream_remote_disconnect", "request_ms": None, "duration_us": None}, 0, None),
    ],
)
def test_the_models_code_is_told_from_the_routers(
    place: Place, line: dict[str, Any], code: int, model_code: int | None
) -> None:
    place.write(log_line(T0, "blue", **line))
    query = f"{traffic_table.LIVE} | project ResponseCode, ModelStatusCode"
    assert place.log.query(query)["rows"] == [[code, model_code]]


def test_mirrored_answers_are_in_a_table_of_their_own(place: Place) -> None:
    place.write(log_line(T0, "green"), mirrored=True)
    assert place.count(traffic_table.SHADOW) == 1
    assert place.count() == 0


@pytest.mark.parametrize(
    "text", ["\ud83d", "né", "\0", "'; DROP TABLE x --", "a\tb", "\u2028", '"', "x" * 5000, "💥", "\x1b[31m"]
)
def test_whatever_a_client_sends_is_one_row(place: Place, text: str) -> None:
    place.write(log_line(T0, "blue", user_agent=text, path=f"/{text}", client_request_id=text))
    answer = place.log.query(f"{traffic_table.LIVE} | project UserAgent, Path")
    assert len(answer["rows"]) == 1
    assert answer["incidents"] == []
    json.dumps(answer).encode()


@pytest.mark.parametrize(
    "line",
    [
        "\n",
        "nonsense\n",
        "{}\n",
        "[]\n",
        "null\n",
        "\0\0\0\0\n",
        '{"start": 1}\n',
        "[" * 100_000 + "\n",
        changed(code="200"),
        changed(code=True),
        changed(code=None),
        changed(duration_ms=1.5),
        changed(duration_ms=float("nan")),
        changed(deployment=["blue"]),
        changed(model_code="abc"),
        changed(start="2026-01-01T00:00:00"),
        changed(start="2026-01-01T00:00:00+02:00"),
        changed(start="yesterday"),
        changed(start=None),
        log_line(T0)[:-20] + "\n",
    ],
)
def test_a_line_that_cannot_be_read_is_counted_and_stops_nothing(place: Place, line: str) -> None:
    place.clock.advance(10)
    place.write(log_line(T0) + line + log_line(T0))
    assert place.log.poll() == 2
    (incident,) = place.log.query("print 1")["incidents"]
    assert "live.log could not be read" in incident["text"]
    assert datetime.fromisoformat(incident["until"]) == place.clock.now()


def test_unreadable_lines_one_after_the_other_are_one_incident(place: Place) -> None:
    place.log.poll()
    for _ in range(3):
        place.clock.advance(0.1)
        place.write("nonsense\n")
        place.log.poll()
    place.clock.advance(100)
    place.log.poll()
    place.write("nonsense\n")
    near, far = place.log.query("print 1")["incidents"]
    assert near["text"].endswith("(3 times)")
    assert datetime.fromisoformat(near["since"]) == T0 - LAG
    assert datetime.fromisoformat(far["since"]) == T0 + timedelta(seconds=100.3) - LAG


def test_very_many_unreadable_lines_are_one_incident_too(place: Place) -> None:
    place.write("\n" * 300_000 + log_line(T0))
    assert place.log.poll() == 1
    (incident,) = place.log.query("print 1")["incidents"]
    assert incident["text"].endswith("(300000 times)")


def test_sizes_beyond_what_azure_can_hold_are_cut(place: Place) -> None:
    place.write(log_line(T0, bytes_in=2**40))
    assert place.log.query(f"{traffic_table.LIVE} | project RequestPayloadSize")["rows"] == [[2**31 - 1]]


def test_everything_that_ended_a_moment_ago_is_complete(place: Place) -> None:
    answer = place.log.query("print 1")
    assert datetime.fromisoformat(answer["complete_until"]) == T0 - LAG
    assert answer["problem"] is None


def test_completeness_waits_for_the_rest_of_a_line(place: Place) -> None:
    line = log_line(T0)
    place.write(line[:40])
    assert place.log.query("print 1")["complete_until"] is None
    place.clock.advance(1)
    place.write(line[40:])
    assert datetime.fromisoformat(place.log.query("print 1")["complete_until"]) == T0 + timedelta(seconds=1) - LAG
    assert place.count() == 1


def test_a_line_that_stays_unfinished_becomes_a_problem(place: Place) -> None:
    place.log.poll()
    place.write(log_line(T0)[:40])
    place.clock.advance(2)
    assert place.log.query("print 1")["problem"] is None
    place.clock.advance(10)
    answer = place.log.query("print 1")
    assert "not finished" in answer["problem"]
    assert datetime.fromisoformat(answer["complete_until"]) == T0 - LAG


def test_the_wall_clock_set_back_takes_completeness_back_and_is_said(place: Place) -> None:
    place.write(log_line(T0))
    place.log.poll()
    place.clock.advance(-3600)
    answer = place.log.query("print 1")
    assert datetime.fromisoformat(answer["complete_until"]) <= place.clock.now()
    (incident,) = answer["incidents"]
    assert "set back" in incident["text"]
    assert datetime.fromisoformat(incident["until"]) == T0


def test_rows_from_the_future_claim_nothing(place: Place) -> None:
    for mirrored in (False, True):
        place.write(log_line(T0 + timedelta(hours=1)), mirrored=mirrored)
    assert datetime.fromisoformat(place.log.query("print 1")["complete_until"]) == T0 - LAG


@pytest.mark.parametrize(
    ("kql", "said"),
    [
        ("AmlOnlineEndpointTrafficLog | wherex", "could not parse"),
        ("Nothing | take 1", "Nothing"),
        ("AmlOnlineEndpointTrafficLog | where Nope == 1", "Nope"),
        (".set X <| AmlOnlineEndpointTrafficLog", "writes are disabled"),
        (".drop table AmlOnlineEndpointTrafficLog", ""),
        ("externaldata(a:string)['/etc/passwd']", "externaldata"),
        ("print " + "(" * 3000 + "1" + ")" * 3000, ""),
        ("", ""),
    ],
)
def test_a_query_that_is_wrong_or_writes_is_refused_and_harms_nothing(place: Place, kql: str, said: str) -> None:
    place.write(log_line(T0))
    with pytest.raises(TelemetryError) as refused:
        place.log.query(kql)
    assert said in refused.value.message
    assert place.count() == 1


def test_every_kind_of_value_is_json(place: Place) -> None:
    kql = "print a=1s, b=real(nan), c=dynamic([1,{'x':2}]), d=datetime(2026-01-01), e=true, f=decimal(1.5), g=now()"
    answer = place.log.query(kql)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert answer["rows"][0][1] is None
    assert answer["rows"][0][3] == "2026-01-01T00:00:00+00:00"


def test_an_answer_of_too_many_rows_is_cut_and_said(place: Place) -> None:
    answer = place.log.query(f"range x from 0 to {access_log.ROWS_MAX} step 1")
    assert len(answer["rows"]) == access_log.ROWS_MAX
    assert "partial" in answer["problem"]


def test_a_query_that_takes_too_long_is_broken_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "QUERY_S", 0.2)
    place.write(log_line(T0) * 5000)
    rows = f"{traffic_table.LIVE} | project EndpointName"
    endless = f"{rows} | join kind=inner ({rows}) on EndpointName | join kind=inner ({rows}) on EndpointName | count"
    with pytest.raises(TelemetryError, match="took over"):
        place.log.query(endless)
    assert place.log.query("print 1")["rows"] == [[1]]


def test_old_answers_are_dropped_and_that_is_said(tmp_path: Path) -> None:
    place = Place(tmp_path, keep=timedelta(hours=1))
    place.write(log_line(T0, "old", ms=0) + log_line(T0 + timedelta(minutes=30), "young", ms=0))
    place.log.poll()
    assert place.count() == 2
    place.clock.advance(5400 - 60)
    answer = place.log.query(f"{traffic_table.LIVE} | project DeploymentName")
    assert answer["rows"] == [["young"]]
    (incident,) = answer["incidents"]
    assert datetime.fromisoformat(incident["until"]) == T0 + timedelta(minutes=29)
    place.log.close()


def test_the_oldest_minutes_are_dropped_when_there_are_too_many_answers(tmp_path: Path) -> None:
    place = Place(tmp_path, keep_rows=100)
    for minute in range(5):
        place.write(log_line(T0 + timedelta(minutes=minute), f"d{minute}", ms=0) * 40)
    place.clock.advance(600)
    place.log.poll()
    place.clock.advance(61)
    answer = place.log.query(
        f"{traffic_table.LIVE} | summarize n = count() by DeploymentName | sort by DeploymentName asc"
    )
    assert answer["rows"] == [["d3", 40], ["d4", 40]]
    assert "keeps no older" in answer["incidents"][0]["text"]
    place.clock.advance(61)
    assert len(place.log.query("print 1")["incidents"]) == 1
    place.log.close()


def test_polling_and_asking_from_many_threads_counts_every_answer_once(place: Place) -> None:
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            place.log.poll()

    def ask() -> list[int]:
        return [place.count() for _ in range(10)]

    with ThreadPoolExecutor(3) as threads:
        polling, *asking = (threads.submit(work) for work in (poll, ask, ask))
        for _ in range(50):
            place.write(log_line(T0) * 10)
        try:
            for asked in asking:
                assert asked.result() == sorted(asked.result())
        finally:
            stop.set()
        polling.result()
    assert place.count() == 500


def test_after_close_it_can_go_on(place: Place) -> None:
    place.write(log_line(T0))
    assert place.log.poll() == 1
    place.log.close()
    place.write(log_line(T0))
    assert place.log.poll() == 1
    assert place.count() == 2
