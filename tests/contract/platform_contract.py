"""What every platform promises, as tests: each platform inherits them, each change is asked for twice.

A subclass gives the fixture ``world``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Protocol

import pytest

from deployer.errors import ConflictError, NotFoundError, NotReadyError, PlatformError, QuotaExceededError
from deployer.ports.platform import Deployment, DeploymentSpec, DeploymentState, Endpoint, Platform


class World(Protocol):
    """Where a platform lives, and what a test needs around it."""

    platform: Platform
    """The endpoint exists, without traffic and tags; ``blue`` and ``green`` are ready, with one instance each."""
    empty: Platform
    """Of an endpoint that was never created: ``nothing``."""

    def spec(self, name: str, *, version: str = "1", instances: int = 1) -> DeploymentSpec:
        """A good version."""

    def broken(self, name: str) -> DeploymentSpec:
        """A version that never becomes ready."""

    def pending(self, name: str) -> DeploymentSpec:
        """A version that takes longer to become ready than a test lasts."""

    def await_state(self, name: str, is_so: Callable[[Deployment], bool]) -> Deployment:
        """Wait until ``name`` is as wanted."""


def twice(call: Callable[[], None]) -> None:
    """Every call is idempotent."""
    call()
    call()


def is_ready(deployment: Deployment) -> bool:
    return deployment.state is DeploymentState.READY


def is_failed(deployment: Deployment) -> bool:
    return deployment.state is DeploymentState.FAILED


def observed(world: World) -> Endpoint:
    endpoint = world.platform.observe()
    assert endpoint is not None
    return endpoint


def mirror(world: World, percent: int = 10) -> dict[str, int]:
    """``green`` gets copies, where the platform can."""
    return {"green": percent} if world.platform.capabilities.mirror else {}


def fewest(world: World) -> int:
    """As few instances as the platform can have: a test that needs none waits for none where that is possible."""
    return world.platform.capabilities.least_instances


class PlatformContract:
    """Inherit it and give ``world``."""

    def test_an_endpoint_that_was_never_created_is_observed_as_none(self, world: World) -> None:
        assert world.empty.observe() is None

    def test_a_missing_endpoint_is_not_found_by_any_call(self, world: World) -> None:
        platform = world.empty
        calls: list[Callable[[], object]] = [
            lambda: platform.create_deployment(world.spec("blue")),
            lambda: platform.set_traffic({}, {}),
            lambda: platform.set_tags({"a": "1"}),
            lambda: platform.delete_deployment("blue"),
            lambda: platform.scale_deployment("blue", 1),
            lambda: platform.recreate_deployment("blue", "0" * 64),
            platform.scoring_target,
        ]
        for call in calls:
            with pytest.raises(NotFoundError):
                call()
        assert platform.observe() is None

    def test_ensuring_an_endpoint_again_keeps_uid_traffic_and_tags(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        world.platform.set_tags({"owner": "a"})
        before = observed(world)
        twice(lambda: world.platform.ensure_endpoint({"name": before.name, "auth_mode": "key", "tags": {"b": "2"}}))
        assert observed(world) == before

    def test_a_new_deployment_is_known_at_once_without_traffic(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        twice(lambda: world.platform.create_deployment(world.spec("red")))
        endpoint = observed(world)
        assert endpoint.deployments["red"].digest == world.spec("red").digest
        assert endpoint.traffic == {"blue": 100}

    def test_a_deployment_becomes_ready_with_every_instance(self, world: World) -> None:
        world.platform.create_deployment(world.spec("red", instances=2))
        deployment = world.await_state("red", is_ready)
        assert (deployment.instances_ready, deployment.instances_wanted) == (2, 2)
        assert deployment.message == ""
        assert deployment.created_at is not None
        assert deployment.created_at.utcoffset() == timedelta(0) == UTC.utcoffset(None)

    def test_a_name_that_is_taken_by_another_version_is_a_conflict(self, world: World) -> None:
        before = observed(world)
        for _ in range(2):
            with pytest.raises(ConflictError):
                world.platform.create_deployment(world.spec("blue", version="2"))
        assert observed(world) == before

    def test_a_deployment_that_cannot_start_has_failed_and_says_why_in_one_line(self, world: World) -> None:
        world.platform.create_deployment(world.broken("red"))
        deployment = world.await_state("red", is_failed)
        assert deployment.message
        assert "\n" not in deployment.message
        assert deployment.instances_ready == 0

    def test_a_deployment_that_failed_is_made_anew_when_created_again(self, world: World) -> None:
        world.platform.create_deployment(world.broken("red"))
        before = world.await_state("red", is_failed)
        world.platform.create_deployment(world.broken("red"))
        after = observed(world).deployments["red"]
        assert after.created_at is not None
        assert before.created_at is not None
        assert after.created_at > before.created_at

    def test_a_deployment_that_did_not_fail_is_left_alone_when_created_again(self, world: World) -> None:
        before = observed(world).deployments["blue"]
        world.platform.create_deployment(world.spec("blue"))
        assert observed(world).deployments["blue"] == before

    def test_one_deployment_too_many_exceeds_the_quota(self, world: World) -> None:
        there = len(observed(world).deployments)
        for number in range(world.platform.capabilities.max_deployments - there):
            world.platform.create_deployment(world.spec(f"extra{number}", instances=fewest(world)))
        for _ in range(2):
            with pytest.raises(QuotaExceededError):
                world.platform.create_deployment(world.spec("red", instances=fewest(world)))
        assert "red" not in observed(world).deployments

    def test_traffic_is_as_it_was_set(self, world: World) -> None:
        twice(lambda: world.platform.set_traffic({"blue": 75, "green": 25}, {}))
        assert observed(world).traffic == {"blue": 75, "green": 25}

    def test_every_write_replaces_the_whole_map(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, mirror(world))
        twice(lambda: world.platform.set_traffic({"green": 100}, {}))
        assert (observed(world).traffic, observed(world).mirror) == ({"green": 100}, {})

    def test_names_with_no_share_are_left_out(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100, "green": 0}, {"green": 0})
        assert (observed(world).traffic, observed(world).mirror) == ({"blue": 100}, {})

    def test_all_traffic_can_be_taken_away(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        twice(lambda: world.platform.set_traffic({}, {}))
        assert observed(world).traffic == {}

    def test_a_mirror_is_as_it_was_set_or_refused(self, world: World) -> None:
        if not world.platform.capabilities.mirror:
            world.platform.set_traffic({"blue": 100}, {})
            with pytest.raises(PlatformError):
                world.platform.set_traffic({"green": 100}, {"blue": 10})
            assert (observed(world).traffic, observed(world).mirror) == ({"blue": 100}, {})
            return
        twice(lambda: world.platform.set_traffic({"blue": 100}, {"green": 30}))
        assert (observed(world).traffic, observed(world).mirror) == ({"blue": 100}, {"green": 30})

    @pytest.mark.parametrize(
        ("traffic", "mirror"),
        [
            ({"blue": 99}, {}),
            ({"blue": 60, "green": 60}, {}),
            ({"blue": 110, "green": -10}, {}),
            ({"blue": 100}, {"green": 51}),
            ({"blue": 100}, {"blue": 10}),
        ],
    )
    def test_an_impossible_split_changes_nothing(
        self, world: World, traffic: dict[str, int], mirror: dict[str, int]
    ) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        for _ in range(2):
            with pytest.raises(PlatformError):
                world.platform.set_traffic(traffic, mirror)
        assert (observed(world).traffic, observed(world).mirror) == ({"blue": 100}, {})

    def test_a_deployment_that_is_not_ready_gets_no_traffic(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        world.platform.create_deployment(world.pending("red"))
        for _ in range(2):
            with pytest.raises(NotReadyError):
                world.platform.set_traffic({"blue": 95, "red": 5}, {})
        assert observed(world).traffic == {"blue": 100}

    def test_a_deployment_that_is_not_ready_is_refused_by_nobody_but_the_service_when_forced(
        self, world: World
    ) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        world.platform.create_deployment(world.pending("red"))
        try:
            world.platform.set_traffic({"red": 100}, {}, force=True)
        except PlatformError as refusal:  # Azure itself refuses one that is being created
            assert not isinstance(refusal, NotReadyError)  # noqa: PT017 - it need not be refused
            assert observed(world).traffic == {"blue": 100}
        else:
            assert observed(world).traffic == {"red": 100}

    def test_a_deployment_that_does_not_exist_gets_no_traffic(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        for _ in range(2):
            with pytest.raises(NotFoundError):
                world.platform.set_traffic({"blue": 95, "nobody": 5}, {})
        assert observed(world).traffic == {"blue": 100}

    def test_traffic_is_written_when_the_tags_are_as_expected_and_only_then(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        world.platform.set_tags({"lease": "me"})
        for wrong in (None, "you", ""):
            with pytest.raises(ConflictError):
                world.platform.set_traffic({"green": 100}, {}, expect={"lease": wrong})
        assert observed(world).traffic == {"blue": 100}
        twice(lambda: world.platform.set_traffic({"green": 100}, {}, expect={"lease": "me", "other": None}))
        assert (observed(world).traffic, observed(world).tags) == ({"green": 100}, {"lease": "me"})

    def test_tags_change_with_traffic_when_the_old_ones_are_as_expected(self, world: World) -> None:
        world.platform.set_tags({"lease": "me", "kept": "x", "gone": "y"})
        with pytest.raises(ConflictError):
            world.platform.set_traffic({"green": 100}, {}, expect={"lease": "you"}, tags={"lease": "it"})
        world.platform.set_traffic({"green": 100}, {}, expect={"lease": "me"}, tags={"lease": "you", "gone": None})
        assert (observed(world).traffic, observed(world).tags) == ({"green": 100}, {"lease": "you", "kept": "x"})
        world.platform.set_traffic({"green": 100}, {}, expect={"lease": "you"}, tags={"lease": "she"})
        assert observed(world).tags == {"lease": "she", "kept": "x"}

    def test_tags_are_merged_and_none_removes_one(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        twice(lambda: world.platform.set_tags({"a": "1", "b": "2"}))
        twice(lambda: world.platform.set_tags({"b": None, "c": "3"}))
        assert observed(world).tags == {"a": "1", "c": "3"}
        assert observed(world).traffic == {"blue": 100}

    def test_tags_are_written_when_what_is_expected_holds(self, world: World) -> None:
        world.platform.set_tags({"lease": "me"}, expect={"lease": None})
        world.platform.set_tags({"lease": "you"}, expect={"lease": "me"})
        twice(lambda: world.platform.set_tags({"note": "x"}, expect={"lease": "you", "other": None}))
        assert observed(world).tags == {"lease": "you", "note": "x"}

    def test_nothing_is_written_when_what_is_expected_does_not_hold(self, world: World) -> None:
        world.platform.set_tags({"lease": "you"})
        for wrong in (None, "me", ""):
            with pytest.raises(ConflictError):
                world.platform.set_tags({"lease": "me", "note": "x"}, expect={"lease": wrong})
        assert observed(world).tags == {"lease": "you"}

    @pytest.mark.parametrize("tags", [{"a" * 257: "1"}, {"a": "1" * 257}, {"": "1"}])
    def test_a_tag_that_is_too_long_is_refused(self, world: World, tags: dict[str, str]) -> None:
        with pytest.raises(PlatformError):
            world.platform.set_tags({"good": "1", **tags})
        assert observed(world).tags == {}

    def test_the_longest_tag_is_kept_whole(self, world: World) -> None:
        world.platform.set_tags({"k" * 256: "\N{SNOWMAN}" * 256})
        assert observed(world).tags == {"k" * 256: "\N{SNOWMAN}" * 256}

    def test_a_deleted_deployment_is_gone(self, world: World) -> None:
        world.platform.create_deployment(world.spec("red", instances=fewest(world)))
        twice(lambda: world.platform.delete_deployment("red"))
        assert "red" not in observed(world).deployments

    def test_deleting_what_never_was_is_silent(self, world: World) -> None:
        before = observed(world)
        twice(lambda: world.platform.delete_deployment("nobody"))
        assert observed(world) == before

    def test_what_has_live_or_mirrored_traffic_is_not_deleted(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, mirror(world))
        before = observed(world)
        for name in ("blue", *mirror(world)):
            for _ in range(2):
                with pytest.raises(ConflictError):
                    world.platform.delete_deployment(name)
        assert observed(world) == before

    def test_the_name_of_a_deleted_deployment_is_free_for_another_version(self, world: World) -> None:
        world.platform.create_deployment(world.spec("red", instances=fewest(world)))
        world.platform.delete_deployment("red")
        world.platform.create_deployment(world.spec("red", version="2", instances=fewest(world)))
        assert (
            observed(world).deployments["red"].digest == world.spec("red", version="2", instances=fewest(world)).digest
        )

    def test_an_endpoint_that_holds_a_deployment_is_not_deleted(self, world: World) -> None:
        before = observed(world)
        for _ in range(2):
            with pytest.raises(ConflictError):
                world.platform.delete_endpoint()
        assert observed(world) == before

    def test_an_endpoint_without_deployments_is_deleted_once_or_twice_and_can_be_made_again(self, world: World) -> None:
        world.empty.delete_endpoint()
        on_cluster = world.empty.capabilities.platform == "kubernetes"
        compute = {"compute": "azureml:aks1"} if on_cluster else {}
        for _ in range(2):
            world.empty.ensure_endpoint({"name": "nothing", "auth_mode": "key", **compute})
            made = world.empty.observe()
            assert made is not None
            assert made.name == "nothing"
            twice(world.empty.delete_endpoint)
            assert world.empty.observe() is None

    def test_a_deployment_scales_up_and_down_without_moving_traffic(self, world: World) -> None:
        world.platform.set_traffic({"blue": 90, "green": 10}, {})
        twice(lambda: world.platform.scale_deployment("green", 2))
        world.await_state("green", lambda found: is_ready(found) and found.instances_ready == 2)
        twice(lambda: world.platform.scale_deployment("green", 1))
        found = world.await_state("green", is_ready)
        assert (found.instances_ready, found.instances_wanted) == (1, 1)
        assert observed(world).traffic == {"blue": 90, "green": 10}

    def test_a_deployment_that_is_scaled_down_has_as_few_instances_as_there_can_be(self, world: World) -> None:
        twice(lambda: world.platform.scale_deployment("green", 0))
        assert observed(world).deployments["green"].instances_wanted == fewest(world)
        if not fewest(world):  # then there is nobody to answer
            with pytest.raises(NotReadyError):
                world.platform.set_traffic({"green": 100}, {})

    def test_what_has_traffic_keeps_an_instance(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, mirror(world))
        for name in ("blue", *mirror(world)):
            with pytest.raises(ConflictError):
                world.platform.scale_deployment(name, 0)
        assert observed(world).deployments["blue"].instances_wanted == 1

    def test_scaling_what_does_not_exist_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFoundError):
            world.platform.scale_deployment("nobody", 1)

    def test_more_instances_than_there_can_be_exceed_the_quota(self, world: World) -> None:
        with pytest.raises(QuotaExceededError):
            world.platform.scale_deployment("green", 51)
        assert observed(world).deployments["green"].instances_wanted == 1

    def test_scaling_alike_is_told_in_one_line_and_moves_nothing(self, world: World) -> None:
        world.platform.set_traffic({"blue": 100}, {})
        before = observed(world)
        for _ in range(2):
            said = world.platform.match_scaling("green", "blue")
            assert said
            assert "\n" not in said
        assert observed(world) == before

    def test_a_hold_is_released_once_or_twice_and_also_when_the_deployment_is_gone(self, world: World) -> None:
        world.platform.match_scaling("green", "blue")
        before = observed(world)
        twice(lambda: world.platform.release_scaling("blue"))
        twice(lambda: world.platform.release_scaling("nobody"))
        assert observed(world) == before

    def test_a_deleted_deployment_is_made_again_from_what_was_recorded(self, world: World) -> None:
        spec = world.spec("red")
        world.platform.create_deployment(spec)
        world.platform.delete_deployment("red")
        twice(lambda: world.platform.recreate_deployment("red", spec.digest))
        assert world.await_state("red", is_ready).digest == spec.digest

    def test_what_was_never_recorded_cannot_be_made_again(self, world: World) -> None:
        with pytest.raises(NotFoundError):
            world.platform.recreate_deployment("red", "0" * 64)
        assert "red" not in observed(world).deployments

    def test_making_another_version_again_under_a_taken_name_is_a_conflict(self, world: World) -> None:
        before = observed(world)
        with pytest.raises(ConflictError):
            world.platform.recreate_deployment("blue", before.deployments["green"].digest or "")
        assert observed(world) == before

    def test_a_version_can_run_under_two_names(self, world: World) -> None:
        digest = observed(world).deployments["blue"].digest
        assert digest is not None
        world.platform.recreate_deployment("red", digest)
        assert world.await_state("red", is_ready).digest == digest

    def test_logs_say_what_a_deployment_printed(self, world: World) -> None:
        assert world.platform.logs("blue")
        assert len(world.platform.logs("blue", lines=1).splitlines()) == 1
        assert world.platform.logs("nobody") == ""

    def test_the_scoring_target_is_that_of_the_endpoint(self, world: World) -> None:
        target = world.platform.scoring_target()
        assert target.url == observed(world).scoring_url
        assert target == world.platform.scoring_target()
