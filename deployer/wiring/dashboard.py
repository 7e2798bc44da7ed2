"""What a dashboard may read: journals, results of load tests and profiles, and looks at endpoints. Nothing here writes.

An endpoint on Azure is looked at only when it was named on the command line; a local one only while it runs, because
asking one that is down would start it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, cast

from deployer.engine.evidence import case_of
from deployer.engine.status import look, past_of, replay
from deployer.errors import DeployerError, StoreError
from deployer.ports.evidence import Case
from deployer.ports.store import Entry
from deployer.ports.views import Past, Status
from deployer.rollout.events import Event
from deployer.rollout.model import Rollout
from deployer.stores.file import FileJournal
from deployer.wiring.sites import Reached, home, is_manifest, reach

STEPS_KEPT = 16
"""Rollouts whose states are kept in memory."""
RESULT_MAX_BYTES = 32 << 20

Steps = tuple[tuple[Rollout, Event, datetime], ...]


@dataclass(frozen=True, slots=True, order=True)
class Known:
    """One endpoint that this machine knows of."""

    platform: str
    place: str
    """The workspace; empty on the local platform."""
    name: str

    @property
    def key(self) -> str:
        """Names it in an address: ``local/digits``, ``managed/ml-prod/digits``."""
        return "/".join(filter(None, (self.platform, self.place, self.name)))


@dataclass(frozen=True, slots=True)
class Row:
    """One rollout of an endpoint's history."""

    id: str
    past: Past | None
    """None: it cannot be read."""
    problem: str = ""


class Archive:
    """Everything of the past under ``$DEPLOYER_HOME``; what did not change on disk is read once."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or home()
        self._rows: dict[Path, tuple[tuple[int, int], Row]] = {}
        self._steps: dict[Path, tuple[tuple[int, int], Steps]] = {}
        self._lock = Lock()

    def known(self) -> list[Known]:
        """Every endpoint with a journal or a load test."""
        found: set[Known] = set()
        for kind, pattern in (("journal", "*.jsonl"), ("loadtests", "*.json")):
            root = self._root / kind
            for folder in {path.parent for path in root.rglob(pattern)}:
                parts = folder.relative_to(root).parts
                if len(parts) >= 2:
                    found.add(Known(parts[0], "/".join(parts[1:-1]), parts[-1]))
        return sorted(found)

    def rows(self, of: Known) -> list[Row]:
        """Its past, newest first; what is damaged is a row that says so."""
        return [self._row(path) for path in sorted(self._folder("journal", of).glob("*.jsonl"), reverse=True)]

    def steps(self, of: Known, rollout_id: str) -> Steps:
        """State after each event of a rollout.

        Raises:
            StoreError: its journal was changed since it was written.
            ValueError: another version of deployer wrote it.
        """
        path = self._folder("journal", of) / f"{rollout_id}.jsonl"
        mark = _mark(path)
        with self._lock:
            kept = self._steps.get(path)
            if kept is None or kept[0] != mark:
                kept = mark, tuple(replay(FileJournal(path.parent), rollout_id))
                while len(self._steps) >= STEPS_KEPT:
                    self._steps.pop(next(iter(self._steps)))
                self._steps[path] = kept
            return kept[1]

    def case(self, of: Known, rollout_id: str) -> Case:
        """A rollout with its evidence.

        Raises:
            StoreError: its journal was changed since it was written.
            UsageError: it is a rollback by hand.
        """
        path = self._folder("journal", of) / f"{rollout_id}.jsonl"
        journal = FileJournal(path.parent)
        return case_of(journal, rollout_id, platform=of.platform, place=of.place, path=str(path), recompute=False)

    def mark(self, of: Known, rollout_id: str) -> tuple[int, int]:
        """Changes when the rollout's journal does."""
        return _mark(self._folder("journal", of) / f"{rollout_id}.jsonl")

    def load_tests(self, of: Known) -> list[str]:
        """Ids of its load tests, newest first."""
        return sorted((path.stem for path in self._folder("loadtests", of).glob("*.json")), reverse=True)

    def load_test(self, of: Known, test_id: str) -> Mapping[str, Any] | None:
        """A load test's record; None: there is none, or it cannot be read."""
        path = self._folder("loadtests", of) / f"{test_id}.json"
        try:
            if path.stat().st_size > RESULT_MAX_BYTES:
                return None
            found: Any = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return cast("dict[str, Any]", found) if isinstance(found, dict) else None

    def profiles(self) -> list[str]:
        """Names of the pages that profiles left, newest first."""
        return sorted((path.name for path in (self._root / "reports").glob("profile-*.html")), reverse=True)

    def profile(self, name: str) -> str | None:
        """A profile's page; None: there is none."""
        if name not in self.profiles():
            return None
        try:
            return (self._root / "reports" / name).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def _folder(self, kind: str, of: Known) -> Path:
        return self._root.joinpath(kind, of.platform, *filter(None, of.place.split("/")), of.name)

    def _row(self, path: Path) -> Row:
        mark = _mark(path)
        kept = self._rows.get(path)
        if kept is None or kept[0] != mark:
            kept = self._rows[path] = mark, _read(path)
        return kept[1]


