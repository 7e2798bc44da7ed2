"""A whole world in memory: users, two versions, a platform, telemetry and a process that can be killed.

Time passes only when the engine sleeps; meanwhile users are answered by whoever has traffic. Killing the process makes
every later call of the same run raise ``Killed``, as if nothing of it ran any more: no clean-up, no last write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from doubles.memory import CAPABILITIES, MemoryPlatform
from doubles.simple_gate import judge
from doubles.telemetry import ManualClock, MemoryTelemetry

from deployer.engine.effects import Deployable
from deployer.engine.operations import Job, Site, ask, roll_out
from deployer.engine.probe import Probed
from deployer.engine.recover import Recovered, recover
from deployer.engine.rollback import roll_back
from deployer.errors import StoreError
from deployer.gate.record import Record
from deployer.manifest.schema import Manifest
from deployer.ports.platform import Capabilities, DeploymentSpec
from deployer.ports.store import Entry
from deployer.report.listeners import Quiet
from deployer.rollout.ending import Ended
from deployer.rollout.model import Plan, Request, RequestKind
from deployer.rollout.plan import Version, Wanted
from deployer.stores.file import FileJournal

DEFAULT = {"canary": {"steps": [20, 50], "each": {"min": "5s", "max": "40s"}, "bake": "10s"}, "deadline": "10m"}
RPS = 40


class Killed(BaseException):
    """The process is gone; nobody catches this."""


@dataclass
class Behaviour:
    """How a version answers users and probes."""

    error_share: float = 0.0
    ms: int = 8
    smoke: bool = True
    warm: bool = True
    starts: bool = True


@dataclass
class World:
    """Everything outside the engine."""

    home: Path
    strategy: dict[str, Any] = field(default_factory=lambda: DEFAULT)
    candidate: Behaviour = field(default_factory=Behaviour)
    stable: Behaviour = field(default_factory=Behaviour)
    digest: str = "new"
    baseline: bool = True
    gate: dict[str, Any] = field(default_factory=lambda: {"look": "1s", "min_requests": 50, "warm_up": "0s"})
    rps: int = RPS
    instances: dict[str, int] = field(default_factory=dict)
    """What each version's document asks for, by digest."""
    deploy_s: float = 30.0
    capabilities: Capabilities = CAPABILITIES
    over: dict[str, Any] = field(default_factory=dict)
    at: dict[float, Callable[[World], None]] = field(default_factory=dict)
    """What happens at which second since the start, once."""

    def __post_init__(self) -> None:
        self.clock = _Clock(self)
        self.platform = MemoryPlatform("digits", self.clock, capabilities=self.capabilities)
        self.platform.ready_after_s = 2.0
        self.telemetry = MemoryTelemetry(self.clock)
        self.started = self.clock.now()
        self.signal: str | None = None
        self.killed = False
        self.carry: dict[str, float] = {}
        self.journal = _Journal(self)
        self.answered: dict[str, int] = {}
        self.notes: list[str] = []

    # ---- the engine's side

    def site(self) -> Site:
        return Site("digits", self.platform, self.telemetry, self.journal, self.clock, "ann@here", lambda: self.signal)

    def manifest(self) -> Manifest:
        document = {
            "version": 1,
            "name": "digits",
            "platform": "local",
            "endpoint": {"name": "digits"},
            "deployment": {},
            "slo": {"latency": {"p95": "200ms"}, "error_rate": "5%"},
            "strategy": self.strategy,
            "gate": self.gate,
            "warmup": {"request": "a.json"},
            "smoke": [{"request": "a.json"}],
        }
        return Manifest.model_validate(document | self.over)

    def job(self) -> Job:
        manifest = self.manifest()
        wanted = Wanted(
            manifest=manifest,
            endpoint="digits",
            candidate=Version(None, self.digest),
            baseline=Version(None, "base", self.instances.get("base", 1)) if self.baseline else None,
            digest=f"spec-{self.digest}",
            deploy_s=self.deploy_s,
        )

        def deployable(plan: Plan) -> Deployable:
            versions = {plan.candidate: self.version(plan.candidate, self.digest)}
            if plan.baseline and plan.stable:
                versions[plan.stable] = self.version(plan.stable, "base")
            slo, gate = manifest.slo, manifest.gate
            return Deployable(
                versions,
                {},
                lambda samples, moment: judge(samples, slo, gate, moment),
                1.0,
                lambda samples, moment, verdict: Record(samples, slo, gate, moment, verdict).to_json(),
            )

        return Job(wanted, {"name": "digits"}, deployable, _Probe(self), None)

    def version(self, name: str, digest: str) -> DeploymentSpec:
        return DeploymentSpec(name, {"instance_count": self.instances.get(digest, 1)}, self.home, digest)

    def roll_out(self, rollout_id: str = "r1", **options: Any) -> Ended:
        """Run a new process that rolls out."""
        self.revive()
        return roll_out(self.site(), self.job(), _Notes(self), rollout_id=rollout_id, **options)

    def ask(self, kind: RequestKind, *, with_manifest: bool = True) -> Ended:
        self.revive()
        return ask(self.site(), Request(kind, "bob@there"), self.job() if with_manifest else None, _Notes(self))

    def roll_back(self, to: str | None = None, *, force: bool = False) -> Ended:
        self.revive()
        return roll_back(self.site(), _Notes(self), to=to, reason="by hand", force=force)

    def recover(self, *, with_manifest: bool = False) -> Recovered:
        self.revive()
        return recover(self.site(), self.job() if with_manifest else None, _Notes(self))

    # ---- faults

    def kill(self) -> None:
        """The process dies now, wherever it is."""
        self.killed = True
        raise Killed

    def revive(self) -> None:
        """A new process: what died stays dead, what it wrote is there."""
        self.killed = False
        self.journal = _Journal(self)

    def check_alive(self) -> None:
        if self.killed:
            raise Killed

    # ---- users

    def behaviour(self, name: str) -> Behaviour:
        view = self.platform.peek()
        found = view.deployments.get(name) if view else None
        return self.candidate if found is not None and found.digest == self.digest else self.stable

    def pass_time(self, now: datetime, seconds: float) -> None:
        """Users are answered while ``seconds`` pass."""
        view = self.platform.peek()
        if view is None:
            return
        for shares, mirrored in ((view.traffic, False), (view.mirror, True)):
            for name, share in shares.items():
                n = self._whole(f"{name}{mirrored}", self.rps * seconds * share / 100)
                if n:
                    self._answer(now, name, n, mirrored=mirrored)

    def _answer(self, now: datetime, name: str, n: int, *, mirrored: bool) -> None:
        behaviour = self.behaviour(name)
        bad = self._whole(f"bad {name}", n * behaviour.error_share)
        if n - bad > 0:
            self.telemetry.answer(now, name, ms=behaviour.ms, n=n - bad, mirrored=mirrored)
        if bad:
            self.telemetry.answer(now, name, code=424, ms=2, n=bad, mirrored=mirrored)
        if not mirrored:
            self.answered[name] = self.answered.get(name, 0) + n

    def _whole(self, key: str, amount: float) -> int:
        self.carry[key] = self.carry.get(key, 0.0) + amount
        whole = int(self.carry[key])
        self.carry[key] -= whole
        return whole

    # ---- what is asked of the end

    def traffic(self) -> dict[str, int]:
        view = self.platform.peek()
        return dict(view.traffic) if view else {}

    def live_digest(self) -> str | None:
        view = self.platform.peek()
        live = [name for name, share in self.traffic().items() if share == 100]
        return view.deployments[live[0]].digest if view and live else None

    def weights(self, digest: str) -> list[int]:
        """Every live weight that the version had, in order (0 where it had none)."""
        names = {"new": "green", "base": "blue"}
        return [write.traffic.get(names.get(digest, digest), 0) for write in self.platform.writes]


