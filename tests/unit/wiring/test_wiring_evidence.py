"""Which rollout a name means, and what ``report`` and ``explain`` leave with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from golden.report.kept import FAILED, FOLDER, PROMOTED, copied
from typer.testing import CliRunner

from deployer.cli import app
from deployer.errors import UsageError
from deployer.wiring import evidence

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path))
    return copied(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("run", [FAILED, FAILED[:13], "digits", "latest"])
def test_a_rollout_is_named_by_its_id_its_beginning_its_endpoint_or_as_the_latest(run: str) -> None:
    assert evidence.find(run).id == FAILED


def test_a_beginning_that_two_share_lists_both(folder: Path) -> None:
    with pytest.raises(UsageError, match="is 2 rollouts") as refused:
        evidence.find("2026")
    assert PROMOTED in refused.value.hint
    assert f"{FAILED} (local/{folder.name})" in refused.value.hint


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("run", ["1999", "nobody", "", "../digits"])
def test_a_name_that_nobody_has_lists_the_latest(run: str) -> None:
    with pytest.raises(UsageError, match="is known here") as refused:
        evidence.find(run)
    assert FAILED in refused.value.hint
    assert "Of a CI run name its artifact's folder" in refused.value.hint


def test_a_rollback_by_hand_is_not_the_latest_rollout(folder: Path) -> None:
    (folder / "20261126T000000-ffff.jsonl").write_text('{"event":{"type":"manual_rollback"}}\n')
    assert evidence.find("digits").id == FAILED


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("form", "begins"),
    [("html", "<!doctype html>"), ("json", "{"), ("junit", "<testsuites "), ("markdown", "### ")],
)
def test_a_report_goes_to_a_file_that_is_named(tmp_path: Path, form: str, begins: str) -> None:
    done = runner.invoke(app, ["report", FAILED, "--format", form])
    assert done.exit_code == 0
    written = Path(done.stdout.split("report: ")[1].strip())
    assert written.is_relative_to(tmp_path)
    assert written.read_text("utf-8").startswith(begins)


@pytest.mark.usefixtures("folder")
def test_json_is_one_document_and_standard_output_takes_any_format() -> None:
    assert json.loads(runner.invoke(app, ["report", FAILED, "--json"]).stdout)["exit_code"] == 10
    assert runner.invoke(app, ["report", FAILED, "--output", "-"]).stdout.startswith("<!doctype html>")


@pytest.mark.usefixtures("folder")
def test_explain_exits_0_when_every_verdict_recomputes() -> None:
    done = runner.invoke(app, ["explain", FAILED])
    assert (done.exit_code, done.stdout.split("\n")[0]) == (0, "Rolled back, the gate failed: green has 100 %")
    assert "matches    look 4 at 20%" in done.stdout
    assert json.loads(runner.invoke(app, ["explain", FAILED, "--json"]).stdout)["exit_code"] == 0


def test_explain_exits_10_for_a_changed_journal(folder: Path) -> None:
    path = folder / f"{FAILED}.jsonl"
    path.write_text(path.read_text().replace("ci@runner", "ci@other", 1))
    done = runner.invoke(app, ["explain", FAILED, "--json"])
    assert (done.exit_code, json.loads(done.stdout)["exit_code"]) == (10, 10)
    assert "the journal was changed" in json.loads(done.stdout)["error"]["message"]


def test_explain_exits_11_for_evidence_that_is_gone(folder: Path) -> None:
    for path in (folder / f"{FAILED}.evidence").iterdir():
        path.unlink()
    done = runner.invoke(app, ["explain", FAILED])
    assert done.exit_code == 11
    assert "MISSING" in done.stdout


def test_explain_exits_11_for_a_journal_without_its_end(folder: Path) -> None:
    """Its chain is whole all the same: a hash tells nothing of the lines that would follow."""
    path = folder / f"{FAILED}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-3]))
    done = runner.invoke(app, ["explain", FAILED])
    assert done.exit_code == 11
    assert "the journal's last lines are gone" in done.stdout


# ---- brought from another machine


def artifact(folder: Path, *names: str) -> Path:
    """What a CI run keeps: journals with their evidence, and reports."""
    journals = folder / "journal" / "managed" / "ml-prod" / "digits"
    journals.mkdir(parents=True)
    for name in names:
        shutil.copy(FOLDER / f"{name}.jsonl", journals)
        shutil.copytree(FOLDER / f"{name}.evidence", journals / f"{name}.evidence")
    (folder / "reports").mkdir()
    (folder / "reports" / f"rollout-{FAILED}.html").write_text("<!doctype html>")
    return journals


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that knows no rollout."""
    monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path / "home"))
    return tmp_path / "downloaded"


