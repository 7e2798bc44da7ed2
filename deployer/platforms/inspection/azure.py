"""What must be true of an endpoint's surroundings on Azure, found out by reading alone and before minutes are spent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from deployer.cloud.answers import without_identity
from deployer.cloud.clouds import Cloud
from deployer.cloud.service_clock import MOST_S, in_words
from deployer.errors import DeniedError, NotFoundError, PlatformError
from deployer.manifest.schema import PlatformType, TelemetrySource
from deployer.manifest.spec import RolloutSpec
from deployer.platforms.inspection import capacity
from deployer.platforms.inspection import telemetry as sight
from deployer.platforms.inspection.facts import Facts, Once
from deployer.platforms.inspection.rights import (
    DELETE_ENDPOINT,
    Right,
    Scope,
    Situation,
    missing_rights,
    needed_rights,
)
from deployer.platforms.online.endpoint_create import user_identities
from deployer.platforms.online.endpoint_resource import properties
from deployer.platforms.online.endpoint_settings import differences
from deployer.platforms.online.reading import elastic_limits
from deployer.ports.clock import Clock
from deployer.ports.inspection import Check, CheckState, Price, Question
from deployer.ports.platform import DeploymentState, Endpoint
from deployer.ports.telemetry import Telemetry
from deployer.rollout.plan import steps_of

ROLE = "manifests/azure/deployer-role.json"
PROFILER_ROLE = "manifests/azure/profiler-role.json"
_REGISTRY = re.compile(r"azureml://registries/([^/]+)/", re.IGNORECASE)
_PUBLIC = ("azureml", "huggingface")
"""How the names of registries begin that everybody may read: Microsoft's own, and what it shows of Hugging Face."""
READS_ONLY = "this identity may only read, which is enough for a plan; the one that rolls out needs to write"
FOR_WHO_ROLLS_OUT = f"Assign the role {ROLE} to the identity that rolls out, and not to this one."
"""A plan of a pull request runs what its author wrote: nobody is told to give it the right to write."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks ask, and through whom."""

    cloud: Cloud
    credential: Any
    """azure.core TokenCredential."""
    facts: Facts
    telemetry: Telemetry
    source: TelemetrySource
    clock: Clock
    fetch: Callable[[str], Any] | None = None
    """Reads JSON from the public price list; None: its prices do not hold in this cloud."""
    ahead_s: Callable[[], float] = lambda: 0.0
    """Azure's clock less ours; 0 where they agree."""
    ends_early: Callable[[], tuple[str, str] | None] = lambda: None
    """Why the identity may end before a rollout does, and what to do; None: nothing tells that it would."""


