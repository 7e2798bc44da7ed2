"""Actions become port calls, and what came of them becomes one event. Decides nothing.

Every port call is idempotent, so an action that is performed again after a crash does no harm. A failure on the way
forward is the beginning of the way back; a failure on the way back is told as such and tried again by ``decide``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar, assert_never

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from deployer.engine.probe import Probe, Probed
from deployer.errors import (
    ConflictError,
    DeployerError,
    NotFoundError,
    PlatformError,
    TelemetryError,
    TransientError,
)
from deployer.gate.samples import Samples
from deployer.gate.verdict import Moment, Verdict
from deployer.manifest.schema import Retire
from deployer.ports.clock import Clock
from deployer.ports.platform import DeploymentSpec, Platform
from deployer.ports.telemetry import Telemetry
from deployer.rollout.actions import (
    Action,
    Clean,
    Delete,
    Deploy,
    Judge,
    MatchScaling,
    Record,
    Recreate,
    ReleaseScaling,
    Restore,
    RetireStable,
    Scale,
    SetWeight,
    Smoke,
    StartStable,
    Stop,
    Wait,
    WarmUp,
)
from deployer.rollout.endpoint import Traffic, in_words
from deployer.rollout.events import (
    Cleaned,
    Event,
    GaveUp,
    Judged,
    Prepared,
    Requested,
    Retired,
    Reverted,
    RevertFailed,
    Scaled,
    ScalingMatched,
    ScalingReleased,
    Shifted,
    Smoked,
    Warmed,
)
from deployer.rollout.model import Outcome, Phase, Rollout, StepKind

T = TypeVar("T")

ATTEMPTS = 4
"""Tries of a call that failed for a passing reason, about 5 s in all, before the way back begins."""
LOG_LINES = 40


@dataclass(frozen=True, slots=True)
class Deployable:
    """What may be deployed and how it is asked and judged: the part of a specification that effects need."""

    versions: dict[str, DeploymentSpec]
    """By deployment name: the candidate, and the baseline when there is one."""
    workers: dict[str, int]
    """Requests one instance answers at the same time, by deployment name."""
    judge: Callable[[Samples, Moment], Verdict]
    """The gate, with the manifest's targets and rules."""
    block_s: float
    """Length of the blocks of event time that it wants its samples counted in."""
    record: Callable[[Samples, Moment, Verdict], str]
    """Writes a look down so that it can be judged again."""


