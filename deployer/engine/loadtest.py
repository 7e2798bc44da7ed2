"""A load test: the right target, asked once before, stopped when it is pointless, its figures kept whatever ends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

from deployer.engine.http import Answer, ScoringClient
from deployer.engine.site import Site, no_endpoint
from deployer.errors import DeniedError, NotFoundError, PlanError, PlatformError, UsageError
from deployer.loadtest.figures import NO_ANSWER, OVER_CAP, Figures, Load
from deployer.loadtest.kinds import Kind, kind_of
from deployer.ports.loadgen import LoadTester, RunningTest
from deployer.ports.platform import DEPLOYMENT_HEADER, DeploymentState, ScoringTarget, Traffic
from deployer.rollout.tags import marks_of

DEAD_S, DEAD = 10.0, 20
"""Nobody is there when nothing was answered for this long, and of at least so many requests."""
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
RENEW_S = 600.0
"""A token is looked for anew so often: one of Azure AD lasts an hour or more."""
EXCERPT = 200
"""Characters of an answer that are quoted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for."""

    load: Load
    payload: Path
    deployment: str | None
    """Only this one gets the requests; None: as users' are split."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a test sends its requests."""

    target: ScoringTarget
    traffic: Traffic
    """As it is split now."""


def aim(site: Site, deployment: str | None, *, during_rollout: bool) -> Aim:
    """Find where the requests go: the endpoint, or one of its deployments. Changes nothing.

    Raises:
        UsageError: there is no such endpoint or deployment.
        PlanError: nobody answers there, or a rollout is under way.
    """
    endpoint = site.platform.observe()
    if endpoint is None:
        raise no_endpoint(site, "Make it with `deployer rollout MANIFEST` first.")
    marks = marks_of(endpoint.tags)
    if marks is not None and marks.is_active and not during_rollout:
        raise PlanError(
            f"rollout {marks.rollout_id} of {endpoint.name} is under way, and its gate would judge this load too",
            hint="Wait until it has ended, or give --during-rollout.",
        )
    if deployment is None:
        if not endpoint.traffic:
            raise PlanError(
                f"no deployment of {endpoint.name} has traffic",
                hint="Give one traffic with `deployer rollout MANIFEST`, or name one: --deployment NAME.",
            )
        return Aim(site.platform.scoring_target(), endpoint.traffic)
    found = endpoint.deployments.get(deployment)
    if found is None:
        there = ", ".join(sorted(endpoint.deployments)) or "none yet: run `deployer rollout MANIFEST`"
        raise UsageError(f"{endpoint.name} has no deployment {deployment}", hint=f"Name one of: {there}.")
    if found.state not in (DeploymentState.READY, DeploymentState.DEGRADED):
        raise PlanError(
            f"{deployment} is {found.state.value}: {found.message or 'no instance of it answers'}",
            hint="Wait until `deployer status` says that it is ready.",
        )
    return Aim(_to(site.platform.scoring_target(), deployment), endpoint.traffic)


def _to(target: ScoringTarget, deployment: str | None) -> ScoringTarget:
    return replace(target, headers={**target.headers, DEPLOYMENT_HEADER: deployment}) if deployment else target


