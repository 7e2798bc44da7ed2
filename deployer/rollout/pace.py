"""How long things took in past rollouts of an endpoint, read from their journals: what to expect while waiting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

Told = tuple[Mapping[str, Any], datetime]
"""An event as the journal holds it, and when it happened."""


@dataclass(frozen=True, slots=True)
class Usual:
    """Medians over past rollouts, in seconds; None: there were none."""

    deploy_s: float | None = None
    """From asking for a deployment until it was ready."""
    shift_s: float | None = None
    """From deciding on a weight until it was verified."""


def usual(journals: Iterable[Iterable[Told]]) -> Usual:
    """Say how long deployments and shifts took in ``journals``, one a rollout."""
    deploys: list[float] = []
    shifts: list[float] = []
    for journal in journals:
        for kind, seconds in _durations(journal):
            (deploys if kind == "deployed" else shifts).append(seconds)
    return Usual(median(deploys) if deploys else None, median(shifts) if shifts else None)


def _durations(journal: Iterable[Told]) -> Iterator[tuple[str, float]]:
    requested: datetime | None = None
    before: datetime | None = None
    for event, at in journal:
        match event.get("type"):
            case "requested" if event.get("deployment"):
                requested = at
            case "deployed" if requested is not None:
                yield "deployed", (at - requested).total_seconds()
            case "shifted" if before is not None:
                yield "shifted", (at - before).total_seconds()
            case _:
                pass
        before = at