def _mark(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _read(path: Path) -> Row:
    try:
        found = past_of(FileJournal(path.parent), path.stem)
    except (DeployerError, ValueError, KeyError, TypeError) as exc:
        said = exc.message if isinstance(exc, DeployerError) else "another version of deployer wrote it"
        return Row(path.stem, None, said)
    return Row(path.stem, found, "" if found else "it is empty")


class _NoJournal:
    """Stands in for the journal in a look: what is in it is read by the archive."""

    def append(self, rollout_id: str, entry: Entry) -> None:
        raise StoreError("a dashboard does not write", hint="Report this as a bug.")

    def read(self, rollout_id: str) -> Sequence[Entry]:
        return ()

    def rollouts(self) -> Sequence[str]:
        return ()

    def keep(self, rollout_id: str, name: str, content: bytes) -> None:
        raise StoreError("a dashboard does not write", hint="Report this as a bug.")

    def kept(self, rollout_id: str, name: str) -> bytes | None:
        return None


@dataclass(frozen=True, slots=True)
class Lens:
    """Looks at one endpoint."""

    of: Known
    look: Callable[[], Status | None]
    """Reads it, without its journal; None: it is down. May block, may raise a DeployerError."""
    every_s: float


def local_lens(name: str) -> Lens:
    """Look at a local endpoint while it runs."""
    from deployer.platforms.local import LocalPlatform  # noqa: PLC0415 - an adapter: when it is wired

    reached = reach(name, where={"platform": "local"})
    client = LocalPlatform(name, home()).client

    def looked() -> Status | None:
        return _look(reached) if client.is_running() else None

    return Lens(Known("local", "", name), looked, 1.0)


def lens(target: str, where: Mapping[str, str | None]) -> Lens:
    """Look at the endpoint that a command's TARGET names.

    Raises:
        ManifestError: the manifest is wrong.
        UsageError: neither a file nor a name, or where it lives is not clear.
    """
    reached = reach(target, where=None if is_manifest(target) else where)
    site = reached.site
    if reached.platform == "local":
        return local_lens(site.endpoint)
    place = reached.spec.manifest.platform.workspace if reached.spec else None
    workspace = place or (reached.where.workspace if reached.where else "")
    every_s = max(5.0, site.platform.capabilities.poll_s)
    return Lens(Known(reached.platform, workspace, site.endpoint), lambda: _look(reached), every_s)


def _look(reached: Reached) -> Status:
    return look(replace(reached.site, journal=_NoJournal()))


def now() -> datetime:
    """When a page is made."""
    return datetime.now(UTC)  # noqa: TID251 - shown beside times of journals, never decided by
