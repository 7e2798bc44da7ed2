"""What a rollout will take: minutes, calls, money, and how many requests meet the candidate. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deployer.manifest.schema import Retire
from deployer.ports.inspection import Cost, Exposure, Forecast, Price
from deployer.rollout.model import Plan, Step, StepKind

CALLS_A_WRITE = 4
"""Calls of a verified write of traffic or tags, besides the polls while the platform works on it."""
CALLS_A_LOOK = 2
CALLS_A_DEPLOYMENT = 16
"""Uploads of code and model, and the write itself."""
TAG_WRITES = 6
"""Phases that are written to the endpoint's tags, lease included."""
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a platform is, in seconds."""

    shift_s: float
    """One verified traffic write."""
    deploy_s: float
    """Until a new deployment is ready."""
    poll_s: float
    """Between two looks."""


def forecast(plan: Plan, pace: Pace, *, rps: float | None, instances: int, price: Price | None) -> Forecast:
    """Estimate what carrying out ``plan`` takes.

    Args:
        plan: the plan.
        pace: of the platform.
        rps: requests a second of the whole endpoint, when known.
        instances: of the candidate.
        price: of one instance; None: unknown, or nothing extra.
    """
    writes = sum(step.kind in (StepKind.WEIGHT, StepKind.MIRROR, StepKind.BAKE) for step in plan.steps)
    deployments = 1 + plan.baseline
    working_s = deployments * pace.deploy_s + (writes + plan.baseline) * pace.shift_s
    judged_least, judged_most = (sum(_seconds(step)[end] for step in plan.steps) for end in (0, 1))
    least_s, most_s = working_s + judged_least, min(working_s + judged_most, plan.deadline_s)
    fixed = CALLS_A_WRITE * (writes + plan.baseline + TAG_WRITES) + CALLS_A_DEPLOYMENT * deployments
    return Forecast(
        least_s=least_s,
        most_s=max(most_s, least_s),
        calls_least=fixed + _looks(least_s, pace.poll_s),
        calls_most=fixed + _looks(most_s, pace.poll_s),
        queries_least=math.ceil(judged_least / plan.look_s),
        queries_most=math.ceil(judged_most / plan.look_s),
        exposures=tuple(_exposure(step, rps) for step in plan.steps if step.weight_pct and _seconds(step)[1]),
        cost=None if price is None else _cost(price, instances, least_s, most_s),
        kept=plan.least_instances if plan.retire is Retire.SCALE_DOWN and plan.stable else 0,
    )


def _looks(seconds: float, poll_s: float) -> int:
    return CALLS_A_LOOK * math.ceil(seconds / poll_s) if poll_s > 0 else 0


def _seconds(step: Step) -> tuple[float, float]:
    return step.min_s, max(step.max_s or 0.0, step.min_s)


def _exposure(step: Step, rps: float | None) -> Exposure:
    least_s, most_s = _seconds(step)
    share = step.weight_pct / 100
    if rps is None:
        return Exposure(step, share, None, None)
    return Exposure(step, share, round(rps * share * least_s), round(rps * share * most_s))


def _cost(price: Price, instances: int, least_s: float, most_s: float) -> Cost:
    per_hour = price.usd_per_hour * instances
    return Cost(price, instances, per_hour, per_hour * least_s / HOUR_S, per_hour * most_s / HOUR_S)
