"""What a killed runner left is put right, without its machine, its journal or a manifest.

A rollout whose runner lives is never touched, and neither is a pause: both are somebody's wish. What nobody runs goes
the safe way: back, or, where the new version had passed everything already, to the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from deployer.engine.lease import Holder, Lease, StoppedError, is_gone
from deployer.engine.operations import active, journalled, resume
from deployer.engine.runner import Listener
from deployer.engine.site import Job, Site, no_endpoint
from deployer.errors import ExitCode, NotFoundError, PlanError
from deployer.manifest.quantities import format_duration
from deployer.ports.platform import Endpoint
from deployer.rollout.ending import Ended, ended
from deployer.rollout.endpoint import in_words
from deployer.rollout.model import Phase, Request, RequestKind
from deployer.rollout.tags import LEASE, Marks, marks_of, tags_for

REASON = "nobody ran the rollout any more"
SAY_S = 15.0
"""How often it is said how long a lease has been watched."""


class Found(StrEnum):
    """What ``recover`` found on the endpoint."""

    NOTHING = "nothing"
    """No rollout is unfinished."""
    RUNNING = "running"
    """Somebody runs it: left alone."""
    PAUSED = "paused"
    """A person is asked: left alone."""
    ABANDONED = "abandoned"
    """Nobody ran it: it was ended."""
    STUCK = "stuck"
    """The last rollout asked for a human, who has not come yet."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found, and how it ended."""

    found: Found
    ended: Ended
    runner: str | None = None
    """Who runs it, when somebody does."""


def recover(site: Site, job: Job | None, listener: Listener) -> Recovered:
    """End what nobody runs any more, with traffic verified in one place. Idempotent; safe at any time.

    Blocks as long as a lease of another machine must be watched (``stale_after_s``), and then as a rollback does.

    Args:
        site: the endpoint.
        job: the manifest's; it says how the old version is retired when the journal is elsewhere. None: it is kept.
        listener: told what happens.

    Raises:
        UsageError: there is no such endpoint, and no manifest that could make it.
        StoppedError: a signal came while a lease was watched. Nothing changed.
        LostLeaseError: another run took over meanwhile.
    """
    endpoint = site.platform.observe()
    if endpoint is None and job is not None:
        return _nothing(f"endpoint {site.endpoint} does not exist yet")
    if endpoint is None:
        raise no_endpoint(site)
    if (settled := _settled(endpoint)) is not None:
        return settled
    site.notes.lead(listener.on_note)
    lease = site.lease()
    try:
        lease.acquire(waiting=_patience(site, listener.on_note), signal=site.signal)
    except StoppedError:
        raise
    except PlanError:  # somebody else holds it, or was first
        return _running(site, endpoint)
    except NotFoundError:
        return _nothing(f"endpoint {site.endpoint} was deleted meanwhile")
    try:
        endpoint = site.platform.observe()  # anything may have happened while the lease was being watched
        if endpoint is None:
            return _nothing(f"endpoint {site.endpoint} was deleted meanwhile")
        marks = active(endpoint)
        return _end(site, job, marks, endpoint, lease, listener) if marks else _settled(endpoint) or _nothing("")
    finally:
        lease.release()


def _settled(endpoint: Endpoint) -> Recovered | None:
    """What needs no hand of ours, as the tags tell; None: a rollout is under way."""
    marks = marks_of(endpoint.tags)
    if marks is not None and marks.phase is Phase.STUCK:
        text = f"the last rollout is stuck, a human must act now: run deployer rollback {endpoint.name}"
        return Recovered(Found.STUCK, Ended(ExitCode.STUCK, text))
    if marks is not None and marks.phase is Phase.PAUSED:
        return _paused(endpoint, marks)
    return None if marks is not None and marks.is_active else _nothing(f"traffic is {in_words(endpoint.traffic)}")


def _nothing(why: str) -> Recovered:
    return Recovered(Found.NOTHING, Ended(ExitCode.OK, f"nothing to recover: no rollout is unfinished ({why})"))


def _paused(endpoint: Endpoint, marks: Marks) -> Recovered:
    text = (
        f"rollout {marks.rollout_id} is paused with {in_words(endpoint.traffic)} and left alone: "
        f"deployer promote {endpoint.name}, or deployer abort"
    )
    return Recovered(Found.PAUSED, Ended(ExitCode.PAUSED, text))


def _running(site: Site, before: Endpoint) -> Recovered:
    endpoint = site.platform.observe() or before
    marks, holder = marks_of(endpoint.tags), Holder.parse(endpoint.tags.get(LEASE))
    runner = holder.owner if holder is not None and not is_gone(holder.owner) else None
    what = f"rollout {marks.rollout_id} is {marks.phase.value.replace('_', ' ')}" if marks else "it is in use"
    text = f"nothing to recover: {what}, run by {runner or 'another run'}; left alone"
    return Recovered(Found.RUNNING, Ended(ExitCode.OK, text), runner)


def _patience(site: Site, note: Callable[[str], None]) -> Callable[[str], None]:
    """Say how long it has been watched whether a lease changes, every SAY_S."""
    began, limit = site.clock.now(), format_duration(site.platform.capabilities.stale_after_s)
    said = -SAY_S

    def say(text: str) -> None:
        nonlocal said
        seconds = (site.clock.now() - began).total_seconds()
        if seconds - said >= SAY_S:
            said = seconds
            note(f"{text}: no sign of life for {format_duration(round(seconds))}, dead after {limit}")

    return say


def _end(site: Site, job: Job | None, marks: Marks, endpoint: Endpoint, lease: Lease, listener: Listener) -> Recovered:
    """End a rollout whose lease is ours: to the end from where only the old version is left to retire, else back."""
    state = journalled(site, marks, listener)
    phase = state.phase if state is not None else marks.phase
    if state is not None and phase is Phase.PAUSED:  # the run died before it wrote so on the endpoint
        lease.write(tags_for(state))
        return _paused(endpoint, marks)
    listener.on_note(f"rollout {marks.rollout_id} was left half-way ({phase.value}) and nobody runs it: ending it")
    if phase is Phase.RETIRING:
        ours = job is not None and job.wanted.digest == marks.digest
        done = resume(site, replace(job, load=None) if job and ours else None, marks, endpoint, lease, listener, None)
    else:
        request = Request(RequestKind.ABORT, site.actor, REASON)
        done = resume(site, None, marks, endpoint, lease, listener, request)
    return Recovered(Found.ABANDONED, ended(done))
