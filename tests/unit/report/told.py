"""Rollouts told to the reports: a plan with every kind of step, and its journal up to each phase."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType

from deployer.gate.verdict import Arm, Reason, Result, Verdict
from deployer.manifest.schema import OnFail, OnInconclusive, Retire
from deployer.report.story import Story
from deployer.report.tree import tree
from deployer.rollout.endpoint import Deployment, DeploymentState, Endpoint
from deployer.rollout.events import (
    Advanced,
    Cleaned,
    Deployed,
    Event,
    GaveUp,
    GotStuck,
    Judged,
    Prepared,
    Requested,
    Retired,
    Reverted,
    RevertFailed,
    Shifted,
    Smoked,
    Started,
    Warmed,
)
from deployer.rollout.machine import begin, evolve
from deployer.rollout.model import Outcome, Phase, Plan, Rollout, Step, StepKind

T0 = datetime(2026, 1, 1, tzinfo=UTC)
EVERY_STEP = (
    Step(StepKind.PREPARE),
    Step(StepKind.DEPLOY),
    Step(StepKind.SMOKE),
    Step(StepKind.WARM_UP),
    Step(StepKind.MIRROR, mirror_pct=10, min_s=5, max_s=60),
    Step(StepKind.WEIGHT, weight_pct=20, min_s=5, max_s=60),
    Step(StepKind.PAUSE, weight_pct=20, min_s=600, max_s=600),
    Step(StepKind.PAUSE, weight_pct=20),
    Step(StepKind.BAKE, weight_pct=100, min_s=30, max_s=60),
    Step(StepKind.RETIRE, weight_pct=100),
)


def plan(**over: Any) -> Plan:
    made = Plan(
        rollout_id="20260101T000000-abcd",
        endpoint="digits",
        endpoint_uid="uid-1",
        candidate="green",
        candidate_digest="new",
        stable="blue",
        stable_digest="old",
        baseline=False,
        replaces=False,
        digest="spec",
        steps=EVERY_STEP,
        on_fail=OnFail.ROLLBACK,
        on_inconclusive=OnInconclusive.ROLLBACK,
        retire=Retire.DELETE,
        deadline_s=3600.0,
        reserve_s=20.0,
        deploy_s=60.0,
        look_s=1.0,
        confirm_s=3.0,
    )
    return replace(made, **over)


def arm(requests: int = 117, errors: int = 0, **over: Any) -> Arm:
    return replace(Arm(requests, errors, 0, 5.0, 11.0, 19.0), **over)


def reason(metric: str, result: Result, text: str, **over: Any) -> Reason:
    return replace(Reason(metric, "slo", result, 0.01, 0.0, 0.05, 0.05, text), **over)


def verdict(result: Result, *reasons: Reason, text: str | None = None, at: datetime = T0, **over: Any) -> Verdict:
    said = "; ".join(r.text for r in reasons) if text is None else text
    return replace(Verdict(result, said, reasons, arm(), arm(468, p95_ms=14.0), at, at, 1), **over)


PASS = verdict(
    Result.PASS,
    reason("error_rate", Result.PASS, "errors 0 of 117: proven below 5%"),
    reason("p95", Result.PASS, "p95 11 ms: proven below 200 ms"),
)
UNPROVEN = verdict(
    Result.INCONCLUSIVE,
    reason("requests", Result.INCONCLUSIVE, "58 of the 100 requests that this step needs", needed=100),
)
FAIL = verdict(
    Result.FAIL,
    reason("p95", Result.FAIL, "p95 28x the stable's (20.8 to 43.7): slower than the stable in the same moments"),
    reason("error_rate", Result.FAIL, "errors 9 of 66, stable 0 of 287: more errors than the stable"),
    candidate=arm(66, 9, p95_ms=491.0),
    stable=arm(287, p95_ms=19.0),
)

PREPARING: tuple[Event, ...] = (Requested(None, "endpoint digits requested"),)
DEPLOYING = (*PREPARING, Prepared(), Requested("green", "deployment green requested"))
SMOKING = (*DEPLOYING, Deployed())
WARMING = (*SMOKING, Smoked(passed=True, text="1 answered as expected"))
MIRRORING = (*WARMING, Warmed("green", passed=True, text="40 requests, first 11 ms, last 19 ms"))
MIRRORED = (*MIRRORING, Shifted(0, 10), Judged(PASS, "e"), Advanced(PASS.text))
JUDGING = (*MIRRORED, Shifted(20, 0), Judged(UNPROVEN, "e"))
HOLDING = (*JUDGING, Judged(PASS, "e"), Advanced(PASS.text))
PAUSED = (*HOLDING, Advanced("held for 600s"))
SHIFTING = (*PAUSED, Advanced("promote by ann: looks good"))
BAKING = (*SHIFTING, Shifted(100, 0), Judged(PASS, "e"))
RETIRING = (*BAKING, Advanced(PASS.text))
PROMOTED = (*RETIRING, Retired("blue deleted"))
REVERTING = (*JUDGING, Judged(FAIL, "e"), GaveUp(Outcome.GATE_FAILED, FAIL.text), RevertFailed("busy (wait)"))
CLEANING = (*REVERTING, Reverted("traffic verified: blue 100%"))
ROLLED_BACK = (*CLEANING, Cleaned("green removed"))
STUCK = (*REVERTING, GotStuck("traffic is blue 80%, green 20%, not blue 100%"))

PHASES: dict[Phase, tuple[Event, ...]] = {
    Phase.PREPARING: PREPARING,
    Phase.DEPLOYING: DEPLOYING,
    Phase.SMOKING: SMOKING,
    Phase.WARMING: WARMING,
    Phase.SHIFTING: SHIFTING,
    Phase.JUDGING: JUDGING,
    Phase.HOLDING: HOLDING,
    Phase.PAUSED: PAUSED,
    Phase.BAKING: BAKING,
    Phase.RETIRING: RETIRING,
    Phase.REVERTING: REVERTING,
    Phase.CLEANING: CLEANING,
    Phase.PROMOTED: PROMOTED,
    Phase.ROLLED_BACK: ROLLED_BACK,
    Phase.STUCK: STUCK,
}

Told = list[tuple[Rollout, Event, datetime]]


def tell(*events: Event, plan: Plan | None = None, every_s: float = 2.0, since: datetime = T0) -> Told:
    """State after each event, two seconds apart; the first one is the start."""
    started = Started(plan or globals()["plan"]())
    state = begin(started, since)
    told: Told = [(state, started, since)]
    for number, event in enumerate(events, start=1):
        at = since + timedelta(seconds=number * every_s)
        state = evolve(state, event, at)
        told.append((state, event, at))
    return told


def story_of(told: Iterable[tuple[Rollout, Event, datetime]]) -> Story:
    story = Story()
    for state, event, at in told:
        story.add(state, event, at)
    return story


def deployment(name: str, state: DeploymentState = DeploymentState.READY, message: str = "") -> Deployment:
    ready = 1 if state is DeploymentState.READY else 0
    return Deployment(name, state, "d", ready, 1, message)


def endpoint(traffic: dict[str, int] | None = None, *deployments: Deployment, **over: Any) -> Endpoint:
    found = {d.name: d for d in (deployments or (deployment("blue"), deployment("green")))}
    shape = Endpoint("digits", "uid-1", "http://127.0.0.1:1/score", traffic or {"blue": 100}, {}, found)
    return replace(shape, **over)


def drawn(renderable: RenderableType, *, width: int = 110) -> str:
    """As a file would get it: no colours, no trailing blanks."""
    canvas = Console(file=StringIO(), width=width, emoji=False, highlight=False, color_system=None)
    with canvas.capture() as capture:
        canvas.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().split("\n"))


def draw(told: Told, at: Endpoint | None = None, *, width: int = 110, **options: str) -> str:
    """The tree two seconds after the last event."""
    state, _, last = told[-1]
    return drawn(tree(state, story_of(told), at, last + timedelta(seconds=2), **options), width=width)


STYLE = re.compile(r"\x1b\[[0-9;]*m")
