"""What a rollout would do and take, without doing it."""

from __future__ import annotations

from deployer.engine.forecast import Pace, forecast
from deployer.engine.operations import Job, under_way
from deployer.engine.operations import preview as preview_plan
from deployer.errors import ExitCode, PlatformError
from deployer.manifest.schema import PlatformType
from deployer.ports.inspection import CheckState, Forecast, Price
from deployer.ports.platform import Endpoint
from deployer.ports.preview import Preview
from deployer.rollout.model import Plan
from deployer.rollout.power import refuse_hopeless
from deployer.wiring.gate import step_powers
from deployer.wiring.locks import departures
from deployer.wiring.sites import Reached


def preview(reached: Reached) -> Preview:
    """Plan a rollout; on Azure also inspect the surroundings and estimate what it takes. Reads only.

    Raises:
        PlanError: the plan itself is refused.
        UsageError: the endpoint was reached by name.
    """
    job, platform = reached.job(), reached.site.platform
    endpoint = platform.observe()
    found = preview_plan(job, platform, endpoint, rollout_id="plan", skip_gate=None)
    powers = step_powers(reached.the_spec, job, found)
    refuse_hopeless(powers)
    watched_s = job.observed.seconds if job.observed else None
    warnings = departures(reached.the_spec)
    if reached.type is PlatformType.LOCAL:
        way = under_way(job, endpoint)
        return Preview(found, job.rps, powers, under_way=way, watched_s=watched_s, warnings=warnings)
    checks = reached.checks(to_plan=True)
    outlook = _outlook(reached, job, endpoint, found) if isinstance(found, Plan) else None
    failed = any(check.state is CheckState.FAIL for check in checks)
    code = ExitCode.REFUSED if failed else ExitCode.OK
    return Preview(found, job.rps, powers, checks, outlook, code, under_way(job, endpoint), watched_s, warnings)


def _outlook(reached: Reached, job: Job, endpoint: Endpoint | None, plan: Plan) -> Forecast:
    capabilities, document = reached.site.platform.capabilities, reached.the_spec.deployment
    pace = Pace(capabilities.typical_shift_s, capabilities.typical_deploy_s, capabilities.poll_s)
    stable = endpoint.deployments.get(plan.stable) if endpoint and plan.stable else None
    instances = max(document.instance_count, stable.instances_wanted if stable else 0)
    return forecast(plan, pace, rps=job.rps, instances=instances, price=_price(reached))


def _price(reached: Reached) -> Price | None:
    try:
        return reached.inspector.price() if reached.inspector else None
    except PlatformError:
        return None  # the check of the price says why
