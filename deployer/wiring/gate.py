"""The gate beside a rollout: on recorded traffic, on simulated traffic, and before a plan is carried out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer.engine.site import Job
from deployer.errors import PlanError
from deployer.gate.backtest import Outcome
from deployer.manifest.load import RolloutSpec
from deployer.manifest.schema import Manifest, OnInconclusive, PlatformType, TelemetrySource
from deployer.platforms.inspection.telemetry import LEAST_LAG_S
from deployer.rollout.model import Plan
from deployer.rollout.power import StepPower, power_of
from deployer.telemetry.trace import replay_trace, run_simulation
from deployer.wiring.checks import load

LOCAL_MS = 5.0
"""Median latency taken for the local platform: its models answer in milliseconds."""


def backtest(manifest: Path, telemetry: Path, *, stable: str, candidate: str, every_s: float) -> Outcome:
    """Replay recorded requests through the gate of ``manifest``."""
    spec = load(manifest).manifest
    least_s = spec.strategy.canary.each.min if spec.strategy.canary else 0.0
    return replay_trace(
        spec.slo, spec.gate, telemetry, stable=stable, candidate=candidate, every_s=every_s, least_s=least_s
    )


def simulate(manifest: Path, *, rps: float, weight_pct: int, duration_s: float, runs: int, seed: int) -> dict[str, Any]:
    """Simulate the gate of ``manifest`` at a rate of requests."""
    spec = load(manifest).manifest
    return run_simulation(
        spec.slo, spec.gate, rps=rps, weight_pct=weight_pct, duration_s=duration_s, runs=runs, seed=seed
    )


def step_powers(spec: RolloutSpec, job: Job, plan: Plan | str) -> tuple[StepPower, ...]:
    """Say what the gate can decide at each step; empty when the rate is unknown or there is nothing to decide.

    Raises:
        PlanError: it can decide nothing, whatever the rate.
    """
    manifest = spec.manifest
    if isinstance(plan, str) or plan.skip_gate is not None:
        return ()
    _refuse_unprovable(manifest)
    rps = job.rps
    if rps is None:
        return ()
    typical_ms = job.observed.median_ms if job.observed else None
    if typical_ms is None and manifest.platform.type is PlatformType.LOCAL:
        typical_ms = LOCAL_MS
    lag_s = 0.0 if manifest.platform.type is PlatformType.LOCAL else LEAST_LAG_S
    return power_of(plan, manifest.slo, manifest.gate, rps, typical_ms=typical_ms, lag_s=lag_s)


def _refuse_unprovable(manifest: Manifest) -> None:
    """Refuse a manifest without telemetry, where what remains can stop a rollout and never pass a step.

    Who asks for metrics by name is told by a check of the surroundings; who has steps paused promotes by hand.

    Raises:
        PlanError: says what to write.
    """
    if manifest.platform.type is PlatformType.LOCAL or manifest.strategy.on_inconclusive is OnInconclusive.PAUSE:
        return
    from deployer.wiring.azure import source_of  # noqa: PLC0415 - what is not used is not imported

    asked = manifest.gate.telemetry
    if asked.source is None and source_of(manifest.platform.type, asked) is TelemetrySource.METRICS:
        raise PlanError(
            "no step could pass: without gate.telemetry the gate reads Azure Monitor metrics, averages of minutes that "
            "prove no version good, and every rollout would end as inconclusive",
            hint="Write gate.telemetry.log_analytics_workspace_id (the endpoint's AmlOnlineEndpointTrafficLog is sent "
            "there) or gate.telemetry.app_insights, or strategy.on_inconclusive: pause to promote by hand.",
        )
