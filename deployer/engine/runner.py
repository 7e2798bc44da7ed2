"""Observe, decide, perform one action, journal one event, repeat. The loop adds nothing to what ``decide`` says.

Order matters: the effect comes first, then its event, so that a crash between them repeats an idempotent effect; and
the phase is written to the endpoint's tags before the next effect, so that a runner elsewhere knows what was intended.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from deployer.engine.calls import Calls
from deployer.engine.effects import Effects
from deployer.engine.keeping import LOOKS_KEPT
from deployer.engine.lease import Lease, LostLeaseError
from deployer.engine.synthetic_load import SyntheticLoad, WantedLoad
from deployer.errors import ConflictError, ExitCode, PlatformError, StoreError, TransientError
from deployer.ports.clock import Clock
from deployer.ports.platform import Endpoint, Platform
from deployer.ports.store import Entry, Journal
from deployer.rollout.actions import Action, Record, Restore, Stop, Wait
from deployer.rollout.decide import decide
from deployer.rollout.endpoint import in_words
from deployer.rollout.events import (
    Adopted,
    Advanced,
    Event,
    GaveUp,
    Judged,
    Paused,
    RequestIgnored,
    Started,
    to_record,
)
from deployer.rollout.machine import begin, evolve
from deployer.rollout.model import FINAL, WAY_BACK, Observed, Outcome, Phase, Request, RequestKind, Rollout
from deployer.rollout.pace import Usual
from deployer.rollout.readiness import find, is_scaled_down
from deployer.rollout.tags import (
    ANSWER,
    LEASE,
    REQUEST,
    TAGGED,
    answer_of,
    answer_to,
    instances_of,
    marks_of,
    request_of,
    tags_for,
    tags_for_good,
    with_instances,
)

UNREACHABLE_S = 60.0
"""How long the platform may not answer before the run ends, or as long as is kept for the way back where that is
longer; the next run takes over from the tags."""

_UNTOUCHED = frozenset({Phase.PREPARING, Phase.DEPLOYING, Phase.SMOKING, Phase.WARMING})
"""Phases in which the candidate has never had traffic."""


class UnreachableError(TransientError):
    """The platform stopped answering; what traffic does is unknown. The next run goes on from the endpoint's tags."""

    def __init__(self, state: Rollout, why: PlatformError, after_s: float) -> None:
        hint = "Check the platform, then run the same command again: it goes on from the endpoint's tags."
        super().__init__(
            f"the platform did not answer for {after_s:g}s while {state.phase.value}: {why.message}. "
            f"Traffic was last verified as {in_words(state.traffic)}",
            hint=hint if isinstance(why, TransientError) else f"{why.hint} Then run the same command again.",
        )
        is_safe = state.phase in _UNTOUCHED and not state.is_exposed
        self.exit_code = ExitCode.PLATFORM if is_safe else ExitCode.STUCK


class Listener(Protocol):
    """Is told what happens; shows it. Must not raise and must not block."""

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """One event was journalled and applied."""
        ...

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """The world was looked at, and ``action`` is next."""
        ...

    def on_note(self, text: str) -> None:
        """Something worth a line that is no event."""
        ...

    def on_usual(self, usual: Usual) -> None:
        """How long things took in past rollouts; told once, before the first look."""
        ...


