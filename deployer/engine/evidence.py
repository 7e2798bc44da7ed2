"""Read a past rollout from its journal, and recompute every verdict whose evidence was kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from deployer.engine.keeping import deployer_version, specification
from deployer.engine.status import replay_of
from deployer.errors import ExitCode, IllegalTransitionError, StoreError, UsageError
from deployer.gate.record import RULE, Record
from deployer.gate.verdict import Verdict
from deployer.ports.evidence import Case, Look, Match, Told
from deployer.ports.store import Entry, Journal
from deployer.rollout.events import Advanced, GaveUp, Judged, Paused, Started

LAST_DIGITS = 1e-6
"""Numbers that differ by less (relative) are the same: other processors round the last digits differently."""


def case_of(journal: Journal, rollout_id: str, *, platform: str, place: str, path: str, recompute: bool = True) -> Case:
    """Read one rollout.

    Args:
        journal: of its endpoint.
        rollout_id: which one.
        platform: for the reader.
        place: for the reader.
        path: of the journal, for the reader.
        recompute: judge every kept look again; without it only those that decided.

    Raises:
        StoreError: the journal was changed since it was written, or another version of deployer wrote it.
        UsageError: it holds no rollout (a rollback by hand has no evidence).
    """
    entries = journal.read(rollout_id)
    if not entries or entries[0].event.get("type") == "manual_rollback":
        raise UsageError(
            f"{rollout_id} is a rollback by hand: it has no gate and no report",
            hint="`deployer history` lists rollouts.",
        )
    told = _told(rollout_id, entries)
    looks, last = _looks(journal, rollout_id, entries, told, recompute=recompute)
    first = told[0].event
    kept = specification(journal, rollout_id, first) if isinstance(first, Started) else None
    return Case(platform, place, path, told, looks, last, kept, deployer_version())


def _told(rollout_id: str, entries: Sequence[Entry]) -> tuple[Told, ...]:
    try:
        steps = replay_of(entries)
    except (ValueError, IllegalTransitionError) as exc:
        writer = entries[0].event.get("deployer") or "another version"
        error = StoreError(
            f"the journal of {rollout_id} was written by deployer {writer}, and {deployer_version()} does not read it: "
            f"{_first_line(exc)}",
            hint="Read it with the version that wrote it.",
        )
        error.exit_code = ExitCode.INCONCLUSIVE
        raise error from exc
    return tuple(
        Told(at, entry.actor, event, state, entry.event.get("calls"), entry.event.get("called_s", 0.0))
        for entry, (state, event, at) in zip(entries, steps, strict=True)
    )


def _looks(
    journal: Journal, rollout_id: str, entries: Sequence[Entry], told: Sequence[Told], *, recompute: bool
) -> tuple[tuple[Look, ...], Record | None]:
    looks: list[Look] = []
    last: Record | None = None
    judged = list(_judged(told))
    for place, decided in judged:
        entry = told[place]
        event = cast("Judged", entry.event)
        expected = decided or entries[place].event.get("kept") is True
        match, record, why = _found(journal, rollout_id, event, expected=expected)
        last = record or last
        recomputed: Verdict | None = None
        if record is not None and match is Match.WHOLE and (decided or recompute):
            match, recomputed, why = _judged_again(record)
        looks.append(
            Look(
                number=event.verdict.looks or len(looks) + 1,
                at=entry.at,
                step=str(entry.state.step),
                weight_pct=entry.state.weight_pct,
                verdict=event.verdict,
                decided=decided,
                evidence=event.evidence,
                match=match,
                recomputed=recomputed,
                why=why,
            )
        )
    return tuple(looks), last


def _judged(told: Sequence[Told]) -> Iterator[tuple[int, bool]]:
    """Place of every look, and whether the next thing that happened was a decision."""
    for place, entry in enumerate(told):
        if isinstance(entry.event, Judged):
            following = told[place + 1].event if place + 1 < len(told) else None
            yield place, isinstance(following, Advanced | GaveUp | Paused)


def _found(journal: Journal, rollout_id: str, event: Judged, *, expected: bool) -> tuple[Match, Record | None, str]:
    """Read the evidence of one look and check it against the journal."""
    if event.evidence is None:
        return Match.NOT_KEPT, None, "the gate was not asked"
    try:
        content = journal.kept(rollout_id, event.evidence)
    except StoreError as exc:
        return Match.CHANGED, None, exc.message
    if content is None:
        why = "the file is gone" if expected else "it decided nothing"
        return (Match.MISSING if expected else Match.NOT_KEPT), None, why
    if hashlib.sha256(content).hexdigest() != event.evidence:
        return Match.CHANGED, None, "its SHA-256 is not the one in the journal"
    try:
        record = Record.from_json(content.decode())
    except (ValueError, KeyError, TypeError) as exc:
        return Match.UNREADABLE, None, f"another version of deployer wrote it: {_first_line(exc)}"
    if not _same(asdict(record.verdict), asdict(event.verdict)):
        return Match.CHANGED, record, "its verdict is not the one in the journal"
    return Match.WHOLE, record, ""


def _judged_again(record: Record) -> tuple[Match, Verdict | None, str]:
    again = record.recompute()
    if again == record.verdict:
        return Match.SAME, None, ""
    if _same(asdict(again), asdict(record.verdict)):
        return Match.SAME, None, "the last digits are this machine's"
    why = f"this deployer answers {again.result.value}: {again.text}"
    if record.rule != RULE:
        return Match.OTHER_RULE, again, f"rule {record.rule} of the gate judged it; by its rule {RULE} {why}"
    return Match.OTHER, again, why


def _same(one: Any, other: Any) -> bool:
    """Whether two verdicts are equal but for the last digits of their numbers."""
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=LAST_DIGITS) or one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        mine, its = cast("Mapping[str, Any]", one), cast("Mapping[str, Any]", other)
        return mine.keys() == its.keys() and all(_same(mine[key], its[key]) for key in mine)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        pairs = list(zip(cast("list[Any]", one), cast("list[Any]", other), strict=False))
        return len(cast("list[Any]", one)) == len(cast("list[Any]", other)) and all(_same(*pair) for pair in pairs)
    return bool(one == other)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), repr(error))
