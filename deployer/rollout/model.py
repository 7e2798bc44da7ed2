"""The plan of a rollout, its state, and one observation of the world: plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from deployer.gate.verdict import Moment, Shift, Verdict
from deployer.manifest.schema import OnFail, OnInconclusive, Retire
from deployer.rollout.endpoint import Endpoint, Traffic


class StepKind(StrEnum):
    """What one step of a plan does."""

    PREPARE = "prepare"
    DEPLOY = "deploy"
    SMOKE = "smoke"
    WARM_UP = "warm_up"
    MIRROR = "mirror"
    WEIGHT = "weight"
    PAUSE = "pause"
    BAKE = "bake"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``min_s`` and ``max_s`` bound its judging; a pause without end has ``max_s`` None."""

    kind: StepKind
    weight_pct: int = 0
    """Live weight of the candidate while the step lasts."""
    mirror_pct: int = 0
    min_s: float = 0.0
    max_s: float | None = None

    @property
    def is_gated(self) -> bool:
        """Only a PASS (or a recorded override) ends it."""
        return self.kind in (StepKind.MIRROR, StepKind.WEIGHT, StepKind.BAKE)

    def __str__(self) -> str:
        match self.kind:
            case StepKind.WEIGHT:
                return f"{self.weight_pct}%"
            case StepKind.MIRROR:
                return f"mirror {self.mirror_pct}%"
            case StepKind.WARM_UP:
                return "warm-up"
            case _:
                return self.kind.value


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollout will do, compiled once; only ``decide`` says when.

    Rejects at construction what could never be carried out safely: weights that do not rise to 100, a candidate that
    is also the stable, a deadline that leaves no time for the way back.
    """

    rollout_id: str
    endpoint: str
    endpoint_uid: str | None
    """None: the endpoint does not exist yet (a plan to be shown, not to be carried out)."""
    candidate: str
    candidate_digest: str
    stable: str | None
    """None: nothing takes traffic before this rollout, and nothing is deployed as baseline."""
    stable_digest: str | None
    """None: the stable was not made by deployer, and could not be made again from a record."""
    baseline: bool
    """The stable is deployed first, by this rollout."""
    replaces: bool
    """The candidate's name is held by a left-over of ours at weight 0, which is deleted first."""
    digest: str
    """Of the whole specification: the same digest is the same rollout."""
    steps: tuple[Step, ...]
    on_fail: OnFail
    on_inconclusive: OnInconclusive
    retire: Retire | None
    """None: only the manifest says, which is not at hand."""
    deadline_s: float
    reserve_s: float
    """Part of the deadline kept for the way back."""
    deploy_s: float
    """How long a deployment may take to become ready."""
    look_s: float
    confirm_s: float
    """How long traffic must differ from what we wrote before it counts as somebody's edit."""
    skip_gate: str | None = None
    """Why the gate is not asked (recorded); None: it is."""
    poll_s: float = 0.5
    """How soon a state that changes by itself is looked at again."""
    stable_instances: int = 1
    """Instances of the stable when the rollout was planned."""
    autoscaling: bool = False
    """The stable may have autoscale rules: the candidate gets the same before it gets traffic."""
    full_instances: int = 0
    """Instances of the candidate that answer all traffic, by a profile that measured it; 0: nothing was measured."""
    least_instances: int = 0
    """What a stable that is scaled down keeps."""

    def __post_init__(self) -> None:
        weights = [step.weight_pct for step in self.steps if step.kind in (StepKind.WEIGHT, StepKind.BAKE)]
        if weights != sorted(set(weights)) or not weights or weights[-1] != 100:
            raise ValueError(f"weights {weights} do not rise to 100")
        if self.candidate == self.stable:
            raise ValueError(f"{self.candidate} cannot be candidate and stable at once")
        if self.deadline_s <= self.reserve_s:
            raise ValueError(
                f"deadline {self.deadline_s:g}s leaves no time beside the {self.reserve_s:g}s to roll back"
            )

    @property
    def restore(self) -> dict[str, int]:
        """Traffic that a rollback brings back."""
        return {self.stable: 100} if self.stable else {}

    def traffic(self, weight_pct: int) -> dict[str, int]:
        """Full traffic map with the candidate at ``weight_pct`` and the stable at the rest."""
        if self.stable is None:
            return {self.candidate: 100} if weight_pct else {}
        split = {self.candidate: weight_pct, self.stable: 100 - weight_pct}
        return {name: weight for name, weight in split.items() if weight}

    def mirror(self, mirror_pct: int) -> dict[str, int]:
        """Full mirror map."""
        return {self.candidate: mirror_pct} if mirror_pct else {}


class Phase(StrEnum):
    """Where a rollout stands. The last three are final."""

    PREPARING = "preparing"  # endpoint, and the baseline when there is no stable yet
    DEPLOYING = "deploying"
    SMOKING = "smoking"
    WARMING = "warming"
    SHIFTING = "shifting"  # a weight is to be written and verified
    JUDGING = "judging"
    HOLDING = "holding"  # a timed pause: judged, never advanced early
    PAUSED = "paused"  # until a person acts
    BAKING = "baking"  # 100 %, the stable kept whole
    RETIRING = "retiring"
    REVERTING = "reverting"
    CLEANING = "cleaning"  # traffic is back; the candidate is removed
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    STUCK = "stuck"


FINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.STUCK})
WAY_BACK = frozenset({Phase.REVERTING, Phase.CLEANING, Phase.ROLLED_BACK, Phase.STUCK})


class Outcome(StrEnum):
    """Why a rollout ended."""

    PROMOTED = "promoted"
    GATE_FAILED = "gate_failed"
    INCONCLUSIVE = "inconclusive"
    ABORTED = "aborted"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Rollout:
    """State of a rollout: the fold of its journal, nothing else."""

    plan: Plan
    phase: Phase
    position: int
    """Index of the current step in ``plan.steps``."""
    started_at: datetime
    entered_at: datetime
    """When the current phase began (after a pause: when it was resumed)."""
    weight_pct: int = 0
    """Live weight of the candidate as last verified."""
    mirror_pct: int = 0
    prepared: bool = False
    shifts: tuple[Shift, ...] = ()
    looks: int = 0
    verdict: Verdict | None = None
    """Of the latest look of the current step; None: none yet."""
    outcome: Outcome | None = None
    reason: str = ""
    drift: Traffic | None = None
    drift_at: datetime | None = None
    unready_at: datetime | None = None
    """Since when the candidate is known not to be whole, now that the stable is to be retired; None: it is."""
    silent_at: datetime | None = None
    """Since when it answers nobody at all, as seen without a break; None: it answers, or nobody looked."""
    paused_in: Phase | None = None
    paused_s: float = 0.0
    revert_attempts: int = 0
    reverted_at: datetime | None = None
    """Of the last failed attempt at the way back."""
    warnings: tuple[str, ...] = ()
    requested: tuple[str, ...] = ()
    """Deployments that this rollout asked the platform to create."""
    requested_at: datetime | None = None
    """When it last did."""
    warmed: tuple[str, ...] = ()
    """Deployments whose instances were all warmed up."""
    scaled: tuple[tuple[str, int], ...] = ()
    """Deployments that were asked to have so many instances."""
    matched: bool = False
    """The candidate scales like the stable, as far as that could be had."""
    held: bool = False
    """The stable may still be held at its instances, for the time of this rollout."""
    left: tuple[str, ...] = ()
    """The old version, when it was to be retired and could not be: it costs on."""
    removed: str = ""
    """What was removed on the way back, with its last words."""
    rebuilding: bool = False
    """On the way back the stable had to be started again, which takes as long as a deployment."""

    @property
    def step(self) -> Step:
        """The current step."""
        return self.plan.steps[self.position]

    def asked_for(self, name: str) -> int:
        """Most instances that ``name`` was asked to have; 0: it never was."""
        return max((instances for scaled, instances in self.scaled if scaled == name), default=0)

    @property
    def is_final(self) -> bool:
        """Nothing more will be done."""
        return self.phase in FINAL

    @property
    def is_exposed(self) -> bool:
        """The candidate has users' traffic, as last verified."""
        return self.weight_pct > 0

    @property
    def traffic(self) -> dict[str, int]:
        """Traffic as last verified."""
        return self.plan.traffic(self.weight_pct)

    @property
    def deadline(self) -> datetime:
        """When the way back must begin; time spent paused does not count."""
        return self.started_at + timedelta(seconds=self.plan.deadline_s - self.plan.reserve_s + self.paused_s)

    @property
    def next_weight_pct(self) -> int:
        """Live weight that a PASS of the current step leads to."""
        later = (step.weight_pct for step in self.plan.steps[self.position + 1 :])
        return next((weight for weight in later if weight > self.step.weight_pct), 100)

    def moment(self, now: datetime) -> Moment:
        """What the gate needs to know besides the samples."""
        return Moment(
            now=now,
            candidate=self.plan.candidate,
            stable=self.plan.stable,
            shifts=self.shifts,
            step_started_at=self.entered_at,
            looks=self.looks,
            weight_pct=self.weight_pct,
            mirrored=self.mirror_pct > 0,
            next_weight_pct=self.next_weight_pct,
        )

    def enter(self, phase: Phase, at: datetime, *, position: int | None = None) -> Rollout:
        """Enter ``phase``; a new step forgets the verdict of the last one."""
        moved = position is not None and position != self.position
        return replace(
            self,
            phase=phase,
            position=self.position if position is None else position,
            entered_at=at,
            verdict=None if moved else self.verdict,
        )


class RequestKind(StrEnum):
    """What an operator may ask of a running rollout."""

    PROMOTE = "promote"
    PROMOTE_FULL = "promote_full"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Request:
    """An operator's wish, left on the endpoint."""

    kind: RequestKind
    by: str
    reason: str = ""
    nonce: str = ""
    """By which its answer is known; empty: written by hand, without one."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the world. Rejects traffic that no platform can have."""

    endpoint: Endpoint | None
    request: Request | None = None
    signal: str | None = None
    """Name of the signal this process was sent; None: none."""

    def __post_init__(self) -> None:
        if self.endpoint is not None and sum(self.endpoint.traffic.values()) not in (0, 100):
            raise ValueError(f"traffic {dict(self.endpoint.traffic)} sums to neither 0 nor 100")
