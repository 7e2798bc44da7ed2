"""Where a write takes a minute, a deployment a quarter of an hour, and reads are behind: nothing is mistaken for an edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from doubles.memory import CAPABILITIES
from world import Behaviour, Killed, World

from deployer.engine.operations import preview, under_way
from deployer.errors import DeniedError, ExitCode, PlatformError, QuotaExceededError, TransientError
from deployer.report.records import ended_record
from deployer.rollout.model import Plan

AZURE = replace(
    CAPABILITIES,
    compare_and_set=False,
    typical_shift_s=60.0,
    restore_reserve_s=300.0,
    poll_s=5.0,
    beat_s=30.0,
    stale_after_s=240.0,
    typical_deploy_s=600.0,
)
SLOW = {"canary": {"steps": [20, 50], "each": {"min": "1m", "max": "20m"}, "bake": "2m"}, "deadline": "4h"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A deployment takes 14 minutes, a write of traffic 50 seconds."""
    made = World(tmp_path, strategy=SLOW, capabilities=AZURE, gate={"look": "10s", "min_requests": 50}, rps=5)
    made.platform.ready_after_s = 840.0
    made.platform.after = lambda call: made.clock.sleep(50) if call == "set_traffic" else None
    return made


def shifting(world: World, act: Callable[[World], None]) -> None:
    """Let ``act`` happen half a minute after the candidate got its first users."""
    plain = world.platform.after

    def watch(call: str) -> None:
        plain(call)
        if call == "set_traffic" and len(world.traffic()) == 2:
            world.platform.after = plain
            world.at[(world.clock.now() - world.started).total_seconds() + 30.0] = act

    world.platform.after = watch


def test_a_rollout_takes_its_time_and_few_looks(world: World) -> None:
    done = world.roll_out()
    assert done.exit_code is ExitCode.OK, done.text
    looks = world.platform.calls.count("observe")
    elapsed_s = (world.clock.now() - world.started).total_seconds()
    assert elapsed_s > 2 * 840
    assert looks < elapsed_s / AZURE.poll_s * 1.3


@pytest.mark.parametrize("behind_s", [10.0, 60.0, 100.0])
def test_reads_that_are_behind_for_less_than_two_writes_are_no_edit(world: World, behind_s: float) -> None:
    """Every other reading shows what was before, as two replicas would."""
    world.platform.behind = timedelta(seconds=behind_s)
    done = world.roll_out()
    assert done.exit_code is ExitCode.OK, done.text
    assert world.weights("new") == [0, 20, 50, 100]


def test_an_edit_is_noticed_all_the_same(world: World) -> None:
    world.platform.behind = timedelta(seconds=60)
    shifting(world, lambda w: w.platform.edit_traffic({"green": 90, "blue": 10}))
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.ABORTED, "base")
    assert "somebody else changed traffic" in done.text


@pytest.mark.parametrize(
    "error", [QuotaExceededError("no cores of this family are left", hint="Ask for quota."), DeniedError("x", hint="y")]
)
@pytest.mark.parametrize("half_made", [False, True], ids=["refused", "made and failed"])
def test_no_quota_or_no_right_ends_as_platform_failure_and_leaves_nothing_behind(
    world: World, error: PlatformError, *, half_made: bool
) -> None:
    """The name and the quota of what was half made are free again."""

    def refuse(call: str) -> None:
        if call == "create_deployment" and world.platform.calls.count(call) == 2:
            raise error

    plain = world.platform.after
    if half_made:
        world.platform.after = lambda call: (plain(call), refuse(call))  # type: ignore[assignment,return-value]
    else:
        world.platform.before = refuse
    done = world.roll_out()
    assert done.exit_code is ExitCode.PLATFORM
    assert f"could not deploy green: {error.message} ({error.hint})" in done.text
    view = world.platform.peek()
    assert view is not None
    assert (set(view.deployments), dict(view.traffic)) == ({"blue"}, {"blue": 100})


def test_quota_that_is_missed_later_says_so_keeps_the_logs_and_frees_the_name(world: World) -> None:
    world.platform.fail("green", "OutOfQuota: no cores. Next: ask for quota")
    done = world.roll_out()
    assert done.exit_code is ExitCode.PLATFORM
    assert "deployment green failed: OutOfQuota: no cores. Next: ask for quota" in done.text
    record = ended_record(done)["rollout"]
    assert record["removed"] == ["green removed; it last said:", "green: OutOfQuota: no cores. Next: ask for quota"]
    assert any("it last said" in str(entry.event) for entry in world.journal.read("r1"))
    view = world.platform.peek()
    assert view is not None
    assert set(view.deployments) == {"blue"}


