"""Actions, as tests derive them from what was called."""

from __future__ import annotations

import pytest
from azure_actions import action_of

SPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
ML = "Microsoft.MachineLearningServices"


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", SPACE, f"{ML}/workspaces/read"),
        ("GET", f"{SPACE}/onlineEndpoints/e/deployments", f"{ML}/workspaces/onlineEndpoints/deployments/read"),
        ("PUT", f"{SPACE}/onlineEndpoints/e/deployments/d", f"{ML}/workspaces/onlineEndpoints/deployments/write"),
        ("PATCH", f"{SPACE}/onlineEndpoints/e", f"{ML}/workspaces/onlineEndpoints/write"),
        ("POST", f"{SPACE}/onlineEndpoints/e/listKeys", f"{ML}/workspaces/onlineEndpoints/listKeys/action"),
        ("GET", f"{SPACE}/providers/Microsoft.Authorization/permissions", "Microsoft.Authorization/permissions/read"),
        ("GET", f"/subscriptions/s/providers/{ML}/locations/l/usages", f"{ML}/locations/usages/read"),
        ("GET", "/metadata/endpoints", None),
        ("POST", "/inference/digits/score", None),
    ],
)
def test_an_action_follows_from_method_and_address(method: str, path: str, action: str | None) -> None:
    assert action_of(method, path) == action
