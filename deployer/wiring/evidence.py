"""Find a past rollout among all journals of this machine, by its id, the beginning of one, or its endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployer.engine.evidence import case_of
from deployer.errors import UsageError
from deployer.ports.evidence import Case
from deployer.stores.file import FileJournal
from deployer.wiring.sites import home

MOST = 8
"""Candidates that an ambiguous name lists."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where one rollout's journal is."""

    path: Path
    platform: str
    place: str
    endpoint: str

    @property
    def id(self) -> str:
        """The rollout's."""
        return self.path.stem


def journals() -> list[Found]:
    """Every journal of this machine, oldest first."""
    root = home() / "journal"
    found: list[Found] = []
    for path in root.rglob("*.jsonl"):
        platform, *place, endpoint = path.parent.relative_to(root).parts
        found.append(Found(path, platform, "/".join(place), endpoint))
    return sorted(found, key=lambda each: each.id)


def find(run: str) -> Found:
    """The rollout that ``run`` names: its id, the beginning of one, or an endpoint, whose latest it is.

    Raises:
        UsageError: none, or more than one.
    """
    known = journals()
    by_id = [each for each in known if each.id == run] or [each for each in known if each.id.startswith(run)]
    by_endpoint = [each for each in known if each.endpoint == run]
    if not by_id and len({each.path.parent for each in by_endpoint}) == 1:
        return by_endpoint[-1]
    candidates = by_id or by_endpoint
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        latest = ", ".join(each.id for each in known[-MOST:]) or "none: this machine has no journal"
        raise UsageError(
            f"no rollout {run} is known here",
            hint=f"`deployer history ENDPOINT` lists them; the latest here: {latest}.",
        )
    names = ", ".join(f"{each.id} ({each.endpoint})" for each in candidates[-MOST:])
    raise UsageError(f"{run} is {len(candidates)} rollouts", hint=f"Say which: {names}.")


def read(run: str) -> Case:
    """Read the rollout that ``run`` names, with its evidence.

    Raises:
        UsageError: as ``find``.
        StoreError: its journal was changed.
    """
    found = find(run)
    journal = FileJournal(found.path.parent)
    return case_of(journal, found.id, platform=found.platform, place=found.place, path=str(found.path))


def default_report(run_id: str, suffix: str) -> Path:
    """Where a report goes when nobody says."""
    return home() / "reports" / f"rollout-{run_id}.{suffix}"
