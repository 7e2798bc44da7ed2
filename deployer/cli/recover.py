"""``recover``: what a scheduled job, and the last job of a pipeline, run."""

# ruff: noqa: PLC0415, FBT002 - imports inside the command (see base.py); options are booleans with defaults

from __future__ import annotations

from deployer.cli.base import Debug, Json, Target, Where, app, reaching, run
from deployer.cli.ending import conclude
from deployer.errors import ExitCode


@app.command(epilog="Example: deployer recover digits")
@reaching
def recover(target: Target, json: Json = False, debug: Debug = False, *, where: Where) -> None:
    """End what a killed runner left half-way. A rollout that somebody runs, and a pause, are left alone."""

    def body() -> ExitCode:
        from deployer.engine.recover import recover as put_right
        from deployer.report.output import Output
        from deployer.wiring import sites
        from deployer.wiring.notify import told

        out = Output(as_json=json)
        reached = sites.reach(target, where=where)
        reached.signals.install()
        with told(out.listener(), reached) as (listener, reached):
            done = put_right(reached.site, reached.known_job(), listener)
        return conclude(out, done.ended, target, {"found": done.found.value, "runner": done.runner})

    run(body, as_json=json, debug=debug)