class AzureInspector:
    """Checks of one manifest against Azure (implements ``ports.inspection.Inspector``)."""

    def __init__(self, spec: RolloutSpec, around: Surroundings) -> None:
        self._spec = spec
        self._around = around
        self._facts = around.facts
        self._token: Once[None] = Once(self._get_token)

    def questions(self, *, to_plan: bool = False) -> Sequence[Question]:
        """List the checks; the first ones say most when everything fails."""
        spec, facts, around = self._spec, self._facts, self._around
        asked: list[tuple[str, Callable[[], Sequence[Check]]]] = [
            ("workspace", self._workspace),
            ("clock", self._clock),
            ("rights", partial(self._rights, to_plan=to_plan)),
            ("endpoint", self._endpoint),
            ("stable", self._stable),
            ("names", lambda: capacity.names(spec, facts)),
        ]
        if spec.manifest.platform.type is PlatformType.KUBERNETES:
            compute = spec.manifest.platform.compute or ""
            asked.append(("compute", lambda: capacity.compute(facts, compute)))
        else:
            asked.append(("quota", lambda: capacity.quota(spec, facts)))
        asked.append(("price", lambda: capacity.price_check(self.price(), spec)))
        steps = steps_of(spec.manifest)
        watch = sight.Sight(spec.manifest.gate.telemetry, around.source, facts, around.telemetry, around.clock, steps)
        asked += watch.questions()
        known = [Question(name, partial(self._if_known, name, ask)) for name, ask in asked]
        return [Question("identity", partial(self._identity, to_plan=to_plan)), *known]

    def price(self) -> Price | None:
        """Price of one instance of the candidate."""
        if self._spec.manifest.platform.type is PlatformType.KUBERNETES:
            return None
        around = self._around
        instance_type = self._spec.deployment.instance_type or ""
        return capacity.price(instance_type, self._facts, around.clock.now().date(), around.fetch)

    def _get_token(self) -> None:
        from azure.core.exceptions import AzureError  # noqa: PLC0415

        cloud = self._around.cloud
        try:
            self._around.credential.get_token(cloud.arm_scope)
        except (AzureError, OSError) as exc:
            raise without_identity(exc, cloud.name) from exc

    def _identity(self, *, to_plan: bool) -> Sequence[Check]:
        name, cloud = "identity", self._around.cloud.name
        try:
            self._token()
        except DeniedError as exc:
            return [Check(name, CheckState.FAIL, exc.message, exc.hint)]
        said = f"{cloud} gave a token"
        if not to_plan and (early := self._around.ends_early()):
            why, fix = early
            return [Check(name, CheckState.WARN, f"{said}, and a rollout may take longer than it: {why}", fix)]
        return [Check(name, CheckState.OK, said)]

    def _if_known(self, name: str, ask: Callable[[], Sequence[Check]]) -> Sequence[Check]:
        """Ask only with an identity and of a workspace that exists: else every check would tell the same story."""
        try:
            self._token()
        except PlatformError:
            return [Check(name, CheckState.UNKNOWN, "not asked: there is no identity")]
        try:
            self._facts.workspace()
        except NotFoundError:
            if name != "workspace":
                return [Check(name, CheckState.UNKNOWN, "not asked: there is no such workspace")]
        except PlatformError:
            pass  # it may be asked all the same
        return ask()

    def _workspace(self) -> Sequence[Check]:
        name = "workspace"
        try:
            found = self._facts.workspace()
        except (NotFoundError, DeniedError) as exc:
            return [Check(name, CheckState.FAIL, exc.message, exc.hint)]
        said = f"{self._facts.where.name} in {self._facts.region}"
        if not properties(found).get("applicationInsights"):
            if self._around.source is TelemetrySource.APP_INSIGHTS:
                fix = "Link an Application Insights component to the workspace."
                return [Check(name, CheckState.FAIL, f"{said} has no Application Insights", fix)]
            said += ", without Application Insights"
        return [Check(name, CheckState.OK, said)]

    def _clock(self) -> Sequence[Check]:
        name = "clock"
        self._facts.workspace()  # any answer of Azure tells its time
        ahead_s = self._around.ahead_s()
        if not ahead_s:
            return [Check(name, CheckState.OK, "agrees with Azure's")]
        text, fix = f"{in_words(ahead_s)} Azure's", "Set the clock of this machine (NTP)."
        if abs(ahead_s) > MOST_S:
            return [Check(name, CheckState.FAIL, f"{text}: the gate would be blind", fix)]
        return [Check(name, CheckState.WARN, f"{text}: telemetry is read by Azure's", fix)]

    def _rights(self, *, to_plan: bool) -> Sequence[Check]:
        rights = needed_rights(self._situation())
        lost: list[Right] = []
        granted: list[Right] = []
        held: dict[str, list[dict[str, Any]]] = {}
        for scope in Scope:
            wanted = [right for right in rights if right.scope is scope]
            places = self._places(scope) if wanted else []
            held |= {place: self._facts.permissions(place) for place in places}
            missing = {right: None for place in places for right in missing_rights(wanted, held[place])}
            lost += missing
            granted += [right for right in wanted if places and right not in missing]
        unseen = [_unseen(name, to_plan=to_plan) for name in self._registries() if name not in self._facts.registries()]
        if not lost:
            said = f"all {len(granted)} that are needed{_beyond(held[self._facts.where.id])}"
            return [Check("rights", CheckState.OK, said), *unseen]
        if to_plan and not any(right.changes for right in granted):
            seen = [_missing(right, to_plan=True) for right in lost if not right.changes]
            return [Check("rights", CheckState.WARN, READS_ONLY, FOR_WHO_ROLLS_OUT), *seen, *unseen]
        return [*(_missing(right, to_plan=to_plan) for right in lost), *unseen]

    def _registries(self) -> list[str]:
        """Lower-case names of the registries that the versions are taken from, but for public ones."""
        deployments = [each for each in (self._spec.deployment, self._spec.baseline) if each is not None]
        assets = [str(each.document.get(key) or "") for each in deployments for key in ("model", "environment")]
        found = {match[1].lower() for asset in assets if (match := _REGISTRY.match(asset))}
        return sorted(name for name in found if not name.startswith(_PUBLIC))

    def _situation(self) -> Situation:
        deployments = [each for each in (self._spec.deployment, self._spec.baseline) if each is not None]
        return Situation(
            platform=self._spec.manifest.platform.type,
            source=self._around.source,
            auth_mode=str(self._spec.endpoint.document.get("auth_mode", "key")),
            local_code=any(each.code_dir is not None for each in deployments),
            local_model=any(each.model_path is not None for each in deployments),
            local_environment=any(isinstance(each.document.get("environment"), dict) for each in deployments),
            named_environment=any(_is_named(each.document.get("environment")) for each in deployments),
            asks_workspace=self._spec.manifest.gate.telemetry.log_analytics_workspace_id is not None,
            user_identity=bool(self._identities()),
            registry_assets=bool(self._registries()),
        )

    def _identities(self) -> list[str]:
        """Ids of the endpoint's user-assigned identities: as it is, or as it will be made."""
        found = self._facts.endpoint()
        if found is None:
            return user_identities(self._spec.endpoint.document.get("identity") or {})
        identity: dict[str, Any] = found.get("identity") or {}
        users: dict[str, Any] = identity.get("userAssignedIdentities") or {}
        return sorted(users)

    def _places(self, scope: Scope) -> list[str]:
        """Where ``scope`` is; empty: not known, and the query of telemetry itself shows whether the right is there."""
        if scope is Scope.IDENTITY:
            return self._identities()
        if scope is Scope.REGISTRY:
            return [self._facts.registries()[name] for name in self._registries() if name in self._facts.registries()]
        place = self._place(scope)
        return [place] if place else []

    def _place(self, scope: Scope) -> str | None:
        facts, asked = self._facts, self._spec.manifest.gate.telemetry
        match scope:
            case Scope.WORKSPACE:
                return facts.where.id
            case Scope.GROUP:
                return facts.group_id
            case Scope.SUBSCRIPTION:
                return facts.subscription_id
            case Scope.COMPONENT:
                return asked.app_insights or sight.linked_component(facts)
            case _:
                return sight.logs_workspace_id(facts, asked, self._around.source)

    def _endpoint(self) -> Sequence[Check]:
        name, found = "endpoint", self._facts.endpoint()
        if found is None:
            said = f"{self._spec.endpoint.name} does not exist yet: the rollout creates it"
            return [Check(name, CheckState.OK, said)]
        held = properties(found)
        state = str(held.get("provisioningState", ""))
        checks = [_state_check(self._spec.endpoint.name, state)]
        url = str(held.get("scoringUri") or "")
        on_cluster = self._spec.manifest.platform.type is PlatformType.KUBERNETES
        if url and not self._around.cloud.may_score(url, on_cluster=on_cluster):
            text = f"its scoring address {url} is not of {self._around.cloud.name}: no key is sent there"
            fix = "If it is yours, add its host to DEPLOYER_SCORING_HOSTS."
            checks.append(Check("scoring host", CheckState.FAIL, text, fix))
        if ignored := differences(self._spec.endpoint.document, found):
            text = f"{'; '.join(ignored)}: an endpoint that exists is not changed"
            fix = "Change it in the portal or by `az ml online-endpoint update`, or take it out of the file."
            checks.append(Check("settings", CheckState.WARN, text, fix))
        if str(held.get("publicNetworkAccess", "")).lower() == "disabled":
            text = "only private networks reach it: smoke tests, warm-up and load work from there alone"
            checks.append(Check("network", CheckState.WARN, text, "Run deployer inside the network of the endpoint."))
        return checks

    def _stable(self) -> Sequence[Check]:
        name, endpoint = "stable", self._facts.observed()
        live = [each for each in endpoint.traffic if endpoint.traffic[each]] if endpoint else []
        if endpoint is None or not live:
            has_baseline = self._spec.baseline is not None
            text = "nothing takes traffic yet" + ("; the baseline is deployed first" if has_baseline else "")
            fix = "" if has_baseline else "Add `baseline`, else there is nothing to compare with or to go back to."
            return [Check(name, CheckState.OK if has_baseline else CheckState.WARN, text, fix)]
        return [check for each in sorted(live) for check in (_live_check(endpoint, each), *self._elastic(each))]

    def _elastic(self, name: str) -> Sequence[Check]:
        document = self._facts.deployment(name)
        limits = elastic_limits(document) if document else None
        if limits is None:
            return []
        text = f"{name} scales itself from {limits[0]} to {limits[1]} instances: how many it has now is not known"
        return [Check("stable", CheckState.WARN, text, "Give the candidate min_instances that can take the traffic.")]


