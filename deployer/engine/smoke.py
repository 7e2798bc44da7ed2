"""Ask the candidate alone, before any user does: does it answer as promised (smoke), and is it awake (warm-up)?

What is reported is raw: one request is one line, nothing is repeated, and an answer that does not name the candidate
is a failure, however good it looks.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from time import perf_counter
from typing import Any, Never

from deployer.engine.http import Answer, ScoringClient
from deployer.errors import PlatformError
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Expect, Smoke
from deployer.ports.platform import ScoringTarget

EXCERPT_CHARS = 200
"""Of an answer's body, in a report."""

SECRET_CHARS = 8
"""Header values shorter than this are words, not credentials, and stay readable."""

MAX_LANES = 32
"""Warm-up requests in flight at once."""

GIVE_UP_AFTER = 20
"""Warm-up requests that fail without one success before the rest is left out."""


@dataclass(frozen=True, slots=True)
class SmokeLine:
    """One smoke request and what became of it."""

    request: str
    """The payload's path, as the manifest writes it."""
    elapsed_s: float | None
    """None: no answer."""
    failure: str | None
    """What was expected and what came, in one line; None: it is as expected."""
    status: int | None = None
    """Of the answer; None: there was none."""


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """All smoke requests that were sent, in order."""

    lines: tuple[SmokeLine, ...]
    stopped: bool
    """Ended by ``should_stop`` before the last request: nothing is proven."""

    @property
    def failure(self) -> str | None:
        """The first thing that was not as expected; None when there is none so far."""
        return next((f"{line.request}: {line.failure}" for line in self.lines if line.failure is not None), None)

    @property
    def failed_with(self) -> int | None:
        """Status of the first answer that was not as expected; None when there is none."""
        return next((line.status for line in self.lines if line.failure is not None), None)

    @property
    def passed(self) -> bool:
        """Every request was sent and answered as expected."""
        return not self.stopped and self.failure is None


@dataclass(frozen=True, slots=True)
class WarmUpReport:
    """What waking the candidate up brought. Times are of the client, connection included."""

    wanted: int
    sent: int
    failed: int
    """Answers that are not 2xx by the candidate, and requests without an answer; 429 (capacity) is not among them."""
    throttled: int
    first_s: float | None
    """The first good answer's time."""
    last_s: float | None
    """The last good answer's time."""
    failure: str | None
    """Why the candidate is not warm, in one line; None when it is."""
    stopped: bool
    """Ended by ``should_stop`` before the last request."""

    @property
    def passed(self) -> bool:
        """All requests were sent and the candidate ended up answering."""
        return not self.stopped and self.failure is None


def run_smoke(
    client: ScoringClient,
    target: ScoringTarget,
    deployment: str,
    *,
    smokes: Sequence[Smoke],
    payloads: Mapping[str, bytes],
    schemas: Mapping[str, dict[str, Any]],
    should_stop: Callable[[], bool],
) -> SmokeReport:
    """Send every smoke request to ``deployment`` alone, once; blocks at most the sum of their ``within``.

    Args:
        client: sends them.
        target: the endpoint.
        deployment: the candidate; an answer by anyone else is a failure.
        smokes: what to send and to expect.
        payloads: the bodies, by ``Smoke.request``.
        schemas: parsed JSON schemas, by ``Expect.json_schema``. Nothing they refer to is downloaded.
        should_stop: asked before each request.
    """
    lines: list[SmokeLine] = []
    for smoke in smokes:
        if should_stop():
            return SmokeReport(tuple(lines), stopped=True)
        schema = None if smoke.expect.json_schema is None else schemas[smoke.expect.json_schema]
        expect, payload = smoke.expect, payloads[smoke.request]
        try:
            answer = client.score(
                target, payload, deployment=deployment, request_id="deployer-smoke", total_s=expect.within
            )
        except PlatformError as exc:
            wanted = f"expected status {expect.status} within {format_duration(expect.within)}"
            lines.append(SmokeLine(smoke.request, None, f"{wanted}, got no answer: {exc.message}"))
        else:
            failure = _not_as_expected(answer, deployment, expect, schema, target)
            lines.append(SmokeLine(smoke.request, answer.elapsed_s, failure, answer.status))
    return SmokeReport(tuple(lines), stopped=False)


def _not_as_expected(
    answer: Answer, deployment: str, expect: Expect, schema: dict[str, Any] | None, target: ScoringTarget
) -> str | None:
    got = f"status {answer.status}: {excerpt(answer.body, target)}"
    if (stranger := _stranger(answer, deployment)) is not None:
        return f"expected an answer by {deployment}, {stranger} with {got}"
    if answer.status != expect.status:
        return f"expected status {expect.status}, got {got}"
    if schema is not None and (problem := _schema_problem(answer, schema)) is not None:
        return f"expected JSON as {expect.json_schema} says; {excerpt(problem.encode(), target)}; got {got}"
    if answer.elapsed_s > expect.within:
        return f"expected an answer within {format_duration(expect.within)}, it took {answer.elapsed_s:.2f}s"
    return None


def _stranger(answer: Answer, deployment: str) -> str | None:
    if answer.served_by == deployment:
        return None
    if answer.served_by is None:
        return "the answer does not say who gave it"
    return f"answered by {printable(answer.served_by)}"


