"""The application, its common options, and how every command ends.

Nothing heavy is imported at the top of any command module: ``--help`` answers in a blink, and every command imports
what it needs when it runs.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from deployer.errors import DeployerError, ExitCode

app = typer.Typer(
    name="deployer",
    help="Get a new model version in front of users safely: gated rollouts that put everything back by themselves.",
    epilog="Exit codes: 0 done, 2-5 nothing changed, 10-13 changed and restored, 20 paused, 30 and 1 a human must act.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Target = Annotated[str, typer.Argument(metavar="ENDPOINT|MANIFEST", help="Name of an endpoint, or a manifest file.")]
LocalEndpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of a local endpoint.")]
ManifestFile = Annotated[Path, typer.Argument(metavar="MANIFEST", help="The rollout manifest.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]


_answers: list[ExitCode] = []
"""Exit codes of the commands that ran in this process: none while the command line itself is wrong."""


def usage_problem(code: object) -> bool:
    """Whether the process ends with ``code`` because typer did not understand the command line."""
    return code == ExitCode.USAGE and not _answers


def style(code: ExitCode) -> str:
    """Colour of a command's last line."""
    return "bold green" if code is ExitCode.OK else "bold yellow" if code is ExitCode.PAUSED else "bold red"


def run(body: Callable[[], ExitCode], *, as_json: bool, debug: bool) -> None:
    """Run a command's body and leave with its exit code, whatever happens in it."""
    try:
        code = body()
    except DeployerError as exc:
        from deployer.report.output import Output  # noqa: PLC0415 - only an error pays for it

        Output(as_json=as_json).error(exc)
        code = exc.exit_code
        if debug:
            traceback.print_exc()
    except (typer.Exit, typer.Abort):
        raise
    except Exception as exc:  # noqa: BLE001 - the one place where a bug becomes an exit code
        from deployer.report.output import Output  # noqa: PLC0415

        Output(as_json=as_json).bug(exc)
        code = ExitCode.BUG
        if debug:
            traceback.print_exc()
    _answers.append(code)
    raise typer.Exit(int(code))
