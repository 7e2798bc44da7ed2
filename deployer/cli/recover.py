"""``recover``: what a scheduled job, and the last job of a pipeline, run."""

# ruff: noqa: PLC0415, FBT002 - imports inside the command (see base.py); options are booleans with defaults

from __future__ import annotations

from deployer.cli.base import Debug, Json, Target, Where, app, reaching, run, style
from deployer.errors import ExitCode


@app.command(epilog="Example: deployer recover digits")
@reaching
def recover(target: Target, json: Json = False, debug: Debug = False, *, where: Where) -> None:
    """End what a killed runner left half-way. A rollout that somebody runs, and a pause, are left alone."""

    def body() -> ExitCode:
        from deployer.engine.recover import recover as put_right
        from deployer.report.output import Output
        from deployer.report.records import ended_record, ended_text
        from deployer.wiring import sites

        out = Output(as_json=json)
        reached = sites.reach(target, where=where)
        reached.signals.install()
        with out.listener() as listener:
            done = put_right(reached.site, reached.known_job(), listener)
        record = ended_record(done.ended) | {"found": done.found.value, "runner": done.runner}
        out.result(record, ended_text(done.ended), style(done.ended.exit_code))
        return done.ended.exit_code

    run(body, as_json=json, debug=debug)
