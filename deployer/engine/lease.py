"""One rollout an endpoint: a lease in the endpoint's tags.

The value is ``owner|fence|beat``; a free lease keeps its fence and has no owner. Whoever takes the lease raises the
fence and reads it back; the loser withdraws. The beat changes while its owner lives, so that a stale lease is known by
what does *not* change, measured on the reader's own clock, never by comparing clocks. An owner on this machine is asked
of the operating system instead.

Where tags are written without compare-and-set, a write of somebody else may bring an older map back over ours. The
fence tells the two apart: a higher one is another run that took over; a lower one is an old map, and ours is written
again.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psutil

from deployer.errors import ConflictError, ExitCode, PlanError, PlatformError
from deployer.ports.clock import Clock
from deployer.ports.platform import Platform
from deployer.rollout.tags import LEASE

SETTLE_POLLS = 2.0
"""Without compare-and-set a lease is read back once more after so many ``poll_s``: longer than another run takes from
reading the tags to writing them."""
BUSY_TIMES = 2.0
"""A busy endpoint may be its owner's doing, and takes no beat: a sign of life, for at most so many times
``stale_after_s`` or what a deployment takes, which is longer than any write."""
FREED_LOOKS = 3
"""How often it is looked whether a lease that was given back stays so."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease, as the tag says."""

    owner: str
    fence: int
    beat: int

    @classmethod
    def parse(cls, value: str | None) -> Holder | None:
        """Read a tag's value; None when nobody holds the lease, or it is garbled."""
        try:
            owner, fence, beat = (value or "").split("|")
            return cls(owner, int(fence), int(beat)) if owner else None
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.owner}|{self.fence}|{self.beat}"


def fence_of(value: str | None) -> int:
    """The fence of a lease, held or free; 0 when there never was one, or it is garbled."""
    try:
        return int((value or "").split("|")[1])
    except (IndexError, ValueError):
        return 0


