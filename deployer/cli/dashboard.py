"""The command that shows endpoints and rollouts in a browser."""

# ruff: noqa: PLC0415, FBT002 - imports inside the command (see base.py); options are booleans with defaults

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, Where, app, reaching, run
from deployer.errors import ExitCode, UsageError, how_to_install


@app.command(epilog="Example: deployer dashboard --open")
@reaching
def dashboard(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="ENDPOINT|MANIFEST", help="Also look at these; local endpoints always are."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any.")] = 8321,
    expose: Annotated[bool, typer.Option("--expose", help="Allow an address that other machines reach.")] = False,
    browse: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    json: Json = False,
    debug: Debug = False,
    *,
    where: Where,
) -> None:
    """Show endpoints, rollouts and their evidence as web pages that keep themselves up to date. Changes nothing."""

    def body() -> ExitCode:
        from deployer.report.output import Output

        try:
            from deployer.dashboard.opening import open_in_browser
            from deployer.dashboard.serving import prepare
        except ModuleNotFoundError as exc:
            if (exc.name or "").split(".")[0] not in ("starlette", "uvicorn", "anyio"):
                raise
            raise UsageError(f"the dashboard needs {exc.name}", hint=how_to_install("dashboard")) from exc
        out = Output(as_json=json)

        made = prepare(targets or [], where, host=host, port=port, exposed=expose)
        address = made.address
        record = {"exit_code": 0, "url": address.url, "host": address.host, "port": address.port}
        warning = "\nother machines can read it too, unencrypted" if expose else ""
        out.result(record, f"{address.url}\nread-only; Ctrl-C ends it{warning}")
        if browse:
            open_in_browser(address.url)
        made.run()
        return ExitCode.OK

    run(body, as_json=json, debug=debug)
