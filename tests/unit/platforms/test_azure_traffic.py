"""A traffic change on Azure: what is written, what is believed, and what is done when nobody knows."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError

from deployer.engine.lease import BUSY_TIMES
from deployer.errors import ConflictError, NotFoundError, NotReadyError, PlatformError, TransientError
from deployer.platforms.kubernetes import KubernetesPlatform
from deployer.platforms.managed import ManagedPlatform
from deployer.platforms.online.endpoint import OnlineEndpoint
from deployer.platforms.online.traffic_write import BUSY_S, LONGEST_WRITE_S
from tests.doubles.arm_script import Answer, Asked
from tests.doubles.arm_service import Azure


class Stage:
    def __init__(self, traffic: dict[str, int] | None = None) -> None:
        self.azure = Azure()
        self.service = self.azure.service
        self.service.create("blue", "green", traffic={"blue": 100} if traffic is None else traffic)
        self.platform = ManagedPlatform("digits", **self.azure.parts())
        self.started = self.azure.clock.now()

    @property
    def took_s(self) -> float:
        return (self.azure.clock.now() - self.started).total_seconds()

    @property
    def live(self) -> dict[str, int]:
        assert self.service.endpoint is not None
        return self.service.endpoint["properties"]["traffic"]

    @property
    def puts(self) -> list[Any]:
        return self.service.calls("PUT", "endpoint")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def first(kind: str, method: str, answer: Answer | Exception) -> Any:
    """The first such request gets this answer, and has no effect."""
    left = [answer]

    def fault(asked: Asked, what: str) -> Answer | None:
        if (what, asked.method) == (kind, method) and left:
            found = left.pop()
            if isinstance(found, Exception):
                raise found
            return found
        return None

    return fault


def once(kind: str) -> Any:
    """The first change of this kind happens and its answer is lost."""
    left = [True]
    return lambda _asked, what: what == kind and bool(left) and left.pop()


def test_a_step_takes_four_calls_besides_waiting(stage: Stage) -> None:
    stage.platform.set_traffic({"blue": 90, "green": 10}, {})
    waits = [each for each in stage.service.asked if each[:2] == ("GET", "endpoint")]
    assert len(stage.service.calls("GET", "deployments")) == 1
    assert len(stage.puts) == 1
    assert (
        len(waits) == 1 + 7 + 1
    )  # what is written back; 20 s in polls of 3 s, the last of them proof; the second proof
    assert stage.took_s < 20 + 5


def test_what_was_just_observed_is_not_listed_again(stage: Stage) -> None:
    stage.platform.observe()
    stage.platform.set_traffic({"blue": 90, "green": 10}, {})
    assert len(stage.service.calls("GET", "deployments")) == 1
    stage.platform.set_traffic({"blue": 80, "green": 20}, {})
    assert len(stage.service.calls("GET", "deployments")) == 2


def test_what_was_scaled_from_here_is_looked_at_again(stage: Stage) -> None:
    stage.platform.observe()
    stage.platform.scale_deployment("green", 2)
    stage.platform.set_traffic({"blue": 90, "green": 10}, {})
    assert len(stage.service.calls("GET", "deployments")) == 2


def test_what_was_deleted_from_here_is_looked_at_again(stage: Stage) -> None:
    stage.platform.observe()
    stage.platform.delete_deployment("green")
    with pytest.raises((NotReadyError, NotFoundError)):
        stage.platform.set_traffic({"green": 100}, {})


def test_a_put_keeps_everything_it_does_not_own(stage: Stage) -> None:
    endpoint = stage.service.endpoint
    assert endpoint is not None
    endpoint["tags"] = {"team": "x", "empty": ""}
    endpoint["sku"] = {"name": "Premium"}
    endpoint["identity"] = {
        "type": "UserAssigned",
        "principalId": "p",
        "userAssignedIdentities": {"/id/a": {"principalId": "1", "clientId": "2"}},
    }
    endpoint["properties"] |= {
        "authMode": "AMLToken",
        "description": "d",
        "compute": "/c",
        "publicNetworkAccess": "Disabled",
        "newerField": {"a": [1]},
        "mirrorTraffic": {"green": 5},
        "swaggerUri": "https://x",
        "properties": {
            "owner": "me",
            "azureml.onlineendpointid": "/x",
            "AzureAsyncOperationUri": "https://x",
            "createdBy": "a",
            "createdAt": "b",
            "lastModifiedAt": "c",
        },
    }
    stage.platform.set_traffic({"blue": 100}, {"green": 10})
    (body,) = stage.puts
    assert body == {
        "location": "westeurope",
        "kind": "Managed",
        "sku": {"name": "Premium"},
        "tags": {"team": "x", "empty": ""},
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/id/a": {}}},
        "properties": {
            "authMode": "AMLToken",
            "description": "d",
            "compute": "/c",
            "publicNetworkAccess": "Disabled",
            "newerField": {"a": [1]},
            "properties": {"owner": "me"},
            "traffic": {"blue": 100},
            "mirrorTraffic": {"green": 10},
        },
    }


@pytest.mark.parametrize("lacking", ["location", "authMode"])
def test_an_endpoint_that_was_read_in_part_is_not_written_back(stage: Stage, lacking: str) -> None:
    endpoint = stage.service.endpoint
    assert endpoint is not None
    endpoint.pop(lacking, None)
    endpoint["properties"].pop(lacking, None)
    with pytest.raises(TransientError):
        stage.platform.set_traffic({"green": 100}, {})
    assert stage.puts == []


@pytest.mark.parametrize("odd", [None, {}])
def test_an_endpoint_without_own_properties_is_written_all_the_same(stage: Stage, odd: Any) -> None:
    endpoint = stage.service.endpoint
    assert endpoint is not None
    endpoint["properties"]["properties"] = odd
    endpoint["tags"] = odd
    stage.platform.set_traffic({"green": 100}, {})
    assert stage.live == {"green": 100}


def test_the_body_of_the_answer_is_not_believed(stage: Stage) -> None:
    stage.service.failing = {"code": "BadArgument", "message": "no"}
    with pytest.raises(PlatformError):  # the 201 echoed the new traffic
        stage.platform.set_traffic({"green": 100}, {})
    assert stage.live == {"blue": 100}


def test_old_reads_after_the_change_are_waited_out(stage: Stage) -> None:
    stage.service.stale_reads = 0
    stage.service.lost = lambda _asked, _kind: bool(setattr(stage.service, "stale_reads", 14))
    stage.platform.set_traffic({"green": 100}, {})
    assert stage.service.stale_reads == 0
    assert len(stage.puts) == 1
    observed = stage.platform.observe()
    assert observed is not None
    assert observed.traffic == {"green": 100}


def test_one_read_that_shows_it_is_no_proof(stage: Stage) -> None:
    shown: list[str] = []

    def flap(asked: Asked, kind: str) -> Answer | None:
        live = stage.live
        if kind == "endpoint" and asked.method == "GET" and stage.puts:
            shown.append("new" if live == {"green": 100} else "old")
            if shown.count("new") == 2 and stage.service.stale_reads == 0 and "flapped" not in shown:
                shown.append("flapped")
                stage.service.stale_reads = 1
        return None

    stage.service.fault = flap
    stage.platform.set_traffic({"green": 100}, {})
    assert shown.count("new") >= 4


def test_an_answer_that_was_lost_after_the_change_is_found_by_reading(stage: Stage) -> None:
    stage.service.lost = once("endpoint")
    stage.platform.set_traffic({"green": 100}, {})
    assert (stage.live, len(stage.puts)) == ({"green": 100}, 1)


def test_a_lost_answer_and_old_reads_together_do_not_make_a_second_write(stage: Stage) -> None:
    lose = once("endpoint")

    def lost(asked: Asked, kind: str) -> bool:
        stage.service.stale_reads = 3
        return lose(asked, kind)

    stage.service.lost = lost
    stage.platform.set_traffic({"green": 100}, {})
    assert (stage.live, len(stage.puts)) == ({"green": 100}, 1)


@pytest.mark.parametrize("trouble", [Answer(500), Answer(503), ServiceResponseError("cut before it arrived")])
def test_a_write_that_was_lost_before_the_change_is_sent_again(stage: Stage, trouble: Answer | Exception) -> None:
    stage.service.fault = first("endpoint", "PUT", trouble)
    stage.platform.set_traffic({"green": 100}, {})
    assert (stage.live, len(stage.puts)) == ({"green": 100}, 2)


def test_a_busy_endpoint_is_waited_for_and_read_again(stage: Stage) -> None:
    stage.service.fault = first("endpoint", "PUT", Answer(409, {"error": {"code": "Conflict", "message": "busy"}}))
    stage.platform.set_traffic({"green": 100}, {})
    assert (stage.live, len(stage.puts)) == ({"green": 100}, 2)


def test_an_operation_of_somebody_else_is_waited_for(stage: Stage) -> None:
    other = ManagedPlatform("digits", **stage.azure.parts())
    stage.service.takes_s = 60
    stage.service.fault = lambda asked, kind: None
    assert stage.service.endpoint is not None
    body = {
        **stage.service.endpoint,
        "properties": {**stage.service.endpoint["properties"], "traffic": {"blue": 50, "green": 50}},
    }
    other._resource.arm.put(other._resource.path, "v", body)
    stage.platform.set_traffic({"green": 100}, {})
    assert stage.live == {"green": 100}
    assert len(stage.puts) == 2  # the other one's and ours: nothing is sent to an endpoint that is seen to be busy


def test_an_endpoint_that_stays_busy_is_a_conflict_within_its_deadline(stage: Stage) -> None:
    assert stage.service.endpoint is not None
    stage.service.endpoint["properties"]["provisioningState"] = "Updating"
    with pytest.raises((ConflictError, TransientError)):
        stage.platform.set_traffic({"green": 100}, {})
    assert stage.took_s < 600
    assert stage.live == {"blue": 100}


def test_an_operation_that_never_ends_is_unknown_within_its_deadline(stage: Stage) -> None:
    stage.service.takes_s = 1e9
    with pytest.raises(TransientError):
        stage.platform.set_traffic({"green": 100}, {})
    assert 150 < stage.took_s < 240


@pytest.mark.parametrize(
    ("code", "kind"),
    [("OperationCanceled", TransientError), ("InternalServerError", TransientError), ("BadArgument", PlatformError)],
)
@pytest.mark.parametrize("half", [False, True])
def test_an_operation_that_failed_says_why(stage: Stage, code: str, kind: type[PlatformError], half: bool) -> None:
    stage.service.failing, stage.service.half = {"code": code, "message": "because\x1b[31m\nof this"}, half
    with pytest.raises(PlatformError) as caught:
        stage.platform.set_traffic({"green": 100}, {})
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert "because of this" in caught.value.message
    assert "sig=" not in caught.value.message


def test_an_endpoint_that_reads_failed_still_takes_the_way_back(stage: Stage) -> None:
    stage.service.failing = {"code": "InternalServerError", "message": "x"}
    with pytest.raises(TransientError):
        stage.platform.set_traffic({"green": 100}, {})
    assert stage.service.endpoint is not None
    assert stage.service.endpoint["properties"]["provisioningState"] == "Failed"
    stage.platform.set_traffic({"blue": 100}, {})
    assert len(stage.puts) == 2  # it showed blue already, but nobody knows what a failed operation left
    assert stage.service.endpoint["properties"]["provisioningState"] == "Succeeded"


def test_a_status_that_cannot_be_read_does_not_stop_the_verification(stage: Stage) -> None:
    stage.service.fault = lambda _asked, kind: Answer(404) if kind == "operation" else None
    stage.platform.set_traffic({"green": 100}, {})
    assert stage.live == {"green": 100}


def test_what_is_so_already_is_not_written(stage: Stage) -> None:
    stage.platform.set_traffic({"blue": 100, "green": 0}, {})
    assert stage.puts == []


def test_an_old_read_that_shows_what_is_wanted_does_not_stop_the_write(stage: Stage) -> None:
    stage.platform.set_traffic({"green": 100}, {})
    stage.service.stale_reads = 1  # shows blue 100
    stage.platform.set_traffic({"blue": 100}, {})
    assert stage.live == {"blue": 100}


def test_somebody_who_writes_in_between_is_noticed(stage: Stage) -> None:
    def meddle(_asked: Asked, kind: str) -> Answer | None:
        if kind == "endpoint" and stage.live == {"green": 100}:
            stage.live.clear()
            stage.live.update({"blue": 50, "green": 50})
        return None

    stage.service.fault = meddle
    with pytest.raises(ConflictError):
        stage.platform.set_traffic({"green": 100}, {})


@pytest.mark.parametrize("misses", [1, 2])
def test_a_read_that_does_not_know_the_endpoint_is_not_believed(stage: Stage, misses: int) -> None:
    stage.platform.observe()
    for at in range(12):
        count, left = [0], [Answer(404)] * misses

        def fault(
            asked: Asked, kind: str, at: int = at, count: list[int] = count, left: list[Answer] = left
        ) -> Answer | None:
            if (asked.method, kind) != ("GET", "endpoint"):
                return None
            count[0] += 1
            return left.pop() if count[0] > at and left else None

        stage.service.fault = fault
        wanted = {"green": 100} if stage.live == {"blue": 100} else {"blue": 100}
        stage.platform.set_traffic(wanted, {})
        assert stage.live == wanted
        assert stage.platform.observe() is not None


def test_a_read_from_before_our_own_writes_is_not_written_back(stage: Stage) -> None:
    stage.platform.set_tags({"lease": "me|1|7"})
    stage.service.stale_reads = 2  # without the tag
    stage.platform.set_traffic({"green": 100}, {})
    assert stage.puts[0]["tags"] == {"lease": "me|1|7"}
    stage.platform.set_tags({"phase": "x"})
    assert stage.service.calls("PATCH", "endpoint")[-1] == {"tags": {"lease": "me|1|7", "phase": "x"}}


def test_what_somebody_else_wrote_after_us_is_accepted_after_a_while(stage: Stage) -> None:
    stage.platform.set_tags({"note": "mine"})
    assert stage.service.endpoint is not None
    stage.service.endpoint["tags"]["note"] = "theirs"
    stage.platform.set_traffic({"green": 100}, {})
    assert stage.puts[0]["tags"] == {"note": "theirs"}
    assert stage.took_s < 45


def test_an_endpoint_that_vanishes_is_not_found(stage: Stage) -> None:
    def vanish(asked: Asked, kind: str) -> Answer | None:
        if stage.puts and kind == "endpoint" and asked.method == "GET":
            return Answer(404)
        return None

    stage.service.fault = vanish
    with pytest.raises(NotFoundError):
        stage.platform.set_traffic({"green": 100}, {})


def test_the_way_back_needs_no_list_of_deployments_for_what_has_traffic(stage: Stage) -> None:
    stage = Stage({"blue": 90, "green": 10})
    stage.service.fault = lambda _asked, kind: Answer(503) if kind == "deployments" else None
    stage.platform.set_traffic({"blue": 100}, {})
    assert stage.live == {"blue": 100}
    with pytest.raises(TransientError):
        stage.platform.set_traffic({"green": 100}, {})


def test_traffic_moves_only_while_the_lease_holds(stage: Stage) -> None:
    assert stage.service.endpoint is not None
    stage.service.endpoint["tags"] = {"lease": "you", "gone": ""}
    with pytest.raises(ConflictError):
        stage.platform.set_traffic({"green": 100}, {}, expect={"lease": "me"})
    assert stage.puts == []
    stage.platform.set_traffic({"green": 100}, {}, expect={"lease": "you", "gone": None})
    assert stage.live == {"green": 100}


@pytest.mark.parametrize("state", ["Creating", "Failed", "Deleting", "Canceled", "SomethingNew"])
def test_only_what_is_ready_gets_traffic(stage: Stage, state: str) -> None:
    stage.service.deployments["green"]["properties"]["provisioningState"] = state
    with pytest.raises((NotReadyError, NotFoundError)):
        stage.platform.set_traffic({"blue": 90, "green": 10}, {})
    assert stage.puts == []


def test_shares_of_the_service_bear_the_names_of_deployments(stage: Stage) -> None:
    stage.service.deployments = {}
    stage.service.add("Blue")
    observed = stage.platform.observe()
    assert observed is not None
    assert observed.traffic == {"Blue": 100}
    stage.platform.set_traffic({"Blue": 100}, {})
    assert stage.puts == []


def test_clusters_do_not_mirror(stage: Stage) -> None:
    platform = KubernetesPlatform("digits", **stage.azure.parts())
    with pytest.raises(PlatformError) as caught:
        platform.set_traffic({"blue": 100}, {"green": 10})
    assert "mirror" in caught.value.message
    assert stage.puts == []


def test_a_beat_waits_for_the_traffic_that_is_being_written(stage: Stage) -> None:
    resource = stage.platform._resource
    with resource.lock:
        beat = threading.Thread(target=lambda: stage.platform.set_tags({"beat": "1"}))
        beat.start()
        beat.join(0.1)
        assert beat.is_alive()
        assert stage.service.calls("PATCH", "endpoint") == []
    beat.join(5)
    assert stage.service.calls("PATCH", "endpoint") == [{"tags": {"beat": "1"}}]


# ---- how long it may take


@pytest.mark.parametrize("kind", [ManagedPlatform, KubernetesPlatform])
def test_a_lease_is_not_stale_before_the_longest_write_and_two_beats(kind: type[OnlineEndpoint]) -> None:
    capabilities = kind("digits", **Azure().parts()).capabilities  # type: ignore[call-arg]
    assert capabilities.stale_after_s - 2 * capabilities.beat_s > LONGEST_WRITE_S


@pytest.mark.parametrize("kind", [ManagedPlatform, KubernetesPlatform])
def test_a_look_may_still_be_acted_on_after_a_beat_that_waited_for_a_busy_endpoint(kind: type[OnlineEndpoint]) -> None:
    capabilities = kind("digits", **Azure().parts()).capabilities  # type: ignore[call-arg]
    assert capabilities.stale_after_s / 2 > BUSY_S + capabilities.beat_s  # as Runner._is_fresh asks


@pytest.mark.parametrize("kind", [ManagedPlatform, KubernetesPlatform])
def test_an_endpoint_is_watched_while_busy_for_longer_than_any_write_takes(kind: type[OnlineEndpoint]) -> None:
    capabilities = kind("digits", **Azure().parts()).capabilities  # type: ignore[call-arg]
    assert BUSY_TIMES * capabilities.stale_after_s > LONGEST_WRITE_S + 2 * capabilities.beat_s


@pytest.mark.parametrize("busy_s", [0, 100, 170, 178, 1000])
@pytest.mark.parametrize("takes_s", [20, 170, 178, 1000])
def test_no_write_takes_longer_than_the_longest(stage: Stage, busy_s: float, takes_s: float) -> None:
    endpoint = stage.service.endpoint
    assert endpoint is not None
    stage.service._show(endpoint, "Updating")
    left = [True]

    def fault(_asked: Asked, _kind: str) -> None:
        if left and stage.took_s >= busy_s:
            stage.service._show(endpoint, "Succeeded")
            left.clear()

    stage.service.fault, stage.service.takes_s = fault, takes_s
    with suppress(PlatformError):
        stage.platform.set_traffic({"blue": 50, "green": 50}, {})
    assert stage.took_s <= LONGEST_WRITE_S


# ---- tags in the same write


def test_tags_ride_on_the_put_that_changes_traffic(stage: Stage) -> None:
    assert stage.service.endpoint is not None
    stage.service.endpoint["tags"] = {"team": "x", "deployer.lease": "a"}
    tags = {"deployer.lease": "b", "deployer.request": None}
    stage.platform.set_traffic({"green": 100}, {}, expect={"deployer.lease": "a"}, tags=tags)
    assert stage.puts[0]["tags"] == {"team": "x", "deployer.lease": "b"}
    assert stage.service.calls("PATCH", "endpoint") == []


def test_a_write_whose_answer_was_lost_is_not_taken_for_somebody_elses_lease(stage: Stage) -> None:
    stage.service.lost = once("endpoint")
    stage.platform.set_traffic({"green": 100}, {}, expect={"deployer.lease": None}, tags={"deployer.lease": "b"})
    assert (stage.live, len(stage.puts)) == ({"green": 100}, 1)


def test_tags_are_written_although_traffic_is_so_already(stage: Stage) -> None:
    stage.platform.set_traffic({"blue": 100}, {}, tags={"deployer.lease": "b"})
    assert stage.service.endpoint is not None
    assert stage.service.endpoint["tags"] == {"deployer.lease": "b"}


def test_forced_traffic_goes_to_what_is_not_ready(stage: Stage) -> None:
    stage.service.add("green", state="Failed")
    with pytest.raises(NotReadyError):
        stage.platform.set_traffic({"green": 100}, {})
    stage.platform.set_traffic({"green": 100}, {}, force=True)
    assert stage.live == {"green": 100}
