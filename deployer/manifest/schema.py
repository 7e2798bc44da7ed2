"""The manifest as frozen models: what each key means, its default and its limits.

Field names are the words users write. Everything is validated strictly (no coercion of ``"5"`` to 5, unknown keys
refused); rules that need several fields are validators here, so that every reader of a manifest shares them.
"""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from deployer.manifest.base import Model, one_of
from deployer.manifest.notify import Webhook
from deployer.manifest.problems import FieldError
from deployer.manifest.quantities import Growth, Seconds, Share
from deployer.manifest.strategy import (
    MIRROR_MAX,
    BlueGreen,
    Canary,
    CanaryStep,
    Each,
    Empty,
    MirrorStep,
    OnFail,
    OnInconclusive,
    Pause,
    PauseStep,
    Retire,
    SmokeStep,
    Strategy,
    WeightStep,
)

__all__ = [
    "ENV_PATTERN",
    "MIRROR_MAX",
    "NAME_PATTERN",
    "AutoSeconds",
    "BlueGreen",
    "Canary",
    "CanaryStep",
    "Compare",
    "Each",
    "Empty",
    "ErrorMargin",
    "Expect",
    "Gate",
    "LatencyMargin",
    "LatencyTargets",
    "Load",
    "Manifest",
    "MirrorStep",
    "Model",
    "OnFail",
    "OnInconclusive",
    "Pause",
    "PauseStep",
    "Platform",
    "PlatformType",
    "Retire",
    "Slo",
    "Smoke",
    "SmokeStep",
    "Strategy",
    "Telemetry",
    "TelemetrySource",
    "WarmUp",
    "WeightStep",
    "long_platform",
    "version_of_format",
]

NAME_PATTERN = r"^[a-zA-Z](?:-?[a-zA-Z0-9])*$"
"""Names of endpoints and deployments, 3-32 characters (azure-ai-ml 1.35.2, constants/_endpoint.py)."""


ENV_PATTERN = r"^[A-Z_][A-Z0-9_]*$"
"""Names of environment variables that a manifest may read."""


class PlatformType(StrEnum):
    """Where the endpoint lives."""

    LOCAL = "local"
    MANAGED = "managed"
    KUBERNETES = "kubernetes"


def long_platform(value: object) -> object:
    """``local`` is short for ``{type: local}``."""
    return {"type": value} if isinstance(value, str) else value


class Platform(Model):
    """The platform and, for Azure, the workspace."""

    type: Annotated[PlatformType, one_of(PlatformType)] = Field(description="where the endpoint lives")
    subscription_id: str | None = Field(default=None, description="Azure subscription of the workspace")
    resource_group: str | None = Field(default=None, description="resource group of the workspace")
    workspace: str | None = Field(default=None, description="Azure ML workspace")
    cloud: str = Field(
        default="",
        description="AzureCloud, AzureUSGovernment, AzureChinaCloud, or one that ARM_CLOUD_METADATA_URL describes; "
        "left out: the one of that variable, else of `az cloud set`, else AzureCloud",
    )
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
                raise FieldError(f"platform local takes no {', '.join(given)}", hint="remove it", at=(given[0],))
            return self
        missing = [key for key, value in azure.items() if not value]
        if self.type is PlatformType.KUBERNETES and not self.compute:
            missing.append("compute")
        if self.type is PlatformType.MANAGED and self.compute:
            hint = "remove it, or use type: kubernetes"
            raise FieldError("platform managed takes no compute", hint=hint, at=("compute",))
        if missing:
            raise FieldError(f"platform {self.type.value} needs {', '.join(missing)}", hint="add it")
        return self


class LatencyTargets(Model):
    """Upper limits of latency quantiles; any subset."""

    p50: Annotated[Seconds, Field(gt=0)] | None = Field(default=None, description="half of the answers are faster")
    p95: Annotated[Seconds, Field(gt=0)] | None = Field(default=None, description="95 of 100 answers are faster")
    p99: Annotated[Seconds, Field(gt=0)] | None = Field(default=None, description="99 of 100 answers are faster")

    @model_validator(mode="after")
    def _rise(self) -> Self:
        given = [(name, value) for name, value in self.targets() if value is not None]
        if not given:
            raise FieldError("latency names no target", hint="give at least one of p50, p95, p99")
        for (low, low_s), (high, high_s) in pairwise(given):
            if low_s > high_s:
                raise FieldError(f"{low} is above {high}: quantiles rise", at=(high,))
        return self

    def targets(self) -> tuple[tuple[str, float | None], ...]:
        """Name and limit in seconds (None: not given), from the lowest quantile to the highest."""
        return (("p50", self.p50), ("p95", self.p95), ("p99", self.p99))


