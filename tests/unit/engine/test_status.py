"""``status`` and ``history``: what the endpoint's tags and the journals at hand tell, read and never written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from owners import ELSEWHERE, dead, living
from stateful.world import Behaviour, Killed, World

from deployer.engine.status import look, past, replay
from deployer.errors import StoreError, UsageError
from deployer.ports.store import Entry
from deployer.rollout.events import Judged, Shifted, Started
from deployer.rollout.model import Phase, RequestKind
from deployer.rollout.tags import LEASE, PHASE
from deployer.stores.file import FileJournal


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def half_way(world: World) -> World:
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    world.revive()
    return world


def test_an_endpoint_that_does_not_exist_is_named(world: World) -> None:
    with pytest.raises(UsageError, match="there is no endpoint digits"):
        look(world.site())


def test_looking_is_one_read_and_no_write(world: World) -> None:
    half_way(world)
    before = len(world.platform.calls)
    look(world.site())
    assert world.platform.calls[before:] == ["observe"]


def test_an_endpoint_without_a_rollout_has_no_marks(world: World) -> None:
    world.platform.ensure_endpoint({})
    seen = look(world.site())
    assert (seen.marks, seen.runner, seen.good, seen.previous, seen.steps) == (None, None, None, None, ())


def test_a_promoted_rollout_names_the_good_version_and_the_one_before(world: World) -> None:
    world.roll_out()
    seen = look(world.site())
    assert seen.marks is not None
    assert (seen.marks.phase, seen.marks.is_active, seen.runner) == (Phase.PROMOTED, False, None)
    assert seen.good is not None
    assert seen.previous is not None
    assert (seen.good.name, seen.previous.name) == ("green", "blue")
    assert seen.steps[-1][0].phase is Phase.PROMOTED


@pytest.mark.parametrize(
    ("owner", "shown"), [("living", True), ("dead", False), ("elsewhere", True), ("nobody", False), ("garbled", False)]
)
def test_who_runs_it_is_told_unless_it_is_known_to_be_gone(world: World, owner: str, *, shown: bool) -> None:
    half_way(world)
    name = {"living": living(), "dead": dead(), "elsewhere": ELSEWHERE}.get(owner)
    value = {"nobody": None, "garbled": "who?"}.get(owner, f"{name}|1|0")
    world.platform.edit_tags({LEASE: value})
    assert look(world.site()).runner == (name if shown else None)


def test_a_rollout_under_way_is_told_event_by_event(world: World) -> None:
    half_way(world)
    seen = look(world.site())
    state, event, at = seen.steps[0]
    assert isinstance(event, Started)
    assert (state.phase, at) == (Phase.PREPARING, world.started)
    kinds = [type(event) for _, event, _ in seen.steps]
    assert Shifted in kinds
    assert Judged in kinds
    assert seen.steps[-1][0].weight_pct == 20
    assert [at for _, _, at in seen.steps] == sorted(at for _, _, at in seen.steps)


def test_a_rollout_of_another_machine_is_told_from_its_tags(world: World) -> None:
    half_way(world)
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    seen = look(world.site())
    assert seen.marks is not None
    assert (seen.marks.candidate, seen.marks.stable, seen.steps) == ("green", "blue", ())


def test_garbled_tags_are_no_rollout(world: World) -> None:
    half_way(world)
    world.platform.edit_tags({PHASE: "no such phase"})
    assert look(world.site()).marks is None


def test_replaying_is_the_fold_and_nothing_for_an_unknown_rollout(world: World) -> None:
    world.roll_out()
    steps = replay(world.journal, "r1")
    assert steps[-1][0].phase is Phase.PROMOTED
    assert len(steps) == len(world.journal.read("r1"))
    assert list(replay(world.journal, "r99")) == []


def test_a_journal_that_somebody_changed_is_an_error(world: World) -> None:
    half_way(world)
    path = next((world.home / "journal").glob("*.jsonl"))
    path.write_text(path.read_text().replace('"green"', '"gr33n"', 1))
    with pytest.raises(StoreError, match="does not match its hash"):
        look(world.site())


# ---- history


def test_history_tells_each_rollout_in_a_line_oldest_first(world: World) -> None:
    world.roll_out("1-good")
    world.digest, world.candidate = "worse", Behaviour(error_share=1.0)
    world.roll_out("2-bad")
    world.roll_back()
    rows = past(world.journal)
    assert [(row.id, row.outcome) for row in rows[:2]] == [("1-good", "promoted"), ("2-bad", "gate_failed")]
    assert [row.text.split(":")[0] for row in rows[:2]] == ["blue -> green", "green -> blue"]
    assert rows[0].actor == "ann@here"
    assert rows[0].seconds > 20
    assert rows[0].at == world.started


def test_a_rollback_by_hand_is_in_the_history_with_its_reason(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "keep"}
    world.roll_out("0-first")
    world.roll_back()
    last = past(world.journal)[-1]
    assert (last.text, last.outcome, last.seconds) == ("rollback to blue: by hand", "rolled_back_by_hand", 0.0)


def test_a_rollout_that_did_not_end_is_told_by_its_phase(world: World) -> None:
    half_way(world)
    assert past(world.journal)[-1].outcome in ("judging", "shifting")


def test_an_aborted_rollout_says_by_whom(world: World) -> None:
    half_way(world)
    world.platform.edit_tags({LEASE: None})
    world.ask(RequestKind.ABORT)
    last = past(world.journal)[-1]
    assert last.outcome == "aborted"
    assert "abort by bob@there" in last.text


def test_a_first_deployment_replaces_nothing(world: World) -> None:
    world.baseline = False
    world.roll_out()
    assert past(world.journal)[0].text.startswith("nothing -> ")


def test_no_journal_and_an_empty_one_are_no_history(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal")
    assert past(journal) == []
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "torn.jsonl").write_text('{"at": "2026')
    assert past(journal) == []


def test_a_rollback_by_hand_without_a_reason_has_none(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal")
    event = {"type": "manual_rollback", "to": "blue", "reason": ""}
    journal.append("1", Entry(datetime(2026, 1, 1, tzinfo=UTC), "ann", event))
    assert past(journal)[0].text == "rollback to blue"


def test_a_manifest_tells_the_steps_of_a_rollout_whose_journal_is_elsewhere(world: World) -> None:
    half_way(world)
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    world.revive()
    seen = look(world.site(), world.job().wanted)
    assert seen.steps == ()
    assert seen.sketch is not None
    assert (str(seen.sketch.step), seen.sketch.weight_pct) == ("20%", 20)
    assert look(world.site()).sketch is None


def test_another_manifest_tells_no_steps(world: World) -> None:
    half_way(world)
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    world.revive()
    world.digest = "other"
    assert look(world.site(), world.job().wanted).sketch is None
