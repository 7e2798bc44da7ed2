"""The manifest as frozen models: what each key means, its default and its limits.

Field names are the words users write. Everything is validated strictly (no coercion of ``"5"`` to 5, unknown keys
refused); rules that need several fields are validators here, so that the JSON schema and the loader share them.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from deployer.manifest.quantities import Growth, Seconds, Share

NAME_PATTERN = r"^[a-zA-Z](?:-?[a-zA-Z0-9])*$"
"""Names of endpoints and deployments, 3-32 characters (azure-ai-ml 1.35.2, constants/_endpoint.py)."""

MIRROR_MAX = 0.5
"""Most traffic Azure ML mirrors (learn.microsoft.com, how-to-safely-rollout-online-endpoints)."""


class Model(BaseModel):
    """Base of all manifest models: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PlatformType(StrEnum):
    """Where the endpoint lives."""

    LOCAL = "local"
    MANAGED = "managed"
    KUBERNETES = "kubernetes"


def _platform_from_word(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _enum(enum: type[StrEnum]) -> BeforeValidator:
    def parse(value: object) -> object:
        return enum(value) if isinstance(value, str) and value in list(enum) else value

    return BeforeValidator(parse)


class Platform(Model):
    """The platform and, for Azure, the workspace."""

    type: Annotated[PlatformType, _enum(PlatformType)]
    subscription_id: str | None = None
    resource_group: str | None = None
    workspace: str | None = None
    cloud: str = "AzureCloud"
    compute: str | None = Field(default=None, description="kubernetes only: the attached compute")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        azure = {
            "subscription_id": self.subscription_id,
            "resource_group": self.resource_group,
            "workspace": self.workspace,
        }
        if self.type is PlatformType.LOCAL:
            given = [key for key, value in {**azure, "compute": self.compute}.items() if value is not None]
            if given:
                raise ValueError(f"platform local takes no {', '.join(given)}: remove it")
            return self
        missing = [key for key, value in azure.items() if not value]
        if self.type is PlatformType.KUBERNETES and not self.compute:
            missing.append("compute")
        if self.type is PlatformType.MANAGED and self.compute:
            raise ValueError("platform managed takes no compute: remove it, or use type: kubernetes")
        if missing:
            raise ValueError(f"platform {self.type.value} needs {', '.join(missing)}")
        return self


class LatencyTargets(Model):
    """Upper limits of latency quantiles; any subset."""

    p50: Annotated[Seconds, Field(gt=0)] | None = None
    p95: Annotated[Seconds, Field(gt=0)] | None = None
    p99: Annotated[Seconds, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _rise(self) -> Self:
        given = [(name, value) for name, value in self.targets() if value is not None]
        if not given:
            raise ValueError("latency names no target: give at least one of p50, p95, p99")
        for (low, low_s), (high, high_s) in pairwise(given):
            if low_s > high_s:
                raise ValueError(f"{low} is above {high}: quantiles rise")
        return self

    def targets(self) -> tuple[tuple[str, float | None], ...]:
        """Name and limit in seconds (None: not given), from the lowest quantile to the highest."""
        return (("p50", self.p50), ("p95", self.p95), ("p99", self.p99))


class Slo(Model):
    """What users were promised: one source for gate, load test, profile and alerts."""

    latency: LatencyTargets | None = None
    error_rate: Annotated[Share, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.latency is None and self.error_rate is None:
            raise ValueError("slo names no target: give latency, error_rate or both")
        return self


class WeightStep(Model):
    """Give the candidate ``weight`` percent of live traffic and judge it there."""

    weight: Annotated[int, Field(ge=1, le=100)]
    min: Seconds | None = None
    max: Seconds | None = None


class MirrorStep(Model):
    """Copy a share of live traffic to the candidate; users see only the stable's answers."""

    mirror: Annotated[Share, Field(gt=0, le=MIRROR_MAX)]
    duration: Annotated[Seconds, Field(gt=0)] = Field(alias="for")


class Pause(Model):
    """How long to wait; without ``for``, until a person promotes."""

    duration: Annotated[Seconds, Field(gt=0)] | None = Field(default=None, alias="for")


class PauseStep(Model):
    """Stand still, for a time or until a person promotes."""

    pause: Pause


class Empty(Model):
    """Nothing: ``{}``."""


class SmokeStep(Model):
    """Send the smoke requests again, at this point of the rollout."""

    smoke: Empty


def _weight_step(value: object) -> object:
    return {"weight": value} if isinstance(value, int) and not isinstance(value, bool) else value


CanaryStep = Annotated[WeightStep | MirrorStep | PauseStep | SmokeStep, BeforeValidator(_weight_step)]


class Each(Model):
    """Defaults of every weight step: not judged passed before ``min``, undecided at ``max`` is inconclusive."""

    min: Seconds = 300.0
    max: Annotated[Seconds, Field(gt=0)] = 1800.0


class Canary(Model):
    """Weights that rise step by step to 100."""

    steps: Annotated[tuple[CanaryStep, ...], Field(min_length=1, strict=False)]
    each: Each = Each()
    bake: Seconds = 1800.0

    @model_validator(mode="after")
    def _sound(self) -> Self:
        weights = [step.weight for step in self.steps if isinstance(step, WeightStep)]
        for low, high in pairwise(weights):
            if high <= low:
                raise ValueError(f"weights must rise: {high} follows {low}")
        if 100 in weights and not (isinstance(self.steps[-1], WeightStep) and self.steps[-1].weight == 100):
            raise ValueError("nothing may follow weight 100: it is the last step, and bake comes after it")
        for step in self.steps:
            least, most = self.bounds(step) if isinstance(step, WeightStep) else (0.0, 1.0)
            if least > most:
                raise ValueError(f"a step's min ({least:g}s) is longer than its max ({most:g}s)")
        seen_weight = False
        for step in self.steps:
            if isinstance(step, WeightStep):
                seen_weight = True
            if isinstance(step, MirrorStep) and seen_weight:
                raise ValueError(
                    "mirror comes before the first weight: a deployment takes live or mirrored traffic, not both"
                )
        return self

    def bounds(self, step: WeightStep) -> tuple[float, float]:
        """Least and most seconds of a weight step, defaults filled in."""
        least = self.each.min if step.min is None else step.min
        most = self.each.max if step.max is None else step.max
        return least, most


class BlueGreen(Model):
    """All traffic at once, after an optional time of mirrored traffic."""

    mirror: Annotated[Share, Field(gt=0, le=MIRROR_MAX)] | None = None
    mirror_for: Annotated[Seconds, Field(gt=0)] = 600.0
    bake: Seconds = 1800.0


class OnFail(StrEnum):
    """What follows a FAIL verdict."""

    ROLLBACK = "rollback"
    FREEZE = "freeze"


class OnInconclusive(StrEnum):
    """What follows a step's ``max`` without a verdict."""

    ROLLBACK = "rollback"
    PAUSE = "pause"


class Retire(StrEnum):
    """What becomes of the stable after the bake."""

    DELETE = "delete"
    SCALE_DOWN = "scale_down"
    KEEP = "keep"


class Strategy(Model):
    """How traffic moves, and what happens when it must not."""

    canary: Canary | None = None
    blue_green: BlueGreen | None = None
    on_fail: Annotated[OnFail, _enum(OnFail)] = OnFail.ROLLBACK
    on_inconclusive: Annotated[OnInconclusive, _enum(OnInconclusive)] = OnInconclusive.ROLLBACK
    retire: Annotated[Retire, _enum(Retire)] = Retire.DELETE
    deadline: Annotated[Seconds, Field(gt=0)] = 10800.0

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.canary is None) == (self.blue_green is None):
            raise ValueError("strategy needs exactly one of canary and blue_green")
        return self

    @property
    def bake_s(self) -> float:
        """Seconds at 100 % before the stable is retired."""
        if self.canary is not None:
            return self.canary.bake
        return self.blue_green.bake if self.blue_green is not None else 0.0


def _margin(value: object) -> object:
    return {"rule_out": value} if isinstance(value, str) else value


class LatencyMargin(Model):
    """Up to ``tolerate`` never rolled back; a PASS proves it is below ``rule_out`` (factors >= 1)."""

    tolerate: Growth = 1.05
    rule_out: Growth = 1.25

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.tolerate >= self.rule_out:
            raise ValueError("tolerate must be below rule_out: between them lies what the gate may decide either way")
        return self


class ErrorMargin(LatencyMargin):
    """The same for the odds of an error."""

    tolerate: Growth = 1.3
    rule_out: Growth = 3.0


class Compare(Model):
    """Margins against the stable in the same moments."""

    latency: Annotated[LatencyMargin, BeforeValidator(_margin)] = LatencyMargin()
    error_rate: Annotated[ErrorMargin, BeforeValidator(_margin)] = ErrorMargin()


class TelemetrySource(StrEnum):
    """Where the gate reads."""

    TRAFFIC_LOG = "traffic_log"
    APP_INSIGHTS = "app_insights"
    METRICS = "metrics"
    LOCAL = "local"


class Telemetry(Model):
    """Where the gate reads, and how old data may be before it is blind."""

    source: Annotated[TelemetrySource, _enum(TelemetrySource)] | None = None
    log_analytics_workspace_id: str | None = None
    app_insights: str | None = None
    max_lag: Annotated[Seconds, Field(gt=0)] = 600.0


def _auto(value: object) -> object:
    return None if value == "auto" else value


AutoSeconds = Annotated[Seconds | None, BeforeValidator(_auto)]
"""A duration, or ``auto`` (None)."""


class Gate(Model):
    """How the candidate is judged."""

    compare: Compare = Compare()
    min_requests: Annotated[int, Field(ge=1)] = 200
    block: Annotated[AutoSeconds, Field(ge=1, le=600)] = None
    settle: Annotated[AutoSeconds, Field(ge=0, le=600)] = None
    look: Annotated[Seconds, Field(ge=0.2, le=600)] = 10.0
    warm_up: Seconds = 60.0
    false_rollback: Annotated[Share, Field(gt=0, le=0.5)] = 0.01
    missed_regression: Annotated[Share, Field(gt=0, le=0.5)] = 0.05
    telemetry: Telemetry = Telemetry()
    observe_only: Annotated[tuple[Literal["p50", "p95", "p99", "error_rate", "compare"], ...], Field(strict=False)] = ()


class Expect(Model):
    """What a smoke answer must be."""

    status: Annotated[int, Field(ge=100, le=599)] = 200
    json_schema: str | None = Field(default=None, description="path of a JSON schema, relative to the manifest")
    within: Annotated[Seconds, Field(gt=0)] = 5.0


class Smoke(Model):
    """One request sent to the candidate alone, before any user's."""

    request: str
    expect: Expect = Expect()


class WarmUp(Model):
    """Requests sent to each instance of the candidate before it gets weight."""

    requests: Annotated[int, Field(ge=1, le=10_000)] = 50
    request: str


class Load(Model):
    """Synthetic traffic while rolling out (open model, Poisson arrivals)."""

    rps: Annotated[float, Field(gt=0, le=10_000, strict=False)]
    request: str


class Manifest(Model):
    """One rollout."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=NAME_PATTERN, min_length=2, max_length=64)]
    platform: Annotated[Platform, BeforeValidator(_platform_from_word)]
    env: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")], ...], Field(strict=False)] = ()
    endpoint: str | dict[str, Any]
    deployment: str | dict[str, Any]
    baseline: str | dict[str, Any] | None = None
    slo: Slo
    strategy: Strategy
    gate: Gate = Gate()
    smoke: Annotated[tuple[Smoke, ...], Field(strict=False)] = ()
    warmup: WarmUp | None = None
    load: Load | None = None
    tags: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.strategy.bake_s < self.gate.look:
            raise ValueError("bake is shorter than one look of the gate: nothing would be judged at 100 %")
        return self
