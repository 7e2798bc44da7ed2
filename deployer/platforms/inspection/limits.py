"""What managed and Kubernetes online endpoints allow, as data, and what of a deployment goes beyond it. Pure.

Azure refuses these after minutes, or accepts and ignores them; a plan refuses them at once. ``problems`` never passes,
``warnings`` is only said.

Source: learn.microsoft.com/azure/machine-learning/how-to-manage-quotas (MicrosoftDocs/azure-ai-docs at 0c509fa),
reference-yaml-deployment-managed-online (280c976) and -kubernetes-online (248e379), how-to-manage-kubernetes-instance-
types (198cec0), how-to-safely-rollout-online-endpoints; read 2026-11-25.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from deployer.manifest.document import at, mapping_of
from deployer.manifest.problems import dotted, shown
from deployer.manifest.quantities import read_amount
from deployer.manifest.schema import NAME_PATTERN

NAME_CHARS = (3, 32)
"""Shortest and longest name of an endpoint and of a deployment."""
INJECTED = frozenset({"AZUREML_MODEL_DIR", "AZUREML_ENTRY_SCRIPT", "AML_APP_ROOT"})
"""Environment variables that the service sets itself.

Source: recorded deployment (azure/recordings/04).
"""

_TIMEOUT = ("request_settings", "request_timeout_ms")
_CONCURRENT = ("request_settings", "max_concurrent_requests_per_instance")
_PROBES = ("liveness_probe", "readiness_probe")
_PROBE_KEYS = ("initial_delay", "period", "timeout", "success_threshold", "failure_threshold")
_SCALE = ("scale_settings", "type")
_LEAST_MEMORY = 1_000_000
_DEFAULT_SIZE = "0.1 cores and 2Gi"
_HIGHLY_AVAILABLE = 3
_TIGHT_S = 0.1
"""An average answer has to be slower than this for the number of places not to be worth a word."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one kind of endpoint allows. None: no limit, or not known."""

    platform: str
    deployments: int
    """Of one endpoint."""
    instances: int | None
    """Of one deployment."""
    request_timeout_ms: int
    names_together: tuple[int, int] | None
    """Fewest and most characters of endpoint's and deployment's name together."""
    mirror_pct: int
    """Most traffic that is mirrored, to one deployment; 0: none."""
    scale_types: tuple[str, ...]
    """What ``scale_settings.type`` may be."""
    autoscale: str
    """What changes the number of instances by itself."""
    has_resources: bool
    """``resources.requests`` and ``limits`` are read."""
    needs_instance_type: bool
    has_egress_switch: bool
    """``egress_public_network_access`` is read."""
    rps: int | None
    """Requests a second of the whole endpoint, mirrored ones included."""
    connections: int | None
    """Open at once, and again new ones a second."""
    bandwidth_mbps: int | None
    """Megabytes a second of the whole endpoint in both directions; what is over it is delayed, not refused."""


LIMITS = MappingProxyType(
    {
        "managed": Limits(
            platform="managed",
            deployments=20,
            instances=50,
            request_timeout_ms=180_000,
            names_together=None,
            mirror_pct=50,
            scale_types=("default",),
            autoscale="Azure Monitor autoscale",
            has_resources=False,
            needs_instance_type=True,
            has_egress_switch=True,
            rps=500,
            connections=500,
            bandwidth_mbps=5,
        ),
        "kubernetes": Limits(
            platform="kubernetes",
            deployments=20,
            instances=None,
            request_timeout_ms=300_000,
            names_together=(6, 62),
            mirror_pct=0,
            scale_types=("default", "target_utilization"),
            autoscale="scale_settings.type: target_utilization",
            has_resources=True,
            needs_instance_type=False,
            has_egress_switch=False,
            rps=None,
            connections=None,
            bandwidth_mbps=None,
        ),
    }
)
"""By the manifest's word for the platform. Platforms that are not Azure's have none."""


def problems(
    document: Mapping[str, Any], endpoint_name: str, platform_type: str, stable_names: Collection[str] = ()
) -> list[str]:
    """Say what of a deployment the platform does not allow; empty when all is well or the platform has no such limits.

    Args:
        document: the deployment as its YAML has it, with the ``name`` that the plan chose.
        endpoint_name: of the endpoint it goes to.
        platform_type: ``managed`` or ``kubernetes``.
        stable_names: deployments that are on the endpoint already.
    """
    limits = LIMITS.get(platform_type)
    if limits is None:
        return []
    return [
        *_names(document.get("name"), endpoint_name, limits),
        *_numbers(document, limits, stable_names),
        *_probes(document),
        *_scaling(document, limits),
        *_kinds(document, limits),
        *(_resources(document) if limits.has_resources else ()),
        *_variables(document),
    ]


