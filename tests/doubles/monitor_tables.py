"""The tables of ``doubles.monitor``: their columns, and rows as Azure and the inference server write them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from doubles.azure.world import GROUP_ID
from doubles.azure.world import WORKSPACE_ID as ML_WORKSPACE

from deployer.local import traffic_table

COMPONENT = f"{GROUP_ID}/providers/Microsoft.Insights/components/ai"

_SQL = {"datetime": "TIMESTAMP", "string": "VARCHAR", "int": "INTEGER", "real": "DOUBLE", "long": "BIGINT"}
_SQL |= {"bool": "BOOLEAN", "dynamic": "JSON"}
_ARROW = {"datetime": pa.timestamp("us"), "string": pa.string(), "int": pa.int32(), "real": pa.float64()}
_ARROW |= {"bool": pa.bool_(), "dynamic": pa.string()}
_APP_REQUESTS = {
    "TimeGenerated": "datetime",
    "Id": "string",
    "Name": "string",
    "Url": "string",
    "Success": "bool",
    "ResultCode": "string",
    "DurationMs": "real",
    "Properties": "dynamic",
    "OperationId": "string",
    "AppRoleName": "string",
    "AppRoleInstance": "string",
    "ItemCount": "int",
    "_ResourceId": "string",
    "Type": "string",
}
"""Some of learn.microsoft.com/azure/azure-monitor/reference/tables/apprequests, with their types."""
_CLASSIC = {
    "timestamp": "TimeGenerated",
    "id": "Id",
    "name": "Name",
    "url": "Url",
    "success": "Success::VARCHAR",  # a string in the classic table
    "resultCode": "ResultCode",
    "duration": "DurationMs",
    "customDimensions": "Properties",
    "operation_Id": "OperationId",
    "cloud_RoleName": "AppRoleName",
    "cloud_RoleInstance": "AppRoleInstance",
    "itemCount": "ItemCount",
}
TABLES = {traffic_table.LIVE: dict(traffic_table.COLUMNS), "AppRequests": _APP_REQUESTS}


def traffic_row(
    endpoint: str,
    ended: datetime,
    deployment: str | None,
    code: int = 200,
    model_code: int | None = None,
    ms: int | None = 10,
) -> dict[str, Any]:
    """One row of AmlOnlineEndpointTrafficLog."""
    by_model = deployment is not None and 200 <= code < 400
    return {
        "TimeGenerated": ended - timedelta(milliseconds=ms or 0),
        "EndpointName": endpoint,
        "DeploymentName": deployment or "",
        "ResponseCode": code,
        "ModelStatusCode": code if by_model and model_code is None else model_code,
        "TotalDurationMs": ms,
        "XRequestId": str(uuid.uuid4()),
        "XMSClientRequestId": "",
        "Method": "POST",
        "Path": "/score",
        "_ResourceId": f"{ML_WORKSPACE}/onlineEndpoints/{endpoint}".lower(),
    }


def app_row(
    ended: datetime, service: str, code: int = 200, ms: int = 10, *, version: str = "1.5.1", **said: Any
) -> dict[str, Any]:
    """One row of AppRequests; ``said``: custom dimensions (None: it is not there)."""
    began = ended - timedelta(milliseconds=ms)
    whole, part = divmod(ms, 1000)
    new = version >= "1.5"
    properties = {
        "Container Id": f"pod-{service}-1",
        "Request Id": str(uuid.uuid4()),
        "Client Request Id": "",
        "name": "/score",
        "url": "http://127.0.0.1:5001/score",
        "start_time": began.replace(tzinfo=None).isoformat() + "Z",
        "duration": f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{part:03}",
        "resultCode": str(code),
        "success": str(code < 400),
        "http_method": "POST",
        "Workspace Name": "ws",
        "Service Name": service,
        **said,
    }
    return {
        "TimeGenerated": ended + timedelta(milliseconds=1) if new else began,
        "Id": uuid.uuid4().hex[:16],
        "Name": "/score",
        "Url": properties["url"],
        "Success": True,
        "ResultCode": "0",
        "DurationMs": 0.0 if new else float(ms),
        "Properties": json.dumps({key: value for key, value in properties.items() if value is not None}),
        "AppRoleName": service,
        "ItemCount": 1,
        "_ResourceId": COMPONENT.lower(),
    }


def create(db: duckdb.DuckDBPyConnection) -> None:
    """Make the tables; the views that are asked are made for each query."""
    for table, columns in TABLES.items():
        made = ", ".join(f'"{name}" {_SQL[kind]}' for name, kind in columns.items())
        db.execute(f'CREATE TABLE {table}_rows ({made}, "_IngestedAt" TIMESTAMP)')


def insert(db: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Mapping[str, Any], datetime]]) -> None:
    """Add rows, each with the moment from which it is visible."""
    wanted = {**TABLES[table], "_IngestedAt": "datetime"}
    full = [{**row, "Type": table, "_IngestedAt": seen} for row, seen in rows]
    columns = [pa.array([_stored(row.get(name)) for row in full], _ARROW[kind]) for name, kind in wanted.items()]
    db.register("incoming", pa.table(columns, names=list(wanted)))
    db.execute(f"INSERT INTO {table}_rows SELECT * FROM incoming")  # noqa: S608
    db.unregister("incoming")


def show(db: duckdb.DuckDBPyConnection, where: str, *, classic: bool) -> None:
    """Make the views as whoever asks sees them; ``classic``: as a component shows its requests."""
    for table in TABLES:
        db.execute(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM {table}_rows WHERE {where}")  # noqa: S608
    db.execute("DROP VIEW IF EXISTS requests")
    if classic:
        shown = ", ".join(f'{old} AS "{new}"' for new, old in _CLASSIC.items())
        db.execute(f'CREATE VIEW requests AS SELECT {shown}, "_IngestedAt" FROM AppRequests')  # noqa: S608


def _stored(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
