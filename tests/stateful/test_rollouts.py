"""Whole rollouts in memory: what users get, whatever happens on the way."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from doubles.simple_gate import judge
from world import Behaviour, Killed, World, _Journal

from deployer.engine.rollback import roll_back
from deployer.errors import ConflictError, ExitCode, PlanError, TelemetryError, TransientError, UsageError
from deployer.gate.record import Record
from deployer.ports.platform import DeploymentSpec
from deployer.report.listeners import Quiet
from deployer.rollout.events import Judged, from_record
from deployer.rollout.model import Phase, RequestKind


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_good_version_is_promoted_and_the_old_one_retired(world: World) -> None:
    done = world.roll_out()
    assert done.exit_code is ExitCode.OK
    assert (world.traffic(), world.live_digest()) == ({"green": 100}, "new")
    assert world.weights("new") == [0, 20, 50, 100]
    view = world.platform.peek()
    assert view is not None
    assert set(view.deployments) == {"green"}


def test_a_second_run_of_a_finished_rollout_writes_nothing(world: World) -> None:
    world.roll_out()
    before = list(world.platform.calls)
    done = world.roll_out("r2")
    assert done.exit_code is ExitCode.OK
    assert "nothing to do" in done.text
    assert world.platform.calls[len(before) :] == ["observe"]


@pytest.mark.parametrize(
    "bad",
    [Behaviour(error_share=1.0), Behaviour(error_share=0.3), Behaviour(ms=500)],
    ids=["raises", "sometimes", "slow"],
)
def test_a_bad_version_is_rolled_back_and_removed(world: World, bad: Behaviour) -> None:
    world.candidate = bad
    done = world.roll_out()
    assert done.exit_code is ExitCode.GATE_FAILED
    assert world.live_digest() == "base"
    assert max(world.weights("new")) == 20
    view = world.platform.peek()
    assert view is not None
    assert set(view.deployments) == {"blue"}


@pytest.mark.parametrize("bad", [Behaviour(smoke=False), Behaviour(warm=False)], ids=["smoke", "warm-up"])
def test_a_version_that_fails_before_users_never_gets_any(world: World, bad: Behaviour) -> None:
    world.candidate = bad
    assert world.roll_out().exit_code is ExitCode.GATE_FAILED
    assert "green" not in world.answered


def test_a_version_that_does_not_start_never_gets_users(world: World) -> None:
    world.platform.fail("green", "init raised")
    done = world.roll_out()
    assert done.exit_code is ExitCode.PLATFORM
    assert "init raised" in done.text
    assert (world.live_digest(), "green" in world.answered) == ("base", False)


def test_a_version_that_vanishes_whenever_it_is_made_is_given_up_in_its_time(world: World) -> None:
    world.platform.after = lambda name: world.platform.remove("green") if name == "create_deployment" else None
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base")
    assert "deployment green does not show, asked for 4 times in 30s" in done.text
    assert world.platform.calls.count("create_deployment") == 1 + 4


def test_no_traffic_is_inconclusive_and_rolled_back(world: World) -> None:
    world.rps = 0
    assert world.roll_out().exit_code is ExitCode.INCONCLUSIVE
    assert world.live_digest() == "base"


def test_silent_telemetry_is_never_a_pass(world: World) -> None:
    world.telemetry.error = TelemetryError("gone", hint="Look.")
    done = world.roll_out()
    assert done.exit_code is ExitCode.INCONCLUSIVE
    assert max(world.weights("new")) == 20


@pytest.mark.parametrize("seen", [0.0, 0.5, 0.8])
def test_part_of_the_data_is_never_a_pass(world: World, seen: float) -> None:
    answer = world.telemetry.answer

    def thin(*args: object, n: int = 1, **options: object) -> None:
        shown = round(n * seen)
        if shown:
            answer(*args, n=shown, **options)  # type: ignore[arg-type]
        if n - shown:
            answer(*args, n=n - shown, seen=False, **options)  # type: ignore[arg-type]

    world.telemetry.answer = thin  # type: ignore[method-assign]
    done = world.roll_out()
    assert done.exit_code is ExitCode.INCONCLUSIVE
    assert "telemetry holds" in done.text


def test_stale_telemetry_is_never_a_pass(world: World) -> None:
    world.telemetry.lag_s = 700.0
    assert world.roll_out().exit_code is ExitCode.INCONCLUSIVE


def test_telemetry_that_comes_back_lets_the_rollout_go_on(world: World) -> None:
    world.telemetry.error = TelemetryError("gone", hint="Look.")
    world.at[20.0] = lambda w: setattr(w.telemetry, "error", None)
    assert world.roll_out().exit_code is ExitCode.OK


def test_traffic_that_stops_in_the_bake_does_not_promote(world: World) -> None:
    def silence(w: World) -> None:
        w.rps = 0

    def watch(w: World) -> None:
        if w.traffic() == {"green": 100}:
            silence(w)
        else:
            w.at[(w.clock.now() - w.started).total_seconds() + 0.5] = watch

    world.at[1.0] = watch
    world.gate["min_requests"] = 300
    assert world.roll_out().exit_code is ExitCode.INCONCLUSIVE
    assert world.live_digest() == "base"


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("second", [0.5, 3.0, 6.0, 12.0, 25.0])
def test_a_signal_at_any_moment_restores_the_stable(world: World, signal: str, second: float) -> None:
    world.at[second] = lambda w: setattr(w, "signal", signal)
    done = world.roll_out()
    assert done.exit_code is ExitCode.ABORTED
    assert world.traffic() in ({"blue": 100}, {})
    world.signal = None
    assert world.roll_out("r2").exit_code is ExitCode.OK


def test_a_signal_while_retiring_does_not_undo_a_proven_version(world: World) -> None:
    world.platform.after = lambda name: setattr(world, "signal", "SIGTERM") if name == "delete_deployment" else None
    assert world.roll_out().exit_code is ExitCode.OK


def test_a_pause_exits_20_and_promote_from_another_process_finishes(world: World) -> None:
    world.strategy = {"canary": {"steps": [20, {"pause": {}}, 50], "each": {"min": "5s", "max": "40s"}, "bake": "10s"}}
    assert world.roll_out().exit_code is ExitCode.PAUSED
    assert world.traffic() == {"green": 20, "blue": 80}
    assert world.roll_out("again").exit_code is ExitCode.PAUSED
    assert world.ask(RequestKind.PROMOTE).exit_code is ExitCode.OK
    assert world.live_digest() == "new"


@pytest.mark.parametrize("strategy", ["canary", "blue_green"])
@pytest.mark.parametrize("journal", ["at hand", "elsewhere"])
def test_promote_of_an_undecided_step_moves_on_one_step_from_every_machine(
    world: World, journal: str, strategy: str
) -> None:
    """A hosted CI runner never has the journal: the step must not be judged, and paused, again and again."""
    canary = {"canary": {"steps": [20, 50], "each": {"min": "2s", "max": "10s"}, "bake": "3s"}}
    mirror = {"blue_green": {"mirror": "20%", "mirror_for": "5s", "bake": "3s"}}
    world.strategy = {**(canary if strategy == "canary" else mirror), "on_inconclusive": "pause"}
    world.rps = 1
    done = world.roll_out()
    split: list[dict[str, int]] = []
    while done.exit_code is ExitCode.PAUSED:
        assert len(split) < 4, f"it never ends: {split}"
        split.append(world.traffic())
        if journal == "elsewhere":
            forget_journal(world)
        done = world.ask(RequestKind.PROMOTE)
    steps = [{"green": 20, "blue": 80}, {"green": 50, "blue": 50}] if strategy == "canary" else [{"blue": 100}]
    assert (done.exit_code, split) == (ExitCode.OK, [*steps, {"green": 100}])
    assert world.traffic() == {"green": 100}


def replaced_by_hand(world: World) -> World:
    """A rollout at 20 % whose runner and journal are gone, and whose candidate is not deployer's any more."""
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    forget_journal(world)
    world.platform.add_foreign("green")
    return world


