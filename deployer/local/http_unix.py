"""GET over a Unix socket, for Envoy's administration interface and for probes of model servers."""

from __future__ import annotations

import asyncio
import io
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, cast

_BODY_MAX = 16 << 20


class _Answer:
    """The little that ``HTTPResponse`` needs of a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, *_args: Any) -> io.BytesIO:
        return io.BytesIO(self._raw)


async def fetch(path: Path, target: str, *, method: str = "GET", timeout_s: float = 2.0) -> tuple[int, bytes]:
    """Ask for ``target`` on the socket ``path``; status and body.

    Raises:
        OSError: nobody answers within ``timeout_s``, or what comes is not HTTP.
    """
    try:
        raw = await asyncio.wait_for(_exchange(path, f"{method} {target}"), timeout_s)
        response = HTTPResponse(cast("Any", _Answer(raw)), method=method)
        response.begin()
        return response.status, response.read()
    except (TimeoutError, HTTPException, ValueError) as exc:
        raise OSError(f"{method} {target} on {path.name}: {exc or 'no answer in time'}") from exc


async def _exchange(path: Path, request: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path, limit=_BODY_MAX)
    try:
        writer.write(
            f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
        await writer.drain()
        chunks: list[bytes] = []
        while chunk := await reader.read(1 << 16):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        writer.close()
