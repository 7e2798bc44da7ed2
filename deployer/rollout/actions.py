"""Intentions: what to do next, in the imperative. ``decide`` returns one; the shell performs exactly that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deployer.rollout.events import Event


@dataclass(frozen=True, slots=True)
class Deploy:
    """Start creating a deployment at weight 0."""

    name: str


@dataclass(frozen=True, slots=True)
class Recreate:
    """Start creating the stable again from what is recorded of it."""

    name: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a left-over of ours that holds the candidate's name."""

    name: str


@dataclass(frozen=True, slots=True)
class Smoke:
    """Send the smoke requests to the candidate alone."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Send the warm-up requests to every instance of a deployment."""

    name: str


@dataclass(frozen=True, slots=True)
class StartStable:
    """Give the freshly deployed baseline all traffic."""


@dataclass(frozen=True, slots=True)
class MatchScaling:
    """Give ``name`` the autoscale rules of ``like``, and hold ``like`` at its instances."""

    name: str
    like: str


@dataclass(frozen=True, slots=True)
class ReleaseScaling:
    """Hold ``name`` no longer; nor, at the end of a rollout, the candidate at the instances it was given."""

    name: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Ask for more instances of a deployment."""

    name: str
    instances: int
    why: str


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Write and verify the candidate's live weight and mirrored share, in percent."""

    weight_pct: int
    mirror_pct: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Read telemetry and ask the gate."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Write and verify the traffic of before: the way back."""


@dataclass(frozen=True, slots=True)
class Clean:
    """Remove what this rollout deployed, keeping its last logs."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetireStable:
    """Delete, scale down or keep the old stable, as planned."""

    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """Only write down what was decided."""

    event: Event


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at ``until`` or earlier."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing more to do in this process: final, or paused until a person acts."""


Action = (
    Deploy
    | Recreate
    | Delete
    | Smoke
    | WarmUp
    | StartStable
    | MatchScaling
    | ReleaseScaling
    | Scale
    | SetWeight
    | Judge
    | Restore
    | Clean
    | RetireStable
    | Record
    | Wait
    | Stop
)