@pytest.mark.parametrize("with_manifest", [False, True])
def test_an_abort_brings_traffic_back_whatever_became_of_the_candidate(world: World, *, with_manifest: bool) -> None:
    replaced_by_hand(world)
    assert world.ask(RequestKind.ABORT, with_manifest=with_manifest).exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}
    view = world.platform.peek()
    assert view is not None
    assert set(view.deployments) == {"blue", "green"}  # what somebody else made stays


def test_a_rollout_that_its_manifest_does_not_fit_any_more_goes_back(world: World) -> None:
    done = replaced_by_hand(world).roll_out("r2")
    assert (done.exit_code, world.traffic()) == (ExitCode.ABORTED, {"blue": 100}), done.text
    assert "it cannot go on: deployment green exists and was not made by deployer" in done.text


@pytest.mark.parametrize("kind", [RequestKind.PROMOTE, RequestKind.RESUME])
def test_a_rollout_that_its_manifest_does_not_fit_any_more_is_not_gone_on_with(world: World, kind: RequestKind) -> None:
    replaced_by_hand(world)
    with pytest.raises(PlanError, match="was not made by deployer"):
        world.ask(kind)
    assert world.traffic() == {"green": 20, "blue": 80}


def test_after_the_last_pass_a_manifest_that_does_not_fit_any_more_leaves_the_old_version(world: World) -> None:
    world.platform.before = lambda name: world.kill() if name == "delete_deployment" else world.check_alive()
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.before = lambda _: None
    forget_journal(world)
    world.strategy = {**world.strategy, "deadline": "30s"}  # less than the steps take here
    done = world.recover(with_manifest=True)
    assert (done.ended.exit_code, world.live_digest()) == (ExitCode.OK, "new")
    view = world.platform.peek()
    assert view is not None
    assert set(view.deployments) == {"blue", "green"}


