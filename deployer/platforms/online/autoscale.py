"""Azure Monitor's autoscale settings of managed deployments: copied to the candidate, held on the stable.

A setting belongs to one deployment and changes its number of instances behind everybody's back: a candidate without one
cannot grow with its traffic, and a stable without traffic shrinks just when it may be needed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from deployer.errors import PlatformError
from deployer.platforms.online.endpoint_resource import POLL_S, Deadline, EndpointResource
from deployer.platforms.online.reading import capacity_of

API = "2022-10-01"
HELD = "deployer.minimum"
"""Tag on a held setting: minimum and default of each profile as they were, such as ``2/2,1/1``."""
PAUSED = "deployer.paused"
"""Tag on a setting that deployer switched off."""
SHOWS_S = 30.0
_KEPT = ("location", "tags")


class Autoscale:
    """Autoscale settings of the deployments of one endpoint."""

    def __init__(self, resource: EndpointResource) -> None:
        self._resource = resource
        space = resource.workspace
        self._path = (
            f"/subscriptions/{space.subscription_id}/resourceGroups/{space.resource_group}"
            "/providers/Microsoft.Insights/autoscalesettings"
        )

    def match(self, name: str, like: str) -> str:
        """Copy the rules of ``like`` to ``name`` and hold ``like``. See ``ports.platform.Platform.match_scaling``."""
        settings = self._all()
        theirs = self._of(like, settings)
        if theirs is None:
            return f"{like} has no autoscale rules: nothing to copy"
        document = self._resource.deployment(like)
        live = capacity_of(document) if document else 0
        held = self._hold(theirs, live)
        said = f"{like} held at {live} instances or more" if held else f"{like} needs no hold"
        if self._of(name, settings) is not None:
            return f"{name} has autoscale rules of its own; {said}"
        self._put(_own_name(self._resource, name), _copied(theirs, like, name, self._resource))
        return f"{name} got the autoscale rules of {like}; {said}"

    def release(self, name: str) -> None:
        """Undo the hold on ``name`` and have its rules work again, where deployer has changed either."""
        setting = self._of(name, self._all())
        if setting is not None and {HELD, PAUSED} & _body(setting)["tags"].keys():
            self._put(_name(setting), _resumed(_unheld(setting)))

    def require(self, name: str, instances: int) -> None:
        """Raise the minimum of ``name`` to ``instances``, so that no rule takes them away again."""
        setting = self._of(name, self._all())
        if setting is None:
            return
        body = _body(setting)
        if PAUSED in body["tags"]:
            self._put(_name(setting), body := _resumed(body))
        self._hold({**setting, **body}, instances)

    def pause(self, name: str) -> None:
        """Switch the rules of ``name`` off: they would give back what is to be taken away."""
        setting = self._of(name, self._all())
        if setting is not None and _properties(setting).get("enabled", True):
            body = _body(setting)
            body["properties"]["enabled"] = False
            body["tags"][PAUSED] = "1"
            self._put(_name(setting), body)

    def resume(self, name: str) -> None:
        """Switch the rules of ``name`` on again, where deployer has switched them off."""
        setting = self._of(name, self._all())
        if setting is not None and PAUSED in _body(setting)["tags"]:
            self._put(_name(setting), _resumed(_body(setting)))

    def delete(self, name: str) -> None:
        """Delete the setting of ``name``, if there is one: it would be left without a target."""
        setting = self._of(name, self._all())
        if setting is not None:
            self._resource.arm.delete(f"{self._path}/{_name(setting)}", API)

    def _all(self) -> list[dict[str, Any]]:
        return self._resource.arm.list(self._path, API)

    def _of(self, name: str, settings: list[dict[str, Any]]) -> dict[str, Any] | None:
        target = self._resource.deployment_path(name).lower()
        found = [each for each in settings if str(_properties(each).get("targetResourceUri")).lower() == target]
        return found[0] if found else None

    def _hold(self, setting: Mapping[str, Any], instances: int) -> bool:
        """Raise each profile's minimum to ``instances`` (never above its maximum); whether that was needed."""
        body = _body(setting)
        before = [f"{each['capacity']['minimum']}/{each['capacity'].get('default')}" for each in _profiles(body)]
        for profile in _profiles(body):
            capacity = profile["capacity"]
            least = max(int(capacity["minimum"]), min(instances, int(capacity["maximum"])))
            capacity["minimum"] = str(least)
            capacity["default"] = str(max(least, int(capacity.get("default") or least)))
        if _minima(body) == _minima(setting):
            return False
        body["tags"].setdefault(HELD, ",".join(before))
        self._put(_name(setting), body)
        return True

    def _put(self, name: str, body: Mapping[str, Any]) -> None:
        """Write a setting; return once a read shows it."""
        path, deadline = f"{self._path}/{name}", Deadline(self._resource.clock, SHOWS_S)
        self._resource.arm.put(path, API, body)
        while True:
            shown = self._resource.arm.get(path, API)
            if shown is not None and _told(shown) == _told(body):
                return
            if deadline.has_passed:
                raise PlatformError(
                    f"autoscale setting {name} does not show what was written", hint="Look at it in the portal."
                )
            deadline.pause(POLL_S)


