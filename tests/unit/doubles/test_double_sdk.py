"""The unpatched azure-ai-ml against the double: everything that users and deployer do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.identity import DefaultAzureCredential
from doubles.arm import AzureDouble
from doubles.azure.world import GROUP, SUBSCRIPTION, WORKSPACE

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


def test_a_lost_answer_makes_the_sdk_report_a_conflict_although_it_happened(azure: AzureDouble) -> None:
    """WIRE 2: azure-core sends the PUT again, and meets its own first one."""
    from azure.ai.ml import MLClient  # noqa: PLC0415

    client = MLClient(DefaultAzureCredential(), SUBSCRIPTION, GROUP, WORKSPACE, polling_interval=0.05)
    endpoint = client.online_endpoints.get("digits")
    endpoint.traffic = {"green": 100}
    azure.settings.traffic_s = 60.0
    azure.fault("^PUT ", "lost")
    with pytest.raises(ResourceExistsError):
        client.online_endpoints.begin_create_or_update(endpoint)
    assert [call.status for call in azure.calls if call.method == "PUT"] == [0, 409]
    assert azure.endpoint("digits").state == "Updating"


def test_code_and_model_are_uploaded_and_the_deployment_scaled_and_deleted(
    azure: AzureDouble, ml: Any, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment, Model  # noqa: PLC0415

    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text("def init(): ...")
    (tmp_path / "model.txt").write_text("weights")

    def deploy() -> Any:
        deployment = ManagedOnlineDeployment(  # anew each time: the SDK writes what it found into it
            name="red",
            endpoint_name="digits",
            model=Model(path=str(tmp_path / "model.txt"), name="digits", version="1"),
            environment=Environment(name="env", version="1", image="mcr.example/image:1"),
            code_configuration=CodeConfiguration(code=str(tmp_path / "src"), scoring_script="score.py"),
            instance_type="Standard_DS2_v2",
            instance_count=1,
        )
        return ml.online_deployments.begin_create_or_update(deployment).result()

    made = deploy()
    assert made.provisioning_state == "Succeeded"
    assert made.environment_variables["AZUREML_ENTRY_SCRIPT"] == "score.py"
    assert {blob.content for blob in azure.assets.blobs.values()} == {b"def init(): ...", b"weights"}
    assert {kind for kind, _, _ in azure.assets.versions} == {"codes", "models", "environments"}
    made.instance_count = 3
    ml.online_deployments.begin_create_or_update(made).result()
    assert azure.deployment("digits", "red").instances == 3
    assert "Listening" in ml.online_deployments.get_logs("red", "digits", 50)
    deploy()
    assert azure.count("POST", "/codes/.*/startPendingUpload$") == 1, "the same code is found by its hash"
    ml.online_deployments.begin_delete("red", "digits").result()
    assert {each.name for each in ml.online_deployments.list("digits")} == {"blue", "green"}


def test_a_model_of_a_registry_is_looked_up_there(azure: AzureDouble, ml: Any) -> None:
    from azure.ai.ml.entities import ManagedOnlineDeployment  # noqa: PLC0415

    azure.assets.public["azureml", "bert", "3"] = {"properties": {}}
    deployment = ManagedOnlineDeployment(
        name="red",
        endpoint_name="digits",
        model="azureml://registries/azureml/models/bert/versions/3",
        environment="azureml:env:1",
        instance_type="Standard_DS3_v2",
    )
    assert ml.online_deployments.begin_create_or_update(deployment).result().model == deployment.model
    assert azure.count("GET", "/registries/azureml/models/bert/versions/3$", ok=True) == 1


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
