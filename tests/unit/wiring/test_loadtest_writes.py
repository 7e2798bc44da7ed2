"""What a load test cannot write: said before anything is sent, or else a note beside the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles.memory import MemoryPlatform
from doubles.telemetry import ManualClock
from unit.cli.commands import QUICKSTART
from unit.loadtest.windows import run as figures_of
from unit.loadtest.windows import steady

from deployer.engine.loadtest import Aim, Asked
from deployer.engine.site import Site
from deployer.errors import ExitCode, StoreError
from deployer.loadtest.figures import Figures, Load
from deployer.ports.platform import ScoringTarget
from deployer.wiring import loadtest as wired
from deployer.wiring.checks import load as load_manifest


class World:
    """Sends an hour of load at once, to an endpoint that always answers; ``meanwhile`` something happens."""

    def __init__(self) -> None:
        self.sent = 0
        self.notes: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def run_test(self, *_: object) -> Figures:
        self.sent += 1
        self.meanwhile()
        return figures_of(steady(60, {20.0: 50}))

    def run(self, folder: Path, *reports: Path) -> wired.Ran:
        clock = ManualClock()
        site = Site("digits", MemoryPlatform("digits", clock), None, None, clock, "me", lambda: None)  # type: ignore[arg-type]
        spec = load_manifest(Path(QUICKSTART))
        reached: Any = type("Reached", (), {"site": site, "the_spec": spec, "platform": "local", "type": None})
        (folder / "p.json").write_text("{}")
        asked = Asked(Load("poisson", "constant", 50.0, 60.0), folder / "p.json", None)
        return wired.run(
            reached,
            None,  # type: ignore[arg-type]
            wired.Engine("local"),
            asked,
            lambda _: None,
            self.notes.append,
            during_rollout=False,
            reports=reports,
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setenv("DEPLOYER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(wired, "aim", lambda *_, **__: Aim(ScoringTarget("http://127.0.0.1/", {}), {"blue": 100}))
    monkeypatch.setattr(wired, "first_request", lambda _site, aimed, *_: aimed)
    monkeypatch.setattr(wired, "run_test", made.run_test)
    return made


def kept(folder: Path) -> list[Path]:
    return list((folder / "home" / "loadtests" / "local" / "digits").glob("*.json"))


@pytest.mark.parametrize("name", ["taken/out.html", "folder.md"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_sent(
    tmp_path: Path, world: World, name: str
) -> None:
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(StoreError, match=f"cannot write .*{name}"):
        world.run(tmp_path, tmp_path / "good.html", tmp_path / name)
    assert (world.sent, kept(tmp_path)) == (0, [])


def test_a_home_that_keeps_nothing_is_refused_before_anything_is_sent(tmp_path: Path, world: World) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        world.run(tmp_path)
    assert world.sent == 0


def test_a_report_that_cannot_be_written_any_more_is_a_note_beside_the_verdict(tmp_path: Path, world: World) -> None:
    gone = tmp_path / "out" / "page.html"

    def spoil() -> None:
        gone.parent.rmdir()
        gone.parent.write_text("")

    world.meanwhile = spoil
    ran = world.run(tmp_path, gone, tmp_path / "good.md")
    assert (ran.exit_code, ran.record["result"]) == (ExitCode.OK, "passed")
    assert ran.record["report"] == str(tmp_path / "good.md")
    (file,) = kept(tmp_path)
    assert world.notes[0].startswith(f"cannot write {gone}: ")
    assert world.notes[1:] == [f"the result is kept as {file}"]
    record = json.loads(file.read_text())
    assert (record["report"], record["warnings"]) == (str(tmp_path / "good.md"), world.notes[:1])


def test_a_result_that_cannot_be_kept_is_a_note_beside_the_verdict(tmp_path: Path, world: World) -> None:
    def spoil() -> None:
        folder = tmp_path / "home" / "loadtests" / "local" / "digits"
        folder.rmdir()
        folder.write_text("")

    world.meanwhile = spoil
    ran = world.run(tmp_path, tmp_path / "good.html")
    assert ran.exit_code is ExitCode.OK
    assert [note.endswith("the result is not kept") for note in world.notes] == [True]
    assert "TARGETS MET" in (tmp_path / "good.html").read_text()


def test_what_is_kept_is_its_owners_alone(tmp_path: Path, world: World) -> None:
    ran = world.run(tmp_path)
    (file,) = kept(tmp_path)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert ran.record["report"] == str(file.with_suffix(".html"))
    assert world.notes == []
