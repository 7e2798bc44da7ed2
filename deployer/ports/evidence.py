"""A past rollout with everything that was kept of it: plain data between who reads it and who shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from deployer.gate.record import Record
from deployer.gate.verdict import Verdict
from deployer.rollout.events import Event, Started
from deployer.rollout.model import Rollout


@dataclass(frozen=True, slots=True)
class Told:
    """One entry of the journal and the state after it."""

    at: datetime
    actor: str
    event: Event
    state: Rollout
    calls: Mapping[str, int] | None = None
    """Calls of the platform since the entry before; None: not recorded."""
    called_s: float = 0.0
    """Seconds spent waiting for them."""


class Match(StrEnum):
    """What recomputing one verdict came to."""

    SAME = "same"
    """The evidence gives the same verdict."""
    WHOLE = "whole"
    """The evidence is what the journal says it was; it was not judged again."""
    OTHER = "other"
    """The evidence is what it was, and gives another verdict: deployer judges differently today."""
    OTHER_RULE = "other rule"
    """As OTHER, of a gate whose rule was another one: only the deployer that wrote it can confirm it."""
    CHANGED = "changed"
    """The evidence is not what the journal says it was: it proves nothing."""
    MISSING = "missing"
    """The journal says that evidence was kept, or it decided: and it is not there."""
    UNREADABLE = "unreadable"
    """Another version of deployer wrote it, in a form that this one does not read."""
    NOT_KEPT = "not kept"
    """A look that decided nothing, whose evidence was never kept."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look of the gate."""

    number: int
    at: datetime
    step: str
    weight_pct: int
    verdict: Verdict
    decided: bool
    """Traffic moved, or was held, because of it."""
    evidence: str | None
    match: Match
    recomputed: Verdict | None = None
    why: str = ""
    """What is wrong with the evidence."""


@dataclass(frozen=True, slots=True)
class Case:
    """One rollout."""

    platform: str
    place: str
    journal: str
    """File that it was read from."""
    told: tuple[Told, ...]
    looks: tuple[Look, ...]
    last: Record | None
    """The latest evidence at hand: its samples cover the whole rollout."""
    specification: Mapping[str, Any] | None = None
    """What was deployed, as kept at the start; None: not recorded."""
    read_by: str = ""
    """Version of deployer that read it."""

    @property
    def final(self) -> Rollout:
        """The state after everything."""
        return self.told[-1].state

    @property
    def began_by(self) -> str | None:
        """Version of deployer that began it; None: not recorded."""
        first = self.told[0].event
        return first.deployer if isinstance(first, Started) else None
