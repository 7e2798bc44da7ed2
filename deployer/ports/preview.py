"""Everything that is said of a rollout before it starts. Apart, because the gate's arithmetic is slow to import."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.errors import ExitCode
from deployer.ports.inspection import Check, Forecast
from deployer.rollout.model import Plan
from deployer.rollout.power import StepPower


@dataclass(frozen=True, slots=True)
class Preview:
    """A rollout before it starts."""

    plan: Plan | str
    """Or the name of the deployment that already serves the version."""
    rps: float | None
    powers: tuple[StepPower, ...]
    checks: tuple[Check, ...] = ()
    forecast: Forecast | None = None
    exit_code: ExitCode = ExitCode.OK
    under_way: str | None = None
    """Which rollout is half-way, and what a rollout would do with it."""
    watched_s: float | None = None
    """``rps`` was observed for so long; None: it is the load asked for, or unknown."""
    warnings: tuple[str, ...] = ()
    """In what the manifest departs from what a profile measured."""