class Slo(Model):
    """What users were promised: one source for gate, load test, profile and alerts."""

    latency: LatencyTargets | None = Field(default=None, description="upper limits of latency quantiles")
    error_rate: Annotated[Share, Field(gt=0, lt=1)] | None = Field(default=None, description="most requests that fail")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.latency is None and self.error_rate is None:
            raise FieldError("slo names no target", hint="give latency, error_rate or both")
        return self


def _long_margin(value: object) -> object:
    """``+25%`` is short for ``{rule_out: +25%}``."""
    return {"rule_out": value} if isinstance(value, str) else value


class LatencyMargin(Model):
    """Up to ``tolerate`` never rolled back; a PASS proves it is below ``rule_out`` (factors >= 1)."""

    tolerate: Growth = Field(default=1.05, description="up to this much worse is never rolled back")
    rule_out: Growth = Field(default=1.25, description="a PASS proves the candidate is better than this")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.tolerate >= self.rule_out:
            why = "between them lies what the gate may decide either way"
            raise FieldError(f"tolerate must be below rule_out: {why}", at=("tolerate",))
        return self


class ErrorMargin(LatencyMargin):
    """The same for the odds of an error."""

    tolerate: Growth = Field(default=1.3, description="up to this much worse is never rolled back")
    rule_out: Growth = Field(default=3.0, description="a PASS proves the candidate is better than this")


class Compare(Model):
    """Margins against the stable in the same moments."""

    latency: Annotated[LatencyMargin, BeforeValidator(_long_margin, json_schema_input_type=Growth | LatencyMargin)] = (
        Field(default_factory=LatencyMargin, description="of latency quantiles; +25% is short for {rule_out: +25%}")
    )
    error_rate: Annotated[ErrorMargin, BeforeValidator(_long_margin, json_schema_input_type=Growth | ErrorMargin)] = (
        Field(default_factory=ErrorMargin, description="of the odds of an error; 3x is short for {rule_out: 3x}")
    )


class TelemetrySource(StrEnum):
    """Where the gate reads."""

    TRAFFIC_LOG = "traffic_log"
    APP_INSIGHTS = "app_insights"
    METRICS = "metrics"
    LOCAL = "local"


class Telemetry(Model):
    """Where the gate reads, and how old data may be before it is blind."""

    source: Annotated[TelemetrySource, one_of(TelemetrySource)] | None = Field(
        default=None, description="default: by platform"
    )
    log_analytics_workspace_id: str | None = Field(default=None, description="workspace that holds the traffic log")
    app_insights: str | None = Field(default=None, description="resource id of the Application Insights component")
    max_lag: Annotated[Seconds, Field(gt=0)] = Field(
        default=600.0, description="older than this the gate is blind, and blind never promotes"
    )


def _auto(value: object) -> object:
    return None if value == "auto" else value


_from_auto = BeforeValidator(_auto, json_schema_input_type=Literal["auto"] | Seconds | None)

AutoSeconds = Annotated[Seconds | None, _from_auto]
"""A duration, or ``auto`` (None)."""


class Gate(Model):
    """How the candidate is judged."""

    compare: Compare = Field(default_factory=Compare, description="margins against the stable in the same moments")
    min_requests: Annotated[int, Field(ge=1)] = Field(default=200, description="of the candidate, per step")
    block: Annotated[Annotated[Seconds, Field(ge=1, le=600)] | None, _from_auto] = Field(
        default=None, description="block of event time that is compared: auto, or 1s to 10m"
    )
    settle: Annotated[Annotated[Seconds, Field(ge=0, le=600)] | None, _from_auto] = Field(
        default=None, description="how long after its end a block is scored: auto, or 0s to 10m"
    )
    look: Annotated[Seconds, Field(ge=0.2, le=600)] = Field(default=10.0, description="how often the gate looks")
    warm_up: Seconds = Field(
        default=60.0,
        description="of this time after a deployment first gets traffic, latencies (not errors) are left out",
    )
    false_rollback: Annotated[Share, Field(gt=0, le=0.5)] = Field(
        default=0.01,
        description="at most this chance of rolling back a release within tolerate, as measured on simulated rollouts",
    )
    missed_regression: Annotated[Share, Field(gt=0, le=0.5)] = Field(
        default=0.05, description="at most this chance of passing one beyond rule_out or the slo"
    )
    telemetry: Telemetry = Field(default_factory=Telemetry, description="where the gate reads")
    observe_only: Annotated[tuple[Literal["p50", "p95", "p99", "error_rate", "compare"], ...], Field(strict=False)] = (
        Field(default=(), description="judged and reported, never acted on", examples=[["p50"]])
    )


