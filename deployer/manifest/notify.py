"""``notify:``, who is told what becomes of a rollout. An address of a webhook lets everybody post: it is a secret.

So neither address nor secret may stand in the file: both are written ``${NAME}``, and the models hold them so that no
dump, message or traceback shows them. An empty address (``${NAME:-}``) turns its webhook off: a check of a pull request
has no secrets.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Self, cast

from pydantic import Field, SecretStr, model_validator

from deployer.manifest.addresses import is_loopback
from deployer.manifest.base import Model, one_of
from deployer.manifest.problems import Expanded, FieldError, Finding

SECRET_MIN = 16
"""Bytes of the shortest secret that may sign."""
PREFIX = "whsec_"
"""What follows it is base64, as the specification of Standard Webhooks writes secrets."""
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<user>[^/?#@]*@)?(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][!-~]*)?"
)


class WebhookFormat(StrEnum):
    """What the receiver understands."""

    SLACK = "slack"
    TEAMS = "teams"
    GENERIC = "generic"


class Occasion(StrEnum):
    """What a webhook may be told of."""

    STARTED = "started"
    ADVANCED = "advanced"
    PAUSED = "paused"
    RESUMED = "resumed"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    STUCK = "stuck"


class Webhook(Model):
    """One receiver."""

    webhook: SecretStr = Field(
        description="its https address, as ${NAME}: whoever knows it may post; empty turns it off",
        examples=["${SLACK_WEBHOOK_URL}"],
    )
    format: Annotated[WebhookFormat, one_of(WebhookFormat)] = Field(
        description="slack, teams (Workflows, an adaptive card), or generic (signed JSON, Standard Webhooks)"
    )
    events: Annotated[
        tuple[Annotated[Occasion, one_of(Occasion)], ...], Field(strict=False, min_length=1, max_length=len(Occasion))
    ] = Field(
        default=(Occasion.PAUSED, Occasion.PROMOTED, Occasion.ROLLED_BACK, Occasion.STUCK),
        description="what it is told of",
        examples=[["paused", "rolled_back", "stuck"]],
    )
    secret: SecretStr | None = Field(
        default=None,
        description="generic only: signs each message (HMAC-SHA256), as ${NAME}",
        examples=["${HOOK_SECRET}"],
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.is_on:
            return self
        _check_address(self.webhook.get_secret_value())
        if self.format is not WebhookFormat.GENERIC and self.secret is not None:
            raise FieldError(f"format {self.format.value} cannot be signed", hint="remove secret", at=("secret",))
        if self.format is WebhookFormat.GENERIC and self.secret is None:
            raise FieldError("format generic is signed: secret is missing", hint="add secret: ${NAME}")
        if self.secret is not None and len(self.key) < SECRET_MIN:
            raise FieldError(
                f"the secret is shorter than {SECRET_MIN} bytes",
                hint="make one: openssl rand -hex 32",
                at=("secret",),
            )
        return self

    @property
    def is_on(self) -> bool:
        """It has an address."""
        return bool(self.webhook.get_secret_value())

    @property
    def key(self) -> bytes:
        """What signs; empty: nothing does, or what follows ``whsec_`` is no base64."""
        text = self.secret.get_secret_value() if self.secret is not None else ""
        if not text.startswith(PREFIX):
            return text.encode()
        try:
            return base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (ValueError, binascii.Error):
            return b""


def _check_address(address: str) -> None:
    """Refuse what is no https address; the address itself is in no message."""
    found = _ADDRESS.fullmatch(address)
    hint = "write https://host/path into the environment variable"
    if found is None:
        raise FieldError("webhook is no https address", hint=hint, at=("webhook",))
    if found["user"]:
        raise FieldError("webhook holds a user or a password", hint="use the receiver's own address", at=("webhook",))
    if found["scheme"] == "http" and not is_loopback(found["host"].strip("[]")):
        raise FieldError("webhook is not encrypted: http is for this machine alone", hint=hint, at=("webhook",))


def plain_secrets(content: dict[str, Any]) -> Iterator[Finding]:
    """Find addresses and secrets that stand in the file itself, where everybody reads them."""
    listed = content.get("notify")
    for index, each in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else []):
        if not isinstance(each, dict):
            continue
        for key in ("webhook", "secret"):
            value: Any = cast("dict[str, Any]", each).get(key)
            if isinstance(value, str) and not _is_reference(value):
                message = f"notify[{index}].{key} stands in the file: it is a secret"
                hint = "put it into an environment variable, list that under env, and write ${NAME}"
                yield Finding(("notify", index, key), message, hint)


def _is_reference(value: str) -> bool:
    """Whether it was written as one ``${NAME}``, with no default but an empty one."""
    if not isinstance(value, Expanded):
        return value == ""
    written = value.written
    return written.startswith("${") and written.removesuffix(":-}").removesuffix("}").removeprefix("${").isidentifier()
