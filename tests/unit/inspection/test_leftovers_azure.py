"""What rollouts can leave behind on Azure beside deployments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from surroundings import ENDPOINT, GROUP, REGION, SUBSCRIPTION, Azure

from deployer.cloud.clouds import Workspace
from deployer.errors import ConflictError
from deployer.platforms.inspection.facts import Facts
from deployer.platforms.inspection.leftovers import AzureCaretaker
from deployer.platforms.online.autoscale import HELD
from deployer.platforms.online.specification import record
from deployer.ports.inspection import Leftover, LeftoverKind
from deployer.rollout.model import Phase
from deployer.rollout.tags import DIGEST, PHASE, PREVIOUS, ROLES, ROLLOUT

SETTINGS = f"{GROUP}/providers/Microsoft.Insights/autoscalesettings"
AT = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
BODY = {"location": "westeurope", "properties": {"instanceType": "Standard_F2s_v2"}, "sku": {"capacity": 2}}
RUNNING = {ROLLOUT: "r", PHASE: f"{Phase.SHIFTING.value}:2", ROLES: "green|c|blue|s", DIGEST: "spec"}


class Writing:
    """The same documents, and deletes."""

    def __init__(self, azure: Azure) -> None:
        self._documents = azure.arm
        self.deleted: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    def delete(self, path: str, api_version: str) -> None:
        self.deleted.append(path)
        self._documents.there[SETTINGS] = [s for s in self._documents[SETTINGS] if not path.endswith(s["name"])]


def setting(name: str, deployment: str, *, endpoint: str = ENDPOINT, **tags: str) -> dict[str, Any]:
    return {"name": name, "tags": tags, "properties": {"targetResourceUri": f"{endpoint}/deployments/{deployment}"}}


@pytest.fixture
def azure() -> Azure:
    made = Azure()
    made.arm.there[SETTINGS] = []
    return made


def caretaker(azure: Azure) -> tuple[AzureCaretaker, Writing]:
    arm = Writing(azure)
    facts = Facts(arm, Workspace(SUBSCRIPTION, "rg", "ws"), "digits", azure.platform)  # type: ignore[arg-type]
    return AzureCaretaker(arm, facts, azure.platform, lambda: azure.clock.now().date(), None), arm  # type: ignore[arg-type]


def found(azure: Azure) -> list[tuple[LeftoverKind, str]]:
    endpoint = azure.platform.peek()
    assert endpoint is not None
    return [(each.kind, each.name) for each in caretaker(azure)[0].find(endpoint)]


def test_a_setting_of_ours_whose_deployment_is_gone_is_left_over(azure: Azure) -> None:
    azure.arm.there[SETTINGS] = [setting("ws-digits-old", "old"), setting("ws-digits-blue", "blue")]
    assert found(azure) == [(LeftoverKind.AUTOSCALE, "ws-digits-old")]


@pytest.mark.parametrize(
    "foreign",
    [
        setting("by-hand", "old"),
        setting("ws-digits-old", "old", endpoint=ENDPOINT.replace("digits", "letters")),
        {"name": "ws-digits-old", "properties": {"targetResourceUri": None}},
        {"name": "ws-digits-old"},
    ],
)
def test_what_somebody_else_made_is_not_ours_to_remove(azure: Azure, foreign: dict[str, Any]) -> None:
    azure.arm.there[SETTINGS] = [foreign]
    assert found(azure) == []


def test_a_hold_without_a_rollout_is_left_over(azure: Azure) -> None:
    azure.arm.there[SETTINGS] = [setting("theirs", "blue", **{HELD: "1"})]
    assert found(azure) == [(LeftoverKind.HOLD, "blue")]
    azure.platform.edit_tags(RUNNING)
    assert found(azure) == []


def test_settings_that_may_not_be_seen_are_none(azure: Azure) -> None:
    azure.arm.denied.add(SETTINGS)
    assert found(azure) == []


def test_records_of_versions_that_nobody_returns_to_are_left_over(azure: Azure) -> None:
    azure.arm[ENDPOINT]["tags"] = {
        **record(BODY, "a" * 64).tags,
        **record(BODY, "b" * 64).tags,
        **record(BODY, "c" * 64).tags,
        "owner": "ann",
    }
    azure.platform.edit_tags({PREVIOUS: f"3|green|{'b' * 64}|{AT}"})
    names = [name for kind, name in found(azure) if kind is LeftoverKind.RECORD]
    assert names == ["a" * 12, "c" * 12]
    azure.platform.edit_tags(RUNNING)
    assert found(azure) == []


def test_each_kind_is_removed_after_a_fresh_look_and_twice_does_no_harm(azure: Azure) -> None:
    azure.arm.there[SETTINGS] = [setting("ws-digits-old", "old"), setting("theirs", "blue", **{HELD: "1"})]
    azure.arm[ENDPOINT]["tags"] = record(BODY, "a" * 64).tags
    azure.platform.edit_tags(dict(record(BODY, "a" * 64).tags))
    keeper, arm = caretaker(azure)
    endpoint = azure.platform.peek()
    assert endpoint is not None
    for leftover in keeper.find(endpoint) * 2:
        keeper.remove(leftover)
    assert arm.deleted == [f"{SETTINGS}/ws-digits-old"]
    assert "release_scaling" in azure.platform.calls
    after = azure.platform.peek()
    assert after is not None
    assert not [key for key in after.tags if key.startswith("deployer.spec.")]


def test_what_is_needed_again_is_not_removed(azure: Azure) -> None:
    azure.arm.there[SETTINGS] = [setting("theirs", "blue", **{HELD: "1"})]
    keeper, arm = caretaker(azure)
    azure.platform.edit_tags(RUNNING)
    with pytest.raises(ConflictError, match="a rollout holds blue"):
        keeper.remove(Leftover(LeftoverKind.HOLD, "blue", ""))
    azure.arm.there[SETTINGS] = [setting("ws-digits-green", "green")]
    keeper.remove(Leftover(LeftoverKind.AUTOSCALE, "ws-digits-blue", ""))
    assert arm.deleted == []


def test_the_price_of_a_deployment_is_that_of_its_instance_type(azure: Azure) -> None:
    azure.arm.there[f"{ENDPOINT}/deployments/green"] = {
        "properties": {"endpointComputeType": "Managed", "instanceType": "Standard_F2s_v2"}
    }
    price = caretaker(azure)[0].usd_per_hour("green")
    assert price is not None
    assert price.usd_per_hour == 0.1
    assert caretaker(azure)[0].usd_per_hour("blue") is None


def test_a_list_of_prices_that_cannot_be_read_leaves_the_kept_one_and_no_list_leaves_none(azure: Azure) -> None:
    managed = {"properties": {"endpointComputeType": "Managed", "instanceType": "Standard_F2s_v2"}}
    azure.arm.there |= {f"{ENDPOINT}/deployments/green": managed, f"{ENDPOINT}/deployments/blue": managed}
    azure.arm.denied |= {f"{REGION}/vmSizes", f"{ENDPOINT}/deployments/blue"}
    price = caretaker(azure)[0].usd_per_hour("green")
    assert price is not None
    assert "kept with deployer" in price.source
    assert caretaker(azure)[0].usd_per_hour("blue") is None


def test_a_deployment_on_a_cluster_costs_nothing_extra(azure: Azure) -> None:
    azure.arm.there[f"{ENDPOINT}/deployments/green"] = {
        "properties": {"endpointComputeType": "Kubernetes", "instanceType": "defaultinstancetype"}
    }
    assert caretaker(azure)[0].usd_per_hour("green") is None
