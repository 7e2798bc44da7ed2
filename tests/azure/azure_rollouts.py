"""A rollout on Azure: the real engine, adapter and azure-core, and a service underneath that misbehaves.

Users, telemetry and processes that are killed are those of ``stateful.world``; the platform is Azure's. Everything that
traffic ever was is kept, with what the deployments were at that moment. Time is a manual clock: waiting costs nothing.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from faulty_wire import WRITES, Call, FaultyTransport
from stateful.world import Behaviour, World

from deployer.cloud.arm import Arm
from deployer.engine.effects import Deployable
from deployer.engine.operations import Job
from deployer.errors import DeployerError
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from deployer.rollout.ending import Ended
from deployer.rollout.model import Plan
from tests.doubles.arm_service import Azure as InMemory
from tests.doubles.arm_service import Compiler, Service, ServiceTransport

QUICK = {"canary": {"steps": [20], "each": {"min": "5s", "max": "2m"}, "bake": "5s"}, "deadline": "3h"}
SECRETS = ("the-key", "the-token", "sig=SECRET", "Bearer ")


@dataclass(frozen=True, slots=True)
class Moment:
    """What was in force from ``at`` on."""

    at: datetime
    traffic: dict[str, int]
    mirror: dict[str, int]
    states: dict[str, str]
    """Provisioning state by deployment."""
    capacity: dict[str, int]
    call: int
    """Number of the call after which it was seen."""


@dataclass
class AzureWorld(World):
    """A world whose platform is an Azure endpoint with a stable, ``blue``, that has all traffic."""

    kind: str = "managed"
    strategy: dict[str, Any] = field(default_factory=lambda: QUICK)
    gate: dict[str, Any] = field(default_factory=lambda: {"look": "5s", "min_requests": 50, "warm_up": "0s"})
    baseline: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wire = FaultyTransport(self.set_up())
        self.history: list[Moment] = []
        self.said = io.StringIO()
        self.operator: dict[int, Callable[[AzureWorld], None]] = {}
        """What a person in the portal does after which call."""
        self.edited: list[int] = []
        self.retagged = False
        self.watch()

    # ---- which service it is

    def set_up(self) -> Any:
        """Make the service with its endpoint; return a transport that leads there."""
        self.service = Service(clock=self.clock)
        self.azure = InMemory(self.service)
        self.service.create(traffic={"blue": 100}, tags={"team": "ml"})
        self.service.add("blue", capacity=3, digest="base")
        return ServiceTransport(self.service)

    def parts(self) -> dict[str, Any]:
        """What a platform of a new process is made of."""
        parts = self.azure.parts()
        arm = Arm(self.azure.cloud, self.azure.tokens, self.clock, transport=self.wire)
        return parts | {"arm": arm, "assets": Compiler()}

    def plan_faults(self, faults: Mapping[int, str]) -> None:
        """Let these strike, by number of the call in this process."""
        self.wire.faults = dict(faults)

    @property
    def endpoint(self) -> dict[str, Any]:
        """The endpoint's document as it is."""
        self.service._pass_time()
        return self.service.endpoint or {"properties": {}, "tags": {}}

    @property
    def deployments(self) -> dict[str, dict[str, Any]]:
        """Its deployments' documents as they are, by name."""
        return self.service.deployments

    def heal(self) -> None:
        """Nothing goes wrong any more."""

    def sent(self) -> Iterator[tuple[str, str, Any]]:
        """Method, path and body of everything this process sent."""
        yield from ((call.method, call.path, call.body) for call in self.wire.calls)

    # ---- a process and its end

    def revive(self) -> None:
        """A new process: adapter and journal hold nothing of the old one."""
        super().revive()
        self.wire = FaultyTransport(self.wire.inner)
        self.wire.before, self.wire.after = self._before, self._after
        made = ManagedPlatform if self.kind == "managed" else KubernetesPlatform
        self.platform: Any = made("digits", **self.parts())

    def _before(self, _call: Call) -> None:
        self.check_alive()

    def _after(self, call: Call) -> None:
        self.watch()
        if (edit := self.operator.pop(call.number, None)) is not None:
            edit(self)
            self.edited.append(call.number)
            self.watch()

    def run(
        self, rollout_id: str = "r1", *, faults: dict[int, str] | None = None, **options: Any
    ) -> Ended | DeployerError:
        """Roll out in a new process; an error of deployer's is an answer too."""
        return self._as_process(lambda: self.roll_out(rollout_id, **options), faults)

    def _as_process(self, work: Callable[[], Ended], faults: dict[int, str] | None) -> Ended | DeployerError:
        planned, revive = dict(faults or {}), self.revive

        def revived() -> None:
            revive()
            self.plan_faults(planned)

        self.revive = revived  # type: ignore[method-assign]
        with contextlib.redirect_stdout(self.said), contextlib.redirect_stderr(self.said):
            try:
                return work()
            except DeployerError as exc:
                return exc
            finally:
                self.revive = revive  # type: ignore[method-assign]

    def job(self) -> Job:
        """The same for a platform that answers slower."""
        job = super().job()

        def deployable(plan: Plan) -> Deployable:
            made = job.deployable(plan)
            versions = {name: replace(each, document={"instance_count": 3}) for name, each in made.versions.items()}
            return replace(made, versions=versions)

        return replace(job, deployable=deployable, endpoint_document={"name": "digits"})

    # ---- what is so, without a call

    def traffic(self) -> dict[str, int]:
        return _shares(self.endpoint, "traffic")

    def live_digest(self) -> str | None:
        live = [name for name, share in self.traffic().items() if share == 100]
        found = self.deployments.get(live[0]) if live else None
        return found["tags"].get("deployer.digest") if found else None

    def behaviour(self, name: str) -> Behaviour:
        found = self.deployments.get(name)
        return self.candidate if found and found["tags"].get("deployer.digest") == self.digest else self.stable

    def pass_time(self, now: datetime, seconds: float) -> None:
        self.watch()
        for shares, mirrored in ((self.traffic(), False), (_shares(self.endpoint, "mirrorTraffic"), True)):
            for name, share in shares.items():
                n = self._whole(f"{name}{mirrored}", self.rps * seconds * share / 100)
                if n:
                    self._answer(now, name, n, mirrored=mirrored)

    def watch(self) -> None:
        """Keep what is in force when it differs from before."""
        document, there = self.endpoint, self.deployments
        now = Moment(
            at=self.clock.now(),
            traffic=_shares(document, "traffic"),
            mirror=_shares(document, "mirrorTraffic"),
            states={name: each["properties"]["provisioningState"] for name, each in there.items()},
            capacity={name: each["sku"]["capacity"] for name, each in there.items()},
            call=len(self.wire.calls),
        )
        last = self.history[-1] if self.history else None
        if last is None or replace(now, at=last.at, call=last.call) != last:
            self.history.append(now)

    def told(self) -> Iterator[str]:
        """Everything that left the process: output, notes, journal, and what was written to Azure."""
        yield self.said.getvalue()
        yield from self.notes
        for path in (self.home / "journal").rglob("*"):
            if path.is_file():
                yield path.read_text(errors="replace")
        for method, _, body in self.sent():
            if method in WRITES:
                yield str(body)
        yield str(self.endpoint.get("tags"))


def _shares(document: dict[str, Any], key: str) -> dict[str, int]:
    return {name: share for name, share in (document["properties"].get(key) or {}).items() if share}


def fresh(home: Path, *, bad: bool = False, **over: Any) -> AzureWorld:
    """A world for a rollout of some 140 calls, with one step."""
    behaviour = Behaviour(error_share=0.5) if bad else Behaviour()
    made = AzureWorld(home, strategy=QUICK, candidate=behaviour, **over)
    made.gate["min_requests"] = 10
    made.service.deploys_s, made.service.takes_s = 20.0, 12.0
    return made


@cache
def undisturbed(*, bad: bool = False) -> tuple[Call, ...]:
    """The calls of a rollout that nothing happens to."""
    with tempfile.TemporaryDirectory() as home:
        world = fresh(Path(home), bad=bad)
        world.run()
        return tuple(world.wire.calls)
