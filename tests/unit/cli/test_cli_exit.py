"""How commands end: exit codes, one JSON document, errors that say what to do, tracebacks only when asked for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMANDS, LOCAL, QUICKSTART, call, start

import deployer.wiring.sites
from deployer.cli.base import style
from deployer.errors import ExitCode, StoreError

BAD = "version: 1\nname: digits\nplatform: local\nendpiont: endpoint.yml\n"


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return str(path)


# ---- what is wrong with the command line, the manifest, the endpoint

WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown command": (("rolout", QUICKSTART), 2, "No such command 'rolout'"),
    "unknown option": (("plan", QUICKSTART, "--jsn"), 2, "No such option"),
    "missing argument": (("plan",), 2, "Missing argument"),
    "neither file nor name": (("status", "a_b"), 2, "neither a file nor the name of an endpoint"),
    "no such manifest": (("plan", "nowhere.yaml"), 3, "the manifest does not exist"),
    "no such manifest to recover": (("recover", "nowhere.yaml", "--platform", "managed"), 3, "manifest does not exist"),
    "no such manifest to show": (("dashboard", "nowhere.yaml", "--platform", "managed"), 3, "manifest does not exist"),
    "no such endpoint": (("status", "nowhere"), 2, "there is no endpoint nowhere"),
    "skip without reason": (("rollout", QUICKSTART, "--skip-gate"), 2, "--skip-gate needs --reason"),
    "not a duration": (("gate", "simulate", QUICKSTART, "--rps", "5", "--duration", "5"), 2, "is not a duration"),
    "no time at all": (("gate", "simulate", QUICKSTART, "--rps", "5", "--duration", "0s"), 2, "not longer than 0"),
    "no such trace": (("gate", "backtest", QUICKSTART, "--telemetry", "nowhere.csv"), 2, "nowhere.csv"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_the_code_that_says_so(case: str) -> None:
    arguments, code, said = WRONG[case]
    done = call(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in re.sub(r"\s*│?\n│?\s*", " ", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("case", [name for name, (_, _, said) in WRONG.items() if not said[0].isupper()])
def test_an_understood_error_says_what_to_do_next(case: str) -> None:
    stderr = call(*WRONG[case][0]).stderr
    assert re.match(r"error: .*\n(?s:.*)  next: [A-Z].*\.\n$", stderr)


@pytest.mark.parametrize("case", [name for name, (_, _, said) in WRONG.items() if not said[0].isupper()])
def test_with_json_the_error_is_the_one_document(case: str) -> None:
    arguments, code, said = WRONG[case]
    done = call(*arguments, "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["exit_code"]) == (code, code)
    assert said in found["error"]["message"]
    assert found["error"]["hint"]


def test_with_json_a_misunderstood_command_line_answers_in_json_too() -> None:
    for arguments in (("rolout", "--json"), ("plan", "--json"), ("plan", "x.yaml", "--jsn", "--json")):
        done = start(*arguments)
        assert done.returncode == 2
        document = json.loads(done.stdout)
        assert (document["exit_code"], document["error"].keys()) == (2, {"message", "hint"})
        assert done.stderr


def test_an_understood_usage_error_is_one_document_too() -> None:
    assert json.loads(start("status", "a_b", "--json").stdout)["error"]["hint"]


@pytest.mark.parametrize("command", ["rollout", "plan", "status", "rollback", "abort"])
def test_a_bad_manifest_is_told_with_place_and_suggestion_by_every_command(command: str, bad: str) -> None:
    done = call(command, bad)
    assert done.exit_code == ExitCode.MANIFEST
    assert f"{bad}:4:1: " in done.stderr
    assert "endpoint" in done.stderr


def test_validate_counts_what_is_valid_and_lists_what_is_not(bad: str) -> None:
    assert call("validate", QUICKSTART, QUICKSTART).stdout == "2 valid\n"
    done = call("validate", QUICKSTART, bad)
    assert done.exit_code == ExitCode.MANIFEST
    assert all(line.startswith(f"{bad}:") for line in done.stdout.splitlines())


@pytest.mark.parametrize("output", [["--json"], ["--format", "json"], ["--format", "sarif"]])
def test_validate_for_machines_is_one_document_and_nothing_else(output: list[str], bad: str) -> None:
    for manifest in (QUICKSTART, bad):
        done = call("validate", manifest, *output)
        assert json.loads(done.stdout)
        assert done.stdout.count("\n\n") == 0
        assert done.exit_code == (ExitCode.OK if manifest == QUICKSTART else ExitCode.MANIFEST)


def test_validate_annotates_pull_requests(bad: str) -> None:
    lines = call("validate", bad, "--format", "github").stdout.splitlines()
    assert lines
    assert all(line.startswith("::error file=") for line in lines)


def test_all_examples_are_valid() -> None:
    assert call("validate", *(str(path) for path in LOCAL.glob("*.yaml"))).exit_code == 0


# ---- results


def test_history_and_local_status_of_nothing_are_no_errors() -> None:
    for arguments, text in (
        (("history", "digits"), "no rollouts are known on this machine"),
        (("local", "status"), "no local endpoints yet"),
        (("local", "down"), "nothing down"),
        (("local", "down", "--forget"), "nothing forgotten"),
    ):
        done = call(*arguments)
        assert (done.exit_code, done.stderr) == (0, "")
        assert text in done.stdout
        assert json.loads(call(*arguments, "--json").stdout)["exit_code"] == 0


@pytest.mark.parametrize("command", ["up", "down", "logs"])
def test_an_unknown_local_endpoint_is_named_with_what_to_do(command: str) -> None:
    done = call("local", command, "nowhere")
    assert done.exit_code == ExitCode.USAGE
    assert "there is no local endpoint nowhere" in done.stderr


def test_the_gate_on_recorded_traffic_is_one_strict_document(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    header = "timestamp,ingested_at,deployment,duration_ms,status\n"
    at = "2026-01-01T00:{:02d}:{:02d}Z"
    rows = [
        f"{at.format(n // 60, n % 60)},{at.format(n // 60, n % 60)},{name},{10 + n % 3},200\n"
        for n in range(600)
        for name in ("blue", "green")
    ]
    trace.write_text(header + "".join(rows))
    done = call("gate", "backtest", QUICKSTART, "--telemetry", str(trace), "--json")
    found = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert found["verdict"] in ("pass", "fail", "inconclusive")
    assert done.exit_code == {"pass": 0, "fail": 10, "inconclusive": 11}[found["verdict"]]
    assert found["verdict"] in call("gate", "backtest", QUICKSTART, "--telemetry", str(trace)).stdout


def test_a_simulation_is_one_strict_document() -> None:
    done = call("gate", "simulate", QUICKSTART, "--rps", "2", "--runs", "1", "--duration", "30s", "--json")
    found = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (done.exit_code, bool(found)) == (0, True)


# ---- bugs and tracebacks


def explode(*_: object, **__: object) -> None:
    raise RuntimeError("[bold]this should not be[/]")


def test_a_bug_is_one_line_with_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployer.wiring.sites, "reach", explode)
    for options in ((), ("--json",)):
        done = call("plan", QUICKSTART, *options)
        assert done.exit_code == ExitCode.BUG
        assert done.stderr.startswith("bug: RuntimeError('[bold]this should not be[/]')\n  next: ")
        assert "Traceback" not in done.stderr
        assert not options or json.loads(done.stdout)["exit_code"] == ExitCode.BUG


def test_debug_shows_the_traceback_of_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployer.wiring.sites, "reach", explode)
    done = call("plan", QUICKSTART, "--debug")
    assert done.exit_code == ExitCode.BUG
    assert "Traceback" in done.stderr


def test_debug_shows_the_traceback_of_an_error_and_keeps_its_code() -> None:
    done = start("plan", "nowhere.yaml", "--debug")
    assert done.returncode == ExitCode.MANIFEST
    assert "Traceback" in done.stderr
    assert "the manifest does not exist" in done.stderr


def test_debug_and_json_together_still_answer_in_json() -> None:
    done = start("plan", "nowhere.yaml", "--debug", "--json")
    assert done.returncode == ExitCode.MANIFEST
    assert json.loads(done.stdout)["exit_code"] == ExitCode.MANIFEST


def test_a_broken_store_has_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise StoreError("the journal was changed", hint="Move it away.")

    monkeypatch.setattr(deployer.wiring.sites, "reach", broken)
    assert call("history", "digits").exit_code == ExitCode.PLATFORM


def test_the_colour_of_the_last_line_tells_the_class_of_the_code() -> None:
    colours = {code: style(code).split()[-1] for code in ExitCode}
    assert colours.pop(ExitCode.OK) == "green"
    assert colours.pop(ExitCode.PAUSED) == "yellow"
    assert set(colours.values()) == {"red"}


def test_help_answers_without_loading_what_only_work_needs() -> None:
    script = (
        "import sys; from deployer.cli import app\n"
        "heavy = {'numpy', 'scipy', 'duckdb', 'pydantic', 'jsonschema', 'azure'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_is_known_here() -> None:
    assert {"rollout", "validate", "plan", "status", "rollback", "history", "local up", "gate backtest"} <= set(
        COMMANDS
    )
    assert "COLUMNS" not in os.environ
