"""Commands about the embedded platform."""

# ruff: noqa: PLC0415, FBT002 - imports inside the commands (see base.py); options are booleans with defaults

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, LocalEndpoint, app, run
from deployer.errors import ExitCode

local_app = typer.Typer(help="The embedded platform on this machine.", no_args_is_help=True)
app.add_typer(local_app, name="local")


@local_app.command("status", epilog="Example: deployer local status")
def local_status(json: Json = False, debug: Debug = False) -> None:
    """List the local endpoints and what runs of them. Starts nothing."""

    def body() -> ExitCode:
        from deployer.local import lifecycle
        from deployer.report.local import local_text
        from deployer.report.output import Output
        from deployer.wiring import sites

        found = lifecycle.status(sites.home())
        Output(as_json=json).result({"exit_code": 0, "endpoints": found}, local_text(found))
        return ExitCode.OK

    run(body, as_json=json, debug=debug)


@local_app.command("up", epilog="Example: deployer local up digits")
def local_up(endpoint: LocalEndpoint, json: Json = False, debug: Debug = False) -> None:
    """Start an endpoint that was brought down, as it was."""

    def body() -> ExitCode:
        from deployer.local import lifecycle
        from deployer.report.local import local_text
        from deployer.report.output import Output
        from deployer.wiring import sites

        found = lifecycle.up(sites.home(), endpoint) | {"endpoint": endpoint, "running": True}
        Output(as_json=json).result({"exit_code": 0, "endpoints": [found]}, local_text([found]))
        return ExitCode.OK

    run(body, as_json=json, debug=debug)


@local_app.command("down", epilog="Example: deployer local down --forget")
def local_down(
    endpoint: Annotated[str | None, typer.Argument(metavar="ENDPOINT", help="Its name; all when left out.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Also remove deployments, traffic and telemetry.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """End every process of the local platform; what is recorded stays, unless it is forgotten."""

    def body() -> ExitCode:
        from deployer.local import lifecycle
        from deployer.report.output import Output
        from deployer.wiring import sites

        names = lifecycle.down(sites.home(), endpoint, forget=forget)
        text = f"{', '.join(names) or 'nothing'} {'forgotten' if forget else 'down'}"
        Output(as_json=json).result({"exit_code": 0, "endpoints": names, "forgotten": forget}, text)
        return ExitCode.OK

    run(body, as_json=json, debug=debug)


@local_app.command("logs", epilog="Example: deployer local logs digits --part green-0 --lines 200")
def local_logs(
    endpoint: LocalEndpoint,
    part: Annotated[str | None, typer.Option("--part", help="daemon, envoy, or an instance such as blue-0.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many of the last.")] = 100,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the last lines that an endpoint's parts printed."""

    def body() -> ExitCode:
        from deployer.local import lifecycle
        from deployer.report.output import Output
        from deployer.wiring import sites

        text = lifecycle.logs(sites.home(), endpoint, part=part, lines=lines)
        Output(as_json=json).result({"exit_code": 0, "endpoint": endpoint, "part": part, "text": text}, text)
        return ExitCode.OK

    run(body, as_json=json, debug=debug)
