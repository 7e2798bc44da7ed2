"""A profile, start to end: the search says what to try, this puts it up, sends the load and tells what was seen.

Whatever ends it (an answer, the budget, a signal, a platform that fails), what was found out is kept, and nothing that
was made is left standing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from deployer.engine.profile_stand import (
    BudgetSpentError,
    DiedError,
    InterruptedByError,
    NoRoomError,
    NotStartingError,
    Stand,
)
from deployer.engine.profile_trial import RETRY_EVERY_S, Trials, Tried, refused_everywhere
from deployer.engine.site import Site
from deployer.errors import DeployerError, PlatformError
from deployer.loadtest.figures import Window
from deployer.loadtest.kinds import RATE_LIMITED
from deployer.loadtest.ranks import Ranked
from deployer.manifest.configuration import Configuration
from deployer.manifest.schema import Slo
from deployer.ports.profiling import Ending, Look, Profiled, TrialRecord
from deployer.profile.advice import Advice, Ask, Search
from deployer.profile.ledger import Ledger
from deployer.profile.progress import tally
from deployer.profile.targets import shares, targets_of
from deployer.profile.trials import Probe

UNHEALTHY_MAX = 2
"""Trials in a row in which the generator did not keep up: then the configuration is not judged."""


class Listener(Protocol):
    """Is shown how a profile goes."""

    def on_look(self, look: Look) -> None:
        """Something began, or a second has passed."""
        ...

    def on_trial(self, record: TrialRecord) -> None:
        """A trial has ended."""
        ...

    def on_note(self, text: str) -> None:
        """What a person should know."""
        ...


class Profiler:
    """Carries out one profile.

    Args:
        site: the test endpoint.
        stand: puts configurations up on it.
        trials: sends load to it.
        search: chooses.
        ledger: time and money.
        listener: is shown how it goes.
    """

    def __init__(
        self, site: Site, stand: Stand, trials: Trials, search: Search, ledger: Ledger, listener: Listener
    ) -> None:
        self._site = site
        self._stand = stand
        self._trials = trials
        self._search = search
        self._ledger = ledger
        self._listener = listener
        self._records: list[TrialRecord] = []
        self._checked: set[Configuration] = set()
        self._unhealthy = 0
        self._not_judged: list[Configuration] = []
        self._began = site.clock.now()

    def run(self) -> Profiled:
        """Search until there is an answer, or something ends it; then remove everything.

        Raises:
            PlanError: the endpoint is not one for this. Nothing was changed.
        """
        is_open = False
        try:
            self._show(None, "making the test endpoint ready")
            self._stand.open()
            is_open = True
            ending, text = self._go_on()
        except InterruptedByError as exc:
            ending, text = Ending.INTERRUPTED, exc.message
        except BudgetSpentError as exc:
            ending, text = Ending.BUDGET, exc.message
        except DeployerError as exc:
            if not is_open and not isinstance(exc, PlatformError):
                raise
            ending, text = Ending.PLATFORM, f"{exc.message} ({exc.hint})"
        finally:
            self._show(None, "removing everything")
            left_over = self._stand.close()
        now = self._site.clock.now()
        return Profiled(
            ending,
            text,
            self._search.advice(),
            tuple(self._records),
            self._ledger.spent_s(now),
            self._ledger.spent_usd(now),
            left_over,
            tuple(self._not_judged),
        )

    def _go_on(self) -> tuple[Ending, str]:
        while True:
            now = self._site.clock.now()
            step = self._search.next(self._ledger.left_s(now), self._ledger.left_usd(now))
            if isinstance(step, Advice):
                if step.is_final and step.undecided:
                    return Ending.COMPLETE, step.undecided
                if step.is_final:
                    return Ending.COMPLETE, self._completed()
                return Ending.BUDGET, "the budget was used up before everything was known"
            try:
                self._try(step)
            except NotStartingError as exc:
                if isinstance(exc, NoRoomError):
                    self._not_judged.append(step.configuration)
                self._exclude(step.configuration, f"does not start: {exc.message}")
            except DiedError as exc:
                self._exclude(step.configuration, f"did not stay ready: {exc.message}")

    def _completed(self) -> str:
        if self._not_judged:
            return f"not judged, see why beside each: {', '.join(map(str, self._not_judged))}"
        return "every candidate that could be the cheapest was judged"

    def _exclude(self, configuration: Configuration, why: str) -> None:
        self._listener.on_note(f"{configuration}: {why}")
        self._search.exclude(configuration, why)
        self._stand.take_down()

    def _try(self, step: Ask) -> None:
        configuration, probe = step.configuration, step.probe
        standing = self._stand.put_up(configuration, lambda doing: self._show(configuration, doing))
        self._stand.require_ready(standing)
        if configuration not in self._checked:
            why = self._trials.first_request(standing.name, self._require_budget)
            if why is not None:
                self._not_judged.append(configuration)
                self._exclude(configuration, why)
                return
            self._checked.add(configuration)
        self._require_budget(min(probe.seconds, 5.0))
        began_s = self._ledger.spent_s(self._site.clock.now())
        self._show(configuration, probe.why, trial=len(self._records) + 1)
        tried = self._trials.run(
            standing.name,
            probe,
            is_hopeless=lambda figures: self._search.is_hopeless(tally(figures.windows, self._search.limits_ms)),
            stop=self._reason_to_stop,
            on_progress=lambda _: self._show(configuration, probe.why, trial=len(self._records) + 1),
        )
        died: DiedError | None = None
        if tried.stopped is None:
            try:
                self._stand.require_ready(standing)
            except DiedError as exc:
                died, tried = exc, replace(tried, health=f"the deployment did not stay ready: {exc.message}")
        self._keep(configuration, probe, tried, began_s, died)

    def _require_budget(self, seconds: float = RETRY_EVERY_S) -> None:
        """Look at the endpoint and at what is left, which has to last for ``seconds``.

        Raises:
            BudgetSpentError: it does not.
            PlatformError: going on makes no sense (``Stand.check``).
        """
        self._stand.check()
        if self._ledger.left_s(self._site.clock.now()) < seconds:
            raise BudgetSpentError("the budget was used up before everything was known", hint="Raise the budget.")

    def _reason_to_stop(self) -> str | None:
        if (name := self._site.signal()) is not None:
            return f"interrupted by {name}"
        return "the budget is used up" if self._ledger.left_s(self._site.clock.now()) <= 0 else None

    def _keep(
        self, configuration: Configuration, probe: Probe, tried: Tried, began_s: float, died: DiedError | None
    ) -> None:
        record = record_of(configuration, probe, tried, began_s, self._trials.slo)
        self._records.append(record)
        self._listener.on_trial(record)
        if tried.stopped is not None:  # what was cut short by us says little about the configuration
            if self._site.signal() is not None:
                raise InterruptedByError(f"stopped by {self._site.signal()}", hint="Run it again when you like.")
            raise BudgetSpentError("the budget was used up before everything was known", hint="Raise the budget.")
        if died is not None:
            raise died
        refused = refused_everywhere(tried.seen)
        if refused is not None:
            raise PlatformError(f"every request was refused with {refused}", hint="Check key and scoring address.")
        self._unhealthy = 0 if tried.health is None else self._unhealthy + 1
        if tried.health is not None:
            self._listener.on_note(f"the load generator did not keep up ({tried.health}): the trial is not used")
        if self._unhealthy >= UNHEALTHY_MAX and probe.kind == "closed":
            self._unhealthy = 0  # the search goes on below what the generator can do, and says so
        elif self._unhealthy >= UNHEALTHY_MAX:
            self._unhealthy = 0
            self._not_judged.append(configuration)
            self._exclude(configuration, f"not judged: the load generator cannot keep up ({tried.health})")
            return
        self._search.tell(tried.seen)

    def _show(self, configuration: Configuration | None, doing: str, *, trial: int | None = None) -> None:
        now = self._site.clock.now()
        number = len(self._records) if trial is None else trial
        self._listener.on_look(
            Look(
                configuration,
                doing,
                number,
                self._search.advice(),
                self._ledger.spent_s(now),
                self._ledger.budget_s,
                self._ledger.spent_usd(now),
                self._ledger.budget_usd,
            )
        )


def record_of(configuration: Configuration, probe: Probe, tried: Tried, began_s: float, slo: Slo) -> TrialRecord:
    """Sum a trial up."""
    seen, health = tried.seen, tried.figures.health
    statuses = {int(status): int(n) for status, n in zip(*np.unique(seen.status, return_counts=True), strict=True)}
    answered = seen.latency_ms[seen.status > 0]
    p50, p95, p99 = (float(np.quantile(answered, q)) if answered.size else None for q in (0.5, 0.95, 0.99))
    is_open = probe.kind == "open"
    bad = (seen.status < 200) | (seen.status > 299)
    targets = targets_of(slo)
    over = shares(seen.latency_ms / 1000, bad, targets) if is_open and seen.status.size else ()
    return TrialRecord(
        configuration,
        probe,
        seen.seconds,
        len(seen.status),
        int(np.count_nonzero(bad)),
        p50,
        p95,
        p99,
        statuses,
        health.lag_p99_ms,
        health.cpu_pct,
        tried.health or (_limited(statuses.get(RATE_LIMITED, 0), len(seen.status)) if probe.kind != "warm" else None),
        tried.stopped,
        began_s,
        {target.name: float(share) for target, share in zip(targets, over, strict=False)},
        tuple(_second(window) for window in tried.figures.windows) if is_open else (),
    )


def _limited(turned_away: int, sent: int) -> str | None:
    return f"the endpoint's rate limit turned {turned_away} of {sent} requests away" if turned_away else None


def _second(window: Window) -> tuple[float, int, int, float | None]:
    failed = sum(n for status, n in window.statuses.items() if not 200 <= status < 300)
    answered = Ranked(window.latencies_ms)
    return window.start_s, window.sent, failed, answered.at(0.95) if answered.n else None
