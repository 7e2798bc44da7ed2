"""``validate --format``: the same problems for people, programs, code scanning and pull requests."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from deployer.manifest.problems import InvalidManifestError, Problem
from deployer.report.problems import FORMATS, render

PROBLEMS = [
    Problem("manifests/a.yaml", 14, 3, "weight: 120 is over 100"),
    Problem("my dir/100%,b:c.yaml", 1, 1, "50% of\n::set-output name=x::y\r", "write it, as a: b"),
]


def test_text_is_a_line_each() -> None:
    assert render(PROBLEMS, "text") == (
        "manifests/a.yaml:14:3: weight: 120 is over 100\n"
        "my dir/100%,b:c.yaml:1:1: 50% of\\n::set-output name=x::y\\r (write it, as a: b)\n"
    )


def test_no_text_obeys_a_terminal() -> None:
    assert "\x1b" not in render([Problem("\x1b[31m.yaml", 1, 1, "\x1b]0;x\x07")], "text")


def test_json_has_every_field() -> None:
    first, second = json.loads(render(PROBLEMS, "json"))["problems"]
    assert first == {
        "file": "manifests/a.yaml",
        "line": 14,
        "column": 3,
        "message": "weight: 120 is over 100",
        "hint": "",
    }
    assert second["message"] == PROBLEMS[1].message


def test_github_annotations_escape_what_would_start_another_command() -> None:
    assert render(PROBLEMS, "github") == (
        "::error file=manifests/a.yaml,line=14,col=3::weight: 120 is over 100\n"
        "::error file=my dir/100%25%2Cb%3Ac.yaml,line=1,col=1::"
        "50%25 of%0A: :set-output name=x::y\N{REPLACEMENT CHARACTER} (write it, as a: b)\n"
    )


def test_sarif_names_tool_rule_message_and_place() -> None:
    log = json.loads(render(PROBLEMS, "sarif"))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    first, second = run["results"]
    assert first["ruleId"] == rule["id"]
    assert (first["level"], first["message"]["text"]) == ("error", "weight: 120 is over 100")
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "manifests/a.yaml"
    assert place["region"] == {"startLine": 14, "startColumn": 3}
    assert second["message"]["text"].endswith(" (write it, as a: b)")
    uri = second["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert " " not in uri
    assert unquote(uri) == PROBLEMS[1].file


def test_sarif_of_an_absolute_path_is_a_file_uri() -> None:
    result = json.loads(render([Problem("/ci/a b.yaml", 1, 1, "x")], "sarif"))["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///ci/a%20b.yaml"


@pytest.mark.parametrize("format_", FORMATS)
def test_without_problems_every_format_is_still_whole(format_: str) -> None:
    text = render([], format_)
    if format_ in ("json", "sarif"):
        assert json.loads(text)
    else:
        assert text == ""


def test_the_error_lists_all_problems_one_a_line() -> None:
    error = InvalidManifestError(PROBLEMS)
    assert error.problems == tuple(PROBLEMS)
    assert error.message == render(PROBLEMS, "text").rstrip("\n")
    assert error.exit_code == 3
