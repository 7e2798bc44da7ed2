"""A load test: the right target, stopped when it is pointless, its figures kept whatever ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deployer.engine.http import DEPLOYMENT_HEADER
from deployer.engine.site import Site, no_endpoint
from deployer.engine.status import look
from deployer.errors import PlanError, UsageError
from deployer.loadtest.figures import NO_ANSWER, Figures, Load
from deployer.loadtest.verdict import is_callers
from deployer.ports.loadgen import LoadTester, RunningTest
from deployer.ports.platform import DeploymentState, ScoringTarget

EARLY = 30
"""Requests after which it is clear that every one is refused, or that nobody is there."""


@dataclass(frozen=True, slots=True)
class Test:
    """What is asked for."""

    load: Load
    payload: Path
    deployment: str | None
    """Only this one gets the requests; None: as users' are split."""


def target_of(site: Site, deployment: str | None, *, force: bool) -> ScoringTarget:
    """Where the test sends its requests: the endpoint, or one of its deployments. Changes nothing.

    Raises:
        UsageError: there is no such endpoint or deployment.
        PlanError: nobody answers there, or a rollout is under way.
    """
    endpoint = site.platform.observe()
    if endpoint is None:
        raise no_endpoint(site)
    runner = look(site).runner
    if runner and not force:
        raise PlanError(
            f"a rollout of {endpoint.name} is under way ({runner}), and a load test would disturb its gate",
            hint="Wait for it to end, or give --force.",
        )
    if deployment is None:
        if not endpoint.traffic:
            raise PlanError(
                f"no deployment of {endpoint.name} has traffic", hint="Roll one out, or name one: --deployment."
            )
        return site.platform.scoring_target()
    found = endpoint.deployments.get(deployment)
    if found is None:
        there = ", ".join(sorted(endpoint.deployments)) or "none"
        raise UsageError(f"{endpoint.name} has no deployment {deployment}", hint=f"Name one of: {there}.")
    if found.state not in (DeploymentState.READY, DeploymentState.DEGRADED):
        raise PlanError(
            f"{deployment} is {found.state.value}: {found.message or 'it has no instance that answers'}",
            hint="Wait until it is ready.",
        )
    target = site.platform.scoring_target()
    return replace(target, headers={**target.headers, DEPLOYMENT_HEADER: deployment})


def run_test(
    site: Site, tester: LoadTester, target: ScoringTarget, test: Test, on_progress: Callable[[Figures], None]
) -> Figures:
    """Run ``test`` to its end, or until it is interrupted or pointless; nothing is left running.

    Args:
        site: tells of signals.
        tester: sends the load.
        target: where to.
        test: what.
        on_progress: told about once a second.

    Raises:
        PlatformError: the generator does not start, or ended without a figure.
    """
    with tester.start(target, test.load, test.payload) as running:
        while not running.wait(1.0):
            seen = running.progress()
            on_progress(seen)
            why = site.signal() or pointless(seen)
            if why:
                running.stop(f"interrupted by {why}" if why == site.signal() else why)
                break
        return _ended(running)


def _ended(running: RunningTest) -> Figures:
    figures = running.figures()
    why = pointless(figures)
    return replace(figures, partial=why) if why and figures.partial is None else figures


def pointless(seen: Figures) -> str | None:
    """Why there is no use in going on: nobody answers, or everybody is refused; None: go on."""
    counts: dict[int, int] = {}
    for window in seen.windows:
        for status, n in window.statuses.items():
            counts[status] = counts.get(status, 0) + n
    total = sum(counts.values())
    if total < min(EARLY, max(seen.load.rps, 5.0)):
        return None
    if counts.get(NO_ANSWER, 0) == total:
        return f"none of {total} requests got an answer: nobody answers at the scoring address"
    if all(is_callers(status) for status in counts):
        status = max(counts, key=lambda each: counts[each])
        return f"all {total} requests were refused ({', '.join(map(str, sorted(counts)))}): {_meaning(status)}"
    return None


def _meaning(status: int) -> str:
    return {
        401: "the key or token is not accepted",
        403: "the identity may not score",
        404: "there is nothing at the scoring address",
        400: "the model does not take the request that was sent",
        413: "the request is too large",
        422: "the model does not take the request that was sent",
    }.get(status, "the request is not accepted")
