"""A profile whose generator fails, whose lease is not had, whose payload is a schema; and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from doubles.profile_world import BIG, ONE, ProfileWorld, Running, Script, open_probe
from owners import living

from deployer.engine.http import Answer
from deployer.engine.lease import Holder
from deployer.errors import (
    ConflictError,
    ExitCode,
    PlanError,
    PlatformError,
    QuotaExceededError,
    TelemetryError,
    TransientError,
)
from deployer.loadtest.figures import Figures
from deployer.ports.platform import ScoringTarget
from deployer.ports.profiling import Ending
from deployer.profile.advice import Ask
from deployer.profile.trials import Probe
from deployer.rollout.tags import LEASE


@pytest.fixture
def world(tmp_path: Path) -> ProfileWorld:
    return ProfileWorld(tmp_path)


def test_a_generator_that_never_keeps_up_makes_the_profile_inconclusive_not_failed(world: ProfileWorld) -> None:
    world.unhealthy = ["sent 300 ms late"] * 2
    done = world.run(Script([Ask(ONE, open_probe())], recommended=None))
    assert done.advice.recommended is None
    assert (done.ending, done.exit_code, done.not_judged) == (Ending.COMPLETE, ExitCode.INCONCLUSIVE, (ONE,))
    assert done.text == f"not judged, see why beside each: {ONE}"


@pytest.mark.parametrize("grown", [False, True])
def test_want_of_quota_says_nothing_of_a_candidate(world: ProfileWorld, grown: bool) -> None:
    refused = "scale_deployment" if grown else "create_deployment"

    def before(call: str) -> None:
        if call == refused:
            raise QuotaExceededError("no cores left", hint="Ask for quota.")

    world.platform.before = before
    two = replace(ONE, instance_count=2)
    done = world.run(Script([*([Ask(ONE, open_probe())] * grown), Ask(two, open_probe())], recommended=None))
    assert (done.ending, done.exit_code, done.not_judged) == (Ending.COMPLETE, ExitCode.INCONCLUSIVE, (two,))
    assert done.text == f"not judged, see why beside each: {two}"
    assert done.left_over is None
    assert world.left is None


def test_where_the_sample_request_fails_nothing_is_known(world: ProfileWorld) -> None:
    world.first_status = 500
    done = world.run(Script([Ask(ONE, open_probe())], recommended=None))
    assert (done.ending, done.exit_code, done.not_judged) == (Ending.COMPLETE, ExitCode.INCONCLUSIVE, (ONE,))
    assert done.text == f"not judged, see why beside each: {ONE}"


def test_what_another_run_holds_is_left_to_it_although_a_signal_came_first(world: ProfileWorld) -> None:
    def lose_and_stop() -> None:
        world.platform.edit_tags({LEASE: str(Holder(living(), 9, 0))})
        world.interrupt()

    world.at[8.0] = lose_and_stop
    done = world.run(Script([Ask(ONE, open_probe())] * 3, recommended=None))
    assert done.left_over == "another run holds the endpoint now: nothing was removed"
    assert world.left is not None
    assert world.left.deployments
    assert not [call for call in world.platform.calls if "delete" in call]


def standing(world: ProfileWorld) -> str:
    endpoint = world.platform.peek()
    assert endpoint is not None
    (name,) = endpoint.deployments
    return name


def dies(world: ProfileWorld) -> None:
    world.platform.fail(standing(world), "OOMKilled")
    world.status = 502


@pytest.mark.parametrize("at_s", [10.0, 18.0])
def test_what_a_deployment_that_died_answers_is_no_finding_of_its_capacity(world: ProfileWorld, at_s: float) -> None:
    def heal(call: str) -> None:
        world.status = 200 if call == "create_deployment" else world.status

    world.at[at_s], world.platform.after = lambda: dies(world), heal
    script = Script([Ask(ONE, open_probe()), Ask(ONE, open_probe()), Ask(BIG, open_probe())], recommended=BIG)
    done = world.run(script)
    ((left, why),) = script.excluded
    assert (left, why) == (ONE, "did not stay ready: failed, 0 of 1 instances are ready: OOMKilled")
    assert all((seen.status == 200).all() for seen in script.seen)
    assert [bool(record.problem) for record in world.records][-2:] == [True, False]
    assert (done.ending, world.left) == (Ending.COMPLETE, None)


def test_a_deployment_that_died_between_two_trials_gets_no_load(world: ProfileWorld) -> None:
    world.on_trial = lambda record: dies(world)  # type: ignore[method-assign]
    world.run()
    assert "OOMKilled" in world.script.excluded[0][1]
    assert len(world.loads) == len(world.script.seen) == 1


def test_an_instance_that_missed_one_look_under_load_is_waited_for(world: ProfileWorld) -> None:
    def miss() -> None:
        there = world.platform._deployed
        name = standing(world)
        there[name] = replace(there[name], ready_at=world.clock.now() + timedelta(seconds=20))

    world.at[13.0] = miss
    done = world.run()
    assert (done.exit_code, world.script.excluded) == (ExitCode.OK, [])
    assert [record.problem for record in world.records] == [None, None]


def test_a_deployment_that_is_gone_is_said(world: ProfileWorld) -> None:
    world.at[10.0] = lambda: world.platform.remove(standing(world))
    script = Script([Ask(ONE, open_probe())])
    world.run(script)
    assert script.excluded == [(ONE, "did not stay ready: it is gone")]


def answering(world: ProfileWorld, *statuses: int | Exception, model: str = "") -> list[str]:
    """First requests are answered so, the last status again and again; returns who was asked."""
    asked: list[str] = []

    def score(target: ScoringTarget, payload: bytes, *, deployment: str, total_s: float) -> Answer:
        status = statuses[min(len(asked), len(statuses) - 1)]
        asked.append(deployment)
        if isinstance(status, Exception):
            raise status
        headers = {"ms-azureml-model-error-statuscode": model} if model else {}
        return Answer(status, headers, b"field data: missing", 0.01, deployment, truncated=False)

    world.score = score  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize(("status", "model"), [(422, ""), (400, ""), (307, ""), (424, "422"), (404, "")])
def test_a_request_that_is_rejected_is_paid_for_once(world: ProfileWorld, status: int, model: str) -> None:
    answering(world, status, model=model)
    script = Script([Ask(ONE, open_probe()), Ask(BIG, open_probe())])
    done = world.run(script)
    assert (done.ending, done.exit_code, done.advice.recommended) == (Ending.PLATFORM, ExitCode.PLATFORM, None)
    assert done.text == (
        f"the first request is rejected: it answers the request with {status}: field data: missing "
        f"(Check {world.spec.payload}.)"
    )
    assert (world.made, script.excluded, world.loads, world.left) == (1, [], [], None)


@pytest.mark.parametrize("first", [503, 404, 429, 424, TransientError("reset", hint="Wait.")])
def test_a_first_request_that_fails_for_a_moment_is_repeated(world: ProfileWorld, first: int | Exception) -> None:
    asked = answering(world, first, first, 200)
    done = world.run()
    assert (done.exit_code, world.script.excluded, len(asked)) == (ExitCode.OK, [], 3)


def test_who_stops_it_while_a_first_request_is_repeated_does_not_wait(world: ProfileWorld) -> None:
    asked = answering(world, 503)
    world.platform.after = lambda call: world.interrupt() if call == "observe" and asked else None
    done = world.run()
    assert (done.ending, len(asked), world.left) == (Ending.INTERRUPTED, 2, None)


def test_a_budget_that_ends_while_a_first_request_is_repeated_is_said(tmp_path: Path) -> None:
    world = ProfileWorld(tmp_path, budget={"time": "12s"})
    asked = answering(world, 503)
    done = world.run(Script([Ask(ONE, open_probe(2.0))]))
    assert (done.ending, done.exit_code, len(asked) < 6) == (Ending.BUDGET, ExitCode.INCONCLUSIVE, True)


def test_a_candidate_that_rejects_what_another_took_is_left_alone(world: ProfileWorld) -> None:
    answering(world, 200, 422)
    script = Script([Ask(ONE, open_probe()), Ask(BIG, open_probe())])
    done = world.run(script)
    assert done.ending is Ending.COMPLETE
    assert script.excluded == [(BIG, "it answers the request with 422: field data: missing")]


def test_a_ceiling_beyond_the_generator_is_the_searchs_affair(world: ProfileWorld) -> None:
    world.unhealthy = ["the generator used 99 % of a core"] * 3
    closed = Probe("closed", 0.0, 64, 5.0, False, "ceiling, 64 requests in flight")
    done = world.run(Script([Ask(ONE, closed), Ask(ONE, open_probe())]))
    assert (done.exit_code, done.not_judged, world.script.excluded) == (ExitCode.OK, (), [])
    assert (
        world.notes.count(
            "the load generator did not keep up (the generator used 99 % of a core): the trial is not used"
        )
        == 3
    )


def test_a_generator_that_ended_by_itself_is_no_evidence(world: ProfileWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    died = [True]
    whole = Running.figures

    def figures(self: Running) -> Figures:
        if died:
            died.clear()
            self.partial, self.spent = "the load generator ended by itself (exit code 2)", 2.0
        return whole(self)

    monkeypatch.setattr(Running, "figures", figures)
    world.run()
    assert [seen.healthy for seen in world.script.seen] == [False, True, True]
    assert "ended by itself" in str(world.records[0].problem)


def test_a_trial_that_was_cut_short_because_it_was_hopeless_is_evidence(world: ProfileWorld) -> None:
    script = Script([Ask(ONE, open_probe())], hopeless=lambda tally: tally.sent >= 150)
    world.run(script)
    assert [seen.healthy for seen in script.seen] == [True]


@pytest.mark.parametrize(("status", "is_tried"), [(200, True), (400, True), (424, True), (404, False)])
def test_a_schema_is_not_sent_as_a_request_and_its_stand_in_may_be_rejected(
    tmp_path: Path, status: int, is_tried: bool
) -> None:
    (tmp_path / "ok.schema.json").write_text('{"type": "object"}')
    world = ProfileWorld(tmp_path, request="ok.schema.json")
    sent: list[bytes] = []

    class Client:
        def score(self, target: ScoringTarget, payload: bytes, *, deployment: str, total_s: float) -> Answer:
            sent.append(payload)
            return Answer(status, {}, b"said", 0.01, deployment, truncated=False)

    world.score = Client().score  # type: ignore[method-assign]
    done = world.run()
    assert set(sent) == {b"{}"}
    assert (len(sent) == 1) == is_tried, "a deployment that is not everywhere yet is asked again"
    assert bool(done.trials) == is_tried


def test_an_error_of_any_kind_after_the_endpoint_is_made_keeps_what_was_found_out(world: ProfileWorld) -> None:
    def fail() -> None:
        raise TelemetryError("no prices", hint="Try again.")

    world.at[12.0] = fail
    done = world.run(Script([Ask(ONE, open_probe(4.0)), Ask(ONE, open_probe(10.0))]))
    assert (done.ending, done.exit_code, done.text) == (Ending.PLATFORM, ExitCode.PLATFORM, "no prices (Try again.)")
    assert len(done.trials) == 1
    assert world.left is None


def test_an_endpoint_that_was_made_is_removed_when_its_lease_is_not_had(world: ProfileWorld) -> None:
    world.platform.fail_next("set_tags", PlatformError("tags are refused", hint="Ask."))
    done = world.run()
    assert (done.exit_code, done.text) == (ExitCode.PLATFORM, "tags are refused (Ask.)")
    assert (done.left_over, world.left) == (None, None)


def test_an_endpoint_that_was_made_stays_when_another_run_has_it_by_then(world: ProfileWorld) -> None:
    def after(call: str) -> None:
        if call == "ensure_endpoint":
            world.platform.edit_tags({LEASE: str(Holder(living(), 1, 0))})

    world.platform.after = after
    with pytest.raises(PlanError, match="in use"):
        world.run()
    assert world.left is not None
    assert "delete_endpoint" not in world.platform.calls


def test_an_empty_endpoint_that_cannot_be_removed_is_said(world: ProfileWorld) -> None:
    def refuse(call: str) -> None:
        if call in ("set_tags", "delete_endpoint"):
            raise PlatformError(f"no {call} now", hint="Wait.")

    world.platform.before = refuse
    done = world.run()
    assert "was made and could not be removed: no delete_endpoint now" in str(done.left_over)
    assert any("could not be removed" in note for note in world.notes)


def test_an_endpoint_that_somebody_else_made_in_the_same_moment_is_left(world: ProfileWorld) -> None:
    ensure = world.platform.ensure_endpoint

    def too_late(_: object) -> None:
        ensure({"name": "test", "tags": {"owner": "a"}})
        raise ConflictError("it exists", hint="Look.")

    world.platform.ensure_endpoint = too_late  # type: ignore[method-assign,assignment]
    assert world.run().exit_code is ExitCode.PLATFORM
    assert world.left is not None


def test_a_lease_that_somebody_removed_leaves_nothing_deployed(world: ProfileWorld) -> None:
    def lose_and_stop() -> None:
        world.platform.edit_tags({LEASE: None})
        world.interrupt()

    world.at[8.0] = lose_and_stop
    world.run(Script([Ask(ONE, open_probe())] * 3, recommended=None))
    assert world.left is None or not world.left.deployments
