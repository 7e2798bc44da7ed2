"""What a CI system is told, and that nothing from outside is ever a command to it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from told import PROMOTED, ROLLED_BACK, tell

from deployer.cli.ending import conclude
from deployer.errors import ExitCode, PlanError
from deployer.manifest.problems import InvalidManifestError, Problem
from deployer.report.ci import AzurePipelines, Ci, GitHub, Place, outputs_of, recognise
from deployer.report.groups import Groups
from deployer.report.listeners import Lines, Many
from deployer.report.output import Output
from deployer.report.records import ended_record
from deployer.rollout.ending import Ended, ended

HOSTILE = [
    "::error::owned",
    "x\n::set-output name=a::b",
    "x\r\n::add-mask::y",
    "##vso[task.setvariable variable=a]b",
    "##[error]owned",
    "a\n##vso[task.complete result=Succeeded]",
    "]x;isOutput=true",
    "a,file=b::c",
    "%0A::error::x %25 %",
    "\x1b[2J\x1b]8;;http://evil\x07",
    "\u202egnp.exe",
    "end-0\nexit_code<<x\n0\nx",
    "a\x00b",
]


def github_commands(text: str) -> list[str]:
    """Commands as the runner finds them: at the beginning of a line, or the old form anywhere in it."""
    return [line for line in re.split(r"[\r\n]", text) if re.match(r"\s*::|.*##\[", line)]


def azure_commands(text: str) -> list[str]:
    return [line for line in re.split(r"[\r\n]", text) if "##vso[" in line or line.startswith("##[")]


def outputs_in(text: str) -> dict[str, str]:
    """Outputs as the runner reads its file."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, _, end = line.partition("<<")
        assert end, f"not the beginning of an output: {line}"
        value = []
        for inner in lines:
            if inner == end:
                break
            value.append(inner)
        found[name] = "\n".join(value)
    return found


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({"GITHUB_ACTIONS": "true"}, GitHub),
        ({"TF_BUILD": "True"}, AzurePipelines),
        ({}, type(None)),
        ({"CI": "true"}, type(None)),
    ],
)
def test_a_ci_system_is_known_by_the_variable_it_documents(env: dict[str, str], kind: type) -> None:
    assert isinstance(recognise(env), kind)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("level", ["error", "warning"])
