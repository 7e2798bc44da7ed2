"""The action, the reusable workflows and the Azure Pipelines templates: what they may do, and their scripts run for real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {name: ROOT / f".github/workflows/{name}.yml" for name in ("plan", "rollout", "rollback", "recover")}
ACTION = ROOT / ".github/actions/deployer/action.yml"
TEMPLATES = {path.stem: path for path in sorted((ROOT / ".github/azure-pipelines").glob("*.yml"))}
EXAMPLES = {name: ROOT / f"manifests/{name}/deploy.yml" for name in ("github", "azure-pipelines")}
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(name: str) -> dict[str, dict[str, Any]]:
    return read(WORKFLOWS[name])["jobs"]


def scripts(found: object) -> Iterator[str]:
    """Every shell script in a document, of GitHub or Azure."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key in ("run", "bash", "script", "inlineScript") and isinstance(value, str):
                yield value
            else:
                yield from scripts(value)
    elif isinstance(found, list):
        for each in found:
            yield from scripts(each)


# ---- what they may do

ALL = {**WORKFLOWS, "action": ACTION, **{f"azure {name}": path for name, path in TEMPLATES.items()}}


@pytest.mark.parametrize("name", ALL)
def test_no_script_holds_an_expression(name: str) -> None:
    assert [script for script in scripts(read(ALL[name])) if "${{" in script or "$(" + "Build" in script] == []


