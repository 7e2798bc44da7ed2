"""What a version was deployed as, kept in the endpoint's tags, so that it can be made again after it was deleted. Pure.

A rollback to a version whose deployment is gone must need neither the manifest nor this machine: the body of its PUT
is compressed into a few tags. They are readable for whoever may read the endpoint, so what looks like a secret stays
out, and then the version cannot be made again from here. They are writable for whoever may write tags: what is read
back is checked against damage and the digest, but it is not signed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from deployer.manifest.document import mapping_of
from deployer.platforms.online.secrecy import holds_secret, is_secret

PREFIX = "deployer.spec."
VALUE_MAX = 256
"""Characters of a tag's value (learn.microsoft.com, azure-resource-manager/management/tag-resources)."""
CHUNKS_MAX = 12
"""Tags a version may take. A resource has 50 in all; a typical body takes 2."""
_BODY_MAX = 65_536
"""Bytes of JSON: no honest body is near it, and a hostile tag must not inflate without end."""
_DIGEST_CHARS = 12
_REGISTRY = re.compile(
    r"subscriptions/[^/]+/resourcegroups/[^/]+/providers/microsoft\.machinelearningservices/registries/"
)
_HEAD = re.compile(r"(\d):(\d{1,2}):([0-9a-f]{8}):(.*)", re.DOTALL)
_FORMAT = "1"
_VARIABLES = ("environmentVariables", "properties")
"""Members of ``properties`` in which users put names and values of their own."""

_WORDS = (
    b'"tags":{"deployer.digest":"sku":{"capacity":"name":"Default""dataCollector":{"collections":{"model_inputs":{'
    b'"dataCollectionMode":"Enabled""rollingRate":"Hour""samplingRate":1.0"containerResourceRequirements":'
    b'{"containerResourceLimits":{"cpu":"memory":"Gi""containerResourceRequests":"egressPublicNetworkAccess":"modelMountPath":'
    b'"targetUtilizationPercentage":"pollingInterval":"minInstances":"maxInstances":"scaleType":"TargetUtilization""description":'
    b'"environmentVariables":{"WORKER_COUNT":"azureml://registries/azureml/environments//versions/"Kubernetes""instanceType":"Standard_DS'
    b'{"body":{"location":"westeurope""eastus2""properties":{"appInsightsEnabled":false,true,"codeConfiguration":{"codeId":'
    b'"/subscriptions//resourceGroups//providers/Microsoft.MachineLearningServices/workspaces//codes//versions/1","scoringScript":'
    b'"score.py"},"endpointComputeType":"Managed","environmentId":"/environments/CliV2AnonymousEnvironment/versions/'
    b'"livenessProbe":{"failureThreshold":30,"initialDelay":"PT10S","period":"PT10S","successThreshold":1,"timeout":"PT2S"},'
    b'"model":"/models//versions/"readinessProbe":"requestSettings":{"maxConcurrentRequestsPerInstance":"requestTimeout":"PT1M30S"},'
    b'"scaleSettings":{"scaleType":"Default"},"digest":"omitted":[]}'
)
"""What most bodies contain: a preset dictionary for zlib. Part of format 1: never change it, add a format."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is kept of a version."""

    tags: Mapping[str, str]
    """To merge into the endpoint's."""
    omitted: tuple[str, ...] = ()
    """Settings left out because they look like secrets: the version cannot be made again from the tags alone."""
    problem: str = ""
    """Why nothing is kept; empty: it is."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was kept of a version."""

    body: Mapping[str, Any]
    """Of the deployment's PUT."""
    missing: tuple[str, ...] = ()
    """Settings that it had and that were not kept. Not empty: making it again from ``body`` would make another one."""


def record(body: Mapping[str, Any], digest: str, *, room: int = CHUNKS_MAX, home: str = "") -> Recording:
    """Write ``body`` as tags of the endpoint.

    Args:
        body: of the deployment's PUT.
        digest: hex SHA-256 of the version.
        room: tags that are free for it.
        home: id of the workspace: what names assets of another one would not be read back. Empty: not checked.
    """
    foreign = _foreign_assets(body, home)
    if foreign:
        return Recording({}, problem=f"its {' and its '.join(foreign)} belongs to another workspace")
    kept, omitted = _without_secrets(body)
    if any(holds_secret(text) for text in _texts(kept)):
        return Recording({}, problem="its specification has a secret outside its environment variables")
    content = {"body": kept, "digest": digest, "omitted": omitted}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > _BODY_MAX:
        return Recording({}, problem=f"its specification has {len(text)} bytes, at most {_BODY_MAX} are kept")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _WORDS)
    packed = base64.urlsafe_b64encode(packer.compress(text) + packer.flush()).decode()
    check = hashlib.sha256(packed.encode()).hexdigest()[:8]
    count = _chunks_for(len(packed))
    free = min(room, CHUNKS_MAX)
    if count > free:
        return Recording({}, problem=f"its specification takes {count} tags of the endpoint, {free} are free")
    whole = f"{_FORMAT}:{count}:{check}:{packed}"
    chunks = (whole[start : start + VALUE_MAX] for start in range(0, len(whole), VALUE_MAX))
    return Recording({_key(digest, n): chunk for n, chunk in enumerate(chunks)}, tuple(omitted))


