"""What a profile cannot write: said before anything is paid for, or else a note beside the result."""

from __future__ import annotations

import json
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml
from doubles.memory import MemoryPlatform
from doubles.profile_world import ONE, PROFILE, ProfileWorld, capacity
from doubles.telemetry import ManualClock

from deployer.engine.profiler import Profiler
from deployer.engine.site import Site
from deployer.errors import DeployerError, UsageError
from deployer.ports.profiling import Ending, Profiled
from deployer.profile import lock as locks
from deployer.profile.advice import Advice, Answer
from deployer.profile.pricing import PriceTag
from deployer.wiring import profile as wired
from deployer.wiring.loadtest import usual_body


class Stood:
    """Stands for a whole profile: it ran, and meanwhile a file took the place of the folder to write to."""

    ran = 0
    spoil: Path | None = None

    def __init__(self, *given: object) -> None:
        signature(Profiler).bind(*given)

    def run(self) -> Profiled:
        Stood.ran += 1
        if Stood.spoil is not None:
            Stood.spoil.rmdir()
            Stood.spoil.write_text("")
        advice = Advice(ONE, (Answer(ONE, 0.05, capacity(70.0), measured_at=1),), is_final=True)
        return Profiled(Ending.COMPLETE, "every candidate was judged", advice, (), 60.0, 0.1, None)


@pytest.fixture(autouse=True)
def stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(wired, "Profiler", Stood)
    monkeypatch.setattr(Stood, "ran", 0)
    monkeypatch.setattr(Stood, "spoil", None)


def run(folder: Path, world: ProfileWorld, **options: Any) -> wired.Ran:
    clock = ManualClock()
    site = Site("test", MemoryPlatform("test", clock), None, None, clock, "me", lambda: None)  # type: ignore[arg-type]
    reached: Any = type("Reached", (), {"site": site})
    prices = dict.fromkeys(world.spec.configurations, PriceTag(0.05, "the profile"))
    asked = wired.ReachedProfile(world.spec, reached, prices)
    return wired.run(asked, world, world, **options)  # type: ignore[arg-type]


def asked(option: str, path: Path) -> dict[str, Any]:
    return {option: [path] if option == "reports" else path}


def test_the_end_of_a_report_s_name_says_its_form(tmp_path: Path) -> None:
    pages = [tmp_path / f"out{suffix}" for suffix in (".json", ".html", ".md", ".xml")]
    ran = run(tmp_path, ProfileWorld(tmp_path), reports=pages)
    assert [page.read_text()[:2] for page in pages] == ["{\n", "<!", "##", "<t"]
    assert ran.record["report"] == json.loads(pages[0].read_text())["report"] == str(pages[0])
    (kept,) = (tmp_path / "home" / "reports").iterdir()
    assert json.loads(kept.read_text()) == json.loads(pages[0].read_text())


def test_an_unknown_form_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"out\.pdf: unknown format"):
        run(tmp_path, ProfileWorld(tmp_path), reports=[tmp_path / "out.pdf"])
    assert Stood.ran == 0


def test_an_inline_deployment_is_not_written_to_and_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(DeployerError, match="it has no file to write"):
        run(tmp_path, ProfileWorld(tmp_path), write=True)
    assert Stood.ran == 0


@pytest.mark.parametrize("option", ["reports", "junit"])
@pytest.mark.parametrize("name", ["taken/out.html", "folder.html"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_started(
    tmp_path: Path, option: str, name: str
) -> None:
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(DeployerError, match=f"cannot write .*{name}"):
        run(tmp_path, ProfileWorld(tmp_path), **asked(option, tmp_path / name))
    assert Stood.ran == 0


@pytest.mark.parametrize("option", ["reports", "junit"])
def test_what_cannot_be_written_at_the_end_is_a_note_and_the_result_and_lock_are_given(
    tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ProfileWorld(tmp_path)
    monkeypatch.setattr(Stood, "spoil", tmp_path / "out")
    ran = run(tmp_path, world, **asked(option, tmp_path / "out" / "page.html"))
    assert ran.record["recommended"]["config"] == ONE.record()
    assert json.loads((tmp_path / locks.NAME).read_text())["configuration"] == ONE.record()
    assert [note.startswith("cannot write") for note in ran.record["notes"]] == [True]
    assert world.notes == ran.record["notes"]
    assert (ran.record["report"] is None) == (option == "reports")


def test_a_deployment_file_that_went_away_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "deployment.yaml").write_text(yaml.safe_dump(PROFILE["deployment"]))
    world = ProfileWorld(tmp_path)
    source = replace(world.spec.deployment, path=tmp_path / "gone" / "deployment.yaml")
    world.spec = replace(world.spec, deployment=source)
    ran = run(tmp_path, world, write=True)
    assert (ran.changed, len(ran.record["notes"]), (tmp_path / locks.NAME).is_file()) == (None, 1, True)


@pytest.mark.parametrize(
    ("platform", "peak", "said"),
    [("managed", 600, "720 requests/s are over the 500"), ("managed", 50, ""), ("local", 600, "")],
)
def test_a_rate_that_the_endpoint_itself_does_not_admit_is_said_before(
    tmp_path: Path, platform: str, peak: float, said: str
) -> None:
    world = ProfileWorld(tmp_path, peak_rps=peak)
    reached: Any = type("Reached", (), {"platform": platform})
    assert "".join(wired.ReachedProfile(world.spec, reached, {}).warnings).startswith(said)
    assert bool(wired.ReachedProfile(world.spec, reached, {}).warnings) == bool(said)


def test_the_usual_size_of_a_request_is_that_of_its_lines(tmp_path: Path) -> None:
    many, one, schema = (tmp_path / name for name in ("a.jsonl", "b.json", "c.schema.json"))
    many.write_bytes(b"x" * 10 + b"\n\n" + b"x" * 30 + b"\n")
    one.write_bytes(b"x\n" * 50)
    schema.write_text('{"type": "array", "items": {"type": "number"}, "minItems": 100000}')
    assert [usual_body(each) for each in (many, one, schema)] == [20, 100, 0]
