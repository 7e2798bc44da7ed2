"""A rollout as one trace and a few metrics.

The trace's id is made from the rollout's, and so is the id of its root span: a run that goes on after a crash, or after
a pause of days, goes on in the same trace. The root span is written once, by the run that sees the rollout end; each
run is a span below it, with its steps, their phases, what was done in them, and the platform's calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType

from opentelemetry.metrics import Meter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from deployer.errors import DeployerError
from deployer.gate.verdict import Arm, Verdict
from deployer.ports.clock import Clock
from deployer.report.harmless import plain
from deployer.report.listeners import Quiet
from deployer.report.words import event_words, step_name
from deployer.rollout.actions import Action, Record, Stop, Wait
from deployer.rollout.endpoint import Endpoint
from deployer.rollout.events import Event, Judged
from deployer.rollout.model import WAY_BACK, Phase, Rollout

WRITES = frozenset(
    {
        "ensure_endpoint",
        "create_deployment",
        "recreate_deployment",
        "set_traffic",
        "delete_deployment",
        "delete_endpoint",
        "scale_deployment",
        "match_scaling",
        "release_scaling",
    }
)
"""Calls that are spans of their own. Looks and beats come twice a second: they are in the histogram alone."""
TEXT = 500
"""Characters of a text in an attribute."""


class Ids(RandomIdGenerator):
    """Random ids, but for the span that is told which ones to have."""

    def __init__(self) -> None:
        self.next: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        """The trace's."""
        return self.next[0] if self.next else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """The span's."""
        return self.next[1] if self.next else super().generate_span_id()