def recorded(tags: Mapping[str, str], digest: str, *, home: str = "") -> Recorded | None:
    """Read what was kept of the version ``digest``; None when nothing was, or when it is damaged in any way.

    Args:
        tags: of the endpoint.
        digest: hex SHA-256 of the version.
        home: id of the workspace: a record that names assets of another one is not ours. Empty: not checked.
    """
    try:
        content = _unpack(_joined(tags, digest))
        body, omitted = content["body"], content["omitted"]
        is_whole = (
            content["digest"] == digest
            and isinstance(body["location"], str)
            and isinstance(body["properties"], dict)
            and all(isinstance(name, str) for name in omitted)
            and not _foreign_assets(body, home)
        )
    except (ValueError, KeyError, TypeError, RecursionError, zlib.error):
        return None
    return Recorded(body, tuple(omitted)) if is_whole else None


def stale(tags: Mapping[str, str], keep_digests: Collection[str]) -> list[str]:
    """Keys of what is kept of other versions than ``keep_digests``, and of damaged or outdated leftovers."""
    keep: set[str] = set()
    for digest in keep_digests:
        head = _HEAD.fullmatch(tags.get(_key(digest, 0), ""))
        keep |= {_key(digest, n) for n in range(int(head[2]))} if head else set()
    return sorted(key for key in tags if key.startswith(PREFIX) and key not in keep)


def _foreign_assets(body: Mapping[str, Any], home: str) -> list[str]:
    """Which of model, environment and code are neither of the workspace ``home`` nor of a registry.

    Only these decide what runs. An ARM id in an environment variable names whatever it likes.
    """
    properties = mapping_of(body.get("properties"))
    named = {
        "model": properties.get("model"),
        "environment": properties.get("environmentId"),
        "code": mapping_of(properties.get("codeConfiguration")).get("codeId"),
    }
    return [what for what, id_ in named.items() if home and not _is_at_home(str(id_ or ""), home)]


def _is_at_home(id_: str, home: str) -> bool:
    plain = id_.lower().removeprefix("azureml:").lstrip("/")
    is_known = not plain.startswith("subscriptions/") or _REGISTRY.match(plain) is not None
    return is_known or plain.startswith(f"{home.lower().lstrip('/')}/")


def _key(digest: str, n: int) -> str:
    return f"{PREFIX}{digest[:_DIGEST_CHARS]}.{n}"


def _chunks_for(length: int) -> int:
    count = 1
    while length + len(f"{_FORMAT}:{count}:01234567:") > count * VALUE_MAX:
        count += 1
    return count


def _joined(tags: Mapping[str, str], digest: str) -> str:
    head = _HEAD.fullmatch(tags[_key(digest, 0)])
    if head is None:
        raise ValueError
    return "".join(tags[_key(digest, n)] for n in range(int(head[2])))


def _unpack(whole: str) -> dict[str, Any]:
    head = _HEAD.fullmatch(whole)
    if head is None or head[1] != _FORMAT or hashlib.sha256(head[4].encode()).hexdigest()[:8] != head[3]:
        raise ValueError
    unpacker = zlib.decompressobj(-15, _WORDS)
    text = unpacker.decompress(base64.b64decode(head[4], altchars=b"-_", validate=True), _BODY_MAX)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError
    return json.loads(text)


def _without_secrets(body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A copy of ``body`` without the settings that look like secrets, and their names."""
    properties, omitted = dict(mapping_of(body.get("properties"))), list[str]()
    for member in _VARIABLES:
        values = mapping_of(properties.get(member))
        secret = sorted(name for name, value in values.items() if is_secret(name, str(value)))
        if secret:
            properties[member] = {name: value for name, value in values.items() if name not in secret}
            omitted += secret
    return {**body, "properties": properties}, omitted


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in cast("Mapping[str, Any]", value).items():
            yield key
            yield from _texts(each)
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _texts(each)
