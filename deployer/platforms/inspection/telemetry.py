"""Checks of the gate's eyes on Azure: is the log on, does it lead where the gate reads, is it fresh and whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deployer.errors import DeniedError, TelemetryError
from deployer.gate.samples import Samples
from deployer.manifest.quantities import format_duration
from deployer.manifest.schema import Telemetry as Asked
from deployer.manifest.schema import TelemetrySource
from deployer.platforms.inspection.facts import BILLING, COMPONENTS, LOGS, Facts
from deployer.platforms.online.endpoint_resource import properties
from deployer.ports.clock import Clock
from deployer.ports.inspection import Check, CheckState
from deployer.ports.telemetry import Telemetry
from deployer.rollout.model import Step

CATEGORY = "AmlOnlineEndpointTrafficLog"
BLOCK_S = 60.0
LOOK_BACK = 2.0
"""Telemetry is asked for this many times ``max_lag``: what is older than once is stale, and still seen."""
LEAST_LAG_S = 180.0
"""No answer is known to be counted sooner: metrics count a whole minute two minutes after it ended, at best.

Source: ``telemetry.metrics.DELAY_S``; learn.microsoft.com/azure/azure-monitor/logs/data-ingestion-time (resource logs
usually take 3 to 10 minutes)."""
MISSING = 0.1
"""Share of the counted requests that may be missing, as the gate bears it."""
LOW_CAP_GB = 1.0
"""A cap that a busy endpoint fills within a rollout: a request is about 2 kB, so half a million of them."""
_GONE = {"overquota", "forceoff", "subscriptionsuspended"}
"""States of ingestion in which nothing new arrives (learn.microsoft.com/rest/api/loganalytics, WorkspaceCapping)."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The gate's telemetry, and what it depends on."""

    asked: Asked
    source: TelemetrySource
    facts: Facts
    telemetry: Telemetry
    clock: Clock
    steps: Sequence[Step] = ()
    """Of the rollout."""

    def questions(self) -> list[tuple[str, Callable[[], Sequence[Check]]]]:
        """List what is to be found out for this source."""
        if self.source is TelemetrySource.METRICS:
            return [("telemetry", self._metrics_only)]
        found: list[tuple[str, Callable[[], Sequence[Check]]]] = [
            ("patience", self._patience),
            ("freshness", self._freshness),
        ]
        if self.source is TelemetrySource.TRAFFIC_LOG:
            found.insert(0, ("diagnostics", self._diagnostics))
        else:
            found.insert(0, ("sampling", self._component))
        return [*found, ("ingestion", self._cap)]

    def _metrics_only(self) -> Sequence[Check]:
        text = "Azure Monitor metrics are averages of minutes: they can stop a rollout and can never pass it"
        fix = "Give gate.telemetry.log_analytics_workspace_id (managed) or app_insights."
        return [Check("telemetry", CheckState.WARN, text, fix)]

    def _patience(self) -> Sequence[Check]:
        """Compare what the manifest waits for with how late answers come."""
        name, lag_s = "patience", self.asked.max_lag
        least, lag = format_duration(LEAST_LAG_S), format_duration(lag_s)
        if lag_s < LEAST_LAG_S:
            text = f"gate.telemetry.max_lag is {lag}, and what Azure tells is {least} old at best: the gate stays blind"
            return [
                Check(name, CheckState.FAIL, text, f"Raise gate.telemetry.max_lag to {least} at least; 10m is usual.")
            ]
        timed = [(step, step.max_s) for step in self.steps if step.is_gated and step.max_s is not None]
        hopeless = [step for step, max_s in timed if max_s <= LEAST_LAG_S]
        if hopeless:
            text = f"step {hopeless[0]} ends before its answers are counted: that takes {least} at best"
            return [Check(name, CheckState.FAIL, text, "Raise the step's max, or the bake, well over that.")]
        short = [(step, max_s) for step, max_s in timed if max_s <= lag_s]
        if short:
            step, max_s = short[0]
            text = (
                f"step {step} ends after {format_duration(max_s)}, and answers may be {lag} late (max_lag): "
                "unless they come sooner, it ends without a verdict"
            )
            return [Check(name, CheckState.WARN, text, "Raise the step's max over gate.telemetry.max_lag.")]
        return [Check(name, CheckState.OK, f"every step outlasts the {lag} that answers may be late")]

    def _diagnostics(self) -> Sequence[Check]:
        name = "diagnostics"
        if self.facts.endpoint() is None:
            text = "the endpoint does not exist yet, and neither does its diagnostic setting: the gate will be blind"
            fix = f"Let Azure Policy create it, or make the endpoint first and send {CATEGORY} to Log Analytics."
            return [Check(name, CheckState.WARN, text, fix)]
        leading = [setting for setting in self.facts.diagnostics() if _sends_traffic(setting)]
        if not leading:
            text = f"no diagnostic setting of the endpoint sends {CATEGORY}: the gate is blind"
            fix = f"Add one with category {CATEGORY} to the Log Analytics workspace; it takes up to an hour to work."
            return [Check(name, CheckState.FAIL, text, fix)]
        targets = {str(properties(setting).get("workspaceId") or "") for setting in leading} - {""}
        if (
            self.asked.log_analytics_workspace_id is None
        ):  # the gate asks for the endpoint's own rows, wherever they are
            known = sorted(_last(target) for target in targets)
            if known:
                return [Check(name, CheckState.OK, f"{CATEGORY} goes to {', '.join(known)}")]
            text = f"{CATEGORY} goes to no Log Analytics workspace: the gate is blind"
            return [Check(name, CheckState.FAIL, text, "Let the setting send it to a Log Analytics workspace as well.")]
        wanted = self.asked.log_analytics_workspace_id.lower()
        known = {target: _customer_id(self.facts, target) for target in sorted(targets)}
        if wanted in {customer for customer in known.values() if customer}:
            target = next(target for target, customer in known.items() if customer == wanted)
            return [Check(name, CheckState.OK, f"{CATEGORY} goes to {target.rpartition('/')[2]}")]
        if not targets or None not in known.values():
            text = f"{CATEGORY} goes to {', '.join(_last(each) for each in known) or 'no workspace'}, not to {wanted}"
            fix = "Give gate.telemetry.log_analytics_workspace_id the id of that workspace, or change the setting."
            return [Check(name, CheckState.FAIL, text, fix)]
        text = f"{CATEGORY} goes to {', '.join(_last(each) for each in known)}, whose id cannot be read"
        fix = "Let this identity read the Log Analytics workspace."
        return [Check(name, CheckState.UNKNOWN, text, fix)]

    def _freshness(self) -> Sequence[Check]:
        name, lag_s = "freshness", self.asked.max_lag
        if self.facts.endpoint() is None:
            return [Check(name, CheckState.OK, "the endpoint does not exist yet: there is no telemetry to be stale")]
        now = self.clock.now()
        since = now - timedelta(seconds=max(LOOK_BACK * lag_s, 15 * BLOCK_S))
        try:
            samples = self.telemetry.fetch(since, now, block_s=BLOCK_S)
        except TelemetryError as exc:
            return [Check(name, CheckState.FAIL, f"telemetry cannot be read: {exc.message}", exc.hint)]
        newest = max((cell.start for cell in samples.cells), default=None)
        expected = sum(samples.expected.values())
        if newest is None and not expected and samples.complete_until is None and samples.doubt:
            return [Check(name, CheckState.WARN, f"the gate cannot pass: {samples.doubt}", "See to that first.")]
        if newest is None:
            return [self._nothing(expected, now - since)]
        age_s = max((now - newest).total_seconds() - BLOCK_S, 0.0)
        if age_s > lag_s:
            return [self._quiet(samples, newest, age_s)]
        if samples.problem:
            return [Check(name, CheckState.WARN, f"fresh, but: {samples.problem}", "Look into it before you trust it.")]
        if samples.complete_until is None and samples.doubt:
            return [Check(name, CheckState.WARN, f"the gate cannot pass: {samples.doubt}", "See to that first.")]
        return [Check(name, CheckState.OK, f"the newest answers are less than {format_duration(age_s + BLOCK_S)} old")]

    def _quiet(self, samples: Samples, newest: datetime, age_s: float) -> Check:
        """Say whether answers are late or nobody asks: the independent count knows."""
        lag = timedelta(seconds=self.asked.max_lag)
        said = (
            f"the newest answer is {format_duration(age_s)} old, over max_lag ({format_duration(self.asked.max_lag)})"
        )
        if samples.complete_until is None:
            text = f"{said}, and nobody knows whether answers are missing"
            return Check("freshness", CheckState.UNKNOWN, text, "Send some requests, then ask again.")
        expected = sum(samples.expected.values())
        missing = expected - sum(cell.n for cell in samples.cells)
        is_whole = missing <= MISSING * expected
        if is_whole and samples.complete_until >= max(newest, self.clock.now() - lag):
            text = f"{said}, and none is missing: the endpoint had no requests since"
            return Check(
                "freshness", CheckState.WARN, text, "Send requests during the rollout: the gate waits for them."
            )
        text = f"{said}, and Azure counted {missing:,} more" if missing > 0 else said
        fix = "Wait for the pipeline of the logs, send some traffic, or raise gate.telemetry.max_lag."
        return Check("freshness", CheckState.FAIL, text, fix)

    def _nothing(self, expected: int, span: timedelta) -> Check:
        last = format_duration(span.total_seconds())
        if expected:
            text = f"Azure counted {expected:,} requests in the last {last}, and telemetry holds none"
            fix = "Check the diagnostic setting, or app_insights_enabled of the deployments; it takes up to an hour."
            return Check("freshness", CheckState.FAIL, text, fix)
        text = f"no requests in the last {last}: how late telemetry is cannot be seen"
        return Check("freshness", CheckState.UNKNOWN, text, "Send some requests, then ask again.")

    def _component(self) -> Sequence[Check]:
        name, component_id = "sampling", self.asked.app_insights or linked_component(self.facts)
        found = self.facts.resource(component_id, COMPONENTS) if component_id else None
        if found is None:
            text = (
                f"there is no Application Insights component {_last(component_id or '') or 'linked to the workspace'}"
            )
            return [Check(name, CheckState.FAIL, text, "Give gate.telemetry.app_insights its resource id.")]
        held = properties(found)
        share = held.get("SamplingPercentage")
        if share is not None and float(share) < 100:
            text = (
                f"{_last(str(component_id))} keeps {float(share):g}% of the requests: small steps take longer to judge"
            )
            return [Check(name, CheckState.WARN, text, "Set its sampling to 100% while you roll out.")]
        said = f"{_last(str(component_id))} keeps every request"
        cap_gb = self._cap_of(str(component_id))
        if cap_gb is not None and cap_gb <= LOW_CAP_GB:
            text = f"{said}, until {cap_gb:g} GB of the day are full"
            return [Check(name, CheckState.WARN, text, "Raise its daily cap while you roll out.")]
        return [Check(name, CheckState.OK, said if cap_gb is None else f"{said}, daily cap {cap_gb:g} GB")]

    def _cap_of(self, component_id: str) -> float | None:
        """GB a day that the component takes; None: no cap is known."""
        try:
            found = self.facts.resource(f"{component_id}/currentbillingfeatures", BILLING)
        except DeniedError:
            return None  # the check of rights says so
        cap: Mapping[str, Any] = (found or {}).get("DataVolumeCap") or {}
        return float(cap["Cap"]) if cap.get("Cap") is not None else None

    def _cap(self) -> Sequence[Check]:
        name, logs_id = "ingestion", logs_workspace_id(self.facts, self.asked, self.source)
        if logs_id is None:
            text = "which Log Analytics workspace keeps the rows is not known yet, nor its daily cap"
            return [Check(name, CheckState.WARN, text, "Ask again when the diagnostic setting is there.")]
        found = self.facts.resource(logs_id, LOGS)
        if found is None:
            text = f"Log Analytics workspace {_last(logs_id)} does not exist"
            return [Check(name, CheckState.FAIL, text, "Point the setting or the component to one that does.")]
        cap: Mapping[str, Any] = properties(found).get("workspaceCapping") or {}
        state, quota_gb = str(cap.get("dataIngestionStatus", "")), float(cap.get("dailyQuotaGb") or -1)
        if state.lower() in _GONE:
            text = f"{_last(logs_id)} takes no more data today ({state}): the gate is blind"
            return [Check(name, CheckState.FAIL, text, "Raise its daily cap, or wait until it is reset.")]
        if quota_gb > 0:
            text = f"{_last(logs_id)} stops at {quota_gb:g} GB a day; ingestion is {state or 'in no state'}"
            return [Check(name, CheckState.WARN, text, "Leave room for the rollout, or remove the cap.")]
        return [Check(name, CheckState.OK, f"{_last(logs_id)} has no daily cap")]


