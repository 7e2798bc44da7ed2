"""What the gate answers, with the numbers that made it: enough to recompute and to explain it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Result(StrEnum):
    """The four answers. Only PASS advances."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class Shift:
    """From ``at`` on, the candidate had ``weight_pct`` of live traffic (verified)."""

    at: datetime
    weight_pct: int


@dataclass(frozen=True, slots=True)
class Moment:
    """When and for whom the gate judges. The evidence is everything since the first shift, never reset."""

    now: datetime
    candidate: str
    stable: str | None
    """None: nothing to compare with (first deployment)."""
    shifts: tuple[Shift, ...]
    """Verified weight changes of this rollout, oldest first; the first one is the candidate's first exposure."""
    step_started_at: datetime
    looks: int
    """Looks already made in this rollout."""
    weight_pct: int
    mirrored: bool = False
    """The candidate has mirrored traffic only; its answers are in the samples all the same."""
    next_weight_pct: int | None = None
    """The weight that a PASS now leads to; None: unknown, taken as 100. Less next traffic needs a weaker proof."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one deployment did since the first exposure. Latencies are of ok answers and time-outs: errors are fast."""

    requests: int
    errors: int
    throttled: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @property
    def error_rate(self) -> float | None:
        """Errors by requests, in [0, 1]; None without requests."""
        return self.errors / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class Reason:
    """One metric's part in the verdict. Rates and shares are in [0, 1], latencies in ms, ratios are factors."""

    metric: str
    """``error_rate``, ``p50``, ``p95``, ``p99``, ``shift``, ``telemetry``, ``requests``, ..."""
    rule: str
    """``slo`` (absolute) or ``compare`` (against the stable in the same moments)."""
    result: Result
    estimate: float | None
    lower: float | None
    upper: float | None
    limit: float | None
    text: str
    """One line that a tired engineer understands."""
    needed: int | None = None
    """For an unproven metric: candidate requests it would take, about."""
    e_value: float | None = None
    """Evidence for what ``result`` says (inconclusive: for what is unproven); capped at 1e260."""
    threshold: float | None = None
    """The e-value at which the gate acts: 1 / false_rollback (latencies: a fifth of it) or 1 / missed_regression."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer at one look."""

    result: Result
    text: str
    """Why, in one line."""
    reasons: tuple[Reason, ...]
    candidate: Arm
    stable: Arm | None
    at: datetime
    until: datetime | None
    """Evidence up to this moment was complete and used; None: blind."""
    looks: int
    """This look's number, from 1."""
    enough_weight_pct: int | None = None
    """Undecided only for want of requests: at this weight the step's time so far would probably have been enough."""
