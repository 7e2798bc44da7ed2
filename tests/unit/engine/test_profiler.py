"""A profile from start to end on a platform in memory: what is made, what is sent, what is left when it ends badly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from doubles.memory import CAPABILITIES
from doubles.profile_world import BIG, ONE, TWO, Killed, ProfileWorld, Script, kill, open_probe
from owners import living

from deployer.engine.lease import Holder
from deployer.errors import DeniedError, ExitCode, PlanError, PlatformError, QuotaExceededError, TransientError
from deployer.ports.profiling import Ending
from deployer.profile.advice import Ask
from deployer.profile.marks import MADE, PROFILE
from deployer.profile.trials import Probe
from deployer.rollout.tags import LEASE


@pytest.fixture
def world(tmp_path: Path) -> ProfileWorld:
    return ProfileWorld(tmp_path)


def test_what_is_recommended_was_put_up_asked_and_removed_with_its_endpoint(world: ProfileWorld) -> None:
    done = world.run()
    assert (done.ending, done.exit_code, done.left_over) == (Ending.COMPLETE, ExitCode.OK, None)
    assert done.advice.recommended == ONE
    assert world.left is None
    assert world.made == 1
    assert done.load_seconds == 20.0
    assert done.spent_usd == pytest.approx(0.05 * 25 / 3600, rel=0.3)


def test_trials_are_sent_to_the_deployment_that_stands_and_every_request_is_told(world: ProfileWorld) -> None:
    world.run()
    names = {name for name, _ in world.loads}
    assert len(names) == 1
    assert all(name.startswith("p-") for name in names)
    assert [(load.arrivals, load.rps, load.warm_up_s) for _, load in world.loads] == [("poisson", 50.0, 0.0)] * 2
    assert [len(seen.status) for seen in world.script.seen] == [500, 500]
    assert len({load.seed for _, load in world.loads}) == 2


def test_closed_trials_keep_so_many_requests_in_flight(world: ProfileWorld) -> None:
    world.run(Script([Ask(ONE, Probe("closed", 0.0, 8, 4.0, False, "ceiling"))]))
    ((_, load),) = world.loads
    assert (load.arrivals, load.concurrency, load.in_flight) == ("closed", 8, 8)


def test_another_number_of_instances_is_a_change_of_scale_all_else_a_new_deployment(world: ProfileWorld) -> None:
    world.run(Script([Ask(each, open_probe()) for each in (ONE, TWO, BIG)]))
    assert world.made == 2
    assert world.platform.calls.count("scale_deployment") == 1
    assert world.left is None


def test_what_is_about_to_be_made_is_recorded_before_it_is_made(world: ProfileWorld) -> None:
    recorded: list[str] = []

    def look(call: str) -> None:
        endpoint = world.platform.peek()
        if call == "create_deployment" and endpoint is not None:
            recorded.append(endpoint.tags[MADE])

    world.platform.before = look
    world.run()
    assert recorded == [world.loads[0][0]]


def test_an_endpoint_that_no_profile_made_is_refused_and_left_as_it_is(world: ProfileWorld) -> None:
    world.platform.ensure_endpoint({"name": "test", "tags": {"owner": "a"}})
    before = world.platform.peek()
    with pytest.raises(PlanError, match="did not make it"):
        world.run()
    assert world.platform.peek() == before


def test_an_endpoint_with_users_traffic_is_refused_though_a_profile_made_it(world: ProfileWorld) -> None:
    world.platform.ensure_endpoint({"name": "test", "tags": {PROFILE: "size"}})
    world.platform.add_foreign("blue")
    world.platform.edit_traffic({"blue": 100})
    with pytest.raises(PlanError, match="has traffic"):
        world.run()
    assert world.made == 0


def test_two_profiles_at_once_are_one_too_many(world: ProfileWorld) -> None:
    world.platform.ensure_endpoint({"name": "test", "tags": {PROFILE: "size", LEASE: str(Holder(living(), 1, 0))}})
    before = world.platform.peek()
    with pytest.raises(PlanError, match="running"):
        world.run()
    assert world.platform.peek() == before


@pytest.mark.parametrize("at_s", [0.0, 1.0, 8.0, 12.0])
def test_a_signal_ends_it_with_nothing_left_and_what_was_found_out_kept(world: ProfileWorld, at_s: float) -> None:
    world.at[at_s] = world.interrupt
    done = world.run()
    assert (done.ending, done.exit_code) == (Ending.INTERRUPTED, ExitCode.ABORTED)
    assert world.left is None
    assert len(world.records) == (1 if at_s > 5 else 0)
    assert all(record.stopped for record in world.records)


@pytest.mark.parametrize("at_s", [1.0, 8.0, 17.0])
def test_after_a_kill_the_next_profile_removes_what_was_left(tmp_path: Path, at_s: float) -> None:
    world = ProfileWorld(tmp_path)
    world.at[at_s] = kill
    world.platform.before = lambda call: kill() if world.at == {} else None  # what is dead removes nothing
    with pytest.raises(Killed):
        world.run()
    world.platform.before = lambda _: None
    endpoint = world.platform.peek()
    assert endpoint is not None
    assert endpoint.deployments
    world.platform.edit_tags({LEASE: None})
    left = set(endpoint.deployments)
    done = world.run(Script([Ask(BIG, open_probe())], recommended=BIG))
    assert done.exit_code is ExitCode.OK
    assert any("left" in note and all(name in note for name in left) for note in world.notes)
    assert world.left is None


def test_a_candidate_that_does_not_start_is_left_with_its_reason_and_the_others_go_on(world: ProfileWorld) -> None:
    failing = [True]

    def after(call: str) -> None:
        endpoint = world.platform.peek()
        if call == "create_deployment" and failing and endpoint is not None:
            failing.clear()
            world.platform.fail(next(iter(endpoint.deployments)), "MemoryError: too large")

    world.platform.after = after
    script = Script([Ask(ONE, open_probe()), Ask(BIG, open_probe())], recommended=BIG)
    done = world.run(script)
    assert script.excluded == [(ONE, "does not start: MemoryError: too large")]
    assert (done.advice.recommended, done.exit_code, world.left) == (BIG, ExitCode.OK, None)


def test_a_candidate_for_which_there_is_no_quota_is_left_and_the_others_go_on(world: ProfileWorld) -> None:
    world.platform.fail_next("create_deployment", QuotaExceededError("no cores left", hint="Ask."))
    script = Script([Ask(ONE, open_probe()), Ask(BIG, open_probe())], recommended=BIG)
    assert world.run(script).exit_code is ExitCode.OK
    assert script.excluded == [(ONE, "does not start: no cores left")]


def test_a_candidate_that_never_becomes_ready_is_given_up(world: ProfileWorld) -> None:
    world.platform.ready_after_s = 1e6
    script = Script([Ask(ONE, open_probe())])
    done = world.run(script)
    assert "not ready after" in script.excluded[0][1]
    assert (done.exit_code, world.left) == (ExitCode.GATE_FAILED, None)


def test_a_candidate_that_refuses_the_request_gets_no_load(world: ProfileWorld) -> None:
    world.first_status = 424
    script = Script([Ask(ONE, open_probe())])
    world.run(script)
    assert "answers the request with 424: said" in script.excluded[0][1]
    assert world.loads == []
    assert world.left is None


def test_an_endpoint_that_refuses_its_own_key_ends_it(world: ProfileWorld) -> None:
    world.first_status = 401
    done = world.run()
    assert (done.ending, done.exit_code, world.left) == (Ending.PLATFORM, ExitCode.PLATFORM, None)
    assert "invalidate" in world.platform.calls


@pytest.mark.parametrize(("budget", "said"), [({"time": "25s"}, "budget"), ({"time": "1h", "usd": 0.0001}, "budget")])
def test_a_budget_that_is_used_up_ends_it_with_nothing_left(
    tmp_path: Path, budget: dict[str, object], said: str
) -> None:
    world = ProfileWorld(tmp_path, budget=budget)
    script = Script([Ask(each, open_probe()) for each in (ONE, TWO, BIG, ONE)])
    done = world.run(script)
    assert (done.ending, done.exit_code, world.left) == (Ending.BUDGET, ExitCode.INCONCLUSIVE, None)
    assert said in done.text
    assert done.spent_usd <= float(str(budget.get("usd", 5))) * 1.5  # the last look is a moment late


@pytest.mark.parametrize(("usd", "made"), [(2.0, 1), (3.0, 2), (0.5, 0)])
def test_the_budget_pays_for_the_removal_too(tmp_path: Path, usd: float, made: int) -> None:
    world = ProfileWorld(tmp_path, budget={"time": "5h", "usd": usd})
    world.usd = 6.0
    world.platform._capabilities = replace(CAPABILITIES, typical_delete_s=480.0)
    remove = world.platform.delete_deployment

    def slowly(name: str) -> None:
        world.clock.sleep(480.0)
        remove(name)

    world.platform.delete_deployment = slowly  # type: ignore[method-assign]
    asks = [Ask(ONE, open_probe(60.0))] * 5 + [Ask(BIG, open_probe(60.0))] * 30
    done = world.run(Script(asks if made == 2 else [Ask(ONE, open_probe(60.0))] * 30))
    assert (done.ending, world.made, world.left) == (Ending.BUDGET, made, None)
    assert 0.7 * usd * bool(made) <= done.spent_usd <= usd + 0.01  # the last look is a moment late


def test_a_trial_is_cut_short_when_the_budget_ends_in_it(tmp_path: Path) -> None:
    world = ProfileWorld(tmp_path, budget={"time": "20s"})
    script = Script([Ask(ONE, open_probe(10.0)), Ask(ONE, open_probe(4.9))])
    world.latency_ms = 20.0
    done = world.run(script)
    assert done.ending in (Ending.BUDGET, Ending.COMPLETE)
    assert done.spent_s < 25


def test_a_hopeless_trial_is_cut_short_and_told(world: ProfileWorld) -> None:
    script = Script([Ask(ONE, open_probe())], hopeless=lambda tally: tally.sent >= 150)
    done = world.run(script)
    assert done.ending is Ending.COMPLETE
    assert script.seen[0].seconds == pytest.approx(3.0)


def test_a_trial_of_an_unhealthy_generator_is_sent_once_more(world: ProfileWorld) -> None:
    world.unhealthy = ["sent 300 ms late"]
    done = world.run()
    assert [record.problem for record in world.records] == ["sent 300 ms late", None, None]
    assert [seen.healthy for seen in world.script.seen] == [False, True, True]
    assert done.exit_code is ExitCode.OK


def test_a_generator_that_never_keeps_up_is_said_and_judges_nobody(world: ProfileWorld) -> None:
    world.unhealthy = ["sent 300 ms late"] * 2
    world.run()
    assert world.script.excluded[0][1] == "not judged: the load generator cannot keep up (sent 300 ms late)"


def test_a_passing_failure_of_the_platform_is_repeated_another_ends_it(tmp_path: Path) -> None:
    world = ProfileWorld(tmp_path)
    world.platform.fail_next("create_deployment", TransientError("busy", hint="Wait."))
    assert world.run().exit_code is ExitCode.OK
    world = ProfileWorld(tmp_path)
    world.platform.fail_next("create_deployment", DeniedError("no right", hint="Ask."))
    done = world.run()
    assert (done.exit_code, done.text, world.left) == (ExitCode.PLATFORM, "no right (Ask.)", None)


def test_what_cannot_be_removed_is_said_and_stays_recorded(world: ProfileWorld) -> None:
    def refuse(call: str) -> None:
        if call == "delete_deployment":
            raise PlatformError("still draining", hint="Wait.")

    world.platform.before = refuse
    done = world.run()
    assert "still draining" in str(done.left_over)
    assert done.exit_code is ExitCode.PLATFORM
    endpoint = world.platform.peek()
    assert endpoint is not None
    assert endpoint.tags[MADE] in endpoint.deployments


def test_a_run_that_lost_its_lease_touches_nothing_any_more(world: ProfileWorld) -> None:
    world.at[8.0] = lambda: world.platform.edit_tags({LEASE: str(Holder(living(), 9, 0))})
    done = world.run()
    assert done.exit_code is ExitCode.PLATFORM
    assert "another run holds the endpoint now" in str(done.left_over)
    assert "delete_deployment" not in world.platform.calls


def test_traffic_of_users_that_comes_meanwhile_ends_it(world: ProfileWorld) -> None:
    def route() -> None:
        endpoint = world.platform.peek()
        assert endpoint is not None
        world.platform.edit_traffic(dict.fromkeys(list(endpoint.deployments)[:1], 100))

    world.at[8.0] = route
    done = world.run()
    assert done.exit_code is ExitCode.PLATFORM
    assert "users' traffic" in done.text
    assert world.platform.peek() is not None


def test_it_is_shown_what_is_tried_why_and_what_was_spent(world: ProfileWorld) -> None:
    world.run()
    doings = list(dict.fromkeys(look.doing for look in world.looks))
    assert doings[0] == "making the test endpoint ready"
    assert "confirm 50 rps" in doings
    assert doings[-1] == "removing everything"
    assert [look.spent_s for look in world.looks] == sorted(look.spent_s for look in world.looks)