@pytest.mark.parametrize("name", [*ALL, *EXAMPLES])
def test_no_secret_is_asked_for_but_what_a_manifest_names(name: str) -> None:
    text = (ALL | EXAMPLES)[name].read_text(encoding="utf-8")
    assert set(re.findall(r"secrets\.\S+", text)) == ({"secrets.env"} if name in WORKFLOWS else set())
    assert "client-secret" not in text.lower()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_only_deployer_is_given_the_secret_and_always_the_optional_parts(name: str) -> None:
    call = read(WORKFLOWS[name])[True]["workflow_call"]
    assert (call["secrets"]["env"]["required"], call["inputs"]["extras"]["default"]) == (False, "")
    for step in (step for job in jobs(name).values() for step in job["steps"]):
        ours = step.get("uses") == "$/.github/actions/deployer"
        assert ("secrets." in json.dumps(step)) is ours
        assert not ours or step["with"]["env"] == "${{ secrets.env }}"
        assert not ours or step["with"]["extras"] == "${{ inputs.extras }}"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_foreign_action_is_pinned_by_commit_with_its_version_beside_it(name: str) -> None:
    for line in WORKFLOWS[name].read_text(encoding="utf-8").split("\n"):
        if (used := line.partition("uses:")[2].strip()) and not used.startswith("$/"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", used), used


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_job_has_only_the_rights_it_needs_and_an_end(name: str) -> None:
    assert read(WORKFLOWS[name])["permissions"] == {}
    for job_name, job in jobs(name).items():
        wanted = {"pull-requests": "write"} if job_name == "comment" else {"contents": "read", "id-token": "write"}
        assert job["permissions"] == wanted
        assert job["timeout-minutes"]
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", WORKFLOWS)
def test_work_on_one_endpoint_waits_and_is_never_cancelled(name: str) -> None:
    found = read(WORKFLOWS[name])
    groups = [found["concurrency"]] if "concurrency" in found else [job["concurrency"] for job in jobs(name).values()]
    for group in groups:
        assert group["cancel-in-progress"] is False
        assert "inputs." in group["group"]


def test_a_rollback_and_a_recovery_never_wait_for_the_rollout_they_end() -> None:
    groups = [job["concurrency"]["group"] for name in ("rollout", "rollback", "recover") for job in jobs(name).values()]
    prefixes = [group.partition("${{")[0] for group in groups]
    assert prefixes == ["deployer-", "deployer-recover-", "deployer-rollback-", "deployer-recover-"]


def test_whatever_ends_a_rollout_is_followed_by_a_recovery() -> None:
    recover = jobs("rollout")["recover"]
    assert recover["needs"] == "rollout"
    assert recover["if"].startswith("always() && ")
    template = read(TEMPLATES["rollout"])["jobs"][1]
    assert template["condition"] == "and(always(), in(dependencies.rollout.result, 'Failed', 'Canceled'))"
    assert (template["deployment"], template["dependsOn"]) == ("recover", "rollout")


def test_a_pull_request_from_a_fork_or_of_dependabot_gets_validation_only() -> None:
    """Neither gets a token for Azure, nor one that may write a comment."""
    steps = {step.get("name"): step for step in jobs("plan")["plan"]["steps"]}
    trusted = (
        "github.event.pull_request.head.repo.full_name == github.repository "
        "&& github.event.pull_request.user.login != 'dependabot[bot]'"
    )
    assert "if" not in steps["Validate"]
    assert steps["Plan"]["if"] == trusted
    assert jobs("plan")["comment"]["if"] == f"!cancelled() && {trusted}"


KEEPING = [(name, job) for name in ("rollout", "rollback", "recover") for job in jobs(name)]


@pytest.mark.parametrize(("name", "job"), KEEPING)
def test_whatever_moves_traffic_keeps_its_journal_however_it_ends(name: str, job: str) -> None:
    naming, keeping = jobs(name)[job]["steps"][-2:]
    assert (naming["if"], keeping["if"]) == ("always()", "always()")
    assert "steps.name.outputs.id" in keeping["with"]["name"], "one run may use a workflow more than once"
    assert keeping["with"]["if-no-files-found"] == "ignore", "a command that is refused keeps nothing"
    kept = [f"${{{{ runner.temp }}}}/deployer-home/{each}" for each in ("journal", "reports")]
    assert keeping["with"]["path"].splitlines() == kept


def test_a_template_of_azure_keeps_the_journal_of_the_same_commands() -> None:
    (keeps,) = (each for each in read(TEMPLATES["steps"])["steps"] if len(each) == 1 and "bash" not in each)
    (when, (collect, publish)) = next(iter(keeps.items()))
    assert set(re.findall(r"'(\w+)'", when)) == {name for name, _ in KEEPING}
    assert collect["condition"] == "always()"
    assert publish["condition"].startswith("and(always(), ")
    assert "$(System.JobId)" in publish["artifact"], "one run may use a template more than once"


def test_the_action_passes_on_every_output_that_is_documented() -> None:
    for name, output in read(ACTION)["outputs"].items():
        assert output["value"] == f"${{{{ steps.run.outputs.{name} }}}}"


def test_the_example_of_github_gives_each_workflow_what_it_takes() -> None:
    called = set()
    for job in read(EXAMPLES["github"])["jobs"].values():
        name = re.fullmatch(r".*/\.github/workflows/(\w+)\.yml@[0-9a-f]{40}", job["uses"])
        assert name is not None
        called.add(name[1])
        takes = read(WORKFLOWS[name[1]])[True]["workflow_call"]["inputs"]
        assert set(job["with"]) <= set(takes)
        assert {key for key, value in takes.items() if value.get("required")} <= set(job["with"])
        needed = {right for each in jobs(name[1]).values() for right in each["permissions"].items()}
        assert needed <= set(job["permissions"].items())
    assert called == set(WORKFLOWS)


def test_what_brings_traffic_back_waits_for_no_reviewer() -> None:
    called = read(EXAMPLES["github"])["jobs"]
    block = next(each for each in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "rollout.yml@" in each)
    for rollout in (called["rollout"], yaml.safe_load(block)["jobs"]["rollout"]):
        assert (rollout["with"]["environment"], rollout["with"]["recover-environment"]) == ("production", "recovery")
    azure = {
        Path(call["template"].partition("@")[0]).stem: call for call in _templates(read(EXAMPLES["azure-pipelines"]))
    }
    assert azure["rollout"]["parameters"]["recoverEnvironment"] == "recovery"
    for name in ("rollback", "recover"):
        assert called[name]["with"]["environment"] == azure[name]["parameters"]["environment"] == "recovery"


def _takes(path: Path) -> tuple[set[str], set[str]]:
    parameters = read(path)["parameters"]
    return {each["name"] for each in parameters}, {each["name"] for each in parameters if "default" not in each}


def _templates(found: object) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        if "template" in found:
            yield found
        for value in found.values():
            yield from _templates(value)
    elif isinstance(found, list):
        for each in found:
            yield from _templates(each)


@pytest.mark.parametrize("path", [*TEMPLATES.values(), EXAMPLES["azure-pipelines"]], ids=lambda path: path.stem)
def test_every_template_is_given_what_it_takes(path: Path) -> None:
    for call in _templates(read(path)):
        takes, needs = _takes(TEMPLATES[Path(call["template"].partition("@")[0]).stem])
        assert set(call["parameters"]) <= takes
        if path.parent.name == "azure-pipelines" and path in TEMPLATES.values():
            assert all(call["parameters"][name] == f"${{{{ parameters.{name} }}}}" for name in ("env", "extras"))
        assert needs <= set(call["parameters"])


def test_the_example_of_azure_pipelines_says_what_plans_in_azure_repos() -> None:
    """Source: learn.microsoft.com/azure/devops/pipelines/repos/azure-repos-git, PR triggers; read 2026-11-26."""
    (line,) = (line for line in EXAMPLES["azure-pipelines"].read_text().split("\n") if line.startswith("pr:"))
    assert "in Azure Repos nothing reads it" in line
    assert "Build validation" in line
    assert "branch policy *Build validation*" in " ".join(README.split())


def test_the_example_of_azure_pipelines_uses_all_four_templates() -> None:
    used = {Path(call["template"].partition("@")[0]).stem for call in _templates(read(EXAMPLES["azure-pipelines"]))}
    assert used == set(TEMPLATES) - {"steps"} == set(WORKFLOWS)


# ---- their scripts, run for real


class Runner:
    """A job: its folders and files as the runner makes them."""

    def __init__(self, folder: Path) -> None:
        self.temp, self.bin = folder / "temp", folder / "bin"
        self.output, self.summary = folder / "output", folder / "summary"
        for path in (self.temp, self.bin):
            path.mkdir()
        self.env = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(folder),
            "DEPLOYER_HOME": os.environ["DEPLOYER_HOME"],
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(ROOT),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_REPOSITORY": "ann/shop",
            "GITHUB_RUN_ID": "5",
            "GITHUB_SERVER_URL": "https://host",
            "RUNNER_TEMP": str(self.temp),
        }

    def install(self, program: str | None = None) -> None:
        """Put deployer, or what stands for it, where the first step of the action puts it."""
        folder = self.temp / "deployer" / "bin"
        folder.mkdir(parents=True)
        if program is None:
            program = f'#!/bin/sh\nexec "{sys.executable}" -m deployer "$@"\n'
        (folder / "deployer").write_text(program)
        (folder / "deployer").chmod(0o755)

    def put(self, name: str, program: str) -> None:
        (self.bin / name).write_text(program)
        (self.bin / name).chmod(0o755)

    def start(self, step: dict[str, Any], values: dict[str, str]) -> subprocess.Popen[str]:
        """Run a step as the runner does, with the expressions in its ``env`` replaced by ``values``."""
        script = self.temp / "script.sh"
        script.write_text(step["run"])
        filled = {
            name: EXPRESSION.sub(lambda found: values.get(found[1], ""), str(text))
            for name, text in step.get("env", {}).items()
        }
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            env=self.env | filled,
            cwd=ROOT,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, step: dict[str, Any], **values: str) -> subprocess.CompletedProcess[str]:
        process = self.start(step, {name.replace("__", "."): value for name, value in values.items()})
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(step["run"], process.returncode, out, err)

    def outputs(self) -> dict[str, str]:
        found, lines = {}, iter(self.output.read_text().split("\n"))
        for line in lines:
            name, _, end = line.partition("<<")
            if end:
                value = []
                while (inner := next(lines)) != end:
                    value.append(inner)
                found[name] = "\n".join(value)
        return found


