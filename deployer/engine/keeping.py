"""What a journal keeps beside its lines: what is deployed, and the evidence of the gate's looks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from deployer.engine.site import Job
from deployer.errors import StoreError
from deployer.ports.store import Journal
from deployer.rollout.events import Started, from_record
from deployer.rollout.model import Plan

LOOKS_KEPT = 2000
"""Looks of one rollout whose evidence is kept whether they decided or not; those that decide are always kept."""
PAST = 20
"""Latest rollouts among which the stable's specification is looked for."""


def deployer_version() -> str:
    """This deployer's version; ``unknown`` where it was not installed as a package."""
    try:
        return version("deployer")
    except PackageNotFoundError:
        return "unknown"


def started(job: Job, plan: Plan, journal: Journal, note: Callable[[str], None]) -> Started:
    """The first event of a rollout, with what is deployed kept beside the journal. What cannot be kept is only said."""
    document = dict(job.specification(plan))
    if not document:
        return Started(plan, job.manifest, deployer_version())
    try:
        if document.get("stable") is None and plan.stable_digest is not None:
            document["stable"] = _past_specification(journal, plan.stable_digest)
        content = json.dumps(document, sort_keys=True, default=str).encode()
        name = hashlib.sha256(content).hexdigest()
        journal.keep(plan.rollout_id, name, content)
    except StoreError as exc:
        note(f"{exc.message}. {exc.hint}")
        return Started(plan, job.manifest, deployer_version())
    return Started(plan, job.manifest, deployer_version(), name)


def _past_specification(journal: Journal, digest: str) -> Any:
    """What this machine's journals say was deployed as ``digest``; None: they do not know."""
    for rollout_id in reversed(journal.rollouts()[-PAST:]):
        try:
            entries = journal.read(rollout_id)
            first = from_record(entries[0].event) if entries else None
        except (StoreError, ValueError):
            continue
        if not isinstance(first, Started) or first.specification is None:
            continue
        role = {first.plan.candidate_digest: "candidate", first.plan.stable_digest: "stable"}.get(digest)
        found = specification(journal, rollout_id, first) if role else None
        if role and found and found.get(role) is not None:
            return found[role]
    return None


def specification(journal: Journal, rollout_id: str, first: Started) -> Mapping[str, Any] | None:
    """What was kept of what ``first`` deployed; None: nothing, or it was changed since."""
    if first.specification is None:
        return None
    try:
        content = journal.kept(rollout_id, first.specification)
    except StoreError:
        return None
    if content is None or hashlib.sha256(content).hexdigest() != first.specification:
        return None
    return cast("dict[str, Any]", json.loads(content))
