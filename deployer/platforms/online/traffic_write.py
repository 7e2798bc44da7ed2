"""Changing traffic on Azure so that it is known what happened: a fresh read, one full PUT, and two reads that agree.

What the service says about the operation is never believed, only what it shows afterwards (WIRE 2: the body of the 201
lies in two ways, a finished operation may not show yet, an answer may be lost after the change). The operation's status
is asked only to learn why something did not happen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deployer.cloud.answers import read_refusal
from deployer.errors import ConflictError, NotFoundError, NotReadyError, PlatformError, TransientError
from deployer.platforms.online.endpoint_body import with_traffic
from deployer.platforms.online.endpoint_resource import (
    API,
    BUSY,
    BUSY_S,
    LOST_S,
    POLL_S,
    READ_BACK_S,
    Deadline,
    EndpointResource,
    operation_of,
    shares,
    state_of,
    tags_of,
)
from deployer.rollout.endpoint import Capabilities, Deployment, DeploymentState, Traffic, in_words

VERIFY_S = 180.0
"""How long a traffic change may take to show: twice the longest that was recorded (70 s, recording 02) and some."""
LONGEST_WRITE_S = BUSY_S + POLL_S + VERIFY_S + LOST_S + 2 * READ_BACK_S + 30.0
"""What one call takes at the very most: the last PUT leaves when the endpoint was busy for ``BUSY_S``, and is then
waited for; a fresh read and two proofs come with it, and half a minute for ARM's own answers."""
TRIES = 3
"""PUTs that may be sent when earlier ones certainly did nothing."""
RETRYABLE = frozenset({"operationcanceled", "internalservererror", "servicebusy", "toomanyrequests"})
"""Codes of failed operations that a repetition may cure (how-to-troubleshoot-online-endpoints)."""


@dataclass(frozen=True, slots=True)
class Split:
    """Who gets how much; names with no share are left out."""

    traffic: Traffic
    mirror: Traffic

    @classmethod
    def shown(cls, document: Mapping[str, Any]) -> Split:
        """Read it from an endpoint."""
        return cls(_lowered(shares(document, "traffic")), _lowered(shares(document, "mirrorTraffic")))

    def __str__(self) -> str:
        return in_words(self.traffic) + (f", mirror {in_words(self.mirror)}" if self.mirror else "")


def check_split(traffic: Traffic, mirror: Traffic, capabilities: Capabilities) -> Split:
    """Refuse what Azure would refuse or, worse, accept.

    Raises:
        PlatformError: nothing was written.
    """
    live = {name: share for name, share in traffic.items() if share}
    copied = {name: share for name, share in mirror.items() if share}
    if sum(live.values()) not in {0, 100} or any(not 0 < share <= 100 for share in [*live.values(), *copied.values()]):
        raise PlatformError(f"{in_words(live)} is no split of traffic", hint="Let the shares add up to 0 or 100.")
    if copied and not capabilities.mirror:
        raise PlatformError(
            f"{capabilities.platform} endpoints cannot mirror traffic", hint="Use a canary without a mirror step."
        )
    if len(copied) > 1 or sum(copied.values()) > capabilities.mirror_max_pct or live.keys() & copied.keys():
        raise PlatformError(
            f"{in_words(copied)} is no mirror of {in_words(live)}",
            hint=f"Mirror at most {capabilities.mirror_max_pct} % to one deployment without live traffic.",
        )
    return Split(live, copied)