def step(name: str) -> dict[str, Any]:
    return next(each for each in read(ACTION)["runs"]["steps"] if each["name"] == name)


def step_of(workflow: str, job: str, name: str) -> dict[str, Any]:
    return next(each for each in jobs(workflow)[job]["steps"] if each.get("name") == name)


SAY = '#!/bin/sh\nfor each in "$@"; do echo "<$each>"; done\n'


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_the_action_plans_an_example_and_passes_the_plan_on(runner: Runner) -> None:
    runner.install()
    done = runner.run(step("Run"), inputs__command="plan", inputs__target="manifests/local/quickstart.yaml")
    assert done.returncode == 0, done.stderr
    found = runner.outputs()
    assert found["exit_code"] == "0"
    assert found["plan"].startswith("### 🚀 plan: `digits`")
    assert runner.summary.read_text().startswith(found["plan"])


def test_the_action_annotates_a_wrong_manifest_and_fails_with_deployers_own_code(
    runner: Runner, tmp_path: Path
) -> None:
    runner.install()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nxyz: 1\n")
    done = runner.run(step("Run"), inputs__command="validate", inputs__target=str(wrong))
    assert done.returncode == 3
    assert f"::error file={wrong},line=2,col=1,title=deployer::unknown key xyz" in done.stderr
    judged = runner.run(step("Judge"), inputs__accept="0 20", steps__run__outputs__exit_code="3")
    assert judged.returncode == 3


