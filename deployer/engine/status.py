"""What an endpoint is doing, and what it did: read from its tags and from the journals at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from deployer.engine.adoption import adopt
from deployer.engine.lease import Holder, is_gone
from deployer.engine.operations import active
from deployer.engine.site import Site, no_endpoint
from deployer.errors import PlanError
from deployer.ports.platform import Endpoint
from deployer.ports.store import Entry, Journal
from deployer.ports.views import Past, Status
from deployer.rollout.events import Event, from_record
from deployer.rollout.machine import begin, evolve
from deployer.rollout.model import Phase, Rollout
from deployer.rollout.plan import Wanted
from deployer.rollout.tags import GOOD, LEASE, PREVIOUS, marks_of, revision_of


def look(site: Site, wanted: Wanted | None = None) -> Status:
    """Read the endpoint and the journal of its rollout. Changes nothing.

    Args:
        site: the endpoint.
        wanted: what a manifest at hand asks for: its steps are shown where the journal is on another machine.

    Raises:
        UsageError: there is no such endpoint.
    """
    endpoint = site.platform.observe()
    if endpoint is None:
        raise no_endpoint(site)
    marks = marks_of(endpoint.tags)
    holder = Holder.parse(endpoint.tags.get(LEASE))
    steps = tuple(replay(site.journal, marks.rollout_id)) if marks else ()
    return Status(
        endpoint=endpoint,
        marks=marks,
        runner=holder.owner if holder is not None and not is_gone(holder.owner) else None,
        good=revision_of(endpoint.tags.get(GOOD)),
        previous=revision_of(endpoint.tags.get(PREVIOUS)),
        steps=steps,
        sketch=None if steps else _sketch(site, endpoint, wanted),
    )


def _sketch(site: Site, endpoint: Endpoint, wanted: Wanted | None) -> Rollout | None:
    """Where the rollout under way stands among the steps of the manifest it was started with; None: not known."""
    marks = active(endpoint)
    if marks is None or wanted is None or wanted.digest != marks.digest:
        return None
    now = site.clock.now()
    try:
        state = begin(adopt(marks, endpoint, site.platform, wanted, now), now)
    except (PlanError, ValueError):  # the manifest would make no plan from where the endpoint stands
        return None
    plan = replace(state.plan, rollout_id=marks.rollout_id)
    return replace(state, plan=plan, started_at=marks.started_at or now, reason="")


def replay(journal: Journal, rollout_id: str) -> Sequence[tuple[Rollout, Event, datetime]]:
    """Return the state after each event of a journal."""
    return replay_of(journal.read(rollout_id))


def replay_of(entries: Sequence[Entry]) -> Sequence[tuple[Rollout, Event, datetime]]:
    """Return the state after each event of ``entries``, a journal's from its beginning."""
    steps: list[tuple[Rollout, Event, datetime]] = []
    state: Rollout | None = None
    for entry in entries:
        event = from_record(entry.event)
        state = begin(event, entry.at) if state is None else evolve(state, event, entry.at)
        steps.append((state, event, entry.at))
    return steps


def past(journal: Journal) -> list[Past]:
    """List what the journals at hand tell, oldest first."""
    rows = (past_of(journal, rollout_id) for rollout_id in journal.rollouts())
    return [row for row in rows if row is not None]


def past_of(journal: Journal, rollout_id: str) -> Past | None:
    """What one journal tells; None: it is empty.

    Raises:
        StoreError: it was changed since it was written.
        ValueError: another version of deployer wrote it.
    """
    entries = journal.read(rollout_id)
    if not entries:
        return None
    first = entries[0]
    if first.event.get("type") == "manual_rollback":
        text = f"rollback to {first.event.get('to')}" + (f": {why}" if (why := first.event.get("reason")) else "")
        return Past(rollout_id, first.at, first.actor, text, "rolled_back_by_hand", 0.0)
    state = replay(journal, rollout_id)[-1][0]
    seconds = (entries[-1].at - first.at).total_seconds()
    ended_well = state.is_final and state.phase is not Phase.STUCK  # "gate failed" would say that traffic is back
    outcome = state.outcome.value if ended_well and state.outcome else state.phase.value
    plan = state.plan
    text = f"{plan.stable or 'nothing'} -> {plan.candidate}" + (f": {state.reason}" if state.reason else "")
    return Past(rollout_id, first.at, first.actor, text, outcome, seconds)
