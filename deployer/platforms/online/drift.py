"""Whether a live deployment is what was asked for. Pure.

The service may ignore a setting without a word (Azure/AML-Kubernetes#247: ``instance_type``), so a create is read
back: the body of its PUT against the answer to its GET. What the service adds, or writes in another case or unit, is
no difference; the number of instances is none either, because autoscale and deployer itself change it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

from deployer.manifest.document import mapping_of
from deployer.manifest.quantities import read_amount

INJECTED = re.compile(r"AZUREML_\w+|AML_\w+|HOSTING_\w+|SERVICE_NAME|APPLICATIONINSIGHTS_\w+|MLFLOW_\w+", re.IGNORECASE)
"""Environment variables that the service sets by itself. Source: recordings/04 (AZUREML_MODEL_DIR,
AZUREML_ENTRY_SCRIPT, AML_APP_ROOT); the rest of each family by caution: a false alarm stops a rollout."""
_IGNORED = {("sku",), ("properties", "requestSettings", "maxQueueWait")}
"""``sku`` is capacity; maxQueueWait is deprecated and answered as PT0S (recordings/03)."""
_NOTHING: tuple[Any, ...] = ({}, [])
_SECRETIVE = ("properties", "environmentVariables")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_LABEL = re.compile(r"(.+?)(/labels/[^/]+|@[^/@]+)")
_VERSION = re.compile(r"(.+?)(/versions/[^/]+|:[^/:]+)")

_Path = tuple[str, ...]


def differences(body: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """List what is live otherwise than asked for, a line each; empty: it is what was asked for.

    Args:
        body: of the deployment's PUT.
        live: answer to its GET. The values of environment variables are not in the lines.
    """
    return [*_compare((), body, live), *_added_variables(body, live)]


def _compare(path: _Path, wanted: Any, live: Any) -> Iterator[str]:
    if path in _IGNORED or wanted is None or wanted in _NOTHING:  # not asked for: the service chooses
        return
    if isinstance(wanted, Mapping) and (live is None or isinstance(live, Mapping)):
        for key, value in cast("Mapping[str, Any]", wanted).items():
            yield from _compare((*path, key), value, _find(mapping_of(live), key, exact=path == _SECRETIVE))
    elif isinstance(wanted, list) and isinstance(live, list):
        ours, theirs = cast("list[Any]", wanted), cast("list[Any]", live)
        for n, one in enumerate(ours):
            yield from _compare((*path, str(n)), one, theirs[n] if n < len(theirs) else None)
        if len(theirs) > len(ours):
            yield f"{_name(path)} has {len(theirs)} entries, not {len(ours)}"
    elif not _is_same(path, wanted, live):
        if path[:2] == _SECRETIVE:
            yield f"{_name(path)} is {'not set' if live is None else 'another value'}"
        else:
            yield f"{_name(path)} is {'not set' if live is None else live}, not {wanted}"


def _name(path: _Path) -> str:
    return ".".join(path[1:] if path[0] == "properties" else path)


def _added_variables(body: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[str]:
    wanted, found = (mapping_of(mapping_of(side.get("properties")).get(_SECRETIVE[1])) for side in (body, live))
    for name in found:
        if name not in wanted and not INJECTED.fullmatch(name):
            yield f"{_SECRETIVE[1]}.{name} is set, though it was not asked for"


def _find(live: Mapping[str, Any], key: str, *, exact: bool) -> Any:
    if exact or key in live:
        return live.get(key)
    return next((value for name, value in live.items() if name.lower() == key.lower()), None)


def _is_same(path: _Path, wanted: Any, live: Any) -> bool:
    if wanted == live:
        return True
    if isinstance(wanted, bool) or live is None:
        return wanted is False and live is None  # what is off may be left out
    if path[:2] == _SECRETIVE or path[0] == "tags":
        return str(wanted) == str(live)
    return (
        (_seconds(wanted) is not None and _seconds(wanted) == _seconds(live))
        or (read_amount(wanted) is not None and read_amount(wanted) == read_amount(live))
        or _is_same_text(path, str(wanted), str(live))
    )


def _is_same_text(path: _Path, wanted: str, live: str) -> bool:
    if path == ("location",):
        wanted, live = wanted.replace(" ", ""), live.replace(" ", "")
    if wanted.lower() == live.lower():
        return True
    labelled, versioned = _LABEL.fullmatch(wanted.lower()), _VERSION.fullmatch(live.lower())
    # "the latest" was resolved by the service
    return labelled is not None and versioned is not None and labelled[1] == versioned[1]


def _seconds(value: Any) -> float | None:
    found = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) > 2 else None
    if found is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
