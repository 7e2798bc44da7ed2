"""From a specification and one reading of the endpoint to a plan, or to a refusal that says what to change."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deployer.errors import PlanError
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Gate, Manifest, MirrorStep, PauseStep, WeightStep
from deployer.rollout.endpoint import Capabilities, Endpoint
from deployer.rollout.model import Plan, Step, StepKind

COLOURS = ("blue", "green")
MIRROR_PATIENCE = 2.0
"""A mirror step is undecided after this many times its ``for``: mirrored traffic brings evidence, but not for ever."""
BAKE_PATIENCE = 2.0
"""The same for the bake, whose time is a minimum."""

CONFIRM = 2.0
"""Traffic that differs for this many times a usual write is somebody's edit."""
DEPLOY_PATIENCE = 3.0
"""A deployment is given up after this many times what the platform usually takes, besides what its probes allow."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version to deploy, as the specification names it."""

    name: str | None
    digest: str
    instances: int = 1
    """That its document asks for."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a profile found out."""

    rps_per_instance: float
    """Requests a second that one instance sustains within the slo, > 0."""
    peak_rps: float
    """That it was measured for, headroom included: taken where the rate of the endpoint is not known."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a rollout is asked to do, without the files behind it."""

    manifest: Manifest
    endpoint: str
    candidate: Version
    baseline: Version | None
    digest: str
    deploy_s: float
    """How long a deployment may take to become ready, in seconds."""
    measured: Measured | None = None
    """What a profile measured of the very candidate."""


def is_live(wanted: Wanted, endpoint: Endpoint | None) -> str | None:
    """Name of the deployment that already serves the wanted version with all traffic; None: none does."""
    if endpoint is None:
        return None
    for name, weight in endpoint.traffic.items():
        found = endpoint.deployments.get(name)
        if weight == 100 and found is not None and found.digest == wanted.candidate.digest:
            return name
    return None


def compile_plan(
    wanted: Wanted,
    endpoint: Endpoint | None,
    capabilities: Capabilities,
    *,
    rollout_id: str,
    rps: float | None = None,
    skip_gate: str | None = None,
) -> Plan:
    """Compile the plan of a rollout that starts from ``endpoint`` as it is now.

    Args:
        wanted: the specification.
        endpoint: one reading; None when it does not exist.
        capabilities: of the platform.
        rollout_id: unique name of this rollout.
        rps: requests a second that the endpoint will get, when known.
        skip_gate: reason for not asking the gate; None asks it.

    Raises:
        PlanError: it cannot start, or could never be decided. Nothing was touched.
    """
    strategy, gate = wanted.manifest.strategy, wanted.manifest.gate
    stable, baseline = _stable(wanted, endpoint)
    candidate, replaces = _candidate(wanted, endpoint, stable)
    steps = steps_of(wanted.manifest)
    _check_capabilities(steps, endpoint, capabilities, candidate)
    if rps is not None and skip_gate is None:
        _check_rate(steps, gate, rps)
    least_s = sum(step.min_s for step in steps) + _platform_s(steps, capabilities, baseline=baseline)
    if strategy.deadline <= least_s:
        raise PlanError(
            f"deadline {format_duration(strategy.deadline)} is shorter than the steps need: {format_duration(least_s)} "
            "with what the platform usually takes and the time kept to roll back",
            hint="Raise strategy.deadline, or shorten the steps and the bake.",
        )
    return Plan(
        rollout_id=rollout_id,
        endpoint=wanted.endpoint,
        endpoint_uid=endpoint.uid if endpoint else None,
        candidate=candidate,
        candidate_digest=wanted.candidate.digest,
        stable=stable,
        stable_digest=_digest(wanted, endpoint, stable, baseline=baseline),
        baseline=baseline,
        replaces=replaces,
        digest=wanted.digest,
        steps=steps,
        on_fail=strategy.on_fail,
        on_inconclusive=strategy.on_inconclusive,
        retire=strategy.retire,
        deadline_s=strategy.deadline,
        reserve_s=capabilities.restore_reserve_s,
        deploy_s=wanted.deploy_s + DEPLOY_PATIENCE * capabilities.typical_deploy_s,
        look_s=gate.look,
        confirm_s=CONFIRM * capabilities.typical_shift_s,
        skip_gate=skip_gate,
        poll_s=capabilities.poll_s,
        stable_instances=_instances(wanted, endpoint, stable),
        autoscaling=capabilities.autoscaling,
        full_instances=_full_instances(wanted.measured, rps),
        least_instances=capabilities.least_instances,
    )


def _full_instances(measured: Measured | None, rps: float | None) -> int:
    if measured is None:
        return 0
    # What n instances were shown to carry takes n of them: digits lost in dividing by n ask for no other one.
    return math.ceil((rps or measured.peak_rps) / measured.rps_per_instance - 1e-6)


def _platform_s(steps: tuple[Step, ...], capabilities: Capabilities, *, baseline: bool) -> float:
    """Seconds that deployments and traffic writes usually take, and the reserve for the way back."""
    writes = sum(step.kind in (StepKind.MIRROR, StepKind.WEIGHT, StepKind.BAKE) for step in steps)
    deployments = capabilities.typical_deploy_s * (2 if baseline else 1)
    return deployments + writes * capabilities.typical_shift_s + capabilities.restore_reserve_s


