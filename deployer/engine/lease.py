"""One rollout an endpoint: a lease in the endpoint's tags.

The value is ``owner|fence|beat``. Whoever takes the lease raises the fence and reads it back; the loser withdraws. The
beat changes while its owner lives, so that a stale lease is known by what does *not* change, measured on the reader's
own clock, never by comparing clocks. An owner on this machine is asked of the operating system instead.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from deployer.errors import ConflictError, ExitCode, PlanError, PlatformError
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


def this_host() -> str:
    """Name this machine, or this container of it: process ids mean the same only within one pid namespace."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}.{namespace.stat().st_ino}" if namespace.exists() else socket.gethostname()


def this_process() -> str:
    """Name this process so that another one on the same machine can ask whether it lives."""
    return f"{this_host()}/{os.getpid()}/{int(psutil.Process().create_time() * 1000)}"


def is_gone(owner: str) -> bool:
    """Whether ``owner`` was a process of this machine that no longer runs; False when that cannot be known."""
    host, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")
    if host != this_host() or not pid.isdigit() or not started.isdigit():
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


class StoppedError(PlanError):
    """A signal came before anything was changed."""

    exit_code = ExitCode.ABORTED


class Lease:
    """The lease of one run."""

    def __init__(
        self, platform: Platform, clock: Clock, owner: str | None = None, *, heartbeat_s: float | None = None
    ) -> None:
        """Describe it; ``acquire`` takes it.

        Args:
            platform: of the endpoint.
            clock: by which beats are due.
            owner: who takes it; None: this process.
            heartbeat_s: a thread beats this often while the run is busy with one long action; None: no thread.
        """
        self._platform = platform
        self._clock = clock
        self._owner = owner or this_process()
        self._heartbeat_s = heartbeat_s
        self._held: Holder | None = None
        self._beat_at: datetime | None = None
        self._lock = threading.Lock()
        self._released = threading.Event()

    @property
    def value(self) -> str | None:
        """The tag as this run holds it; None: not held."""
        with self._lock:
            return str(self._held) if self._held else None

    def acquire(
        self,
        *,
        take_over: bool = False,
        waiting: Callable[[str], None] | None = None,
        signal: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take the lease of an existing endpoint; return once it is read back.

        Args:
            take_over: take it from a living owner too (a human decided).
            waiting: told, in words, while an unchanged beat is being watched.
            signal: asked meanwhile; a signal ends the watching.

        Raises:
            PlanError: somebody else holds it. Nothing changed.
        """
        value = self._value()
        before = Holder.parse(value)
        if before is not None and before.owner != self._owner and not take_over and not is_gone(before.owner):
            value = self._watch(before, waiting, signal)
        mine = Holder(self._owner, before.fence + 1 if before else 1, 0)
        try:
            self._platform.set_tags({LEASE: str(mine)}, expect={LEASE: value})
        except ConflictError as exc:
            raise self._refused(Holder.parse(self._value())) from exc
        after = Holder.parse(self._value())
        if after != mine:
            raise self._refused(after)
        self._held, self._beat_at = mine, self._clock.now()
        if self._heartbeat_s is not None:
            threading.Thread(target=self._keep_beating, args=(self._heartbeat_s,), daemon=True).start()

    def _watch(
        self, before: Holder, waiting: Callable[[str], None] | None, signal: Callable[[], str | None]
    ) -> str | None:
        """Wait until the beat was unchanged for STALE_AFTER_S; return the tag as it is then.

        Raises:
            PlanError: it changed: the owner lives.
            StoppedError: a signal came.
        """
        if is_alive_here(before.owner):
            raise self._refused(before)
        until = self._clock.now() + timedelta(seconds=STALE_AFTER_S)
        while self._clock.now() < until:
            if waiting is not None:
                waiting(f"watching whether {before.owner} still runs")
            self._clock.sleep(2.0)
            if (name := signal()) is not None:
                raise StoppedError(f"stopped by {name}; nothing was changed", hint="Run it again when you like.")
            value = self._value()
            if value is None:
                return None
            if (seen := Holder.parse(value)) != before:
                raise self._refused(seen)
        return str(before)

    def _refused(self, holder: Holder | None) -> PlanError:
        who = holder.owner if holder else "another run"
        return PlanError(
            f"another rollout of this endpoint is running ({who})",
            hint="Wait for it, abort it with `deployer abort`, or take over with --take-over if you know it is dead.",
        )

    def _value(self) -> str | None:
        endpoint = self._platform.observe()
        return endpoint.tags.get(LEASE) if endpoint else None

    def check(self, value: str | None) -> None:
        """Compare the lease just observed with ours.

        Raises:
            LostLeaseError: it is not ours any more. Nothing may be written.
        """
        holder, held = Holder.parse(value), self._held
        if held is None or holder is None or (holder.owner, holder.fence) != (held.owner, held.fence):
            raise LostLeaseError(
                f"this run lost its lease to {holder.owner if holder else 'nobody'}; it stops without touching traffic",
                hint="Look at `deployer status`: the other run owns the rollout now.",
            )

    def beat(self) -> None:
        """Change the beat when it is due.

        Raises:
            LostLeaseError: another run took it over meanwhile.
            PlatformError: it could not be written now; the next look tries again.
        """
        with self._lock:
            if self._held is None or self._beat_at is None:
                return
            if (self._clock.now() - self._beat_at).total_seconds() < BEAT_S:
                return
            try:
                self._write_beat(self._held)
            except ConflictError:  # taken over, or an earlier beat was written though its answer was lost
                value = self._value()
                self.check(value)
                self._write_beat(Holder.parse(value) or self._held)

    def _write_beat(self, last: Holder) -> None:
        beaten = replace(last, beat=last.beat + 1)
        self._platform.set_tags({LEASE: str(beaten)}, expect={LEASE: str(last)})
        self._held, self._beat_at = beaten, self._clock.now()

    def _keep_beating(self, every_s: float) -> None:
        while not self._released.wait(every_s):
            with suppress(PlatformError):  # a lost lease is found by the run itself, at its next look
                self.beat()

    def release(self) -> None:
        """Give the lease back; silent when it is not ours any more, or cannot be written."""
        self._released.set()
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            with suppress(PlatformError):
                self._platform.set_tags({LEASE: None}, expect={LEASE: str(held)})


def is_alive_here(owner: str) -> bool:
    """Whether ``owner`` is a process of this machine that runs now."""
    return owner.partition("/")[0] == this_host() and not is_gone(owner)
