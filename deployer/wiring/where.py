"""Where an endpoint lives that a command names: options, else the environment, else what `az configure` keeps."""

from __future__ import annotations

import configparser
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.errors import UsageError
from deployer.manifest.schema import PlatformType

OPTIONS = ("platform", "subscription", "resource_group", "workspace", "cloud")
"""Names of the command line's options about it."""


@dataclass(frozen=True, slots=True)
class Place:
    """An Azure ML workspace, and the kind of its endpoint."""

    platform: PlatformType
    subscription_id: str
    resource_group: str
    workspace: str
    cloud: str
    """Empty: the one that ARM_CLOUD_METADATA_URL belongs to, else AzureCloud."""
    was_asked: bool = True
    """The command line names it; else it is only what the environment would have meant."""


def place_of(options: Mapping[str, str | None], env: Mapping[str, str]) -> Place | None:
    """Find the workspace that ``options`` or else ``env`` name; None: the local platform is meant.

    Raises:
        UsageError: an option names Azure and something is missing, or the platform is unknown.
    """
    given = {name: value for name, value in options.items() if value}
    platform = _platform(given.get("platform"))
    if platform is PlatformType.LOCAL:
        others = ", ".join(f"--{name.replace('_', '-')}" for name in given if name != "platform")
        if others:
            raise UsageError(f"--platform local takes no {others}", hint="Leave them out.")
        return None
    kept = _kept(env)
    found = {
        "subscription": given.get("subscription") or env.get("AZURE_SUBSCRIPTION_ID") or _subscription(env),
        "resource_group": given.get("resource_group") or env.get("AZUREML_RESOURCE_GROUP") or kept.get("group"),
        "workspace": given.get("workspace") or env.get("AZUREML_WORKSPACE_NAME") or kept.get("workspace"),
    }
    missing = [f"--{name.replace('_', '-')}" for name, value in found.items() if not value]
    if missing and not given:
        return None
    if missing:
        raise UsageError(
            f"the endpoint's workspace is not known: {', '.join(missing)} missing",
            hint="Give the options, or set AZURE_SUBSCRIPTION_ID, AZUREML_RESOURCE_GROUP and AZUREML_WORKSPACE_NAME.",
        )
    return Place(
        platform or PlatformType.MANAGED,
        str(found["subscription"]),
        str(found["resource_group"]),
        str(found["workspace"]),
        cloud_of(given.get("cloud"), env),
        was_asked=bool(given),
    )


def cloud_of(asked: str | None, env: Mapping[str, str]) -> str:
    """Name the cloud that is meant where a manifest or an option asks for ``asked``, or for none: the same for both.

    Else a rollout by its manifest and a rollback by name would be of different clouds. Empty: see ``Place.cloud``.
    """
    return asked or _kept(env).get("cloud", "")


def _platform(word: str | None) -> PlatformType | None:
    if word is None:
        return None
    if word not in list(PlatformType):
        raise UsageError(f"there is no platform {word}", hint=f"Choose one of {', '.join(PlatformType)}.")
    return PlatformType(word)


def _folder(env: Mapping[str, str]) -> Path:
    return Path(env.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")


def _kept(env: Mapping[str, str]) -> dict[str, str]:
    """Defaults of `az configure --defaults group=... workspace=...`, and the cloud of `az cloud set`.

    Source: github.com/microsoft/knack, config.py: INI sections, each overridden by AZURE_{SECTION}_{NAME}.
    """
    parser = configparser.RawConfigParser()
    with suppress(OSError, UnicodeDecodeError, configparser.Error):
        parser.read(_folder(env) / "config", encoding="utf-8-sig")
    found: dict[str, str] = {}
    for key, section, name in (("group", "defaults", "group"), ("workspace", "defaults", "workspace")):
        value = env.get(f"AZURE_{section}_{name}".upper()) or parser.get(section, name, fallback="")
        if value:
            found[key] = value
    cloud = env.get("AZURE_CLOUD_NAME") or parser.get("cloud", "name", fallback="")
    return found | ({"cloud": cloud} if cloud and "ARM_CLOUD_METADATA_URL" not in env else {})


def _subscription(env: Mapping[str, str]) -> str | None:
    """The subscription that `az account set` chose; None: nobody is signed in."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        profile: dict[str, Any] = json.loads((_folder(env) / "azureProfile.json").read_text(encoding="utf-8-sig"))
        chosen = [each for each in profile.get("subscriptions", ()) if each.get("isDefault")]
        return str(chosen[0]["id"]) if chosen else None
    return None
