"""Checks of room and money on Azure: names and limits, quota for both colours, the cluster, the price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from deployer.errors import PlatformError
from deployer.manifest.azureml import DeploymentSource
from deployer.manifest.schema import PlatformType
from deployer.manifest.spec import RolloutSpec
from deployer.platforms.inspection import limits
from deployer.platforms.inspection.facts import ML, Facts
from deployer.platforms.inspection.prices import price_of
from deployer.platforms.inspection.quota import Need, check_quota
from deployer.platforms.online.endpoint_resource import properties
from deployer.ports.inspection import Check, CheckState, Price
from deployer.ports.platform import Endpoint
from deployer.rollout.plan import COLOURS


def names(spec: RolloutSpec, facts: Facts) -> Sequence[Check]:
    """Check names and limits of both versions."""
    endpoint = facts.observed()
    others = sorted(endpoint.deployments) if endpoint else []
    kind, rps = spec.manifest.platform.type, spec.manifest.load.rps if spec.manifest.load else None
    documents = [{**source.document, "name": _name(source, endpoint)} for source in _sources(spec)]
    found = [
        problem
        for document in documents
        for problem in limits.problems(document, spec.endpoint.name, kind.value, others)
    ]
    if found:
        fix = "Correct the deployment's YAML."
        return [Check("names", CheckState.FAIL, problem, fix) for problem in dict.fromkeys(found)]
    doubts = dict.fromkeys(doubt for document in documents for doubt in limits.warnings(document, kind.value, rps=rps))
    good = Check("names", CheckState.OK, f"names and sizes are within the limits of {kind.value} endpoints")
    return [good, *(Check("settings", CheckState.WARN, doubt, "Look whether you want that.") for doubt in doubts)]


def _name(source: DeploymentSource, endpoint: Endpoint | None) -> str:
    """The name that a plan would choose."""
    live = [name for name in (endpoint.traffic if endpoint else ()) if endpoint is not None and endpoint.traffic[name]]
    return source.name or next(colour for colour in COLOURS if colour not in live)


def _sources(spec: RolloutSpec) -> list[DeploymentSource]:
    return [each for each in (spec.deployment, spec.baseline) if each is not None]


def instances_of_candidate(spec: RolloutSpec, endpoint: Endpoint | None) -> int:
    """Instances that the candidate will have: as its file says, and not fewer than the stable has now."""
    live = [
        endpoint.deployments[name].instances_wanted
        for name in (endpoint.traffic if endpoint else ())
        if endpoint is not None and endpoint.traffic[name] and name in endpoint.deployments
    ]
    return max([spec.deployment.instance_count, *live])


def quota(spec: RolloutSpec, facts: Facts) -> Sequence[Check]:
    """Check that cores are left for what a rollout adds: the candidate, and the baseline when there is no stable."""
    endpoint = facts.observed()
    has_stable = endpoint is not None and any(endpoint.traffic.values())
    wanted = instances_of_candidate(spec, endpoint) - _there_already(spec, endpoint, facts)
    if wanted <= 0:
        return [Check("quota", CheckState.OK, "the candidate is there already: nothing is added")]
    needs = [Need(spec.deployment.instance_type or "", (wanted,))]
    if not has_stable and spec.baseline is not None:
        baseline = Need(spec.baseline.instance_type or "", (spec.baseline.instance_count,))
        if baseline.instance_type == needs[0].instance_type:
            needs = [Need(baseline.instance_type, (*needs[0].instances, *baseline.instances))]
        else:
            needs.append(baseline)
    return [_quota_check(needs, facts)]


def _there_already(spec: RolloutSpec, endpoint: Endpoint | None, facts: Facts) -> int:
    """Instances of the candidate's type that the deployment in its place already takes from the quota."""
    found = endpoint.deployments.get(_name(spec.deployment, endpoint)) if endpoint else None
    if endpoint is None or found is None or found.digest is None or endpoint.traffic.get(found.name):
        return 0
    held = properties(facts.deployment(found.name) or {})
    is_same = str(held.get("instanceType", "")).lower() == (spec.deployment.instance_type or "").lower()
    return found.instances_wanted if is_same else 0