def warnings(document: Mapping[str, Any], platform_type: str, *, rps: float | None = None) -> list[str]:
    """Say what of a deployment is allowed and probably not wanted.

    Args:
        document: the deployment as its YAML has it.
        platform_type: ``managed`` or ``kubernetes``.
        rps: requests a second that the endpoint will get, when known.
    """
    limits = LIMITS.get(platform_type)
    if limits is None:
        return []
    return [*_concurrency(document, rps), *met_by(platform_type, rps=rps), *_sizes(document, limits)]


def met_by(platform_type: str, *, rps: float | None, connections: int = 0, payload_bytes: int = 0) -> list[str]:
    """Say which limits of an endpoint a load meets; what is not known of it meets none.

    Args:
        platform_type: the manifest's word; on one without limits nothing is met.
        rps: requests a second at the peak.
        connections: most that may be open at once.
        payload_bytes: size of a request on average.
    """
    limits = LIMITS.get(platform_type)
    return list(_met_by(limits, rps or 0.0, connections, payload_bytes)) if limits else []


def _names(name: Any, endpoint: str, limits: Limits) -> Iterator[str]:
    for what, value in (("endpoint", endpoint), ("deployment", name)):
        least, most = NAME_CHARS
        if isinstance(value, str) and not (least <= len(value) <= most and re.fullmatch(NAME_PATTERN, value)):
            rule = "letters, digits and single hyphens, a letter first"
            yield f"{what} name {shown(value)} is not {least} to {most} {rule}"
    if limits.names_together is not None and isinstance(name, str):
        least, most = limits.names_together
        if not least <= len(endpoint) + len(name) <= most:
            yield (
                f"the names of endpoint and deployment have {len(endpoint) + len(name)} characters together; "
                f"{least} to {most} are allowed"
            )


def _numbers(document: Mapping[str, Any], limits: Limits, others: Collection[str]) -> Iterator[str]:
    instances, timeout = document.get("instance_count", 1), at(document, _TIMEOUT)
    if limits.instances is not None and isinstance(instances, int) and instances > limits.instances:
        yield f"instance_count {instances} is over {limits.instances}"
    if isinstance(timeout, int) and timeout > limits.request_timeout_ms:
        yield f"{dotted(_TIMEOUT)} {timeout} is over {limits.request_timeout_ms}"
    together = len({*others, str(document.get("name", ""))})
    if together > limits.deployments:
        yield f"the endpoint would have {together} deployments; {limits.deployments} are allowed"


def _probes(document: Mapping[str, Any]) -> Iterator[str]:
    for probe in _PROBES:
        for key in _PROBE_KEYS:
            value = at(document, (probe, key))
            if isinstance(value, int) and value < 1:
                yield f"{probe}.{key} {value} is below 1"
    if (at(document, ("liveness_probe", "success_threshold")) or 1) != 1:
        yield "liveness_probe.success_threshold can only be 1"


