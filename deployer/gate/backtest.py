"""What the gate would have decided on recorded traffic, had it looked every so often. Pure; rows come in as counts.

Honest about time: at each look only what had been ingested by then is counted, and how late telemetry is is itself
learnt from what was visible. FAIL ends the replay; a PASS does not, because monitoring goes on after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployer.gate.evidence import named_targets
from deployer.gate.judge import Look, assess
from deployer.gate.ledger import CANDIDATE, STABLE, Ledger, utc
from deployer.gate.samples import Samples
from deployer.gate.verdict import Moment, Reason, Result, Shift, Verdict
from deployer.manifest.schema import Gate, Slo

LAG_BINS = 7200
"""Lags are counted by the second, up to two hours."""
_ALIKE_S = 15.0
_ALIKE = 0.25
_ENOUGH = 20
_LEVELS = (0.05, 0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Rows that became visible between two looks, as counts; arrays of one length except ``lags``."""

    now_s: float
    """The moment of the look, seconds since the epoch."""
    starts: NDArray[np.float64]
    arms: NDArray[np.int64]
    classes: NDArray[np.int64]
    duration_ms: NDArray[np.float64] | NDArray[np.int64]
    n: NDArray[np.int64]
    lags: NDArray[np.int64]
    """Rows by (arm, whole seconds from answer to ingestion), shape (2, LAG_BINS)."""


@dataclass(slots=True)
class LagMeter:
    """How late telemetry is, learnt from rows that have arrived."""

    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, LAG_BINS), np.int64))

    def settle_s(self, *, careful: bool) -> float:
        """Seconds after which a moment counts as complete.

        While both arms are equally late, rows that are missing are missing from both alike and the labels of the rest
        are still a draw: a twentieth will do. Where they differ, or to promote (``careful``), the slower arm's 99 %.
        """
        early, middle, late, tail = np.array([_levels(self.seen[arm]) for arm in (CANDIDATE, STABLE)]).T
        if careful or self.seen.sum(axis=1).min() < _ENOUGH:
            return float(tail.max())
        for mine, other in (middle, late):
            if abs(mine - other) > max(_ALIKE_S, _ALIKE * max(mine, other)):
                return float(tail.max())
        return float(early.max())


