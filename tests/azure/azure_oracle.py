"""What must hold of every history, whatever happened in it: INVARIANTS T, G, C and K, as far as they can be seen."""

from __future__ import annotations

from azure_rollouts import SECRETS, AzureWorld, Moment

from deployer.errors import DeployerError, ExitCode
from deployer.rollout.ending import Ended

CALLS_MAX = 1_500
"""Of one run; an undisturbed one makes some 130."""
SECONDS_MAX = 5_400.0
READY = frozenset({"Succeeded", "Updating", "Scaling"})
"""States in which instances answer."""


def check_history(world: AzureWorld, *, bad: bool = False) -> None:
    """Traffic at every moment: whole, earned, to who is ready; the stable whole until the candidate has all."""
    seen = 0
    for before, now in zip(world.history, world.history[1:], strict=False):
        assert sum(now.traffic.values()) == 100 or not before.traffic, f"{now.traffic} at {now.at}"
        assert all(0 < share <= 100 for share in now.traffic.values())
        if now.call in world.edited:
            continue
        _check_ready(before, now)
        _check_stable(before, now)
        earned = world.strategy["canary"]["steps"][0] if bad else 100
        assert now.traffic.get("green", 0) <= earned, f"a bad version has {now.traffic}"
        seen += 1
    assert seen or len(world.history) == 1


def _check_ready(before: Moment, now: Moment) -> None:
    for name, share in now.traffic.items():
        if share > before.traffic.get(name, 0):
            assert now.states.get(name) in READY, f"{name} gets {share} % and is {now.states.get(name)}"
            assert now.capacity[name] >= 1


def _check_stable(before: Moment, now: Moment) -> None:
    if before.traffic == {"green": 100} or "blue" not in before.capacity:
        return
    assert now.capacity.get("blue", 0) >= before.capacity["blue"], "the stable was made smaller or deleted"
    assert now.states["blue"] != "Deleting"


def check_wire(world: AzureWorld) -> None:
    """What was sent: bounded, never a live endpoint without traffic, nothing of what the service injects."""
    assert len(world.wire.calls) <= CALLS_MAX
    assert (world.clock.now() - world.started).total_seconds() <= SECONDS_MAX
    for method, path, body in world.sent():
        if method == "PUT" and path.endswith("/onlineEndpoints/digits"):
            properties = body["properties"]
            assert sum(properties["traffic"].values()) == 100, f"{path}: {properties['traffic']}"
            own = properties["properties"] or {}
            assert not {"createdBy", "createdAt", "lastModifiedAt", "AzureAsyncOperationUri"} & set(own)
            assert body["tags"].get("team") == "ml"


def check_told(world: AzureWorld) -> None:
    """No secret left the process, and nothing was printed by anything but deployer."""
    for text in world.told():
        for secret in SECRETS:
            assert secret not in text, f"{secret} in {text[:300]}"
    assert world.said.getvalue() == ""


def check_end(world: AzureWorld, ended: Ended | DeployerError) -> None:
    """It ended whole, or said that a human must act; the words name what happened and what is next."""
    text = ended.message if isinstance(ended, DeployerError) else ended.text
    assert text
    assert "\n" not in text.strip()
    assert "internal error" not in text, text
    assert ended.exit_code is not ExitCode.BUG, text
    if isinstance(ended, DeployerError):
        assert ended.hint.endswith("."), text
    if ended.exit_code in (ExitCode.STUCK, ExitCode.PAUSED):
        return
    whole = [name for name, share in world.traffic().items() if share == 100]
    untouched = isinstance(ended, DeployerError) and ended.exit_code in (ExitCode.REFUSED, ExitCode.PLATFORM)
    assert whole or untouched, f"{world.traffic()} after {ended.exit_code!r}: {text}"
    if ended.exit_code is ExitCode.OK and not isinstance(ended, DeployerError):
        assert world.live_digest() == "new"


def check_all(world: AzureWorld, ended: Ended | DeployerError, *, bad: bool = False) -> None:
    """All of the above."""
    check_history(world, bad=bad)
    check_wire(world)
    check_told(world)
    check_end(world, ended)