def _scaling(document: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    kind = at(document, _SCALE)
    if isinstance(kind, str) and kind.lower() not in limits.scale_types:
        yield f"scale_settings.type {shown(kind)} is not supported; {limits.autoscale} changes instances there"
        return
    if isinstance(kind, str) and kind.lower() == "target_utilization":
        least = at(document, ("scale_settings", "min_instances")) or 1
        most = at(document, ("scale_settings", "max_instances")) or 1
        used = at(document, ("scale_settings", "target_utilization_percentage"))
        if isinstance(least, int) and isinstance(most, int) and not 1 <= least <= most:
            yield f"scale_settings: min_instances {least} and max_instances {most} do not fit together"
        if isinstance(used, int) and not 1 <= used <= 100:
            yield f"scale_settings.target_utilization_percentage {used} is not 1 to 100"


def _kinds(document: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    if limits.needs_instance_type and not document.get("instance_type"):
        yield "instance_type is missing"
    if not limits.has_resources and "resources" in document:
        yield "resources is for Kubernetes only; instance_type says the size"
    if not limits.has_egress_switch and "egress_public_network_access" in document:
        yield "egress_public_network_access is for managed only; the cluster's network decides"


def _resources(document: Mapping[str, Any]) -> Iterator[str]:
    given = {
        (part, key): value
        for part in ("requests", "limits")
        for key, value in mapping_of(at(document, ("resources", part))).items()
    }
    sizes: dict[tuple[str, str], float] = {}
    for (part, key), value in given.items():
        size = quantity(key, value)
        where = f"resources.{part}.{key}"
        if size is None or size <= 0:
            yield f"{where} {shown(value)} is no amount such as {_EXAMPLES.get(key, '1')}"
        elif key == "memory" and size < _LEAST_MEMORY:
            yield f"{where} {shown(value)} is below 1 MB"
        else:
            sizes[part, key] = size
    yield from _beyond(given, sizes)


def _beyond(given: Mapping[tuple[str, str], Any], sizes: Mapping[tuple[str, str], float]) -> Iterator[str]:
    for (part, key), size in sizes.items():
        most = sizes.get(("limits", key))
        if part == "requests" and most is not None and size > most:
            yield f"resources.requests.{key} {given[part, key]} is over limits.{key} {given['limits', key]}"
    gpus = [part for part, key in given if key in _GPU]
    if "requests" in gpus:
        yield "GPUs are written in resources.limits only"
    if "limits" in gpus and not {("limits", "cpu"), ("limits", "memory")} <= given.keys():
        yield "resources.limits with GPUs needs cpu and memory too"
    if given:
        yield from (
            f"resources.requests.{key} is missing" for key in ("cpu", "memory") if ("requests", key) not in given
        )


def _variables(document: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(INJECTED & mapping_of(document.get("environment_variables")).keys()):
        yield f"environment variable {key} is set by the service"


def _concurrency(document: Mapping[str, Any], rps: float | None) -> Iterator[str]:
    concurrent = at(document, _CONCURRENT) or 1
    workers = mapping_of(document.get("environment_variables")).get("WORKER_COUNT")
    has_server = "code_configuration" in document or workers is not None
    if has_server and isinstance(concurrent, int) and str(workers or 1).strip() != str(concurrent):
        counted = shown(workers) if workers else "1 (not set)"
        yield (
            f"max_concurrent_requests_per_instance is {concurrent} and WORKER_COUNT {counted}: with fewer workers "
            "requests wait, with more they stay idle"
        )
    instances = document.get("instance_count", 1)
    if rps and isinstance(concurrent, int) and isinstance(instances, int):
        places = 2 * concurrent * instances
        if places / rps < _TIGHT_S:
            yield (
                f"{rps:g} requests/s find {places} places (2 x {concurrent} x {instances} instances): answers slower "
                f"than {1000 * places / rps:.0f} ms on average lead to 429"
            )


def _met_by(limits: Limits, rps: float, connections: int, payload_bytes: int) -> Iterator[str]:
    mbps = rps * payload_bytes / 1e6
    if limits.rps is not None and rps > limits.rps:
        yield (
            f"{rps:g} requests/s are over the {limits.rps} that an endpoint admits by default: expect 429 (mirrored "
            "requests count)"
        )
    if limits.connections is not None and connections > limits.connections:
        yield (
            f"up to {connections} connections may be open, over the {limits.connections} that an endpoint admits by "
            "default: lower --in-flight"
        )
    if limits.bandwidth_mbps is not None and mbps > limits.bandwidth_mbps:
        yield (
            f"{rps:g} requests/s of {payload_bytes:,} bytes are {mbps:.1f} MB/s, over the {limits.bandwidth_mbps} that "
            "an endpoint admits by default (answers and mirrored requests count): they will be delayed"
        )


def _sizes(document: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    instances = document.get("instance_count", 1)
    if limits.platform == "managed" and isinstance(instances, int) and instances < _HIGHLY_AVAILABLE:
        yield f"instance_count {instances}: Microsoft recommends at least {_HIGHLY_AVAILABLE} for high availability"
    if limits.has_resources and not document.get("instance_type") and "resources" not in document:
        yield f"neither instance_type nor resources is given: defaultinstancetype requests only {_DEFAULT_SIZE}"
    if not limits.has_resources and at(document, ("request_settings", "max_queue_wait_ms")) is not None:
        yield "request_settings.max_queue_wait_ms is ignored on managed endpoints: raise request_timeout_ms instead"


_GPU = ("nvidia.com/gpu", "gpu")
_EXAMPLES = {"cpu": '"100m" or "0.5"', "memory": '"512Mi" or "0.5Gi"', "nvidia.com/gpu": '"1"', "gpu": '"1"'}


def quantity(key: str, value: Any) -> float | None:
    """Read what is asked for: cores of ``cpu``, bytes of ``memory``, whole cards of GPUs; None: it is no amount."""
    size, suffix = read_amount(value), str(value).lstrip("0123456789.")
    if size is None or (key == "cpu" and suffix not in ("", "m")) or (key in _GPU and (suffix or size % 1)):
        return None
    return size
