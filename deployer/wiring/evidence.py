"""Find a past rollout: among all journals of this machine, or where another machine's journal was brought to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from deployer.engine.evidence import case_of
from deployer.errors import ExitCode, UsageError
from deployer.ports.evidence import Case
from deployer.rollout.ending import Ended
from deployer.stores.file import FileJournal, JournalChangedError
from deployer.wiring.sites import home

JOURNAL = "journal"
"""Folder of all journals, below which their paths say whose they are."""
UNKNOWN = "unknown"
"""Platform of a journal whose folders do not say it."""
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

    @property
    def is_rollout(self) -> bool:
        """It is the journal of a rollout, and not of a rollback by hand."""
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                return '"type":"manual_rollback"' not in file.readline()
        except OSError:
            return True  # reading it will say what is wrong


def journals() -> list[Found]:
    """Every journal of this machine, oldest first."""
    root = home() / JOURNAL
    found: list[Found] = []
    for path in root.rglob("*.jsonl"):
        parts = path.parent.relative_to(root).parts
        if len(parts) < 2:
            continue  # somebody moved it here: it belongs to no endpoint
        platform, *place, endpoint = parts
        found.append(Found(path, platform, "/".join(place), endpoint))
    return sorted(found, key=lambda each: each.id)


def brought(path: Path) -> Found:
    """The rollout of a journal that was brought here, as a CI run's artifact: its file, or a folder that holds it.

    Raises:
        UsageError: it is no journal, or the folder holds none, or more than one.
    """
    if path.is_file():
        if path.suffix != ".jsonl":
            raise UsageError(f"{path} is no journal", hint="A journal ends in .jsonl; its evidence lies beside it.")
        return _brought(path)
    held = [_brought(each) for each in sorted(path.rglob("*.jsonl"))]
    rollouts = [each for each in held if each.is_rollout] or held
    if len(rollouts) == 1:
        return rollouts[0]
    if not rollouts:
        raise UsageError(f"{path} holds no journal", hint="Give the folder that a CI run's artifact was unpacked to.")
    names = ", ".join(str(each.path) for each in rollouts[-MOST:])
    raise UsageError(f"{path} holds {len(rollouts)} rollouts", hint=f"Say which: {names}.")


def _brought(path: Path) -> Found:
    """Whose it is, as far as the folders above it still say so."""
    *parts, endpoint = path.absolute().parent.parts
    if JOURNAL not in parts:
        return Found(path, UNKNOWN, "", endpoint)
    last = len(parts) - parts[::-1].index(JOURNAL)
    platform, *place = parts[last:] or [UNKNOWN]
    return Found(path, platform, "/".join(place), endpoint)


def find(run: str) -> Found:
    """The rollout that ``run`` names: its id, the beginning of one, an endpoint (its latest), or ``latest`` of all.

    What is none of them may be a path: of a journal, or of a folder that holds one (``brought``).

    Raises:
        UsageError: none, or more than one.
    """
    known = journals()
    by_id = [each for each in known if each.id == run] or [each for each in known if run and each.id.startswith(run)]
    by_endpoint = [each for each in known if each.endpoint == run and each.is_rollout]
    if not by_id and len({each.path.parent for each in by_endpoint}) == 1:
        return by_endpoint[-1]
    candidates = by_id or by_endpoint
    if not candidates and run == "latest":
        candidates = [each for each in known if each.is_rollout][-1:]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates and os.path.exists(run):  # noqa: PTH110 - what is too long for a path is no path, and no error
        return brought(Path(run))
    if not candidates:
        latest = ", ".join(each.id for each in known[-MOST:]) or "none: this machine has no journal"
        raise UsageError(
            f"no rollout {run} is known here",
            hint=f"`deployer history ENDPOINT` lists them; the latest here: {latest}. "
            "Of a CI run name its artifact's folder.",
        )
    names = ", ".join(f"{each.id} ({each.platform}/{each.endpoint})" for each in candidates[-MOST:])
    raise UsageError(f"{run} is {len(candidates)} rollouts", hint=f"Say which: {names}.")


def read(run: str, *, recompute: bool = True) -> Case:
    """Read the rollout that ``run`` names, with its evidence.

    Args:
        run: as for ``find``.
        recompute: every verdict, not only those that decided.

    Raises:
        UsageError: as ``find``.
        JournalChangedError: its journal was changed; a command that says so exits like one that found a mismatch.
    """
    found = find(run)
    journal = FileJournal(found.path.parent)
    where = {"platform": found.platform, "place": found.place, "path": str(found.path)}
    try:
        return case_of(journal, found.id, **where, recompute=recompute)
    except JournalChangedError as exc:
        changed = JournalChangedError(exc.message, hint="Nothing from that line on is evidence: ask who changed it.")
        changed.exit_code = ExitCode.GATE_FAILED
        raise changed from exc


def default_report(run_id: str, suffix: str) -> Path:
    """Where a report goes when nobody says."""
    ending = {"junit": "xml", "markdown": "md"}.get(suffix, suffix)
    return home() / "reports" / f"rollout-{run_id}.{ending}"


def trace(done: Ended) -> str:
    """Say where the evidence of what just ended is; empty when nothing was journalled here."""
    if done.state is None:
        return ""
    rollout_id = done.state.plan.rollout_id
    found = next((each for each in journals() if each.id == rollout_id), None)
    return f"evidence: deployer report {rollout_id}  (journal {found.path})" if found else ""
