"""One rollout an endpoint: a lease in the endpoint's tags.

The value is ``owner|fence|beat``. Whoever takes the lease raises the fence and reads it back; the loser withdraws. The
beat changes while its owner lives, so that a stale lease is known by what does *not* change, measured on the reader's
own clock, never by comparing clocks. An owner on this machine is asked of the operating system instead.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psutil

from deployer.errors import ConflictError, PlanError, PlatformError
from deployer.ports.clock import Clock
from deployer.ports.platform import Platform
from deployer.rollout.tags import LEASE

BEAT_S = 10.0
"""How often a live owner changes the beat."""
STALE_AFTER_S = 45.0
"""A beat that did not change for this long has no owner: four missed beats and a slow write."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease, as the tag says."""

    owner: str
    fence: int
    beat: int

    @classmethod
    def parse(cls, value: str | None) -> Holder | None:
        """Read a tag's value; None when absent or garbled."""
        try:
            owner, fence, beat = (value or "").split("|")
            return cls(owner, int(fence), int(beat))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.owner}|{self.fence}|{self.beat}"


def this_process() -> str:
    """Name this process so that another one on the same machine can ask whether it lives."""
    return f"{socket.gethostname()}/{os.getpid()}/{int(psutil.Process().create_time() * 1000)}"


def is_gone(owner: str) -> bool:
    """Whether ``owner`` was a process of this machine that no longer runs; False when that cannot be known."""
    host, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit() or not started.isdigit():
        return False
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() * 1000 - int(started)) < 1000
        return not same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class LostLeaseError(ConflictError):
    """Another run took the lease over: this one must not write any more."""

    exit_code = PlanError.exit_code


class Lease:
    """The lease of one run."""

    def __init__(self, platform: Platform, clock: Clock, owner: str | None = None) -> None:
        self._platform = platform
        self._clock = clock
        self._owner = owner or this_process()
        self._held: Holder | None = None
        self._beat_at: datetime | None = None

    def acquire(self, *, take_over: bool = False, waiting: Callable[[str], None] | None = None) -> None:
        """Take the lease of an existing endpoint; return once it is read back.

        Args:
            take_over: take it from a living owner too (a human decided).
            waiting: told, in words, while an unchanged beat is being watched.

        Raises:
            PlanError: somebody else holds it. Nothing changed.
        """
        before = self._read()
        if before is not None and before.owner != self._owner and not take_over and not is_gone(before.owner):
            self._watch(before, waiting)
        mine = Holder(self._owner, before.fence + 1 if before else 1, 0)
        try:
            self._platform.set_tags({LEASE: str(mine)}, expect={LEASE: str(before) if before else None})
        except ConflictError as exc:
            raise self._refused(self._read()) from exc
        after = self._read()
        if after != mine:
            raise self._refused(after)
        self._held, self._beat_at = mine, self._clock.now()

    def _watch(self, before: Holder, waiting: Callable[[str], None] | None) -> None:
        """Wait until the beat was unchanged for STALE_AFTER_S.

        Raises:
            PlanError: it changed: the owner lives.
        """
        if is_alive_here(before.owner):
            raise self._refused(before)
        until = self._clock.now() + timedelta(seconds=STALE_AFTER_S)
        while self._clock.now() < until:
            if waiting is not None:
                waiting(f"watching whether {before.owner} still runs")
            self._clock.sleep(2.0)
            seen = self._read()
            if seen is not None and seen != before:
                raise self._refused(seen)
            if seen is None:
                return

    def _refused(self, holder: Holder | None) -> PlanError:
        who = holder.owner if holder else "another run"
        return PlanError(
            f"another rollout of this endpoint is running ({who})",
            hint="Wait for it, abort it with `deployer abort`, or take over with --take-over if you know it is dead.",
        )

    def _read(self) -> Holder | None:
        endpoint = self._platform.observe()
        return Holder.parse(endpoint.tags.get(LEASE)) if endpoint else None

    def check(self, value: str | None) -> None:
        """Compare the lease just observed with ours.

        Raises:
            LostLeaseError: it is not ours any more. Nothing may be written.
        """
        holder = Holder.parse(value)
        if self._held is None or holder is None or (holder.owner, holder.fence) != (self._held.owner, self._held.fence):
            raise LostLeaseError(
                f"this run lost its lease to {holder.owner if holder else 'nobody'}; it stops without touching traffic",
                hint="Look at `deployer status`: the other run owns the rollout now.",
            )

    def beat(self) -> None:
        """Change the beat when it is due."""
        if self._held is None or self._beat_at is None:
            return
        if (self._clock.now() - self._beat_at).total_seconds() < BEAT_S:
            return
        beaten = replace(self._held, beat=self._held.beat + 1)
        self._platform.set_tags({LEASE: str(beaten)})
        self._held, self._beat_at = beaten, self._clock.now()

    def release(self) -> None:
        """Give the lease back; silent when it is not ours any more, or cannot be written."""
        if self._held is None:
            return
        held, self._held = self._held, None
        with suppress(PlatformError):
            if self._read() == held:
                self._platform.set_tags({LEASE: None}, expect={LEASE: str(held)})


def is_alive_here(owner: str) -> bool:
    """Whether ``owner`` is a process of this machine that runs now."""
    return owner.partition("/")[0] == socket.gethostname() and not is_gone(owner)
