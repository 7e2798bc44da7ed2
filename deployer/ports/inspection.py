"""What is checked before anything is touched, and what is found lying about: questions, answers, left-overs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from deployer.rollout.endpoint import Endpoint
from deployer.rollout.model import Step


class CheckState(StrEnum):
    """What a check found."""

    OK = "ok"
    WARN = "warn"  # works, and a person should know
    FAIL = "fail"  # a rollout would end badly: it is refused
    UNKNOWN = "unknown"  # could not be found out; never counts as ok


@dataclass(frozen=True, slots=True)
class Check:
    """One line of an inspection."""

    name: str
    state: CheckState
    text: str
    fix: str = ""
    """What to do, one imperative sentence; empty when there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be found out, by reading alone. Independent of all others, so that they are asked side by side."""

    name: str
    ask: Callable[[], Sequence[Check]]
    """Answers with at least one check. May raise DeployerError: then the answer is unknown."""
    deadline_s: float = 45.0


@dataclass(frozen=True, slots=True)
class Price:
    """What one instance costs."""

    usd_per_hour: float
    source: str
    as_of: str
    """Date, as 2026-11-25."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Requests of users that one step sends to the candidate."""

    step: Step
    share: float
    least: int | None
    """If the step passes as early as it may; None: the rate of requests is unknown."""
    most: int | None


@dataclass(frozen=True, slots=True)
class Cost:
    """In USD."""

    price: Price
    instances: int
    per_hour: float
    """Of the candidate, on top of the stable, while both run."""
    least: float
    """Of the whole rollout."""
    most: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan will take. Estimates from typical durations, no promises."""

    least_s: float
    most_s: float
    calls_least: int
    calls_most: int
    queries_least: int
    queries_most: int
    exposures: tuple[Exposure, ...]
    cost: Cost | None
    kept: int = 0
    """Instances of the stable that go on costing, because it cannot be scaled down to none."""


class Inspector(Protocol):
    """Knows what must be true of one endpoint's surroundings."""

    def questions(self, *, to_plan: bool = False) -> Sequence[Question]:
        """List what is to be found out; no I/O.

        Args:
            to_plan: nothing is going to be changed: an identity that may only read is enough.
        """
        ...

    def price(self) -> Price | None:
        """What an instance of the candidate costs, in USD; None: it costs nothing extra, or nobody says.

        Raises:
            PlatformError: it could not be asked.
        """
        ...


class LeftoverKind(StrEnum):
    """What kind of thing was left behind."""

    DEPLOYMENT = "deployment"
    AUTOSCALE = "autoscale"
    HOLD = "hold"
    RECORD = "record"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of deployer's that nobody needs any more."""

    kind: LeftoverKind
    name: str
    why: str
    instances: int = 0
    usd_per_day: float | None = None
    """None: unknown, or nothing."""


class Caretaker(Protocol):
    """Finds what rollouts left behind beside deployments (which ``Platform`` shows), and removes it."""

    def find(self, endpoint: Endpoint) -> Sequence[Leftover]:
        """List what deployer made for ``endpoint`` and nobody needs now. Changes nothing.

        Raises:
            PlatformError: it could not be asked.
        """
        ...

    def remove(self, leftover: Leftover) -> None:
        """Remove it; silent when it is gone already. Idempotent.

        Raises:
            ConflictError: it is needed again, or is not deployer's. Nothing changed.
        """
        ...

    def usd_per_hour(self, deployment: str) -> Price | None:
        """What an instance of an existing deployment costs; None: nothing extra, or nobody says."""
        ...


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of one left-over."""

    leftover: Leftover
    problem: str | None
    """Why it is still there; None: it is gone."""
