"""What a command asks for, start to end: start or resume a rollout, pass on an operator's wish."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from deployer.engine.adoption import adopt, before_it, named_like, without_manifest
from deployer.engine.calls import Calls
from deployer.engine.effects import Effects
from deployer.engine.keeping import started
from deployer.engine.lease import Holder, Lease, is_alive_here, is_gone
from deployer.engine.runner import Listener, Runner
from deployer.engine.site import Job, Site, no_endpoint
from deployer.errors import ConflictError, ExitCode, PlanError, StoreError, TransientError
from deployer.ports.platform import Capabilities, Endpoint, Platform
from deployer.ports.store import Journal
from deployer.rollout.ending import Ended, ended
from deployer.rollout.endpoint import in_words
from deployer.rollout.events import Started, from_record
from deployer.rollout.machine import fold
from deployer.rollout.model import WAY_BACK, Phase, Plan, Request, RequestKind, Rollout
from deployer.rollout.pace import Usual, usual
from deployer.rollout.plan import compile_plan, is_live
from deployer.rollout.tags import ANSWER, LEASE, REQUEST, Marks, answer_of, marks_of, tag_for

PAST = 10
"""Latest rollouts whose times say what is usual."""
ACKNOWLEDGE_S = 20.0
"""How long a running rollout may take to act on an operator's request, besides the write it may be busy with."""
SETTLE_S = 100.0
"""How long an abort waits for the running rollout to bring traffic back, besides the reserve kept for that."""


def acknowledge_s(capabilities: Capabilities) -> float:
    """How long to wait for the answer of a running rollout: a write, its retries, and a few looks."""
    return ACKNOWLEDGE_S + 4 * capabilities.typical_shift_s + 4 * capabilities.poll_s


def settle_s(capabilities: Capabilities) -> float:
    """How long to wait for a running rollout to bring traffic back."""
    return SETTLE_S + capabilities.restore_reserve_s


def preview(
    job: Job, platform: Platform, endpoint: Endpoint | None, *, rollout_id: str, skip_gate: str | None
) -> Plan | str:
    """Compile the plan from ``endpoint``, or name the deployment that already serves the version. Writes nothing.

    While a rollout is under way the plan is that of the endpoint as it was before it: see ``under_way``.

    Raises:
        PlanError: it would be refused.
    """
    marks = active(endpoint)
    if marks is not None and endpoint is not None:
        wanted = named_like(job.wanted, marks) if marks.digest == job.wanted.digest else job.wanted
        before = before_it(endpoint, marks)
        return compile_plan(wanted, before, platform.capabilities, rollout_id=rollout_id, skip_gate=skip_gate)
    live = is_live(job.wanted, endpoint)
    if live is not None:
        return live
    capabilities = platform.capabilities
    return compile_plan(job.wanted, endpoint, capabilities, rollout_id=rollout_id, rps=job.rps, skip_gate=skip_gate)


def under_way(job: Job, endpoint: Endpoint | None) -> str | None:
    """Say which rollout is under way and what ``rollout`` would do with it; None: there is none."""
    marks = active(endpoint)
    if marks is None or endpoint is None:
        return None
    phase = f"{marks.phase.value.replace('_', ' ')} at step {marks.position + 1}, {in_words(endpoint.traffic)}"
    here = f"rollout {marks.rollout_id} of {marks.candidate} is under way ({phase})"
    runner = Holder.parse(endpoint.tags.get(LEASE))
    if runner is not None and not is_gone(runner.owner):
        return f"{here}, run by {runner.owner}: `deployer rollout` is refused until it ends"
    if marks.digest == job.wanted.digest:
        return f"{here}, and nobody runs it: `deployer rollout` goes on with it from there"
    back = f"brings {marks.stable} back to 100%" if marks.stable else "takes all traffic away"
    return f"{here}, and nobody runs it: `deployer rollout` first {back}, then starts this version"


def _sound_plan(
    site: Site, job: Job, endpoint: Endpoint | None, *, rollout_id: str, skip_gate: str | None
) -> Plan | str:
    """The same, for a rollout that is about to start: a plan that can never be decided is refused."""
    found = preview(job, site.platform, endpoint, rollout_id=rollout_id, skip_gate=skip_gate)
    if isinstance(found, Plan):
        job.check(found)
    return found


