"""Commands that look before and clean up after: doctor and gc."""

# ruff: noqa: PLC0415, FBT002 - imports inside the commands (see base.py); options are booleans with defaults

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, ManifestFile, Target, Where, app, reaching, run
from deployer.errors import ExitCode


@app.command(epilog="Example: deployer doctor manifests/managed/canary.yaml")
def doctor(manifest: ManifestFile, json: Json = False, debug: Debug = False) -> None:
    """Check identity, rights, quota, telemetry and what else a rollout needs. Changes nothing.

    Exit 0 nothing fails and all is known, 5 otherwise.
    """

    def body() -> ExitCode:
        from deployer.engine.doctor import exit_code
        from deployer.report.doctor import checks_drawing, checks_record
        from deployer.report.output import Output
        from deployer.wiring import sites

        checks = sites.reach(str(manifest), want_manifest=True).checks()
        out, code = Output(as_json=json), exit_code(checks)
        if json:
            out.result(checks_record(checks, code), "")
        else:
            out.drawing(checks_drawing(checks))
        return code

    run(body, as_json=json, debug=debug)


@app.command(epilog="Example: deployer gc digits --yes")
@reaching
def gc(
    target: Target,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove what is listed.")] = False,
    json: Json = False,
    debug: Debug = False,
    *,
    where: Where,
) -> None:
    """List what deployer left over and what it costs; with --yes remove it, each after a fresh look.

    Exit 0 done, 13 something could not be removed.
    """

    def body() -> ExitCode:
        from deployer.engine.leftovers import leftovers, sweep
        from deployer.report.leftovers import leftovers_record, leftovers_text
        from deployer.report.output import Output
        from deployer.wiring import sites

        reached = sites.reach(target, where=where)
        reached.signals.install()
        found = leftovers(reached.site, reached.caretaker)
        removed = sweep(reached.site, reached.caretaker, found) if yes and found else None
        code = ExitCode.PLATFORM if any(one.problem for one in removed or ()) else ExitCode.OK
        text = leftovers_text(reached.site.endpoint, found, removed)
        Output(as_json=json).result(leftovers_record(found, removed, code), text)
        return code

    run(body, as_json=json, debug=debug)