def _properties(setting: Mapping[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", setting.get("properties") or {})


def _profiles(setting: Mapping[str, Any]) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", _properties(setting).get("profiles") or [])


def _minima(setting: Mapping[str, Any]) -> list[str]:
    return [str(profile["capacity"]["minimum"]) for profile in _profiles(setting)]


def _told(setting: Mapping[str, Any]) -> tuple[list[str], bool]:
    """What shows that a write has arrived."""
    return _minima(setting), bool(_properties(setting).get("enabled", True))


def _name(setting: Mapping[str, Any]) -> str:
    return str(setting.get("name") or str(setting.get("id")).rpartition("/")[2])


def _body(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a setting as it may be written back."""
    kept = {key: setting[key] for key in _KEPT if setting.get(key) is not None}
    body = cast("dict[str, Any]", json.loads(json.dumps({**kept, "properties": _properties(setting)})))
    body.setdefault("tags", {})
    return body


def _unheld(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a setting as it was before it was held."""
    body = _body(setting)
    before = str(body["tags"].pop(HELD, "")).split(",")
    for profile, (minimum, slash, default) in zip(
        _profiles(body), [each.partition("/") for each in before], strict=False
    ):
        if slash:
            profile["capacity"] |= {"minimum": minimum, "default": default}
    return body


def _resumed(body: dict[str, Any]) -> dict[str, Any]:
    """Switch ``body`` on again if deployer switched it off; return it."""
    if body["tags"].pop(PAUSED, None):
        body["properties"]["enabled"] = True
    return body


def _copied(setting: Mapping[str, Any], like: str, name: str, resource: EndpointResource) -> dict[str, Any]:
    """The rules of ``like`` for ``name``: on its metrics and its instances, with none of the hold."""
    text = json.dumps(_unheld(setting))
    old, new = json.dumps(resource.deployment_path(like)), json.dumps(resource.deployment_path(name))
    body = cast("dict[str, Any]", json.loads(re.sub(re.escape(old), lambda _: new, text, flags=re.IGNORECASE)))
    _resumed(body)
    body["properties"]["name"] = _own_name(resource, name)
    rules = [rule for profile in _profiles(body) for rule in cast("list[dict[str, Any]]", profile.get("rules") or [])]
    for trigger in (cast("dict[str, Any]", rule.get("metricTrigger") or {}) for rule in rules):
        for dimension in cast("list[dict[str, Any]]", trigger.get("dimensions") or []):
            _rename(dimension, like, name)
    return body


def _rename(dimension: dict[str, Any], like: str, name: str) -> None:
    """Let a rule on the endpoint's metrics look at ``name`` where it looked at ``like``."""
    if str(dimension.get("DimensionName")).lower() == "deployment":
        values: list[str] = dimension.get("Values") or []
        dimension["Values"] = [name if value.lower() == like.lower() else value for value in values]


def _own_name(resource: EndpointResource, deployment: str) -> str:
    """Settings share one name space in their resource group."""
    return f"{resource.workspace.name}-{resource.name}-{deployment}"
