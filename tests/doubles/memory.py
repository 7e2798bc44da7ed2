"""A platform in memory: the same semantics as the real ones, no processes, time by the clock it is given.

It passes ``contract/platform_contract.py`` like every platform. What a test can do to it and to no real one: decide
when a deployment is ready or fails, let calls fail before or after their effect, let reads be stale, and change things
behind deployer's back as a person in the portal would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle

from deployer.errors import ConflictError, NotFoundError, NotReadyError, PlatformError, QuotaExceededError
from deployer.ports.clock import Clock
from deployer.ports.platform import (
    Capabilities,
    Deployment,
    DeploymentSpec,
    DeploymentState,
    Endpoint,
    ScoringTarget,
    Traffic,
)

CAPABILITIES = Capabilities(
    platform="memory",
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
)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Deployed:
    digest: str | None
    instances: int
    created_at: datetime
    ready_at: datetime
    failure: str | None = None
    serving: int = 0
    """Instances that answer until all are ready."""
    leaves_at: datetime | None = None
    """When it is gone, once it is being deleted."""


@dataclass(frozen=True, slots=True)
class Write:
    """One change of the traffic map, whoever made it."""

    at: datetime
    traffic: Traffic
    mirror: Traffic


class MemoryPlatform:
    """One endpoint in memory.

    Attributes:
        leaving_s: how long a deletion takes, which nothing stops once it was asked for.
        ready_after_s: how long a deployment that is created from now on takes to become ready.
        behind: for how long after a change every other ``observe`` still answers what held before it.
        stale_reads: how many of the next ``observe`` calls still answer what held before the last change.
        before, after: called with the call's name before and after its effect; what they raise comes out of the call.
        between: called with ``set_tags`` or ``set_traffic`` between the reading that it writes from and the write.
        autoscaled: autoscale rules by deployment; ``held``: fewest instances that a deployment is held at.
        calls: names of all calls, in order; ``writes``: all traffic maps that were ever in force.
    """

    def __init__(self, name: str, clock: Clock, *, capabilities: Capabilities = CAPABILITIES) -> None:
        self.name = name
        self.ready_after_s = 0.0
        self.leaving_s = 0.0
        self.stale_reads = 0
        self.behind = timedelta(0)
        self._changed_at: datetime | None = None
        self._flips = cycle((True, False))
        self.before: Callable[[str], None] = lambda _call: None
        self.after: Callable[[str], None] = lambda _call: None
        self.between: Callable[[str], None] = lambda _call: None
        self.calls: list[str] = []
        self.writes: list[Write] = []
        self.autoscaled: dict[str, str] = {}
        self.held: dict[str, int] = {}
        self._clock = clock
        self._capabilities = capabilities
        self._uid = 0
        self._exists = False
        self._tags: dict[str, str] = {}
        self._traffic: dict[str, int] = {}
        self._mirror: dict[str, int] = {}
        self._deployed: dict[str, _Deployed] = {}
        self._recorded: dict[str, DeploymentSpec] = {}
        self._failing: dict[str, str] = {}
        self._stale: Endpoint | None = None

    # What the port promises.

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def observe(self, *, why: bool = True) -> Endpoint | None:
        with self._call("observe"):
            if self.stale_reads > 0:
                self.stale_reads -= 1
                return self._stale
            is_behind = self._changed_at is not None and self._clock.now() < self._changed_at + self.behind
            return self._stale if is_behind and next(self._flips) else self.peek()

    def ensure_endpoint(self, document: Mapping[str, object]) -> None:
        with self._call("ensure_endpoint"), self._change():
            if not self._exists:
                self._uid += 1
                self._exists = True
                self._tags = dict(document.get("tags") or {})

    def create_deployment(self, spec: DeploymentSpec) -> None:
        with self._call("create_deployment"), self._change():
            self._require()
            self._await_gone(spec.name)
            self._check_name_free(spec.name, spec.digest)
            self._recorded[spec.digest] = spec
            self._start(spec.name, spec)

    def recreate_deployment(self, name: str, digest: str) -> None:
        with self._call("recreate_deployment"), self._change():
            self._require()
            self._await_gone(name)
            self._check_name_free(name, digest)
            if digest not in self._recorded:
                raise NotFoundError(f"nothing is recorded of {digest}", hint="Deploy it from its manifest.")
            self._start(name, self._recorded[digest])

    def set_traffic(
        self,
        traffic: Traffic,
        mirror: Traffic,
        *,
        expect: Mapping[str, str | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        force: bool = False,
    ) -> None:
        with self._call("set_traffic"), self._change():
            self._require()
            self._check_tags(expect)
            live = {name: percent for name, percent in traffic.items() if percent}
            copied = {name: percent for name, percent in mirror.items() if percent}
            self._check_split(live, copied)
            for name in [*live, *copied]:
                if not self._view(name, self._get(name)).instances_ready and not force:
                    raise NotReadyError(f"{name} has no ready instance", hint="Wait.")
            self._put_tags(tags or {}, "set_traffic")
            self._put_traffic(live, copied)

    def set_tags(self, tags: Mapping[str, str | None], *, expect: Mapping[str, str | None] | None = None) -> None:
        with self._call("set_tags"), self._change():
            self._require()
            if any(not key or len(key) > 256 or len(value or "") > 256 for key, value in tags.items()):
                raise PlatformError("a tag is too long", hint="Shorten it.")
            self._check_tags(expect)
            self._put_tags(tags, "set_tags")

    def delete_deployment(self, name: str) -> None:
        with self._call("delete_deployment"), self._change():
            self._require()
            self._check_idle(name)
            self.autoscaled.pop(name, None)
            self.held.pop(name, None)
            if name in self._deployed:
                self.begin_deletion(name, self.leaving_s)
                self._await_gone(name)
            self._deployed.pop(name, None)

    def delete_endpoint(self) -> None:
        with self._call("delete_endpoint"), self._change():
            if self._deployed:
                raise ConflictError(f"{self.name} holds {', '.join(self._deployed)}", hint="Delete them first.")
            self.vanish()

    def scale_deployment(self, name: str, instances: int) -> None:
        with self._call("scale_deployment"), self._change():
            self._require()
            if not 0 <= instances <= 50:
                raise QuotaExceededError(f"{instances} instances", hint="Ask for 0 to 50.")
            deployed, is_used = self._get(name), instances > 0
            if not is_used:
                self._check_idle(name)
                instances = self._capabilities.least_instances
            grown = instances > deployed.instances
            ready_at = self._ready_at() if grown else deployed.ready_at
            serving = min(self._view(name, deployed).instances_ready, instances)
            self._deployed[name] = replace(deployed, instances=instances, ready_at=ready_at, serving=serving)
            if name in self.autoscaled and is_used:  # no rule takes them away again
                self.held.setdefault(name, instances)

    def match_scaling(self, name: str, like: str) -> str:
        with self._call("match_scaling"), self._change():
            self._require()
            if like not in self.autoscaled:
                return f"{like} has no autoscale rules: {name} gets none"
            self.autoscaled[name] = self.autoscaled[like]
            self.held.setdefault(like, self._get(like).instances)
            return f"{name} scales like {like}, which keeps its {self.held[like]} instances"

    def release_scaling(self, name: str) -> None:
        with self._call("release_scaling"), self._change():
            self._require()
            self.held.pop(name, None)

    def logs(self, name: str, *, lines: int = 100) -> str:
        with self._call("logs"):
            self._require()
            deployed = self._deployed.get(name)
            return f"{name}: {deployed.failure or 'started'}" if deployed and lines else ""

    def scoring_target(self) -> ScoringTarget:
        with self._call("scoring_target"):
            self._require()
            return ScoringTarget(f"http://{self.name}.invalid/score", {"Authorization": "Bearer memory"})

    def invalidate(self) -> None:
        self.calls.append("invalidate")

    # What a test decides.

    def make_ready(self, name: str) -> None:
        """``name`` is ready from now on, whatever it was."""
        self._deployed[name] = replace(self._deployed[name], ready_at=self._clock.now(), failure=None)

    def serve(self, name: str, instances: int) -> None:
        """Only so many instances of ``name`` answer, until it is made ready."""
        self._deployed[name] = replace(self._deployed[name], serving=instances, ready_at=NEVER)

    def fail(self, name: str, message: str, *, serving: int = 0) -> None:
        """``name`` has failed; when it does not exist yet, it will fail as soon as it is created (once).

        So many instances of one that exists answer all the same, as after a change that failed.
        """
        if name in self._deployed:
            self._deployed[name] = replace(self._deployed[name], failure=message, serving=serving)
        else:
            self._failing[name] = message

    def fail_next(self, call: str, error: BaseException, *, after_effect: bool = False) -> None:
        """Let the next ``call`` raise ``error``, before or after its effect; then all is as it was."""

        def strike(name: str) -> None:
            if name == call:
                self.before = self.after = lambda _call: None
                raise error

        if after_effect:
            self.after = strike
        else:
            self.before = strike

    def peek(self) -> Endpoint | None:
        """What is so now, without a call."""
        if not self._exists:
            return None
        return Endpoint(
            name=self.name,
            uid=f"uid-{self._uid}",
            scoring_url=f"http://{self.name}.invalid/score",
            traffic=dict(self._traffic),
            mirror=dict(self._mirror),
            deployments={name: self._view(name, each) for name, each in self._deployed.items() if self._is_there(each)},
            tags=dict(self._tags),
        )

    # What a person in the portal does: no checks, no calls.

    def edit_traffic(self, traffic: Traffic, mirror: Traffic | None = None) -> None:
        """Somebody moves traffic by hand."""
        self._put_traffic(dict(traffic), dict(mirror or {}))

    def edit_tags(self, tags: Mapping[str, str | None]) -> None:
        """Somebody changes tags by hand."""
        self._tags = {key: value for key, value in {**self._tags, **tags}.items() if value is not None}

    def edit_scale(self, name: str, instances: int) -> None:
        """Somebody, or an autoscaler, changes the number of instances."""
        self._deployed[name] = replace(self._deployed[name], instances=instances)

    def add_foreign(self, name: str) -> None:
        """Somebody deploys ``name`` without deployer: it has no digest."""
        now = self._clock.now()
        self._deployed[name] = _Deployed(None, 1, now, now)

    def begin_deletion(self, name: str, seconds: float) -> None:
        """``name`` is being deleted, and is gone after ``seconds``."""
        gone_at = self._clock.now() + timedelta(seconds=seconds)
        self._deployed[name] = replace(self._deployed[name], leaves_at=gone_at)

    def forget_records(self) -> None:
        """No version can be made again from here any more."""
        self._recorded.clear()

    def remove(self, name: str) -> None:
        """Somebody deletes a deployment, traffic or not."""
        self._deployed.pop(name, None)
        self._put_traffic(
            {other: share for other, share in self._traffic.items() if other != name},
            {other: share for other, share in self._mirror.items() if other != name},
        )

    def vanish(self) -> None:
        """Somebody deletes the endpoint."""
        self._exists = False
        self._tags, self._deployed, self._recorded = {}, {}, {}
        self._put_traffic({}, {})

    # How it is done.

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self.calls.append(name)
        self.before(name)
        yield
        self.after(name)

    @contextmanager
    def _change(self) -> Iterator[None]:
        before = self.peek()
        yield
        self._stale, self._changed_at = before, self._clock.now()

    def _require(self) -> None:
        if not self._exists:
            raise NotFoundError(f"there is no endpoint {self.name}", hint="Create it.")

    def _get(self, name: str) -> _Deployed:
        if name not in self._deployed:
            raise NotFoundError(f"there is no deployment {name}", hint="Create it.")
        return self._deployed[name]

    def _check_tags(self, expect: Mapping[str, str | None] | None) -> None:
        for key, value in (expect or {}).items():
            if self._tags.get(key) != value:
                raise ConflictError(f"tag {key} is {self._tags.get(key)!r}, not {value!r}", hint="Observe.")

    def _check_idle(self, name: str) -> None:
        if name in {**self._traffic, **self._mirror}:
            raise ConflictError(f"{name} has traffic", hint="Move it elsewhere first.")

    def _is_there(self, deployed: _Deployed) -> bool:
        return deployed.leaves_at is None or self._clock.now() < deployed.leaves_at

    def _await_gone(self, name: str) -> None:
        """Wait until what is being deleted under this name is gone, as real platforms do."""
        deployed = self._deployed.get(name)
        if deployed is not None and deployed.leaves_at is not None:
            self._clock.sleep((deployed.leaves_at - self._clock.now()).total_seconds())
            self._deployed.pop(name, None)

    def _check_name_free(self, name: str, digest: str) -> None:
        there = self._deployed.get(name)
        if there is not None and there.digest != digest:
            raise ConflictError(f"{name} exists as {there.digest}", hint="Delete it first.")
        if there is None and len(self._deployed) >= self._capabilities.max_deployments:
            raise QuotaExceededError("there are too many deployments", hint="Delete one.")

    def _check_split(self, live: Mapping[str, int], copied: Mapping[str, int]) -> None:
        shares = [*live.values(), *copied.values()]
        if sum(live.values()) not in {0, 100} or any(not 0 < share <= 100 for share in shares):
            raise PlatformError(f"{live} is no split", hint="Let it add up to 0 or 100.")
        if len(copied) > 1 or sum(copied.values()) > self._capabilities.mirror_max_pct or live.keys() & copied.keys():
            raise PlatformError(f"{copied} is no mirror of {live}", hint="Mirror at most 50 % to one other deployment.")

    def _ready_at(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self.ready_after_s)

    def _start(self, name: str, spec: DeploymentSpec) -> None:
        there = self._deployed.get(name)
        if there is not None and there.failure is None:
            return
        wanted = int(spec.document.get("instance_count", 1))
        failure = self._failing.pop(name, None)
        self._deployed[name] = _Deployed(spec.digest, wanted, self._clock.now(), self._ready_at(), failure)

    def _put_tags(self, tags: Mapping[str, str | None], call: str) -> None:
        """Without compare-and-set a write carries all tags as they were read, and undoes what came in between."""
        read = dict(self._tags)
        self.between(call)
        there = self._tags if self._capabilities.compare_and_set else read
        self._tags = {key: value for key, value in {**there, **tags}.items() if value is not None}

    def _put_traffic(self, traffic: dict[str, int], mirror: dict[str, int]) -> None:
        self._traffic, self._mirror = traffic, mirror
        self.writes.append(Write(self._clock.now(), dict(traffic), dict(mirror)))

    def _view(self, name: str, deployed: _Deployed) -> Deployment:
        if deployed.leaves_at is not None:
            return Deployment(name, DeploymentState.DELETING, deployed.digest, 0, deployed.instances, "being deleted")
        is_ready = deployed.failure is None and self._clock.now() >= deployed.ready_at
        serving = deployed.instances if is_ready else deployed.serving
        state = DeploymentState.READY if is_ready else DeploymentState.CREATING
        if serving and not is_ready:
            state = DeploymentState.DEGRADED
        return Deployment(
            name=name,
            state=DeploymentState.FAILED if deployed.failure is not None else state,
            digest=deployed.digest,
            instances_ready=serving,
            instances_wanted=deployed.instances,
            message=deployed.failure or ("" if is_ready else "starting"),
            created_at=deployed.created_at,
        )