class Runner:
    """Carries one rollout to its end, or to a pause."""

    def __init__(
        self,
        *,
        platform: Platform,
        journal: Journal,
        clock: Clock,
        effects: Effects,
        lease: Lease,
        listener: Listener,
        actor: str,
        signal: Callable[[], str | None],
        load: WantedLoad | None = None,
        request: Request | None = None,
        calls: Calls | None = None,
    ) -> None:
        self._platform = platform
        self._calls = calls or Calls(clock)
        self._journal = journal
        self._clock = clock
        self._effects = effects
        self._lease = lease
        self._listener = listener
        self._actor = actor
        self._signal = signal
        self._load = SyntheticLoad(load, platform, clock, listener.on_note)
        self._request = request
        """An operator's request given to this run itself, instead of left on the endpoint."""
        self._kept: dict[str, str | None] = {}
        """What the endpoint's tags should say of the rollout."""
        self._answered: dict[str, str] = {}
        """What became of each request, by its nonce."""
        self._journal_failure: StoreError | None = None

    def start(self, event: Started | Adopted) -> Rollout:
        """Journal the first event and mark the endpoint; traffic is not touched.

        Raises:
            StoreError: the journal cannot be written. Nothing changed.
        """
        at = self._clock.now()
        state = begin(event, at)
        try:
            self._journal.append(event.plan.rollout_id, Entry(at, self._actor, to_record(event)))
        except StoreError as exc:
            if isinstance(event, Started) or self._request is None:
                raise
            self._journal_failure = exc  # an operator wants traffic back: that needs no journal
            self._listener.on_note(f"{exc.message}. {exc.hint}")
        self._keep(tags_for(state))
        self._lease.write(tags_for(state))
        self._listener.on_event(state, event, at)
        return state

    def run(self, state: Rollout) -> Rollout:
        """Go on from ``state`` until it is final or paused.

        Raises:
            LostLeaseError: another run took over. Nothing was written since.
            TransientError: the platform did not answer for UNREACHABLE_S. The endpoint's tags say where it stands.
        """
        with self._load:
            while True:
                observed = self._observe(state)
                now = self._clock.now()
                endpoint = observed.endpoint
                ours = endpoint if endpoint is not None and endpoint.uid == state.plan.endpoint_uid else None
                if ours is not None and not state.is_final:
                    self._check_lease(state, ours)
                self._look_at_load(state, observed)
                action = decide(state, observed, now)
                self._listener.on_look(state, endpoint, action, now)
                # A busy endpoint takes no beat for minutes: users first.
                if ours is not None and not state.is_final and not isinstance(action, Restore):
                    self._beat()
                if isinstance(action, Stop):
                    return state
                if isinstance(action, Wait):
                    wait_s = (action.until - now).total_seconds()
                    self._clock.sleep(min(max(wait_s, 0.02), self._platform.capabilities.poll_s))
                    continue
                if not self._is_fresh(now) and not isinstance(action, Record):
                    continue  # the machine slept since the look: what was decided may be nobody's wish any more
                state = self._step(state, action, observed)

    def _is_fresh(self, at: datetime) -> bool:
        """Whether a look of ``at`` may still be acted on: nobody can have taken the lease over since."""
        return (self._clock.now() - at).total_seconds() < self._platform.capabilities.stale_after_s / 2

    def _check_lease(self, state: Rollout, endpoint: Endpoint) -> None:
        try:
            self._lease.check(endpoint.tags.get(LEASE))
        except LostLeaseError as exc:
            marks = marks_of(endpoint.tags)
            back = (Phase.REVERTING, Phase.ROLLED_BACK)
            if marks is not None and marks.rollout_id == state.plan.rollout_id and marks.phase in back:
                ended = LostLeaseError(
                    "traffic is brought back from elsewhere (a rollback, or a recovery); this run stops",
                    hint="Look at `deployer status`.",
                )
                ended.exit_code = ExitCode.ABORTED
                raise ended from exc
            raise

    def _beat(self) -> None:
        try:
            self._lease.beat()
        except LostLeaseError:
            raise
        except ConflictError:
            return  # the platform is busy with something else of ours; the next look tries again
        except PlatformError as exc:  # the same; a missed beat is not worth a rollout
            self._listener.on_note(f"could not renew the lease: {exc.message}")

    def _step(self, state: Rollout, action: Action, observed: Observed) -> Rollout:
        try:
            event = self._effects.perform(action, state)
        except Exception as exc:
            if state.phase in WAY_BACK or state.phase is Phase.RETIRING:
                raise
            event = GaveUp(Outcome.PLATFORM, f"internal error while {state.phase.value}: {exc!r}")
        if event is None:
            return state
        state = self._apply(state, event)
        if isinstance(action, Record) and observed.request is not None:
            self._answer(state, event, observed)
        self.mark(state, observed.endpoint)
        return state

    def _answer(self, state: Rollout, event: Event, observed: Observed) -> None:
        """Tell the operator what became of the request."""
        if self._request is not None:
            self._request = None
            return
        request = observed.request
        text = event.text if isinstance(event, RequestIgnored) else ""
        if state.phase in WAY_BACK and request is not None and request.kind is not RequestKind.ABORT:
            text = "rolling back"  # whatever began that: nothing but an abort is what happens now
        answer = answer_to(request, f"ignored: {text}" if text else f"taken: {state.phase.value}")
        if request is not None and request.nonce:
            self._answered[request.nonce] = answer
        self._write_answer(answer, observed.endpoint)

    def _write_answer(self, answer: str, endpoint: Endpoint | None) -> None:
        """Write what became of a request, unless another one was left meanwhile."""
        self._keep({ANSWER: answer})
        self._write({REQUEST: None, ANSWER: answer}, expect={REQUEST: endpoint.tags.get(REQUEST) if endpoint else None})

    def _unanswered(self, endpoint: Endpoint | None) -> Request | None:
        """The operator's request that nobody acted on yet.

        One that was answered and is there again was brought back by an older map of tags, or by its author who did not
        see the answer: it gets the same answer again.
        """
        request = request_of(endpoint.tags) if endpoint else None
        if endpoint is None or request is None or not request.nonce:
            return request
        left = endpoint.tags.get(ANSWER, "")
        answer = self._answered.get(request.nonce) or (left if answer_of(left, request.nonce) else None)
        if answer is None:
            return request
        self._write_answer(answer, endpoint)
        return None

    def _apply(self, state: Rollout, event: Event) -> Rollout:
        """Journal ``event``, then apply it. When the journal fails on the way forward, the way back begins instead."""
        at = self._clock.now()
        after = evolve(state, event, at)
        if self._journal_failure is None:
            beside = {"kept": self._keep_evidence(state)} if isinstance(event, Judged) else {}
            record = to_record(event) | beside | self._calls.take()
            try:
                self._journal.append(state.plan.rollout_id, Entry(at, self._actor, record))
            except StoreError as exc:
                self._journal_failure = exc
                self._listener.on_note(f"{exc.message}. {exc.hint}")
                if after.phase not in WAY_BACK | FINAL:
                    event = GaveUp(Outcome.PLATFORM, f"{exc.message} ({exc.hint})")
                    after = evolve(after, event, at)
        if isinstance(event, Advanced | GaveUp | Paused):
            self._keep_evidence(state, decided=True)
        self._listener.on_event(after, event, at)
        return after

    def _keep_evidence(self, state: Rollout, *, decided: bool = False) -> bool:
        """Keep the record of the latest look and say whether it is: each of the first ones, and each that decided.

        Traffic in hand matters more, so a failure is only said.
        """
        if self._effects.evidence is None or self._journal_failure is not None:
            return False
        if state.looks >= LOOKS_KEPT and not decided:
            return False
        (name, content), self._effects.evidence = self._effects.evidence, None
        try:
            self._journal.keep(state.plan.rollout_id, name, content)
        except StoreError as exc:
            self._listener.on_note(f"{exc.message}. {exc.hint}")
            return False
        return True

    def mark(self, state: Rollout, endpoint: Endpoint | None) -> None:
        """Write to the endpoint's tags what a runner without this journal must know of ``state``."""
        if state.phase not in TAGGED:
            return
        tags = tags_for(state)
        if state.phase in (Phase.RETIRING, Phase.PROMOTED) and endpoint is not None:
            tags |= self._versions(state, endpoint)
        if tags.items() <= self._kept.items():
            return
        self._keep(tags)
        self._write(tags)

    def _versions(self, state: Rollout, endpoint: Endpoint) -> dict[str, str | None]:
        """Which version is in use, and how large the old one was: written down before that is scaled down."""
        plan, now = state.plan, self._clock.now()
        old = (plan.stable, plan.stable_digest or "") if plan.stable else None
        had = instances_of(endpoint.tags, plan.stable, plan.stable_digest) or plan.stable_instances
        found = find(endpoint, plan.stable)
        if found is not None and not is_scaled_down(found, had, self._platform.capabilities.least_instances):
            had = found.instances_wanted
        if state.phase is Phase.RETIRING:
            return with_instances(endpoint.tags, old, had, now) if old else {}
        good, is_left = (plan.candidate, plan.candidate_digest), plan.stable in state.left
        return tags_for_good(endpoint.tags, good, old, now, had, is_left=is_left)

    def _keep(self, tags: dict[str, str | None]) -> None:
        """Have ``tags`` written again with each beat: a write that fails, or is overwritten, is made up for."""
        self._kept |= tags
        self._lease.keep(self._kept)

    def _write(self, tags: dict[str, str | None], expect: dict[str, str | None] | None = None) -> None:
        """Write tags while the lease is ours. They are read by the next run: the traffic in hand matters more."""
        try:
            self._lease.write(tags, expect=expect)
        except ConflictError:
            return  # the next look finds out: the lease is lost, another request was left, or the platform is busy
        except PlatformError as exc:
            self._listener.on_note(f"could not write the endpoint's tags: {exc.message}")

    def _observe(self, state: Rollout) -> Observed:
        capabilities = self._platform.capabilities
        patience_s = max(UNREACHABLE_S, capabilities.restore_reserve_s)
        until = self._clock.now() + timedelta(seconds=patience_s)
        while True:
            try:
                endpoint = self._platform.observe()
            except PlatformError as exc:  # rights may come back as well as the network: a token runs out
                if self._clock.now() >= until:
                    raise UnreachableError(state, exc, patience_s) from exc
                self._clock.sleep(max(1.0, capabilities.poll_s))
                continue
            return Observed(endpoint, self._request or self._unanswered(endpoint), self._signal())

    def _look_at_load(self, state: Rollout, observed: Observed) -> None:
        """Have the synthetic load start once somebody can answer it, and be looked after."""
        has_traffic = observed.endpoint is not None and bool(observed.endpoint.traffic)
        self._load.look(may_start=state.prepared and has_traffic and state.phase not in WAY_BACK | FINAL)