def _levels(seen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Lag in whole seconds (rounded up) within which each level of the rows had arrived; 0 without rows."""
    reached = np.cumsum(seen)
    if not reached[-1]:
        return np.zeros(len(_LEVELS))
    return np.searchsorted(reached, np.multiply(_LEVELS, reached[-1])).astype(np.float64) + 1.0


@dataclass(slots=True)
class Replay:
    """One recorded rollout, look by look."""

    slo: Slo
    gate: Gate
    cell_s: float
    shifts: Sequence[Shift]
    least_s: float = 0.0
    """No PASS before the rollout is so old."""
    stable: bool = True
    """There is a stable to compare with."""
    weights_known: bool = True
    """The weights of ``shifts`` are recorded, not guessed: whether an arm is silent can be told."""
    lags: LagMeter = field(default_factory=LagMeter)
    looks: int = 0
    passed: Verdict | None = None
    blind: tuple[int, str] = (0, "")
    """Looks at which nothing could be said, and why at the last of them."""
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.cell_s, tuple(limit for _, limit in named_targets(self.slo)))

    def look(self, arrivals: Arrivals) -> Verdict:
        """Count what has arrived, and judge. A PASS counts only if the careful horizon gives it too."""
        self.ledger.add(arrivals.starts, arrivals.arms, arrivals.classes, arrivals.duration_ms, arrivals.n)
        self.lags.seen += arrivals.lags
        self.looks += 1
        verdict = self._judge(arrivals.now_s, careful=False, prove=self.passed is None)
        if verdict.result is Result.BLIND:
            self.blind = self.blind[0] + 1, verdict.text
        old = arrivals.now_s - self.shifts[0].at.timestamp() >= self.least_s
        if verdict.result is Result.PASS and old:
            careful = self._judge(arrivals.now_s, careful=True, explain=True)
            self.passed = careful if careful.result is Result.PASS else None
        return verdict

    def explained(self, now_s: float) -> Verdict:
        """The verdict at ``now_s`` with its reasons."""
        return self._judge(now_s, careful=False, explain=True)

    def at_the_end(self) -> Verdict | None:
        """What was known when the last recorded answer was given, with its reasons; None: there is none.

        The looks after it only wait for late rows: that no more answers come is no news about the candidate.
        """
        if not self.ledger.starts.size:
            return None
        verdict = self._judge(float(self.ledger.starts[-1]) + self.cell_s, careful=False, explain=True, settled=True)
        blind, why = self.blind
        text = _undecided(verdict)
        if blind:
            text += f"; at {blind} of {self.looks} looks the gate was blind" + (f": {why}" if why not in text else "")
        return replace(verdict, result=Result.INCONCLUSIVE, text=text)

    def _judge(
        self, now_s: float, *, careful: bool, explain: bool = False, prove: bool = True, settled: bool = False
    ) -> Verdict:
        if settled:  # everything is there
            settle_s, gate = 0.0, self.gate.model_copy(update={"settle": 0.0})
        else:
            settle_s = self.lags.settle_s(careful=careful) if self.gate.settle is None else self.gate.settle
            gate = self.gate
        now = utc(now_s)
        done = [shift for shift in self.shifts if shift.at <= now]
        weight = done[-1].weight_pct if done else 0
        moment = Moment(
            now=now,
            candidate="candidate",
            stable="stable" if self.stable else None,
            shifts=tuple(done),
            step_started_at=done[-1].at if done else now,
            looks=self.looks - 1,
            weight_pct=weight,
            mirrored=not self.weights_known,
        )
        samples = Samples((), self.cell_s, utc(now_s - settle_s))
        return assess(samples, Look(self.ledger, self.slo, gate, moment, explain=explain, prove=prove))


def _undecided(verdict: Verdict) -> str:
    """What was not proven by the end of a recording, how many requests more it would take, and what else held it."""
    unproven = [reason for reason in verdict.reasons if reason.result is not Result.PASS and reason.threshold]
    other = [reason for reason in verdict.reasons if reason.result is not Result.PASS and not reason.threshold]
    so_far = f"after {verdict.candidate.requests} requests of the candidate"
    text = f"the recording ends undecided {so_far}"
    if verdict.result in (Result.PASS, Result.FAIL):
        return f"{text}; by all that had been answered by then, were it known at once, it would {verdict.result.value}"
    if verdict.result is Result.BLIND:
        return f"{text}; with all of it at hand the gate is blind: {verdict.text}"
    if unproven:
        text += f"; not proven by then: {', '.join(_named(reason) for reason in unproven)}"
        needed = [reason.needed for reason in unproven]
        if all(needed):
            more = max(each or 0 for each in needed) - verdict.candidate.requests
            text += f"; about {max(more, 1)} more would probably do"
    if other:
        text += f"; {'besides' if unproven else 'every proof is there, but'}: {'; '.join(each.text for each in other)}"
    return text


def _named(reason: Reason) -> str:
    return f"{reason.metric} {'against the stable' if reason.rule == 'compare' else 'within the slo'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a replay ended."""

    result: Result
    """PASS, FAIL or INCONCLUSIVE (undecided to the end)."""
    verdict: Verdict | None
    """The deciding verdict, else the last one; None: there was nothing to look at."""

    def document(self) -> dict[str, Any]:
        """The JSON answer of ``gate backtest`` (INTERFACE section 4)."""
        verdict = self.verdict
        decided = verdict is not None and self.result is not Result.INCONCLUSIVE
        return {
            "verdict": self.result.value,
            "decided_at": verdict.at.isoformat().replace("+00:00", "Z") if verdict and decided else None,
            "candidate_requests": verdict.candidate.requests if verdict else 0,
            "stable_requests": verdict.stable.requests if verdict and verdict.stable else 0,
            "reasons": [
                {key: getattr(reason, key) for key in ("metric", "rule", "estimate", "lower", "upper", "limit")}
                for reason in (verdict.reasons if verdict else ())
            ],
        }


def backtest(batches: Iterable[Arrivals], replay: Replay) -> Outcome:
    """Replay a recording: FAIL as soon as failed, else PASS if ever passed, else INCONCLUSIVE.

    Args:
        batches: arrivals, one a look, in order of time.
        replay: a fresh replay.
    """
    for arrivals in batches:
        if replay.look(arrivals).result is Result.FAIL:
            return Outcome(Result.FAIL, replay.explained(arrivals.now_s))
    if replay.passed is not None:
        return Outcome(Result.PASS, replay.passed)
    return Outcome(Result.INCONCLUSIVE, replay.at_the_end())