def linked_component(facts: Facts) -> str | None:
    """Resource id of the workspace's own Application Insights."""
    return properties(facts.workspace()).get("applicationInsights") or None


def logs_workspace_id(facts: Facts, asked: Asked, source: TelemetrySource) -> str | None:
    """Resource id of the Log Analytics workspace that keeps the rows; None: nothing leads to it."""
    if source is TelemetrySource.APP_INSIGHTS:
        component_id = asked.app_insights or linked_component(facts)
        found = facts.resource(component_id, COMPONENTS) if component_id else None
        return properties(found or {}).get("WorkspaceResourceId") or None
    if source is not TelemetrySource.TRAFFIC_LOG or facts.endpoint() is None:
        return None
    targets = [properties(setting).get("workspaceId") for setting in facts.diagnostics() if _sends_traffic(setting)]
    return next((str(target) for target in targets if target), None)


def _sends_traffic(setting: Mapping[str, Any]) -> bool:
    return any(
        log.get("enabled") and (log.get("category") == CATEGORY or str(log.get("categoryGroup")).lower() == "alllogs")
        for log in properties(setting).get("logs") or ()
    )


def _customer_id(facts: Facts, logs_id: str) -> str | None:
    found = facts.resource(logs_id, LOGS) if re.match("/subscriptions/", logs_id, re.IGNORECASE) else None
    customer = properties(found or {}).get("customerId")
    return str(customer).lower() if customer else None


def _last(resource_id: str) -> str:
    return resource_id.rpartition("/")[2]
