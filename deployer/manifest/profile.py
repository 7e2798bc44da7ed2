"""A profile as frozen models: which configurations of a deployment are compared, for which load, within which budget.

The words are those of a manifest and of Azure ML's own deployment YAML.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import BeforeValidator, Field, model_validator

from deployer.manifest.azureml import DeploymentSource, EndpointSource
from deployer.manifest.base import Model
from deployer.manifest.configuration import Configuration
from deployer.manifest.problems import FieldError
from deployer.manifest.quantities import Seconds, Share
from deployer.manifest.schema import (
    ENV_PATTERN,
    NAME_PATTERN,
    Platform,
    PlatformType,
    Slo,
    long_platform,
    version_of_format,
)

CANDIDATES_MAX = 500
"""Most configurations of one profile: more is a slip, and no budget would do."""
_Quantities = dict[Literal["cpu", "memory", "nvidia.com/gpu"], Annotated[str, Field(min_length=1)]]


class ResourceCandidate(Model):
    """``resources`` of a Kubernetes deployment, as Azure ML writes them."""

    requests: _Quantities = Field(description="what each instance is promised", examples=[{"cpu": "1"}])
    limits: _Quantities | None = Field(default=None, description="most that each instance gets")


def _once(value: object) -> object:
    """Refuse a value that is given twice."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    texts = [json.dumps(each, sort_keys=True, default=str) for each in items]
    twice = next((n for n, text in enumerate(texts) if text in texts[:n]), None)
    if twice is not None:
        raise FieldError("this value is given twice", hint="remove one of them", at=(twice,))
    return cast("object", value)


_Item = TypeVar("_Item")
Choices = Annotated[tuple[_Item, ...], Field(strict=False, min_length=1, max_length=64), BeforeValidator(_once)]
"""Values to compare, each once."""


class Candidates(Model):
    """Fields of the deployment and the values to compare; every combination is a candidate."""

    instance_type: Choices[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None, description="sizes of an instance; not on the local platform", examples=[["Standard_F4s_v2"]]
    )
    instance_count: Choices[Annotated[int, Field(ge=1, le=1000)]] | None = Field(
        default=None, description="numbers of instances", examples=[[1, 2, 3]]
    )
    workers: Choices[Annotated[int, Field(ge=1, le=64)]] | None = Field(
        default=None, description="environment variable WORKER_COUNT", examples=[[1, 2]]
    )
    max_concurrent_requests_per_instance: Choices[Annotated[int, Field(ge=1, le=10_000)]] | None = Field(
        default=None, description="of request_settings", examples=[[1, 4]]
    )
    resources: Choices[ResourceCandidate] | None = Field(
        default=None, description="kubernetes only: requests and limits of an instance"
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        given = [values for values in self.choices().values() if values is not None]
        if not given:
            raise FieldError("candidates names nothing to compare", hint="give instance_count, workers or another")
        count = 1
        for each in given:
            count *= len(each)
        if count > CANDIDATES_MAX:
            raise FieldError(f"these are {count} combinations, over {CANDIDATES_MAX}", hint="give fewer values")
        return self

    def choices(self) -> dict[str, tuple[Any, ...] | None]:
        """Values by field; None: the deployment's own value stands."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Budget(Model):
    """What finding out may take: enforced."""

    time: Annotated[Seconds, Field(ge=10)] = Field(default=3600.0, description="deployments and load together")
    usd: Annotated[float, Field(gt=0, le=100_000)] | None = Field(
        default=None, description="what the instances may cost meanwhile; a remote platform needs it", examples=[5]
    )


class Profile(Model):
    """One comparison of configurations: the cheapest that carries the load within the SLO is wanted."""

    version: Annotated[Literal[1], BeforeValidator(version_of_format)] = Field(description="of this format: 1")
    name: Annotated[str, Field(pattern=NAME_PATTERN, min_length=2, max_length=64)] = Field(
        description="of the profile", examples=["digits-size"]
    )
    platform: Annotated[
        Platform, BeforeValidator(long_platform, json_schema_input_type=Literal["local"] | Platform)
    ] = Field(description="where it is measured; local is short for {type: local}")
    env: Annotated[tuple[Annotated[str, Field(pattern=ENV_PATTERN)], ...], Field(strict=False)] = Field(
        default=(), description="environment variables that ${NAME} and ${NAME:-default} may read"
    )
    endpoint: str | dict[str, Any] = Field(
        description="Azure ML CLI v2 endpoint YAML of a test endpoint, inline or as a path; none with users' traffic",
        examples=["endpoint.yml"],
    )
    deployment: str | dict[str, Any] = Field(
        description="Azure ML CLI v2 deployment YAML, inline or as a path: the template that candidates change",
        examples=["deployment.yml"],
    )
    candidates: Candidates = Field(description="fields of the deployment and the values to compare")
    slo: Slo = Field(description="what users were promised")
    peak_rps: Annotated[float, Field(gt=0, le=1_000_000)] = Field(
        description="most requests a second that must be carried", examples=[60]
    )
    headroom: Share = Field(default=0.2, description="room above the peak: 20% carries 1.2 times the peak")
    request: str = Field(
        description="path of a JSON file, or of one with a request a line (.jsonl), relative to the profile",
        examples=["samples/ok.json"],
    )
    prices: dict[str, Annotated[float, Field(gt=0, le=100_000)]] = Field(
        default_factory=dict,
        description="USD per hour by instance type, of local-core-hour and of cluster-core-hour; else looked up",
        examples=[{"local-core-hour": 0.05}],
    )
    budget: Budget = Field(default_factory=Budget, description="what finding out may take: enforced")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        kind = self.platform.type
        if kind is PlatformType.LOCAL and self.candidates.instance_type is not None:
            hint = "remove it; compare workers and instance_count here, instance types on Azure"
            raise FieldError("this machine has one instance type", hint=hint, at=("candidates", "instance_type"))
        if kind is not PlatformType.KUBERNETES and self.candidates.resources is not None:
            hint = "remove it, or use platform kubernetes"
            raise FieldError("resources are of platform kubernetes", hint=hint, at=("candidates", "resources"))
        if kind is not PlatformType.LOCAL and self.budget.usd is None:
            raise FieldError(
                "a profile on a remote platform needs a budget in USD",
                hint="add usd, as {time: 2h, usd: 5}",
                at=("budget",),
            )
        return self


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """A profile together with all that it refers to."""

    profile: Profile
    path: Path
    """The profile as it was named."""
    root: Path
    """No local path of the deployment leads out of it."""
    endpoint: EndpointSource
    deployment: DeploymentSource
    """The template."""
    payload: Path
    """The file of requests."""
    configurations: tuple[Configuration, ...]
    digest: str
    """Hex SHA-256 of all of the above."""

    @property
    def rate(self) -> float:
        """Requests a second that must be carried: the peak and its headroom."""
        return self.profile.peak_rps * (1 + self.profile.headroom)