def _is_named(environment: object) -> bool:
    """Whether it is one of the workspace's: ``azureml:name:1``, ``azureml:name@latest``, and none of a registry."""
    return isinstance(environment, str) and not environment.startswith("azureml://registries/")


def _missing(right: Right, *, to_plan: bool = False) -> Check:
    """A plan changes nothing: it goes on without the rights to, and says that a rollout would not."""
    text = f"{right.action} is missing on the {right.scope.value}: {right.without}"
    if to_plan and right.changes:
        return Check("rights", CheckState.WARN, text, FOR_WHO_ROLLS_OUT)
    state = CheckState.FAIL if right.blocks else CheckState.WARN
    return Check("rights", state, text, _assign(right.scope, to_plan=to_plan))


def _assign(scope: Scope, *, to_plan: bool) -> str:
    return f"Assign the role {'Reader' if to_plan else ROLE} on the {scope.value} to this identity."


def _beyond(permissions: Sequence[Mapping[str, Any]]) -> str:
    """What a rollout does without and other commands do not."""
    if not missing_rights([DELETE_ENDPOINT], permissions):
        return ""
    return f"; none to delete endpoints, which only `profile` and `gc` use ({PROFILER_ROLE})"


def _unseen(registry: str, *, to_plan: bool) -> Check:
    text = f"registry {registry} is not seen in this subscription: whether its assets may be read is not known"
    return Check("rights", CheckState.WARN, text, _assign(Scope.REGISTRY, to_plan=to_plan))