def this_host() -> str:
    """Name this machine since its start, or this container of it: process ids mean the same only there.

    Machines made from one image share their name, and the first pid namespace has the same number on all of them: the
    hosted runners of CI systems are such machines. The boot id is random.
    """
    namespace, boot = Path("/proc/self/ns/pid"), Path("/proc/sys/kernel/random/boot_id")
    parts = [
        socket.gethostname()[:40],
        boot.read_text().strip()[:13] if boot.exists() else "",
        str(namespace.stat().st_ino) if namespace.exists() else "",
    ]
    return ".".join(filter(None, parts))


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
        self._kept: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()

    def acquire(
        self,
        *,
        take_over: bool = False,
        at_once: bool = False,
        waiting: Callable[[str], None] | None = None,
        signal: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take the lease of an existing endpoint; return once it is read back, twice where others may overwrite it.

        Args:
            take_over: take it from a living owner too (a human decided).
            at_once: read it back once, everywhere: for who looks again after what it does.
            waiting: told, in words, while an unchanged beat is being watched.
            signal: asked meanwhile; a signal ends the watching.

        Raises:
            PlanError: somebody else holds it. Nothing changed.
        """
        before = Holder.parse(value := self._value())
        if before is not None and before.owner != self._owner and not take_over and not is_gone(before.owner):
            value = self._watch(before, waiting, signal)
        self._hold(self._take(value, take_over=take_over, at_once=at_once))

    def take_with(
        self, value: str | None, write: Callable[[Mapping[str, str | None], Mapping[str, str | None]], None]
    ) -> None:
        """Take the lease over, whoever has it, by a write that does something else too.

        Args:
            value: the lease as it reads now.
            write: is given the tags to write, and those that must hold; raises when it did not write.
        """
        mine = Holder(self._owner, fence_of(value) + 1, 0)
        write({LEASE: str(mine)}, {LEASE: value})
        self._hold(mine)

    @property
    def is_held(self) -> bool:
        """It was taken, and not given back since."""
        return self._held is not None

    def _hold(self, mine: Holder) -> None:
        self._held, self._beat_at = mine, self._clock.now()
        if self._heartbeat_s is not None:
            threading.Thread(target=self._keep_beating, args=(self._heartbeat_s,), daemon=True).start()

    def _take(self, value: str | None, *, take_over: bool, at_once: bool) -> Holder:
        """Write a higher fence than ``value`` has and read it back; again when something came in between.

        Raises:
            PlanError: another run was first, or its owner lives.
        """
        written: Holder | None = None
        for last in (False, False, True):
            mine = Holder(self._owner, fence_of(value) + 1, 0)
            with suppress(ConflictError):
                self._platform.set_tags({LEASE: str(mine)}, expect={LEASE: value})
                written = mine
            value = self._read_back(at_once=at_once)
            if Holder.parse(value) == mine:
                return mine
            is_older = written is not None and self._is_old_map(value, written)
            if last and is_older and written is not None:
                return written  # nobody is newer: readings are behind, and the next beat says so again
            if last or not (take_over or is_older):
                break
        raise self._refused(Holder.parse(value))

    def _read_back(self, *, at_once: bool) -> str | None:
        """Return the lease as it reads; where others may overwrite it, as it reads after a pause."""
        capabilities = self._platform.capabilities
        if not capabilities.compare_and_set and not at_once:
            self._clock.sleep(SETTLE_POLLS * capabilities.poll_s)
        return self._value()

    def _watch(
        self, before: Holder, waiting: Callable[[str], None] | None, signal: Callable[[], str | None]
    ) -> str | None:
        """Wait until the beat was unchanged for ``stale_after_s`` of an idle endpoint; return the tag as it is then.

        Raises:
            PlanError: it changed: the owner lives.
            StoppedError: a signal came.
        """
        if is_alive_here(before.owner):
            raise self._refused(before)
        capabilities, stale_s = self._platform.capabilities, self._platform.capabilities.stale_after_s
        began = last_sign = self._clock.now()
        most_s = BUSY_TIMES * max(stale_s, capabilities.typical_deploy_s)
        while self._seconds_since(last_sign) < stale_s and self._seconds_since(began) < most_s:
            if waiting is not None:
                waiting(f"watching whether {before.owner} still runs")
            self._clock.sleep(max(2.0, capabilities.poll_s))
            if (name := signal()) is not None:
                raise StoppedError(f"stopped by {name}; nothing was changed", hint="Run it again when you like.")
            endpoint = self._platform.observe(why=False)
            value = endpoint.tags.get(LEASE) if endpoint else None
            if endpoint is None or (seen := Holder.parse(value)) is None:
                return value
            if seen != before:
                raise self._refused(seen)
            last_sign = self._clock.now() if endpoint.settling else last_sign
        return str(before)

    def _refused(self, holder: Holder | None) -> PlanError:
        who = holder.owner if holder else "another run"
        return PlanError(
            f"another rollout of this endpoint is running ({who})",
            hint="Wait for it, abort it with `deployer abort`, or take over with --take-over if you know it is dead.",
        )

    def _value(self) -> str | None:
        endpoint = self._platform.observe(why=False)
        return endpoint.tags.get(LEASE) if endpoint else None

    def check(self, value: str | None) -> None:
        """Compare the lease just observed with ours.

        Raises:
            LostLeaseError: it is not ours any more. Nothing may be written.
        """
        holder, held = Holder.parse(value), self._held
        if held is not None and _is_of(value, held):
            if holder != held and not self._platform.capabilities.compare_and_set:
                self._beat_at = None  # an older map may have brought an older beat back: the next one settles it
            return
        if held is not None and self._is_old_map(value, held):
            self._beat_at = None  # written again with the next beat, which is due at once
            return
        raise LostLeaseError(
            f"this run lost its lease to {holder.owner if holder else 'nobody'}; it stops without touching traffic",
            hint="Look at `deployer status`: the other run owns the rollout now.",
        )

    def _is_old_map(self, value: str | None, held: Holder) -> bool:
        return not self._platform.capabilities.compare_and_set and fence_of(value) < held.fence

    def keep(self, tags: Mapping[str, str | None]) -> None:
        """Write ``tags`` again with every beat, so that they come back when somebody's older map came over them."""
        self._kept = dict(tags)

    def beat(self) -> None:
        """Change the beat when it is due.

        Raises:
            LostLeaseError: another run took it over meanwhile.
            PlatformError: it could not be written now; the next look tries again.
        """
        with self._lock:
            due = self._beat_at is None or self._seconds_since(self._beat_at) >= self._platform.capabilities.beat_s
            if self._held is not None and due:
                self._write(self._held, {}, {})

    def _seconds_since(self, at: datetime) -> float:
        return (self._clock.now() - at).total_seconds()

    def write(self, tags: Mapping[str, str | None], *, expect: Mapping[str, str | None] | None = None) -> None:
        """Write ``tags`` together with a beat, if the lease is ours and ``expect`` holds.

        Raises:
            LostLeaseError: another run took it over.
            ConflictError: ``expect`` does not hold, or the platform is busy. Nothing was written.
        """
        with self._lock:
            self._write(self._mine(), tags, expect or {})

    def _mine(self) -> Holder:
        if self._held is None:
            raise LostLeaseError("this run holds no lease", hint="Report this as a bug.")
        return self._held

    def _write(self, held: Holder, tags: Mapping[str, str | None], expect: Mapping[str, str | None]) -> None:
        try:
            self._put(held, str(held), tags, expect)
        except ConflictError:
            value = self._value()
            self.check(value)
            if value == str(held):  # the lease is as it was: something else does not hold, or the platform is busy
                raise
            # An earlier beat was written though its answer was lost, or somebody's older map came over it.
            self._put(held, value, tags, expect)

    def _put(
        self, held: Holder, value: str | None, tags: Mapping[str, str | None], expect: Mapping[str, str | None]
    ) -> None:
        there = Holder.parse(value) or held
        beaten = replace(held, beat=max(held.beat, there.beat) + 1)
        self._platform.set_tags({**self._kept, **tags, LEASE: str(beaten)}, expect={**expect, LEASE: value})
        self._held, self._beat_at = beaten, self._clock.now()

    @contextmanager
    def guarding(self) -> Generator[Mapping[str, str | None]]:
        """Give the tags that must hold when traffic is written, and keep the beat still until it is."""
        with self._lock:
            yield {LEASE: str(self._held)} if self._held is not None else {}

    def _keep_beating(self, every_s: float) -> None:
        while not self._released.wait(every_s):
            with suppress(PlatformError):  # a lost lease is found by the run itself, at its next look
                self.beat()

    def hush(self) -> None:
        """End the beats of the thread, and keep the lease: the endpoint itself is about to go."""
        self._released.set()
        with self._lock:  # one beat may be under way
            pass

    def hand_back(self, tags: Mapping[str, str | None]) -> None:
        """Write ``tags`` and give the lease back with one write, or raise as ``write`` does: then it is still ours."""
        with self._lock:
            held = self._mine()
            try:
                freed = {**self._kept, **tags, LEASE: str(replace(held, owner=""))}
                self._platform.set_tags(freed, expect={LEASE: str(held)})
                self._held = None
            except ConflictError:  # an older map came over it
                self._write(held, tags, {})

    def release(self, *, at_once: bool = False) -> None:
        """Give the lease back, keeping its fence; silent when it is not ours any more, or cannot be written.

        Args:
            at_once: do not look whether it stays so: for who has waited since the last write that others may have made.
        """
        self._released.set()
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            with suppress(PlatformError):
                self._free(held, at_once=at_once)

    def _free(self, held: Holder, *, at_once: bool) -> None:
        """Write a free lease; where older maps may come over it, see that it stays, for nobody will after us."""
        capabilities, value = self._platform.capabilities, str(held)
        freed = {**self._kept, LEASE: str(replace(held, owner=""))}
        for _ in range(FREED_LOOKS):
            try:
                self._platform.set_tags(freed, expect={LEASE: value})
                if capabilities.compare_and_set or at_once:
                    return
            except ConflictError:
                pass
            if not capabilities.compare_and_set:
                self._clock.sleep(SETTLE_POLLS * capabilities.poll_s)
            tags = endpoint.tags if (endpoint := self._platform.observe(why=False)) else freed
            value = tags.get(LEASE)
            is_ours = fence_of(value) < held.fence or value == freed[LEASE] or _is_of(value, held)
            if not is_ours or all(tags.get(key) == wanted for key, wanted in freed.items()):
                return


def _is_of(value: str | None, held: Holder) -> bool:
    """Whether ``value`` is the lease ``held``, whatever its beat."""
    seen = Holder.parse(value)
    return seen is not None and (seen.owner, seen.fence) == (held.owner, held.fence)


def is_alive_here(owner: str) -> bool:
    """Whether ``owner`` is a process of this machine that runs now."""
    return owner.partition("/")[0] == this_host() and not is_gone(owner)
