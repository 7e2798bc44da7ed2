"""What ``recover`` touches and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles.memory import CAPABILITIES
from owners import ELSEWHERE, dead, living
from stateful.world import Killed, World

from deployer.engine.lease import Holder
from deployer.engine.leftovers import idle_deployments
from deployer.engine.recover import Found
from deployer.errors import ExitCode, UsageError
from deployer.rollout.model import Phase, RequestKind
from deployer.rollout.tags import LEASE, PHASE, marks_of

STALE_AFTER_S = CAPABILITIES.stale_after_s


def tags(world: World) -> dict[str, str]:
    view = world.platform.peek()
    assert view is not None
    return dict(view.tags)


def killed(tmp_path: Path, second: float, **options: object) -> World:
    world = World(tmp_path, **options)  # type: ignore[arg-type]
    world.at[second] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A rollout at 20 %, whose process was killed."""
    made = killed(tmp_path, 9.0)
    assert made.traffic() == {"green": 20, "blue": 80}
    return made


def run_by(world: World, owner: str) -> None:
    world.platform.edit_tags({LEASE: f"{owner}|3|0"})


def seconds(world: World) -> float:
    return (world.clock.now() - world.started).total_seconds()


def test_a_rollout_that_nobody_runs_is_brought_back_and_verified(world: World) -> None:
    run_by(world, dead())
    done = world.recover()
    assert (done.found, done.ended.exit_code) == (Found.ABANDONED, ExitCode.ABORTED)
    assert world.traffic() == {"blue": 100}
    assert "nobody ran the rollout any more" in done.ended.text


@pytest.mark.parametrize("with_manifest", [False, True])
@pytest.mark.parametrize("ask", ["recover", "abort"])
@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
def test_traffic_that_another_tool_took_away_comes_back(
    world: World, journal: str, ask: str, with_manifest: bool
) -> None:
    """An outage with a dead runner: the stable had its traffic, so this is no rollout that never began."""
    run_by(world, dead())
    world.platform.edit_traffic({})
    if journal == "elsewhere":
        for path in (world.home / "journal").glob("*.jsonl"):
            path.unlink()
    if ask == "recover":
        assert world.recover(with_manifest=with_manifest).ended.exit_code is ExitCode.ABORTED
    else:
        assert world.ask(RequestKind.ABORT, with_manifest=with_manifest).exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}


def test_it_works_from_another_machine_without_a_journal_or_a_manifest(world: World) -> None:
    run_by(world, dead())
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    assert world.recover().ended.exit_code is ExitCode.ABORTED
    assert world.traffic() == {"blue": 100}


def test_a_lease_of_another_machine_counts_as_dead_only_after_it_was_seen_unchanged(world: World) -> None:
    run_by(world, ELSEWHERE)
    began = seconds(world)
    done = world.recover()
    assert done.ended.exit_code is ExitCode.ABORTED
    assert seconds(world) - began >= STALE_AFTER_S


def test_it_says_how_long_it_has_been_watching(world: World) -> None:
    run_by(world, ELSEWHERE)
    world.recover()
    watching = [note for note in world.notes if "no sign of life" in note]
    assert watching
    assert f"dead after {STALE_AFTER_S:g}s" in watching[0]


def test_a_lease_that_is_renewed_meanwhile_is_left_alone(world: World) -> None:
    run_by(world, ELSEWHERE)
    world.at[seconds(world) + STALE_AFTER_S / 2] = lambda there: there.platform.edit_tags({LEASE: f"{ELSEWHERE}|3|1"})
    done = world.recover()
    assert (done.found, done.ended.exit_code, done.runner) == (Found.RUNNING, ExitCode.OK, ELSEWHERE)
    assert world.traffic() == {"green": 20, "blue": 80}
    assert Holder.parse(tags(world)[LEASE]) == Holder(ELSEWHERE, 3, 1)


def test_a_living_process_of_this_machine_is_left_alone_at_once(world: World) -> None:
    run_by(world, living())
    began = seconds(world)
    done = world.recover()
    assert (done.found, done.ended.exit_code) == (Found.RUNNING, ExitCode.OK)
    assert seconds(world) == began
    assert world.traffic() == {"green": 20, "blue": 80}


def test_a_signal_while_watching_changes_nothing(world: World) -> None:
    run_by(world, ELSEWHERE)
    world.signal = "SIGTERM"
    with pytest.raises(Exception, match="stopped by SIGTERM; nothing was changed"):
        world.recover()
    assert world.traffic() == {"green": 20, "blue": 80}


def test_a_pause_is_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path, strategy={"canary": {"steps": [20, {"pause": {}}], "each": {"min": "2s", "max": "40s"}}})
    assert world.roll_out().exit_code is ExitCode.PAUSED
    before = world.platform.peek()
    done = world.recover()
    assert (done.found, done.ended.exit_code) == (Found.PAUSED, ExitCode.PAUSED)
    assert world.platform.peek() == before


def test_a_pause_that_only_the_journal_knows_is_written_down_and_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path, strategy={"canary": {"steps": [20, {"pause": {}}], "each": {"min": "2s", "max": "40s"}}})
    world.roll_out()
    position = tags(world)[PHASE].partition(":")[2]
    world.platform.edit_tags({PHASE: f"shifting:{position}"})
    assert world.recover().found is Found.PAUSED
    assert tags(world)[PHASE] == f"paused:{position}"


def test_nothing_unfinished_is_a_success_that_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.roll_out()
    before = world.platform.peek()
    done = world.recover()
    assert (done.found, done.ended.exit_code) == (Found.NOTHING, ExitCode.OK)
    assert "no rollout is unfinished" in done.ended.text
    assert world.platform.peek() == before