@pytest.mark.parametrize(
    ("accept", "code", "wanted"),
    [("0 20", "20", 0), ("0", "20", 20), ("0 20", "2", 2), ("0 20", "", 1), ("0", "30", 30)],
)
def test_only_accepted_codes_are_no_failure(runner: Runner, accept: str, code: str, wanted: int) -> None:
    done = runner.run(step("Judge"), inputs__accept=accept, steps__run__outputs__exit_code=code)
    assert done.returncode == wanted


def test_the_action_gives_each_line_as_one_argument_and_a_target_is_never_an_option(runner: Runner) -> None:
    runner.install(SAY)
    done = runner.run(
        step("Run"),
        inputs__command="rollback",
        inputs__target="--yes",
        inputs__arguments="--reason\na b; $(touch owned) `x`\n\n--to\nblue",
    )
    assert done.stdout.split("\n")[:-1] == [
        "<rollback>",
        "<--reason>",
        "<a b; $(touch owned) `x`>",
        "<--to>",
        "<blue>",
        "<-->",
        "<--yes>",
    ]


@pytest.mark.parametrize("command", ["local", "--help", "rollout; true", ""])
def test_the_action_runs_no_other_command(runner: Runner, command: str) -> None:
    runner.install(SAY)
    done = runner.run(step("Run"), inputs__command=command, inputs__target="digits")
    assert done.returncode == 2
    assert "<" not in done.stdout


NAMED = {
    "SLACK_URL": "https:" + "//hooks.example/a=b%20c",
    "COMMAND": "local",
    "TARGET": "other",
    "EMPTY": "",
    "YES": "true",
}
TAKEN = ["PATH", "LD_PRELOAD", "GITHUB_OUTPUT", "ACTIONS_ID_TOKEN_REQUEST_URL", "RUNNER_TEMP", "NODE_OPTIONS", "ENV"]
TAKEN += ["PYTHONPATH", "PYTHON", "BASH_ENV", "BASH", "AGENT_TEMPDIRECTORY", "SYSTEM_ACCESSTOKEN", "DEPLOYER_HOME"]
TAKEN += ["slack_url", "A-B", "A B", "1A", "", "A$(touch owned)", "BASH_FUNC_x%%"]
TELL = f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n"


def test_what_a_manifest_names_reaches_deployer_alone_and_is_masked(runner: Runner) -> None:
    runner.install(TELL)
    lines = "".join(f"{name}={value}\r\n" for name, value in NAMED.items())
    done = runner.run(step("Run"), inputs__command="rollout", inputs__target="digits", inputs__env=f"# ours\n\n{lines}")
    assert done.returncode == 0, done.stdout + done.stderr
    *masks, told = done.stdout.splitlines()
    arguments, environment = json.loads(told)
    assert arguments == ["rollout", "--", "digits"], "none of them changes what is run"
    assert {name: environment.get(name) for name in NAMED} == NAMED
    assert "GIVEN" not in environment
    assert masks == [f"::add-mask::{NAMED['SLACK_URL'].replace('%', '%25')}"], "`true` in the log is no secret"


@pytest.mark.parametrize("name", TAKEN)
def test_the_action_sets_no_variable_that_steers_the_runner(runner: Runner, name: str) -> None:
    runner.install(SAY)
    secret = "hush" + "hush"
    done = runner.run(
        step("Run"), inputs__command="rollout", inputs__target="digits", inputs__env=f"A=1\n{name}={secret}"
    )
    assert (done.returncode, runner.output.read_text()) == (2, "exit_code=2\n")
    assert "::error title=deployer::env: line 2 is not NAME=value" in done.stdout
    assert secret not in done.stdout + done.stderr
    assert "<" not in done.stdout


def test_a_line_without_a_value_is_refused_without_being_shown(runner: Runner) -> None:
    runner.install(SAY)
    done = runner.run(step("Run"), inputs__command="rollout", inputs__target="digits", inputs__env="HUSHHUSH")
    assert (done.returncode, "HUSHHUSH" in done.stdout) == (2, False)


