"""Journals as files: append-only JSON lines, synced, each line chained to the one before by its hash.

A crash can tear the last line only; it is dropped on reading and overwritten by the next append. Anything else that
does not match its hash was changed by somebody, and is an error. Nobody writes over another run's lines: a run that
was taken over and does not know it yet may come with a late event, and is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep  # noqa: TID251 - locks are other processes': no Clock of a rollout moves them
from typing import Any, BinaryIO, cast

from deployer.errors import StoreError
from deployer.manifest.secrecy import record_without_secrets
from deployer.ports.store import Entry
from deployer.stores import deltas
from deployer.writing import write_whole

GENESIS = "0" * 64
LOCK_S = 2.0
"""How long a lock that somebody else holds is waited for: a write takes milliseconds."""
CHAIN = 40
"""Pieces of evidence that are written one after another as what each adds, before one is written whole again."""


class JournalChangedError(StoreError):
    """A line of a journal does not match its hash: somebody changed it, and it proves nothing from there on."""


class FileJournal:
    """Journals of one endpoint, one file a rollout, in ``folder`` (made on the first append, mode 0700)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: dict[str, tuple[int, str]] = {}
        self._latest: dict[str, tuple[str, bytes, int]] = {}
        """The latest evidence of each rollout: its name, its content, and how many before it are needed to read it."""

    def append(self, rollout_id: str, entry: Entry) -> None:
        """Add one entry durably, or not at all; what has the form of a secret is left out of its texts."""
        path = self._path(rollout_id)
        body = {"at": entry.at.isoformat(), "actor": entry.actor, "event": record_without_secrets(dict(entry.event))}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = 0 if rollout_id in self._last else os.O_CREAT
            with os.fdopen(os.open(path, os.O_RDWR | new, 0o600), "r+b") as file:
                with suppress(OSError, ImportError):  # where it cannot be locked, comparing its end remains
                    _lock(file)
                size, last = self._where_it_ends(rollout_id, file)
                body["prev"] = last
                body["hash"] = digest = _digest(body)
                line = json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"
                file.truncate(size)
                file.seek(size)
                try:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
        except FileNotFoundError as exc:
            raise self._lost(rollout_id) from exc
        except OSError as exc:
            raise StoreError(
                f"cannot write the journal {path}: {exc.strerror or exc}",
                hint="Free disk space or set DEPLOYER_HOME to a writable folder.",
            ) from exc
        self._last[rollout_id] = (size + len(line), digest)

    def _where_it_ends(self, rollout_id: str, file: BinaryIO) -> tuple[int, str]:
        """Size and last hash of the whole lines in ``file``; where this journal wrote before, no others may follow.

        Raises:
            StoreError: another process wrote since, or the file is another one. It is left as it is.
        """
        known = self._last.get(rollout_id)
        if known is None:
            return self._end(rollout_id)
        size, last = known
        ending = f'"hash":"{last}"}}\n'.encode()
        file.seek(max(size - len(ending), 0))
        end, torn = file.read(len(ending)), file.read()
        if end != ending:
            raise self._lost(rollout_id)
        if b"\n" in torn:
            raise StoreError(
                f"the journal {self._path(rollout_id)} was written by another run since, and is left as it is",
                hint="Look at `deployer status`: another run owns the rollout now.",
            )
        return known

    def _lost(self, rollout_id: str) -> StoreError:
        return StoreError(
            f"the journal {self._path(rollout_id)} is gone or was replaced while its rollout ran",
            hint="Leave journals where they are until their rollouts end.",
        )

    def read(self, rollout_id: str) -> Sequence[Entry]:
        """Return all whole entries in order."""
        return [entry for entry, _, _ in self._lines(rollout_id)]

    def rollouts(self) -> Sequence[str]:
        """Ids of all rollouts, oldest first (ids begin with their time)."""
        return sorted(path.stem for path in self._folder.glob("*.jsonl"))

    def keep(self, rollout_id: str, name: str, content: bytes) -> None:
        """Keep a piece of evidence, compressed; where it mostly repeats the one before, as what it adds."""
        before, known, chained = self._latest.get(rollout_id, ("", b"", CHAIN))
        if name == before:
            return
        delta = deltas.encode(known, content) if chained < CHAIN else None
        if delta is None:
            self._write(self._evidence(rollout_id, name), content)
        else:
            self._write(self._added(rollout_id, name), before.encode() + b"\n" + delta)
        self._latest[rollout_id] = (name, content, 0 if delta is None else chained + 1)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        write_whole(path, gzip.compress(content, mtime=0), hint="Free disk space: it is evidence that is kept there.")

    def kept(self, rollout_id: str, name: str) -> bytes | None:
        """Return what was kept under ``name``; None also when one that it adds to is gone."""
        added: list[tuple[str, bytes]] = []
        content: bytes | None = None
        wanted = name
        try:
            while content is None:
                latest = self._latest.get(rollout_id)
                content = latest[1] if latest and latest[0] == wanted and added else None
                content = content or self._read(self._evidence(rollout_id, wanted))
                if content is None:
                    piece = self._read(self._added(rollout_id, wanted))
                    if piece is None or len(added) > CHAIN:
                        return None
                    before, _, delta = piece.partition(b"\n")
                    added.append((wanted, delta))
                    if not before.isalnum():
                        raise ValueError("it adds to nothing")  # noqa: TRY301 - told below, with the other damage
                    wanted = before.decode()
            for each, delta in reversed(added):
                content = deltas.decode(content, delta)
                self._latest[rollout_id] = (each, content, CHAIN)
        except (OSError, EOFError, ValueError, TypeError, zlib.error) as exc:
            raise StoreError(f"cannot read evidence {name}: {exc}", hint="It was changed: it proves nothing.") from exc
        return content

    @staticmethod
    def _read(path: Path) -> bytes | None:
        try:
            return gzip.decompress(path.read_bytes())
        except FileNotFoundError:
            return None

    def _added(self, rollout_id: str, name: str) -> Path:
        return self._folder / f"{rollout_id}.evidence" / f"{name}.added.gz"

    def _evidence(self, rollout_id: str, name: str) -> Path:
        return self._folder / f"{rollout_id}.evidence" / f"{name}.json.gz"

    def _path(self, rollout_id: str) -> Path:
        return self._folder / f"{rollout_id}.jsonl"

    def _end(self, rollout_id: str) -> tuple[int, str]:
        lines = self._lines(rollout_id)
        return (lines[-1][1], lines[-1][2]) if lines else (0, GENESIS)

    def _lines(self, rollout_id: str) -> list[tuple[Entry, int, str]]:
        """Each entry with the file offset after it and its hash."""
        path = self._path(rollout_id)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise StoreError(
                f"cannot read the journal {path}: {exc.strerror}", hint="Check its owner and mode."
            ) from exc
        lines: list[tuple[Entry, int, str]] = []
        offset, last = 0, GENESIS
        whole = content[: content.rfind(b"\n") + 1]  # a torn last line has no end
        for number, raw in enumerate(whole.splitlines(keepends=True), start=1):
            offset += len(raw)
            body = _parse(raw)
            if body is None or body.get("prev") != last or body.pop("hash", None) != _digest(body):
                raise JournalChangedError(
                    f"{path}:{number}: this line does not match its hash: the journal was changed",
                    hint="Move the file away; the rollout can be resumed or rolled back from the endpoint's tags.",
                )
            last = _digest(body)
            entry = Entry(datetime.fromisoformat(body["at"]), body["actor"], body["event"])
            lines.append((entry, offset, last))
        return lines


def _lock(file: BinaryIO) -> None:
    """Hold the lock of ``file`` until that is closed, for one write; never wait long: traffic may have to go back.

    Raises:
        OSError: it cannot be locked, or somebody keeps it.
        ImportError: this system has no such locks (Windows).
    """
    import fcntl  # noqa: PLC0415

    until = monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until:
                raise
            sleep(0.01)


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
