"""What is shown of an endpoint and of its past: plain data between those who read and those who print."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deployer.rollout.endpoint import Endpoint
from deployer.rollout.events import Event
from deployer.rollout.model import Rollout
from deployer.rollout.tags import Marks, Revision


@dataclass(frozen=True, slots=True)
class Status:
    """One look at an endpoint."""

    endpoint: Endpoint
    marks: Marks | None
    """The rollout that the endpoint's tags tell of, running or last."""
    runner: str | None
    """Who runs it now; None: nobody."""
    good: Revision | None
    previous: Revision | None
    steps: tuple[tuple[Rollout, Event, datetime], ...]
    """State after each event, from the journal; empty when that is on another machine."""
    sketch: Rollout | None = None
    """Where the rollout stands as far as the tags and the manifest tell, when the journal is on another machine."""


@dataclass(frozen=True, slots=True)
class Past:
    """One line of an endpoint's history."""

    id: str
    at: datetime
    actor: str
    text: str
    outcome: str
    seconds: float
