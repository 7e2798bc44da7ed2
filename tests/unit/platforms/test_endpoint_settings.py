"""What an endpoint's file says and an existing endpoint does not have."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.platforms.online.endpoint_settings import differences

LIVE: dict[str, Any] = {
    "identity": {"type": "SystemAssigned"},
    "tags": {"owner": "us", "other": "kept"},
    "properties": {"authMode": "Key", "publicNetworkAccess": "Enabled", "description": "d", "properties": {"a": "1"}},
}
SAME: dict[str, Any] = {
    "name": "digits",
    "auth_mode": "key",
    "description": "d",
    "public_network_access": "enabled",
    "identity": {"type": "system_assigned"},
    "tags": {"owner": "us"},
    "properties": {"a": 1},
}


def test_an_endpoint_that_is_as_its_file_says_differs_in_nothing() -> None:
    assert differences(SAME, LIVE) == []
    assert differences({"name": "digits", "description": "another"}, LIVE) == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"auth_mode": "aad_token"}, "auth_mode is Key, endpoint.yml says AADToken"),
        ({"public_network_access": "disabled"}, "public_network_access is Enabled, endpoint.yml says Disabled"),
        (
            {
                "identity": {
                    "type": "user_assigned",
                    "user_assigned_identities": ["/x/userAssignedIdentities/B", "/y/a"],
                }
            },
            "identity is system-assigned, endpoint.yml says a, b",
        ),
        ({"tags": {"owner": "them"}}, "tags.owner is us, endpoint.yml says them"),
        ({"tags": {"team": "x"}}, "tags.team is not set, endpoint.yml says x"),
        ({"properties": {"a": 2}}, "properties.a is 1, endpoint.yml says 2"),
    ],
)
def test_a_setting_that_differs_is_named_with_both_values(setting: dict[str, Any], said: str) -> None:
    assert differences({**SAME, **setting}, LIVE) == [said]


def test_identities_are_the_same_in_any_case_and_order() -> None:
    live = {**LIVE, "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/x/A": {}, "/x/b": {}}}}
    named = {"type": "user_assigned", "user_assigned_identities": [{"resource_id": "/x/b"}, "/x/a"]}
    assert differences({"identity": named}, live) == []
    assert differences({"identity": {"type": "system_assigned"}}, live) == [
        "identity is a, b, endpoint.yml says system-assigned"
    ]


def test_a_long_text_is_cut() -> None:
    assert len(differences({"properties": {"a": "x" * 500}}, LIVE)[0]) < 130
