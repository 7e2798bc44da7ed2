"""How traffic moves: the steps of a canary, blue/green, and what happens when a release must not go on."""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Self, cast

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from deployer.manifest.base import Model, one_of
from deployer.manifest.problems import FieldError, did_you_mean, shown
from deployer.manifest.quantities import Seconds, Share, format_duration

MIRROR_MAX = 0.5
"""Most traffic Azure ML mirrors (learn.microsoft.com, how-to-safely-rollout-online-endpoints)."""


class WeightStep(Model):
    """Give the candidate ``weight`` percent of live traffic and judge it there."""

    weight: Annotated[int, Field(ge=1, le=100)] = Field(description="percent of live traffic, a whole number")
    min: Seconds | None = Field(default=None, description="not judged passed before; default: each.min")
    max: Seconds | None = Field(default=None, description="undecided by then is inconclusive; default: each.max")


class MirrorStep(Model):
    """Copy a share of live traffic to the candidate; users see only the stable's answers."""

    mirror: Annotated[Share, Field(gt=0, le=MIRROR_MAX)] = Field(description="share of live traffic, at most 50%")
    duration: Annotated[Seconds, Field(gt=0)] = Field(alias="for", description="how long")


class Pause(Model):
    """How long to wait; without ``for``, until a person promotes."""

    duration: Annotated[Seconds, Field(gt=0)] | None = Field(
        default=None, alias="for", description="how long; without it, until a person promotes"
    )


class PauseStep(Model):
    """Stand still, for a time or until a person promotes."""

    pause: Pause


class Empty(Model):
    """Nothing: ``{}``."""


class SmokeStep(Model):
    """Send the smoke requests again, at this point of the rollout."""

    smoke: Empty


STEP_KINDS = ("weight", "mirror", "pause", "smoke")
"""The key that says what a step is."""


