"""The command that load tests an endpoint."""

# ruff: noqa: PLC0415, FBT002 - imports inside the commands (see base.py); options are booleans with defaults

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, ManifestFile, app, run, style
from deployer.cli.confirm import confirm
from deployer.errors import ExitCode


class Arrivals(StrEnum):
    """When requests come."""

    POISSON = "poisson"
    CONSTANT = "constant"


class Engine(StrEnum):
    """Who sends."""

    LOCAL = "local"
    DISTRIBUTED = "distributed"
    AZURE = "azure-load-testing"


PANEL = "Engines: who sends the load"


@app.command(epilog="Example: deployer loadtest manifests/local/quickstart.yaml --rps 40 --for 30s")
def loadtest(
    manifest: ManifestFile,
    rps: Annotated[
        float | None, typer.Option("--rps", min=0.01, max=100_000, help="Requests a second; default: load.rps.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", help="How long it is measured; default: 2m, or as the shape says.")
    ] = None,
    warm_up: Annotated[str, typer.Option("--warm-up", help="Sent before, and kept apart.")] = "10s",
    shape: Annotated[
        str, typer.Option("--shape", help="constant, soak, stages:30s@10,60s@40, or spike:5x,at=30s,for=10s.")
    ] = "constant",
    arrivals: Annotated[
        Arrivals, typer.Option("--arrivals", help="poisson (at random, as users), or constant (even gaps).")
    ] = Arrivals.POISSON,
    replay: Annotated[Path | None, typer.Option("--replay", help="File of recorded arrivals to repeat.")] = None,
    deployment: Annotated[str | None, typer.Option("--deployment", help="Send to this deployment alone.")] = None,
    payload: Annotated[
        Path | None, typer.Option("--payload", help="Body of the request, or .jsonl with one a line.")
    ] = None,
    in_flight: Annotated[
        int, typer.Option("--in-flight", min=1, max=65536, help="Most requests at once, of each process.")
    ] = 256,
    timeout: Annotated[str, typer.Option("--timeout", help="Longest wait for an answer.")] = "60s",
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Processes that share the rate.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", help="Repeats what is left to chance.")] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Processes here, Locust workers, or a service.", rich_help_panel=PANEL)
    ] = Engine.LOCAL,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=512, help="distributed: workers that share.", rich_help_panel=PANEL)
    ] = 2,
    bind: Annotated[
        str | None,
        typer.Option("--bind", help="distributed: address that other hosts' workers join.", rich_help_panel=PANEL),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="distributed: port for them.", rich_help_panel=PANEL)
    ] = 5557,
    load_testing: Annotated[
        str | None,
        typer.Option("--load-testing", help="azure-load-testing: its data plane's host.", rich_help_panel=PANEL),
    ] = None,
    key_vault_secret: Annotated[
        str | None,
        typer.Option("--key-vault-secret", help="azure-load-testing: id of the key's secret.", rich_help_panel=PANEL),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", help="File for the result: .html, .json, .xml (JUnit) or .md; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before loading a remote endpoint.")] = False,
    during_rollout: Annotated[
        bool, typer.Option("--during-rollout", help="Also while a rollout is under way.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Send real load to the manifest's endpoint and judge it against its slo.

    Exit 0 met, 10 missed, 11 not shown, 12 interrupted.
    """

    def body() -> ExitCode:
        from dataclasses import replace

        from deployer.cli.quantities import seconds
        from deployer.engine.loadtest import Asked
        from deployer.report.loadtest.progress import Progress
        from deployer.report.loadtest.text import markdown_of, text_of
        from deployer.report.output import Output
        from deployer.wiring import loadtest as wired
        from deployer.wiring import sites

        out = Output(as_json=json)
        reached = sites.reach(str(manifest), want_manifest=True)
        reached = wired.interruptible(reached)
        load = wired.load_of(
            reached.the_spec,
            rps=rps,
            seconds=None if duration is None else seconds("--for", duration),
            warm_up_s=seconds("--warm-up", warm_up, zero=True),
            shape=shape,
            arrivals=arrivals.value,
            replay=replay,
        )
        timeout_s = seconds("--timeout", timeout)
        load = replace(load, in_flight=in_flight, timeout_s=timeout_s, processes=processes, seed=seed)
        sender = wired.Engine(engine.value, workers, bind, port, load_testing, key_vault_secret)
        asked = Asked(load, wired.payload_of(reached.the_spec, payload), deployment)
        confirm(f"Send load to a live endpoint on platform {reached.platform}?", reached.platform, yes=yes)
        reached.signals.install()
        with Progress(out, reached.site.clock) as progress:
            ran = wired.run(
                reached,
                wired.tester_of(reached, sender),
                sender,
                asked,
                progress.show,
                progress.note,
                during_rollout=during_rollout,
                reports=report or [],
            )
        out.result(ran.record, text_of(ran.record), style(ran.exit_code))
        out.summarise(markdown_of(ran.record))
        return ran.exit_code

    run(body, as_json=json, debug=debug)
