"""What a rollout deploys, as it is kept beside its journal: both versions' documents, and no secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from deployer.errors import DeployerError
from deployer.manifest.azureml import DeploymentSource
from deployer.manifest.spec import RolloutSpec
from deployer.platforms.online.secrecy import holds_secret, is_named_secret, is_secret
from deployer.ports.inspection import Price
from deployer.rollout.model import Plan

SECRET = "(a secret, not kept)"  # noqa: S105 - what stands in its place
_NAMED = frozenset({"environment_variables", "tags", "properties"})
"""Maps whose keys are the users' own names, by which a secret may be told."""


def specification_of(spec: RolloutSpec, plan: Plan, price: Callable[[], Price | None]) -> dict[str, Any]:
    """Write both versions, as far as the manifest has them, and what the candidate costs."""
    written: dict[str, Any] = {"candidate": document(spec.deployment)}
    if plan.baseline and spec.baseline is not None:
        written["stable"] = document(spec.baseline)
    instances = max(spec.deployment.instance_count, plan.stable_instances)
    try:
        found = price()
    except DeployerError:
        found = None  # a rollout does not wait for a price
    if found is not None:
        written["cost"] = {
            "usd_per_hour": found.usd_per_hour,
            "instances": instances,
            "source": found.source,
            "as_of": found.as_of,
        }
    return written


def document(source: DeploymentSource) -> dict[str, Any]:
    """The document of a version, without what looks like a secret."""
    return cast("dict[str, Any]", _without_secrets(dict(source.document), is_named=False))


def _without_secrets(value: Any, *, is_named: bool) -> Any:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {key: _entry(str(key), each, is_named=is_named) for key, each in items}
    if isinstance(value, list | tuple):
        return [_without_secrets(each, is_named=False) for each in cast("list[Any]", value)]
    return SECRET if isinstance(value, str) and holds_secret(value) else value


def _entry(key: str, value: Any, *, is_named: bool) -> Any:
    is_one = isinstance(value, str | int | float) and is_named_secret(key, str(value))
    if is_one or (is_named and is_secret(key, str(value))):
        return SECRET
    return _without_secrets(value, is_named=key in _NAMED)