def _long_step(value: object) -> object:
    """``25`` is short for ``{weight: 25}``; what is no step, or several in one, is refused in plain words."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"weight": value}
    if isinstance(value, Model):
        return value
    hint = "write a weight as 25, or one of {weight: 25}, {mirror: 10%, for: 10m}, {pause: {}}, {smoke: {}}"
    if not isinstance(value, dict):
        raise FieldError(f"{shown(value)} is not a step", hint=hint)
    step = cast("dict[str, Any]", value)
    kinds = [kind for kind in STEP_KINDS if kind in step]
    if len(kinds) > 1:
        raise FieldError(f"{' and '.join(kinds)} in one step", hint="make them steps of their own", at=(kinds[1],))
    if not kinds:
        near = [nearest for key in step if (nearest := did_you_mean(key, STEP_KINDS)).startswith("did")]
        raise FieldError("a step says one of weight, mirror, pause, smoke", hint=near[0] if near else hint)
    return step


def _step_kind(value: Any) -> str:
    keys = type(value).model_fields if isinstance(value, Model) else value
    return next(f"{kind} step" for kind in STEP_KINDS if kind in keys)


_LongStep = Annotated[
    Annotated[WeightStep, Tag("weight step")]
    | Annotated[MirrorStep, Tag("mirror step")]
    | Annotated[PauseStep, Tag("pause step")]
    | Annotated[SmokeStep, Tag("smoke step")],
    Discriminator(_step_kind),
]
_ShortStep = Annotated[int, Field(ge=1, le=100, description="weight: percent of live traffic")]

CanaryStep = Annotated[_LongStep, BeforeValidator(_long_step, json_schema_input_type=_ShortStep | _LongStep)]


class Each(Model):
    """Defaults of every weight step."""

    min: Seconds = Field(default=300.0, description="a step is not judged passed before")
    max: Annotated[Seconds, Field(gt=0)] = Field(default=1800.0, description="undecided by then is inconclusive")


class Canary(Model):
    """Weights that rise step by step to 100."""

    steps: Annotated[tuple[CanaryStep, ...], Field(strict=False)] = Field(
        description="in order; 100 is always the last and may be left out",
        examples=[[5, 25, 50]],
        json_schema_extra={"minItems": 1},
    )
    each: Each = Field(default_factory=Each, description="defaults of every weight step")
    bake: Seconds = Field(default=1800.0, description="at 100 %, with the stable kept whole, before it is retired")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.steps:
            raise FieldError("there is no step", hint="write steps: [5, 25, 50]", at=("steps",))
        weights = [(n, step.weight) for n, step in enumerate(self.steps) if isinstance(step, WeightStep)]
        for (_, low), (n, high) in pairwise(weights):
            if high <= low:
                raise FieldError(f"weights must rise: {high} follows {low}", at=("steps", n))
        for n, weight in weights:
            if weight == 100 and n + 1 < len(self.steps):
                raise FieldError("nothing may follow weight 100: bake comes after it", at=("steps", n + 1))
        for n, step in enumerate(self.steps):
            least, most = self.bounds(step) if isinstance(step, WeightStep) else (0.0, 0.0)
            if least > most:
                longer = f"min ({format_duration(least)}) is longer than max ({format_duration(most)})"
                raise FieldError(f"the step's {longer}", at=("steps", n))
            if isinstance(step, MirrorStep) and weights and weights[0][0] < n:
                why = "a deployment takes live or mirrored traffic, not both"
                raise FieldError(f"mirror comes before the first weight: {why}", at=("steps", n))
        return self

    def bounds(self, step: WeightStep) -> tuple[float, float]:
        """Least and most seconds of a weight step, defaults filled in."""
        least = self.each.min if step.min is None else step.min
        most = self.each.max if step.max is None else step.max
        return least, most

    @property
    def least_s(self) -> float:
        """Seconds from the first step to the end of the bake if everything passes as early as it may."""
        return self.bake + sum(self._least(step) for step in self.steps)

    def _least(self, step: CanaryStep) -> float:
        if isinstance(step, WeightStep):
            return self.bounds(step)[0] if step.weight < 100 else 0.0
        if isinstance(step, MirrorStep):
            return step.duration
        return (step.pause.duration or 0.0) if isinstance(step, PauseStep) else 0.0


class BlueGreen(Model):
    """All traffic at once, after an optional time of mirrored traffic."""

    mirror: Annotated[Share, Field(gt=0, le=MIRROR_MAX)] | None = Field(
        default=None, description="share of live traffic copied to the candidate first, at most 50%"
    )
    mirror_for: Annotated[Seconds, Field(gt=0)] = Field(default=600.0, description="how long traffic is mirrored")
    bake: Seconds = Field(default=1800.0, description="at 100 %, with the stable kept whole, before it is retired")

    @property
    def least_s(self) -> float:
        """Seconds from the first traffic to the end of the bake if everything passes as early as it may."""
        return self.bake + (self.mirror_for if self.mirror is not None else 0.0)


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
    """How traffic moves, and what happens when it must not: exactly one of canary and blue_green."""

    canary: Canary | None = Field(default=None, description="weights that rise step by step")
    blue_green: BlueGreen | None = Field(default=None, description="all traffic at once")
    on_fail: Annotated[OnFail, one_of(OnFail)] = Field(
        default=OnFail.ROLLBACK, description="rollback: traffic back to the stable; freeze: stop where it is"
    )
    on_inconclusive: Annotated[OnInconclusive, one_of(OnInconclusive)] = Field(
        default=OnInconclusive.ROLLBACK, description="what follows a step's max without a verdict"
    )
    retire: Annotated[Retire, one_of(Retire)] = Field(
        default=Retire.DELETE, description="what becomes of the stable after the bake"
    )
    deadline: Annotated[Seconds, Field(gt=0)] = Field(
        default=10800.0, description="of the whole rollout; time for the way back is reserved inside it"
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.canary is None and self.blue_green is None:
            raise FieldError("strategy needs canary or blue_green", hint="write canary: {steps: [5, 25, 50]}")
        if self.canary is not None and self.blue_green is not None:
            raise FieldError("strategy has both canary and blue_green", hint="remove one", at=("blue_green",))
        chosen = self.canary or self.blue_green
        if chosen is not None and chosen.least_s > self.deadline:
            least = f"the least time of steps and bake ({format_duration(chosen.least_s)})"
            raise FieldError(
                f"the deadline is shorter than {least}", hint="raise it, or shorten bake", at=("deadline",)
            )
        return self

    @property
    def bake_s(self) -> float:
        """Seconds at 100 % before the stable is retired."""
        if self.canary is not None:
            return self.canary.bake
        return self.blue_green.bake if self.blue_green is not None else 0.0
