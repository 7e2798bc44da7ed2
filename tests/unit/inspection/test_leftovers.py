"""What may be swept away: deployer's own, without traffic, that nobody returns to; and nothing else, ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from doubles.memory import MemoryPlatform
from doubles.telemetry import ManualClock
from hypothesis import given
from hypothesis import strategies as st

from deployer.engine.leftovers import idle_deployments, leftovers, sweep
from deployer.engine.operations import Site
from deployer.errors import PlanError, PlatformError, UsageError
from deployer.ports.inspection import Leftover, LeftoverKind, Price, Removed
from deployer.ports.platform import Deployment, DeploymentSpec, DeploymentState, Endpoint
from deployer.profile.marks import PROFILE
from deployer.report.leftovers import leftovers_record, leftovers_text
from deployer.rollout.model import Phase
from deployer.rollout.tags import DIGEST, GOOD, LEASE, PHASE, PREVIOUS, ROLES, ROLLOUT
from deployer.stores.file import FileJournal
from deployer.telemetry.local import LocalTelemetry

AT = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


def deployment(name: str, digest: str | None = "d", instances: int = 2) -> Deployment:
    return Deployment(name, DeploymentState.READY, digest, instances, instances)


def endpoint(*deployments: Deployment, traffic: dict[str, int] | None = None, **tags: str) -> Endpoint:
    return Endpoint("digits", "uid", "", traffic or {}, {}, {each.name: each for each in deployments}, tags)


def marked(phase: Phase, candidate: str, stable: str) -> dict[str, str]:
    return {ROLLOUT: "r", PHASE: f"{phase.value}:2", ROLES: f"{candidate}|c|{stable}|s", DIGEST: "spec"}


def names(found: Endpoint) -> list[str]:
    return [each.name for each in idle_deployments(found)]


def test_a_deployment_of_ours_without_traffic_is_left_over() -> None:
    assert names(endpoint(deployment("blue"), deployment("green"), traffic={"blue": 100})) == ["green"]


def test_what_deployer_did_not_make_is_never_listed() -> None:
    assert names(endpoint(deployment("blue"), deployment("theirs", None), traffic={"blue": 100})) == []


def test_mirrored_traffic_is_traffic() -> None:
    found = endpoint(deployment("blue"), deployment("green"), traffic={"blue": 100})
    assert names(replace(found, mirror={"green": 10})) == []


@pytest.mark.parametrize("tag", [GOOD, PREVIOUS])
def test_a_version_that_a_rollback_returns_to_is_kept(tag: str) -> None:
    found = endpoint(deployment("blue"), deployment("green", "old"), traffic={"blue": 100})
    assert names(replace(found, tags={tag: f"3|green|old|{AT}"})) == []
    assert names(replace(found, tags={tag: f"3|green||{AT}"})) == [], "a version that was not made by deployer"
    assert names(replace(found, tags={tag: f"3|green|another|{AT}"})) == ["green"], "the name holds another version now"


@pytest.mark.parametrize(
    ("is_listed", "good", "traffic", "over"),
    [
        (True, "blue|d", {"blue": 100}, {}),
        (False, "blue|another", {"blue": 100}, {}),
        (False, "blue|d", {"blue": 90, "red": 10}, {}),
        (False, "blue|d", {"blue": 100}, {"state": DeploymentState.DEGRADED}),
        (False, "blue|d", {"blue": 100}, {"instances_ready": 0}),
        (False, "red|d", {"blue": 100}, {}),
    ],
)
def test_a_previous_version_that_could_not_be_retired_is_left_over_once_the_good_one_stands(
    is_listed: bool, good: str, traffic: dict[str, int], over: dict[str, Any]
) -> None:
    found = endpoint(replace(deployment("blue"), **over), deployment("green", "old"), traffic=traffic)
    tags = {GOOD: f"4|{good}|{AT}", PREVIOUS: f"3|green|old|{AT}|2|left"}
    assert names(replace(found, tags=tags)) == (["green"] if is_listed else [])
    assert names(replace(found, tags={**tags, PREVIOUS: f"3|green|old|{AT}|2"})) == []


@pytest.mark.parametrize("phase", list(Phase))
def test_a_rollout_that_is_not_over_keeps_both_its_sides(phase: Phase) -> None:
    found = endpoint(deployment("blue"), deployment("green"), deployment("red"), traffic={"red": 100})
    kept = phase not in (Phase.PROMOTED, Phase.ROLLED_BACK)
    assert names(replace(found, tags=marked(phase, "green", "blue"))) == ([] if kept else ["blue", "green"])


@given(
    st.dictionaries(
        st.sampled_from(["blue", "green", "red", "black"]),
        st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from(["none", "live", "mirror"])),
    ),
    st.sampled_from(["", f"1|blue|a|{AT}", f"1|green||{AT}", "garbled"]),
)
def test_nothing_with_traffic_and_nothing_foreign_is_ever_chosen(
    made: dict[str, tuple[str | None, str]], good: str
) -> None:
    found = Endpoint(
        "digits",
        "uid",
        "",
        {name: 100 for name, (_, traffic) in made.items() if traffic == "live"},
        {name: 10 for name, (_, traffic) in made.items() if traffic == "mirror"},
        {name: deployment(name, digest) for name, (digest, _) in made.items()},
        {GOOD: good},
    )
    for name in names(found):
        digest, traffic = made[name]
        assert digest is not None
        assert traffic == "none"
        assert good != f"1|{name}|{digest}|{AT}"


# ---- sweeping


class Caretaker:
    """Knows one autoscale setting and one price."""

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.failing = False

    def find(self, endpoint: Endpoint) -> list[Leftover]:
        return [Leftover(LeftoverKind.AUTOSCALE, "ws-digits-old", "scales deployment old, which is gone")]

    def remove(self, leftover: Leftover) -> None:
        if self.failing:
            raise PlatformError("it is locked", hint="Unlock it.")
        self.removed.append(leftover.name)

    def usd_per_hour(self, deployment: str) -> Price | None:
        return Price(0.5, "the service's estimate", "2026-11-25")


@pytest.fixture
def platform() -> MemoryPlatform:
    made = MemoryPlatform("digits", ManualClock())
    made.ensure_endpoint({})
    for name in ("blue", "green"):
        made.create_deployment(DeploymentSpec(name, {"instance_count": 2}, Path(), f"d-{name}"))
    made.add_foreign("theirs")
    made.edit_traffic({"blue": 100})
    return made


def site(platform: MemoryPlatform, tmp_path: Path) -> Site:
    clock = ManualClock()
    telemetry = LocalTelemetry(None, "digits", clock)  # type: ignore[arg-type]
    return Site("digits", platform, telemetry, FileJournal(tmp_path), clock, "ann", lambda: None)


def test_listing_reads_and_prices_and_changes_nothing(platform: MemoryPlatform, tmp_path: Path) -> None:
    before = len(platform.calls)
    found = leftovers(site(platform, tmp_path), Caretaker())
    assert [(each.kind, each.name, each.usd_per_day) for each in found] == [
        (LeftoverKind.DEPLOYMENT, "green", 24.0),
        (LeftoverKind.AUTOSCALE, "ws-digits-old", None),
    ]
    assert set(platform.calls[before:]) == {"observe"}


def test_sweeping_removes_what_was_found_and_nothing_else(platform: MemoryPlatform, tmp_path: Path) -> None:
    caretaker, place = Caretaker(), site(platform, tmp_path)
    assert [one.problem for one in sweep(place, caretaker, leftovers(place, caretaker))] == [None, None]
    there = platform.peek()
    assert there is not None
    assert set(there.deployments) == {"blue", "theirs"}
    assert (dict(there.traffic), caretaker.removed) == ({"blue": 100}, ["ws-digits-old"])
    place.lease().acquire()  # it was given back


def test_what_got_traffic_meanwhile_is_left_alone(platform: MemoryPlatform, tmp_path: Path) -> None:
    place = site(platform, tmp_path)
    found = leftovers(place, None)
    platform.edit_traffic({"blue": 50, "green": 50})
    assert [one.problem for one in sweep(place, None, found)] == ["it is needed again"]
    assert "delete_deployment" not in platform.calls


def test_what_is_gone_already_is_fine(platform: MemoryPlatform, tmp_path: Path) -> None:
    place = site(platform, tmp_path)
    found = leftovers(place, None)
    platform.remove("green")
    assert [one.problem for one in sweep(place, None, found)] == [None]


def test_while_a_rollout_runs_nothing_is_swept(platform: MemoryPlatform, tmp_path: Path) -> None:
    place = site(platform, tmp_path)
    found = leftovers(place, None)
    platform.edit_tags({LEASE: "elsewhere.1/9/9|1|0"})

    def beat(call: str) -> None:
        if call == "observe":
            platform.edit_tags({LEASE: f"elsewhere.1/9/9|1|{len(platform.calls)}"})

    platform.before = beat
    with pytest.raises(PlanError, match="another rollout"):
        sweep(place, None, found)
    assert "delete_deployment" not in platform.calls


def test_one_that_cannot_be_removed_does_not_keep_the_others(platform: MemoryPlatform, tmp_path: Path) -> None:
    caretaker, place = Caretaker(), site(platform, tmp_path)
    platform.fail_next("delete_deployment", PlatformError("it is busy", hint="Wait."))
    done = sweep(place, caretaker, leftovers(place, caretaker))
    assert [one.problem for one in done] == ["it is busy (Wait.)", None]


def test_an_endpoint_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no endpoint digits"):
        leftovers(site(MemoryPlatform("digits", ManualClock()), tmp_path), None)


GREEN = Leftover(LeftoverKind.DEPLOYMENT, "green", "no traffic", 2, 24.0)
SETTING = Leftover(LeftoverKind.AUTOSCALE, "s", "scales nothing")


def test_the_text_lists_money_and_what_became_of_each() -> None:
    listed = leftovers_text("digits", (GREEN, SETTING), None)
    assert "green  no traffic; $24.00 a day" in listed
    assert listed.endswith("To remove all of it: deployer gc digits --yes")
    done = leftovers_text("digits", (GREEN, SETTING), (Removed(GREEN, "busy"), Removed(SETTING, None)))
    assert "STILL THERE: busy" in done
    assert "scales nothing; removed" in done
    assert "nothing of deployer's" in leftovers_text("digits", (), None)


def test_the_record_says_the_same() -> None:
    record = leftovers_record((GREEN, SETTING), (Removed(GREEN, "busy"), Removed(SETTING, None)), 13)
    assert [(each["removed"], each["problem"]) for each in record["leftovers"]] == [(False, "busy"), (True, None)]
    assert record["usd_per_day"] == 24.0
    assert leftovers_record((SETTING,), None, 0)["usd_per_day"] is None
    assert not leftovers_record((SETTING,), None, 0)["leftovers"][0]["removed"]


@pytest.fixture
def tested(tmp_path: Path) -> tuple[MemoryPlatform, Site]:
    """What a killed profile left."""
    made = MemoryPlatform("digits", ManualClock())
    made.ensure_endpoint({"name": "digits", "tags": {PROFILE: "size"}})
    made.create_deployment(DeploymentSpec("p-0a1b2c", {}, Path(), "d" * 64))
    return made, site(made, tmp_path)


def test_a_test_endpoint_that_a_profile_left_is_removed_with_all_that_is_on_it(
    tested: tuple[MemoryPlatform, Site],
) -> None:
    platform, at = tested
    found = leftovers(at, None)
    assert [(each.kind.value, each.name) for each in found] == [("deployment", "p-0a1b2c"), ("endpoint", "digits")]
    assert [each.problem for each in sweep(at, None, found)] == [None, None]
    assert platform.peek() is None


def test_a_test_endpoint_that_got_traffic_meanwhile_is_not_removed(tested: tuple[MemoryPlatform, Site]) -> None:
    platform, at = tested
    found = leftovers(at, None)
    platform.edit_traffic({"p-0a1b2c": 100})
    assert all(each.problem for each in sweep(at, None, found))
    assert platform.peek() is not None
