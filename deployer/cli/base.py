"""The application, its common options, and how every command ends.

Nothing heavy is imported at the top of any command module: ``--help`` answers in a blink, and every command imports
what it needs when it runs.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

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
Where = Mapping[str, str | None]
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
            _show_traceback()
    except (typer.Exit, typer.Abort):
        raise
    except Exception as exc:  # noqa: BLE001 - the one place where a bug becomes an exit code
        from deployer.report.output import Output  # noqa: PLC0415

        Output(as_json=as_json).bug(exc)
        code = ExitCode.BUG
        if debug:
            _show_traceback()
    _answers.append(code)
    raise typer.Exit(int(code))


def _show_traceback() -> None:
    """Print the traceback of what is being handled; texts from outside in it steer neither terminal nor CI system."""
    from deployer.report.harmless import plain  # noqa: PLC0415

    typer.echo(plain(traceback.format_exc()), err=True, nl=False)


PANEL = "Where an endpoint given by name lives"
_WHERE: dict[str, Any] = {
    "platform": Annotated[
        str | None,
        typer.Option("--platform", help="local, managed (assumed on Azure) or kubernetes.", rich_help_panel=PANEL),
    ],
    "subscription": Annotated[
        str | None, typer.Option("--subscription", help="Azure subscription, by its id.", rich_help_panel=PANEL)
    ],
    "resource_group": Annotated[
        str | None, typer.Option("--resource-group", help="Resource group of the workspace.", rich_help_panel=PANEL)
    ],
    "workspace": Annotated[str | None, typer.Option("--workspace", help="Azure ML workspace.", rich_help_panel=PANEL)],
    "cloud": Annotated[
        str | None, typer.Option("--cloud", help="AzureCloud, or another one by its name.", rich_help_panel=PANEL)
    ],
}


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options that say where an endpoint lives; it gets them as ``where``.

    The names are those of ``deployer.wiring.where.OPTIONS``, which is too slow to import here.
    """
    own = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        where = {name: given.pop(name) for name in _WHERE}
        command(**given, where=where)

    kept = [parameter for name, parameter in own.parameters.items() if name != "where"]
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, kind, default=None, annotation=hint) for name, hint in _WHERE.items()]
    signature = own.replace(parameters=[*kept, *added])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    return wrapped