def test_the_readme_promises_of_a_cancelled_job_only_what_its_runner_lets_deployer_do() -> None:
    """GitHub: 7.5 s after SIGINT and 2.5 s after SIGTERM it kills. Azure's agent signals only the task's own process."""
    (told,) = re.findall(r"^- A cancelled job.*?(?=^- )", README, re.MULTILINE | re.DOTALL)
    text = " ".join(told.split())
    assert "kills it 10 seconds later" in text
    assert "Azure Pipelines kills without a signal" in text
    assert "On both the job that recovers completes and verifies the way back" in text


def test_the_signal_of_a_cancelled_job_reaches_deployer_itself(runner: Runner) -> None:
    runner.install(
        f"#!{sys.executable}\nimport signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(12))\nprint('ready', flush=True)\nsignal.pause()\n"
    )
    process = runner.start(step("Run"), {"inputs.command": "rollout", "inputs.target": "digits"})
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 12
    process.communicate()


def test_what_the_action_keeps_is_below_the_folder_that_is_uploaded(runner: Runner) -> None:
    runner.install('#!/bin/sh\necho "$DEPLOYER_HOME"\n')
    said = runner.run(step("Run"), inputs__command="rollout", inputs__target="digits")
    assert said.stdout.strip() == os.environ["DEPLOYER_HOME"], "whoever sets it is obeyed"
    del runner.env["DEPLOYER_HOME"]
    said = runner.run(step("Run"), inputs__command="rollout", inputs__target="digits")
    assert said.stdout.strip() == f"{runner.temp}/deployer-home"


@pytest.mark.parametrize(("name", "job"), KEEPING)
def test_no_two_artifacts_have_the_same_name(runner: Runner, name: str, job: str) -> None:
    for _ in range(2):
        assert runner.run(step_of(name, job, "Name the evidence")).returncode == 0
    first, second = runner.output.read_text().split()
    assert re.fullmatch(r"id=[0-9a-f]{8}", first)
    assert first != second


def test_azure_publishes_what_there_is_and_nothing_where_there_is_nothing(runner: Runner) -> None:
    keeps = next(each for each in read(TEMPLATES["steps"])["steps"] if len(each) == 1 and "bash" not in each)
    collect = {"run": next(iter(keeps.values()))[0]["bash"]}
    runner.env["AGENT_TEMPDIRECTORY"] = str(runner.temp)
    assert runner.run(collect).stdout == ""
    journal = runner.temp / "deployer-home" / "journal" / "managed" / "ml-prod" / "digits"
    journal.mkdir(parents=True)
    (journal / "1.jsonl").write_text("{}\n")
    (runner.temp / "deployer-home" / "detached").mkdir()
    done = runner.run(collect)
    assert done.stdout == f"##vso[task.setvariable variable=DEPLOYER_EVIDENCE]{runner.temp}/deployer-evidence\n"
    kept = [path.relative_to(runner.temp / "deployer-evidence") for path in runner.temp.glob("deployer-evidence/**/*")]
    assert {path.parts[0] for path in kept} == {"journal"}
    assert Path("journal/managed/ml-prod/digits/1.jsonl") in kept


PYTHON = """#!/bin/bash
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  *"--constraint"*) cp "${@: -2:1}" "$CALLS.constraints" ;;
esac
[ -z "${OLD:-}" ] || [[ "$*" != *version_info* ]]
"""


def test_the_action_installs_itself_with_the_versions_it_is_tested_with(runner: Runner) -> None:
    runner.put("python3", PYTHON)
    calls = runner.temp / "calls"
    runner.env["CALLS"] = str(calls)
    done = runner.run(step("Install"), github__action_path=str(ACTION.parent), inputs__extras="local")
    assert done.returncode == 0, done.stderr
    install = calls.read_text().strip().split("\n")[-1]
    assert install.endswith(f" {ROOT}[local]")
    constraints = Path(f"{calls}.constraints").read_text().split("\n")[:-1]
    assert len(constraints) > 100
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in constraints)


def test_the_action_says_that_python_is_too_old(runner: Runner) -> None:
    runner.put("python3", PYTHON)
    runner.env |= {"CALLS": str(runner.temp / "calls"), "OLD": "1"}
    done = runner.run(step("Install"), github__action_path=str(ACTION.parent))
    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stdout


