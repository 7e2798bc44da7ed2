"""What the gate can decide at each step of a plan, at a known rate of requests: said before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.errors import PlanError
from deployer.gate.power import Power, Shortfall, Traffic, check_step, plan_power
from deployer.manifest.schema import Gate, Slo
from deployer.rollout.model import Plan, Step, StepKind


@dataclass(frozen=True, slots=True)
class StepPower:
    """What one step can decide, and whether its time suffices."""

    step: Step
    rows: tuple[Power, ...]
    shortfall: Shortfall | None


def power_of(
    plan: Plan, slo: Slo, gate: Gate, rps: float, *, typical_ms: float | None = None, lag_s: float = 0.0
) -> tuple[StepPower, ...]:
    """Say for each gated step how long its proofs take at ``rps`` requests a second.

    Args:
        plan: the plan.
        slo: the manifest's targets.
        gate: the manifest's rules.
        rps: of the whole endpoint.
        typical_ms: the stable's median latency, when known.
        lag_s: how late telemetry is at best.
    """
    found: list[StepPower] = []
    weights = [step.weight_pct for step in plan.steps]
    for index, step in enumerate(plan.steps):
        if not step.is_gated or step.max_s is None:
            continue
        following = next((weight for weight in weights[index + 1 :] if weight > step.weight_pct), 100)
        mirrored = step.kind is StepKind.MIRROR
        traffic = Traffic(
            weight_pct=step.mirror_pct if mirrored else step.weight_pct,
            rps=rps,
            next_weight_pct=following,
            stable=plan.stable is not None and step.weight_pct < 100,
            lag_s=lag_s,
            typical_ms=typical_ms,
        )
        rows = plan_power(slo, gate, traffic)
        found.append(StepPower(step, rows, check_step(slo, gate, traffic, step.max_s)))
    return tuple(found)


def refuse_hopeless(powers: tuple[StepPower, ...]) -> None:
    """Refuse a plan with a step that can practically never be proven.

    Raises:
        PlanError: says which one and what would help.
    """
    for power in powers:
        if power.shortfall is not None and power.shortfall.never:
            raise PlanError(
                f"step {power.step} can practically never be decided: {power.shortfall.text}",
                hint="Change the manifest as proposed, or add synthetic load.",
            )
