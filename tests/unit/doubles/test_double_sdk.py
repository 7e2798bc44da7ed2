"""The unpatched azure-ai-ml against the double: everything that users and deployer do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doubles.arm import AzureDouble

pytestmark = [
    pytest.mark.azure,
    # azure-ai-ml polls deployments every 5 s, whatever it is told (WIRE 2); what is done at the first poll is not waited for
    pytest.mark.parametrize("azure", [{"deploy_s": 0.0, "delete_s": 0.0, "endpoint_s": 0.0}], indirect=True),
]


def test_an_endpoint_is_created_read_and_deleted(azure: AzureDouble, ml: Any) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint  # noqa: PLC0415

    made = ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="fresh", auth_mode="key")).result()
    assert made.scoring_uri == f"{azure.address}/inference/fresh/score"
    assert {each.name for each in ml.online_endpoints.list()} == {"digits", "fresh"}
    assert ml.online_endpoints.get("digits").traffic == {"blue": 100, "green": 0}
    assert ml.online_endpoints.get_keys("fresh").primary_key == azure.endpoint("fresh").keys[0]
    ml.online_endpoints.begin_delete("fresh").result()
    assert [each.name for each in ml.online_endpoints.list()] == ["digits"]


def test_traffic_is_moved(azure: AzureDouble, ml: Any) -> None:
    endpoint = ml.online_endpoints.get("digits")
    endpoint.traffic = {"blue": 90, "green": 10}
    ml.online_endpoints.begin_create_or_update(endpoint).result()
    assert azure.endpoint("digits").traffic == {"blue": 90, "green": 10}


def test_code_and_model_are_uploaded_and_the_deployment_scaled_and_deleted(
    azure: AzureDouble, ml: Any, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment, Model  # noqa: PLC0415

    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text("def init(): ...")
    (tmp_path / "model.txt").write_text("weights")
    deployment = ManagedOnlineDeployment(
        name="red",
        endpoint_name="digits",
        model=Model(path=str(tmp_path / "model.txt"), name="digits", version="1"),
        environment=Environment(name="env", version="1", image="mcr.example/image:1"),
        code_configuration=CodeConfiguration(code=str(tmp_path / "src"), scoring_script="score.py"),
        instance_type="Standard_DS2_v2",
        instance_count=1,
    )
    made = ml.online_deployments.begin_create_or_update(deployment).result()
    assert made.provisioning_state == "Succeeded"
    assert made.environment_variables["AZUREML_ENTRY_SCRIPT"] == "score.py"
    assert {blob.content for blob in azure.assets.blobs.values()} == {b"def init(): ...", b"weights"}
    assert {kind for kind, _, _ in azure.assets.versions} == {"codes", "models", "environments"}
    made.instance_count = 3
    ml.online_deployments.begin_create_or_update(made).result()
    assert azure.deployment("digits", "red").instances == 3
    assert "Listening" in ml.online_deployments.get_logs("red", "digits", 50)
    uploads = azure.count("PUT", "/code-.*score.py$")
    ml.online_deployments.begin_create_or_update(deployment).result()
    assert azure.count("PUT", "/code-.*score.py$") == uploads, "the same code is found by its hash"
    ml.online_deployments.begin_delete("red", "digits").result()
    assert {each.name for each in ml.online_deployments.list("digits")} == {"blue", "green"}


def test_the_surroundings_are_read(azure: AzureDouble, ml: Any) -> None:
    azure.assets.register("models", "digits", "7")
    assert ml.models.get("digits", "7").version == "7"
    assert ml.compute.get("aks1").type == "kubernetes"
    assert {each.name["value"] for each in ml.compute.list_usage()} >= {"standardDSv2Family"}
    assert "Standard_DS2_v2" in {each.name for each in ml.compute.list_sizes()}


def test_a_request_is_scored_by_the_deployment_that_is_named(azure: AzureDouble, ml: Any, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("[[1, 2]]")
    ml.online_endpoints.invoke("digits", request_file=str(tmp_path / "request.json"), deployment_name="green")
    assert [row.deployment for row in azure.traffic] == ["green"]