def _stable(wanted: Wanted, endpoint: Endpoint | None) -> tuple[str | None, bool]:
    """Name of the stable, and whether it is deployed first as baseline."""
    traffic = dict(endpoint.traffic) if endpoint else {}
    live = [name for name, weight in traffic.items() if weight == 100]
    if live:
        if endpoint is not None and endpoint.mirror:
            raise PlanError(
                f"endpoint {wanted.endpoint} already mirrors traffic, to {', '.join(endpoint.mirror)}",
                hint="Stop mirroring, then start again.",
            )
        return live[0], False
    if traffic:
        split = ", ".join(f"{name} {weight}%" for name, weight in sorted(traffic.items()))
        raise PlanError(
            f"endpoint {wanted.endpoint} is split ({split}), and no rollout of ours did that",
            hint=f"Choose the stable: deployer rollback {wanted.endpoint} --to NAME, then start again.",
        )
    if wanted.baseline is None:
        return None, False
    return wanted.baseline.name or COLOURS[0], True


def _digest(wanted: Wanted, endpoint: Endpoint | None, stable: str | None, *, baseline: bool) -> str | None:
    if baseline and wanted.baseline is not None:
        return wanted.baseline.digest
    found = endpoint.deployments.get(stable) if endpoint and stable else None
    return found.digest if found else None


def _instances(wanted: Wanted, endpoint: Endpoint | None, stable: str | None) -> int:
    """Instances of the stable: as it is, or as the baseline's document asks."""
    found = endpoint.deployments.get(stable) if endpoint and stable else None
    if found is not None:
        return found.instances_wanted
    return wanted.baseline.instances if wanted.baseline is not None else 1


def _candidate(wanted: Wanted, endpoint: Endpoint | None, stable: str | None) -> tuple[str, bool]:
    """Name of the candidate, and whether a left-over of ours must make room."""
    name = wanted.candidate.name
    if name is None:
        name = next(colour for colour in COLOURS if colour != stable)
    if name == stable:
        raise PlanError(
            f"deployment {name} is the live stable; a version that takes traffic is never changed in place",
            hint="Leave `name` out of the deployment, or choose another one.",
        )
    found = endpoint.deployments.get(name) if endpoint else None
    if found is None or found.digest == wanted.candidate.digest:
        return name, False
    if found.digest is None:
        raise PlanError(
            f"deployment {name} exists and was not made by deployer, which therefore does not replace it",
            hint="Give the candidate another `name`, or delete that deployment.",
        )
    return name, True


def steps_of(manifest: Manifest) -> tuple[Step, ...]:
    """Steps that ``manifest`` asks for, in order."""
    strategy = manifest.strategy
    steps = [Step(StepKind.PREPARE), Step(StepKind.DEPLOY)]
    if manifest.smoke:
        steps.append(Step(StepKind.SMOKE))
    if manifest.warmup is not None:
        steps.append(Step(StepKind.WARM_UP))
    if strategy.canary is not None:
        weight = 0
        for step in strategy.canary.steps:
            if isinstance(step, WeightStep):
                weight = step.weight
                if weight < 100:
                    least, most = strategy.canary.bounds(step)
                    steps.append(Step(StepKind.WEIGHT, weight_pct=weight, min_s=least, max_s=most))
            elif isinstance(step, MirrorStep):
                steps.append(_mirror(step.mirror, step.duration))
            elif isinstance(step, PauseStep):
                for_s = step.pause.duration
                steps.append(Step(StepKind.PAUSE, weight_pct=weight, min_s=for_s or 0.0, max_s=for_s))
            else:
                steps.append(Step(StepKind.SMOKE, weight_pct=weight))
    elif strategy.blue_green is not None and strategy.blue_green.mirror is not None:
        steps.append(_mirror(strategy.blue_green.mirror, strategy.blue_green.mirror_for))
    bake_s = strategy.bake_s
    steps.append(Step(StepKind.BAKE, weight_pct=100, min_s=bake_s, max_s=BAKE_PATIENCE * bake_s))
    steps.append(Step(StepKind.RETIRE, weight_pct=100))
    return tuple(steps)


def _mirror(share: float, for_s: float) -> Step:
    return Step(StepKind.MIRROR, mirror_pct=max(round(share * 100), 1), min_s=for_s, max_s=MIRROR_PATIENCE * for_s)


def _check_capabilities(
    steps: tuple[Step, ...], endpoint: Endpoint | None, capabilities: Capabilities, candidate: str
) -> None:
    mirrors = [step.mirror_pct for step in steps if step.kind is StepKind.MIRROR]
    if mirrors and not capabilities.mirror:
        raise PlanError(
            f"platform {capabilities.platform} cannot mirror traffic",
            hint="Remove the mirror steps, or use platform managed.",
        )
    if mirrors and max(mirrors) > capabilities.mirror_max_pct:
        raise PlanError(
            f"mirror {max(mirrors)}% is over the {capabilities.mirror_max_pct}% of platform {capabilities.platform}",
            hint="Mirror less.",
        )
    names = set(endpoint.deployments if endpoint else ()) | {candidate}
    if len(names) > capabilities.max_deployments:
        raise PlanError(
            f"{len(names)} deployments are more than the {capabilities.max_deployments} an endpoint may have",
            hint="Delete deployments that take no traffic.",
        )


def _check_rate(steps: tuple[Step, ...], gate: Gate, rps: float) -> None:
    for step in steps:
        share = (step.weight_pct or step.mirror_pct) / 100
        if not step.is_gated or step.max_s is None or not share:
            continue
        needed_s = gate.min_requests / (rps * share)
        if needed_s > step.max_s:
            raise PlanError(
                f"step {step} can never be decided: {gate.min_requests} requests (gate.min_requests) take "
                f"{format_duration(needed_s)} at {rps:g} requests/s, its max is {format_duration(step.max_s)}",
                hint="Raise the weight, the step's max or load.rps, or lower gate.min_requests.",
            )