def roll_out(
    site: Site,
    job: Job,
    listener: Listener,
    *,
    rollout_id: str,
    take_over: bool = False,
    skip_gate: str | None = None,
) -> Ended:
    """Carry out a rollout from wherever the endpoint stands: start it, resume it, or find nothing to do.

    Raises:
        PlanError: refused. Nothing changed.
        LostLeaseError: another run took over.
    """
    site.notes.lead(listener.on_note)
    endpoint = site.platform.observe()
    if active(endpoint) is None:
        found = _sound_plan(site, job, endpoint, rollout_id=rollout_id, skip_gate=skip_gate)
        if isinstance(found, str):
            return Ended(ExitCode.OK, f"nothing to do: {found} already serves this version with 100%")
    if endpoint is None:
        site.platform.ensure_endpoint(job.endpoint_document)
    lease = site.lease()
    lease.acquire(take_over=take_over, waiting=listener.on_note, signal=site.signal)
    try:
        return _with_lease(site, job, lease, listener, rollout_id=rollout_id, skip_gate=skip_gate)
    finally:
        lease.release()


def _with_lease(
    site: Site, job: Job, lease: Lease, listener: Listener, *, rollout_id: str, skip_gate: str | None
) -> Ended:
    endpoint = site.platform.observe()
    marks = active(endpoint)
    if endpoint is not None and marks is not None:
        if marks.digest == job.wanted.digest:
            listener.on_note(f"resuming rollout {marks.rollout_id} ({marks.phase.value})")
            return ended(resume(site, job, marks, endpoint, lease, listener, None))
        listener.on_note(f"rollout {marks.rollout_id} was left half-way with another version: bringing it back first")
        superseded = Request(RequestKind.ABORT, site.actor, "superseded by a new version")
        old = resume(site, None, marks, endpoint, lease, listener, superseded)
        if old.phase not in (Phase.ROLLED_BACK, Phase.PROMOTED):
            return ended(old)
        endpoint = site.platform.observe()
    found = _sound_plan(site, job, endpoint, rollout_id=rollout_id, skip_gate=skip_gate)
    if isinstance(found, str):
        return Ended(ExitCode.OK, f"nothing to do: {found} already serves this version with 100%")
    if job.tags:
        site.platform.set_tags(job.tags)
    runner = _runner(site, job, found, lease, listener, None)
    return ended(runner.run(runner.start(started(job, found, site.journal, listener.on_note))))


def usual_of(journal: Journal) -> Usual:
    """How long things took in the latest rollouts that this machine knows of."""
    try:
        return usual([(entry.event, entry.at) for entry in journal.read(each)] for each in journal.rollouts()[-PAST:])
    except StoreError:
        return Usual()  # a damaged journal is told of where it matters


def active(endpoint: Endpoint | None) -> Marks | None:
    """The rollout that the endpoint's tags tell of, if it has not ended."""
    marks = marks_of(endpoint.tags) if endpoint else None
    return marks if marks is not None and marks.is_active else None


def _runner(
    site: Site, job: Job | None, plan: Plan, lease: Lease, listener: Listener, request: Request | None
) -> Runner:
    listener.on_usual(usual_of(site.journal))
    calls = Calls(site.clock)
    platform = calls.watch(site.platform)
    effects = Effects(
        platform,
        site.telemetry,
        site.clock,
        job.probe if job else None,
        job.deployable(plan) if job else None,
        lease.guarding,
    )
    return Runner(
        platform=platform,
        journal=site.journal,
        clock=site.clock,
        effects=effects,
        lease=lease,
        listener=listener,
        actor=site.actor,
        signal=site.signal,
        load=job.load if job else None,
        request=request,
        calls=calls,
    )


def resume(
    site: Site,
    job: Job | None,
    marks: Marks,
    endpoint: Endpoint,
    lease: Lease,
    listener: Listener,
    request: Request | None,
) -> Rollout:
    """Go on with the rollout that the tags tell of, from its journal or, without one, from the tags alone."""
    state = journalled(site, marks, listener)
    if state is not None:
        runner = _runner(site, job, state.plan, lease, listener, request)
        if not state.is_final:
            return runner.run(state)
        runner.mark(state, endpoint)  # it had ended, and only the tags did not know
        return state
    try:
        adopted = adopt(marks, endpoint, site.platform, job.wanted if job else None, site.clock.now())
    except PlanError as exc:
        request = without_manifest(marks, request, site.actor, exc)
        listener.on_note(f"the rollout cannot go on as its manifest says: {exc.message}")
        job, adopted = None, adopt(marks, endpoint, site.platform, None, site.clock.now())
    runner = _runner(site, job, adopted.plan, lease, listener, request)
    return runner.run(runner.start(adopted))


