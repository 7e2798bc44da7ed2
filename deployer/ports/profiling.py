"""How a profile goes and how it ended: plain data between those who carry it out and those who tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from deployer.errors import ExitCode
from deployer.manifest.configuration import Configuration
from deployer.profile.advice import Advice
from deployer.profile.trials import Probe


class Ending(StrEnum):
    """Why a profile ended."""

    COMPLETE = "complete"
    BUDGET = "budget"
    INTERRUPTED = "interrupted"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Look:
    """How far a profile is."""

    configuration: Configuration | None
    doing: str
    trial: int
    """Number of the trial, from 1; 0: none was sent yet."""
    advice: Advice
    spent_s: float
    budget_s: float
    spent_usd: float
    budget_usd: float | None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial that was sent, for the report."""

    configuration: Configuration
    probe: Probe
    seconds: float
    sent: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    statuses: Mapping[int, int]
    lag_p99_ms: float
    cpu_pct: float
    problem: str | None
    """Why it was not used; None: it was."""
    stopped: str | None
    began_s: float
    """In seconds from the start of the profile."""
    violation: Mapping[str, float] = field(default_factory=dict[str, float])
    """Share of bad requests over the share allowed, by target (1: just met); of open trials."""
    timeline: Sequence[tuple[float, int, int, float | None]] = field(repr=False, default=())
    """Second, requests sent, failed, p95 in ms; of open trials."""


@dataclass(frozen=True, slots=True)
class Profiled:
    """A profile that has ended."""

    ending: Ending
    text: str
    """One line."""
    advice: Advice
    trials: Sequence[TrialRecord]
    spent_s: float
    spent_usd: float
    left_over: str | None
    """What could not be removed; None: nothing is left."""
    not_judged: Sequence[Configuration] = ()
    """Left because the load generator did not keep up, for want of quota, or because the sample request failed."""

    @property
    def load_seconds(self) -> float:
        """Seconds under load, of all trials."""
        return sum(each.seconds for each in self.trials)

    @property
    def exit_code(self) -> ExitCode:
        """What a pipeline learns; what is left over costs money, whatever was found out."""
        if self.left_over is not None:
            return ExitCode.PLATFORM
        match self.ending:
            case Ending.INTERRUPTED:
                return ExitCode.ABORTED
            case Ending.PLATFORM:
                return ExitCode.PLATFORM
            case Ending.BUDGET:
                return ExitCode.INCONCLUSIVE
            case Ending.COMPLETE:
                if self.advice.recommended is not None:
                    return ExitCode.OK
                is_open = self.not_judged or self.advice.undecided
                return ExitCode.INCONCLUSIVE if is_open else ExitCode.GATE_FAILED
