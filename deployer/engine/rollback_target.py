"""Which version a rollback goes back to, as the endpoint's tags tell. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.ports.platform import Deployment, DeploymentState, Endpoint
from deployer.rollout.model import Phase
from deployer.rollout.tags import GOOD, PREVIOUS, Revision, instances_of, marks_of, revision_of


@dataclass(frozen=True, slots=True)
class Target:
    """A version to go back to, and the deployment that holds it or is to hold it."""

    name: str
    digest: str
    """Empty: whatever the deployment is."""
    instances: int = 0
    """That it had when it was in use; 0: unknown."""

    def is_met_by(self, found: Deployment) -> bool:
        """Whether ``found`` is this version."""
        return not self.digest or found.digest == self.digest


def standing(endpoint: Endpoint, name: str) -> Deployment | None:
    """The deployment of that name; None: there is none, or it is being deleted, which nothing stops."""
    found = endpoint.deployments.get(name)
    return None if found is None or found.state is DeploymentState.DELETING else found


def is_idle(endpoint: Endpoint) -> bool:
    """Whether no rollout is under way."""
    marks = marks_of(endpoint.tags)
    return marks is None or not marks.is_active


def target_of(endpoint: Endpoint, to: str | None) -> Target | None:
    """The version to go back to; None: none is known."""
    good, previous = (revision_of(endpoint.tags.get(tag)) for tag in (GOOD, PREVIOUS))
    if to is not None:
        for revision in (good, previous):
            if revision is not None and to == str(revision.number):
                return Target(revision.name, revision.digest, revision.instances)
        return _named(endpoint, to, (good, previous))
    marks = marks_of(endpoint.tags)
    if marks is not None and marks.phase is not Phase.PROMOTED:
        had = instances_of(endpoint.tags, marks.stable, marks.stable_digest)
        return Target(marks.stable, marks.stable_digest, had) if marks.stable else None
    if previous is None and good is not None and good.instances and endpoint.traffic.get(good.name) == 100:
        previous = good  # a rollback brought it back, and may have died before it was large enough
    return Target(previous.name, previous.digest, previous.instances) if previous else None


def _named(endpoint: Endpoint, name: str, revisions: tuple[Revision | None, ...]) -> Target:
    """The deployment ``name``: as it is, or, when it is gone, the version of that name that the tags tell of."""
    known = next((each for each in revisions if each is not None and each.name == name), None)
    if standing(endpoint, name) is not None:
        return Target(name, "", known.instances if known else 0)
    if known is not None:
        return Target(name, known.digest, known.instances)
    going = endpoint.deployments.get(name)
    if going is not None:
        return Target(name, going.digest or "", going.instances_wanted)
    marks = marks_of(endpoint.tags)
    return Target(name, marks.stable_digest if marks is not None and marks.stable == name else "")