def ids_of(rollout_id: str) -> tuple[int, int]:
    """Ids of a rollout's trace and of its root span."""
    digest = hashlib.sha256(f"deployer rollout {rollout_id}".encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1


class Observer(Quiet):
    """Writes spans and metrics of one run of a rollout."""

    def __init__(
        self, tracer: Tracer, meter: Meter, ids: Ids, clock: Clock, *, endpoint: str, platform: str, actor: str
    ) -> None:
        """Say what is observed.

        Args:
            tracer: makes spans.
            meter: makes metrics.
            ids: the tracer's.
            clock: tells the time.
            endpoint: that is rolled out to.
            platform: its platform's word.
            actor: who runs it.
        """
        self._tracer, self._ids, self._clock = tracer, ids, clock
        self._about = {"deployer.endpoint": plain(endpoint), "deployer.platform": platform}
        self._actor = plain(actor)
        self._open: list[tuple[str, Span]] = []
        """Run, step, phase and action, as far as they are open."""
        self._state: Rollout | None = None
        self._weight = meter.create_gauge("deployer.weight", "%", "candidate's share of users' traffic")
        self._verdicts = meter.create_counter("deployer.verdicts", "{look}", "looks of the gate, by verdict")
        self._p95 = meter.create_gauge("deployer.p95", "ms", "95th percentile since the candidate's first exposure")
        self._errors = meter.create_gauge("deployer.error_rate", "1", "share of errors since the first exposure")
        self._requests = meter.create_gauge("deployer.requests", "{request}", "requests since the first exposure")
        self._evidence = meter.create_gauge("deployer.e_value", "1", "evidence for what the gate says of a metric")
        self._phases = meter.create_histogram("deployer.phase.duration", "s", "how long phases took")
        self._calls = meter.create_histogram("deployer.platform.call.duration", "s", "how long the platform took")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """End what is open."""
        if error is not None and self._open:
            said = (
                f"{type(error).__name__}: {error.message}" if isinstance(error, DeployerError) else type(error).__name__
            )
            self._open[0][1].set_status(Status(StatusCode.ERROR, plain(said)[:TEXT]))
        self._close("run", self._clock.now())

    def on_event(self, state: Rollout, event: Event, at: datetime) -> None:
        """Write the event into the span of what was done, and move on to the next phase."""
        before = self._state
        self._begin(before or state, at)
        name, text = event_words(state, event)
        self._innermost().add_event(event.type, {"deployer.text": plain(text)[:TEXT]}, _ns(at))
        if isinstance(event, Judged):
            self._look(state, event.verdict)
        self._innermost().set_attribute("deployer.event", name)
        self._close("action", at)
        self._weight.set(state.weight_pct, self._about)
        if before is not None and before.phase is not state.phase:
            seconds = max((at - before.entered_at).total_seconds(), 0.0)
            self._phases.record(seconds, {**self._about, "deployer.phase": before.phase.value})
            self._close("phase", at)
        if before is not None and before.position != state.position:
            self._close("step", at)
        self._state = state
        if state.is_final:
            self._end(state, at)
        else:
            self._enter(state, at)

    def on_look(self, state: Rollout, endpoint: Endpoint | None, action: Action, now: datetime) -> None:
        """Begin the span of what is done next."""
        if state.is_final:
            return
        self._begin(state, now)
        self._close("action", now)  # one that came to nothing is done again
        self._state = state
        if not isinstance(action, Wait | Stop | Record):
            self._start("action", _snake(type(action).__name__), now)

    def was_called(self, name: str, at_ns: int, seconds: float, failed: str) -> None:
        """Write down one call of the platform: when it began (nanoseconds since 1970), how long it took, its error."""
        about = {**self._about, "deployer.call": name, "error.type": failed}
        self._calls.record(seconds, about)
        if name in WRITES and self._open:
            context = set_span_in_context(self._innermost())
            span = self._tracer.start_span(f"platform {name}", context, SpanKind.CLIENT, self._about, start_time=at_ns)
            if failed:
                span.set_status(Status(StatusCode.ERROR, failed))
            span.end(at_ns + round(seconds * 1e9))

    def _begin(self, state: Rollout, at: datetime) -> None:
        """Begin the run's span below the rollout's, which may have been begun by another process."""
        if self._open:
            return
        trace_id, span_id = ids_of(state.plan.rollout_id)
        above = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        context = set_span_in_context(NonRecordingSpan(above))
        attributes = self._facts(state) | {"deployer.actor": self._actor}
        span = self._tracer.start_span("run", context, attributes=attributes, start_time=_ns(at))
        self._open.append(("run", span))
        self._enter(state, at)

    def _enter(self, state: Rollout, at: datetime) -> None:
        opened = {kind for kind, _ in self._open}
        if "step" not in opened:
            self._start("step", f"step {plain(step_name(state.plan, state.step))}", at)
        if "phase" not in opened:
            self._start("phase", state.phase.value, at)

    def _start(self, kind: str, name: str, at: datetime) -> None:
        context = set_span_in_context(self._innermost())
        self._open.append((kind, self._tracer.start_span(name, context, attributes=self._about, start_time=_ns(at))))

    def _close(self, kind: str, at: datetime) -> None:
        """End the span of ``kind`` and all below it, if it is open."""
        if kind in {opened for opened, _ in self._open}:
            while self._open:
                closed, span = self._open.pop()
                span.end(_ns(at))
                if closed == kind:
                    return

    def _innermost(self) -> Span:
        return self._open[-1][1]

    def _end(self, state: Rollout, at: datetime) -> None:
        """Write the root span: the whole rollout."""
        self._close("run", at)
        self._ids.next = ids_of(state.plan.rollout_id)
        try:
            span = self._tracer.start_span(
                f"rollout {plain(state.plan.endpoint)}",
                set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False))),
                attributes=self._facts(state),
                start_time=_ns(state.started_at),
            )
        finally:
            self._ids.next = None
        if state.phase in WAY_BACK or state.phase is Phase.STUCK:
            span.set_status(Status(StatusCode.ERROR, plain(state.reason)[:TEXT]))
        span.end(_ns(at))

    def _facts(self, state: Rollout) -> dict[str, str]:
        plan = state.plan
        return self._about | {
            "deployer.rollout.id": plain(plan.rollout_id),
            "deployer.candidate": plain(plan.candidate),
            "deployer.stable": plain(plan.stable or ""),
            "deployer.phase": state.phase.value,
            "deployer.outcome": state.outcome.value if state.outcome else "",
            "deployer.reason": plain(state.reason)[:TEXT],
        }

    def _look(self, state: Rollout, verdict: Verdict) -> None:
        self._innermost().set_attributes(
            {
                "deployer.verdict": verdict.result.value,
                "deployer.verdict.text": plain(verdict.text)[:TEXT],
                "deployer.looks": state.looks,
            }
        )
        self._verdicts.add(1, {**self._about, "deployer.verdict": verdict.result.value})
        for role, arm in (("candidate", verdict.candidate), ("stable", verdict.stable)):
            if arm is not None:
                self._arm({**self._about, "deployer.role": role}, arm)
        for reason in verdict.reasons:
            if reason.e_value is not None:
                about = {**self._about, "deployer.metric": reason.metric, "deployer.rule": reason.rule}
                self._evidence.set(reason.e_value, about)

    def _arm(self, about: Mapping[str, str], arm: Arm) -> None:
        self._requests.set(arm.requests, about)
        if arm.p95_ms is not None:
            self._p95.set(arm.p95_ms, about)
        if arm.error_rate is not None:
            self._errors.set(arm.error_rate, about)


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("_")
