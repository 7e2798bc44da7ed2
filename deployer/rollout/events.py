"""Facts: what happened, in the past tense. A rollout's state is the fold of these and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from deployer.gate.verdict import Verdict
from deployer.rollout.model import Outcome, Phase, Plan


@dataclass(frozen=True, slots=True)
class Started:
    """A rollout began with this plan."""

    plan: Plan
    manifest: str | None = None
    """Where it was started from, so that this machine can go on by the endpoint's name alone."""
    deployer: str | None = None
    """Version of deployer that began it."""
    specification: str | None = None
    """SHA-256 of what is deployed (both versions, secrets left out), which is kept beside the journal."""
    type: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class Adopted:
    """A rollout was found on the endpoint without its journal, and is carried on from its tags."""

    plan: Plan
    phase: Phase
    position: int
    weight_pct: int
    mirror_pct: int
    reason: str
    prepared: bool = True
    """The stable had its traffic."""
    judged: bool = False
    """Traffic is what the current step wants already: a pause came while it was judged, not before the write."""
    type: Literal["adopted"] = "adopted"


@dataclass(frozen=True, slots=True)
class Requested:
    """The platform was asked for something that takes time."""

    deployment: str | None
    """The deployment to create; None: the endpoint, or the deletion of a left-over."""
    text: str
    type: Literal["requested"] = "requested"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The endpoint stands, and the stable has all traffic (or there is none)."""

    type: Literal["prepared"] = "prepared"


@dataclass(frozen=True, slots=True)
class Deployed:
    """The candidate is ready, at weight 0."""

    type: Literal["deployed"] = "deployed"


@dataclass(frozen=True, slots=True)
class Smoked:
    """The candidate alone was sent the smoke requests."""

    passed: bool
    text: str
    type: Literal["smoked"] = "smoked"


@dataclass(frozen=True, slots=True)
class Warmed:
    """Every instance of ``name`` was sent the warm-up requests."""

    name: str
    passed: bool
    text: str
    type: Literal["warmed"] = "warmed"


@dataclass(frozen=True, slots=True)
class ScalingMatched:
    """The candidate got the autoscale rules of the stable, which is held at its instances; or why it did not."""

    text: str
    failed: bool = False
    type: Literal["scaling_matched"] = "scaling_matched"


@dataclass(frozen=True, slots=True)
class ScalingReleased:
    """The stable is not held any more; or why it still may be."""

    text: str
    failed: bool = False
    type: Literal["scaling_released"] = "scaling_released"


@dataclass(frozen=True, slots=True)
class Scaled:
    """``name`` was asked to have so many instances; or why it may be too small."""

    name: str
    instances: int
    text: str
    failed: bool = False
    type: Literal["scaled"] = "scaled"


@dataclass(frozen=True, slots=True)
class Shifted:
    """The candidate's weight was written and read back."""

    weight_pct: int
    mirror_pct: int
    type: Literal["shifted"] = "shifted"


@dataclass(frozen=True, slots=True)
class Judged:
    """The gate looked."""

    verdict: Verdict
    evidence: str | None
    """SHA-256 of the record of this look, which is kept beside the journal."""
    type: Literal["judged"] = "judged"


@dataclass(frozen=True, slots=True)
class Advanced:
    """The current step is done."""

    reason: str
    to: int | None = None
    """Position it goes on at; None: the next one."""
    type: Literal["advanced"] = "advanced"


@dataclass(frozen=True, slots=True)
class Paused:
    """Traffic stays as it is until a person acts."""

    reason: str
    type: Literal["paused"] = "paused"


@dataclass(frozen=True, slots=True)
class Resumed:
    """A person let it go on from where it was paused."""

    reason: str
    type: Literal["resumed"] = "resumed"


@dataclass(frozen=True, slots=True)
class RequestIgnored:
    """An operator's request does not apply here."""

    text: str
    type: Literal["request_ignored"] = "request_ignored"


@dataclass(frozen=True, slots=True)
class DriftNoticed:
    """Traffic is not what we last verified; None: it is again."""

    traffic: Mapping[str, int] | None
    type: Literal["drift_noticed"] = "drift_noticed"


@dataclass(frozen=True, slots=True)
class UnreadyNoticed:
    """The candidate is not whole, so the stable does not go yet; None: it is again."""

    text: str | None
    is_silent: bool = False
    """It answers nobody."""
    type: Literal["unready_noticed"] = "unready_noticed"


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The way back begins."""

    outcome: Outcome
    reason: str
    type: Literal["gave_up"] = "gave_up"


@dataclass(frozen=True, slots=True)
class RevertFailed:
    """One attempt at the way back failed."""

    error: str
    type: Literal["revert_failed"] = "revert_failed"


@dataclass(frozen=True, slots=True)
class Reverted:
    """The traffic of before was read back, with 0 on the candidate."""

    text: str
    type: Literal["reverted"] = "reverted"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What the rollout had deployed is gone, or is left for the reason given."""

    text: str
    left: tuple[str, ...] = ()
    type: Literal["cleaned"] = "cleaned"


@dataclass(frozen=True, slots=True)
class Retired:
    """The old stable was retired, or is left for the reason given. Never sends traffic back."""

    text: str
    left: tuple[str, ...] = ()
    """It was to be retired, and was not."""
    warns: bool = False
    """People should know, though nothing stays that was to go."""
    type: Literal["retired"] = "retired"


@dataclass(frozen=True, slots=True)
class GotStuck:
    """The way back could not be verified: a human must act."""

    reason: str
    type: Literal["got_stuck"] = "got_stuck"


Event = (
    Started
    | Adopted
    | Requested
    | Prepared
    | Deployed
    | Smoked
    | Warmed
    | ScalingMatched
    | ScalingReleased
    | Scaled
    | Shifted
    | Judged
    | Advanced
    | Paused
    | Resumed
    | RequestIgnored
    | DriftNoticed
    | UnreadyNoticed
    | GaveUp
    | RevertFailed
    | Reverted
    | Cleaned
    | Retired
    | GotStuck
)


@cache
def _adapter() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Field(discriminator="type")])


def to_record(event: Event) -> dict[str, Any]:
    """Write an event as JSON-able data."""
    return _adapter().dump_python(event, mode="json")


def from_record(record: Mapping[str, Any]) -> Event:
    """Read what ``to_record`` wrote.

    Raises:
        ValueError: not an event of this version.
    """
    return _adapter().validate_python(record)