class Expect(Model):
    """What a smoke answer must be."""

    status: Annotated[int, Field(ge=100, le=599)] = Field(default=200, description="HTTP status")
    json_schema: str | None = Field(default=None, description="path of a JSON schema, relative to the manifest")
    within: Annotated[Seconds, Field(gt=0)] = Field(default=5.0, description="answered within")


_PAYLOAD = "path of a JSON file, relative to the manifest"


class Smoke(Model):
    """One request sent to the candidate alone, before any user's."""

    request: str = Field(description=_PAYLOAD, examples=["samples/ok.json"])
    expect: Expect = Field(default_factory=Expect, description="what the answer must be")


class WarmUp(Model):
    """Requests sent to each instance of the candidate before it gets weight."""

    requests: Annotated[int, Field(ge=1, le=10_000)] = Field(default=50, description="how many, to each instance")
    request: str = Field(description=_PAYLOAD, examples=["samples/ok.json"])


class Load(Model):
    """Synthetic traffic while rolling out (open model, Poisson arrivals)."""

    rps: Annotated[float, Field(gt=0, le=10_000)] = Field(description="requests per second", examples=[40])
    request: str = Field(description=_PAYLOAD, examples=["samples/ok.json"])


def version_of_format(value: object) -> object:
    """Take 1 and nothing else."""
    if isinstance(value, bool) or value != 1:
        raise FieldError("the version of this format is 1", hint="write version: 1")
    return value


class Manifest(Model):
    """One rollout: what to deploy where, how traffic moves, and what the new version must prove."""

    version: Annotated[Literal[1], BeforeValidator(version_of_format)] = Field(description="of this format: 1")
    name: Annotated[str, Field(pattern=NAME_PATTERN, min_length=2, max_length=64)] = Field(
        description="of the rollout", examples=["digits"]
    )
    platform: Annotated[
        Platform, BeforeValidator(long_platform, json_schema_input_type=Literal["local"] | Platform)
    ] = Field(description="where the endpoint lives; local is short for {type: local}")
    env: Annotated[tuple[Annotated[str, Field(pattern=ENV_PATTERN)], ...], Field(strict=False)] = Field(
        default=(),
        description="environment variables that ${NAME} and ${NAME:-default} may read",
        examples=[["AZURE_SUBSCRIPTION_ID"]],
    )
    endpoint: str | dict[str, Any] = Field(
        description="Azure ML CLI v2 endpoint YAML, inline or as a path", examples=["endpoint.yml"]
    )
    deployment: str | dict[str, Any] = Field(
        description="Azure ML CLI v2 deployment YAML of the new version, inline or as a path; name may be left out",
        examples=["deployment.yml"],
    )
    baseline: str | dict[str, Any] | None = Field(
        default=None,
        description="deployed first at 100 % when the endpoint has no deployment yet",
        examples=["deployment-v1.yml"],
    )
    slo: Slo = Field(description="what users were promised")
    strategy: Strategy = Field(description="how traffic moves")
    gate: Gate = Field(default_factory=Gate, description="how the candidate is judged")
    smoke: Annotated[tuple[Smoke, ...], Field(strict=False)] = Field(
        default=(), description="requests sent to the candidate alone, before any user's"
    )
    warmup: WarmUp | None = Field(default=None, description="requests that warm each instance of the candidate")
    load: Load | None = Field(default=None, description="synthetic traffic while rolling out")
    notify: Annotated[tuple[Webhook, ...], Field(strict=False, max_length=10)] = Field(
        default=(), description="webhooks that are told what becomes of a rollout"
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="put on what deployer makes", examples=[{"owner": "team-a"}]
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.strategy.bake_s < self.gate.look:
            raise FieldError(
                "bake is shorter than one look of the gate: nothing would be judged at 100 %",
                hint="lengthen bake, or shorten gate.look",
                at=("strategy", "canary" if self.strategy.canary else "blue_green", "bake"),
            )
        steps = self.strategy.canary.steps if self.strategy.canary else ()
        for n, step in enumerate(steps):
            if isinstance(step, SmokeStep) and not self.smoke:
                hint = "add smoke: [{request: samples/ok.json}], or remove the step"
                raise FieldError(
                    "a smoke step without smoke requests", hint=hint, at=("strategy", "canary", "steps", n)
                )
        return self
