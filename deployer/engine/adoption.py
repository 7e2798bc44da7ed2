"""A rollout whose journal is elsewhere, carried on from what the endpoint's tags say of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from deployer.errors import PlanError
from deployer.manifest.schema import OnFail, OnInconclusive
from deployer.ports.platform import Capabilities, Endpoint, Platform
from deployer.rollout.events import Adopted
from deployer.rollout.model import Phase, Plan, Request, RequestKind, Step, StepKind
from deployer.rollout.plan import CONFIRM, DEPLOY_PATIENCE, Wanted, compile_plan
from deployer.rollout.readiness import find, is_scaled_down
from deployer.rollout.tags import Marks, instances_of


def adopt(marks: Marks, endpoint: Endpoint, platform: Platform, wanted: Wanted | None, now: datetime) -> Adopted:
    """Make the first event of a rollout whose journal is elsewhere.

    With the specification it can go on; without it, only back.
    """
    capabilities = platform.capabilities
    fresh_id = f"{marks.rollout_id}+{now:%H%M%S}"
    before = before_it(endpoint, marks)
    if wanted is not None:
        plan = compile_plan(named_like(wanted, marks), before, capabilities, rollout_id=fresh_id)
    else:
        plan = _way_back(marks, before, capabilities, fresh_id)
    plan = _as_large_as_it_was(plan, endpoint)
    position = min(marks.position, len(plan.steps) - 1)
    is_past = marks.phase is Phase.RETIRING  # the candidate had all traffic by then: anything else is somebody's edit
    weight_pct = 100 if is_past else endpoint.traffic.get(marks.candidate, 0)
    mirror_pct = 0 if is_past else endpoint.mirror.get(marks.candidate, 0)
    # Past the first step the stable had its traffic, whoever took it away since; before that, only its traffic tells.
    begun = marks.position > 0 or bool(endpoint.traffic) or not marks.stable
    prepared = marks.phase is not Phase.PREPARING and begun
    why = "found on the endpoint without its journal"
    judged = _is_written(plan.steps[position], plan, endpoint)
    return Adopted(plan, marks.phase, position, weight_pct, mirror_pct, why, prepared, judged)


def without_manifest(marks: Marks, request: Request | None, actor: str, why: PlanError) -> Request | None:
    """What is asked of a rollout that its manifest does not fit any more: to go back, which needs no manifest.

    After the last PASS nothing is asked: what only the manifest knows is then left as it is.

    Raises:
        PlanError: an operator wants it to go on. Nothing changed.
    """
    if request is None and marks.phase is not Phase.RETIRING:
        return Request(RequestKind.ABORT, actor, f"it cannot go on: {why.message}")
    if request is not None and request.kind is not RequestKind.ABORT:
        raise why
    return request


def _is_written(step: Step, plan: Plan, endpoint: Endpoint) -> bool:
    """Whether traffic is what ``step`` is judged with."""
    split = (dict(endpoint.traffic), dict(endpoint.mirror))
    return step.is_gated and split == (plan.traffic(step.weight_pct), plan.mirror(step.mirror_pct))


def _as_large_as_it_was(plan: Plan, endpoint: Endpoint) -> Plan:
    """The plan as it was made before its stable was scaled down, as far as the tags tell."""
    stable, had = find(endpoint, plan.stable), instances_of(endpoint.tags, plan.stable, plan.stable_digest)
    is_small = stable is not None and is_scaled_down(stable, had, plan.least_instances)
    return replace(plan, stable_instances=had) if is_small else plan


def before_it(endpoint: Endpoint, marks: Marks) -> Endpoint:
    """The endpoint with the traffic it had before the rollout that ``marks`` tell of."""
    if marks.phase is Phase.PREPARING:
        return endpoint
    return replace(endpoint, traffic={marks.stable: 100} if marks.stable else {}, mirror={})


def named_like(wanted: Wanted, marks: Marks) -> Wanted:
    """The specification with the candidate's name as the rollout under way chose it."""
    return replace(wanted, candidate=replace(wanted.candidate, name=marks.candidate))


def _way_back(marks: Marks, endpoint: Endpoint, capabilities: Capabilities, rollout_id: str) -> Plan:
    reserve_s = capabilities.restore_reserve_s
    stable = endpoint.deployments.get(marks.stable or "")
    bake = Step(StepKind.BAKE, weight_pct=100)
    steps = (Step(StepKind.PREPARE), Step(StepKind.DEPLOY), bake, Step(StepKind.RETIRE, weight_pct=100))
    return Plan(
        rollout_id=rollout_id,
        endpoint=endpoint.name,
        endpoint_uid=endpoint.uid,
        candidate=marks.candidate,
        candidate_digest=marks.candidate_digest,
        stable=marks.stable,
        stable_digest=marks.stable_digest or None,
        baseline=False,
        replaces=False,
        digest=marks.digest,
        steps=steps,
        on_fail=OnFail.ROLLBACK,
        on_inconclusive=OnInconclusive.ROLLBACK,
        retire=None,
        deadline_s=10 * reserve_s,
        reserve_s=reserve_s,
        deploy_s=reserve_s + DEPLOY_PATIENCE * capabilities.typical_deploy_s,
        look_s=1.0,
        confirm_s=CONFIRM * capabilities.typical_shift_s,
        poll_s=capabilities.poll_s,
        stable_instances=stable.instances_wanted if stable else 1,
        autoscaling=capabilities.autoscaling,
        least_instances=capabilities.least_instances,
    )
