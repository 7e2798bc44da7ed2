"""The lock of a profile beside a manifest: what was measured of the version that is rolled out."""

from __future__ import annotations

from contextlib import suppress

from deployer.manifest.spec import RolloutSpec
from deployer.profile import lock as locks
from deployer.rollout.plan import Measured


def find_lock(spec: RolloutSpec) -> locks.Lock | None:
    """The lock beside a manifest, or beside the deployment file that it names; None: there is none that can be read."""
    folders = [spec.path.parent, *([spec.deployment.path.parent] if spec.deployment.path else [])]
    for folder in dict.fromkeys(folders):
        with suppress(OSError, UnicodeDecodeError):
            return locks.from_json((folder / locks.NAME).read_text(encoding="utf-8"))
    return None


def departures(spec: RolloutSpec) -> tuple[str, ...]:
    """Say in what a manifest departs from what was measured; empty when it does not, or nothing was measured."""
    lock = find_lock(spec)
    if lock is None:
        return ()
    found = locks.departures(lock, spec.deployment, spec.manifest.platform.type, spec.manifest.slo)
    return tuple(f"{locks.NAME} ({lock.profile}, {lock.made_at[:10]}): {each}" for each in found)


def measured(spec: RolloutSpec) -> Measured | None:
    """What was measured of the very version and configuration that is rolled out; None: nothing was."""
    lock = find_lock(spec)
    if lock is None or lock.platform != spec.manifest.platform.type.value or lock.rps_per_instance <= 0:
        return None
    if any(locks.departures(lock, spec.deployment, spec.manifest.platform.type, spec.manifest.slo)):
        return None
    return Measured(lock.rps_per_instance, lock.peak_rps * (1 + lock.headroom))
