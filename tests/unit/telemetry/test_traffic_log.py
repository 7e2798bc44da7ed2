"""The traffic log's questions: what may get into them, and that nothing but they decide what is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb_kql
import pytest
from doubles.monitor import WORKSPACE_ID
from doubles.monitor_tables import COMPONENT, ML_WORKSPACE
from doubles.monitor_world import T0, MonitorWorld, monitor_world
from hypothesis import given
from hypothesis import strategies as st
from unit.telemetry.scenario import Answer, canary, read, verdict, write

from deployer.cloud.clouds import find_cloud
from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass, Cell
from deployer.gate.verdict import Result, Verdict
from deployer.local.traffic_table import COLUMNS
from deployer.telemetry.app_insights import AppInsightsQuestion
from deployer.telemetry.kql import PROBES, WITNESS
from deployer.telemetry.log_analytics import LogAnalytics
from deployer.telemetry.traffic_log import TrafficLogQuestion

T1 = T0 + timedelta(minutes=5)
ENDPOINT = f"{ML_WORKSPACE}/onlineEndpoints/digits"
BARS = ["BlockMs", "DeploymentName", "ResponseCode", "ModelStatusCode", "Bars"]
PULSE = ["MinuteMs", "DeploymentName", "Rows", "Probes", "LastMs", "LagMs"]
MS = int(T0.timestamp()) * 1000


def question(endpoint: str = "digits", endpoint_id: str = ENDPOINT) -> TrafficLogQuestion:
    return TrafficLogQuestion(endpoint, endpoint_id, across=True)


def tokens(kql: str) -> list[str]:
    """The query as a lexer sees it: a name that broke out of its literal would add tokens."""
    return re.findall(r"'(?:[^'\\\n]|\\.)*'|\w+|[^\w\s]", kql)


def texts(asked: Any) -> list[str]:
    return [asked.bars(T0, T1, block_s=10), asked.pulse(T0, T1)]


@given(name=st.text(max_size=40) | st.from_regex(r"[a-zA-Z][-a-zA-Z0-9' |\\]{0,9}", fullmatch=True))
def test_any_name_of_an_endpoint_is_refused_or_stays_inside_its_literal(name: str) -> None:
    try:
        named = texts(question(name))
    except TelemetryError:
        return
    for plain, other in zip(texts(question("x")), named, strict=True):
        assert [f"'{name}'" if token == "'x'" else token for token in tokens(plain)] == tokens(other)


@given(tail=st.text(max_size=20) | st.from_regex(r"[-a-zA-Z0-9'/ |\\]{0,9}", fullmatch=True))
def test_any_resource_id_is_refused_or_stays_inside_its_literals(tail: str) -> None:
    arm_id = f"/subscriptions/{tail}"
    for make in (
        lambda: question(endpoint_id=arm_id),
        lambda: AppInsightsQuestion("digits", arm_id, across=True),
    ):
        try:
            named = texts(make())
        except TelemetryError:
            continue
        for kql in named:
            literals = set(re.findall(r"'[^'\n]*'", kql))
            ours = {f"'{one}{end}'" for one in (arm_id, arm_id.lower(), arm_id.upper()) for end in ("", "/")}
            assert literals & ours
            assert "'" not in re.sub(r"'[^'\n]*'", "", kql)
            assert set("'\\\n\r").isdisjoint(tail)


def test_every_column_is_written_as_azure_documents_it() -> None:
    documented = {column.casefold(): column for column in COLUMNS}
    for kql in texts(question()):
        words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"'[^']*'", "", kql)))
        assert {documented.get(word.casefold(), word) for word in words} == words


def test_the_engine_of_the_tests_parses_all_questions_without_complaint() -> None:
    for kql in (*texts(question()), *texts(AppInsightsQuestion("digits", COMPONENT, across=True))):
        assert duckdb_kql.validate(kql) == []


def test_our_own_requests_are_left_out_by_name() -> None:
    (bars, pulse) = texts(question())
    for kql in (bars, pulse):
        assert all(f"'{name}'" in kql for name in (*PROBES, WITNESS))


@pytest.mark.parametrize(("since", "until"), [(T1, T0), (T0.replace(tzinfo=None), T1), (T0, T1.replace(tzinfo=None))])
def test_a_time_that_means_nothing_is_refused(since: datetime, until: datetime) -> None:
    with pytest.raises(TelemetryError):
        question().bars(since, until, block_s=10)


def test_packed_bars_become_cells() -> None:
    rows = [[MS, "blue", 200, 200, "12*3 13*1"], [MS, "green", 424, 500, "7*2"], [MS, "", 404, None, "1*9"]]
    read = question().read_bars(BARS, rows)
    assert read.cells == (
        Cell(T0, "blue", AnswerClass.OK, 12, 3),
        Cell(T0, "blue", AnswerClass.OK, 13, 1),
        Cell(T0, "green", AnswerClass.ERROR, 7, 2),
    )
    assert [(tally.deployment, tally.rows, tally.failed) for tally in read.tallies] == [("blue", 4, 0), ("green", 2, 2)]
    assert read.problems == ()


def test_a_row_of_an_interim_code_is_no_answer() -> None:
    """Microsoft's own query for failed requests leaves out ResponseCode 100, so there are such rows: see is_interim."""
    read = question().read_bars(BARS, [[MS, "blue", 200, 200, "12*3"], [MS, "blue", 100, None, "-1*2"]])
    assert read.cells == (Cell(T0, "blue", AnswerClass.OK, 12, 3),)
    assert [tally.rows for tally in read.tallies] == [3]
    assert (read.interim, read.problems) == (2, ())