def _state_check(name: str, state: str) -> Check:
    match state.lower():
        case "succeeded":
            return Check("endpoint", CheckState.OK, f"{name} is ready for changes")
        case "failed" | "canceled":
            text = f"the last change of {name} ended as {state}"
            return Check("endpoint", CheckState.WARN, text, "Look at its activity log if the rollout fails as well.")
        case "":
            return Check("endpoint", CheckState.UNKNOWN, f"{name} does not say its state", "Look at it in the portal.")
        case _:
            text = f"{name} is {state}: it takes one change at a time"
            return Check("endpoint", CheckState.FAIL, text, "Wait until the change under way has ended.")


def _live_check(endpoint: Endpoint, name: str) -> Check:
    found = endpoint.deployments.get(name)
    if found is None:
        text = f"{name} has traffic and is not among the deployments"
        return Check("stable", CheckState.UNKNOWN, text, "Look at the endpoint in the portal.")
    said = f"{name} has {endpoint.traffic[name]}%, {found.instances_ready}/{found.instances_wanted} instances ready"
    if found.state is DeploymentState.READY:
        return Check("stable", CheckState.OK, said)
    state = CheckState.WARN if found.state is DeploymentState.DEGRADED else CheckState.FAIL
    fix = "Mend the stable first: a rollback returns to it."
    return Check("stable", state, f"{said}; {found.state.value}: {found.message or 'no reason given'}", fix)
