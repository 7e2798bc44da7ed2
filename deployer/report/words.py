"""Events, traffic and numbers in words: shared by every way a rollout is shown."""

from __future__ import annotations

import unicodedata
from typing import Any, assert_never

from deployer.gate.verdict import Arm
from deployer.rollout.endpoint import in_words
from deployer.rollout.events import (
    Adopted,
    Advanced,
    Cleaned,
    Deployed,
    DriftNoticed,
    Event,
    GaveUp,
    GotStuck,
    Judged,
    Paused,
    Prepared,
    Requested,
    RequestIgnored,
    Resumed,
    Retired,
    Reverted,
    RevertFailed,
    Shifted,
    Smoked,
    Started,
    Warmed,
)
from deployer.rollout.model import Outcome, Rollout


def plain(text: str) -> str:
    """Replace control and format characters, so that no text from outside steers a terminal; keep line ends."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)


def arm_words(arm: Arm | None) -> str:
    """Say what one deployment did: requests, p95 and error rate."""
    if arm is None or not arm.requests:
        return "no requests yet"
    p95 = "" if arm.p95_ms is None else f", p95 {arm.p95_ms:.0f} ms"
    throttled = f", {arm.throttled} throttled" if arm.throttled else ""
    return f"{arm.requests:,} requests{p95}, {arm.error_rate or 0:.1%} errors{throttled}"


def event_words(state: Rollout, event: Event) -> tuple[str, str]:  # noqa: C901, PLR0911, PLR0912 (one case an event)
    """Say what ``event`` means, as (kind, text); ``state`` is the state after it."""
    plan = state.plan
    match event:
        case Started():
            return "start", f"rollout {plan.rollout_id} of {plan.candidate} on {plan.endpoint}"
        case Adopted(_, phase):
            return "resume", f"rollout found on the endpoint, {phase.value}"
        case Requested(_, text):
            return "deploy", text
        case Prepared():
            return "ready", f"endpoint {plan.endpoint}: {in_words(plan.restore)}"
        case Deployed():
            return "deploy", f"{plan.candidate} is ready, at 0%"
        case Smoked(passed, text):
            return "smoke", text if passed else f"FAILED: {text}"
        case Warmed(name, passed, text):
            return "warm-up", f"{name}: {text}" if passed else f"{name} FAILED: {text}"
        case Shifted(weight_pct, mirror_pct):
            mirrored = f", {mirror_pct}% mirrored to {plan.candidate}" if mirror_pct else ""
            return "shift", f"{in_words(plan.traffic(weight_pct))}{mirrored}, verified"
        case Judged(verdict):
            return "gate", f"{verdict.result.value}: {verdict.text}"
        case Advanced(reason):
            return "advance", reason
        case Paused(reason):
            return "pause", reason
        case Resumed(reason):
            return "resume", reason
        case RequestIgnored(text):
            return "ignored", text
        case DriftNoticed(traffic):
            return "drift", "traffic is ours again" if traffic is None else f"traffic is {in_words(traffic)}?"
        case GaveUp(outcome, reason):
            return "rollback", f"{outcome.value.replace('_', ' ')}: {reason}"
        case RevertFailed(error):
            return "rollback", f"attempt failed: {error}"
        case Reverted(text):
            return "rollback", text
        case Cleaned(text):
            return "clean", text if state.outcome is Outcome.PLATFORM else text.splitlines()[0].removesuffix(
                "; it last said:"
            )
        case Retired(text):
            return "retire", text
        case GotStuck(reason):
            return "STUCK", reason
        case _:
            assert_never(event)


def arm_record(arm: Arm | None) -> dict[str, Any] | None:
    """Write one deployment's numbers as JSON-able data."""
    if arm is None:
        return None
    return {
        "requests": arm.requests,
        "errors": arm.errors,
        "error_rate": arm.error_rate,
        "throttled": arm.throttled,
        "p50_ms": arm.p50_ms,
        "p95_ms": arm.p95_ms,
        "p99_ms": arm.p99_ms,
    }
