"""A rollout's script: what is observed, which action must follow, which event comes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from deployer.gate.verdict import Arm, Result, Verdict
from deployer.manifest.schema import Gate, Manifest
from deployer.rollout.actions import Action, Record, Restore
from deployer.rollout.decide import decide
from deployer.rollout.endpoint import Capabilities, Deployment, DeploymentState, Endpoint
from deployer.rollout.events import Event, Reverted, Shifted, Started
from deployer.rollout.machine import begin, evolve
from deployer.rollout.model import Observed, Plan, Request, RequestKind, Rollout
from deployer.rollout.plan import Version, Wanted, compile_plan

T0 = datetime(2026, 1, 1, tzinfo=UTC)
LOCAL = Capabilities(
    platform="local",
    mirror=True,
    mirror_max_pct=50,
    max_deployments=20,
    compare_and_set=True,
    typical_shift_s=0.1,
    restore_reserve_s=20.0,
    poll_s=0.5,
    beat_s=10.0,
    stale_after_s=45.0,
    typical_deploy_s=0.0,
    autoscaling=False,
)
ARM = Arm(100, 0, 0, 5.0, 9.0, 12.0)


def manifest(strategy: dict[str, Any] | None = None, **over: Any) -> Manifest:
    document: dict[str, Any] = {
        "version": 1,
        "name": "digits",
        "platform": "local",
        "endpoint": {"name": "digits"},
        "deployment": {},
        "slo": {"error_rate": "1%"},
        "strategy": strategy or {"canary": {"steps": [20, 50], "each": {"min": "5s", "max": "60s"}, "bake": "10s"}},
        "gate": {"look": "1s", "min_requests": 10},
    }
    return Manifest.model_validate(document | over)


def wanted(
    strategy: dict[str, Any] | None = None, *, name: str | None = None, baseline: bool = False, **over: Any
) -> Wanted:
    return Wanted(
        manifest=manifest(strategy, **over),
        endpoint="digits",
        candidate=Version(name, "new"),
        baseline=Version(None, "base") if baseline else None,
        digest="spec",
        deploy_s=30.0,
    )


def deployment(
    name: str, digest: str | None, state: DeploymentState = DeploymentState.READY, **over: Any
) -> Deployment:
    ready = 1 if state in (DeploymentState.READY, DeploymentState.DEGRADED) else 0
    return replace(Deployment(name, state, digest, ready, 1), **over)


def endpoint(traffic: dict[str, int] | None = None, *deployments: Deployment, **over: Any) -> Endpoint:
    found = {d.name: d for d in (deployments or (deployment("blue", "old"),))}
    shape = Endpoint(
        "digits", "uid-1", "http://127.0.0.1:1/score", {"blue": 100} if traffic is None else traffic, {}, found
    )
    return replace(shape, **over)


def plan(strategy: dict[str, Any] | None = None, at: Endpoint | None = None, **over: Any) -> Plan:
    compiled = compile_plan(wanted(strategy), at or endpoint(), LOCAL, rollout_id="r1")
    return replace(compiled, **over)


def verdict(result: Result, text: str = "because", at: datetime = T0) -> Verdict:
    return Verdict(result, text, (), ARM, ARM, at, at, 1)


class Playbook:
    """Drives one rollout by hand, on a clock that only moves when told."""

    def __init__(self, start: Plan | Rollout, at: Endpoint | None = None) -> None:
        self.now = T0
        self.state = begin(Started(start), self.now) if isinstance(start, Plan) else start
        self.endpoint: Endpoint | None = at or endpoint()
        self.request: Request | None = None
        self.signal: str | None = None

    def after(self, seconds: float) -> Playbook:
        self.now += timedelta(seconds=seconds)
        return self

    def sees(self, at: Endpoint | None) -> Playbook:
        self.endpoint = at
        return self

    def asked(self, kind: RequestKind, reason: str = "") -> Playbook:
        self.request = Request(kind, "ann", reason)
        return self

    def next(self) -> Action:
        return decide(self.state, Observed(self.endpoint, self.request, self.signal), self.now)

    def expect(self, action: Action | type[Any]) -> Playbook:
        got = self.next()
        matches = isinstance(got, action) if isinstance(action, type) else got == action
        assert matches, f"in {self.state.phase.value} at +{(self.now - T0).total_seconds():g}s: {got}, not {action}"
        if isinstance(got, Record):
            self.then(got.event)
        return self

    def records(self, event: type[Any]) -> Playbook:
        got = self.next()
        assert isinstance(got, Record), f"in {self.state.phase.value}: {got}"
        assert isinstance(got.event, event), f"in {self.state.phase.value}: {got.event}, not {event.__name__}"
        return self.then(got.event)

    def restores(self) -> Playbook:
        """The traffic of before is written, or proven to be there."""
        return self.expect(Restore).then(Reverted("traffic verified"))

    def then(self, *events: Event) -> Playbook:
        for event in events:
            self.state = evolve(self.state, event, self.now)
            if isinstance(event, Shifted) and self.endpoint is not None:
                traffic = self.state.plan.traffic(event.weight_pct)
                self.endpoint = replace(self.endpoint, traffic=traffic, mirror=self.state.plan.mirror(event.mirror_pct))
        self.request = None
        return self


def default_gate() -> Gate:
    return Gate()
