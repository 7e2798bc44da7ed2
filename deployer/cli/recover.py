"""``recover``: what a scheduled job, and the last job of a pipeline, run."""

# ruff: noqa: PLC0415, FBT002 - imports inside the functions (see base.py); options are booleans with defaults

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployer.cli.base import Debug, Json, Where, app, reaching, run
from deployer.cli.ending import Endings, conclude
from deployer.errors import ExitCode

if TYPE_CHECKING:  # slow to import; the commands do it when they run
    from deployer.engine.recover import Recovered
    from deployer.report.output import Output

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="ENDPOINT|MANIFEST|FOLDER",
        help="Names of endpoints, manifests, or folders: every rollout manifest in them.",
    ),
]


@app.command(epilog="Example: deployer recover manifests/managed")
@reaching
def recover(targets: Targets, json: Json = False, debug: Debug = False, *, where: Where) -> None:
    """End what killed runners left half-way. A rollout that somebody runs, and a pause, are left alone.

    Of several endpoints one that cannot be recovered does not keep the others; the exit code is the worst.
    """

    def body() -> ExitCode:
        from deployer.report.output import Output
        from deployer.wiring.manifests import spread

        out = Output(as_json=json)
        if len(targets) == 1 and not Path(targets[0]).is_dir():
            done = _put_right(out, targets[0], where, [])
            return conclude(out, done.ended, targets[0], {"found": done.found.value, "runner": done.runner})
        return _put_all_right(out, spread(targets), where)

    run(body, as_json=json, debug=debug)


def _put_all_right(out: Output, targets: list[str], where: Where) -> ExitCode:
    """Recover each, one after the other, until a signal comes."""
    endings = Endings(out)
    seen: list[Callable[[], str | None]] = []
    for target in targets:
        try:
            done = _put_right(out, target, where, seen)
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with one endpoint, the others are put right
            endings.failed(target, exc)
        else:
            endings.add(target, done.ended, {"found": done.found.value, "runner": done.runner})
    return endings.conclude()


def _put_right(out: Output, target: str, where: Where, seen: list[Callable[[], str | None]]) -> Recovered:
    """Recover one; ``seen`` says which signal came while others were recovered, and gets what says so of this one.

    Raises:
        StoppedError: a signal came before this one was begun.
    """
    from deployer.engine.recover import recover as put_right
    from deployer.wiring import sites
    from deployer.wiring.notify import told

    _refuse_after_a_signal(seen)
    reached = sites.reach(target, where=None if sites.is_manifest(target) else where)
    _refuse_after_a_signal(seen)  # that came meanwhile
    reached.signals.install()
    seen.append(reached.signals)
    with told(out.listener(), reached) as (listener, reached):
        return put_right(reached.site, reached.known_job(), listener)


def _refuse_after_a_signal(seen: list[Callable[[], str | None]]) -> None:
    from deployer.engine.lease import StoppedError

    if stopped := next(filter(None, (signal() for signal in seen)), None):
        raise StoppedError(f"not tried: {stopped} came", hint="Run deployer recover again.")
