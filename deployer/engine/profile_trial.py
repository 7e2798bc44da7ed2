"""One trial of load on the configuration that stands: what the search asks for, sent and seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus

import numpy as np

from deployer.engine.http import Answer, ScoringClient
from deployer.engine.site import Site
from deployer.errors import PlatformError, TransientError
from deployer.loadtest.figures import Figures, Load
from deployer.loadtest.kinds import Kind, kind_of
from deployer.manifest.profile import ProfileSpec
from deployer.manifest.schema import Slo
from deployer.ports.loadgen import LoadTester
from deployer.ports.platform import DEPLOYMENT_HEADER, ScoringTarget
from deployer.profile.trials import MOST_IN_FLIGHT, Probe, Seen

LOOK_S = 1.0
"""Between looks at a trial under way."""
OURS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""Statuses by which the caller is refused, not the load."""
LONGEST_S = 60.0
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
RETRY_S, RETRY_EVERY_S = 30.0, 2.0
"""A first request that failed is repeated for so long: a new deployment is not everywhere at once."""
MODEL_STATUS = "ms-azureml-model-error-statuscode"
"""Header of a 424 with the status that the model itself answered.

Source: learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints (read 2026-11-25).
"""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a trial."""

    seen: Seen
    health: str | None
    """Why the generator is not to be believed; None: it kept up."""
    stopped: str | None
    """Why it ended early; None: it ran to its end, or there was no use in going on."""
    figures: Figures


class Trials:
    """Sends trials to one deployment of the test endpoint.

    Args:
        site: the endpoint.
        spec: the profile.
        tester: sends the load.
        client: sends the first request.
        seed: of arrivals.
    """

    def __init__(
        self, site: Site, spec: ProfileSpec, tester: LoadTester, client: ScoringClient | None = None, *, seed: int = 1
    ) -> None:
        self._site = site
        self._spec = spec
        self._tester = tester
        self._client = client or ScoringClient()
        self._seed = seed
        self._sent = 0
        self._is_accepted = False
        """A candidate has answered the request: that another does not says something of that one."""

    @property
    def slo(self) -> Slo:
        """What trials are judged by."""
        return self._spec.profile.slo

    def first_request(self, name: str, waiting: Callable[[], None]) -> str | None:
        """Send one request, and again for ``RETRY_S`` while that may help: what has just become ready may be busy.

        Args:
            name: of the deployment.
            waiting: called before each repetition; what it raises ends it.

        Returns:
            Why the deployment cannot be measured; None: it answers as it should.

        Raises:
            PlatformError: the endpoint refuses this caller, or no candidate has taken the request yet and this one
                rejects it: so would the others, each of which has to be deployed and paid for.
        """
        until = self._site.clock.now() + timedelta(seconds=RETRY_S)
        while True:
            is_late = self._site.clock.now() >= until
            answer, why = self._ask(name)
            if why is None:
                self._is_accepted = True
                return None
            is_rejected = answer is not None and _rejects(answer)
            may_pass = not is_rejected or (answer is not None and answer.status == HTTPStatus.NOT_FOUND)
            if is_rejected and not self._is_accepted and (is_late or not may_pass):
                raise PlatformError(f"the first request is rejected: {why}", hint=f"Check {self._spec.payload}.")
            if is_late or not may_pass:
                return why
            waiting()
            self._site.clock.sleep(RETRY_EVERY_S)

    def _ask(self, name: str) -> tuple[Answer | None, str | None]:
        """Send one request, with a new key when the old one is refused; the answer, and what is wrong with it."""
        # What the generator draws from a schema is not known here: a stand-in is sent, which may be rejected.
        is_drawn = self._spec.payload.name.endswith(".schema.json")
        payload = b"{}" if is_drawn else self._spec.payload.read_bytes()
        if self._spec.payload.suffix == ".jsonl":
            payload = next(line for line in payload.splitlines() if line.strip())
        try:
            answer = self._client.score(
                self._site.platform.scoring_target(), payload, deployment=name, total_s=LONGEST_S
            )
            if answer.status in REFUSED:
                self._site.platform.invalidate()
                target = self._site.platform.scoring_target()
                answer = self._client.score(target, payload, deployment=name, total_s=LONGEST_S)
        except TransientError as exc:
            return None, f"it does not answer: {exc.message}"
        if answer.status in REFUSED:
            raise PlatformError(
                f"the endpoint refuses its own key ({answer.status})", hint="Check the right to read its keys."
            )
        is_good = HTTPStatus(200) <= answer.status < 300
        if not is_good and (not is_drawn or answer.status == HTTPStatus.NOT_FOUND):
            said = answer.body[:120].decode("utf-8", "replace")
            return answer, f"it answers the request with {answer.status}: {said}"
        if answer.served_by not in (None, name):
            return None, f"deployment {answer.served_by} answers instead"
        return answer, None

    def run(
        self,
        name: str,
        probe: Probe,
        *,
        is_hopeless: Callable[[Figures], bool],
        stop: Callable[[], str | None],
        on_progress: Callable[[Figures], None],
    ) -> Tried:
        """Send ``probe`` to deployment ``name``; return what was seen, nothing left running.

        Args:
            name: of the deployment.
            probe: what to send.
            is_hopeless: asked about every second while the probe may be cut short.
            stop: asked as often; a reason ends the trial.
            on_progress: told as often.

        Raises:
            PlatformError: the generator does not start, or ended without a figure.
        """
        self._sent += 1
        load = load_of(probe, seed=self._seed + self._sent, timeout_s=self._timeout_s())
        stopped: str | None = None
        cut = False
        with self._tester.start(self._target(name), load, self._spec.payload, keep_requests=True) as running:
            while not running.wait(LOOK_S):
                so_far = running.progress()
                on_progress(so_far)
                stopped = stop()
                if stopped is not None or (probe.stop_when_hopeless and is_hopeless(so_far)):
                    running.stop(stopped or "hopeless: its end would teach nothing")
                    cut = True
                    break
            figures = running.figures()
        # A generator that ended by itself has not sent what it was asked for: that is no finding about the service.
        health = figures.health.problem or (None if cut else figures.partial)
        return Tried(replace(seen_of(probe, figures), healthy=health is None), health, stopped, figures)

    def _target(self, name: str) -> ScoringTarget:
        target = self._site.platform.scoring_target()
        return replace(target, headers={**target.headers, DEPLOYMENT_HEADER: name})

    def _timeout_s(self) -> float:
        """As long as the service itself waits, and a little longer."""
        return min(self._spec.deployment.request_settings.request_timeout_ms / 1000 + 2.0, LONGEST_S)


def _rejects(answer: Answer) -> bool:
    """Whether the request itself is said to be wrong; by the model, where the endpoint says only that it failed."""
    model = answer.headers.get(MODEL_STATUS, "") if answer.status == HTTPStatus.FAILED_DEPENDENCY else ""
    return kind_of(int(model) if model.isdecimal() else answer.status) is Kind.REJECTED


def load_of(probe: Probe, *, seed: int, timeout_s: float) -> Load:
    """Say ``probe`` in the load generator's words."""
    if probe.kind == "open":
        in_flight = min(max(64, math.ceil(2 * probe.rps * timeout_s)), MOST_IN_FLIGHT)
        return Load(
            "poisson", "constant", probe.rps, probe.seconds, in_flight=in_flight, timeout_s=timeout_s, seed=seed
        )
    concurrency = max(probe.concurrency, 1)
    return Load(
        "closed",
        "closed",
        0.0,
        probe.seconds,
        concurrency=concurrency,
        in_flight=concurrency,
        timeout_s=timeout_s,
        seed=seed,
    )


def seen_of(probe: Probe, figures: Figures) -> Seen:
    """Say what was seen in the search's words; a request without an answer took as long as was waited for it."""
    found = figures.requests
    arrival = np.empty(0) if found is None else np.asarray(found.arrival_s, dtype=np.float64)
    latency = np.empty(0) if found is None else np.asarray(found.latency_ms, dtype=np.float64)
    status = np.empty(0, dtype=np.int16) if found is None else np.asarray(found.status, dtype=np.int16)
    latency = np.where(np.isnan(latency), 1000 * figures.load.timeout_s, latency)
    seconds = probe.seconds
    if figures.partial is not None:
        seconds = min(seconds, max((each.start_s + each.seconds for each in figures.windows), default=0.0))
    order = np.argsort(arrival, kind="stable")
    return Seen(probe, arrival[order], latency[order], status[order], seconds, healthy=figures.health.problem is None)


def refused_everywhere(seen: Seen) -> int | None:
    """Status by which every request was refused for its caller's sake; None: not so."""
    statuses = {int(each) for each in np.unique(seen.status)}
    return min(statuses) if statuses and statuses <= {int(each) for each in OURS} else None
