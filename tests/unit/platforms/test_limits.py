"""What managed and Kubernetes endpoints do not allow is refused when planning; what is doubtful is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deployer.platforms.inspection.limits import LIMITS, met_by, problems, quantity, warnings
from deployer.platforms.kubernetes import CAPABILITIES as KUBERNETES_CAPABILITIES
from deployer.platforms.managed import CAPABILITIES as MANAGED_CAPABILITIES
from deployer.ports.platform import Capabilities

MANAGED: dict[str, Any] = {"name": "green", "instance_type": "Standard_DS3_v2", "instance_count": 3}
KUBERNETES: dict[str, Any] = {"name": "green", "instance_type": "small"}


def managed(**over: Any) -> list[str]:
    return problems({**MANAGED, **over}, "digits", "managed")


def kubernetes(**over: Any) -> list[str]:
    return problems({**KUBERNETES, **over}, over.pop("endpoint", "digits"), "kubernetes")


def resources(requests: dict[str, Any], limits: dict[str, Any] | None = None) -> list[str]:
    return kubernetes(resources={"requests": requests, **({"limits": limits} if limits is not None else {})})


def test_a_plain_deployment_has_no_problems() -> None:
    assert managed() == []
    assert kubernetes() == []
    assert resources({"cpu": "100m", "memory": "0.5Gi"}, {"cpu": "0.2", "memory": "1Gi"}) == []


def test_local_knows_no_such_limits() -> None:
    assert problems({"name": "x"}, "e", "local") == []
    assert warnings({}, "local", rps=1e6) == []


@pytest.mark.parametrize("name", ["ab", "a" * 33, "1green", "green-", "a--b", "green\n", "grün"])
def test_names_that_azure_refuses_are_refused(name: str) -> None:
    assert any("deployment name" in each for each in managed(name=name))
    assert any("endpoint name" in each for each in problems(MANAGED, name, "managed"))


def test_on_kubernetes_both_names_together_are_limited() -> None:
    assert problems({**KUBERNETES, "name": "g" * 30}, "e" * 32, "kubernetes") == []
    assert problems({**KUBERNETES, "name": "g" * 31}, "e" * 32, "kubernetes") == [
        "the names of endpoint and deployment have 63 characters together; 6 to 62 are allowed"
    ]
    assert problems({**MANAGED, "name": "g" * 31}, "e" * 32, "managed") == []


def test_instances_are_limited_on_managed_only() -> None:
    assert managed(instance_count=50) == []
    assert managed(instance_count=51) == ["instance_count 51 is over 50"]
    assert kubernetes(instance_count=51) == []


def test_an_endpoint_has_at_most_20_deployments() -> None:
    others = [f"old{n}" for n in range(19)]
    assert problems(MANAGED, "digits", "managed", others) == []
    assert problems(MANAGED, "digits", "managed", [*others, "green"]) == []
    assert problems(MANAGED, "digits", "managed", [*others, "blue"]) == [
        "the endpoint would have 21 deployments; 20 are allowed"
    ]


@pytest.mark.parametrize(("platform", "most"), [("managed", 180_000), ("kubernetes", 300_000)])
def test_time_outs_are_limited_by_platform(platform: str, most: int) -> None:
    def at(timeout_ms: int) -> list[str]:
        document = {**MANAGED, "request_settings": {"request_timeout_ms": timeout_ms}}
        return problems(document, "digits", platform)

    assert at(most) == []
    assert at(most + 1) == [f"request_settings.request_timeout_ms {most + 1} is over {most}"]


@pytest.mark.parametrize("probe", ["liveness_probe", "readiness_probe"])
@pytest.mark.parametrize("key", ["initial_delay", "period", "timeout", "success_threshold", "failure_threshold"])
def test_probes_start_at_one(probe: str, key: str) -> None:
    assert managed(**{probe: {key: 1}}) == []
    assert f"{probe}.{key} 0 is below 1" in managed(**{probe: {key: 0}})


def test_a_liveness_probe_succeeds_once() -> None:
    assert managed(liveness_probe={"success_threshold": 2}) == ["liveness_probe.success_threshold can only be 1"]
    assert managed(readiness_probe={"success_threshold": 2}) == []


def test_managed_scales_by_azure_monitor_only() -> None:
    assert managed(scale_settings={"type": "default"}) == []
    assert "Azure Monitor autoscale" in managed(scale_settings={"type": "target_utilization"})[0]
    assert kubernetes(scale_settings={"type": "target_utilization", "max_instances": 3}) == []


@pytest.mark.parametrize(
    "scale",
    [
        {"min_instances": 3, "max_instances": 2},
        {"min_instances": 2},
        {"target_utilization_percentage": 101},
    ],
)
def test_target_utilization_needs_sensible_bounds(scale: dict[str, int]) -> None:
    assert len(kubernetes(scale_settings={"type": "target_utilization", **scale})) == 1


def test_each_platform_has_its_own_keys() -> None:
    assert "resources is for Kubernetes only" in managed(resources={})[0]
    assert "egress_public_network_access is for managed only" in kubernetes(egress_public_network_access="disabled")[0]
    assert managed(egress_public_network_access="disabled") == []
    assert managed(instance_type=None) == ["instance_type is missing"]
    assert kubernetes(instance_type=None) == []


def test_requests_stay_below_limits() -> None:
    assert resources({"cpu": "1500m", "memory": "1Gi"}, {"cpu": "1", "memory": "2Gi"}) == [
        "resources.requests.cpu 1500m is over limits.cpu 1"
    ]
    assert resources({"cpu": "1", "memory": "1G"}, {"cpu": "1", "memory": "1000000k"}) == []
    assert len(resources({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1G"})) == 1


@pytest.mark.parametrize("cpu", ["", "0", "-1", "1 core", "1Gi", "0m", "1e3", True, None])
def test_what_is_no_amount_of_cpu_is_refused(cpu: Any) -> None:
    assert "resources.requests.cpu" in resources({"cpu": cpu, "memory": "1Gi"})[0]


@pytest.mark.parametrize("memory", ["", "0", "1GB", "1gi", "12m", "999k"])
def test_what_is_no_amount_of_memory_is_refused(memory: str) -> None:
    assert "resources.requests.memory" in resources({"cpu": "1", "memory": memory})[0]


def test_requests_name_both_cpu_and_memory() -> None:
    assert resources({"cpu": "1"}) == ["resources.requests.memory is missing"]
    assert len(resources({}, {"cpu": "1", "memory": "1Gi"})) == 2


def test_gpus_are_whole_and_stand_in_the_limits_with_the_rest() -> None:
    requests, limits = {"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}
    assert resources(requests, {**limits, "nvidia.com/gpu": "1"}) == []
    assert resources({**requests, "nvidia.com/gpu": "1"}) == ["GPUs are written in resources.limits only"]
    assert resources(requests, {"nvidia.com/gpu": "1"}) == ["resources.limits with GPUs needs cpu and memory too"]
    assert len(resources(requests, {**limits, "nvidia.com/gpu": "0.5"})) == 1


def test_what_the_service_injects_is_not_set() -> None:
    assert managed(environment_variables={"AZUREML_MODEL_DIR": "/x", "OTHER": "1"}) == [
        "environment variable AZUREML_MODEL_DIR is set by the service"
    ]


def test_everything_wrong_is_told_at_once() -> None:
    timeout = {"request_timeout_ms": 300_000}
    assert len(managed(instance_count=99, request_settings=timeout, instance_type="")) == 3


def test_a_count_of_workers_that_does_not_match_is_said() -> None:
    document = {**MANAGED, "code_configuration": {}, "request_settings": {"max_concurrent_requests_per_instance": 4}}
    assert any("WORKER_COUNT 1 (not set)" in each for each in warnings(document, "managed"))
    assert warnings({**document, "environment_variables": {"WORKER_COUNT": "4"}}, "managed") == []
    assert warnings({**document, "environment_variables": {"WORKER_COUNT": 4}}, "managed") == []
    assert any(
        "WORKER_COUNT '2'" in each
        for each in warnings({**MANAGED, "environment_variables": {"WORKER_COUNT": "2"}}, "managed")
    )


def test_load_beyond_the_endpoints_limits_is_said() -> None:
    assert any("501 requests/s are over the 500" in each for each in warnings(MANAGED, "managed", rps=501))
    assert "up to 501 connections" in met_by("managed", rps=None, connections=501)[0]
    assert "are 10.0 MB/s, over the 5" in met_by("managed", rps=10, payload_bytes=1_000_000)[0]
    assert met_by("managed", rps=5, connections=500, payload_bytes=1_000_000) == []
    for other in ("kubernetes", "local"):
        assert met_by(other, rps=1000, connections=1000, payload_bytes=10_000_000) == []


def test_places_too_few_for_the_load_are_said() -> None:
    assert any("6 places" in each and "30 ms" in each for each in warnings(MANAGED, "managed", rps=200))
    assert warnings(MANAGED, "managed", rps=50) == []


def test_small_sizes_are_said() -> None:
    assert any("at least 3" in each for each in warnings({**MANAGED, "instance_count": 1}, "managed"))
    assert any("defaultinstancetype" in each for each in warnings({"name": "green"}, "kubernetes"))
    queue = {**MANAGED, "request_settings": {"max_queue_wait_ms": 500}}
    assert any("max_queue_wait_ms is ignored" in each for each in warnings(queue, "managed"))


@pytest.mark.parametrize(
    ("key", "value", "size"),
    [
        ("cpu", "100m", 0.1),
        ("cpu", "1Gi", None),
        ("memory", "0.5Gi", 2**29),
        ("nvidia.com/gpu", 2, 2.0),
        ("gpu", "0.5", None),
        ("gpu", "1k", None),
    ],
)
def test_amounts_are_of_their_kind(key: str, value: object, size: float | None) -> None:
    assert quantity(key, value) == size


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 400_000), st.text(max_size=8)),
    lambda inner: st.dictionaries(
        st.sampled_from(["cpu", "memory", "requests", "limits", "type", "period", "WORKER_COUNT", "success_threshold"]),
        inner,
        max_size=3,
    ),
    max_leaves=6,
)
KEYS = [
    "name",
    "instance_count",
    "instance_type",
    "resources",
    "request_settings",
    "scale_settings",
    "liveness_probe",
    "environment_variables",
]


@example({"environment_variables": {"WORKER_COUNT": "\x1f"}}, "", "managed")
@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.text(max_size=40), st.sampled_from([*LIMITS, "local"]))
def test_any_document_is_answered_with_plain_text(document: dict[str, Any], endpoint: str, platform: str) -> None:
    for text in [*problems(document, endpoint, platform), *warnings(document, platform, rps=3.0)]:
        assert text.isprintable()


@pytest.mark.parametrize("capabilities", [MANAGED_CAPABILITIES, KUBERNETES_CAPABILITIES])
def test_limits_and_capabilities_say_the_same(capabilities: Capabilities) -> None:
    limits = LIMITS[capabilities.platform]
    assert capabilities.mirror_max_pct == limits.mirror_pct
    assert capabilities.mirror is (limits.mirror_pct > 0)
    assert capabilities.max_deployments == limits.deployments