def test_an_endpoint_that_a_manifest_has_yet_to_make_needs_no_recovery(tmp_path: Path) -> None:
    assert World(tmp_path).recover(with_manifest=True).found is Found.NOTHING


def test_a_name_that_is_no_endpoint_is_an_error_lest_a_schedule_guards_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no endpoint"):
        World(tmp_path).recover()


def test_a_stuck_rollout_still_asks_for_a_human(world: World) -> None:
    position = tags(world)[PHASE].partition(":")[2]
    world.platform.edit_tags({PHASE: f"stuck:{position}", LEASE: None})
    done = world.recover()
    assert (done.found, done.ended.exit_code) == (Found.STUCK, ExitCode.STUCK)


@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
@pytest.mark.parametrize("with_manifest", [False, True])
def test_after_the_last_pass_it_is_completed_and_never_sent_back(
    tmp_path: Path, with_manifest: bool, journal: str
) -> None:
    world = World(tmp_path)
    world.platform.before = lambda name: world.kill() if name == "delete_deployment" else world.check_alive()
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.before = lambda _: None
    marks = marks_of(tags(world))
    assert marks is not None
    assert marks.phase is Phase.RETIRING
    if journal == "elsewhere":
        for path in (world.home / "journal").glob("*.jsonl"):
            path.unlink()
    done = world.recover(with_manifest=with_manifest)
    assert done.ended.exit_code is ExitCode.OK
    assert world.traffic() == {"green": 100}
    view = world.platform.peek()
    knows_how_to_retire = with_manifest or journal == "at hand"
    assert view is not None
    assert set(view.deployments) == ({"green"} if knows_how_to_retire else {"green", "blue"})
    assert idle_deployments(view) == ()  # who knows whether it was to be kept
    assert done.ended.state is not None
    told = any("the manifest, which is not at hand" in warning for warning in done.ended.state.warnings)
    assert told != knows_how_to_retire
    assert world.roll_back().exit_code is ExitCode.OK  # it stands, or is made again
    assert world.live_digest() == "base"


def test_a_way_back_that_had_begun_keeps_its_reason(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.at[9.0] = lambda there: there.platform.edit_tags({"deployer.request": "abort|bob|trouble"})
    world.platform.before = lambda name: (
        world.kill() if name == "set_traffic" and seconds(world) >= 9 else world.check_alive()
    )
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.before = lambda _: None
    done = world.recover()
    assert done.ended.exit_code is ExitCode.ABORTED
    assert "trouble" in done.ended.text
    assert world.traffic() == {"blue": 100}


def test_a_full_disk_does_not_keep_traffic_from_coming_back(world: World) -> None:
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    type(world.journal).full = True
    try:
        assert world.recover().ended.exit_code is ExitCode.ABORTED
    finally:
        type(world.journal).full = False
    assert world.traffic() == {"blue": 100}


def test_a_deleted_endpoint_is_not_made_again(world: World) -> None:
    run_by(world, ELSEWHERE)
    world.at[seconds(world) + STALE_AFTER_S / 2] = lambda there: there.platform.vanish()
    assert world.recover().ended.exit_code is ExitCode.OK
    assert world.platform.peek() is None


@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
@pytest.mark.parametrize("with_manifest", [False, True])
@pytest.mark.parametrize("ask", ["recover", "abort"])
def test_a_baseline_that_never_had_traffic_is_removed_with_the_rollout_that_made_it(
    tmp_path: Path, ask: str, with_manifest: bool, journal: str
) -> None:
    world = unbegun(tmp_path, journal)
    if ask == "recover":
        assert world.recover(with_manifest=with_manifest).ended.exit_code is ExitCode.ABORTED
    else:
        assert world.ask(RequestKind.ABORT, with_manifest=with_manifest).exit_code is ExitCode.OK
    assert (deployments(world), world.traffic()) == (set(), {})


def unbegun(tmp_path: Path, journal: str, *, is_there: bool = False) -> World:
    """A first rollout that was killed before its baseline had traffic; the baseline may have been there before."""
    world = World(tmp_path)
    if is_there:
        world.platform.ensure_endpoint({"name": "digits"})
        world.platform.create_deployment(world.version("blue", "base"))
        world.clock.advance(60.0)
    world.platform.after = lambda name: (
        world.kill()
        if "blue" in deployments(world) and tags(world).get(PHASE) == "preparing:0"
        else world.check_alive()
    )
    with pytest.raises(Killed):
        world.roll_out(f"{world.clock.now():%Y%m%dT%H%M%S}-04ba")
    world.platform.after = lambda _: None
    if journal == "elsewhere":
        for path in (world.home / "journal").glob("*.jsonl"):
            path.unlink()
    return world


def deployments(world: World) -> set[str]:
    view = world.platform.peek()
    return set(view.deployments) if view else set()


@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
def test_a_deployment_that_was_there_before_the_rollout_is_never_removed_as_its_baseline(
    tmp_path: Path, journal: str
) -> None:
    world = unbegun(tmp_path, journal, is_there=True)
    done = world.recover().ended
    assert (done.exit_code, deployments(world)) == (ExitCode.ABORTED, {"blue"})
    view = world.platform.peek()
    assert view is not None
    assert [each.name for each in idle_deployments(view)] == ["blue"]  # as the warning says
    assert done.state is not None
    assert any("deployer gc digits lists it" in warning for warning in done.state.warnings)


def test_an_operators_wish_that_nobody_took_is_not_carried_out_by_a_recovery(world: World) -> None:
    run_by(world, dead())
    world.platform.edit_tags({"deployer.request": f"{RequestKind.PROMOTE_FULL.value}|bob|quick"})
    assert world.recover().ended.exit_code is ExitCode.ABORTED
    assert world.traffic() == {"blue": 100}