def test_resume_from_another_machine_judges_the_step_again(world: World) -> None:
    world.strategy = {**world.strategy, "on_fail": "freeze"}
    world.candidate = Behaviour(error_share=0.5)
    world.roll_out()
    forget_journal(world)
    assert world.ask(RequestKind.RESUME).exit_code is ExitCode.PAUSED
    assert world.traffic() == {"green": 20, "blue": 80}


def test_promote_without_a_manifest_is_noted_and_the_next_run_goes_on(world: World) -> None:
    world.strategy = {"canary": {"steps": [20, {"pause": {}}, 50], "each": {"min": "5s", "max": "40s"}, "bake": "10s"}}
    world.roll_out()
    noted = world.ask(RequestKind.PROMOTE, with_manifest=False)
    assert noted.exit_code is ExitCode.PAUSED
    assert world.roll_out("r2").exit_code is ExitCode.OK


def test_abort_of_a_paused_rollout_needs_no_manifest(world: World) -> None:
    world.strategy = {"canary": {"steps": [20, {"pause": {}}, 50], "each": {"min": "5s", "max": "40s"}, "bake": "10s"}}
    world.roll_out()
    assert world.ask(RequestKind.ABORT, with_manifest=False).exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}


@pytest.mark.parametrize("kind", list(RequestKind))
def test_a_request_with_nothing_under_way_is_no_error(world: World, kind: RequestKind) -> None:
    world.roll_out()
    done = world.ask(kind)
    assert (done.exit_code, world.live_digest()) == (ExitCode.OK, "new")