class _Clock(ManualClock):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def sleep(self, seconds: float) -> None:
        left = max(seconds, 0.001)
        while left > 1e-9:
            self._world.check_alive()
            step = min(left, 0.25)
            self._world.pass_time(self.now(), step)
            self.advance(step)
            left -= step
            elapsed = (self.now() - self._world.started).total_seconds()
            for due in sorted(second for second in self._world.at if second <= elapsed):
                self._world.at.pop(due)(self._world)


class _Journal(FileJournal):
    """The real journal on a disk that can be full, of a process that can be dead."""

    full = False

    def __init__(self, world: World) -> None:
        super().__init__(world.home / "journal")
        self._world = world

    def append(self, rollout_id: str, entry: Entry) -> None:
        self._world.check_alive()
        if _Journal.full:
            raise StoreError("cannot write the journal: No space left on device", hint="Free disk space.")
        super().append(rollout_id, entry)


class _Probe:
    def __init__(self, world: World) -> None:
        self._world = world

    def smoke(self, name: str) -> Probed:
        self._world.check_alive()
        passed = self._world.behaviour(name).smoke
        return Probed(passed, "1 answered as expected" if passed else "expected 200, got 424")

    def warm_up(self, name: str, *, instances: int, workers: int) -> Probed:
        self._world.check_alive()
        return Probed(self._world.behaviour(name).warm, f"{instances * workers} requests")


class _Notes(Quiet):
    def __init__(self, world: World) -> None:
        self._world = world

    def on_note(self, text: str) -> None:
        self._world.notes.append(text)
