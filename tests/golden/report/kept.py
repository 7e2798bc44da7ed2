"""Two real rollouts of the quick start with their evidence (names of people and paths replaced, the chain made anew)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer.engine.evidence import case_of
from deployer.ports.evidence import Case, Match
from deployer.ports.store import Entry
from deployer.stores.file import FileJournal

JOURNALS = Path(__file__).parent / "journal"
FOLDER = JOURNALS / "local" / "digits"
PROMOTED = "20261125T210925-cbc5"
FAILED = "20261125T211113-baa0"


def case(name: str, folder: Path = FOLDER, *, recompute: bool = True) -> Case:
    """Read one, as this version of deployer would, wherever it lies and on whatever processor.

    Processors round the last digits of a verdict differently, and a look says so where they did: not here.
    """
    found = as_here(name, folder, recompute=recompute)
    looks = tuple(replace(look, why="") if look.match is Match.SAME else look for look in found.looks)
    return replace(found, looks=looks)


def as_here(name: str, folder: Path = FOLDER, *, recompute: bool = True) -> Case:
    """Read one, as this version of deployer would on this processor."""
    path = f"/journal/{name}.jsonl"
    found = case_of(FileJournal(folder), name, platform="local", place="", path=path, recompute=recompute)
    return replace(found, read_by="0.1.0")


def copied(to: Path) -> Path:
    """Copy both to where they may be changed."""
    return Path(shutil.copytree(FOLDER, to / "journal" / "local" / "digits"))


def rewritten(folder: Path, name: str, change: Callable[[int, dict[str, Any]], dict[str, Any]]) -> None:
    """Change events of a journal and chain it anew, as another version of deployer would have written it."""
    journal = FileJournal(folder)
    entries = journal.read(name)
    (folder / f"{name}.jsonl").unlink()
    again = FileJournal(folder)
    for place, entry in enumerate(entries):
        event = change(place, json.loads(json.dumps(dict(entry.event))))
        again.append(name, Entry(entry.at, entry.actor, event))
