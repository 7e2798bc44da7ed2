"""What all manifest models share: strictness, and the types by which a value is chosen from words."""

from enum import StrEnum

from pydantic import BaseModel, BeforeValidator, ConfigDict

from deployer.manifest.problems import FieldError, did_you_mean, shown


class Model(BaseModel):
    """Base of all manifest models: frozen, strict, no unknown keys, built on first use (importing stays fast)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


def one_of(enum: type[StrEnum]) -> BeforeValidator:
    """Take the member of ``enum`` that a word names; a word that names none is refused with the nearest one."""

    def parse(value: object) -> object:
        if isinstance(value, str) and value in list(enum):
            return enum(value)
        raise FieldError(f"{shown(value)} is not one of {', '.join(enum)}", hint=did_you_mean(str(value), enum))

    return BeforeValidator(parse)