@pytest.mark.parametrize(("extras", "wanted"), [("", ""), ("otel,azure-load-testing", "[otel,azure-load-testing]")])
def test_azure_installs_the_optional_parts_that_it_is_told(runner: Runner, extras: str, wanted: str) -> None:
    runner.put("python3", PYTHON)
    runner.env |= {"CALLS": str(runner.temp / "calls"), "AGENT_TEMPDIRECTORY": str(runner.temp)}
    (runner.temp / "deployer").symlink_to(ROOT)
    runner.env["BUILD_SOURCESDIRECTORY"] = str(runner.temp)
    install = next(each for each in read(TEMPLATES["steps"])["steps"] if each.get("displayName") == "Install deployer")
    script = {"run": install["bash"], "env": install["env"]}
    assert runner.run(script, parameters__extras=extras).returncode == 0
    assert (runner.temp / "calls").read_text().strip().endswith(f" {runner.temp}/deployer{wanted}")
    assert runner.run(script, parameters__extras="x];evil").returncode == 1


@pytest.mark.parametrize("extras", ["local];evil", "a b", "../x"])
def test_the_action_installs_nothing_else_by_its_extras(runner: Runner, extras: str) -> None:
    runner.put("python3", PYTHON)
    runner.env["CALLS"] = str(runner.temp / "calls")
    done = runner.run(step("Install"), github__action_path=str(ACTION.parent), inputs__extras=extras)
    assert done.returncode == 1
    assert "-m pip" not in (runner.temp / "calls").read_text()


GH = f"""#!{sys.executable}
import json, os, pathlib, sys
kept = pathlib.Path(os.environ["COMMENTS"])
comments = json.loads(kept.read_text()) if kept.exists() else []
arguments = sys.argv[1:]
if "--jq" in arguments:
    for one in comments:
        if one["user"]["type"] == "Bot" and one["body"].startswith(os.environ["marker"]):
            print(one["id"])
    sys.exit()
path = next(each for each in arguments if each.startswith("repos/"))
body = pathlib.Path(next(each for each in arguments if each.startswith("body=@"))[6:]).read_text()
if "PATCH" in arguments:
    next(one for one in comments if one["id"] == int(path.rsplit("/", 1)[1]))["body"] = body
else:
    assert path == "repos/ann/shop/issues/7/comments", path
    comments.append({{"id": len(comments) + 1, "user": {{"type": "Bot"}}, "body": body}})
kept.write_text(json.dumps(comments))
"""


def test_the_plan_is_one_comment_that_is_updated(runner: Runner) -> None:
    runner.put("gh", GH)
    kept = runner.temp / "comments.json"
    runner.env["COMMENTS"] = str(kept)
    kept.write_text(json.dumps([{"id": 1, "user": {"type": "User"}, "body": "<!-- deployer plan x -->"}]))
    comment = step_of("plan", "comment", "Write the comment, or update it")
    hostile = "a --> <b>$(touch owned)`x`.yaml"
    for manifest, plan in (("a.yaml", "one"), ("a.yaml", "two $(id) `id` @x\n"), (hostile, "three"), ("b/c.yaml", "")):
        done = runner.run(
            comment,
            github__event__pull_request__number="7",
            github__event__pull_request__head__sha="0123456789abcdef",
            inputs__manifest=manifest,
            needs__plan__outputs__plan=plan,
            needs__plan__result="success" if plan else "failure",
        )
        assert done.returncode == 0, done.stderr
    _, first, second, third = json.loads(kept.read_text())
    assert "two $(id) `id` @x" in first["body"]
    assert "three" in second["body"]
    assert (
        "### ❌ no plan: `b/c.yaml`\n\nIt ended as failure: [the log](https://host/ann/shop/actions/runs/5)"
        in third["body"]
    )
    for each in (first, second, third):
        assert re.match(r"<!-- deployer plan [0-9a-f]{16} -->\n", each["body"])
        assert each["body"].endswith("\n\nOf commit 0123456, by [this run](https://host/ann/shop/actions/runs/5).\n")


def test_a_plan_that_failed_replaces_the_earlier_one(runner: Runner) -> None:
    runner.put("gh", GH)
    runner.env["COMMENTS"] = str(runner.temp / "comments.json")
    comment = step_of("plan", "comment", "Write the comment, or update it")
    hostile = "a`](x) <b>.yaml"
    for plan in ("one", ""):
        values = {"inputs__manifest": hostile, "needs__plan__outputs__plan": plan, "needs__plan__result": "failure"}
        assert runner.run(comment, github__event__pull_request__number="7", **values).returncode == 0
    (only,) = json.loads((runner.temp / "comments.json").read_text())
    assert "one" not in only["body"]
    assert "no plan: `a???x???b?.yaml`\n" in only["body"]


