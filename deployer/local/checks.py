"""What a split of traffic and a set of tags must be, whoever asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.errors import PlatformError
from deployer.local.envoy_config import Split

MIRROR_MAX = 50
"""Percent of traffic that may be mirrored (Azure's limit: how-to-safely-rollout-online-endpoints)."""

TAG_MAX = 256
"""Characters of a tag's name or value (the platform port's limit, and Azure Resource Manager's for values)."""


def check_split(traffic: Mapping[str, Any], mirror: Mapping[str, Any]) -> Split:
    """The split without its zeros.

    Raises:
        PlatformError: a share is no whole percent, the sum is neither 0 nor 100, or the mirror is not as on Azure.
    """
    for name, percent in [*traffic.items(), *mirror.items()]:
        if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
            raise PlatformError(f"the share of {name} is {percent!r}", hint="Use whole percents from 0 to 100.")
    live = {name: percent for name, percent in traffic.items() if percent}
    copied = {name: percent for name, percent in mirror.items() if percent}
    if sum(live.values()) not in {0, 100}:
        raise PlatformError(f"traffic adds up to {sum(live.values())} %", hint="Let it add up to 0 or 100.")
    if len(copied) > 1 or sum(copied.values()) > MIRROR_MAX:
        raise PlatformError(
            f"mirrored traffic is {copied}", hint=f"Mirror at most {MIRROR_MAX} % to one deployment, as on Azure."
        )
    if both := live.keys() & copied.keys():
        raise PlatformError(f"{', '.join(both)} has both live and mirrored traffic", hint="Give it one of both.")
    return Split(live, copied)


def check_tags(tags: Mapping[str, Any]) -> dict[str, str | None]:
    """The tags as they are.

    Raises:
        PlatformError: a name or value is not text, or too long.
    """
    for key, value in tags.items():
        if not key or len(key) > TAG_MAX or not (value is None or (isinstance(value, str) and len(value) <= TAG_MAX)):
            raise PlatformError(
                f"tag {key[:40]!r} has a name or value that is not text of at most {TAG_MAX} characters",
                hint="Shorten it, or quote it as text.",
            )
    return dict(tags)
