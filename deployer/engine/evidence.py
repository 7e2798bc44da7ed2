"""Read a past rollout from its journal, and recompute every verdict whose evidence was kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from deployer.engine.status import replay
from deployer.errors import StoreError, UsageError
from deployer.gate.record import Record
from deployer.ports.evidence import Case, Look, Match, Told
from deployer.ports.store import Journal
from deployer.rollout.events import Advanced, GaveUp, Judged, Paused

SPECIFICATION = "specification"
"""Name under which a journal keeps what was deployed."""


def case_of(journal: Journal, rollout_id: str, *, platform: str, place: str, path: str) -> Case:
    """Read one rollout.

    Raises:
        StoreError: the journal was changed since it was written.
        UsageError: it holds no rollout (a rollback by hand has no evidence).
    """
    entries = journal.read(rollout_id)
    if not entries or entries[0].event.get("type") == "manual_rollback":
        raise UsageError(
            f"{rollout_id} is a rollback by hand: it has no gate and no report",
            hint="`deployer history` lists rollouts.",
        )
    told = tuple(
        Told(at, entry.actor, event, state)
        for entry, (state, event, at) in zip(entries, replay(journal, rollout_id), strict=True)
    )
    looks, last = _looks(journal, rollout_id, told)
    return Case(platform, place, path, told, looks, last, _specification(journal, rollout_id))


def _looks(journal: Journal, rollout_id: str, told: Sequence[Told]) -> tuple[tuple[Look, ...], Record | None]:
    looks: list[Look] = []
    last: Record | None = None
    for entry, decided in _judged(told):
        event, state = cast("Judged", entry.event), entry.state
        match, record, why = _recomputed(journal, rollout_id, event, decided=decided)
        last = record or last
        looks.append(
            Look(
                number=event.verdict.looks or len(looks) + 1,
                at=entry.at,
                step=str(state.step),
                weight_pct=state.weight_pct,
                verdict=event.verdict,
                decided=decided,
                evidence=event.evidence,
                match=match,
                recomputed=record.recompute() if record is not None and match is Match.OTHER else None,
                why=why,
            )
        )
    return tuple(looks), last


def _judged(told: Sequence[Told]) -> Iterator[tuple[Told, bool]]:
    """Every look, and whether the next thing that happened was a decision."""
    for place, entry in enumerate(told):
        if isinstance(entry.event, Judged):
            following = told[place + 1].event if place + 1 < len(told) else None
            yield entry, isinstance(following, Advanced | GaveUp | Paused)


def _recomputed(journal: Journal, rollout_id: str, event: Judged, *, decided: bool) -> tuple[Match, Record | None, str]:
    if event.evidence is None:
        return (Match.MISSING if decided else Match.NOT_KEPT), None, "the gate was not asked"
    try:
        content = journal.kept(rollout_id, event.evidence)
    except StoreError as exc:
        return Match.CHANGED, None, exc.message
    if content is None:
        return (Match.MISSING if decided else Match.NOT_KEPT), None, "no evidence was kept"
    if hashlib.sha256(content).hexdigest() != event.evidence:
        return Match.CHANGED, None, "its SHA-256 is not the one in the journal"
    try:
        record = Record.from_json(content.decode())
    except ValueError as exc:
        return Match.OTHER, None, f"another version of deployer wrote it: {exc}"
    if record.verdict != event.verdict:
        return Match.CHANGED, record, "its verdict is not the one in the journal"
    same = record.recompute() == record.verdict
    return (Match.SAME, record, "") if same else (Match.OTHER, record, "deployer judges differently today")


def _specification(journal: Journal, rollout_id: str) -> Mapping[str, Any] | None:
    try:
        content = journal.kept(rollout_id, SPECIFICATION)
        return None if content is None else cast("dict[str, Any]", json.loads(content))
    except (StoreError, ValueError):
        return None
