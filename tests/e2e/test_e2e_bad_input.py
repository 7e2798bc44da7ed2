"""What people get wrong: a message that says what, where and what next, in words and as JSON, and no traceback."""

from __future__ import annotations

import json

import pytest

from tests.e2e.stage import Stage

pytestmark = pytest.mark.e2e


def test_an_unknown_key_is_named_with_its_place_and_the_one_that_was_meant(stage: Stage) -> None:
    manifest = stage.manifest()
    text = json.dumps(json.loads(manifest.read_text()), indent=2).replace('"strategy"', '"stratgy"')
    manifest.write_text(text)
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "stratgy" in each)
    for command in ("rollout", "validate", "plan"):
        said = stage.run(command, manifest)
        assert said.code == 3
        assert f"rollout.yaml:{line}:3: " in said.text
        assert "did you mean strategy?" in said.text


def test_a_manifest_that_does_not_exist_is_named(stage: Stage) -> None:
    for command in ("rollout", "validate", "plan"):
        said = stage.run(command, "nowhere.yaml")
        assert (said.code, "nowhere.yaml" in said.text, "does not exist" in said.text) == (3, True, True), said.text


def test_a_sample_that_is_missing_or_no_json_is_named(stage: Stage) -> None:
    manifest = stage.manifest()
    (stage.folder / "sample.json").write_text('{"data": [1, 2')
    said = stage.run("rollout", manifest)
    assert (said.code, "sample.json:1:15: this is not JSON" in said.text) == (3, True), said.text
    (stage.folder / "sample.json").unlink()
    said = stage.run("rollout", manifest)
    assert (said.code, "sample.json" in said.text) == (3, True), said.text


def test_an_endpoint_that_nobody_made_is_not_found_and_nothing_is_started(stage: Stage) -> None:
    for command in ("status", "abort", "promote", "rollback"):
        said = stage.run(command, "nobody")
        assert (said.code, "there is no endpoint" in said.err, "next: " in said.err) == (2, True, True), said.text
    assert stage.at_work() == {}


def test_words_that_the_command_line_does_not_know_are_a_matter_of_usage(stage: Stage) -> None:
    assert stage.run("rollout", stage.manifest(), "--fast").code == 2
    assert stage.run("rolout").code == 2
    assert stage.run("status", "no/such").code == 2
    said = stage.run("rollout", stage.manifest(), "--skip-gate")
    assert (said.code, "--reason" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (3, ["rollout", "nowhere.yaml"]),
        (3, ["validate", "nowhere.yaml"]),
        (2, ["status", "nobody"]),
        (2, ["status", "no/such"]),
        (2, ["rollout", "rollout.yaml", "--skip-gate"]),
        (2, ["rollout", "rollout.yaml", "--fast"]),
    ],
)
def test_json_is_one_document_for_errors_too(stage: Stage, code: int, arguments: list[str]) -> None:
    stage.manifest()
    assert stage.json(*arguments)["exit_code"] == code


def test_a_traceback_is_shown_to_those_who_ask_for_it(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="Traceback"):
        stage.run("status", "nobody", "--debug")
