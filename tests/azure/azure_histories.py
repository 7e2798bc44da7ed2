"""One history: a rollout in which something happens, its oracle, and a second run in which nothing does."""

from __future__ import annotations

from pathlib import Path

from azure_oracle import check_all
from azure_rollouts import AzureWorld, fresh
from stateful.world import Killed

from deployer.engine.rollback import roll_back
from deployer.errors import DeployerError, ExitCode
from deployer.report.listeners import Quiet
from deployer.rollout.ending import Ended

ON_READS = (
    *("401", "403", "404", "429 absurd", "503", "cut before", "cut after", "stale", "garbled", "no properties"),
    *("list misses", "no token"),
)
ON_WRITES = (
    *(
        "400",
        "401",
        "403",
        "409",
        "409 retry after",
        "412",
        "429",
        "429 seconds",
        "429 date",
        "429 absurd",
        "500",
        "502",
    ),
    *("503", "504", "503 done", "cut before", "cut after", "sent twice", "garbled", "no name", "no token"),
)
PASSING = frozenset(
    {*ON_READS, *ON_WRITES} - {"400", "403", "no token"}  # these say that something is wrong
)
"""Faults of a moment, which a rollout rides out."""


def history(
    home: Path, faults: dict[int, str], *, bad: bool = False, world: AzureWorld | None = None
) -> Ended | DeployerError:
    """Roll out while ``faults`` strike, check everything, then run again undisturbed and see it converge."""
    world = world or fresh(home, bad=bad)
    ended = world.run(faults=faults)
    check_all(world, ended, bad=bad)
    if isinstance(ended, Ended) and ended.exit_code is ExitCode.STUCK:
        rescue(world)
    converge(world, bad=bad)
    return ended


def rescue(world: AzureWorld) -> None:
    """Do what a rollout that is stuck asks of a human, once the service goes on."""
    world.heal()
    assert roll_back(world.site(), Quiet(), to="blue", reason="by hand").exit_code is ExitCode.OK
    world.watch()


def converge(world: AzureWorld, *, bad: bool = False) -> None:
    """Liveness: with nothing in the way, the next run ends where an undisturbed one would."""
    world.operator.clear()
    world.heal()
    world.history.clear()
    world.watch()
    last = world.run("last")
    check_all(world, last, bad=bad)
    if bad:  # a run that died on its way back is brought back, whoever remembers why
        assert (last.exit_code, world.live_digest()) in ((ExitCode.GATE_FAILED, "base"), (ExitCode.ABORTED, "base")), (
            last
        )
    else:
        assert (last.exit_code, world.live_digest()) == (ExitCode.OK, "new"), last


def killed(world: AzureWorld, number: int, *, after: bool, rollout_id: str = "r1") -> bool:
    """Kill the process before or after the effect of its call ``number``; whether it came that far."""

    def strike(call: object) -> None:
        world.check_alive()
        if len(world.wire.calls) - 1 == number:
            world.kill()

    revive = world.revive

    def revived() -> None:
        revive()
        if after:
            watch = world.wire.after
            world.wire.after = lambda call: (watch(call), strike(call))[0]
        else:
            world.wire.before = strike

    world.revive = revived  # type: ignore[method-assign]
    try:
        world.run(rollout_id)
    except Killed:
        return True
    finally:
        world.revive = revive  # type: ignore[method-assign]
    return False
