"""The question before a live endpoint is touched."""

from __future__ import annotations

import sys

import typer

from deployer.errors import UsageError


def confirm(question: str, platform: str, *, yes: bool) -> None:
    """Ask on a terminal, unless the platform is local or the answer was given.

    Raises:
        UsageError: the answer is no.
    """
    if platform == "local" or yes or not sys.stdin.isatty():
        return
    if not typer.confirm(question):
        raise UsageError("not confirmed", hint="Run again with --yes.")
