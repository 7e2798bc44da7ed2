"""The CI system that runs a command, when there is one: groups, annotations, a summary and outputs in its own words.

Nothing here may fail a rollout: a file that cannot be written is a word on standard error. Nothing that comes from
outside may become a command: texts are made harmless (``harmless.plain``), escaped for the place they stand in, and an
output of several lines ends with a delimiter that nobody can guess.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deployer.report.harmless import plain
from deployer.report.markdown import bounded

LONGEST = 4_000
"""Characters of one annotation; GitHub cuts at 4,096 bytes, and the log has all of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something is wrong; lines and columns count from 1."""

    file: str
    line: int = 1
    column: int = 1


class Ci(Protocol):
    """What a CI system can be told. Each method returns the text to print, with its line end; empty: nothing."""

    def begin(self, title: str) -> str:
        """Begin a group of lines that can be folded."""
        ...

    def end(self) -> str:
        """End the group."""
        ...

    def complain(self, level: str, text: str, place: Place | None = None) -> str:
        """Show ``text`` beside the run, or at its place in the file; ``level`` is ``error`` or ``warning``."""
        ...

    def outputs(self, values: Mapping[str, str]) -> str:
        """Pass ``values`` on to later steps.

        Raises:
            OSError: they cannot be written.
        """
        ...

    def summary(self, markdown: str) -> str:
        """Show ``markdown`` on the run's page.

        Raises:
            OSError: it cannot be written.
        """
        ...


class GitHub:
    """GitHub Actions.

    Source: docs.github.com/actions/reference/workflows-and-actions/workflow-commands (environment files, delimiters);
    escaping as actions/toolkit, packages/core/src/command.ts; read 2026-11-25.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def begin(self, title: str) -> str:
        """Begin a group."""
        return f"::group::{github_data(title)}\n"

    def end(self) -> str:
        """End the group."""
        return "::endgroup::\n"

    def complain(self, level: str, text: str, place: Place | None = None) -> str:
        """Annotate the run, or the line of a file of the repository."""
        where = "title=deployer"
        if place is not None:
            file = github_property(_within(place.file, self._env.get("GITHUB_WORKSPACE")))
            where = f"file={file},line={place.line},col={place.column},{where}"
        return f"::{level} {where}::{github_data(text)}\n"

    def outputs(self, values: Mapping[str, str]) -> str:
        """Append to the file of the step's outputs."""
        lines: list[str] = []
        for name, value in values.items():
            end = f"end-{secrets.token_hex(16)}"
            lines += [f"{name}<<{end}", plain(value), end]
        self._append("GITHUB_OUTPUT", "".join(f"{line}\n" for line in lines))
        return ""

    def summary(self, markdown: str) -> str:
        """Append to the file of the step's summary."""
        self._append("GITHUB_STEP_SUMMARY", f"{bounded(markdown)}\n")
        return ""

    def _append(self, variable: str, text: str) -> None:
        name = self._env.get(variable)
        if name:
            with Path(name).open("a", encoding="utf-8") as file:
                file.write(text)


class AzurePipelines:
    """Azure Pipelines.

    Source: learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands; escaping as azure-pipelines-task-lib,
    node/taskcommand.ts; read 2026-11-25.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def begin(self, title: str) -> str:
        """Begin a group; its title is shown as it stands."""
        return f"##[group]{_short(title).replace(chr(10), ' ')}\n"

    def end(self) -> str:
        """End the group."""
        return "##[endgroup]\n"

    def complain(self, level: str, text: str, place: Place | None = None) -> str:
        """Log an issue of the run."""
        where = f"type={level}"
        if place is not None:
            file = _azure_property(_within(place.file, self._env.get("BUILD_SOURCESDIRECTORY")))
            where += f";sourcepath={file};linenumber={place.line};columnnumber={place.column}"
        return f"##vso[task.logissue {where}]{_azure_data(text)}\n"

    def outputs(self, values: Mapping[str, str]) -> str:
        """Set output variables of the step."""
        return "".join(
            f"##vso[task.setvariable variable={_azure_property(name)};isOutput=true]{_azure_data(value)}\n"
            for name, value in values.items()
        )

    def summary(self, markdown: str) -> str:
        """Write the file that the agent attaches to the run."""
        folder = Path(self._env.get("AGENT_TEMPDIRECTORY") or self._env.get("TMPDIR") or "/tmp")  # noqa: S108 - an agent's
        path = folder / f"deployer-{secrets.token_hex(4)}.md"
        path.write_text(bounded(markdown), encoding="utf-8")
        return f"##vso[task.uploadsummary]{_azure_data(str(path))}\n"


def recognise(env: Mapping[str, str] = os.environ) -> Ci | None:
    """The CI system that this process runs in, by the variable that it documents for that; None: none that we know."""
    if env.get("GITHUB_ACTIONS") == "true" or env.get("GITHUB_STEP_SUMMARY"):  # in a container, somebody passes it on
        return GitHub(env)
    return AzurePipelines(env) if env.get("TF_BUILD", "").lower() == "true" else None


def outputs_of(record: Mapping[str, Any], report: str = "") -> dict[str, str]:
    """What later steps may ask of a command that ended: ``record`` as ``records.ended_record`` writes it.

    ``outcome`` is the rollout's, or ``ok``, ``paused``, ``refused``, ``error`` where there was none.
    """
    rollout: Mapping[str, Any] = record.get("rollout") or {}
    code = int(record["exit_code"])
    words = {0: "ok", 20: "paused", 30: "stuck"}
    otherwise = words.get(code, "refused" if 2 <= code <= 9 else "error")
    return {
        "exit_code": str(code),
        "outcome": str(rollout.get("outcome") or otherwise),
        "rollout_id": str(rollout.get("rollout_id", "")),
        "candidate": str(rollout.get("candidate", "")),
        "stable": str(rollout.get("stable") or ""),
        "traffic": json.dumps(rollout.get("traffic") or {}),
        "report": report,
    }


def github_data(text: str) -> str:
    """Escape what follows a workflow command."""
    return _short(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def github_property(text: str) -> str:
    """Escape the value of a workflow command's property."""
    return github_data(text).replace(":", "%3A").replace(",", "%2C")


def _azure_data(text: str) -> str:
    return _short(text).replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")


def _azure_property(text: str) -> str:
    return _azure_data(text).replace("]", "%5D").replace(";", "%3B")


def _short(text: str) -> str:
    harmless = plain(text)
    return harmless if len(harmless) <= LONGEST else f"{harmless[:LONGEST]}…"


def _within(file: str, root: str | None) -> str:
    """The path as the repository knows it."""
    path = Path(file).absolute()
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else file