def judged(tmp_path: Path, answers: list[Answer], *, every: int) -> Verdict:
    """What the gate says where there is a row of an interim code for each ``every`` answers."""
    with monitor_world(tmp_path) as world:
        write(world, answers + [replace(answer, code=100) for answer in answers[::every]])
        return verdict(read(world))


def test_a_few_rows_of_an_interim_code_keep_nobody_from_a_pass(tmp_path: Path) -> None:
    assert judged(tmp_path, canary(), every=200).result is Result.PASS


def test_with_more_of_them_the_gate_is_blind_and_says_why(tmp_path: Path) -> None:
    said = judged(tmp_path, canary(), every=50)
    assert said.result is Result.BLIND
    assert "rows hold a code below 200" in said.text


def test_a_candidate_that_breaks_fails_beside_any_number_of_them(tmp_path: Path) -> None:
    assert judged(tmp_path, canary(errors=0.9), every=1).result is Result.FAIL


def test_answers_without_a_duration_are_kept_and_said() -> None:
    read = question().read_bars(BARS, [[MS, "blue", 200, 200, "-1*2 5*1"]])
    assert read.problems == ("2 answers have no duration",)
    assert sum(cell.n for cell in read.cells) == 3


@pytest.mark.parametrize(
    "row",
    [
        ["2026-01-01", "blue", 200, 200, "12*3"],
        [-1, "blue", 200, 200, "12*3"],
        [10**16, "blue", 200, 200, "12*3"],
        [MS, 7, 200, 200, "12*3"],
        [MS, "blue", None, 200, "12*3"],
        [MS, "blue", 200.0, 200, "12*3"],
        [MS, "blue", 200, "200", "12*3"],
        [MS, "blue", 200, 200, ""],
        [MS, "blue", 200, 200, None],
        [MS, "blue", 200, 200, "12"],
        [MS, "blue", 200, 200, "12*0"],
        [MS, "blue", 200, 200, "12*-3"],
        [MS, "blue", 200, 200, "-2*3"],
        [MS, "blue", 200, 200, "nan*3"],
        [MS, "blue", 200, 200, "12*3  13*1"],
        [MS, "blue", 200, 200],
        [MS, "blue", 200, 200, "12*3", 1],
    ],
)
def test_a_row_of_other_types_is_refused_rather_than_guessed(row: list[object]) -> None:
    with pytest.raises((TelemetryError, ValueError)):
        question().read_bars(BARS, [row])


@pytest.mark.parametrize("lag", ["NaN", float("nan"), float("inf"), "1"])
def test_a_lateness_that_is_none_is_refused(lag: object) -> None:
    with pytest.raises((TelemetryError, ValueError)):
        question().read_pulse(PULSE, [[MS, "blue", 3, 0, MS, lag]])