class Effects:
    """Performs actions on one endpoint."""

    def __init__(
        self,
        platform: Platform,
        telemetry: Telemetry,
        clock: Clock,
        probe: Probe | None,
        deployable: Deployable | None,
        guarding: Callable[[], AbstractContextManager[Mapping[str, str | None]]] = lambda: nullcontext({}),
    ) -> None:
        """Say what is acted on.

        Args:
            platform: of the endpoint.
            telemetry: of the endpoint.
            clock: by which is waited.
            probe: asks deployments alone; None: there are no samples to ask with.
            deployable: what may be deployed; None: nothing, the manifest is not at hand.
            guarding: gives the tags that must hold for traffic to be written.
        """
        self._platform = platform
        self._telemetry = telemetry
        self._clock = clock
        self._probe = probe
        self._deployable = deployable
        self._guarding = guarding
        self._tries = 0
        self.evidence: tuple[str, bytes] | None = None
        """What the latest look saw and answered, by its SHA-256."""

    def perform(self, action: Action, state: Rollout) -> Event | None:
        """Perform one action and say what came of it. Never raises for what a platform or telemetry did.

        Returns:
            None: traffic could not be written for a passing reason. Look again before repeating: somebody else may
            have written meanwhile.
        """
        try:
            event = self._perform(action, state)
        except (TransientError, ConflictError) as exc:
            self._tries += 1
            if isinstance(action, SetWeight | StartStable) and self._tries < ATTEMPTS:
                self._clock.sleep(0.5 * 2**self._tries)
                return None
            event = self._failure(action, state, f"{exc.message} ({exc.hint})")
        except DeployerError as exc:
            event = self._failure(action, state, f"{exc.message} ({exc.hint})")
        self._tries = 0
        return event

    def _failure(self, action: Action, state: Rollout, why: str) -> Event:
        match action:
            case Restore() | Recreate():
                return RevertFailed(why)
            case Scale() if state.phase is Phase.REVERTING:
                return RevertFailed(why)
            case Scale(name, instances) if state.phase is Phase.CLEANING:
                return Scaled(name, instances, f"{name} may be too small for all traffic: {why}", failed=True)
            case MatchScaling(name, like):
                return ScalingMatched(f"{name} may not scale like {like}: {why}", failed=True)
            case ReleaseScaling(name):
                return ScalingReleased(f"{name} may still be held at its instances: {why}", failed=True)
            case Deploy(name):
                return GaveUp(Outcome.PLATFORM, f"could not deploy {name}: {why}")
            case RetireStable(name):
                return Retired(f"could not retire {name}: {why}", (name,))
            case _:
                return GaveUp(Outcome.PLATFORM, f"while {state.phase.value}: {why}")

    def _perform(self, action: Action, state: Rollout) -> Event:  # noqa: C901, PLR0911, PLR0912 (one case an action)
        platform, plan = self._platform, state.plan
        match action:
            case Record(event):
                return event
            case Deploy(name):
                return self._deploy(name)
            case Recreate(name):
                return self._recreate(name, state)
            case Delete(name):
                self._retrying(lambda: platform.delete_deployment(name))
                return Requested(None, f"deleting a left-over {name}")
            case Smoke():
                return self._probed(lambda probe: probe.smoke(plan.candidate), None, state)
            case WarmUp(name):
                return self._warm_up(name, state)
            case StartStable():
                self._set_traffic(plan.restore, {})
                return Prepared()
            case MatchScaling(name, like):
                return ScalingMatched(self._retrying(lambda: platform.match_scaling(name, like)))
            case ReleaseScaling(name):
                released = [plan.candidate, name] if state.phase is Phase.RETIRING else [name]
                for each in released:
                    self._retrying(lambda each=each: platform.release_scaling(each))
                return ScalingReleased(f"not held at its instances any more: {', '.join(released)}")
            case Scale(name, instances, text):
                self._retrying(lambda: platform.scale_deployment(name, instances))
                return Scaled(name, instances, f"{name} gets {instances} instances: {text}")
            case SetWeight(weight_pct, mirror_pct):
                self._set_traffic(plan.traffic(weight_pct), plan.mirror(mirror_pct))
                return Shifted(weight_pct, mirror_pct)
            case Judge():
                return self._judge(state)
            case Restore():
                self._set_traffic(plan.restore, {})
                return Reverted(f"traffic verified: {in_words(plan.restore)}")
            case Clean(names):
                return self._clean(names)
            case RetireStable(name):
                return self._retire(name, state)
            case Wait() | Stop():
                raise PlatformError(f"{type(action).__name__} is not an effect", hint="Report this as a bug.")
            case _:
                assert_never(action)

    def _set_traffic(self, traffic: Traffic, mirror: Traffic) -> None:
        with self._guarding() as expect:
            self._platform.set_traffic(traffic, mirror, expect=expect)

    def _retrying(self, call: Callable[[], T]) -> T:
        """Call, and call again after a passing failure."""
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.5, max=4, jitter=0.2),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return retrying(call)

    def _spec(self) -> Deployable:
        if self._deployable is None:
            raise PlatformError(
                "this needs the manifest, which was not given", hint="Run `deployer rollout MANIFEST` to carry on."
            )
        return self._deployable

    def _deploy(self, name: str) -> Event:
        version = self._spec().versions[name]
        self._retrying(lambda: self._platform.create_deployment(version))
        return Requested(name, f"deployment {name} requested")

    def _recreate(self, name: str, state: Rollout) -> Event:
        digest = state.plan.stable_digest
        if digest is None:
            raise NotFoundError(
                f"the stable {name} is gone and was not made by deployer", hint="Deploy it again by hand."
            )
        self._platform.recreate_deployment(name, digest)
        return Requested(name, f"the stable {name} is gone; making it again from its record ({state.phase.value})")

    def _probed(self, ask: Callable[[Probe], Probed], warming: str | None, state: Rollout) -> Event:
        if self._probe is None:
            raise PlatformError(
                "this needs the manifest's samples", hint="Run `deployer rollout MANIFEST` to carry on."
            )
        answer = ask(self._probe)
        if answer.stopped:
            return GaveUp(Outcome.ABORTED, f"stopped by a signal while {state.phase.value}")
        if warming is None:
            return Smoked(answer.passed, answer.text)
        return Warmed(warming, answer.passed, answer.text)

    def _warm_up(self, name: str, state: Rollout) -> Event:
        endpoint = self._retrying(self._platform.observe)
        found = endpoint.deployments.get(name) if endpoint else None
        instances, workers = found.instances_ready if found else 1, self._spec().workers.get(name, 1)
        return self._probed(lambda probe: probe.warm_up(name, instances=instances, workers=workers), name, state)

    def _judge(self, state: Rollout) -> Event:
        spec, now = self._spec(), self._clock.now()
        mirrored = any(step.kind is StepKind.MIRROR for step in state.plan.steps)
        try:
            samples = self._telemetry.fetch(state.shifts[0].at, now, block_s=spec.block_s, mirrored=mirrored)
        except TelemetryError as exc:
            samples = Samples((), spec.block_s, None, problem=f"{exc.message} ({exc.hint})")
        moment = state.moment(now)
        verdict = spec.judge(samples, moment)
        content = spec.record(samples, moment, verdict).encode()
        digest = hashlib.sha256(content).hexdigest()
        self.evidence = (digest, content)
        return Judged(verdict, digest)

    def _clean(self, names: tuple[str, ...]) -> Event:
        said: list[str] = []
        left: list[str] = []
        for name in names:
            logs = self._last_words(name)
            try:
                self._retrying(lambda name=name: self._platform.delete_deployment(name))
            except PlatformError as exc:
                left.append(name)
                said.append(f"could not remove {name}: {exc.message} ({exc.hint})")
            else:
                said.append(f"{name} removed" + (f"; it last said:\n{logs}" if logs else ""))
        return Cleaned("\n".join(said), tuple(left))

    def _last_words(self, name: str) -> str:
        try:
            return self._platform.logs(name, lines=LOG_LINES)
        except PlatformError:
            return ""

    def _retire(self, name: str, state: Rollout) -> Event:
        if state.plan.retire is Retire.SCALE_DOWN:
            self._retrying(lambda: self._platform.scale_deployment(name, 0))
            least = self._platform.capabilities.least_instances
            return Retired(f"{name} scaled down to {least} instance{'s' * (least != 1)}")
        self._retrying(lambda: self._platform.delete_deployment(name))
        return Retired(f"{name} deleted")