def silent(error: PlatformError) -> Callable[[str], None]:
    def refuse(_: str) -> None:
        raise error

    return refuse


@pytest.mark.parametrize(
    "error", [TransientError("no answer", hint="Wait."), DeniedError("token expired", hint="Log in.")]
)
def test_a_platform_that_is_away_for_long_ends_the_run_with_what_to_do(world: World, error: PlatformError) -> None:
    shifting(world, lambda w: setattr(w.platform, "before", silent(error)))
    with pytest.raises(TransientError, match=f"did not answer for 300s while .*: {error.message}") as stopped:
        world.roll_out()
    assert "Traffic was last verified as blue 80%, green 20%" in stopped.value.message
    assert "the same command again" in stopped.value.hint
    assert stopped.value.exit_code is ExitCode.STUCK
    world.platform.before = lambda _: None
    assert world.roll_out("r2").exit_code is ExitCode.OK


def test_a_platform_that_is_away_for_a_while_is_waited_for(world: World) -> None:
    world.at[2200.0] = lambda w: setattr(w.platform, "before", silent(TransientError("no answer", hint="Wait.")))
    world.at[2400.0] = lambda w: setattr(w.platform, "before", lambda _: None)
    assert world.roll_out().exit_code is ExitCode.OK


def test_an_endpoint_that_takes_no_tags_does_not_hold_the_way_back_up(world: World) -> None:
    """A write of tags waits for a busy endpoint for three minutes: longer than a look may be acted on after it."""
    world.candidate = Behaviour(error_share=0.5)
    plain, refused = world.platform.before, list[str]()

    def busy(call: str) -> None:
        plain(call)
        told = [entry.event["type"] for entry in world.journal.read("r1")]
        if call == "set_tags" and told[-1:] == ["gave_up"] and len(refused) < 10:
            refused.append(call)
            world.clock.sleep(180)
            raise TransientError("the endpoint is busy", hint="Wait.")

    world.platform.before = busy
    done = world.roll_out()
    assert (done.exit_code, world.live_digest()) == (ExitCode.GATE_FAILED, "base"), done.text
    assert len(refused) == 1  # the phase, which a run elsewhere must know
    at = {entry.event["type"]: entry.at for entry in world.journal.read("r1")}
    assert (at["reverted"] - at["gave_up"]).total_seconds() < 180 + 60


# ---- plan while a rollout is half-way


@pytest.fixture
def half_way(world: World) -> World:
    shifting(world, World.kill)
    with pytest.raises(Killed):
        world.roll_out()
    assert len(world.traffic()) == 2
    world.platform.edit_tags({"deployer.lease": "|3|0"})
    return world


def planned(world: World) -> tuple[Plan | str, str]:
    view, job = world.platform.peek(), world.job()
    said = under_way(job, view)
    assert said is not None
    return preview(job, world.platform, view, rollout_id="plan", skip_gate=None), said


def test_a_plan_half_way_says_which_rollout_it_is_and_that_it_would_go_on(half_way: World) -> None:
    found, said = planned(half_way)
    assert isinstance(found, Plan)
    assert (found.stable, found.candidate, found.replaces) == ("blue", "green", False)
    assert said.startswith("rollout r1 of green is under way (shifting at step ")
    assert said.endswith("and nobody runs it: `deployer rollout` goes on with it from there")


def test_a_plan_of_another_version_says_that_the_old_one_comes_back_first(half_way: World) -> None:
    half_way.digest = "newer"
    found, said = planned(half_way)
    assert isinstance(found, Plan)
    assert (found.candidate, found.replaces) == ("green", True)
    assert "first brings blue back to 100%, then starts this version" in said


def test_a_plan_while_somebody_runs_it_says_who(half_way: World) -> None:
    half_way.platform.edit_tags({"deployer.lease": "elsewhere/7/1|4|2"})
    assert "run by elsewhere/7/1: `deployer rollout` is refused until it ends" in planned(half_way)[1]


def test_a_rollout_that_ended_is_not_under_way(world: World) -> None:
    world.candidate = Behaviour(error_share=0.5)
    world.roll_out()
    assert under_way(world.job(), world.platform.peek()) is None
    assert under_way(world.job(), None) is None
