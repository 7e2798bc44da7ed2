"""The test endpoint of a profile, on which one configuration stands at a time, and nothing afterwards.

What is made is recorded in the endpoint's tags before it is made; whoever holds the endpoint's lease next, a later
profile or ``deployer gc``, finds and removes what a crash left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from deployer.engine.lease import Holder, StoppedError, this_process
from deployer.engine.site import Site
from deployer.errors import (
    ConflictError,
    ExitCode,
    NotFoundError,
    PlanError,
    PlatformError,
    QuotaExceededError,
    TransientError,
)
from deployer.manifest.configuration import Configuration, digest_with
from deployer.manifest.profile import ProfileSpec
from deployer.ports.platform import Deployment, DeploymentSpec, DeploymentState, Endpoint
from deployer.profile.ledger import Ledger
from deployer.profile.marks import PROFILE, deployment_name, ours, refusal, tags_for
from deployer.rollout.tags import LEASE

T = TypeVar("T")
HINT = "Name a test endpoint of its own in the profile: deployer profile makes it and removes it."
LOG_LINES = 60
ATTEMPTS = 3
RECOVERS_S = 60.0
"""Several looks of a readiness probe (Azure's default is one in 10 s)."""
SLACK_S = 60.0
"""Beyond what the readiness probe allows: machines that are slow to come."""


class NotStartingError(PlatformError):
    """A configuration does not become ready; the others may."""


class NoRoomError(NotStartingError):
    """The quota does not allow a configuration, which says nothing of it."""


class DiedError(PlatformError):
    """A configuration was ready and is not any more; the others may be."""


class BudgetSpentError(PlatformError):
    """Time or money of the profile is used up."""

    exit_code = ExitCode.INCONCLUSIVE


class InterruptedByError(PlatformError):
    """A signal came."""

    exit_code = ExitCode.ABORTED


@dataclass(frozen=True, slots=True)
class Standing:
    """What is deployed now."""

    configuration: Configuration
    name: str


class Stand:
    """Puts configurations up and takes them down.

    Args:
        site: the test endpoint.
        spec: the profile.
        ledger: is charged for what stands.
        price: USD per hour of a configuration.
        note: told what a person should know.
    """

    def __init__(
        self,
        site: Site,
        spec: ProfileSpec,
        ledger: Ledger,
        price: Callable[[Configuration], float],
        note: Callable[[str], None],
    ) -> None:
        self._site = site
        self._spec = spec
        self._ledger = ledger
        self._price = price
        self._note = note
        self._lease = site.lease()
        self._recorded: tuple[str, ...] = ()
        self._standing: Standing | None = None
        self._made_endpoint = False

    @property
    def standing(self) -> Standing | None:
        """What stands now."""
        return self._standing

    def open(self) -> None:
        """Make the endpoint, or take over one that a profile made; remove what an earlier one left on it.

        Raises:
            PlanError: it is not a test endpoint, or another run uses it. Nothing was changed.
        """
        platform = self._site.platform
        endpoint = platform.observe()
        require_test_endpoint(endpoint)
        if endpoint is None:
            document: dict[str, Any] = dict(self._spec.endpoint.document)
            given: dict[str, str] = document.get("tags") or {}
            tags = {**given, PROFILE: self._spec.profile.name}
            self._made_endpoint = True  # before: what was asked for may come though its answer is lost
            platform.ensure_endpoint({**document, "tags": tags})
        self._take_lease()
        endpoint = platform.observe()
        require_test_endpoint(endpoint)
        left = ours(endpoint) if endpoint else ()
        if left:
            self._note(f"removing what an earlier profile left: {', '.join(left)}")
            self._delete(left)

    def _take_lease(self) -> None:
        try:
            self._lease.acquire(waiting=self._note, signal=self._site.signal)
        except StoppedError:
            raise
        except PlanError as exc:
            raise PlanError(
                f"test endpoint {self._site.endpoint} is in use: {exc.message}",
                hint="Wait for the other profile to end, or name another test endpoint.",
            ) from exc

    def put_up(self, configuration: Configuration, doing: Callable[[str], None]) -> Standing:
        """Deploy ``configuration`` and wait until every instance is ready; what stood before is taken down first.

        Only another number of instances is a change of scale.

        Raises:
            NotStartingError: it does not become ready; the message says why.
            BudgetSpentError: what is left does not pay for it.
            InterruptedByError: a signal came.
        """
        now, there = self._site.clock.now(), self._standing
        if there is not None and there.configuration == configuration:
            return there
        price = self._price(configuration)
        if not self._ledger.affords(self._site.platform.capabilities.typical_deploy_s, price, now):
            raise BudgetSpentError("the budget does not pay for another deployment", hint="Raise the budget.")
        if there is not None and _same_but_count(there.configuration, configuration):
            self._ledger.charge(max(price, self._price(there.configuration)), now)
            self._standing = Standing(configuration, there.name)
            self._retrying(lambda: self._scale(there.name, configuration.instance_count))
            doing(f"scaling to {configuration.instance_count}")
        else:
            self.take_down()
            self._standing = self._make(configuration, price)
            doing("deploying")
        self._await_ready(self._standing, doing)
        self._ledger.charge(price, self._site.clock.now())
        return self._standing

    def take_down(self) -> None:
        """Remove what stands; what cannot be removed now stays recorded."""
        if self._standing is not None:
            self._delete((self._standing.name,))
            self._standing = None

    def last_words(self) -> str:
        """What the standing deployment printed last; empty when that cannot be had."""
        with suppress(PlatformError):
            return self._site.platform.logs(self._standing.name, lines=LOG_LINES) if self._standing else ""
        return ""

    def close(self) -> str | None:
        """Remove everything that the profile made, the endpoint too; say what is left, None when nothing is."""
        if not self._lease.is_held:
            return self._remove_empty() if self._made_endpoint else None
        try:
            endpoint = self._retrying(self._site.platform.observe)
            if endpoint is not None:
                holder = Holder.parse(endpoint.tags.get(LEASE))
                if holder is not None and holder.owner not in ("", this_process()):
                    return "another run holds the endpoint now: nothing was removed"
                self._delete(ours(endpoint))
                self._lease.hush()
                self._retrying(self._site.platform.delete_endpoint)
        except PlatformError as exc:
            return f"not everything could be removed: {exc.message} ({exc.hint})"
        finally:
            self._standing = None
            self._lease.release(at_once=True)
        return None

    def _remove_empty(self) -> str | None:
        """Remove the endpoint that was made and never leased, unless another run has it by now."""
        try:
            endpoint = self._retrying(self._site.platform.observe)
            holder = Holder.parse(endpoint.tags.get(LEASE)) if endpoint is not None else None
            if endpoint is None or refusal(endpoint) or (holder is not None and holder.owner != this_process()):
                return None
            self._retrying(self._site.platform.delete_endpoint)  # refuses when something is deployed
        except PlatformError as exc:
            left = f"endpoint {self._site.endpoint} was made and could not be removed: {exc.message} ({exc.hint})"
            self._note(left)  # what ended the profile may be raised, without a report
            return left
        return None

    def check(self) -> Endpoint:
        """Look at the endpoint; raise when going on makes no sense.

        Raises:
            InterruptedByError: a signal came.
            LostLeaseError: another run has the endpoint.
            PlatformError: the endpoint is gone, or has got traffic.
        """
        self._stop_when_asked()
        endpoint = self._retrying(self._site.platform.observe)
        if endpoint is None:
            raise NotFoundError(f"endpoint {self._site.endpoint} is gone", hint="Run the profile again.")
        self._lease.check(endpoint.tags.get(LEASE))
        if any(endpoint.traffic.values()):
            raise ConflictError(f"somebody sends users' traffic to {endpoint.name}", hint=HINT)
        with suppress(TransientError, ConflictError):
            self._lease.beat()
        return endpoint

    def require_ready(self, standing: Standing) -> None:
        """Look at the endpoint (``check``), and make sure that every instance of ``standing`` is ready.

        What a deployment that died answers is no finding of its capacity. Under load an instance may miss a look of
        its readiness probe: it is given ``RECOVERS_S``.

        Raises:
            DiedError: it is not; the message says what became of it.
        """
        clock = self._site.clock
        until = clock.now() + timedelta(seconds=RECOVERS_S)
        while True:
            found = self.check().deployments.get(standing.name)
            if found is not None and _is_ready(found, standing.configuration):
                return
            if found is None or found.state is DeploymentState.FAILED or clock.now() >= until:
                raise DiedError(_what_became_of(found), hint="Read its log, and its memory limit.")
            clock.sleep(self._site.platform.capabilities.poll_s)

    def _stop_when_asked(self) -> None:
        if (name := self._site.signal()) is not None:
            raise InterruptedByError(f"stopped by {name}", hint="Run it again when you like.")

    def _make(self, configuration: Configuration, price: float) -> Standing:
        template = self._spec.deployment
        digest = digest_with(template.digest, configuration)
        name = deployment_name(digest)
        document = configuration.applied(template.document)
        document |= {"name": name}
        document.pop("endpoint_name", None)
        self._record((*self._recorded, name))
        self._ledger.charge(price, self._site.clock.now())
        try:
            made = DeploymentSpec(name, document, template.base_dir, digest)
            self._retrying(lambda: self._site.platform.create_deployment(made))
        except QuotaExceededError as exc:
            self._delete((name,))
            raise NoRoomError(exc.message, hint=exc.hint) from exc
        return Standing(configuration, name)

    def _scale(self, name: str, instances: int) -> None:
        try:
            self._site.platform.scale_deployment(name, instances)
        except QuotaExceededError as exc:
            raise NoRoomError(exc.message, hint=exc.hint) from exc

    def _await_ready(self, standing: Standing, doing: Callable[[str], None]) -> None:
        clock, capabilities = self._site.clock, self._site.platform.capabilities
        longest_s = self._spec.deployment.ready_within_s() + 2 * capabilities.typical_deploy_s + SLACK_S
        until = clock.now() + timedelta(seconds=longest_s)
        while True:
            found = self.check().deployments.get(standing.name)
            if found is not None and _is_ready(found, standing.configuration):
                return
            if found is not None and found.state is DeploymentState.FAILED:
                raise NotStartingError(found.message or "it failed", hint="Read its log.")
            now = clock.now()
            if self._ledger.left_s(now) <= 0:
                raise BudgetSpentError("the budget was used up while deploying", hint="Raise the budget.")
            if now >= until:
                said = f": {found.message}" if found is not None and found.message else ""
                raise NotStartingError(f"not ready after {longest_s:g} s{said}", hint="Read its log.")
            doing(found.message if found is not None and found.message else "waiting until it is ready")
            clock.sleep(capabilities.poll_s)

    def _record(self, names: Sequence[str]) -> None:
        kept = tuple(dict.fromkeys(names))
        if kept != self._recorded:
            self._retrying(lambda: self._lease.write(tags_for(kept)))
            self._recorded = kept

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._retrying(lambda name=name: self._site.platform.delete_deployment(name))
        self._record([name for name in self._recorded if name not in names])
        self._ledger.charge(0.0, self._site.clock.now())

    def _retrying(self, call: Callable[[], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return call()
            except TransientError:
                if attempt == ATTEMPTS:
                    raise
                self._site.clock.sleep(2.0 * attempt)
        raise AssertionError  # the loop returns or raises


def require_test_endpoint(endpoint: Endpoint | None) -> None:
    """Refuse an endpoint that users may depend on.

    Raises:
        PlanError: why. Nothing was changed.
    """
    why = refusal(endpoint) if endpoint is not None else None
    if why is not None:
        raise PlanError(why, hint=HINT)


def _same_but_count(one: Configuration, other: Configuration) -> bool:
    return (one.instance_type, one.workers, one.max_concurrent_requests_per_instance, one.resources) == (
        other.instance_type,
        other.workers,
        other.max_concurrent_requests_per_instance,
        other.resources,
    )


def _what_became_of(found: Deployment | None) -> str:
    if found is None:
        return "it is gone"
    ready = f"{found.instances_ready} of {found.instances_wanted} instances are ready"
    return f"{found.state.value}, {ready}{f': {found.message}' if found.message else ''}"


def _is_ready(found: Deployment, configuration: Configuration) -> bool:
    return (
        found.state is DeploymentState.READY
        and found.instances_ready == found.instances_wanted == configuration.instance_count
    )
