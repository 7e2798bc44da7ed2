"""What a command acts on: an endpoint with everything that reaches it, and a specification made ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.engine.effects import Deployable
from deployer.engine.lease import Lease
from deployer.engine.probe import Probe
from deployer.engine.rate import Rate
from deployer.engine.synthetic_load import WantedLoad
from deployer.errors import UsageError
from deployer.ports.clock import Clock
from deployer.ports.platform import Platform
from deployer.ports.store import Journal
from deployer.ports.telemetry import Telemetry
from deployer.rollout.model import Plan
from deployer.rollout.plan import Wanted


class Notes:
    """Where a platform's own notes go, such as the progress of an upload: to who listens to the command under way."""

    def __init__(self) -> None:
        self._to: Callable[[str], None] = _ignore

    def lead(self, to: Callable[[str], None]) -> None:
        """Send what follows to ``to``, which is called from any thread."""
        self._to = to

    def __call__(self, text: str) -> None:
        """Pass ``text`` on."""
        self._to(text)


def _ignore(_text: str) -> None:
    """Nobody listens yet."""


@dataclass(frozen=True, slots=True)
class Site:
    """One endpoint with everything that reaches it."""

    endpoint: str
    platform: Platform
    telemetry: Telemetry
    journal: Journal
    clock: Clock
    actor: str
    """Who acts, for the journal: ``user@host``, or the CI run."""
    signal: Callable[[], str | None]
    """Name of the signal this process was sent, if any."""
    notes: Notes = field(default_factory=Notes)
    """What the platform has to say beside its answers."""
    heartbeat_s: float | None = None
    """How often a thread renews the lease during one long action; None: no thread (tests)."""

    def lease(self) -> Lease:
        """A lease of the endpoint, not taken yet."""
        return Lease(self.platform, self.clock, heartbeat_s=self.heartbeat_s)


def no_endpoint(site: Site, make: str = "") -> UsageError:
    """The error of a command about an endpoint that does not exist; ``make`` says how to get one."""
    is_local = site.platform.capabilities.platform == "local"
    where = "deployer local status lists them" if is_local else "and the workspace it is looked for in"
    if make:
        return UsageError(f"there is no endpoint {site.endpoint}", hint=make)
    return UsageError(f"there is no endpoint {site.endpoint}", hint=f"Check the name{':' if is_local else ''} {where}.")


@dataclass(frozen=True, slots=True)
class Job:
    """A specification made ready for the engine."""

    wanted: Wanted
    endpoint_document: Mapping[str, Any]
    deployable: Callable[[Plan], Deployable]
    probe: Probe
    load: WantedLoad | None
    manifest: str | None = None
    """Absolute path it was read from."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    """The user's tags for the endpoint."""
    check: Callable[[Plan], None] = lambda _: None
    """Raises PlanError for a plan that could never be decided at the known rate."""
    specification: Callable[[Plan], Mapping[str, Any]] = lambda _: {}
    """What a plan deploys, JSON-able and without secrets: ``candidate``, ``stable`` where it is known, ``cost``."""
    traffic: Callable[[], Rate | None] = lambda: None
    """Reads what the endpoint answered lately."""

    @property
    def observed(self) -> Rate | None:
        """What the endpoint answered lately, when no load is asked for and telemetry tells."""
        return None if self.load else self.traffic()

    @property
    def rps(self) -> float | None:
        """Requests a second that the endpoint will get, when known: the load asked for, else what was observed."""
        if self.load is not None:
            return self.load.rps
        return self.observed.rps if self.observed else None