def journalled(site: Site, marks: Marks, listener: Listener) -> Rollout | None:
    """The state that the journal tells; None: believe the tags, because it is absent, damaged, or behind them."""
    try:
        state = fold((from_record(entry.event), entry.at) for entry in site.journal.read(marks.rollout_id))
    except (StoreError, ValueError) as exc:
        listener.on_note(f"going on without the journal: {exc}")
        return None
    if state is not None and marks.phase is Phase.REVERTING and state.phase not in WAY_BACK:
        return None
    return state


def manifest_of(site: Site) -> str | None:
    """Path of the manifest that the rollout under way was started from; None: unknown on this machine."""
    marks = active(site.platform.observe())
    entries = site.journal.read(marks.rollout_id) if marks else ()
    first = from_record(entries[0].event) if entries else None
    return first.manifest if isinstance(first, Started) else None


def ask(site: Site, request: Request, job: Job | None, listener: Listener) -> Ended:
    """Have the running rollout act on ``request``, or act on it here when nobody runs it.

    Raises:
        UsageError: there is no such endpoint.
        PlanError: the rollout's owner neither answers nor is dead.
    """
    endpoint = site.platform.observe()
    if endpoint is None:
        raise no_endpoint(site)
    idle = _nothing_to_ask(endpoint, request)
    if idle is not None:
        return idle
    holder = Holder.parse(endpoint.tags.get(LEASE))
    if holder is not None and not is_gone(holder.owner):
        capabilities = site.platform.capabilities
        patience_s = acknowledge_s(capabilities)
        if not is_alive_here(holder.owner):
            patience_s = max(patience_s, capabilities.stale_after_s)
        acted = _leave(site, request, patience_s)
        if acted is not None:
            return acted
    return _ask_here(site, request, job, listener)


def _nothing_to_ask(endpoint: Endpoint, request: Request) -> Ended | None:
    marks = marks_of(endpoint.tags)
    if marks is not None and marks.is_active:
        return None
    if marks is not None and marks.phase is Phase.STUCK and request.kind is RequestKind.ABORT:
        return Ended(ExitCode.STUCK, f"the last rollout is stuck: run deployer rollback {endpoint.name}")
    return Ended(ExitCode.OK, f"nothing to {request.kind.value.replace('_', ' ')}: no rollout is under way")


def _ask_here(site: Site, request: Request, job: Job | None, listener: Listener) -> Ended:
    """Act on a request in this process: nobody runs the rollout."""
    site.notes.lead(listener.on_note)
    lease = site.lease()
    lease.acquire(waiting=listener.on_note, signal=site.signal)
    try:
        endpoint = site.platform.observe()  # anything may have happened while the lease was being taken
        if endpoint is None:
            return _deleted(site)
        idle = _nothing_to_ask(endpoint, request)
        marks = active(endpoint)
        if idle is not None or marks is None:
            return idle or _deleted(site)
        job = job if job is not None and job.wanted.digest == marks.digest else None
        needs_manifest = request.kind in (RequestKind.PROMOTE, RequestKind.PROMOTE_FULL, RequestKind.RESUME)
        if needs_manifest and job is None:
            lease.write({REQUEST: tag_for(_numbered(request))})
            return Ended(ExitCode.PAUSED, "noted on the endpoint; to carry on, run deployer rollout MANIFEST")
        state = resume(site, job, marks, endpoint, lease, listener, request)
    finally:
        lease.release()
    done = ended(state)
    if request.kind is RequestKind.ABORT and state.phase is Phase.ROLLED_BACK:
        return replace(done, exit_code=ExitCode.OK)
    if request.kind is RequestKind.ABORT and state.phase is Phase.PROMOTED:  # its stable was being retired already
        late = f"too late to abort, {done.text}: to go back, run deployer rollback {site.endpoint}"
        return replace(done, exit_code=ExitCode.REFUSED, text=late)
    return done


