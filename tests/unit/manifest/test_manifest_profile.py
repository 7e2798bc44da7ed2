"""A profile file: what it says, what it refuses, and which configurations it stands for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from manifest_documents import DEPLOYMENT, changed, project

from deployer.manifest.configuration import Configuration, configuration_of, digest_with
from deployer.manifest.jsonschema import profile_json_schema
from deployer.manifest.problems import InvalidManifestError
from deployer.manifest.profile import ProfileSpec
from deployer.manifest.profile_load import is_profile, load_profile
from deployer.manifest.schema import PlatformType
from deployer.stores.files import DiskFiles
from deployer.wiring.checks import problems_of

COMMITTED = Path(__file__).parents[3] / "manifests" / "profile.schema.json"
SCHEMA = profile_json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
AZURE = {"type": "managed", "subscription_id": "s", "resource_group": "g", "workspace": "w"}
PROFILE: dict[str, Any] = {
    "version": 1,
    "name": "digits-size",
    "platform": "local",
    "endpoint": "endpoint.yml",
    "deployment": "deployment.yml",
    "candidates": {"instance_count": [1, 2], "workers": [1, 2], "max_concurrent_requests_per_instance": [1, 4]},
    "slo": {"latency": {"p95": "200ms"}, "error_rate": "0.1%"},
    "peak_rps": 60,
    "headroom": "20%",
    "request": "ok.json",
    "prices": {"local-core-hour": 0.05},
    "budget": {"time": "20m", "usd": 5},
}
MANAGED = changed(PROFILE, platform=AZURE, candidates={"instance_type": ["A", "B"]}, prices={"B": 0.2})


def written(folder: Path, document: dict[str, Any], **files: str) -> Path:
    project(folder, **files)
    path = folder / "profile.yaml"
    path.write_text(json.dumps(document, indent=1))
    return path


def load(path: Path, **env: str) -> ProfileSpec:
    return load_profile(path, files=DiskFiles(), env=env)


def problems(path: Path) -> list[str]:
    with pytest.raises(InvalidManifestError) as caught:
        load(path)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_the_committed_schema_is_the_models() -> None:
    text = json.dumps(SCHEMA, indent=2) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        COMMITTED.write_text(text, encoding="utf-8")
    assert COMMITTED.read_text(encoding="utf-8") == text, "run this test with UPDATE_GOLDEN=1 and read the diff"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("document", [PROFILE, MANAGED])
def test_what_is_valid_is_valid_to_an_editor(document: dict[str, Any]) -> None:
    VALIDATOR.validate(document)


def test_every_combination_is_a_candidate(tmp_path: Path) -> None:
    spec = load(written(tmp_path, PROFILE))
    assert len(spec.configurations) == 8
    assert spec.configurations[0] == Configuration(1, 1, 1)
    assert spec.rate == pytest.approx(72.0)
    assert spec.payload.read_text() == '{"data": [1]}'


def test_what_candidates_leave_out_is_as_the_template_has_it(tmp_path: Path) -> None:
    template = changed(DEPLOYMENT, instance_count=3, environment_variables={"WORKER_COUNT": "4"})
    spec = load(written(tmp_path, MANAGED, deployment__yml=json.dumps(template)))
    assert [(each.instance_type, each.instance_count, each.workers) for each in spec.configurations] == [
        ("A", 3, 4),
        ("B", 3, 4),
    ]


def test_a_configuration_is_a_deployment_document_again() -> None:
    template = changed(
        DEPLOYMENT, environment_variables={"A": "b"}, request_settings={"request_timeout_ms": 3000}, tags={"x": "y"}
    )
    configuration = Configuration(3, 4, 8, "Standard_F4s_v2")
    applied = configuration.applied(template)
    assert configuration_of(applied, PlatformType.MANAGED) == configuration
    assert applied["environment_variables"] == {"A": "b", "WORKER_COUNT": "4"}
    assert applied["request_settings"] == {"request_timeout_ms": 3000, "max_concurrent_requests_per_instance": 8}
    assert applied["tags"] == {"x": "y"}
    assert template["environment_variables"] == {"A": "b"}


def test_resources_are_of_a_cluster(tmp_path: Path) -> None:
    asked = [{"requests": {"cpu": "1", "memory": "1Gi"}}, {"requests": {"cpu": "2"}, "limits": {"cpu": "4"}}]
    document = changed(
        PROFILE, platform={**AZURE, "type": "kubernetes", "compute": "aks"}, candidates={"resources": asked}, prices={}
    )
    endpoint = json.dumps({"name": "digits", "compute": "azureml:aks"})
    template = json.dumps({**DEPLOYMENT, "type": "kubernetes"})
    spec = load(written(tmp_path, document, endpoint__yml=endpoint, deployment__yml=template))
    assert [each.applied({})["resources"] for each in spec.configurations] == asked
    assert [each.record()["resources"] for each in spec.configurations] == asked


def test_a_local_configuration_says_nothing_of_instance_types() -> None:
    assert configuration_of(DEPLOYMENT, PlatformType.LOCAL).record() == {
        "instance_count": 1,
        "workers": 1,
        "max_concurrent_requests_per_instance": 1,
    }


def test_the_same_version_in_another_configuration_has_another_digest() -> None:
    one, other = Configuration(1, 1, 1), Configuration(1, 2, 1)
    assert len({digest_with("a", one), digest_with("a", other), digest_with("b", one)}) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"candidats": {}}, "unknown key candidats (did you mean candidates?)"),
        ({"candidates": {"worker": [1]}}, "unknown key candidates.worker (did you mean workers?)"),
        ({"candidates": {}}, "candidates names nothing to compare"),
        ({"candidates__workers": []}, "candidates.workers"),
        ({"candidates__workers": [0]}, "candidates.workers[0]: 0 is below 1"),
        ({"candidates__workers": [1, 2, 1]}, "this value is given twice"),
        ({"candidates__workers": ["1"]}, "candidates.workers[0]"),
        ({"candidates__instance_count": list(range(1, 64)), "candidates__workers": [1, 2, 3, 4]}, "504 combinations"),
        ({"candidates__instance_type": ["A"]}, "this machine has one instance type"),
        ({"candidates__resources": [{"requests": {"cpu": "1"}}]}, "resources are of platform kubernetes"),
        ({"peak_rps": 0}, "peak_rps: 0 must be over 0"),
        ({"headroom": 0.2}, "0.2 is not a share"),
        ({"budget": {"time": 20}}, "20 is not a duration: it has no unit"),
        ({"budget": {"time": "1s"}}, "is below 10s"),
        ({"platform": AZURE, "budget": {"time": "20m"}}, "a profile on a remote platform needs a budget in USD"),
        ({"prices": {"local-core-hours": 1.0}}, "local-core-hours is no candidate's (did you mean local-core-hour?)"),
        ({"prices": {"local-core-hour": -1}}, "must be over 0"),
        ({"request": "missing.json"}, "does not exist"),
        ({"request": "../secret.json"}, "request"),
        ({"slo": {}}, "slo names no target"),
        ({"version": 2}, "the version of this format is 1"),
        ({"strategy": {}}, "unknown key strategy"),
    ],
)
def test_what_a_profile_refuses(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    found = problems(written(tmp_path, changed(PROFILE, **changes)))
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("profile.yaml:") for problem in found)


def test_everything_wrong_is_said_at_once_with_its_place(tmp_path: Path) -> None:
    document = changed(PROFILE, peak_rps=0, headroom="x", request="no.json", deployment={"modle": 1})
    found = problems(written(tmp_path, document))
    assert len(found) >= 4
    assert len({problem.split(": ")[0] for problem in found}) == len(found)


def test_a_request_file_may_hold_one_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, changed(PROFILE, request="many.jsonl"), many__jsonl='{"a": 1}\n{"a": 2}\n')
    assert load(path).payload.name == "many.jsonl"


def test_the_template_may_belong_to_another_endpoint(tmp_path: Path) -> None:
    template = json.dumps({**DEPLOYMENT, "endpoint_name": "production"})
    assert load(written(tmp_path, PROFILE, deployment__yml=template)).endpoint.name == "digits"


def test_validate_tells_profiles_from_manifests(tmp_path: Path) -> None:
    path = written(tmp_path, changed(PROFILE, peak_rps=0))
    assert is_profile(path, files=DiskFiles())
    assert not is_profile(tmp_path / "rollout.yaml", files=DiskFiles())
    assert ["peak_rps" in problem.message for problem in problems_of(path)] == [True]
    assert problems_of(tmp_path / "rollout.yaml") == ()
    assert problems_of(written(tmp_path, PROFILE)) == ()


def test_a_file_that_is_no_yaml_is_no_profile(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: [")
    assert not is_profile(tmp_path / "x.yaml", files=DiskFiles())


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (Configuration(1, 1, 2), "1 instance, 1 worker, 2 in flight"),
        (Configuration(3, 4, 8, "Standard_F4s_v2"), "Standard_F4s_v2 x 3, 4 workers, 8 in flight"),
        (
            Configuration(2, 1, 1, None, '{"requests":{"cpu":"1","memory":"1Gi"}}'),
            "2 instances, 1 worker, 1 in flight, cpu 1 memory 1Gi",
        ),
    ],
)
def test_a_configuration_names_itself(configuration: Configuration, said: str) -> None:
    assert str(configuration) == said


def test_a_configuration_without_a_type_leaves_the_documents() -> None:
    assert Configuration(1, 1, 1).applied({"instance_type": "A"})["instance_type"] == "A"
