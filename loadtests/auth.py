"""What authenticates requests: a key or a token, never on a command line, and renewed while a long load goes on.

Three sources, the first that is there:

- ``DEPLOYER_LOAD_HEADERS_FD``: an open file without a name, written by the process that started this one. It is read
  again every second, so its writer can put a new token into it (``packed`` says how).
- ``DEPLOYER_LOAD_KEY``: the endpoint's key, taken out of the environment at once. The kernel still shows the first
  environment of a process to its own user and to root. Space around it is left out: a secret that was made from a
  file or a pipe ends in a line feed.
- ``--entra``: a Microsoft Entra token by ``azure-identity``, renewed five minutes before it ends.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

SCOPE = "https://ml.azure.com/.default"
"""Audience of scoring requests.

Source: learn.microsoft.com/azure/machine-learning/how-to-authenticate-online-endpoint (read 2026-11-25).
"""
RENEW_S = 300.0
"""Before a token ends."""
MOST_BYTES = 65536
HERE = ("127.0.0.1", "::1", "localhost")


class Credentials:
    """Headers of every request; ``headers`` is secret."""

    def __init__(
        self, environ: MutableMapping[str, str], url: str, *, entra: bool = False, in_clear: bool = False
    ) -> None:
        """Read them.

        Raises:
            ValueError: they would travel unencrypted to another machine, no header may hold them, or there is no
                token.
        """
        self.headers: dict[str, str] = {}
        self._url = url
        self._in_clear = in_clear
        descriptor, key = environ.get("DEPLOYER_LOAD_HEADERS_FD"), environ.pop("DEPLOYER_LOAD_KEY", "").strip()
        self._descriptor = int(descriptor) if descriptor is not None else None
        self._entra: Any = None
        self._ends_at = 0.0
        if self._descriptor is not None:
            if not self._read():
                raise ValueError("the file of headers is not whole")
        elif key:
            self.headers = _sendable({"Authorization": f"Bearer {key}"})
        elif entra:
            self._entra = _entra_credential()
            self._fetch()
        self._check()

    def renew(self) -> str | None:
        """Take what is new; call it about once a second. Returns why a token could not be renewed, without secrets."""
        try:
            if self._descriptor is not None:
                self._read()
            elif self._entra is not None and time.time() > self._ends_at - RENEW_S:
                self._fetch()
        except ValueError as exc:
            return str(exc)
        return None

    def _read(self) -> bool:
        """Every process of the test reads the file for itself; what is half written is left for the next second."""
        found = unpacked(os.pread(self._descriptor or 0, MOST_BYTES, 0))
        if found is None:
            return False
        self.headers, self._in_clear = _sendable(found[0]), found[1]
        return True

    def _fetch(self) -> None:
        try:
            token = self._entra.get_token(SCOPE)
        except Exception as exc:  # whatever azure-identity raises: its text may quote answers, so only its kind is said
            raise ValueError(
                f"no Microsoft Entra token: {type(exc).__name__}; sign in, for example by az login"
            ) from exc
        self.headers = _sendable({"Authorization": f"Bearer {token.token}"})
        self._ends_at = float(token.expires_on)

    def _check(self) -> None:
        parts = urlsplit(self._url)
        if self.headers and parts.scheme != "https" and parts.hostname not in HERE and not self._in_clear:
            raise ValueError(
                f"{parts.scheme}://{parts.hostname} is not encrypted: the key is not sent there; use https"
            )


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    """Refuse here what the HTTP client would refuse at each request, in an error that quotes the secret.

    Raises:
        ValueError: a value holds anything but printable ASCII; it is not quoted.
    """
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the value of {name} holds a control character, or one that is not ASCII: not sent")
    return headers


def packed(headers: dict[str, str], *, in_clear: bool = False) -> bytes:
    """Write headers so that a reader knows whether it has all of them: a checksum, a line feed, JSON, a line feed."""
    content = json.dumps({"headers": headers, "in_clear": in_clear}).encode()
    return b"%08x\n%s\n" % (zlib.crc32(content), content)


def unpacked(content: bytes) -> tuple[dict[str, str], bool] | None:
    """Read what ``packed`` wrote; None while it is not whole. What follows the second line feed is older."""
    parts = content.split(b"\n", 2)
    if len(parts) < 3 or parts[0] != b"%08x" % zlib.crc32(parts[1]):
        return None
    found = json.loads(parts[1])
    return found["headers"], found["in_clear"]


def _entra_credential() -> Any:
    try:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - wanted by this option alone
    except ImportError as exc:
        raise ValueError("--entra needs the package azure-identity") from exc
    return DefaultAzureCredential()
