"""Commands about rollouts and endpoints."""

# ruff: noqa: PLC0415, FBT002 - imports inside the commands (see base.py); options are booleans with defaults

from __future__ import annotations

import atexit
import gc
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.base import Debug, Json, ManifestFile, Reason, Target, Where, app, reaching, run
from deployer.cli.confirm import confirm
from deployer.cli.ending import conclude
from deployer.errors import ExitCode, UsageError


class ProblemFormat(StrEnum):
    """How ``validate`` prints what is wrong."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


@app.command(epilog="Example: deployer rollout manifests/local/quickstart.yaml")
def rollout(
    manifest: ManifestFile,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before changing a remote endpoint.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Go on in the background; watch with status.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Take the lease of a run known to be dead.")] = False,
    skip_gate: Annotated[bool, typer.Option("--skip-gate", help="Do not ask the gate; needs --reason.")] = False,
    reason: Reason = "",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Deploy, shift, judge, then promote or put everything back. Safe to run again after any interruption."""

    def body() -> ExitCode:
        from deployer.engine.operations import roll_out
        from deployer.report.output import Output
        from deployer.wiring import sites
        from deployer.wiring.notify import told

        if skip_gate and not reason:
            raise UsageError("--skip-gate needs --reason", hint="Say why: it is kept in the journal.")
        out = Output(as_json=json)
        reached = sites.reach(str(manifest), want_manifest=True)
        if detach:
            return _detach(as_json=json)
        confirm(f"Change a live endpoint on platform {reached.platform}?", reached.platform, yes=yes)
        reached.signals.install()
        with told(out.listener(), reached) as (listener, reached):
            done = roll_out(
                reached.site,
                reached.job(listener.on_note),
                listener,
                rollout_id=sites.new_id(reached.site.clock),
                take_over=take_over,
                skip_gate=reason if skip_gate else None,
            )
        return conclude(out, done, str(manifest))

    run(body, as_json=json, debug=debug)


