"""The command that finds the cheapest configuration."""

# ruff: noqa: PLC0415, FBT002 - imports inside the commands (see base.py); options are booleans with defaults

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, app, run, style
from deployer.cli.confirm import confirm
from deployer.errors import ExitCode


@app.command(epilog="Example: deployer profile manifests/local/profile.yaml --write")
def profile(
    path: Annotated[Path, typer.Argument(metavar="PROFILE", help="The profile: candidates, slo, peak, budget.")],
    write: Annotated[bool, typer.Option("--write", help="Put what is recommended into the deployment file.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deploying on a remote platform.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Repeats what is left to chance.")] = 1,
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", help="File for the result: .html, .json, .xml (JUnit) or .md; may be repeated."),
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML here.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find the cheapest configuration that carries the peak within the slo, under real load on a test endpoint.

    Exit 0 recommended, 10 none carries it, 11 not known (budget, quota, endpoint's limit), 12 interrupted, 13 platform
    failed.
    """

    def body() -> ExitCode:
        from deployer.report.output import Output
        from deployer.report.profile.outlook import outlook_text
        from deployer.report.profile.progress import Progress
        from deployer.report.profile.record import answer_of
        from deployer.report.profile.text import markdown_of, text_of
        from deployer.wiring import profile as wired

        out = Output(as_json=json)
        asked = wired.reach(path)
        out.say(outlook_text(asked.spec, asked.prices, asked.warnings))
        confirm("Deploy on this test endpoint and send it load?", asked.reached.platform, yes=yes)
        asked.reached.signals.install()
        with Progress(out, asked.site.clock) as progress:
            ran = wired.run(asked, wired.tester(), progress, write=write, reports=report or [], junit=junit, seed=seed)
        code = ran.outcome.done.exit_code
        text = text_of(ran.record) + (f"\n  written: {ran.changed}" if ran.changed else "")
        out.result(answer_of(ran.record), text, style(code))
        out.summarise(markdown_of(ran.record))
        return code

    run(body, as_json=json, debug=debug)
