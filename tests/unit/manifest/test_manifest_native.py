"""Native Azure ML documents are refused where ``az ml`` or the service would refuse them, with words that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from manifest_documents import DEPLOYMENT, ENDPOINT, changed

import deployer.manifest.native
from deployer.manifest.native import check_deployment, check_endpoint
from deployer.manifest.problems import Finding
from deployer.manifest.schema import PlatformType

LOCAL, MANAGED, KUBERNETES = PlatformType.LOCAL, PlatformType.MANAGED, PlatformType.KUBERNETES
NAME = "is not a name that Azure ML takes (use 3 to 32 letters, digits and single hyphens between them, a letter first)"


def said(findings: list[Finding]) -> list[str]:
    return [f"{each.message} ({each.hint})" if each.hint else each.message for each in findings]


@pytest.mark.parametrize("platform", [None, LOCAL, MANAGED, KUBERNETES])
def test_usual_documents_are_fine_everywhere(platform: PlatformType | None) -> None:
    assert said(check_endpoint(ENDPOINT, platform)) == []
    assert said(check_deployment(DEPLOYMENT, platform)) == []


EVERYTHING: dict[str, Any] = {
    "$schema": "anything",
    "name": "green",
    "endpoint_name": "digits",
    "description": "d",
    "tags": {"a": 1},
    "properties": {},
    "model": {"path": "model", "type": "custom_model", "version": 3, "name": "m"},
    "code_configuration": {"code": "src", "scoring_script": "score.py"},
    "environment": {
        "image": "python:3.11",
        "conda_file": {"dependencies": ["python"]},
        "inference_config": {
            name: {"port": 5001, "path": "/"} for name in ("liveness_route", "readiness_route", "scoring_route")
        },
    },
    "environment_variables": {"A": "x", "WORKER_COUNT": 2},
    "app_insights_enabled": True,
    "instance_type": "Standard_DS3_v2",
    "instance_count": 2,
    "request_settings": {
        "request_timeout_ms": 180000,
        "max_concurrent_requests_per_instance": 2,
        "max_queue_wait_ms": 1,
    },
    "liveness_probe": {"initial_delay": 0, "period": 1, "timeout": 1, "success_threshold": 1, "failure_threshold": 1},
    "readiness_probe": {"period": 5},
    "scale_settings": {"type": "Default"},
    "data_collector": {
        "collections": {
            "model_inputs": {"enabled": "True", "data": {"name": "x"}},
            "out": {"enabled": "false", "data": "azureml:d:1"},
        },
        "sampling_rate": 0.5,
        "rolling_rate": "Hour",
        "request_logging": {"capture_headers": ["x-a"]},
    },
    "egress_public_network_access": "Disabled",
    "creation_context": {"created_by": "ignored by the SDK"},
}


def test_a_document_with_everything_is_fine() -> None:
    assert said(check_deployment(EVERYTHING, MANAGED)) == []
    identity = {"type": "UserAssigned", "user_assigned_identities": [{"resource_id": "/s"}]}
    endpoint = {**ENDPOINT, "identity": identity, "tags": {"a": "b"}, "auth_mode": "AMLToken", "kind": "Managed"}
    assert said(check_endpoint(endpoint, MANAGED)) == []


@pytest.mark.parametrize("key", ["environment", "model", "code"])
def test_a_cluster_takes_no_asset_of_a_registry(key: str) -> None:
    asset = f"azureml://registries/azureml/{key}s/x/versions/1"
    change = {"code_configuration": {"code": asset, "scoring_script": "score.py"}} if key == "code" else {key: asset}
    document = changed(DEPLOYMENT, **change)
    path = "code_configuration.code" if key == "code" else key
    why = f"{path}: a cluster takes no asset of a registry (register it in the workspace, or write it out here)"
    assert said(check_deployment(changed(document, instance_type=...), KUBERNETES)) == [why]
    assert said(check_deployment(document, MANAGED)) == []
    assert said(check_deployment(document, LOCAL)) == []


def test_kubernetes_has_keys_of_its_own() -> None:
    resources = {"requests": {"cpu": "0.5", "memory": "1Gi", "nvidia.com/gpu": "1"}, "limits": {"gpu": "1"}}
    scale = {"type": "target_utilization", "min_instances": 1, "max_instances": 3, "target_utilization_percentage": 70}
    document = changed(DEPLOYMENT, type="kubernetes", resources=resources, scale_settings=scale, instance_type=...)
    assert said(check_deployment(document, KUBERNETES)) == []
    assert said(check_deployment(document, LOCAL)) == []
    assert said(check_deployment(document, None)) == []
    assert said(check_endpoint({**ENDPOINT, "compute": "azureml:cluster"}, KUBERNETES)) == []
    assert said(check_endpoint({**ENDPOINT, "compute": "azureml:cluster"}, LOCAL)) == []
    assert said(check_endpoint({**ENDPOINT, "compute": "azureml:cluster"}, MANAGED))[0].startswith(
        "unknown key compute"
    )


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"name": ...}, "name is missing (add it)"),
        ({"name": 5}, 'name: 5 is not text (put it in quotes: "5")'),
        ({"name": "ab"}, f"name: 'ab' {NAME}"),
        ({"name": "x" * 33}, f"name: '{'x' * 33}' {NAME}"),
        ({"name": "green\n"}, f"name: 'green\\n' {NAME}"),
        ({"name": "-ab"}, f"name: '-ab' {NAME}"),
        ({"name": "a--b"}, f"name: 'a--b' {NAME}"),
        ({"name": "a_b"}, f"name: 'a_b' {NAME}"),
        ({"traffic": {"blue": 100}}, "traffic is not yours to set: the rollout owns it (remove it)"),
        ({"traffic": {}}, "traffic is not yours to set: the rollout owns it (remove it)"),
        ({"mirror_traffic": {"green": 10}}, "mirror_traffic is not yours to set: the rollout owns it (remove it)"),
        ({"auth_mode": "kye"}, "auth_mode: 'kye' is not one of aml_token, key, aad_token (did you mean key?)"),
        ({"auth_mode": None}, "auth_mode: there is no value, text is needed (give a value, or remove the key)"),
        ({"auth_mod": "key"}, "unknown key auth_mod (did you mean auth_mode?)"),
        ({"identity": {"typ": "none"}}, "unknown key identity.typ (did you mean type?)"),
        ({"identity": {"user_assigned_identities": {}}}, "identity.user_assigned_identities: a mapping is not a list"),
        (
            {"identity": {"user_assigned_identities": [{"resource_id": 1}]}},
            'identity.user_assigned_identities[0].resource_id: 1 is not text (put it in quotes: "1")',
        ),
        ({"public_network_access": True}, 'public_network_access: true is not text (put it in quotes: "true")'),
    ],
)
def test_endpoints_that_are_refused(changes: dict[str, Any], refusal: str) -> None:
    (text,) = said(check_endpoint(changed(ENDPOINT, **changes), MANAGED))
    assert text.startswith(refusal)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"name": "Green"}, "name: 'Green' has capitals (write it in lower case, as Azure ML does)"),
        ({"name": "green\n"}, f"name: 'green\\n' {NAME}"),
        ({"instance_type": ...}, "instance_type is missing (add it)"),
        ({"environmnt": "x"}, "unknown key environmnt (did you mean environment?)"),
        ({"instance_count": "two"}, "instance_count: 'two' is not a whole number"),
        ({"instance_count": "2"}, "instance_count: '2' is not a whole number (remove the quotes)"),
        ({"instance_count": 1.0}, "instance_count: 1.0 is not a whole number"),
        ({"instance_count": True}, "instance_count: true is not a whole number"),
        ({"instance_count": 0}, "instance_count: 0 is below 1"),
        ({"instance_count": 1001}, "instance_count: 1001 is over 1000"),
        (
            {"app_insights_enabled": "yes"},
            "app_insights_enabled: 'yes' is not true or false (write true or false, without quotes)",
        ),
        ({"app_insights_enabled": 1}, "app_insights_enabled: 1 is not true or false"),
        ({"request_settings": {"request_timeout_ms": 0}}, "request_settings.request_timeout_ms: 0 is below 1"),
        (
            {"request_settings": {"request_timeout_ms": 180001}},
            "request_settings.request_timeout_ms: 180001 is over 180000, the most",
        ),
        (
            {"request_settings": {"request_timeout_ms": 300001}},
            "request_settings.request_timeout_ms: 300001 is over 300000",
        ),
        ({"request_settings": 5000}, "request_settings: 5000 is not a mapping"),
        ({"readiness_probe": {"period": 0}}, "readiness_probe.period: 0 is below 1"),
        ({"liveness_probe": {"initial_delay": -1}}, "liveness_probe.initial_delay: -1 is below 0"),
        ({"liveness_probe": {"periods": 1}}, "unknown key liveness_probe.periods (did you mean period?)"),
        (
            {"model": "./model.pkl"},
            "model: './model.pkl' is no reference such as azureml:name:1 (a local one is written {path: './model.pkl'})",
        ),
        ({"model": 5}, 'model: 5 is not text or a mapping (put it in quotes: "5")'),
        ({"model": {"path": 5}}, 'model.path: 5 is not text (put it in quotes: "5")'),
        ({"model": {"version": []}}, "model.version: a list is not text or a number"),
        ({"environment": "sklearn"}, "environment: 'sklearn' is no reference such as azureml:name:1"),
        ({"environment": {"imag": "x"}}, "unknown key environment.imag (did you mean image?)"),
        ({"environment": {"inference_config": {}}}, None),
        (
            {"environment_variables": {"A": True}},
            'environment_variables.A: true is not text (put it in quotes: "true")',
        ),
        ({"environment_variables": {"A": 1.5}}, 'environment_variables.A: 1.5 is not text (put it in quotes: "1.5")'),
        ({"environment_variables": {"A": None}}, "environment_variables.A: there is no value, text is needed"),
        ({"environment_variables": []}, "environment_variables: a list is not a mapping"),
        ({"code_configuration": {"code": "src"}}, "code_configuration.scoring_script is missing (code needs it)"),
        (
            {"code_configuration": {"scoring_script": "s.py"}},
            "code_configuration.code is missing (scoring_script needs it)",
        ),
        ({"code_configuration": "src"}, "code_configuration: 'src' is not a mapping"),
        (
            {"type": "kubernetes"},
            "type: 'kubernetes' does not fit platform managed (remove it, or change the manifest's platform)",
        ),
        ({"type": "x"}, None),
        (
            {"scale_settings": {"type": "target_utilization"}},
            "scale_settings.type: 'target_utilization' is for Kubernetes only",
        ),
        ({"scale_settings": "default"}, "scale_settings: 'default' is not a mapping"),
        ({"scale_settings": 5}, "scale_settings: 5 is not a mapping"),
        (
            {"data_collector": {"collections": {"a": {"enabled": True}}}},
            'data_collector.collections.a.enabled: true is not text (put it in quotes: "true")',
        ),
        (
            {"data_collector": {"sampling_rate": "1"}},
            "data_collector.sampling_rate: '1' is not a number (remove the quotes)",
        ),
        ({"resources": {}}, "unknown key resources"),
        ({"creation_context": None}, "creation_context: there is no value (remove the key)"),
    ],
)
def test_managed_deployments_that_are_refused(changes: dict[str, Any], refusal: str | None) -> None:
    texts = said(check_deployment(changed(DEPLOYMENT, **changes), MANAGED))
    assert texts
    assert refusal is None or (len(texts) == 1 and texts[0].startswith(refusal))


def test_only_managed_platforms_need_an_instance_type_and_have_the_shorter_time_out() -> None:
    document = changed(DEPLOYMENT, instance_type=..., request_settings={"request_timeout_ms": 300_000})
    assert said(check_deployment(document, LOCAL)) == []
    assert said(check_deployment(document, KUBERNETES)) == []
    assert len(check_deployment(document, MANAGED)) == 2


def test_unknown_keys_are_found_at_the_key_and_values_at_the_value() -> None:
    (unknown,) = check_endpoint({**ENDPOINT, "x": 1}, None)
    (wrong,) = check_endpoint({**ENDPOINT, "auth_mode": 1}, None)
    assert (unknown.path, unknown.key, wrong.path, wrong.key) == (("x",), True, ("auth_mode",), False)


SCHEMA = json.loads(Path(deployer.manifest.native.__file__).with_name("azureml_schema.json").read_text())
CORPUS: list[dict[str, Any]] = [
    {**DEPLOYMENT, "name": "green", "endpoint_name": "digits"},
    {
        **EVERYTHING,
        "scale_settings": {"type": "default"},
        "egress_public_network_access": "disabled",
        "data_collector": {},
    },
    *(
        {**DEPLOYMENT, "name": "green", "endpoint_name": "digits", key: value}
        for key in ("model", "environment", "scale_settings", "instance_count", "tags", "readiness_probe", "nonsense")
        for value in (
            None,
            True,
            5,
            1.5,
            "x",
            "azureml:a:1",
            [],
            {},
            {"path": "m"},
            {"type": "default"},
            {"period": 1},
            {"image": 1},
        )
    ),
]


@pytest.mark.parametrize("document", CORPUS)
def test_the_walker_agrees_with_a_json_schema_validator(document: dict[str, Any]) -> None:
    schema = {"$ref": "#/$defs/ManagedOnlineDeployment", "$defs": SCHEMA["$defs"]}
    assert jsonschema.Draft202012Validator(schema).is_valid(document) == (not check_deployment(document, MANAGED))
