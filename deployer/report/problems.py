"""What ``validate`` prints: problems as text for people, JSON, SARIF for code scanning, annotations on GitHub."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deployer.errors import ExitCode
from deployer.manifest.problems import Problem
from deployer.report.ci import github_data, github_property
from deployer.report.harmless import plain

RULE = "manifest"


def render(problems: Sequence[Problem], format: str) -> str:  # noqa: A002 - the name of the option
    """Write ``problems`` (possibly none) in one of ``FORMATS``, with a final newline unless there is nothing to say.

    Raises:
        KeyError: the format is none of ``FORMATS``.
    """
    return FORMATS[format](problems)


def _text(problems: Sequence[Problem]) -> str:
    return "".join(f"{plain(str(problem))}\n" for problem in problems)


def _json(problems: Sequence[Problem]) -> str:
    code = ExitCode.MANIFEST if problems else ExitCode.OK
    record = {"exit_code": int(code), "problems": [asdict(problem) for problem in problems]}
    return _document(record)


def _sarif(problems: Sequence[Problem]) -> str:
    """SARIF 2.1.0 with what code scanning needs.

    Source: docs.oasis-open.org/sarif/sarif/v2.1.0, sections 3.13, 3.14, 3.27.
    """
    rule = {"id": RULE, "shortDescription": {"text": "The manifest, or a file it names, is wrong."}}
    driver = {"name": "deployer", "rules": [rule]}
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem) for problem in problems],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return _document({"$schema": schema, "version": "2.1.0", "runs": [run]})


def _document(record: dict[str, Any]) -> str:
    """One JSON document, without what a CI system would take for a command (as ``output.document``, without rich)."""
    return json.dumps(record, indent=2).replace("##", "#\\u0023") + "\n"


def _result(problem: Problem) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": _uri(problem.file)},
        "region": {"startLine": problem.line, "startColumn": problem.column},
    }
    return {
        "ruleId": RULE,
        "level": "error",
        "message": {"text": sentence(problem)},
        "locations": [{"physicalLocation": place}],
    }


def _uri(file: str) -> str:
    path = Path(file.encode("utf-8", "replace").decode())  # the name may hold bytes that are no text
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def sentence(problem: Problem) -> str:
    """Say what is wrong and what to write instead, without the place."""
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message


def _github(problems: Sequence[Problem]) -> str:
    """Workflow commands that annotate the files of a pull request."""
    return "".join(
        f"::error file={github_property(problem.file)},line={problem.line},col={problem.column}::"
        f"{github_data(sentence(problem))}\n"
        for problem in problems
    )


FORMATS: dict[str, Callable[[Sequence[Problem]], str]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "github": _github,
}
"""Formats of ``render`` by the name users give."""