@app.command(epilog="Example: deployer validate --format github manifests/*/*.yaml")
def validate(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST", help="Manifests and profiles to check.")],
    output: Annotated[ProblemFormat, typer.Option("--format", help="How to print what is wrong.")] = ProblemFormat.TEXT,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check manifests, profiles and every file they name. Needs no network and changes nothing.

    Exit 0 valid, 3 not.
    """

    def body() -> ExitCode:
        atexit.register(gc.freeze)  # no search for garbage at exit: 60-90 ms (where nanobind is loaded it complains)
        from deployer.report.ci import outputs_of, recognise
        from deployer.report.problems import render
        from deployer.wiring.checks import problems_of

        problems = [problem for path in manifests for problem in problems_of(path)]
        chosen = "json" if json else output.value
        text = render(problems, chosen)
        if text:
            typer.echo(text, nl=False)
        if not problems and chosen == "text":
            typer.echo(f"{len(manifests)} valid")
        code = ExitCode.MANIFEST if problems else ExitCode.OK
        if recognise() is not None:
            from deployer.report.output import Output

            out = Output(as_json=json)
            out.annotate_problems(() if chosen == "github" else problems)
            out.pass_on(outputs_of({"exit_code": code}))
        return code

    run(body, as_json=json, debug=debug)


class PlanFormat(StrEnum):
    """How ``plan`` is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


@app.command(epilog="Example: deployer plan manifests/local/quickstart.yaml")
def plan(
    manifest: ManifestFile,
    form: Annotated[PlanFormat, typer.Option("--format", help="How it is written.")] = PlanFormat.TEXT,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what a rollout would do, step by step. Writes nothing."""

    def body() -> ExitCode:
        from deployer.report.ci import outputs_of
        from deployer.report.output import Output
        from deployer.report.plan import preview_markdown, preview_record, preview_text
        from deployer.wiring import sites
        from deployer.wiring.preview import preview

        found = preview(sites.reach(str(manifest), want_manifest=True))
        out, markdown = Output(as_json=as_json), preview_markdown(found, str(manifest))
        out.result(preview_record(found), markdown if form is PlanFormat.MARKDOWN else preview_text(found))
        out.summarise(markdown)
        out.pass_on(outputs_of({"exit_code": found.exit_code}) | {"plan": markdown})
        return found.exit_code

    as_json = json or form is PlanFormat.JSON
    run(body, as_json=as_json, debug=debug)


@app.command(epilog="Example: deployer status digits --watch")
@reaching
def status(
    target: Target,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking until the rollout ends.")] = False,
    json: Json = False,
    debug: Debug = False,
    *,
    where: Where,
) -> None:
    """Show the endpoint and its rollout, running or last, as a tree."""

    def body() -> ExitCode:
        from deployer.engine.operations import usual_of
        from deployer.engine.status import look
        from deployer.report.output import Output
        from deployer.report.status import show_status
        from deployer.wiring import sites

        reached = sites.reach(target, where=where)
        site, job, usual = reached.site, reached.known_job(), usual_of(reached.site.journal)
        wanted = job.wanted if job else None
        return show_status(lambda: look(site, wanted), site.clock, Output(as_json=json), watch=watch, usual=usual)

    run(body, as_json=json, debug=debug)


def _ask(kind: str, target: str, reason: str, where: Where, *, json: bool, debug: bool) -> None:
    def body() -> ExitCode:
        from deployer.engine.operations import ask
        from deployer.report.output import Output
        from deployer.rollout.model import Request, RequestKind
        from deployer.wiring import sites
        from deployer.wiring.notify import told

        out = Output(as_json=json)
        reached = sites.reach(target, where=where).known()
        reached.signals.install()
        request = Request(RequestKind(kind), reached.site.actor, reason)
        with told(out.listener(), reached) as (listener, reached):
            done = ask(reached.site, request, reached.known_job(), listener)
        return conclude(out, done, target)

    run(body, as_json=json, debug=debug)


@app.command(epilog="Example: deployer promote digits --full --reason 'checked by hand'")
@reaching
def promote(
    target: Target,
    full: Annotated[bool, typer.Option("--full", help="Skip to 100 %.")] = False,
    reason: Reason = "",
    json: Json = False,
    debug: Debug = False,
    *,
    where: Where,
) -> None:
    """Go on by one step, verdict or not: from a pause, or out of the step that is being judged."""
    _ask("promote_full" if full else "promote", target, reason, where, json=json, debug=debug)


@app.command(epilog="Example: deployer pause digits --reason 'incident elsewhere'")
@reaching
def pause(target: Target, reason: Reason = "", json: Json = False, debug: Debug = False, *, where: Where) -> None:
    """Keep traffic as it is until somebody resumes, promotes or aborts."""
    _ask("pause", target, reason, where, json=json, debug=debug)


@app.command(epilog="Example: deployer resume digits")
@reaching
def resume(target: Target, reason: Reason = "", json: Json = False, debug: Debug = False, *, where: Where) -> None:
    """Go on from a pause, with the step it interrupted."""
    _ask("resume", target, reason, where, json=json, debug=debug)


@app.command(epilog="Example: deployer abort digits --reason 'wrong model'")
@reaching
def abort(target: Target, reason: Reason = "", json: Json = False, debug: Debug = False, *, where: Where) -> None:
    """Stop the running rollout and bring all traffic back, verified."""
    _ask("abort", target, reason, where, json=json, debug=debug)


@app.command(epilog="Example: deployer rollback digits --to blue")
@reaching
def rollback(
    target: Target,
    to: Annotated[str | None, typer.Option("--to", help="Deployment, or number of a revision.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also onto a deployment that is not ready.")] = False,
    reason: Reason = "",
    json: Json = False,
    debug: Debug = False,
    *,
    where: Where,
) -> None:
    """Send all traffic to the last good version with one verified write. Needs no manifest; repeating does no harm."""

    def body() -> ExitCode:
        from deployer.engine.rollback import roll_back
        from deployer.report.output import Output
        from deployer.wiring import sites
        from deployer.wiring.notify import told

        out = Output(as_json=json)
        reached = sites.reach(target, where=where)
        reached.signals.install()
        with told(out.listener(), reached) as (listener, reached):
            done = roll_back(reached.site, listener, to=to, reason=reason, force=force)
            listener.on_done(done)
        return conclude(out, done, target)

    run(body, as_json=json, debug=debug)


@app.command(epilog="Example: deployer history digits")
@reaching
def history(target: Target, json: Json = False, debug: Debug = False, *, where: Where) -> None:
    """List past rollouts and rollbacks of an endpoint, as this machine's journals know them."""

    def body() -> ExitCode:
        from deployer.engine.status import past
        from deployer.report.output import Output
        from deployer.report.records import history_record, history_text
        from deployer.wiring import sites

        rows = past(sites.reach(target, where=where).site.journal)
        Output(as_json=json).result(history_record(rows), history_text(rows))
        return ExitCode.OK

    run(body, as_json=json, debug=debug)


def _detach(*, as_json: bool) -> ExitCode:
    """Start this very command again, without ``--detach``, in a session of its own."""
    from deployer.report.output import Output
    from deployer.wiring import sites

    pid, log = sites.detach([argument for argument in sys.argv[1:] if argument != "--detach"])
    Output(as_json=as_json).result(
        {"pid": pid, "log": str(log), "exit_code": 0}, f"running in the background as {pid}, printing to {log}"
    )
    return ExitCode.OK
