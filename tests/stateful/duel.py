"""Several runs of one endpoint at once, each call of theirs at a random time: a schedule is a seed.

Time is virtual. One thread runs at a time; it gives way in every call, before the reading that the call writes from,
between reading and writing (a lost update, where there is no compare-and-set) and after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from doubles.memory import CAPABILITIES, MemoryPlatform
from doubles.telemetry import ManualClock, MemoryTelemetry

from deployer.engine.effects import Deployable
from deployer.engine.lease import Lease
from deployer.engine.operations import Job, Site
from deployer.engine.probe import Probed
from deployer.errors import DeployerError, ExitCode
from deployer.gate.verdict import Arm, Moment, Result, Verdict
from deployer.manifest.schema import Manifest
from deployer.ports.platform import DeploymentSpec
from deployer.ports.store import Entry
from deployer.rollout.ending import Ended
from deployer.rollout.model import Plan
from deployer.rollout.plan import Version, Wanted

LOOSE = replace(
    CAPABILITIES, compare_and_set=False, poll_s=5.0, beat_s=30.0, stale_after_s=240.0, typical_shift_s=20.0,
    restore_reserve_s=300.0,
)  # fmt: skip
GAP_S = 2.0
"""Longest time between the reading that a write is made from and the write."""
CALL_S = 8.0
"""Longest time of a call besides; most are much shorter."""
NAP_S = 600.0
"""Longest time that a suspended machine sleeps."""
NOBODY = Arm(0, 0, 0, None, None, None)


@dataclass
class Wrote:
    """One traffic map that came into force."""

    by: str
    at: datetime
    traffic: Mapping[str, int]


@dataclass
class Duel:
    """One endpoint with a live stable, and those who act on it."""

    seed: int
    home: Path
    capabilities: Any = LOOSE
    sleepy: float = 0.0
    """Share of the calls before which the machine is suspended."""
    actors: list[Actor] = field(default_factory=list)
    wrote: list[Wrote] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.clock = ManualClock()
        self.platform = MemoryPlatform("digits", self.clock, capabilities=self.capabilities)
        self.platform.ready_after_s = 20.0
        self.platform.ensure_endpoint({})
        self.platform.create_deployment(DeploymentSpec("blue", {}, self.home, "base"))
        self.platform.make_ready("blue")
        self.platform.set_traffic({"blue": 100}, {})
        self.running: Actor | None = None
        self.platform.between = lambda _: self.running.give_way(GAP_S) if self.running else None

    def actor(self, name: str, after_s: float, act: Callable[[Actor], Ended]) -> Actor:
        made = Actor(self, name, self.clock.now() + timedelta(seconds=after_s), act)
        self.actors.append(made)
        return made

    def tagging(self, until_s: float) -> None:
        """Add somebody who knows nothing of rollouts and writes a tag again and again."""

        def act(actor: Actor) -> Ended:
            until = actor.now() + timedelta(seconds=until_s)
            while actor.now() < until:
                actor.set_tags({"owner": f"{actor.now():%M:%S}"})
                actor.sleep(self.random.uniform(0, 6))
            return Ended(ExitCode.OK, "tagged")

        self.actor("tagger", 0, act)

    def run(self) -> None:
        """Let everybody act until all have ended."""
        for actor in self.actors:
            actor.start()
        while waiting := [actor for actor in self.actors if not actor.ended]:
            due = min(actor.due for actor in waiting)
            self.clock.advance(max((due - self.clock.now()).total_seconds(), 0.0))
            ready = [actor for actor in waiting if actor.due <= self.clock.now()]
            self.running = self.random.choice(ready)
            self.running.step()
        self.running = None

    @property
    def traffic(self) -> dict[str, int]:
        view = self.platform.peek()
        assert view is not None
        return dict(view.traffic)

    @property
    def tags(self) -> dict[str, str]:
        view = self.platform.peek()
        assert view is not None
        return dict(view.tags)


class Actor(threading.Thread):
    """One process that acts on the endpoint. It is the platform and the clock that its engine sees."""

    def __init__(self, duel: Duel, name: str, due: datetime, act: Callable[[Actor], Ended]) -> None:
        super().__init__(daemon=True)
        self.duel, self.owner, self.due, self._act = duel, name, due, act
        self.capabilities = duel.capabilities
        self.now = duel.clock.now
        self.ended = False
        self.done: Ended | DeployerError | None = None
        self.bug: BaseException | None = None
        self._turn, self._yielded = threading.Semaphore(0), threading.Semaphore(0)

    # ---- the schedule

    def step(self) -> None:
        self._turn.release()
        self._yielded.acquire()
        if self.bug is not None:
            raise self.bug

    def run(self) -> None:
        self._turn.acquire()
        try:
            self.done = self._act(self)
        except DeployerError as exc:
            self.done = exc
        except BaseException as exc:  # noqa: BLE001 - told to the test
            self.bug = exc
        self.ended = True
        self._yielded.release()

    def give_way(self, most_s: float) -> None:
        self.wait(most_s * self.duel.random.random() ** 3)

    def wait(self, seconds: float) -> None:
        self.due = self.now() + timedelta(seconds=seconds)
        self._yielded.release()
        self._turn.acquire()

    # ---- what the engine sees

    def sleep(self, seconds: float) -> None:
        self.wait(max(seconds, 0.001))

    def set_traffic(self, traffic: Mapping[str, int], mirror: Mapping[str, int], **options: Any) -> None:
        with self._call():
            self.duel.platform.set_traffic(traffic, mirror, **options)
            self.duel.wrote.append(Wrote(self.owner, self.now(), dict(traffic)))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        target = getattr(self.duel.platform, name)

        def call(*args: Any, **options: Any) -> Any:
            with self._call():
                return target(*args, **options)

        return call

    @contextmanager
    def _call(self) -> Iterator[None]:
        if self.duel.random.random() < self.duel.sleepy:
            self.wait(self.duel.random.uniform(0, NAP_S))
        self.give_way(CALL_S / 2)
        yield
        self.give_way(CALL_S / 2)

    # ---- its side of the engine

    def site(self) -> Site:
        return _Site(
            "digits",
            self,  # type: ignore[arg-type] - the rest of its calls goes through ``__getattr__``
            MemoryTelemetry(self.duel.clock),
            _Journal(),
            self,
            self.owner,
            lambda: None,
        )

    def job(self, digest: str, result: Result = Result.PASS) -> Job:
        """A specification that the gate always answers with ``result``."""
        manifest = Manifest.model_validate(
            {
                "version": 1,
                "name": "digits",
                "platform": "local",
                "endpoint": {"name": "digits"},
                "deployment": {},
                "slo": {"error_rate": "5%"},
                "strategy": {
                    "canary": {"steps": [20, 50], "each": {"min": "5s", "max": "60s"}, "bake": "20s"},
                    "deadline": "2h",
                },
                "gate": {"look": "10s", "min_requests": 10},
            }
        )
        wanted = Wanted(manifest, "digits", Version(None, digest), None, f"spec-{digest}", 120.0)

        def judge(_: object, moment: Moment) -> Verdict:
            return Verdict(result, result.value, (), NOBODY, NOBODY, moment.now, moment.now, moment.looks + 1)

        def deployable(plan: Plan) -> Deployable:
            version = DeploymentSpec(plan.candidate, {}, self.duel.home, digest)
            return Deployable({plan.candidate: version}, {}, judge, 1.0, lambda *_: "")

        return Job(wanted, {"name": "digits"}, deployable, _Probe(), None)


class _Site(Site):
    def lease(self) -> Lease:
        return Lease(self.platform, self.clock, f"{self.actor}/1/1")


class _Journal:
    """The journal of one machine, in memory."""

    def __init__(self) -> None:
        self._entries: dict[str, list[Entry]] = {}

    def append(self, rollout_id: str, entry: Entry) -> None:
        self._entries.setdefault(rollout_id, []).append(entry)

    def read(self, rollout_id: str) -> list[Entry]:
        return self._entries.get(rollout_id, [])

    def rollouts(self) -> list[str]:
        return list(self._entries)

    def keep(self, rollout_id: str, name: str, content: bytes) -> None:
        pass

    def kept(self, rollout_id: str, name: str) -> bytes | None:
        return None


class _Probe:
    def smoke(self, name: str) -> Probed:
        return Probed(True, name)

    def warm_up(self, name: str, *, instances: int, workers: int) -> Probed:
        return Probed(True, f"{name} {instances} {workers}")
