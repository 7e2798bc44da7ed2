"""Rules that a body keeps or breaks: traffic, mirror, tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from doubles.azure.messages import Refusal, bad

READY = frozenset({"Succeeded", "Updating", "Scaling"})
"""States of a deployment whose instances answer."""
TAGS_MAX, TAG_NAME_MAX, TAG_VALUE_MAX = 50, 512, 256
"""learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations."""


def check_traffic(traffic: dict[str, Any], deployments: Mapping[str, Any], present: Mapping[str, int]) -> None:
    """Sum 0 or 100, whole percents, of deployments that are there and ready (docs how-to-safely-rollout). Texts invented.

    Raises:
        Refusal: it cannot be so.
    """
    wrong = [
        name
        for name, share in traffic.items()
        if isinstance(share, bool) or not isinstance(share, int) or not 0 <= share <= 100
    ]
    if wrong:
        raise bad(f"Traffic of {wrong[0]} has to be a whole number from 0 to 100.")
    if sum(traffic.values()) not in {0, 100}:
        raise bad(f"The sum of the traffic has to be 0 or 100, not {sum(traffic.values())}.")
    _check_served(traffic, deployments, present)


def check_mirror(
    mirror: dict[str, Any],
    traffic: dict[str, Any],
    deployments: Mapping[str, Any],
    present: Mapping[str, int],
    *,
    kubernetes: bool,
) -> None:
    """At most 50 %, of one deployment without live traffic, not on Kubernetes (docs). Texts invented.

    Raises:
        Refusal: it cannot be so.
    """
    shares = {name: share for name, share in mirror.items() if share}
    if shares and kubernetes:
        raise bad("Mirror traffic is not supported for Kubernetes online endpoints.")
    if len(shares) > 1:
        raise bad("Traffic can be mirrored to one deployment only.")
    if any(not isinstance(share, int) or not 0 < share <= 50 for share in shares.values()):
        raise bad("Mirror traffic has to be from 0 to 50 percent.")
    if any(traffic.get(name) for name in shares):
        raise bad("A deployment gets either live traffic or mirrored traffic, not both.")
    _check_served(shares, deployments, present)


def _check_served(shares: Mapping[str, int], deployments: Mapping[str, Any], present: Mapping[str, int]) -> None:
    """What was never up, or is going, gets nothing; what failed while it was changed gets no more (both assumed)."""
    now = {name.lower(): share for name, share in present.items()}
    for name, share in shares.items():
        if not share:
            continue
        found = deployments.get(name.lower())
        if found is None:
            raise bad(f"Deployment {name} does not exist.")
        if (
            not found.was_ready
            or found.state == "Deleting"
            or (found.state not in READY and share > now.get(name.lower(), 0))
        ):
            raise bad(f"Traffic cannot be set to deployment {name}: its provisioning state is {found.state}.")


def check_tags(tags: dict[str, str]) -> None:
    """Limits of ARM (``TAGS_MAX``); codes [mem], texts invented.

    Raises:
        Refusal: one is too long or there are too many.
    """
    if len(tags) > TAGS_MAX:
        raise Refusal(400, "InvalidTagCount", f"{len(tags)} tags are more than {TAGS_MAX}.")
    for key, value in tags.items():
        if not isinstance(value, str):
            raise Refusal(400, "InvalidRequestContent", f"The value of tag {key} is no string.")
        if not key or len(key) > TAG_NAME_MAX:
            raise Refusal(
                400, "InvalidTagNameLength" if key else "InvalidTagName", "The name of a tag is too long or empty."
            )
        if len(value) > TAG_VALUE_MAX:
            raise Refusal(400, "InvalidTagValueLength", f"The value of tag {key} is longer than {TAG_VALUE_MAX}.")