def test_rollback_by_hand_needs_no_journal_and_is_idempotent(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "keep"}
    world.roll_out()
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    done = world.roll_back()
    assert (done.exit_code, world.live_digest()) == (ExitCode.OK, "base")
    writes = len(world.platform.writes)
    assert world.roll_back().exit_code is ExitCode.OK
    assert len(world.platform.writes) == writes


def test_rollback_is_one_read_one_write_and_the_reading_back(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "keep"}
    world.roll_out()
    before = len(world.platform.calls)
    world.roll_back()
    assert world.platform.calls[before:].count("set_traffic") == 1


def test_rollback_to_a_retired_version_makes_it_again(world: World) -> None:
    world.roll_out()
    done = world.roll_back()
    assert (done.exit_code, world.live_digest()) == (ExitCode.OK, "base")
    assert any("making it again" in note for note in world.notes)


def test_rollback_of_a_scaled_down_version_starts_it_first(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "scale_down"}
    world.roll_out()
    assert world.roll_back().exit_code is ExitCode.OK
    assert world.live_digest() == "base"


def test_rollback_during_a_rollout_stops_it_without_a_fight(world: World) -> None:
    def by_hand(w: World) -> None:
        """The lease is taken with a higher fence, as by any other process."""
        roll_back(w.site(), Quiet(), to=None, reason="panic")

    world.at[9.0] = by_hand
    with pytest.raises(ConflictError, match="brought back from elsewhere"):
        world.roll_out()
    assert world.traffic() == {"blue": 100}
    assert world.weights("new")[-1] == 0


def test_rollback_to_an_unhealthy_version_is_refused_and_changes_nothing(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "keep"}
    world.roll_out()
    world.platform.fail("blue", "crash loop")
    with pytest.raises(Exception, match="cannot take traffic: crash loop"):
        world.roll_back()
    assert world.live_digest() == "new"


def test_a_full_disk_before_the_start_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.roll_out()
    world.digest = "newer"
    monkeypatch.setattr(_Journal, "full", True)
    writes = len(world.platform.writes)
    with pytest.raises(Exception, match="No space left"):
        world.roll_out("r2")
    assert len(world.platform.writes) == writes


def test_a_disk_that_fills_up_on_the_way_brings_traffic_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.at[9.0] = lambda w: monkeypatch.setattr(_Journal, "full", True)
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base")


def test_an_edit_by_somebody_else_restores_the_stable(world: World) -> None:
    world.at[9.0] = lambda w: w.platform.edit_traffic({"green": 90, "blue": 10})
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.ABORTED, "base")
    assert "somebody else changed traffic" in done.text


def test_stale_reads_are_not_taken_for_an_edit(world: World) -> None:
    world.platform.after = lambda name: setattr(world.platform, "stale_reads", 1) if name == "set_traffic" else None
    assert world.roll_out().exit_code is ExitCode.OK


def test_a_candidate_that_dies_on_the_way_loses_its_traffic(world: World) -> None:
    world.at[9.0] = lambda w: w.platform.fail("green", "crash loop")
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base")


def test_a_deleted_endpoint_is_a_matter_for_a_human(world: World) -> None:
    world.at[9.0] = lambda w: w.platform.vanish()
    done = world.roll_out()
    assert done.exit_code is ExitCode.STUCK
    assert "deleted by somebody else" in done.text
    assert world.platform.peek() is None


def test_a_passing_fault_of_a_write_is_tried_again(world: World) -> None:
    world.platform.fail_next("set_traffic", TransientError("busy", hint="Wait."))
    assert world.roll_out().exit_code is ExitCode.OK


def test_a_way_back_that_first_fails_is_tried_again(world: World) -> None:
    world.candidate = Behaviour(error_share=1.0)
    world.at[6.0] = lambda w: w.platform.fail_next("set_traffic", ConflictError("busy", hint="Wait."))
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.GATE_FAILED, "base")