def _quota_check(needs: Sequence[Need], facts: Facts) -> Check:
    found = check_quota(needs, facts.sizes(), facts.usages())
    if found.unknown or not all(need.instance_type for need in needs):
        text = f"instance type {found.unknown or '(none)'} is not offered in {facts.region}"
        return Check("quota", CheckState.FAIL, text, "Choose one that `az ml compute list-sizes` lists there.")
    who = " and ".join(f"{count} x {need.instance_type}" for need in needs for count in need.instances)
    if found.problem is not None and found.only_reserve:
        text = (
            f"{who}: {found.problem}, the 20 % reserve for upgrades included, from which few instance types are exempt"
        )
        return Check("quota", CheckState.WARN, text, "Ask for more quota unless yours is one of them.")
    if found.problem is not None:
        instead = f" instead of {found.instead_of}" if len(needs) > 1 else ""
        other = f", or use {found.suggestion}{instead}, for which there is room" if found.suggestion else ""
        return Check("quota", CheckState.FAIL, f"{who}: {found.problem}", f"Ask for more quota{other}.")
    if not found.limits:
        return Check("quota", CheckState.UNKNOWN, f"{who}: {found.text}", "Look at the quotas of the workspace.")
    return Check("quota", CheckState.OK, f"{who}: {found.text}")


def compute(facts: Facts, name: str) -> Sequence[Check]:
    """Check that the cluster is attached and healthy."""
    found = facts.resource(f"{facts.where.id}/computes/{name}", ML)
    if found is None:
        text = f"no compute {name} is attached to the workspace"
        return [Check("compute", CheckState.FAIL, text, "Attach the cluster with `az ml compute attach`.")]
    held = properties(found)
    kind, state = str(held.get("computeType", "")), str(held.get("provisioningState", ""))
    if kind != "Kubernetes":
        text = f"compute {name} is {kind or 'of no kind'}, not Kubernetes"
        return [Check("compute", CheckState.FAIL, text, "Name an attached Kubernetes cluster as platform.compute.")]
    errors = [str((each.get("error") or each).get("message", "")) for each in held.get("provisioningErrors") or ()]
    if state != "Succeeded" or errors:
        said = f"compute {name} is {state or 'in no state'}" + "".join(f"; {text}" for text in errors if text)
        fix = "Mend the cluster and its Azure ML extension, then attach it anew."
        return [Check("compute", CheckState.FAIL, said, fix)]
    namespace = properties(held).get("namespace") or "default"
    return [Check("compute", CheckState.OK, f"{name} is attached and healthy, namespace {namespace}")]


def price(instance_type: str, facts: Facts, today: date, fetch: Callable[[str], Any] | None) -> Price | None:
    """Find the price of an instance; None: nobody says."""
    try:
        size = facts.sizes().get(instance_type.lower())
    except PlatformError:  # there are other lists
        size = None
    return price_of(instance_type, facts.region, size, today, fetch)


def price_check(found: Price | None, spec: RolloutSpec) -> Sequence[Check]:
    """Say the price."""
    if spec.manifest.platform.type is PlatformType.KUBERNETES:
        return [Check("price", CheckState.OK, "the cluster's nodes are paid for already")]
    instance_type = spec.deployment.instance_type or ""
    if found is None:
        text = f"nobody says what {instance_type} costs"
        return [Check("price", CheckState.UNKNOWN, text, "Look it up before you run many of them.")]
    text = f"{instance_type} costs ${found.usd_per_hour:,.4g} an hour ({found.source}, {found.as_of})"
    is_kept = "kept" in found.source
    fix = "It may have changed since: let this identity read vmSizes." if is_kept else ""
    return [Check("price", CheckState.WARN if is_kept else CheckState.OK, text, fix)]
