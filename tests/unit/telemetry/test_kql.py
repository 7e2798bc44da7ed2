"""The gate's question in KQL: what may get into it, in which words, and how its answer is read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import duckdb_kql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import TelemetryError
from deployer.gate.samples import AnswerClass, Cell
from deployer.local import traffic_table
from deployer.telemetry.kql import (
    ANSWER_COLUMNS,
    STRETCH,
    Table,
    answer_class,
    histogram,
    read_histogram,
    stretches,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = T0 + timedelta(minutes=5)
AZURE = json.loads((Path(__file__).parents[2] / "doubles/amlonlineendpointtrafficlog.json").read_text())["columns"]
HOSTILE = [
    "",
    "x' | union *",
    "x'|take 1//",
    'x"',
    "x\n| project *",
    "green\n",
    "green\r",
    "x\\",
    "x\\'",
    "-x",
    "x-",
    "a--b",
    "1x",
    "x y",
    "x;y",
    "x\0",
    "xé",
    "\uff58",
    "x\u2028",
    "x\u202e",
    "'; .drop table T",
    "{endpoint}",
    "a" * 65,
]


def tokens(kql: str) -> list[str]:
    """The query as a lexer sees it: a name that broke out of its literal would add tokens."""
    return re.findall(r"'(?:[^'\\\n]|\\.)*'|\w+|[^\w\s]", kql)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_never_gets_into_a_query(name: str) -> None:
    with pytest.raises(TelemetryError) as refused:
        histogram(Table.LIVE, name, T0, T1, block_s=10)
    assert repr(name) in refused.value.message
    assert refused.value.hint


@given(name=st.text(max_size=70) | st.from_regex(r"[a-zA-Z][-a-zA-Z0-9' |\\]{0,9}", fullmatch=True))
def test_any_name_is_refused_or_stays_inside_its_literal(name: str) -> None:
    plain = tokens(histogram(Table.LIVE, "x", T0, T1, block_s=10))
    try:
        named = tokens(histogram(Table.LIVE, name, T0, T1, block_s=10))
    except TelemetryError:
        return
    assert [f"'{name}'" if token == "'x'" else token for token in plain] == named
    assert len(plain) == len(named)


def test_a_table_that_is_none_of_ours_never_gets_into_a_query() -> None:
    with pytest.raises(ValueError, match="AppTraces"):
        histogram("AppTraces", "digits", T0, T1, block_s=10)  # type: ignore[arg-type]


def test_every_column_of_the_query_is_written_as_azure_documents_it() -> None:
    words = set(re.findall(r"[A-Za-z_]\w*", histogram(Table.LIVE, "x", T0, T1, block_s=10)))
    documented = {column.casefold(): column for column in AZURE}
    assert {documented.get(word.casefold(), word) for word in words} == words
    assert words & set(AZURE) == {
        "TimeGenerated",
        "EndpointName",
        "DeploymentName",
        "ResponseCode",
        "ModelStatusCode",
        "TotalDurationMs",
        "XMSClientRequestId",
    }


def test_the_query_names_the_tables_that_the_local_platform_fills() -> None:
    assert set(Table) == {traffic_table.LIVE, traffic_table.SHADOW}


def test_the_query_is_one_that_duckdb_kql_parses_without_complaint() -> None:
    assert duckdb_kql.validate(histogram(Table.SHADOW, "digits", T0, T1, block_s=600)) == []


def test_the_query_says_when_in_utc_and_to_the_microsecond() -> None:
    tokyo = datetime(2026, 1, 1, 9, 0, 0, 1, tzinfo=timezone(timedelta(hours=9)))
    kql = histogram(Table.LIVE, "digits", tokyo, T1, block_s=10)
    assert "Ended >= datetime(2026-01-01T00:00:00.000001Z)" in kql
    assert "Ended < datetime(2026-01-01T00:05:00.000000Z)" in kql


def test_requests_that_came_in_before_the_time_asked_for_and_ended_in_it_are_looked_for() -> None:
    assert "TimeGenerated >= datetime(2025-12-31T23:00:00.000000Z)" in histogram(Table.LIVE, "x", T0, T1, block_s=10)


@pytest.mark.parametrize(("since", "until"), [(T1, T0), (T0.replace(tzinfo=None), T1), (T0, T1.replace(tzinfo=None))])
def test_a_time_that_means_nothing_is_refused(since: datetime, until: datetime) -> None:
    with pytest.raises(TelemetryError):
        histogram(Table.LIVE, "digits", since, until, block_s=10)


@pytest.mark.parametrize("block_s", [0.999, 600.001, 1.00005, -1.0, 0.0, float("nan"), float("inf")])
def test_a_block_is_whole_milliseconds_from_one_second_to_ten_minutes(block_s: float) -> None:
    with pytest.raises(TelemetryError, match=re.escape(str(block_s))):
        histogram(Table.LIVE, "digits", T0, T1, block_s=block_s)


@pytest.mark.parametrize(("block_s", "block_ms"), [(1, 1000), (1.1, 1100), (30.0, 30_000), (600, 600_000)])
def test_a_block_is_written_in_milliseconds(block_s: float, block_ms: int) -> None:
    assert f"{block_ms})" in histogram(Table.LIVE, "digits", T0, T1, block_s=block_s)


@given(
    block_ms=st.integers(1_000, 600_000),
    begin_ms=st.integers(0, 10**12),
    length_ms=st.integers(0, 10**8),
)
def test_stretches_cover_the_time_once_and_cut_no_block(block_ms: int, begin_ms: int, length_ms: int) -> None:
    since = EPOCH + timedelta(milliseconds=begin_ms)
    until = since + timedelta(milliseconds=length_ms)
    parts = stretches(since, until, block_s=block_ms / 1000)
    assert parts[0][0] == since
    assert parts[-1][1] == until
    for (_, end), (start, _) in pairwise(parts):
        assert end == start
        assert (start - EPOCH) % timedelta(milliseconds=block_ms) == timedelta(0)
    longest = max(timedelta(milliseconds=block_ms), 1.5 * STRETCH)
    assert all(end - start <= longest for start, end in parts)


@pytest.mark.parametrize(("since", "until"), [(T0, T1.replace(tzinfo=None)), (T0.replace(tzinfo=None), T1)])
def test_stretches_of_a_time_that_means_nothing_are_refused(since: datetime, until: datetime) -> None:
    with pytest.raises(TelemetryError):
        stretches(since, until, block_s=10)


def test_whole_stretches_are_the_same_whatever_was_asked_for() -> None:
    later = [stretches(T0 + timedelta(seconds=7), T0 + timedelta(minutes=m), block_s=10) for m in (16, 17, 33)]
    assert later[0][:-1] == later[1][:-1] == later[2][: len(later[0]) - 1]


@pytest.mark.parametrize(
    ("code", "model_code", "answer"),
    [
        (424, 408, AnswerClass.TIMEOUT),
        (424, 499, AnswerClass.TIMEOUT),
        (424, 504, AnswerClass.TIMEOUT),
        (424, 429, AnswerClass.THROTTLED),
        (424, 400, AnswerClass.ERROR),
        (424, 200, AnswerClass.ERROR),
        (424, None, AnswerClass.ERROR),
        (200, 429, AnswerClass.OK),
        (200, None, AnswerClass.OK),
        (429, None, AnswerClass.THROTTLED),
    ],
)
def test_the_model_is_heard_where_it_says_more(code: int, model_code: int | None, answer: AnswerClass) -> None:
    assert answer_class(code, model_code) is answer


def test_the_answer_is_read_by_the_names_of_its_columns() -> None:
    columns = ["n", "TotalDurationMs", "ResponseCode", "BlockMs", "ModelStatusCode", "DeploymentName"]
    counted = read_histogram(columns, [[3, 12, 424, 1_767_225_600_000, 500, "green"]])
    assert counted.cells == (Cell(T0, "green", AnswerClass.ERROR, 12, 3),)


def test_answers_without_a_deployment_are_counted_apart() -> None:
    rows = [[1_767_225_600_000, nobody, 404, None, 1, 2] for nobody in ("", None)]
    counted = read_histogram(ANSWER_COLUMNS, rows)
    assert counted.cells == ()
    assert counted.unattributed == 4


def test_answers_without_a_duration_are_kept_and_said() -> None:
    counted = read_histogram(ANSWER_COLUMNS, [[1_767_225_600_000, "blue", 200, 200, None, 2]])
    assert counted.cells == (Cell(T0, "blue", AnswerClass.OK, 0, 2),)
    assert counted.untimed == 2


@pytest.mark.parametrize(
    "row",
    [
        ["2026-01-01", "blue", 200, 200, 12, 1],
        [0, 7, 200, 200, 12, 1],
        [0, "blue", "200", 200, 12, 1],
        [0, "blue", None, 200, 12, 1],
        [0, "blue", 200, "200", 12, 1],
        [0, "blue", 200, 200, 12.5, 1],
        [0, "blue", 200, 200, 12, 0],
        [0, "blue", 200, 200, 12, None],
        [0, "blue", 200, 200, 12],
        [0, "blue", 200, 200, 12, 1, 1],
        [10**40, "blue", 200, 200, 12, 1],
    ],
)
def test_a_row_of_other_types_is_refused_rather_than_guessed(row: list[object]) -> None:
    with pytest.raises(TelemetryError, match="cannot be read"):
        read_histogram(ANSWER_COLUMNS, [row])


def test_an_answer_with_other_columns_is_refused() -> None:
    with pytest.raises(TelemetryError, match="Count"):
        read_histogram(["Count"], [[3]])