def test_a_way_back_that_never_works_is_stuck_within_the_reserve(world: World) -> None:
    world.candidate = Behaviour(error_share=1.0)

    def refuse(name: str) -> None:
        if name == "set_traffic" and world.traffic().get("green"):
            raise ConflictError("busy for ever", hint="Wait.")

    world.platform.before = refuse
    done = world.roll_out()
    assert done.exit_code is ExitCode.STUCK
    assert "a human must act now" in done.text
    world.platform.before = lambda _: None
    assert world.roll_back("blue").exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}


def test_another_version_after_a_crash_first_brings_the_old_one_back(world: World) -> None:
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    assert world.traffic() == {"green": 20, "blue": 80}
    world.digest, world.candidate = "newer", Behaviour()
    assert world.roll_out("r2").exit_code is ExitCode.OK
    assert world.live_digest() == "newer"


def test_a_crashed_rollout_goes_on_from_the_tags_alone(world: World) -> None:
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    assert world.roll_out("r2").exit_code is ExitCode.OK
    assert world.live_digest() == "new"


def test_a_crashed_rollout_is_aborted_from_a_machine_that_knows_nothing(world: World) -> None:
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()
    assert world.ask(RequestKind.ABORT, with_manifest=False).exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}


def test_a_lease_held_by_a_living_process_refuses_a_second_rollout(world: World) -> None:
    world.roll_out()
    world.digest = "newer"
    beats = iter(range(10**6))

    def beat(w: World) -> None:
        w.platform.edit_tags({"deployer.lease": f"other-host/1/1|7|{next(beats)}"})
        w.at[(w.clock.now() - w.started).total_seconds() + 5.0] = beat

    beat(world)
    with pytest.raises(PlanError, match="another rollout of this endpoint is running"):
        world.roll_out("r2")
    assert world.live_digest() == "new"


def test_a_lease_whose_beat_stands_still_is_taken_over(world: World) -> None:
    world.roll_out()
    world.digest = "newer"
    world.platform.edit_tags({"deployer.lease": "other-host/1/1|7|3"})
    assert world.roll_out("r2").exit_code is ExitCode.OK


def test_a_human_takes_a_lease_over_at_once(world: World) -> None:
    world.roll_out()
    world.digest = "newer"
    world.platform.edit_tags({"deployer.lease": "other-host/1/1|7|3"})
    started = world.clock.now()
    assert world.roll_out("r2", take_over=True).exit_code is ExitCode.OK
    assert (world.clock.now() - started).total_seconds() < 60


def test_blue_green_mirrors_then_switches(world: World) -> None:
    world.strategy = {"blue_green": {"mirror": "20%", "mirror_for": "30s", "bake": "10s"}}
    assert world.roll_out().exit_code is ExitCode.OK
    assert [write.mirror for write in world.platform.writes if write.mirror] == [{"green": 20}]
    assert world.weights("new") == [0, 0, 100]


def test_a_bad_version_is_caught_in_the_mirror_before_any_user(world: World) -> None:
    world.strategy = {"blue_green": {"mirror": "20%", "mirror_for": "30s", "bake": "10s"}}
    world.candidate = Behaviour(error_share=0.5)
    assert world.roll_out().exit_code is ExitCode.GATE_FAILED
    assert "green" not in world.answered


def test_a_freeze_keeps_the_split_and_an_abort_ends_it(world: World) -> None:
    world.strategy = {**world.strategy, "on_fail": "freeze"}
    world.candidate = Behaviour(error_share=0.5)
    done = world.roll_out()
    assert (done.exit_code, done.state and done.state.phase) == (ExitCode.PAUSED, Phase.PAUSED)
    assert world.ask(RequestKind.ABORT).exit_code is ExitCode.OK
    assert world.live_digest() == "base"


def test_a_skipped_gate_is_recorded_and_promotes(world: World) -> None:
    world.telemetry.error = TelemetryError("gone", hint="Look.")
    done = world.roll_out(skip_gate="hotfix 42")
    assert done.exit_code is ExitCode.OK
    assert any("hotfix 42" in str(entry.event) for entry in world.journal.read("r1"))


