"""The tables that answers are kept in: Azure's columns, and which key of Envoy's access log fills each.

Nothing here touches a file or a database. What Azure fills in and this platform has no counterpart for is empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs] (it ships no types)

_arrow: Any = pa

LIVE = "AmlOnlineEndpointTrafficLog"
"""Answers to users."""
SHADOW = "AmlOnlineEndpointShadowLog"
"""Answers to mirrored requests, which no user saw. Ours: whether and where Azure logs them is not documented."""

COLUMNS = {
    "TimeGenerated": "datetime",
    "EndpointName": "string",
    "DeploymentName": "string",
    "ResponseCode": "int",
    "ResponseCodeReason": "string",
    "ModelStatusCode": "int",
    "ModelStatusReason": "string",
    "TotalDurationMs": "int",
    "RequestDurationMs": "int",
    "ResponseDurationMs": "int",
    "RequestThrottlingDelayMs": "int",
    "ResponseThrottlingDelayMs": "int",
    "RequestPayloadSize": "int",
    "ResponsePayloadSize": "int",
    "Method": "string",
    "Path": "string",
    "Protocol": "string",
    "UserAgent": "string",
    "XRequestId": "string",
    "XMSClientRequestId": "string",
    "AuthType": "string",
    "IdentityData": "string",
    "AzureMLWorkspaceId": "string",
    "AzureMLWorkspaceName": "string",
    "Location": "string",
    "OperationName": "string",
    "SourceSystem": "string",
    "TenantId": "string",
    "Type": "string",
    "_BilledSize": "real",
    "_IsBillable": "string",
    "_ResourceId": "string",
    "_SubscriptionId": "string",
}
"""Names and Kusto types, as documented. TimeGenerated is when the request came in, TotalDurationMs how long until the
last byte of the answer or until the client hung up (ResponseCode 0: it hung up before there was an answer).

Source: learn.microsoft.com/azure/azure-monitor/reference/tables/amlonlineendpointtrafficlog (read 2026-11-22).
"""

_SQL_TYPES = {"datetime": "TIMESTAMP", "string": "VARCHAR", "int": "INTEGER", "real": "DOUBLE"}
_ARROW_TYPES = {"datetime": _arrow.timestamp("us"), "string": _arrow.string(), "int": _arrow.int32()}

_SAME_IN_EVERY_ROW: dict[str, str | int | float] = {
    "ModelStatusReason": "",
    "RequestThrottlingDelayMs": 0,
    "ResponseThrottlingDelayMs": 0,
    "IdentityData": "",
    "AzureMLWorkspaceId": "",
    "AzureMLWorkspaceName": "",
    "Location": "local",
    "OperationName": "",
    "SourceSystem": "deployer",
    "TenantId": "",
    "_BilledSize": 0.0,
    "_IsBillable": "false",
    "_ResourceId": "",
    "_SubscriptionId": "",
}


def _moment(value: Any) -> datetime:
    at = datetime.fromisoformat(value)
    if at.utcoffset() != timedelta(0):
        raise ValueError(f"{value!r} is not UTC")
    return at.replace(tzinfo=None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    # Clients may put anything into a header; half of a surrogate pair is valid JSON and no valid text.
    return value if value.isascii() else value.encode(errors="replace").decode()


def _count(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return min(value, 2**31 - 1)


def _count_or_none(value: Any) -> int | None:
    return None if value is None else _count(value)


_KEYS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "TimeGenerated": ("start", _moment),
    "DeploymentName": ("deployment", _text),
    "ResponseCode": ("code", _count),
    "ResponseCodeReason": ("details", _text),
    "ModelStatusCode": ("model_code", _count_or_none),
    "TotalDurationMs": ("duration_ms", _count),
    "RequestDurationMs": ("request_ms", _count_or_none),
    "ResponseDurationMs": ("response_ms", _count_or_none),
    "RequestPayloadSize": ("bytes_in", _count),
    "ResponsePayloadSize": ("bytes_out", _count),
    "Method": ("method", _text),
    "Path": ("path", _text),
    "Protocol": ("protocol", _text),
    "UserAgent": ("user_agent", _text),
    "XRequestId": ("request_id", _text),
    "XMSClientRequestId": ("client_request_id", _text),
    "AuthType": ("auth", _text),
}
_SCHEMA = _arrow.schema([(column, _ARROW_TYPES[COLUMNS[column]]) for column in _KEYS])


def rows_of(table: str) -> str:
    """Name of the table under the view ``table``: it holds what differs from row to row."""
    return f"{table}_rows"


def create_sql(table: str) -> str:
    """SQL that makes what is under the view ``table``, unless it exists."""
    columns = ", ".join(f"{name} {kind}" for name, kind in columns_under().items())
    return f"CREATE TABLE IF NOT EXISTS {rows_of(table)} ({columns})"


def view_sql(table: str, endpoint: str) -> str:
    """SQL that makes the view ``table``, which has all of ``COLUMNS``."""
    constants = {"EndpointName": endpoint, "Type": table, **_SAME_IN_EVERY_ROW}
    selected = ", ".join(
        f"{_literal(constants[name])}::{_SQL_TYPES[kind]} AS {name}" if name in constants else name
        for name, kind in COLUMNS.items()
    )
    return f"CREATE OR REPLACE VIEW {table} AS SELECT {selected} FROM {rows_of(table)}"  # noqa: S608 (values are quoted)


def columns_under() -> dict[str, str]:
    """Names and SQL types of the table under a view."""
    return {name: _SQL_TYPES[COLUMNS[name]] for name in _KEYS}


def _literal(value: str | float) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def read_line(line: bytes) -> tuple[object, ...]:
    """Turn one line of Envoy's access log into a row of what differs from answer to answer.

    Raises:
        ValueError: it is not a line as Envoy was told to write it.
    """
    try:
        entry = json.loads(line)
        code = entry["model_code"]
        if code is None and entry["details"] == "via_upstream":
            code = entry["code"]  # the model's answer went through as it was
        entry["model_code"] = int(code) if isinstance(code, str) else code
        return tuple(read(entry[key]) for key, read in _KEYS.values())
    except (KeyError, TypeError, RecursionError) as exc:
        raise ValueError(f"no line of the access log: {exc}") from exc


def arrow_table(rows: Sequence[tuple[object, ...]]) -> Any:
    """Rows of ``read_line`` as a ``pyarrow.Table``: what DuckDB takes in bulk."""
    columns = zip(*rows, strict=True)
    arrays = [_arrow.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return _arrow.Table.from_arrays(arrays, schema=_SCHEMA)