def _schema_problem(answer: Answer, schema: dict[str, Any]) -> str | None:
    """Why the body does not match ``schema``; None when it does."""
    from jsonschema import exceptions, validators  # noqa: PLC0415 - 60 ms that only a smoke test with a schema needs
    from referencing import Registry  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    if answer.truncated:
        return "the body is too long to be checked"
    try:
        document = json.loads(answer.body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        return f"the body is not JSON ({exc})"
    checker = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        checker.check_schema(schema)
        wrong = next(checker(schema, registry=Registry()).iter_errors(document), None)
    except exceptions.SchemaError as exc:
        return f"the schema itself is wrong ({exc.message})"
    except Unresolvable as exc:
        return f"the schema refers to {exc.ref}, which is not in its file (copy it there, under $defs)"
    return None if wrong is None else f"{wrong.json_path} is wrong ({wrong.message})"


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def excerpt(body: bytes, target: ScoringTarget) -> str:
    """Return the start of ``body`` as one safe line: no control characters, no credentials of ``target``."""
    text = body.decode("utf-8", "replace")
    for value in target.headers.values():
        for secret in (value, *value.split()):
            text = text.replace(secret, "***") if len(secret) >= SECRET_CHARS else text
    return printable(text[: 4 * EXCERPT_CHARS])[:EXCERPT_CHARS] or "(empty)"


def printable(text: str) -> str:
    """Replace every control, format and separator character by a space, so that text cannot steer a terminal."""
    return "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text).strip()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One warm-up request: ``failure`` and ``throttled`` are both empty when it was answered well."""

    elapsed_s: float
    failure: str | None = None
    throttled: bool = False

    @property
    def good(self) -> bool:
        return self.failure is None and not self.throttled


def warm_up(
    client: ScoringClient,
    target: ScoringTarget,
    deployment: str,
    payload: bytes,
    *,
    requests: int,
    instances: int,
    should_stop: Callable[[], bool],
    workers: int = 1,
) -> WarmUpReport:
    """Send ``requests`` per instance to ``deployment`` alone, as many at once as it has workers.

    No platform lets a caller choose the instance: that each gets its share is likely (all are kept busy at once), not
    certain. Gives up early when nothing succeeds at all.

    Args:
        client: sends them.
        target: the endpoint.
        deployment: the candidate.
        payload: the body.
        requests: per instance.
        instances: of the deployment, ready ones.
        should_stop: asked before each request, from several threads.
        workers: requests that one instance answers at the same time.
    """
    wanted = requests * instances
    numbers = count()
    outcomes: list[_Outcome] = []

    def lane() -> None:
        while not should_stop() and not _hopeless(outcomes) and next(numbers) < wanted:
            outcomes.append(_ask(client, target, deployment, payload))

    with ThreadPoolExecutor(min(MAX_LANES, instances * workers, wanted), thread_name_prefix="warm-up") as pool:
        for ended in [pool.submit(lane) for _ in range(min(MAX_LANES, instances * workers, wanted))]:
            ended.result()
    good = [outcome.elapsed_s for outcome in outcomes if outcome.good]
    return WarmUpReport(
        wanted=wanted,
        sent=len(outcomes),
        failed=sum(outcome.failure is not None for outcome in outcomes),
        throttled=sum(outcome.throttled for outcome in outcomes),
        first_s=good[0] if good else None,
        last_s=good[-1] if good else None,
        failure=_cold(outcomes, wanted),
        stopped=len(outcomes) < wanted and not _hopeless(outcomes),
    )


def _ask(client: ScoringClient, target: ScoringTarget, deployment: str, payload: bytes) -> _Outcome:
    started = perf_counter()
    try:
        answer = client.score(target, payload, deployment=deployment, request_id="deployer-warm-up")
    except PlatformError as exc:
        return _Outcome(perf_counter() - started, failure=exc.message)
    if (stranger := _stranger(answer, deployment)) is not None:
        return _Outcome(answer.elapsed_s, failure=f"{stranger}, not by {deployment} (status {answer.status})")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _Outcome(answer.elapsed_s, throttled=True)
    if not 200 <= answer.status < 300:
        return _Outcome(answer.elapsed_s, failure=f"status {answer.status}: {excerpt(answer.body, target)}")
    return _Outcome(answer.elapsed_s)


def _hopeless(outcomes: Sequence[_Outcome]) -> bool:
    return len(outcomes) >= GIVE_UP_AFTER and not any(outcome.good for outcome in outcomes)


def _cold(outcomes: Sequence[_Outcome], wanted: int) -> str | None:
    """Why the deployment is not warm; None when it is, or when nothing was sent."""
    if not outcomes:
        return None
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    if not any(outcome.good for outcome in outcomes):
        why = failures[-1] if failures else "status 429: the deployment has no capacity for them"
        return f"not one of {len(outcomes)} warm-up requests was answered well; the last: {why}"
    recent = outcomes[-max(1, wanted // 4) :]
    late = [outcome.failure for outcome in recent if outcome.failure is not None]
    if late:
        return f"{len(late)} of the last {len(recent)} warm-up requests still failed; the last: {late[-1]}"
    return None
