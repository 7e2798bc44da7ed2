"""Where an endpoint lives that a command names: what is said first wins, and silence means the local platform."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployer.cli import base
from deployer.errors import UsageError
from deployer.manifest.schema import PlatformType
from deployer.wiring.where import OPTIONS, place_of

SUB = "00000000-0000-0000-0000-000000000001"
ENV = {"AZURE_SUBSCRIPTION_ID": SUB, "AZUREML_RESOURCE_GROUP": "group", "AZUREML_WORKSPACE_NAME": "space"}


@pytest.fixture
def signed_in(tmp_path: Path) -> dict[str, str]:
    """What `az login`, `az account set` and `az configure --defaults` leave behind."""
    (tmp_path / "config").write_text("[cloud]\nname = AzureUSGovernment\n[defaults]\ngroup = kept\nworkspace = ours\n")
    profile = {"subscriptions": [{"id": "other", "isDefault": False}, {"id": SUB, "isDefault": True}]}
    (tmp_path / "azureProfile.json").write_text(json.dumps(profile), encoding="utf-8-sig")
    return {"AZURE_CONFIG_DIR": str(tmp_path)}


def nowhere(tmp_path: Path) -> dict[str, str]:
    return {"AZURE_CONFIG_DIR": str(tmp_path / "none")}


def test_nothing_said_means_local(tmp_path: Path) -> None:
    assert place_of({}, nowhere(tmp_path)) is None
    assert place_of(dict.fromkeys(OPTIONS), nowhere(tmp_path)) is None


def test_half_an_environment_means_local_too(tmp_path: Path) -> None:
    for name in ENV:
        assert place_of({}, {key: value for key, value in ENV.items() if key != name} | nowhere(tmp_path)) is None


def test_the_environment_names_a_workspace(tmp_path: Path) -> None:
    found = place_of({}, ENV | nowhere(tmp_path))
    assert found is not None
    assert (found.subscription_id, found.resource_group, found.workspace) == (SUB, "group", "space")
    assert (found.platform, found.was_asked, found.cloud) == (PlatformType.MANAGED, False, "")


def test_options_win_over_the_environment(tmp_path: Path) -> None:
    found = place_of({"workspace": "mine", "platform": "kubernetes"}, ENV | nowhere(tmp_path))
    assert found is not None
    assert (found.resource_group, found.workspace, found.platform) == ("group", "mine", PlatformType.KUBERNETES)
    assert found.was_asked


def test_the_environment_wins_over_what_az_keeps(signed_in: dict[str, str]) -> None:
    found = place_of({}, {"AZUREML_WORKSPACE_NAME": "env"} | signed_in)
    assert found is not None
    assert (found.subscription_id, found.resource_group, found.workspace) == (SUB, "kept", "env")


def test_what_az_keeps_is_enough(signed_in: dict[str, str]) -> None:
    found = place_of({}, signed_in)
    assert found is not None
    assert (found.resource_group, found.workspace, found.cloud) == ("kept", "ours", "AzureUSGovernment")


def test_a_cloud_of_your_own_wins_over_the_one_that_az_keeps(signed_in: dict[str, str]) -> None:
    found = place_of({}, signed_in | {"ARM_CLOUD_METADATA_URL": "https://mine"})
    assert found is not None
    assert found.cloud == ""


def test_az_variables_override_its_file(signed_in: dict[str, str]) -> None:
    found = place_of({}, signed_in | {"AZURE_DEFAULTS_WORKSPACE": "override"})
    assert found is not None
    assert found.workspace == "override"


@pytest.mark.parametrize("content", ["", "no ini", "[defaults", "[defaults]\ngroup\n", "\x00\xff"])
def test_a_damaged_file_of_az_is_no_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").write_text(content, encoding="latin-1")
    (tmp_path / "azureProfile.json").write_text("[]" if content else "{")
    assert place_of({}, {"AZURE_CONFIG_DIR": str(tmp_path)}) is None


def test_an_option_without_the_rest_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--subscription, --workspace missing"):
        place_of({"resource_group": "group"}, nowhere(tmp_path))
    with pytest.raises(UsageError, match="--subscription, --resource-group, --workspace missing"):
        place_of({"platform": "managed"}, nowhere(tmp_path))


def test_local_is_local_whatever_the_environment_says(signed_in: dict[str, str]) -> None:
    assert place_of({"platform": "local"}, ENV | signed_in) is None
    with pytest.raises(UsageError, match="takes no --workspace"):
        place_of({"platform": "local", "workspace": "ours"}, ENV)


def test_an_unknown_platform_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no platform aks"):
        place_of({"platform": "aks"}, nowhere(tmp_path))


def test_the_command_line_has_exactly_these_options() -> None:
    assert tuple(base._WHERE) == OPTIONS