def test_an_artifact_is_all_it_takes_to_recompute_every_verdict(elsewhere: Path) -> None:
    journals = artifact(elsewhere, FAILED)
    for path in (elsewhere, elsewhere / "journal", journals, journals / f"{FAILED}.jsonl"):
        done = runner.invoke(app, ["explain", str(path)])
        assert (done.exit_code, "matches    look 4 at 20%" in done.stdout) == (0, True), path


def test_an_artifact_is_all_it_takes_to_make_the_report(elsewhere: Path) -> None:
    artifact(elsewhere, FAILED)
    record = json.loads(runner.invoke(app, ["report", str(elsewhere), "--json"]).stdout)
    assert (record["rollout"]["rollout_id"], record["platform"], record["place"]) == (FAILED, "managed", "ml-prod")


def test_a_journal_alone_in_a_folder_is_read_without_knowing_whose_it_was(elsewhere: Path) -> None:
    shutil.copytree(artifact(elsewhere, FAILED), elsewhere.parent / "loose")
    record = json.loads(runner.invoke(app, ["report", str(elsewhere.parent / "loose"), "--json"]).stdout)
    assert (record["rollout"]["endpoint"], record["platform"], record["place"]) == ("digits", "unknown", "")


def test_evidence_that_an_artifact_lacks_is_missing(elsewhere: Path) -> None:
    shutil.rmtree(artifact(elsewhere, FAILED) / f"{FAILED}.evidence")
    assert runner.invoke(app, ["explain", str(elsewhere)]).exit_code == 11


def test_a_folder_of_two_rollouts_asks_which(elsewhere: Path) -> None:
    journals = artifact(elsewhere, FAILED, PROMOTED)
    (journals / "20261126T000000-ffff.jsonl").write_text('{"event":{"type":"manual_rollback"}}\n')
    with pytest.raises(UsageError, match="holds 2 rollouts") as refused:
        evidence.find(str(elsewhere))
    assert str(journals / f"{FAILED}.jsonl") in refused.value.hint


@pytest.mark.parametrize(
    ("name", "why"), [("reports", "holds no journal"), (f"reports/rollout-{FAILED}.html", "is no")]
)
def test_a_path_without_a_journal_says_what_is_wanted(elsewhere: Path, name: str, why: str) -> None:
    artifact(elsewhere, FAILED)
    done = runner.invoke(app, ["explain", str(elsewhere / name)])
    assert (done.exit_code, why in done.stderr) == (2, True)


@pytest.mark.usefixtures("folder")
def test_an_endpoint_is_meant_before_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert evidence.find("digits").id == FAILED


@pytest.mark.usefixtures("elsewhere")
def test_what_is_too_long_for_a_path_is_an_unknown_name() -> None:
    assert runner.invoke(app, ["explain", "x" * 5000]).exit_code == 2


def test_a_journal_that_somebody_moved_up_is_passed_over(folder: Path) -> None:
    (folder.parent.parent / "moved.jsonl").write_text("{}\n")
    assert runner.invoke(app, ["explain", FAILED]).exit_code == 0