def test_a_bug_in_an_effect_still_brings_traffic_back(world: World) -> None:
    world.at[9.0] = lambda w: setattr(w.telemetry, "fetch", lambda *a, **k: 1 // 0)
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.PLATFORM, "base")
    assert "internal error" in done.text


def test_a_platform_that_stops_answering_while_exposed_pages_a_human(world: World) -> None:
    def mute(w: World) -> None:
        def refuse(name: str) -> None:
            raise TransientError("no answer", hint="Wait.")

        w.platform.before = refuse

    world.at[9.0] = mute
    with pytest.raises(TransientError, match="did not answer for 60s") as stopped:
        world.roll_out()
    assert stopped.value.exit_code is ExitCode.STUCK
    world.platform.before = lambda _: None
    assert world.roll_out("r2").exit_code is ExitCode.OK


@pytest.mark.parametrize("bad", [False, True])
def test_every_look_is_kept_and_gives_the_verdict_that_the_journal_says(world: World, *, bad: bool) -> None:
    world.candidate = Behaviour(error_share=0.5 if bad else 0.0)
    world.roll_out()
    looks = [entry.event for entry in world.journal.read("r1") if entry.event["type"] == "judged"]
    assert len(looks) >= (1 if bad else 3)
    for look in looks:
        judged = from_record(look)
        assert isinstance(judged, Judged)
        content = world.journal.kept("r1", judged.evidence or "")
        assert (look["kept"], content is not None) == (True, True)
        record = Record.from_json((content or b"").decode())
        assert record.verdict == judged.verdict
        assert judge(record.samples, record.slo, record.gate, record.moment) == judged.verdict


@pytest.mark.parametrize("most", [0, 2])
def test_after_the_first_looks_only_those_that_decided_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("deployer.engine.runner.LOOKS_KEPT", most)
    world.roll_out()
    entries = world.journal.read("r1")
    decided = 0
    for entry, following in pairwise(entries):
        if entry.event["type"] != "judged":
            continue
        is_decided = following.event["type"] == "advanced"
        decided += is_decided
        is_kept = world.journal.kept("r1", entry.event["evidence"]) is not None
        assert is_kept == (is_decided or entry.event["kept"])
        assert entry.event["kept"] == (entry.event["verdict"]["looks"] <= most)
    assert decided == 3


def test_the_journal_counts_the_calls_of_the_platform(world: World) -> None:
    world.roll_out()
    total: Counter[str] = Counter()
    for entry in world.journal.read("r1"):
        total.update(entry.event.get("calls", {}))
    assert total["create_deployment"] == 2  # the baseline and the candidate
    assert total["set_traffic"] >= 3
    assert total["observe"] > total["set_traffic"]


def forget_journal(world: World) -> None:
    for path in (world.home / "journal").glob("*.jsonl"):
        path.unlink()


def stuck(world: World) -> None:
    """A rollout whose way back never worked: 20 % of users meet a bad version."""
    world.candidate = Behaviour(error_share=1.0)

    def refuse(name: str) -> None:
        if name == "set_traffic" and world.traffic().get("green"):
            raise ConflictError("busy for ever", hint="Wait.")

    world.platform.before = refuse
    assert world.roll_out().exit_code is ExitCode.STUCK
    world.platform.before = lambda _: None


def test_a_frozen_rollout_resumed_without_its_journal_is_judged_again(world: World) -> None:
    world.strategy = {**world.strategy, "on_fail": "freeze"}
    world.candidate = Behaviour(error_share=0.5)
    assert world.roll_out().exit_code is ExitCode.PAUSED
    forget_journal(world)
    assert world.ask(RequestKind.RESUME).exit_code is ExitCode.PAUSED
    assert max(world.weights("new")) == 20