def test_lateness_may_be_unknown() -> None:
    ((pulse,), problems) = question().read_pulse(PULSE, [[MS, None, 3, 1, MS, None]])
    assert (pulse.deployment, pulse.lag_s, pulse.probes, problems) == ("", None, 1, [])


def test_an_answer_with_other_columns_is_refused() -> None:
    with pytest.raises(TelemetryError, match="Count"):
        question().read_bars(["Count"], [[3]])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[MonitorWorld]:
    with monitor_world(tmp_path) as world:
        world.clock.advance(1800)
        yield world


@pytest.mark.azure
@pytest.mark.parametrize("microsecond", [0, 1, 500_000, 999_999])
def test_the_time_span_sent_beside_a_query_never_cuts_off_what_the_query_asks_for(
    world: MonitorWorld, microsecond: int
) -> None:
    until = world.clock.now() - timedelta(minutes=1) + timedelta(microseconds=microsecond)
    world.telemetry.fetch(T0 + timedelta(microseconds=microsecond), until, block_s=10)
    world.app_insights().fetch(T0 + timedelta(microseconds=microsecond), until, block_s=10)
    queries = [one.body for one in world.monitor.asked if one.kind == "query"]
    assert len(queries) >= 4
    for body in queries:
        since, end = (datetime.fromisoformat(text) for text in body["timespan"].split("/"))
        named = re.search(
            r"(?:TimeGenerated|timestamp) >= datetime\((.+?)\) and \S+ < datetime\((.+?)\)", body["query"]
        )
        assert named is not None
        assert since <= datetime.fromisoformat(named[1])
        assert datetime.fromisoformat(named[2]) <= end


@pytest.mark.azure
def test_what_has_settled_is_not_asked_again_and_late_rows_of_the_rest_are_found(world: MonitorWorld) -> None:
    for second in (10, 1700):
        world.monitor.traffic(T0 + timedelta(seconds=second), "blue")
    world.telemetry.fetch(T0, world.clock.now(), block_s=10)
    first = sum("make_list" in str(one.body) for one in world.monitor.asked)
    for second in (20, 1710):
        world.monitor.traffic(T0 + timedelta(seconds=second), "blue", delay_s=0)
    samples = world.telemetry.fetch(T0, world.clock.now(), block_s=10)
    again = sum("make_list" in str(one.body) for one in world.monitor.asked) - first
    assert (first, again) == (2, 1)
    assert sum(cell.n for cell in samples.cells) == 3


@pytest.mark.azure
def test_a_token_is_asked_for_the_clouds_own_logs_and_arm(world: MonitorWorld) -> None:
    world.telemetry.fetch(T0, world.clock.now(), block_s=10)
    assert set(world.tokens.scopes) == {f"{world.address}/.default"}
    assert world.monitor.asked[-1].path == f"/v1/workspaces/{WORKSPACE_ID}/query"
    assert world.monitor.asked[-1].headers["prefer"] == "wait=60"


@pytest.mark.azure
@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("AzureCloud", "https://api.loganalytics.io"),
        ("AzureUSGovernment", "https://api.loganalytics.us"),
        ("AzureChinaCloud", "https://api.loganalytics.azure.cn"),
    ],
)
def test_each_cloud_has_logs_of_its_own(world: MonitorWorld, name: str, host: str) -> None:
    logs = LogAnalytics(find_cloud(name, {}), world.tokens, world.clock, workspace_id=WORKSPACE_ID, resource_id="")
    client = logs._connect()
    assert client._endpoint == host
    assert client._config.credential_scopes == [f"{host}/.default"]


def test_a_cloud_without_logs_is_refused_at_once() -> None:
    cloud = find_cloud("AzureCloud", {})
    silent = type(cloud)("Mine", "https://a", "https://b", "", "", ())
    with pytest.raises(TelemetryError, match="does not say where logs are asked") as refused:
        LogAnalytics(silent, None, None, workspace_id=None, resource_id="")  # type: ignore[arg-type]
    assert refused.value.hint.endswith(".")