def first_request(
    site: Site, aimed: Aim, asked: Asked, explain: Callable[[int], str], note: Callable[[str], None]
) -> Aim:
    """Send one request before any load, so that what can never work is said at once.

    Args:
        site: reads the key anew when it is refused.
        aimed: where to.
        asked: what.
        explain: says what a status means on this platform; empty: nothing to say.
        note: told of an answer that is a failure, and no reason to give up.

    Returns:
        Where to send the load: with a new key, when the old one was refused.

    Raises:
        TransientError: no answer.
        DeniedError: the key is refused, or would travel unprotected.
        NotFoundError: nothing is there.
        UsageError: the request is rejected as wrong.
    """
    is_drawn = asked.payload.name.endswith(".schema.json")  # what the generator draws from it is not known here
    body = b"{}" if is_drawn else _first_body(asked.payload)
    client, wait_s = ScoringClient(), asked.load.timeout_s
    answer = client.score(aimed.target, body, request_id="deployer-load-first", total_s=wait_s)
    if answer.status in REFUSED:
        site.platform.invalidate()
        aimed = replace(aimed, target=_to(site.platform.scoring_target(), asked.deployment))
        answer = client.score(aimed.target, body, request_id="deployer-load-first", total_s=wait_s)
    meaning = explain(answer.status)
    said = f"the first request was answered with {answer.status}{f' ({meaning})' if meaning else ''}{_excerpt(answer)}"
    if answer.status in REFUSED:
        raise DeniedError(said, hint="Check the endpoint's key or your right to score it; no load was sent.")
    if answer.status == HTTPStatus.NOT_FOUND:
        raise NotFoundError(said, hint="Check with `deployer status` that a deployment has traffic; no load was sent.")
    if is_drawn:
        return aimed
    if kind_of(answer.status) is Kind.REJECTED:
        raise UsageError(said, hint=f"Check what is sent ({asked.payload}), or give --payload; no load was sent.")
    if kind_of(answer.status) is not Kind.OK:
        note(said)
    return aimed


def _first_body(payload: Path) -> bytes:
    content = payload.read_bytes()
    if payload.suffix != ".jsonl":
        return content
    return next((line for line in content.splitlines() if line.strip()), b"")


def _excerpt(answer: Answer) -> str:
    text = " ".join(answer.body[: 4 * EXCERPT].decode(errors="replace").split())
    return f": {text[:EXCERPT]}" if text else ""


def run_test(
    site: Site, tester: LoadTester, target: ScoringTarget, asked: Asked, on_progress: Callable[[Figures], None]
) -> Figures:
    """Run the load to its end, or until it is interrupted or pointless; nothing is left running.

    Args:
        site: tells of signals.
        tester: sends the load.
        target: where to.
        asked: what.
        on_progress: told about once a second.

    Raises:
        PlatformError: the generator does not start, or ended without a figure.
    """
    renewed_at = site.clock.now()
    with tester.start(target, asked.load, asked.payload) as running:
        while not running.wait(1.0):
            if (signal := site.signal()) is not None:
                ending = f"{signal}: ending the load; the same again leaves at once, without its figures"
                on_progress(replace(running.progress(), phase=ending))
                running.stop(f"interrupted by {signal}")
                break
            seen = running.progress()
            on_progress(seen)
            if (why := pointless(seen)) is not None:
                running.stop(why)
                break
            if (site.clock.now() - renewed_at).total_seconds() >= RENEW_S:
                renewed_at = site.clock.now()
                target = _renewed(site, running, target, asked.deployment)
        return running.figures()


def _renewed(site: Site, running: RunningTest, target: ScoringTarget, deployment: str | None) -> ScoringTarget:
    """Give the load a fresh token where there is one; without one it goes on with what it has."""
    with suppress(PlatformError):
        fresh = _to(site.platform.scoring_target(), deployment)
        if fresh != target:
            running.renew(fresh)
            return fresh
    return target


def pointless(seen: Figures) -> str | None:
    """Why there is no use in going on: nobody answers any more, or the key is refused; None: go on."""
    recent, since_s = _recent(seen)
    total = sum(recent.values())
    if total < DEAD:
        return None
    if all(status in (NO_ANSWER, OVER_CAP) for status in recent):
        return f"the endpoint stopped answering {since_s:.0f}s after the start: no answer to the last {total} requests"
    if all(status in REFUSED for status in recent):
        return f"the endpoint refuses the key since {since_s:.0f}s after the start: it ran out or was changed"
    return None


def _recent(seen: Figures) -> tuple[Mapping[int, int], float]:
    """Requests by status of the last stretch that says enough, and its start."""
    counts: Counter[int] = Counter()
    seconds, start_s = 0.0, 0.0
    for window in reversed(seen.windows):
        if seconds >= DEAD_S and counts.total() >= DEAD:
            break
        counts.update(window.statuses)
        seconds, start_s = seconds + window.seconds, window.start_s
    return (counts if seconds >= DEAD_S else {}), start_s
