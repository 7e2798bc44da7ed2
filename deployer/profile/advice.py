"""What is said between a search for the cheapest configuration and whoever carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deployer.manifest.configuration import Configuration
from deployer.profile.trials import Capacity, Probe, Seen, Tally


@dataclass(frozen=True, slots=True)
class Ask:
    """The next trial."""

    configuration: Configuration
    probe: Probe


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one configuration, at its full number of instances."""

    configuration: Configuration
    usd_per_hour: float
    capacity: Capacity | None
    """None: it was not tried, nor anything that tells of it."""
    why: str = ""
    """Why it is not recommended; empty: it is, or nothing is known yet."""
    measured_at: int | None = None
    """Number of instances that was under load; None: none was. Other numbers are predicted from it in proportion."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a search has to say: at its end, or so far."""

    recommended: Configuration | None
    answers: Sequence[Answer]
    is_final: bool
    """It knows all that it wanted to know."""
    notes: Sequence[str] = ()
    undecided: str = ""
    """Why none is recommended though one may well carry the rate; empty: there is no such reason."""


class Search(Protocol):
    """Chooses what to try next. Knows nothing of platforms, and has no clock."""

    @property
    def limits_ms(self) -> Sequence[float]:
        """Latency limits whose late answers ``is_hopeless`` wants counted."""
        ...

    def next(self, left_s: float, left_usd: float) -> Ask | Advice:
        """The trial to send now, or the advice. Idempotent until ``tell`` or ``exclude``."""
        ...

    def tell(self, seen: Seen) -> None:
        """Hear what the trial saw."""
        ...

    def is_hopeless(self, tally: Tally) -> bool:
        """Whether the end of the trial under way would teach nothing."""
        ...

    def exclude(self, configuration: Configuration, why: str) -> None:
        """Hear that ``configuration`` cannot be measured; the others go on."""
        ...

    def advice(self) -> Advice:
        """What is known so far."""
        ...
