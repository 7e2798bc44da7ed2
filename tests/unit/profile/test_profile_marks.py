"""Which endpoints a profile may use, and what it knows to be its own there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.profile.marks import MADE, PROFILE, deployment_name, made_of, ours, refusal, tags_for
from deployer.rollout.endpoint import Deployment, DeploymentState, Endpoint
from deployer.rollout.tags import GOOD

DIGEST = "ab" * 32


def deployment(name: str, digest: str | None = DIGEST) -> Deployment:
    return Deployment(name, DeploymentState.READY, digest, 1, 1)


def endpoint(*deployments: Deployment, **tags: str) -> Endpoint:
    marked = {PROFILE: "size", **{key.replace("_", "."): value for key, value in tags.items()}}
    return Endpoint("test", "uid", "http://x", {}, {}, {each.name: each for each in deployments}, marked)


def test_what_a_profile_made_is_its_own_again() -> None:
    assert refusal(endpoint()) is None
    found = endpoint(deployment("p-abc"), deployment("named-in-a-tag", None), **{MADE: "named-in-a-tag,p-gone"})
    found = replace(found, tags={PROFILE: "size", MADE: "named-in-a-tag,p-gone"})
    assert refusal(found) is None
    assert ours(found) == ("named-in-a-tag", "p-abc")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (replace(endpoint(), tags={}), "deployer profile did not make it"),
        (replace(endpoint(), tags={PROFILE: "x", GOOD: "1|blue|d|0"}), "a rollout uses"),
        (replace(endpoint(deployment("p-a")), traffic={"p-a": 100}), "has traffic (p-a 100%)"),
        (replace(endpoint(deployment("p-a")), mirror={"p-a": 10}), "has traffic"),
        (endpoint(deployment("blue")), "holds blue"),
        (endpoint(deployment("p-by-hand", None)), "holds p-by-hand"),
    ],
)
def test_what_users_may_depend_on_is_refused(found: Endpoint, why: str) -> None:
    assert why in str(refusal(found))


def test_what_is_about_to_be_made_fits_into_a_tag() -> None:
    names = [deployment_name(f"{n:064x}"[::-1]) for n in range(17)]
    written = tags_for(names)
    assert len(str(written[MADE])) <= 256
    assert made_of({MADE: str(written[MADE])}) == tuple(names)
    assert tags_for([]) == {MADE: None}
    assert all(3 <= len(name) <= 32 for name in names)
