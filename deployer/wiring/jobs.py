"""A manifest made ready for the engine: versions, probes, gate and load of one rollout."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from deployer.engine.effects import Deployable
from deployer.engine.operations import Job, Site
from deployer.engine.probe import HttpProbe
from deployer.engine.rate import observe_rate
from deployer.engine.synthetic_load import WantedLoad
from deployer.manifest.azureml import DeploymentSource
from deployer.manifest.load import RolloutSpec
from deployer.platforms.diagnosis.diagnose import meaning_of
from deployer.ports.inspection import Price
from deployer.ports.platform import DeploymentSpec
from deployer.rollout.model import Plan
from deployer.rollout.plan import Version, Wanted
from deployer.wiring.locks import measured
from deployer.wiring.specification import specification_of


def make_job(
    spec: RolloutSpec,
    site: Site,
    check: Callable[[], None] = lambda: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
    price: Callable[[], Price | None] = lambda: None,
) -> Job:
    """Make ``spec`` ready for the engine.

    Args:
        spec: the manifest.
        site: its endpoint.
        check: raises PlanError for surroundings in which the rollout would end badly; asked before anything is touched.
        on_plan: told of the plan that is carried out.
        price: finds what an instance of the candidate costs.
    """
    manifest = spec.manifest
    load = None
    if manifest.load is not None:
        from deployer.loadgen.locust import LocustLoad  # noqa: PLC0415

        load = WantedLoad(LocustLoad(), manifest.load.rps, spec.path.parent / manifest.load.request)

    def sound(plan: Plan) -> None:
        _refuse_hopeless(spec, job, plan)
        check()

    def deployable(plan: Plan) -> Deployable:
        on_plan(plan)
        return _deployable(spec, plan)

    job = Job(
        wanted=_wanted(spec, site),
        endpoint_document=spec.endpoint.document,
        deployable=deployable,
        probe=HttpProbe(
            site.platform,
            manifest,
            spec.payloads,
            spec.schemas,
            lambda: site.signal() is not None,
            lambda status: meaning_of(status, manifest.platform.type.value),
        ),
        load=load,
        manifest=str(spec.path.absolute()),
        tags=manifest.tags,
        check=sound,
        specification=lambda plan: specification_of(spec, plan, price),
        traffic=cache(lambda: observe_rate(site.telemetry, site.clock.now())),
    )
    return job


def _wanted(spec: RolloutSpec, site: Site) -> Wanted:
    baseline = spec.baseline
    ready_s = max(float(source.ready_within_s()) for source in (spec.deployment, baseline) if source is not None)
    return Wanted(
        manifest=spec.manifest,
        endpoint=spec.endpoint.name,
        candidate=Version(spec.deployment.name, spec.deployment.digest),
        baseline=Version(baseline.name, baseline.digest, baseline.instance_count) if baseline else None,
        digest=spec.digest,
        deploy_s=ready_s + site.platform.capabilities.typical_deploy_s,
        measured=measured(spec),
    )


def _refuse_hopeless(spec: RolloutSpec, job: Job, plan: Plan) -> None:
    from deployer.rollout.power import refuse_hopeless  # noqa: PLC0415 - numpy is slow to import
    from deployer.wiring.gate import step_powers  # noqa: PLC0415

    refuse_hopeless(step_powers(spec, job, plan))


def _deployable(spec: RolloutSpec, plan: Plan) -> Deployable:
    from deployer.gate.blocks import fetch_block_s  # noqa: PLC0415 - numpy is slow to import, and only rollouts judge
    from deployer.gate.judge import judge  # noqa: PLC0415
    from deployer.gate.record import Record  # noqa: PLC0415

    slo, gate = spec.manifest.slo, spec.manifest.gate
    sources = {plan.candidate: spec.deployment}
    if plan.baseline and plan.stable and spec.baseline:
        sources[plan.stable] = spec.baseline
    return Deployable(
        versions={name: _version(name, source) for name, source in sources.items()},
        workers={
            name: source.request_settings.max_concurrent_requests_per_instance for name, source in sources.items()
        },
        judge=lambda samples, moment: judge(samples, slo, gate, moment),
        block_s=fetch_block_s(gate),
        record=lambda samples, moment, verdict: Record(samples, slo, gate, moment, verdict).to_json(),
    )


def _version(name: str, source: DeploymentSource) -> DeploymentSpec:
    return DeploymentSpec(name, source.document, source.base_dir, source.digest)
