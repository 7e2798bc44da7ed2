"""The command that load tests an endpoint."""

# ruff: noqa: PLC0415, FBT002 - imports inside the commands (see base.py); options are booleans with defaults

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, ManifestFile, app, run, style
from deployer.errors import ExitCode


@app.command(epilog="Example: deployer loadtest manifests/local/quickstart.yaml --rps 40 --for 30s")
def loadtest(
    manifest: ManifestFile,
    rps: Annotated[
        float | None, typer.Option("--rps", min=0.01, max=100_000, help="Requests a second; default: load.rps.")
    ] = None,
    duration: Annotated[str, typer.Option("--for", help="How long it is measured.")] = "1m",
    warm_up: Annotated[str, typer.Option("--warm-up", help="Sent before, and kept apart.")] = "5s",
    shape: Annotated[
        str, typer.Option("--shape", help="constant, soak, stages:30s@10,60s@40, or spike:5x,at=30s,for=10s.")
    ] = "constant",
    arrivals: Annotated[str, typer.Option("--arrivals", help="poisson, or constant (even gaps).")] = "poisson",
    replay: Annotated[Path | None, typer.Option("--replay", help="File of recorded arrivals to repeat.")] = None,
    deployment: Annotated[str | None, typer.Option("--deployment", help="Send to this deployment alone.")] = None,
    payload: Annotated[
        Path | None, typer.Option("--payload", help="Request's body, or .jsonl with one a line.")
    ] = None,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, help="Most requests at once.")] = 256,
    timeout: Annotated[str, typer.Option("--timeout", help="Longest wait for an answer.")] = "60s",
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Processes that share the rate.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", help="Repeats the arrivals.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="Who sends: local.")] = "local",
    report: Annotated[Path | None, typer.Option("--report", help="Where the page is written.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML here.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before loading a remote endpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also while a rollout is under way.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Send real load to the manifest's endpoint and judge it against its slo. Exit 0 met, 10 missed, 11 not shown."""

    def body() -> ExitCode:
        from deployer.cli.confirm import confirm
        from deployer.cli.quantities import seconds
        from deployer.engine.loadtest import Test
        from deployer.loadtest.figures import Load
        from deployer.report.loadtest.junit import junit_of
        from deployer.report.loadtest.progress import Progress
        from deployer.report.loadtest.text import text_of
        from deployer.report.output import Output
        from deployer.wiring import loadtest as wired
        from deployer.wiring import sites

        out = Output(as_json=json)
        reached = sites.reach(str(manifest), want_manifest=True)
        spec = reached.the_spec
        load = Load(
            arrivals="replay" if replay else arrivals,
            shape=shape,
            rps=wired.rate_of(spec, rps) if not replay else 0.0,
            seconds=seconds("--for", duration),
            warm_up_s=0.0 if replay else seconds("--warm-up", warm_up, zero=True),
            in_flight=in_flight,
            timeout_s=seconds("--timeout", timeout),
            processes=processes,
            seed=seed,
            replay=str(replay.absolute()) if replay else None,
        )
        test = Test(load, wired.payload_of(spec, payload), deployment)
        confirm(
            f"Send {load.rps:g} requests/s to a live endpoint on platform {reached.platform}?",
            reached.platform,
            yes=yes,
        )
        reached.signals.install()
        with Progress(out, reached.site.clock) as progress:
            for warning in wired.warnings(reached, load):
                progress.note(warning)
            ran = wired.run(reached, wired.tester_of(engine), engine, test, progress.show, force=force, report=report)
        if junit is not None:
            junit.write_text(junit_of(ran.record), encoding="utf-8")
        out.result(ran.record, text_of(ran.record), style(ran.outcome.exit_code))
        return ran.outcome.exit_code

    run(body, as_json=json, debug=debug)