def test_an_annotation_is_one_command_whatever_its_text_and_place_hold(text: str, level: str) -> None:
    github = GitHub({}).complain(level, text, Place(text, 3, 4))
    assert github.count("\n") == 1
    assert github.endswith("\n")
    assert github_commands(github) == [github[:-1]]
    assert github.startswith(f"::{level} file=")
    properties = github.split("::")[1].removeprefix(f"{level} ")
    assert [each.partition("=")[0] for each in properties.split(",")] == ["file", "line", "col", "title"]
    azure = AzurePipelines({}).complain(level, text, Place(text, 3, 4))
    assert azure_commands(azure) == [azure[:-1]]
    assert azure.count("##vso[") == 1
    properties = azure.partition("]")[0].removeprefix("##vso[task.logissue ")
    assert [each.partition("=")[0] for each in properties.split(";")] == [
        "type",
        "sourcepath",
        "linenumber",
        "columnnumber",
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", github + azure)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_group_is_one_command(text: str) -> None:
    assert github_commands(GitHub({}).begin(text)) == [GitHub({}).begin(text)[:-1]]
    assert azure_commands(AzurePipelines({}).begin(text)) == [AzurePipelines({}).begin(text)[:-1]]


@pytest.mark.parametrize("text", HOSTILE)
def test_an_output_cannot_become_another_output(text: str, tmp_path: Path) -> None:
    file = tmp_path / "out"
    GitHub({"GITHUB_OUTPUT": str(file)}).outputs({"candidate": text, "exit_code": "10"})
    found = outputs_in(file.read_text())
    assert set(found) == {"candidate", "exit_code"}
    assert found["exit_code"] == "10"
    said = AzurePipelines({}).outputs({"candidate": text})
    assert azure_commands(said) == [said[:-1]]
    assert said.startswith("##vso[task.setvariable variable=candidate;isOutput=true]")


def test_delimiters_are_never_the_same(tmp_path: Path) -> None:
    file = tmp_path / "out"
    for _ in range(20):
        GitHub({"GITHUB_OUTPUT": str(file)}).outputs({"a": "b"})
    ends = re.findall(r"a<<(.*)", file.read_text())
    assert len(set(ends)) == 20
    assert all(len(end) >= 32 for end in ends)


def test_the_summary_is_appended_and_bounded(tmp_path: Path) -> None:
    file = tmp_path / "summary"
    github = GitHub({"GITHUB_STEP_SUMMARY": str(file)})
    github.summary("# one")
    github.summary("line\n" * 1_000_000)
    assert file.read_text().startswith("# one\n")
    assert file.stat().st_size < 600_000
    assert "too long" in file.read_text()


def test_azure_pipelines_is_given_a_file_with_the_summary(tmp_path: Path) -> None:
    said = AzurePipelines({"AGENT_TEMPDIRECTORY": str(tmp_path)}).summary("# one")
    (file,) = tmp_path.iterdir()
    assert said == f"##vso[task.uploadsummary]{file}\n"
    assert file.read_text() == "# one"


def test_a_file_is_named_as_the_repository_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    said = GitHub({"GITHUB_WORKSPACE": str(tmp_path)}).complain("error", "x", Place("a.yaml", 2, 3))
    assert said.startswith("::error file=sub/a.yaml,line=2,col=3,")


@pytest.mark.parametrize("ci", [GitHub({}), AzurePipelines({})], ids=["github", "azure"])
def test_each_step_is_a_group_and_groups_never_nest(ci: Ci) -> None:
    file = io.StringIO()
    with Many(Lines(Console(file=file)), Groups(ci, file.write)) as listener:
        for state, event, at in tell(*PROMOTED):
            listener.on_event(state, event, at)
    open_groups, titles = 0, []
    for line in file.getvalue().split("\n"):
        if line.startswith(("::group::", "##[group]")):
            open_groups += 1
            titles.append(line.partition("]")[2] or line.removeprefix("::group::").replace("%25", "%"))
        if line.startswith(("::endgroup::", "##[endgroup]")):
            open_groups -= 1
        assert open_groups in (0, 1)
    assert open_groups == 0
    assert "20%" in titles
    assert titles == list(dict.fromkeys(titles))


def test_the_way_back_is_a_group_of_its_own_and_what_led_to_it_is_in_the_step() -> None:
    file = io.StringIO()
    with Many(Lines(Console(file=file)), Groups(GitHub({}), file.write)) as listener:
        for state, event, at in tell(*ROLLED_BACK):
            listener.on_event(state, event, at)
    text = file.getvalue()
    assert text.index(" fail:") < text.index("rollback") < text.index("::group::way back to")
    assert "::group::way back to blue 100%" in text
    assert text.rstrip().endswith("::endgroup::")


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    return tmp_path


@pytest.mark.parametrize("as_json", [False, True])
def test_an_ending_is_annotated_summed_up_and_passed_on(
    github: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    state = tell(*ROLLED_BACK)[-1][0]
    code = conclude(Output(as_json=as_json), ended(state), "manifests/a.yaml")
    said = capsys.readouterr()
    assert github_commands(said.out) == []
    assert any(line.startswith("::error file=manifests/a.yaml,line=1,") for line in said.err.split("\n"))
    passed = outputs_in((github / "output").read_text())
    assert passed["exit_code"] == str(int(code))
    assert passed["candidate"] == "green"
    assert f"exit {int(code)}" in (github / "summary").read_text()


def test_a_pause_is_a_warning_and_a_success_is_no_annotation(github: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conclude(Output(as_json=False), Ended(ExitCode.PAUSED, "waiting"), "digits")
    conclude(Output(as_json=False), Ended(ExitCode.OK, "fine"), "digits")
    assert [line.split("::")[1].split()[0] for line in github_commands(capsys.readouterr().err)] == ["warning"]


def test_an_error_is_annotated_and_passed_on(github: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).error(PlanError("no quota", hint="Ask for more."))
    assert "::error title=deployer::no quota%0AAsk for more.\n" in capsys.readouterr().err
    assert outputs_in((github / "output").read_text())["outcome"] == "refused"


def test_every_problem_of_a_manifest_is_annotated_where_it_stands(
    github: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [Problem("a.yaml", 3, 4, "one", "do this"), Problem("b.yaml", 1, 1, "two")]
    Output(as_json=False).error(InvalidManifestError(problems))
    assert github_commands(capsys.readouterr().err) == [
        "::error file=a.yaml,line=3,col=4,title=deployer::one (do this)",
        "::error file=b.yaml,line=1,col=1,title=deployer::two",
    ]


@pytest.mark.parametrize("variable", ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"])
def test_a_file_that_cannot_be_written_changes_neither_exit_code_nor_document(
    github: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.setenv(variable, str(github / "no" / "such" / "folder"))
    state = tell(*ROLLED_BACK)[-1][0]
    assert conclude(Output(as_json=True), ended(state), "digits") is ended(state).exit_code
    said = capsys.readouterr()
    assert "cannot be written" in said.err
    assert "cannot be written" not in said.out


def test_without_a_ci_system_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).error(PlanError("no quota", hint="Ask for more."))
    assert "::" not in capsys.readouterr().err


def test_the_outputs_name_the_traffic_as_it_ended() -> None:
    found = outputs_of(ended_record(ended(tell(*PROMOTED)[-1][0])), "r.html")
    assert (found["outcome"], found["traffic"], found["report"]) == ("promoted", '{"green": 100}', "r.html")


def test_an_ending_without_a_rollout_is_named_by_its_code() -> None:
    codes = {0: "ok", 5: "refused", 20: "paused", 30: "stuck", 1: "error"}
    for code, word in codes.items():
        assert outputs_of({"exit_code": code})["outcome"] == word