class TrafficWrite:
    """Writes the traffic map of one endpoint."""

    def __init__(
        self, resource: EndpointResource, deployments: Callable[[Mapping[str, Any]], Mapping[str, Deployment]]
    ) -> None:
        """Fix the endpoint.

        Args:
            resource: the endpoint.
            deployments: reads what can take traffic now, given the endpoint as just read.
        """
        self._resource = resource
        self._deployments = deployments
        self.is_unproven = False
        """What became of the last write is not known: it may still change traffic. The next one writes in any case."""

    def write(
        self,
        wanted: Split,
        expect: Mapping[str, str | None] | None,
        *,
        tags: Mapping[str, str | None] | None = None,
        force: bool = False,
    ) -> None:
        """Make ``wanted`` the split; return once two reads show it. See ``ports.platform.Platform.set_traffic``."""
        also = dict(tags or {})
        resource, sent = self._resource, 0
        busy = Deadline(resource.clock, BUSY_S)
        while True:
            with resource.lock:
                before = resource.fresh(or_just_read=bool(also))  # who brings its lease along has just looked
                if not (sent and also and shows_tags(before, also)):  # a lost answer: our own write made it untrue
                    require_tags(before, expect)
                if not self.is_unproven and shows_tags(before, also) and self._is_so_already(before, wanted):
                    return
                if state_of(before) not in BUSY or busy.has_passed:  # the last try is made however busy it looks
                    self._require_ready(before, wanted, force=force)
                    if self._put(before, wanted, also):
                        return
                    sent += 1
            if sent == TRIES or (busy.has_passed and sent):
                raise ConflictError(
                    f"endpoint {resource.name} did not take the split {wanted}",
                    hint="Look in the portal for the operation that keeps it busy, then run it again.",
                )
            resource.clock.sleep(POLL_S)

    def _is_so_already(self, before: Mapping[str, Any], wanted: Split) -> bool:
        """Whether nothing needs to be written: shown twice, since a single read may be an old one."""
        if not _shows(before, wanted):
            return False
        self._resource.clock.sleep(READ_BACK_S)
        again = self._resource.look()
        return again is not None and _shows(again, wanted)

    def _require_ready(self, before: Mapping[str, Any], wanted: Split, *, force: bool) -> None:
        """Refuse to send requests to what cannot answer them."""
        has_now = Split.shown(before)
        try:
            found = {name.lower(): each for name, each in self._deployments(before).items()}
        except TransientError:
            if wanted.traffic.keys() <= has_now.traffic.keys() and not wanted.mirror:
                return  # the way back must not wait for more than the endpoint itself
            raise
        for name in [*wanted.traffic, *wanted.mirror]:
            deployment = found.get(name.lower())
            if deployment is None or deployment.state is DeploymentState.DELETING:
                raise NotFoundError(
                    f"endpoint {self._resource.name} has no deployment {name}", hint="Deploy it before it gets traffic."
                )
            if deployment.instances_ready < 1 and not force:
                why = deployment.message or deployment.state.value
                raise NotReadyError(f"{name} has no ready instance: {why}", hint="Wait until it is ready.")

    def _put(self, before: Mapping[str, Any], wanted: Split, tags: Mapping[str, str | None]) -> bool:
        """Send the map once and find out what came of it; False: certainly nothing, and it may be sent again."""
        resource = self._resource
        body = with_traffic(before, wanted.traffic, wanted.mirror, tags)
        was_unproven, self.is_unproven = self.is_unproven, True
        resource.writes()
        try:
            sent = _Sent(operation=resource.arm.put(resource.path, API, body).operation_url)
        except (ConflictError, TransientError) as refusal:
            sent = _Sent(refusal=refusal)
        except PlatformError:
            self.is_unproven = was_unproven
            raise
        is_done = self._await(before, wanted, sent, tags if Split.shown(before) == _folded(wanted) else {})
        self.is_unproven = was_unproven and not is_done
        return is_done

    def _await(self, before: Mapping[str, Any], wanted: Split, sent: _Sent, tags: Mapping[str, str | None]) -> bool:
        """Read until the endpoint shows ``wanted`` twice; False: a write that was refused or lost did nothing.

        ``tags`` must show too: they alone tell of a write that leaves the split as it was.

        Raises:
            PlatformError: the operation failed. Weights are as the endpoint shows them: observe.
            ConflictError: somebody else's split shows.
            TransientError: time is up; weights are unknown.
        """
        deadline = Deadline(self._resource.clock, VERIFY_S)
        old, shown, foreign = Split.shown(before), 0, 0
        while not deadline.has_passed:
            deadline.pause(READ_BACK_S if shown or foreign else POLL_S)
            now = self._resource.look()
            if now is None or state_of(now) in BUSY:
                shown = foreign = 0
                continue
            seen = Split.shown(now)
            is_shown = seen == _folded(wanted) and shows_tags(now, tags)
            if is_shown and (state_of(now) == "succeeded" or deadline.elapsed_s > 4 * LOST_S):
                shown += 1
                if shown == 2:
                    self._resource.wrote(lambda document: Split.shown(document) == _folded(wanted))
                    return True
                continue
            shown = 0
            foreign = foreign + 1 if seen not in (old, _folded(wanted)) else 0
            if foreign == 2:
                self.is_unproven = False
                raise ConflictError(
                    f"somebody else changed traffic of {self._resource.name} to {seen}",
                    hint="Find out who, before anything is written again.",
                )
            if self._has_ended(now, sent, deadline):
                return False
        raise TransientError(
            f"endpoint {self._resource.name} does not show the split {wanted} after {VERIFY_S:g} s",
            hint="Look at the endpoint in the portal; go on once it is not updating.",
        )

    def _has_ended(self, now: Mapping[str, Any], sent: _Sent, deadline: Deadline) -> bool:
        """Whether the write is known to have done nothing, seen from an idle endpoint that does not show it.

        Raises:
            PlatformError: its operation failed.
        """
        if sent.refusal is not None:
            return isinstance(sent.refusal, ConflictError) or deadline.elapsed_s >= LOST_S
        if state_of(now) not in {"failed", "canceled"} and deadline.elapsed_s < LOST_S:
            return False  # a read may lag behind the write
        status = self._resource.operation(sent.operation, operation_of(now))
        ended = str(status.get("status") or "").lower()
        if ended in {"failed", "canceled"}:
            self.is_unproven = False
            raise _failure(self._resource.name, status)
        return False


@dataclass(frozen=True, slots=True)
class _Sent:
    operation: str = ""
    refusal: PlatformError | None = None


def require_tags(document: Mapping[str, Any], expect: Mapping[str, str | None] | None) -> None:
    """Refuse to write when the tags are not as expected.

    Raises:
        ConflictError: nothing was written.
    """
    tags = tags_of(document)
    for key, value in (expect or {}).items():
        if tags.get(key) != value:
            raise ConflictError(
                f"tag {key} is {tags.get(key)!r}, not {value!r}", hint="Somebody else was first: look, then decide."
            )


def shows_tags(document: Mapping[str, Any], tags: Mapping[str, str | None]) -> bool:
    """Whether the tags are so, None being absent."""
    found = tags_of(document)
    return all(found.get(key) == (value or None) for key, value in tags.items())


def _shows(document: Mapping[str, Any], wanted: Split) -> bool:
    return state_of(document) == "succeeded" and Split.shown(document) == _folded(wanted)


def _folded(split: Split) -> Split:
    return Split(_lowered(split.traffic), _lowered(split.mirror))


def _lowered(traffic: Traffic) -> dict[str, int]:
    return {name.lower(): share for name, share in traffic.items()}


def _failure(endpoint: str, status: Mapping[str, Any]) -> PlatformError:
    why = read_refusal(json.dumps(status.get("error") or {}))
    kind = TransientError if why.code.lower() in RETRYABLE else PlatformError
    error = kind(
        f"Azure did not change traffic of {endpoint}: {why.text or status.get('status')} ({why.code or 'no code'})",
        hint="Look at the endpoint before writing again.",
    )
    error.code = why.code
    return error