def test_a_weight_is_not_written_again_over_somebody_elses_rollback(world: World) -> None:
    def strike(name: str) -> None:
        if name == "set_traffic" and world.traffic() == {"green": 20, "blue": 80}:
            world.platform.before = lambda _: None
            roll_back(world.site(), Quiet(), to=None, reason="panic")
            raise TransientError("busy", hint="Wait.")

    world.platform.before = strike
    with pytest.raises(ConflictError, match="brought back from elsewhere") as ended:
        world.roll_out()
    assert ended.value.exit_code is ExitCode.ABORTED
    assert world.traffic() == {"blue": 100}


def test_a_stuck_rollout_is_rolled_back_by_hand_to_its_stable(world: World) -> None:
    stuck(world)
    assert world.ask(RequestKind.ABORT).exit_code is ExitCode.STUCK
    assert world.roll_back().exit_code is ExitCode.OK
    assert (world.traffic(), world.live_digest()) == ({"blue": 100}, "base")


def test_a_rollback_after_a_rollout_that_restored_the_stable_changes_nothing(world: World) -> None:
    world.strategy = {**world.strategy, "retire": "keep"}
    world.roll_out()
    world.digest, world.candidate = "newer", Behaviour(error_share=0.5)
    assert world.roll_out("r2").exit_code is ExitCode.GATE_FAILED
    assert world.roll_back().exit_code is ExitCode.OK
    assert world.live_digest() == "new"


def test_a_rollback_never_lands_on_another_version_under_the_good_ones_name(world: World) -> None:
    world.roll_out()
    world.platform.create_deployment(DeploymentSpec("blue", {}, world.home, "something else"))
    world.clock.sleep(5)
    assert world.roll_back().exit_code is ExitCode.OK
    assert world.live_digest() == "base"


def test_a_rollback_to_a_name_that_does_not_exist_stops_nothing(world: World) -> None:
    def mistype(w: World) -> None:
        with pytest.raises(UsageError, match="has no deployment gren"):
            roll_back(w.site(), Quiet(), to="gren", reason="")

    world.at[9.0] = mistype
    assert world.roll_out().exit_code is ExitCode.OK


def test_a_pause_while_deploying_keeps_the_rollout(world: World) -> None:
    world.at[0.5] = lambda w: w.platform.edit_tags({"deployer.request": "pause|bob|wait"})
    assert world.roll_out().exit_code is ExitCode.PAUSED
    assert world.ask(RequestKind.RESUME).exit_code is ExitCode.OK
    assert world.live_digest() == "new"


def test_another_version_after_a_promotion_that_was_not_finished_is_rolled_out_too(world: World) -> None:
    world.platform.before = lambda name: world.kill() if name == "delete_deployment" else world.check_alive()
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.before = lambda _: None
    world.platform.remove("blue")
    world.digest = "newer"
    assert world.roll_out("r2").exit_code is ExitCode.OK
    assert world.live_digest() == "newer"


def test_a_damaged_journal_does_not_hold_up_an_abort(world: World) -> None:
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    path = next((world.home / "journal").glob("*.jsonl"))
    path.write_text(path.read_text().replace("green", "gr33n", 1))
    assert world.ask(RequestKind.ABORT, with_manifest=False).exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}


def test_a_full_disk_holds_up_neither_an_abort_nor_a_rollback(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    forget_journal(world)
    monkeypatch.setattr(_Journal, "full", True)
    assert world.ask(RequestKind.ABORT, with_manifest=False).exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}
    world.platform.edit_traffic({})
    assert world.roll_back("blue").exit_code is ExitCode.OK
    assert world.traffic() == {"blue": 100}


def test_a_rollout_that_was_on_its_way_back_never_goes_forward_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at[9.0] = lambda w: monkeypatch.setattr(_Journal, "full", True)
    world.platform.after = lambda name: (
        world.kill() if name == "set_tags" and "reverting" in str(world.platform.peek()) else world.check_alive()
    )
    with pytest.raises(Killed):
        world.roll_out()
    world.platform.after = lambda _: None
    monkeypatch.setattr(_Journal, "full", False)
    assert world.roll_out("r2").exit_code is ExitCode.ABORTED
    assert world.live_digest() == "base"


