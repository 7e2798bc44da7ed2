"""Commands about the gate: what it would have decided, and what it can decide at your traffic."""

# ruff: noqa: PLC0415, FBT002 - imports inside the commands (see base.py); options are booleans with defaults

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, ManifestFile, app, run
from deployer.errors import ExitCode

gate_app = typer.Typer(help="The gate on recorded or simulated traffic.", no_args_is_help=True)
app.add_typer(gate_app, name="gate")


@gate_app.command(epilog="Example: deployer gate backtest rollout.yaml --telemetry yesterday.parquet")
def backtest(
    manifest: ManifestFile,
    telemetry: Annotated[Path, typer.Option("--telemetry", help="Recorded requests: Parquet or CSV (see the README).")],
    stable: Annotated[str, typer.Option("--stable", help="Name of the stable in the file.")] = "blue",
    candidate: Annotated[str, typer.Option("--candidate", help="Name of the candidate in the file.")] = "green",
    every: Annotated[str, typer.Option("--every", help="How often the gate looks, as 10s.")] = "10s",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what the gate would have decided on recorded traffic, and when, knowing only what had arrived by then.

    Exit 0 pass, 10 fail, 11 inconclusive.
    """

    def body() -> ExitCode:
        from deployer.cli.quantities import seconds
        from deployer.report.gate import backtest_text
        from deployer.report.output import Output
        from deployer.wiring import gate

        every_s = seconds("--every", every)
        outcome = gate.backtest(manifest, telemetry, stable=stable, candidate=candidate, every_s=every_s)
        Output(as_json=json).result(outcome.document(), backtest_text(outcome.verdict))
        return {"pass": ExitCode.OK, "fail": ExitCode.GATE_FAILED}.get(outcome.result.value, ExitCode.INCONCLUSIVE)

    run(body, as_json=json, debug=debug)


@gate_app.command(epilog="Example: deployer gate simulate rollout.yaml --rps 5")
def simulate(
    manifest: ManifestFile,
    rps: Annotated[float, typer.Option("--rps", min=0.001, max=100_000, help="Requests a second of the endpoint.")],
    weight: Annotated[int, typer.Option("--weight", min=1, max=99, help="Candidate's share, percent.")] = 10,
    duration: Annotated[str, typer.Option("--duration", help="How long each simulated rollout lasts.")] = "30m",
    runs: Annotated[int, typer.Option("--runs", min=1, max=10_000, help="Rollouts per scenario.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Repeats what is left to chance.")] = 1,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Simulate the gate at your traffic: false rollbacks, missed regressions, time to decide."""

    def body() -> ExitCode:
        from deployer.cli.quantities import seconds
        from deployer.report.output import Output
        from deployer.wiring import gate

        long_s = seconds("--duration", duration)
        found = gate.simulate(manifest, rps=rps, weight_pct=weight, duration_s=long_s, runs=runs, seed=seed)
        Output(as_json=json).result(found, str(found["picture"]))
        return ExitCode.OK

    run(body, as_json=json, debug=debug)
