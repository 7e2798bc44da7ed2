"""Commands about past rollouts: their evidence, and whether it proves what was decided."""

# ruff: noqa: PLC0415, FBT002 - imports inside the commands (see base.py); options are booleans with defaults

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, app, run
from deployer.errors import ExitCode

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Id of a rollout, or its beginning; an endpoint: its latest; `latest`: of all; or a journal's path, or "
        "its folder's.",
    ),
]


class ReportFormat(StrEnum):
    """How the evidence is written."""

    HTML = "html"
    JSON = "json"
    JUNIT = "junit"
    MARKDOWN = "markdown"


@app.command(epilog="Example: deployer report digits --output report.html")
def report(
    of: Run,
    form: Annotated[ReportFormat, typer.Option("--format", help="How it is written.")] = ReportFormat.HTML,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; - is standard output.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the evidence of a rollout: what was decided, when, by whom, and the numbers behind it."""

    def body() -> ExitCode:
        from deployer.report.output import Output
        from deployer.report.rollout.record import record_of
        from deployer.report.rollout.writing import write
        from deployer.wiring import evidence

        out = Output(as_json=json)
        record = record_of(evidence.read(of, recompute=False))
        if json:
            out.result(record, "")
            return ExitCode.OK
        path = output or evidence.default_report(record["rollout"]["rollout_id"], form.value)
        written = write(record, form.value, path)
        out.result({}, written)
        return ExitCode.OK

    run(body, as_json=json, debug=debug)


@app.command(epilog="Example: deployer explain digits")
def explain(of: Run, json: Json = False, debug: Debug = False) -> None:
    """Recompute every verdict of a rollout from its evidence.

    Exit 0 all match, 10 one does not, 11 it cannot be known.
    """

    def body() -> ExitCode:
        from deployer.report.output import Output
        from deployer.report.rollout.record import proven, record_of
        from deployer.report.rollout.text import explained
        from deployer.wiring import evidence

        record = record_of(evidence.read(of))
        code = proven(record)
        Output(as_json=json).result({**record, "exit_code": int(code)}, explained(record))
        return code

    run(body, as_json=json, debug=debug)
