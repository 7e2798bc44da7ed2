"""``deployer loadtest`` on the command line: what makes no sense is refused with the next step before anything is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.cli.commands import LOCAL, QUICKSTART, call

from deployer.errors import UsageError
from deployer.loadtest.figures import Load
from deployer.manifest.load import RolloutSpec
from deployer.wiring.checks import load as load_manifest
from deployer.wiring.loadtest import load_of, payload_of

SPEC = load_manifest(Path(QUICKSTART))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path / "home"))


def refused(*arguments: str, manifest: str = QUICKSTART) -> tuple[str, str]:
    done = call("loadtest", manifest, *arguments, "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["exit_code"]) == (2, 2), said
    return said["error"]["message"], said["error"]["hint"]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((), "there is no endpoint digits", "deployer rollout MANIFEST"),
        (("--shape", "stairs"), "--shape stairs is not a shape of load", "stages:30s@10"),
        (("--for", "0s"), "--for 0s is not longer than 0", "10s"),
        (("--warm-up", "5"), "--warm-up: ", "10s or 5m"),
        (("--payload", "nowhere.json"), "nowhere.json is not a file with a request", "--payload FILE"),
        (("--replay", "nowhere.csv"), "nowhere.csv", "recording"),
        (("--report", "out.pdf"), "--report out.pdf: unknown format", ".html, .json, .xml, .md"),
        (("--engine", "azure-load-testing"), "needs --load-testing HOST", "data plane"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_next_step(arguments: tuple[str, ...], message: str, hint: str) -> None:
    said, what_next = refused(*arguments)
    assert message in said
    assert hint in what_next


def test_an_unknown_engine_is_no_engine() -> None:
    assert call("loadtest", QUICKSTART, "--engine", "telepathy").exit_code == 2


def test_an_invalid_manifest_is_told_as_everywhere(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    done = call("loadtest", str(tmp_path / "bad.yaml"))
    assert (done.exit_code, done.stdout) == (3, "")


def without(gone: dict[str, Any]) -> RolloutSpec:
    return replace(SPEC, manifest=SPEC.manifest.model_copy(update=gone))


def load(**changes: object) -> Load:
    given = {"rps": None, "seconds": None, "warm_up_s": 5.0, "shape": "constant", "arrivals": "poisson", "replay": None}
    return load_of(SPEC, **(given | changes))  # type: ignore[arg-type]


def test_rate_and_length_come_from_the_command_line_the_shape_or_the_manifest() -> None:
    assert (load().rps, load().seconds) == (40.0, 120.0)
    assert (load(rps=7.0, seconds=9.0).rps, load(seconds=9.0).seconds) == (7.0, 9.0)
    stages = load(shape="stages:30s@10,60s@40")
    assert (stages.rps, stages.seconds) == (0.0, 90.0)


def test_a_recording_says_itself_how_long_it_lasts(tmp_path: Path) -> None:
    recording = tmp_path / "arrivals.txt"
    recording.write_text("10\n12.5\n18\n")
    replayed = load(replay=recording, warm_up_s=3.0)
    assert (replayed.arrivals, replayed.replay, replayed.warm_up_s) == ("replay", str(recording), 3.0)
    assert replayed.seconds == pytest.approx(5.0, abs=0.01)
    assert load(replay=recording, warm_up_s=60.0).warm_up_s == 0.0
    assert load(replay=recording, warm_up_s=0.0, seconds=2.0).seconds == 2.0


def test_a_recording_is_read_in_every_form_that_the_locustfile_takes(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"timestamp": 10}\n{"timestamp": 18}\n')
    assert load(replay=tmp_path / "a.jsonl", warm_up_s=3.0).seconds == pytest.approx(5.0, abs=0.01)


def test_the_request_is_the_one_of_the_load_then_of_the_warm_up_then_of_the_smoke_test(tmp_path: Path) -> None:
    assert payload_of(SPEC, None) == LOCAL / "samples" / "digits.jsonl"
    for gone in ({"load": None}, {"load": None, "warmup": None}):
        assert payload_of(without(gone), None) == LOCAL / "samples" / "digit.json"
    bare = without({"load": None, "warmup": None, "smoke": ()})
    with pytest.raises(UsageError, match="names no request to send"):
        payload_of(bare, None)
    with pytest.raises(UsageError, match="how many requests a second"):
        load_of(bare, rps=None, seconds=None, warm_up_s=0.0, shape="soak", arrivals="poisson", replay=None)
    (tmp_path / "empty.json").write_text("")
    with pytest.raises(UsageError, match="is not a file with a request"):
        payload_of(SPEC, tmp_path / "empty.json")
