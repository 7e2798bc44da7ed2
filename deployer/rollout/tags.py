"""What the endpoint itself says of its rollout: the truth that any runner can resume or roll back from.

Tags survive the runner; the journal is a cache. Names and values stay within Azure's limits (512 and 256 characters).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from deployer.rollout.model import FINAL, Phase, Request, RequestKind, Rollout

ROLLOUT = "deployer.rollout"
PHASE = "deployer.phase"
ROLES = "deployer.roles"
DIGEST = "deployer.digest"
LEASE = "deployer.lease"
REQUEST = "deployer.request"
ANSWER = "deployer.answer"
"""What became of the last request, for the operator who waits."""
GOOD = "deployer.good"
PREVIOUS = "deployer.previous"
LEFT = "left"
"""Ends the previous version's value when it was to be retired and still stands."""
VALUE_MAX = 256

TAGGED = frozenset(
    {Phase.PREPARING, Phase.DEPLOYING, Phase.SHIFTING, Phase.PAUSED, Phase.RETIRING, Phase.REVERTING} | FINAL
)
"""Phases worth a write: a runner without the journal needs no finer detail to end in a defined state."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The rollout that the tags tell of."""

    rollout_id: str
    phase: Phase
    position: int
    candidate: str
    candidate_digest: str
    stable: str | None
    digest: str
    stable_digest: str = ""
    """Empty: there is none, or it was not made by deployer."""

    @property
    def is_active(self) -> bool:
        """It has not ended."""
        return self.phase not in FINAL

    @property
    def started_at(self) -> datetime | None:
        """When it was started, as its id begins with; None: the id is not one of ours."""
        return began_at(self.rollout_id)


def began_at(rollout_id: str) -> datetime | None:
    """When a rollout was started, as its id begins with; None: the id is not one of ours."""
    try:
        return datetime.strptime(rollout_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Revision:
    """A version that held 100 %."""

    number: int
    name: str
    digest: str
    """Empty: it was not made by deployer."""
    at: datetime
    instances: int = 0
    """How many it had before another version took its place, or is to have again; 0: not recorded."""
    is_left: bool = False
    """It was to be retired and could not be."""


def marks_of(tags: Mapping[str, str]) -> Marks | None:
    """Read the rollout from the endpoint's tags; None when there is none or somebody garbled it."""
    try:
        phase, position = tags[PHASE].split(":")
        candidate, candidate_digest, stable, stable_digest = tags[ROLES].split("|")
        return Marks(
            rollout_id=tags[ROLLOUT],
            phase=Phase(phase),
            position=int(position),
            candidate=candidate,
            candidate_digest=candidate_digest,
            stable=stable or None,
            stable_digest=stable_digest,
            digest=tags[DIGEST],
        )
    except (KeyError, ValueError):
        return None


def tags_for(state: Rollout) -> dict[str, str | None]:
    """Write the rollout as tags."""
    plan = state.plan
    return {
        ROLLOUT: plan.rollout_id,
        PHASE: f"{state.phase.value}:{state.position}",
        ROLES: f"{plan.candidate}|{plan.candidate_digest}|{plan.stable or ''}|{plan.stable_digest or ''}",
        DIGEST: plan.digest,
    }


def request_of(tags: Mapping[str, str]) -> Request | None:
    """Read an operator's request; None when there is none (or it is garbled, and then ignored)."""
    try:
        named, by, reason = tags[REQUEST].split("|", 2)
        kind, _, nonce = named.partition("#")
        return Request(RequestKind(kind), by, reason, nonce)
    except (KeyError, ValueError):
        return None


def tag_for(request: Request) -> str:
    """Write a request as a tag's value."""
    nonce = f"#{request.nonce}" if request.nonce else ""
    return f"{request.kind.value}{nonce}|{request.by.replace('|', '/')}|{request.reason}"[:VALUE_MAX]


def answer_to(request: Request | None, text: str) -> str:
    """Write what became of ``request`` as a tag's value."""
    return (f"#{request.nonce} {text}" if request is not None and request.nonce else text)[:VALUE_MAX]


def answer_of(value: str | None, nonce: str) -> str | None:
    """Read what became of the request ``nonce``; None when ``value`` is the answer to another one, or none at all."""
    named, _, text = (value or "").partition(" ")
    return text if named == f"#{nonce}" else None


def revision_of(value: str | None) -> Revision | None:
    """Read a revision; None when there is none."""
    try:
        number, name, digest, at, *rest = (value or "").split("|")
        instances = int(rest[0]) if rest else 0
        since = datetime.fromtimestamp(int(at), UTC)
        return Revision(int(number), name, digest, since, instances, is_left=rest[1:] == [LEFT])
    except ValueError:
        return None


def instances_of(tags: Mapping[str, str], name: str | None, digest: str | None) -> int:
    """Instances that the tags say a version had; 0: not recorded."""
    known = (revision_of(tags.get(tag)) for tag in (GOOD, PREVIOUS))
    return max(
        (each.instances for each in known if each and (each.name, each.digest) == (name, digest or "")), default=0
    )


def with_instances(
    tags: Mapping[str, str | None], good: tuple[str, str], instances: int, at: datetime
) -> dict[str, str | None]:
    """Tags that say how many instances the version in use (name, digest) has, or is to have again."""
    known = revision_of(tags.get(GOOD))
    number, since = (known.number, known.at) if known else (0, at)
    return {GOOD: _value(Revision(number, *good, at=since, instances=instances))}


def _value(revision: Revision) -> str:
    value = f"{revision.number}|{revision.name}|{revision.digest}|{int(revision.at.timestamp())}"
    if revision.is_left:
        return f"{value}|{revision.instances}|{LEFT}"
    return f"{value}|{revision.instances}" if revision.instances else value


def tags_for_good(
    tags: Mapping[str, str],
    good: tuple[str, str],
    previous: tuple[str, str] | None,
    at: datetime,
    instances: int = 0,
    *,
    is_left: bool = False,
) -> dict[str, str | None]:
    """Tags that make ``good`` (name, digest) the version in use and ``previous`` the one a rollback returns to.

    Args:
        tags: of the endpoint now.
        good: the version in use.
        previous: the one before it; None: there is none.
        at: now.
        instances: that ``previous`` had; 0: unknown.
        is_left: ``previous`` was to be retired and could not be.
    """
    number = revision.number if (revision := revision_of(tags.get(GOOD))) else 0
    since = revision.at if revision else at
    before = None if previous is None else Revision(number, *previous, at=since, instances=instances, is_left=is_left)
    written = None if before is None else _value(before)
    return {GOOD: _value(Revision(number + 1, *good, at=at)), PREVIOUS: written}