def test_a_plan_that_holds_a_masked_value_is_dropped_by_github_and_the_comment_says_so(runner: Runner) -> None:
    """actions/runner#1061: such an output of a job is empty, and the job a success."""
    runner.put("gh", GH)
    runner.env["COMMENTS"] = str(runner.temp / "comments.json")
    comment = step_of("plan", "comment", "Write the comment, or update it")
    values = {"inputs__manifest": "a.yaml", "needs__plan__outputs__plan": "", "needs__plan__result": "success"}
    assert runner.run(comment, github__event__pull_request__number="7", **values).returncode == 0
    (only,) = json.loads((runner.temp / "comments.json").read_text())
    assert "GitHub dropped it, as it holds a masked value" in only["body"]
    assert "[the log](https://host/ann/shop/actions/runs/5) has it" in only["body"]
    assert "ended as success" not in only["body"]


def test_the_options_of_a_rollback_are_two_lines_each_whatever_a_person_types(runner: Runner) -> None:
    done = runner.run(
        step_of("rollback", "rollback", "Options"),
        inputs__to="blue",
        inputs__reason="slow\n--force\nend-1\r\n$(touch owned)",
    )
    assert done.returncode == 0, done.stderr
    assert runner.outputs() == {"arguments": "--to\nblue\n--reason\nslow --force end-1  $(touch owned)"}


def run_on_azure(runner: Runner, program: str, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the template's task with ``program`` for deployer, its parameter ``env`` as the service writes it out."""
    task = next(each for each in read(TEMPLATES["steps"])["steps"] if each.get("task"))
    venv = runner.temp / "deployer-venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "deployer").write_text(program)
    (venv / "deployer").chmod(0o755)
    runner.put("az", "#!/bin/sh\necho 00000000-0000-0000-0000-000000000000\n")
    runner.env["AGENT_TEMPDIRECTORY"] = str(runner.temp)
    env = {name: text for name, text in task["env"].items() if isinstance(text, str) and "$(" not in text}
    assert task["env"]["${{ each pair in parameters.env }}"] == {
        "${{ format('GIVEN_{0}', pair.key) }}": "${{ pair.value }}"
    }
    return runner.run(
        {"run": task["inputs"]["inlineScript"], "env": env | {f"GIVEN_{name}": given[name] for name in given}},
        parameters__command="rollout",
        parameters__target="deploy/rollout.yaml",
        parameters__accept="0 20",
        parameters__reason="a $(touch owned)",
    )


def test_azure_gives_deployer_what_a_manifest_names(runner: Runner) -> None:
    named = NAMED | {"ACCEPT": "1", "LINES_TWO": "a\nb"}
    done = run_on_azure(runner, TELL, named)
    assert done.returncode == 0, done.stdout + done.stderr
    arguments, environment = json.loads(done.stdout)
    assert arguments == ["rollout", "--yes", "--reason", "a $(touch owned)", "--", "deploy/rollout.yaml"]
    assert {name: environment.get(name) for name in named} == named
    assert not [name for name in environment if name.startswith("GIVEN_")]


@pytest.mark.parametrize("name", [name for name in TAKEN if name])
def test_azure_sets_no_variable_that_steers_the_agent(runner: Runner, name: str) -> None:
    done = run_on_azure(runner, SAY, {"A": "1", name: "hush" + "hush"})
    assert (done.returncode, "<" in done.stdout, "hushhush" in done.stdout + done.stderr) == (2, False, False)


@pytest.mark.parametrize(("code", "wanted"), [("0", 0), ("20", 0), ("10", 10), ("30", 30)])
def test_the_azure_template_runs_the_command_and_accepts_what_it_is_told(
    runner: Runner, code: str, wanted: int
) -> None:
    done = run_on_azure(runner, f"{SAY}exit {code}\n", {})
    assert done.returncode == wanted, done.stderr
    assert done.stdout == "<rollout>\n<--yes>\n<--reason>\n<a $(touch owned)>\n<-->\n<deploy/rollout.yaml>\n"
