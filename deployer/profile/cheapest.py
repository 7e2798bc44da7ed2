"""The cheapest configuration that carries a rate: which to try next, which not to try at all, and when to stop.

Configurations that differ in their number of instances only are one *shape*. A shape is measured with the fewest of its
instances; n times as many carry n times as much (a Poisson stream splits into Poisson streams), which is confirmed at
the number that is recommended. Deploying dominates on Azure, so one shape of each instance type comes first, then all
shapes of the two best types. A shape is left as soon as the most that it may carry makes it dearer than the best so
far: its ceiling does as a rule, else the first open probe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from deployer.loadtest.kinds import RATE_LIMITED
from deployer.manifest.configuration import Configuration
from deployer.manifest.schema import Slo
from deployer.profile.advice import Advice, Answer, Ask
from deployer.profile.capacity import CapacitySearch
from deployer.profile.targets import are_kept, targets_of
from deployer.profile.trials import Capacity, Probe, Seen, Tally

CONFIRM_S = 45.0
BEST_TYPES = 2
"""Instance types of which all shapes are tried."""
ADMITTED = 2
"""Requests that are taken in at once, for each that is worked on (LOAD, the Azure 429 rule)."""


class Measuring(Protocol):
    """A search for what one configuration carries (``profile.capacity.CapacitySearch``)."""

    @property
    def limits_ms(self) -> tuple[float, ...]:
        """Latency limits in milliseconds."""
        ...

    @property
    def most_rps(self) -> float:
        """What it surely does not carry more than, as far as is known; may be infinite."""
        ...

    def next(self) -> Probe | Capacity:
        """The probe to send now, or the answer."""
        ...

    def tell(self, seen: Seen) -> None:
        """Hear what it saw."""
        ...

    def is_hopeless(self, tally: Tally) -> bool:
        """Whether its end would teach nothing."""
        ...

    def answer_so_far(self) -> Capacity:
        """The best answer by now."""
        ...


def _capacity_search(slo: Slo, admission_limit: int | None, seed: int) -> Measuring:
    return CapacitySearch(slo, admission_limit=admission_limit, seed=seed)


@dataclass
class _Shape:
    """Configurations that differ in their number of instances only."""

    first: Configuration
    counts: list[int]
    usd_per_hour: float
    """Of one instance."""
    search: Measuring
    capacity: Capacity | None = None
    """Of ``first``; None: not finished."""
    why: str = ""
    """Why it cannot be measured."""
    most_rps: float = math.inf
    """What one instance surely does not carry more than, as far as is known."""
    was_tried: bool = False
    confirmed: dict[int, Capacity] = field(default_factory=dict[int, Capacity])
    """By number of instances, what was shown under load."""
    failed: set[int] = field(default_factory=set[int])
    """Numbers of instances that did not carry the rate when it was sent, or are not to be had."""

    def cost(self, count: int) -> float:
        return count * self.usd_per_hour

    def at(self, count: int) -> Capacity | None:
        """What ``count`` instances carry, as far as is known."""
        if count in self.confirmed:
            return self.confirmed[count]
        return self.in_proportion(count) if self.capacity or self.was_tried else None

    def in_proportion(self, count: int) -> Capacity:
        """Predict what ``count`` instances carry from what the fewest do, or seem to so far."""
        return scaled(self.capacity or self.search.answer_so_far(), count / self.first.instance_count)

    def enough(self, rate: float) -> int | None:
        """Fewest instances that carry ``rate``; None: none of the numbers does."""
        known = self.capacity
        if known is None or known.infeasible or known.sustainable_rps <= 0:
            return None
        each = known.sustainable_rps / self.first.instance_count
        return next(
            (
                n
                for n in self.counts
                if n not in self.failed
                and (self.confirmed[n].sustainable_rps if n in self.confirmed else n * each) >= rate
            ),
            None,
        )


class CheapestSearch:
    """Implements ``profile.advice.Search`` for a list of configurations.

    Args:
        configurations: to choose from.
        usd_per_hour: price of one instance of a configuration.
        slo: to be kept.
        rate: requests a second to be carried, headroom included.
        has_admission_limit: the platform answers 429 beyond twice the concurrent requests of all instances.
        seed: of the searches' own simulations.
        measuring: makes the search for what one configuration carries, from slo, admission limit and seed; None:
            ``CapacitySearch``.
    """

    def __init__(
        self,
        configurations: Sequence[Configuration],
        usd_per_hour: Callable[[Configuration], float],
        slo: Slo,
        rate: float,
        *,
        has_admission_limit: bool = True,
        seed: int = 1,
        measuring: Callable[[Slo, int | None, int], Measuring] | None = None,
    ) -> None:
        self._slo = slo
        self._rate = rate
        self._limits = has_admission_limit
        self._seed = seed
        self._measuring = measuring or _capacity_search
        self._configurations = tuple(configurations)
        self._price = usd_per_hour
        self._shapes = self._grouped()
        self._notes: list[str] = []
        self._current: tuple[_Shape, int, Measuring | None] | None = None
        """Shape, number of instances and search under way; without a search, a confirmation."""
        self._endpoint_rps = math.inf
        """About what the endpoint's own rate limit admits; infinite: it was not met."""
        self._is_over = False
        """The rate cannot be sent through this endpoint."""

    @property
    def limits_ms(self) -> Sequence[float]:
        """Latency limits in milliseconds."""
        return self._shapes[0].search.limits_ms

    def next(self, left_s: float, left_usd: float) -> Ask | Advice:
        """The next trial, or the advice when there is nothing left to ask, or no time for it."""
        while True:
            if self._current is None:
                self._current = self._choose()
            if self._current is None:
                return self._advice(is_final=True)
            shape, count, search = self._current
            probe = self._confirmation(count) if search is None else search.next()
            if isinstance(probe, Probe):
                if probe.seconds > left_s or left_usd <= 0:
                    return self._advice(is_final=False)
                return Ask(replace(shape.first, instance_count=count), probe)
            self._finish(shape, count, probe)

    def tell(self, seen: Seen) -> None:
        """Hear what the trial saw; a shape that can only be dearer is left."""
        if self._current is None:
            return
        shape, count, search = self._current
        if search is None:
            if seen.healthy:
                self._confirm(shape, count, seen)
            return
        shape.was_tried = True
        search.tell(seen)
        if count == shape.first.instance_count:
            shape.most_rps = search.most_rps / count
            if self._needless(shape, self._best()):
                self._current = None

    def is_hopeless(self, tally: Tally) -> bool:
        """Whether the end of the trial under way would teach nothing."""
        return self._shapes[0].search.is_hopeless(tally)

    def exclude(self, configuration: Configuration, why: str) -> None:
        """Leave the shape of ``configuration``, or only this number of instances when fewer were measured."""
        for shape in self._shapes:
            if replace(shape.first, instance_count=configuration.instance_count) == configuration:
                if shape.capacity is not None and configuration.instance_count > shape.first.instance_count:
                    shape.failed.add(configuration.instance_count)
                    self._notes.append(f"{configuration}: {why}")
                else:
                    shape.why = why
        self._current = None

    def advice(self) -> Advice:
        """What is known so far."""
        return self._advice(is_final=False)

    # ---- which next

    def _grouped(self) -> list[_Shape]:
        found: dict[Configuration, list[int]] = {}
        for each in self._configurations:
            found.setdefault(replace(each, instance_count=0), []).append(each.instance_count)
        shapes: list[_Shape] = []
        for shape, counts in found.items():
            first = replace(shape, instance_count=min(counts))
            shapes.append(_Shape(first, sorted(counts), self._price(first), self._search(first)))
        return sorted(shapes, key=lambda shape: shape.cost(shape.counts[0]))

    def _search(self, configuration: Configuration) -> Measuring:
        admitted = ADMITTED * configuration.max_concurrent_requests_per_instance * configuration.instance_count
        return self._measuring(self._slo, admitted if self._limits else None, self._seed)

    def _choose(self) -> tuple[_Shape, int, Measuring | None] | None:
        if self._is_over:
            return None
        best = self._best()
        waiting = [shape for shape in self._waiting() if not self._needless(shape, best)]
        if waiting:
            shape = self._first_of(waiting)
            return shape, shape.first.instance_count, shape.search
        if best is None or best[1] in best[0].confirmed:
            return None
        return best[0], best[1], None

    def _waiting(self) -> list[_Shape]:
        """Shapes that may still be measured, without those of instance types that are out of the running."""
        waiting = [shape for shape in self._shapes if shape.capacity is None and not shape.why]
        if any(shape.first.instance_type not in self._seen_types() for shape in waiting):
            return waiting
        ranked = self._best_types()
        return [shape for shape in waiting if shape.first.instance_type in ranked]

    def _seen_types(self) -> set[str | None]:
        return {shape.first.instance_type for shape in self._shapes if shape.was_tried or shape.why}

    def _first_of(self, waiting: Sequence[_Shape]) -> _Shape:
        """One under way, else the middle one of a type that was not seen, else the one that may be cheapest."""
        fresh = [shape for shape in waiting if shape.first.instance_type not in self._seen_types()]
        if not fresh or self._types == 1:
            return next((shape for shape in waiting if shape.was_tried), waiting[0])
        kind = fresh[0].first.instance_type
        of_kind = sorted(
            (shape for shape in fresh if shape.first.instance_type == kind),
            key=lambda shape: (shape.first.workers, shape.first.max_concurrent_requests_per_instance),
        )
        return of_kind[len(of_kind) // 2]

    def _needless(self, shape: _Shape, best: tuple[_Shape, int] | None) -> str:
        """Why measuring ``shape`` further cannot change the advice; empty: it can."""
        counts = [n for n in shape.counts if n * shape.most_rps >= self._rate]
        if not counts:
            return f"cannot carry it: an instance carries at most {shape.most_rps:.4g} rps"
        if best is None or shape.cost(counts[0]) < best[0].cost(best[1]):
            return ""
        return f"not cheaper: {counts[0]} of it, the fewest that may do, cost ${shape.cost(counts[0]):.4g} an hour"

    @property
    def _types(self) -> int:
        return len({shape.first.instance_type for shape in self._shapes})

    def _best_types(self) -> set[str | None]:
        costs: dict[str | None, float] = {}
        for shape in self._shapes:
            count = shape.enough(self._rate)
            cost = shape.cost(count) if count is not None else math.inf
            kind = shape.first.instance_type
            costs[kind] = min(costs.get(kind, math.inf), cost)
        return set(sorted(costs, key=lambda kind: costs[kind])[:BEST_TYPES])

    def _best(self) -> tuple[_Shape, int] | None:
        found = [
            (shape.cost(count), index, shape, count)
            for index, shape in enumerate(self._shapes)
            if not shape.why and (count := shape.enough(self._rate)) is not None
        ]
        return min(found)[2:] if found else None

    # ---- what came of it

    def _finish(self, shape: _Shape, count: int, capacity: Capacity) -> None:
        if count == shape.first.instance_count:
            shape.capacity = capacity
        if count != shape.first.instance_count or capacity.measured:
            shape.confirmed[count] = capacity
        if count != shape.first.instance_count and not capacity.measured:
            shape.failed.add(count)  # its confirmation failed before, and this shows nothing better
        if math.isfinite(capacity.endpoint_rps) and not capacity.infeasible:
            self._endpoint_rps = min(self._endpoint_rps, capacity.endpoint_rps)
            self._is_over = capacity.endpoint_rps < self._rate
        self._current = None

    def _undecided(self) -> str:
        """Why nobody knows whether a candidate carries the rate, once the endpoint's limit was met."""
        limit = f"the endpoint's rate limit (about {self._endpoint_rps:.4g} rps)"
        return f"not known: {limit} ended the search for what carries {self._rate:.4g} rps; ask for a higher one"

    def _confirmation(self, count: int) -> Probe:
        rate = self._rate
        return Probe("open", rate, 0, CONFIRM_S, True, f"confirm {rate:.4g} rps with {count} instances")

    def _confirm(self, shape: _Shape, count: int, seen: Seen) -> None:
        targets = targets_of(self._slo)
        failed = (seen.status < 200) | (seen.status > 299)
        if seen.seconds > 0.9 * seen.probe.seconds and are_kept(seen.latency_ms / 1000, failed, targets):
            shape.confirmed[count] = self._shown(shape.in_proportion(count), count)
            self._current = None
            return
        reached = seen.status != RATE_LIMITED
        if not reached.all() and are_kept(seen.latency_ms[reached] / 1000, failed[reached], targets):
            self._endpoint_rps = min(self._endpoint_rps, np.count_nonzero(reached) / max(seen.seconds, 1.0))
            self._is_over, self._current = True, None
            return
        said = f"{replace(shape.first, instance_count=count)} did not carry {self._rate:.4g} rps"
        if count == shape.first.instance_count:  # it was measured on its own already
            self._notes.append(said)
            shape.failed.add(count)
            self._current = None
            return
        self._notes.append(f"{said}: measured on its own")
        self._current = (shape, count, self._search(replace(shape.first, instance_count=count)))

    def _shown(self, known: Capacity, count: int) -> Capacity:
        """``known`` once the wanted rate was confirmed: that much is promised, not what was predicted beyond it."""
        said = (
            f"confirmed at {self._rate:.4g} rps with {count} instances; "
            f"{known.sustainable_rps:.4g} rps are predicted and were not measured"
        )
        note = "; ".join(filter(None, (known.note, said)))
        lower = min(known.lower, self._rate)
        return replace(known, sustainable_rps=self._rate, lower=lower, measured=True, note=note)

    def _advice(self, *, is_final: bool) -> Advice:
        best = self._best()
        if self._is_over and best is not None and best[1] not in best[0].confirmed:
            best = None
        recommended = replace(best[0].first, instance_count=best[1]) if best else None
        answers = [self._answer(each, recommended) for each in self._configurations]
        notes = list(self._notes)
        if math.isfinite(self._endpoint_rps):
            said = f"the endpoint's rate limit turned requests away at about {self._endpoint_rps:.4g} rps"
            notes.append(f"{said}: what a candidate carries beyond is not known")
        is_known = recommended is not None or not (self._is_over or self._is_any_capped())
        return Advice(recommended, answers, is_final, tuple(notes), "" if is_known else self._undecided())

    def _is_any_capped(self) -> bool:
        return any(shape.capacity is not None and shape.capacity.is_capped for shape in self._shapes)

    def _answer(self, configuration: Configuration, recommended: Configuration | None) -> Answer:
        count = configuration.instance_count
        shape = next(each for each in self._shapes if replace(each.first, instance_count=count) == configuration)
        capacity, cost = shape.at(count), shape.cost(count)
        measured_at = (count if count in shape.confirmed else shape.first.instance_count) if shape.was_tried else None
        why = "" if configuration == recommended else shape.why or self._why_not(shape, count, capacity)
        return Answer(configuration, cost, capacity, why, measured_at)

    def _why_not(self, shape: _Shape, count: int, capacity: Capacity | None) -> str:
        best = self._best()
        if shape.capacity is None or capacity is None:
            return self._needless(shape, best) or (self._undecided() if self._is_over else "")
        if capacity.infeasible:
            return "no rate keeps the slo"
        if count in shape.failed:
            return f"was not confirmed to carry {self._rate:.4g} rps"
        if self._is_over and count not in shape.confirmed:
            return self._undecided()
        if capacity.sustainable_rps < self._rate:
            least = "at least " if capacity.is_capped else ""
            return f"carries {least}{capacity.sustainable_rps:.4g} of {self._rate:.4g} rps"
        return f"carries it, at ${shape.cost(count):.4g} an hour"


def scaled(capacity: Capacity, factor: float) -> Capacity:
    """Predict what ``factor`` times as many instances carry, in proportion; the same for a factor of 1."""
    if factor == 1:
        return capacity
    return replace(
        capacity,
        sustainable_rps=capacity.sustainable_rps * factor,
        lower=capacity.lower * factor,
        upper=capacity.upper * factor,
        ceiling_rps=capacity.ceiling_rps * factor,
        measured=False,
        curve=tuple(replace(point, rps=point.rps * factor) for point in capacity.curve if not point.measured),
    )