def _numbered(request: Request) -> Request:
    """Give it a number of its own, by which its answer is known."""
    return replace(request, nonce=secrets.token_hex(3))


def _leave(site: Site, request: Request, patience_s: float) -> Ended | None:
    """Leave ``request`` on the endpoint and wait for its answer; None when nobody answered.

    Only the answer says that it was taken: a request that is gone without one was lost to somebody else's write of the
    tags, or a rollout that knows it already is about to answer. It is written again either way.
    """
    platform, clock = site.platform, site.clock
    request = _numbered(request)
    written = tag_for(request)
    until = clock.now() + timedelta(seconds=patience_s)
    platform.set_tags({REQUEST: written})
    patience = _Abandonment(platform.capabilities)
    while clock.now() < until:
        clock.sleep(platform.capabilities.poll_s)
        try:
            endpoint = platform.observe()
        except TransientError:
            continue  # the request is left: whoever runs the rollout may well see it
        if endpoint is None:
            return _deleted(site)
        if (answer := answer_of(endpoint.tags.get(ANSWER), request.nonce)) is not None:
            return _taken(site, request, answer)
        if patience.is_over(endpoint):
            break
        if endpoint.tags.get(REQUEST) is None:
            _set_quietly(platform, {REQUEST: written}, {REQUEST: None})
    _set_quietly(platform, {REQUEST: None}, {REQUEST: written})
    endpoint = platform.observe()
    answer = answer_of(endpoint.tags.get(ANSWER), request.nonce) if endpoint else None
    return None if answer is None else _taken(site, request, answer)


def _set_quietly(platform: Platform, tags: dict[str, str | None], expect: dict[str, str | None]) -> None:
    with suppress(ConflictError, TransientError):  # the next look says what became of it
        platform.set_tags(tags, expect=expect)


def _deleted(site: Site) -> Ended:
    return Ended(ExitCode.STUCK, f"endpoint {site.endpoint} was deleted meanwhile: a human must look")


class _Abandonment:
    """Whether a rollout has no runner any more; where a look may show an older map of tags, several must say so."""

    def __init__(self, capabilities: Capabilities) -> None:
        self._needed = 1 if capabilities.compare_and_set else 4
        self._seen = 0

    def is_over(self, endpoint: Endpoint) -> bool:
        """Take in one more look."""
        self._seen = self._seen + 1 if is_abandoned(endpoint) else 0
        return self._seen >= self._needed


def is_abandoned(endpoint: Endpoint) -> bool:
    """Whether the rollout under way has no runner: no lease, or one whose owner is known to be gone."""
    holder = Holder.parse(endpoint.tags.get(LEASE))
    return holder is None or is_gone(holder.owner)


def _taken(site: Site, request: Request, answer: str) -> Ended | None:
    """The runner answered; for an abort, wait until traffic is verified back. None: it died over it."""
    if answer.startswith("ignored"):
        return Ended(ExitCode.REFUSED, answer)
    if request.kind is not RequestKind.ABORT:
        return Ended(ExitCode.OK, f"{request.kind.value.replace('_', ' ')}: taken by the running rollout")
    patience_s, patience = settle_s(site.platform.capabilities), _Abandonment(site.platform.capabilities)
    until = site.clock.now() + timedelta(seconds=patience_s)
    while site.clock.now() < until:
        try:
            endpoint = site.platform.observe()
        except TransientError:
            site.clock.sleep(site.platform.capabilities.poll_s)
            continue
        if endpoint is None:
            return _deleted(site)
        marks = marks_of(endpoint.tags)
        if marks is None or marks.phase is Phase.ROLLED_BACK:
            return Ended(ExitCode.OK, "aborted: traffic is verified back")
        if not marks.is_active:
            return Ended(ExitCode.STUCK, f"the rollout ended as {marks.phase.value}: look at deployer status")
        if patience.is_over(endpoint):
            return None
        site.clock.sleep(site.platform.capabilities.poll_s)
    return Ended(
        ExitCode.STUCK,
        f"the running rollout did not bring traffic back within {patience_s:g}s: run deployer rollback {site.endpoint}",
    )
