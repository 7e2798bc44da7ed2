"""What a test endpoint's tags say of the profile that made it, and which endpoints no profile may touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.rollout.endpoint import Endpoint, in_words
from deployer.rollout.tags import GOOD, marks_of

PROFILE = "deployer.profile"
"""Name of the profile that made the endpoint: without this tag, somebody else made it."""
MADE = "deployer.profile.made"
"""Deployments that were made on it or are about to be, with commas: written before, so that a crash loses none."""
PREFIX = "p-"
"""Of the names of deployments that a profile makes."""
_DIGITS = 12


def deployment_name(digest: str) -> str:
    """Name a deployment after the version that it is: the same one again has the same name."""
    return PREFIX + digest[:_DIGITS]


def is_test_endpoint(tags: Mapping[str, str]) -> bool:
    """Whether a profile made the endpoint that has these tags."""
    return PROFILE in tags


def made_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Deployments that a profile made here, or was about to make when it ended."""
    return tuple(name for name in tags.get(MADE, "").split(",") if name)


def tags_for(names: Sequence[str]) -> dict[str, str | None]:
    """Tags that say that ``names`` were made, or are about to be; at most 17 of them fit."""
    return {MADE: ",".join(names) or None}


def ours(endpoint: Endpoint) -> tuple[str, ...]:
    """Deployments of ``endpoint`` that a profile made: recorded there, or named as a profile names them."""
    recorded = made_of(endpoint.tags)
    return tuple(
        name
        for name, each in sorted(endpoint.deployments.items())
        if name in recorded or (name.startswith(PREFIX) and each.digest is not None)
    )


def refusal(endpoint: Endpoint) -> str | None:
    """Say why no load may be sent to ``endpoint`` and nothing deployed on it; None: a profile made it, for this."""
    if not is_test_endpoint(endpoint.tags):
        return f"endpoint {endpoint.name} exists, and deployer profile did not make it"
    marks = marks_of(endpoint.tags)
    if endpoint.tags.get(GOOD) or (marks is not None and marks.is_active):
        return f"a rollout uses endpoint {endpoint.name}"
    if any(endpoint.traffic.values()) or any(endpoint.mirror.values()):
        return f"endpoint {endpoint.name} has traffic ({in_words(endpoint.traffic)})"
    others = sorted(endpoint.deployments.keys() - set(ours(endpoint)))
    if others:
        return f"endpoint {endpoint.name} holds {', '.join(others)}, which deployer profile did not make"
    return None