def test_an_ignored_request_is_said_to_be_ignored(world: World) -> None:
    asked: list[ExitCode] = []

    def resume(w: World) -> None:
        w.platform.edit_tags({"deployer.request": "resume|bob|", "deployer.answer": None})

    world.at[9.0] = resume
    world.at[12.0] = lambda w: asked.append(w.platform.peek().tags.get("deployer.answer", ""))  # type: ignore[union-attr]
    world.roll_out()
    assert "ignored: resume by bob: it is not paused" in asked


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(kind, "taken: cleaning" if kind is RequestKind.ABORT else "ignored: rolling back") for kind in RequestKind],
)
def test_a_request_that_comes_on_the_way_back_is_not_said_to_be_taken(
    world: World, kind: RequestKind, answer: str
) -> None:
    world.candidate = Behaviour(error_share=0.5)
    left: list[str] = []

    def leave(call: str) -> None:
        view = world.platform.peek()
        is_back = view is not None and view.tags.get("deployer.phase", "").startswith("reverting")
        if is_back and call == "set_traffic" and not left:
            left.append(call)
            world.platform.edit_tags({"deployer.request": f"{kind.value}#3f9c01|bob|"})
            world.platform.edit_traffic({"blue": 100})  # so that what comes next is only written down
            raise TransientError("lost", hint="Wait.")

    world.platform.before = leave
    assert world.roll_out().exit_code is ExitCode.GATE_FAILED
    view = world.platform.peek()
    assert view is not None
    assert view.tags.get("deployer.answer") == f"#3f9c01 {answer}"


def test_a_promote_that_meets_a_signal_is_not_said_to_be_taken(world: World) -> None:
    def both(w: World) -> None:
        w.signal = "SIGTERM"
        w.platform.edit_tags({"deployer.request": "promote#3f9c01|bob|"})

    world.at[9.0] = both
    assert world.roll_out().exit_code is ExitCode.ABORTED
    view = world.platform.peek()
    assert view is not None
    assert view.tags.get("deployer.answer") == "#3f9c01 ignored: rolling back"


def test_a_baseline_that_fails_is_not_said_to_have_traffic(world: World) -> None:
    world.platform.fail("blue", "init raised")
    done = world.roll_out()
    assert done.exit_code is ExitCode.PLATFORM
    assert "no deployment has traffic" in done.text


def test_a_request_that_an_older_map_of_tags_brings_back_is_answered_again_and_not_obeyed_again(world: World) -> None:
    asked = "promote#3f9c01|bob|go"
    world.at[9.0] = lambda w: w.platform.edit_tags({"deployer.request": asked})
    answers: list[str] = []
    for second in (10.0, 11.0, 12.0):
        world.at[second] = lambda w: w.platform.edit_tags({"deployer.request": asked, "deployer.answer": None})
        world.at[second + 0.75] = lambda w: answers.append(w.platform.peek().tags.get("deployer.answer", ""))  # type: ignore[union-attr]
    world.roll_out()
    by_hand = [entry.event for entry in world.journal.read("r1") if "promote by bob" in str(entry.event)]
    assert [event["type"] for event in by_hand] == ["advanced"]
    assert answers == ["#3f9c01 taken: shifting"] * 3


def test_a_request_that_another_process_answered_before_this_one_resumed_is_not_obeyed_again(world: World) -> None:
    world.at[9.0] = World.kill
    with pytest.raises(Killed):
        world.roll_out()
    left = {"deployer.request": "abort#3f9c01|bob|no", "deployer.answer": "#3f9c01 ignored: abort by bob: too late"}
    world.platform.edit_tags(left)
    assert world.roll_out("r2").exit_code is ExitCode.OK
