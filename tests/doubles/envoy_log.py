"""Lines as Envoy 1.40 writes them for this platform (keys: ``ACCESS_LOG`` in deployer/local/envoy_config.py)."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any


def log_line(
    ended: datetime,
    deployment: str | None = "blue",
    *,
    code: int = 200,
    ms: int = 10,
    model_code: int | None = None,
    **other: Any,
) -> str:
    """One request that ended at ``ended``: keys in alphabetical order, what does not exist is null."""
    by_model = deployment is not None and (model_code is not None or 200 <= code < 400)
    entry = {
        "auth": "Key",
        "bytes_in": 17,
        "bytes_out": 23,
        "client_request_id": None,
        "code": code,
        "deployment": deployment,
        "details": "via_upstream" if by_model else "direct_response",
        "duration_ms": ms,
        "duration_us": ms * 1000,
        "end": _stamp(ended),
        "flags": "-",
        "instance": deployment and f"{deployment}-0",
        "method": "POST",
        "model_code": None if model_code in (None, code) else str(model_code),
        "path": "/score",
        "pinned": None,
        "protocol": "HTTP/1.1",
        "request_id": str(uuid.uuid4()),
        "request_ms": 0,
        "response_ms": ms,
        "start": _stamp(ended - timedelta(milliseconds=ms)),
        "user_agent": "python-httpx/0.28",
    }
    return json.dumps(entry | other) + "\n"


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
