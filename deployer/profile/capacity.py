"""The search for what one configuration carries: a conversation of probes and answers, without time of its own.

Warm up, find the ceiling in a closed loop, believe in a queue, probe it with Poisson arrivals where it should just
keep the SLO, correct it, and confirm. What is answered lies on the lower side of what is believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence

import numpy as np

from deployer.loadtest.chance import lower_share, upper_share
from deployer.loadtest.estimates import spread
from deployer.manifest.schema import Slo
from deployer.profile.belief import Belief, conclude
from deployer.profile.curve import curve_of
from deployer.profile.fit import bad_of, excess
from deployer.profile.identify import fullest, has_moved, load_breaks, told_apart, usual_s
from deployer.profile.queueing import Flags
from deployer.profile.service import Trace, slow_s, trace_of
from deployer.profile.targets import targets_of
from deployer.profile.trials import BELOW, MOST_IN_FLIGHT, Capacity, Probe, Seen, Tally

CONFIRM_S = 45.0
ENOUGH_SD = 0.0125
"""Relative standard error at which a confirmed answer is good enough."""
MOST_LOAD_S = 240.0
"""Load time of one search; what is known by then is answered."""
_ENOUGH_SPREAD = 0.0105
"""The part of it that service times may have."""
_WORTHWHILE_S = 15.0
"""A closed probe for more of them is not shorter."""
_ALIKE = 0.025
"""Rates so near each other tell of the same."""
_STEADY = 0.02
_MOVED = 0.03
_PATIENCE = 2
"""Restarts for a server that was still warming up; unhealthy probes sent again."""
_MOST_LOST_S = 60.0
"""Seconds of probes with an outage that are sent again."""
_FAILS = 2.6
"""Standard deviations beyond which a probe shows a capacity below its rate."""
_SIGMAS = 1.96
"""Of the interval that holds the truth in nine profiles of ten: 1.645 would do were every error known, and measured it
held it in 17 of 20 on the server that answers 429 (tests/bench/profile)."""
_PROBABLY, _HARDLY = 0.1, 0.01
"""Risks of a lower bound of a share: that a probe failed, when two have to; that nothing keeps the SLO."""
_SURE = 3.0
"""Standard deviations above the estimate that nothing carries."""
_STEP = 1.06
"""Farthest step above rates that were seen to hold, once the model is not trusted."""
_FLAT = 1.5
"""Slope of ln(violation) against ln(rate) below which the rate says little about the violation."""

Talk = Generator[Probe, Trace, bool]


class _GeneratorTooSlowError(Exception):
    """A closed probe asks more of the load generator than it can do."""


def _fails_more_than(allowed: float, traces: Sequence[Trace], failed: Sequence[Flags], risk: float) -> bool:
    """Whether more requests fail than ``allowed``, but for this risk; those of one burst say little more than one."""
    seconds = [trace.arrival.astype(np.int64) for trace in traces]
    counts = [np.bincount(at[bad], minlength=at[-1] + 1) for at, bad in zip(seconds, failed, strict=True)]
    bad, sent = (np.concatenate(each).astype(np.float64) for each in (counts, [np.bincount(at) for at in seconds]))
    alike = spread(bad, sent, 1.0).inflation
    return lower_share(float(bad.sum()) / alike, float(sent.sum()) / alike, risk) > allowed


class CapacitySearch:
    """Asks for probes until it knows the capacity.

    ``next`` is idempotent until ``tell``. The same seed and the same answers lead to the same probes.
    """

    def __init__(self, slo: Slo, *, admission_limit: int | None = None, seed: int = 0) -> None:
        self._targets = targets_of(slo)
        self._limit = admission_limit
        self._seed = seed
        self._traces: list[Trace] = []
        self._load_s = 0.0
        self._ceiling = 0.0
        self._endpoint_rps = math.inf
        self._has_climbed = False
        self._belief: Belief | None = None
        self._notes: list[str] = []
        self._unhealthy = 0
        self._lost = 0
        self._lost_s = 0.0
        self._failing: list[Trace] = []
        self._restarts = 0
        self._confirmed = False
        self._trusted = True
        self._infeasible = False
        self._flat_rps = 0.0
        self._long = False
        self._slow_s = 0.0
        self._plan = self._search()
        self._pending: Probe | None = next(self._plan)

    @property
    def limits_ms(self) -> tuple[float, ...]:
        """Latency limits whose late answers ``is_hopeless`` wants counted, in milliseconds."""
        return tuple(1000 * target.limit_s for target in self._targets if math.isfinite(target.limit_s))

    @property
    def most_rps(self) -> float:
        """What it surely does not carry more than, as far as is known: the ceiling, lower once open probes say so."""
        if not self._has_climbed:
            return math.inf
        if self._belief is None or self._belief.rps <= 0 or not self._opens():
            return self._ceiling
        return min(self._ceiling, self._belief.rps * math.exp(_SURE * self._belief.sd))

    def next(self, left_s: float = math.inf) -> Probe | Capacity:
        """The probe to send now, or the answer; with less than the probe's time left, the answer so far."""
        if self._pending is None or self._pending.seconds > left_s:
            return self.answer_so_far()
        return self._pending

    def tell(self, seen: Seen) -> None:
        """Hear what the pending probe saw."""
        self._load_s += seen.seconds
        if not seen.healthy or seen.arrival_s.size == 0:
            self._unhealthy += 1
            if self._unhealthy == _PATIENCE and self._pending is not None and self._pending.kind == "closed":
                self._unhealthy = 0
                self._go_on(lambda: self._plan.throw(_GeneratorTooSlowError()))
            elif self._unhealthy > _PATIENCE:
                self._end("the load generator could not keep up: the rate is at least what was seen")
            return
        trace = trace_of(seen, self._slow_s)
        if not trace.arrival.size:
            self._end("the endpoint's rate limit turned every request away")
            return
        if trace.is_outage and self._lost_s < _MOST_LOST_S and not (trace.is_limited or load_breaks(self._traces)):
            self._lost_s += seen.seconds
            self._lost += int(np.count_nonzero(trace.broken))
            return  # the same probe again
        if trace.is_limited:
            self._meet_limit(trace)
        self._go_on(lambda: self._plan.send(trace))

    def _meet_limit(self, trace: Trace) -> None:
        """Stay below what the endpoint admits from now on: its limit is not the configuration's."""
        admitted = trace.arrival.size / max(trace.seconds, 1.0)
        if math.isinf(self._endpoint_rps):
            self._notes.append(
                f"the endpoint's rate limit turned requests away at about {admitted:.4g} rps: what is carried beyond "
                "is not known"
            )
        self._endpoint_rps = min(self._endpoint_rps, admitted, trace.probe.rps or math.inf)

    def _go_on(self, step: Callable[[], Probe]) -> None:
        try:
            self._pending = step()
        except StopIteration:
            self._pending = None

    def is_hopeless(self, tally: Tally) -> bool:
        """Whether the probe under way is so far over the SLO that its end would teach nothing."""
        if tally.sent < 30:
            return False
        for target in self._targets:
            late = tally.errors if math.isinf(target.limit_s) else tally.late.get(1000 * target.limit_s, 0)
            expected = target.allowed * tally.sent
            if late > 4 * expected + 6 * math.sqrt(expected) + 12:
                return True
        return False

    def answer_so_far(self) -> Capacity:
        """The best answer that what was told allows."""
        belief = self._belief
        if self._infeasible:
            return self._capacity(0.0, 0.0, 0.0, "", measured=True)
        if self._flat_rps:
            return self._capacity(self._flat_rps, self._flat_rps, self._ceiling, "", measured=True)
        if belief is None or belief.rps <= 0:
            return self._capacity(
                0.0, 0.0, self._ceiling, "ended before the first open probe: only the ceiling is known"
            )
        width = math.exp(_SIGMAS * belief.sd)
        note = "the objective is nearly flat" if belief.limit.slope < _FLAT or belief.limit.idle > 0.7 else ""
        promised = self._promised(belief)
        lower = min(belief.rps / width, promised) if promised < belief.safe_rps else belief.rps / width
        most = self._ceiling if self._has_climbed else math.inf  # a wrong model believes in more than it ever answered
        if not self._trusted and not self._confirmed and self._opens():
            most = min(most, self._shown_rps())
        rps = min(promised, most)
        return self._capacity(rps, min(lower, rps), belief.rps * width, note, measured=self._confirmed)

    def _capacity(self, rps: float, lower: float, upper: float, note: str, *, measured: bool = False) -> Capacity:
        belief = self._belief
        near = self._near(belief) if belief is not None and belief.rps > 0 else []
        sent = sum(trace.arrival.size for trace in near)
        failed = sum(int(np.count_nonzero(trace.failed)) for trace in near)
        return Capacity(
            sustainable_rps=rps,
            lower=lower,
            upper=upper,
            infeasible=self._infeasible,
            measured=measured,
            ceiling_rps=self._ceiling,
            note="; ".join(part for part in (*self._notes, self._outage(), note) if part),
            curve=curve_of(belief, self._traces, self._targets, self._seed) if belief is not None and near else (),
            load_seconds=self._load_s,
            binding=self._targets[belief.limit.binding].name if belief else "",
            endpoint_rps=self._endpoint_rps,
            error_rate_shown=upper_share(failed, sent) if sent else None,
        )

    def _outage(self) -> str:
        return f"{self._lost:,} requests failed while next to nothing was answered: sent again" if self._lost else ""

    # the conversation ---------------------------------------------------------------------------------------------
    def _search(self) -> Talk:
        while True:
            self._traces.clear()
            self._has_climbed = False
            if not (yield from self._warm()):
                return False
            is_the_ceiling = yield from self._climb()
            if not (yield from self._is_steady()):
                continue
            self._has_climbed = is_the_ceiling
            while (yield from self._probe()):
                pass
            if self._traces:  # not thrown away: there is no reason to begin again
                return True

    def _warm(self) -> Talk:
        seconds, before = 4.0, None
        while True:
            trace = yield Probe("warm", 0.0, 1, seconds, False, "warm up, one request in flight")
            self._traces = [*self._traces[-11:], trace]
            if trace.failed.all():
                self._notes.append("not one request was answered with success")
                self._infeasible = True
                return False
            mean, error = usual_s(trace)
            seconds = min(max(seconds, 40 * mean), 20.0)
            if before is not None:
                noise = 2.5 * math.hypot(error, before[1]) / mean
                if abs(mean / before[0] - 1) < max(_STEADY, noise) or len(self._traces) == 12:
                    break
            before = (mean, error)
        self._traces = [trace]
        self._slow_s = slow_s(trace)
        self._ceiling = trace.rps
        return True

    def _climb(self) -> Talk:
        """Find the ceiling; False: it is above what the load generator, or the endpoint, lets be sent."""
        concurrency, best = 1, self._traces[0].rps
        most = min(self._limit or MOST_IN_FLIGHT, MOST_IN_FLIGHT)
        while concurrency < most:
            concurrency = min(2 * concurrency, most)
            seconds = min(max(300 / max(best, 1.0), 4.0), 12.0)
            try:
                trace = yield Probe(
                    "closed", 0.0, concurrency, seconds, False, f"ceiling, {concurrency} requests in flight"
                )
            except _GeneratorTooSlowError:
                self._notes.append(
                    f"the load generator cannot keep {concurrency} requests in flight: the ceiling is above "
                    f"{self._ceiling:.4g} rps"
                )
                return False
            if trace.is_limited:
                return False
            self._traces.append(trace)
            self._ceiling = max(self._ceiling, trace.rps)
            if trace.rps < 1.08 * best or trace.refused.any():
                return True
            best = trace.rps
        if most == self._limit:
            return True
        self._notes.append(f"not more than {most} requests are in flight: the ceiling is above {self._ceiling:.4g} rps")
        return False

    def _is_steady(self) -> Talk:
        first = self._traces[0]
        trace = yield Probe("warm", 0.0, 1, first.probe.seconds, False, "has the service time moved?")
        (mean, error), (was, error_was) = usual_s(trace), usual_s(first)
        if abs(mean / was - 1) > max(_MOVED, 3 * math.hypot(error, error_was) / was) and self._restarts < _PATIENCE:
            self._restarts += 1
            return False
        self._traces.append(trace)
        return True

    def _probe(self) -> Talk:
        """One more probe; False when there is nothing more to ask, or everything has to be asked again."""
        belief = self._believe()
        if belief.rps <= 0:
            return (yield from self._is_possible())
        if self._is_done(belief):
            self._is_done(self._believe(fine=True))
            return False
        try:
            trace = yield self._next_probe(belief)
        except _GeneratorTooSlowError:
            return True  # there are fewer service times, and that is known
        if trace.is_limited:
            return True  # the next one stays below the endpoint's limit
        self._traces.append(trace)
        if self._restarts < _PATIENCE and self._is_drifting(belief, trace):
            self._restarts += 1
            self._traces.clear()
            return False
        if trace.probe.kind == "open" and self._exceeds(belief, trace):
            self._failing.append(trace)
            if len(self._failing) == 2:
                self._notes.append("two probes failed at the predicted rate: the model was dropped")
                self._trusted = False
                return (yield from self._is_possible())
        return True

    def _next_probe(self, belief: Belief) -> Probe:
        opens = self._opens()
        if not opens:
            rate = min(0.97 * belief.rps, BELOW * self._endpoint_rps)
            return Probe("open", rate, 0, 30.0, True, f"open arrivals at {rate:.4g} rps")
        closed = [trace for trace in self._traces if trace.probe.kind == "closed"]
        full = fullest(closed or self._traces[:1])
        lacking = belief.queue.sizes_s.size * ((belief.spread / _ENOUGH_SPREAD) ** 2 - 1) - CONFIRM_S * belief.rps
        seconds = min(lacking / full.rps, MOST_LOAD_S - self._load_s - 2 * CONFIRM_S)
        is_worthwhile = seconds > _WORTHWHILE_S and not self._is_limited(belief)
        if full.rps > 1.25 * belief.rps and is_worthwhile and not self._long and not self._failing:
            self._long = True
            return Probe("closed", 0.0, full.probe.concurrency, seconds, False, "more service times")
        rate = self._next_rps(belief)
        return Probe("open", rate, 0, CONFIRM_S, True, f"confirm {rate:.4g} rps")

    def _shown_rps(self) -> float:
        """The highest rate to be promised by a model that is not trusted: a step above what kept the SLO."""
        opens = self._opens()
        held = [trace.probe.rps for trace in opens if self._is_kept(trace)]
        return _STEP * max(held) if held else 0.9 * min(trace.probe.rps for trace in opens)

    def _next_rps(self, belief: Belief) -> float:
        promised = self._promised(belief)
        if self._trusted:
            return promised
        shown = self._shown_rps()
        broke = [trace.probe.rps for trace in self._opens() if not self._is_kept(trace) and trace.probe.rps > shown]
        return min(promised, max(shown, math.sqrt(shown * min(broke)))) if broke else min(promised, shown)

    def _is_kept(self, trace: Trace) -> bool:
        whole = trace.seconds > 0.9 * trace.probe.seconds
        bad = (np.count_nonzero(bad_of(trace.latency, trace.failed, target)) for target in self._targets)
        most = (target.allowed * trace.arrival.size for target in self._targets)
        return whole and all(seen <= allowed for seen, allowed in zip(bad, most, strict=True))

    def _opens(self) -> list[Trace]:
        return [trace for trace in self._traces if trace.probe.kind == "open"]

    def _is_done(self, belief: Belief) -> bool:
        near = [trace for trace in self._near(belief) if not any(trace is failing for failing in self._failing)]
        self._confirmed = sum(trace.seconds for trace in near) >= 0.95 * CONFIRM_S
        is_enough = belief.sd < ENOUGH_SD or self._is_limited(belief)
        return (self._confirmed and is_enough) or self._load_s + CONFIRM_S > MOST_LOAD_S

    def _near(self, belief: Belief) -> list[Trace]:
        return [trace for trace in self._opens() if abs(trace.probe.rps / self._promised(belief) - 1) < _ALIKE]

    def _promised(self, belief: Belief) -> float:
        """What to promise: what is believed, as far as the endpoint's own limit lets it be shown."""
        return min(belief.safe_rps, BELOW * self._endpoint_rps)

    def _is_limited(self, belief: Belief) -> bool:
        return self._promised(belief) < belief.safe_rps

    def _is_drifting(self, belief: Belief, trace: Trace) -> bool:
        return has_moved(trace, belief.queue.slots, belief.queue.delay_s)

    def _exceeds(self, belief: Belief, trace: Trace) -> bool:
        target = self._targets[belief.limit.binding]
        others = (other.allowed for other in self._targets if math.isinf(other.limit_s) and other != target)
        alike = [each for each in self._opens() if abs(each.probe.rps / trace.probe.rps - 1) < _ALIKE]
        failed = [each.failed for each in alike]
        if any(_fails_more_than(allowed, alike, failed, _PROBABLY) for allowed in others):
            return True  # the model knows nothing of these failures
        return excess(belief.queue, belief.limit, trace, target, self._seed) > _FAILS

    def _is_possible(self) -> Talk:
        """Ask whether any rate keeps the SLO; False ends the search."""
        rates = [max(share * self._ceiling, min(4.0, 0.3 * self._ceiling)) for share in (0.03, 0.1)]
        said, shown = "next to no load is already at the slo", rates[0]
        for rate in rates:
            trace = yield Probe("open", rate, 0, CONFIRM_S, True, f"does any rate keep the slo? {rate:.3g} rps")
            self._traces.append(trace)
            if self._is_impossible(trace):
                return False
            if self._believe().rps > 0:
                return True
            if self._is_kept(trace):
                said, shown = "no rate beyond is sure to keep the slo", rate
        self._notes.append(f"{said}: the objective is nearly flat")
        self._flat_rps = shown
        return False

    def _is_impossible(self, trace: Trace) -> bool:
        for target in self._targets:
            if math.isinf(target.limit_s):
                _, calm = told_apart(self._traces)
                failed = [each.broken for each in calm]
                bad, sent = sum(int(each.sum()) for each in failed), sum(each.size for each in failed)
                load, breaks = "whatever the load", _fails_more_than(target.allowed, calm, failed, _HARDLY)
            else:
                bad, sent = int(np.count_nonzero(bad_of(trace.latency, trace.failed, target))), trace.arrival.size
                load, breaks = "at next to no load", lower_share(bad, sent, _HARDLY) > target.allowed
            if breaks:
                self._notes.append(f"{bad} of {sent} requests {load} break {target.name}: no rate keeps the slo")
                self._infeasible = True
        return self._infeasible

    def _believe(self, *, fine: bool = False) -> Belief:
        self._belief = conclude(self._traces, self._targets, self._limit, self._seed, trusted=self._trusted, fine=fine)
        if self._belief.warp.misfit:
            self._trusted = False
        return self._belief

    def _end(self, note: str) -> None:
        self._notes.append(note)
        self._pending = None
