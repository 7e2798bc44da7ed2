"""A plan in words, one line a step: what ``plan`` prints and ``rollout`` shows before it starts."""

from __future__ import annotations

from typing import assert_never

from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Retire
from deployer.rollout.endpoint import in_words
from deployer.rollout.model import Plan, Step, StepKind
from deployer.rollout.readiness import instances_for


def describe(plan: Plan) -> list[tuple[Step, str]]:
    """Say what each step of ``plan`` will do."""
    return [(step, _step(plan, step)) for step in plan.steps]


def _step(plan: Plan, step: Step) -> str:
    match step.kind:
        case StepKind.PREPARE:
            return _prepare(plan)
        case StepKind.DEPLOY:
            room = f" (a left-over {plan.candidate} at 0% makes room)" if plan.replaces else ""
            alike = f", with the autoscale rules of {plan.stable}" if plan.autoscaling and plan.stable else ""
            return f"deploy the new version as {plan.candidate} at 0%{room}{alike}"
        case StepKind.SMOKE:
            return f"send the smoke requests to {plan.candidate} alone"
        case StepKind.WARM_UP:
            return f"warm up every instance of {plan.candidate}"
        case StepKind.MIRROR:
            mirrored = f"mirror {step.mirror_pct}% of the traffic to {plan.candidate}{_capacity(plan, step)}"
            return f"{mirrored}; the gate decides {_bounds(step)}"
        case StepKind.WEIGHT:
            return f"{in_words(plan.traffic(step.weight_pct))}{_capacity(plan, step)}; the gate decides {_bounds(step)}"
        case StepKind.PAUSE:
            return f"stand still {f'for {format_duration(step.max_s)}' if step.max_s else 'until somebody promotes'}"
        case StepKind.BAKE:
            kept = f", {plan.stable} kept whole" if plan.stable else ""
            traffic = f"{in_words(plan.traffic(step.weight_pct))}{_capacity(plan, step)}"
            return f"{traffic}; bake {_bounds(step)}{kept}"
        case StepKind.RETIRE:
            how = plan.retire.value.replace("_", " ") if plan.retire else "leave"
            return f"{how} {plan.stable}{_remnant(plan)}" if plan.stable else "nothing to retire"
        case _:
            assert_never(step.kind)


def _remnant(plan: Plan) -> str:
    """Say what is left of a stable that cannot be scaled down to nothing."""
    if plan.retire is not Retire.SCALE_DOWN or not plan.least_instances:
        return ""
    said = f" to {plan.least_instances} instance{'s' * (plan.least_instances > 1)}, the fewest there can be"
    if plan.stable_instances <= plan.least_instances:
        return said
    return (
        f"{said}: a rollback sends all traffic there first, and then starts the other ones of {plan.stable_instances}"
    )


def _prepare(plan: Plan) -> str:
    parts = [f"create endpoint {plan.endpoint}"] if plan.endpoint_uid is None else []
    if plan.baseline:
        parts.append(f"deploy the baseline as {plan.stable} and give it 100%")
    return ", ".join(parts) or f"endpoint {plan.endpoint} stands, {plan.stable} has 100%"


def _capacity(plan: Plan, step: Step) -> str:
    """Say how many instances the candidate needs; nothing where one is enough, which every deployment has."""
    share_pct = max(step.weight_pct, step.mirror_pct)
    needed = instances_for(plan.stable_instances, share_pct)
    if (measured := instances_for(plan.full_instances, share_pct)) > max(needed, 1):
        return f", on at least {measured} instances (by the measured rate of an instance)"
    return f", on at least {needed} instances (now {plan.stable}: {plan.stable_instances})" if needed > 1 else ""


def _bounds(step: Step) -> str:
    return f"within {format_duration(step.min_s)} to {format_duration(step.max_s or 0)}"
